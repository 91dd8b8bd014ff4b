import Dispatch
import Glibc
import Migrations
import Storage
import TestSupport
import Updating

/// Stops a worker dead in a phase: it listens to the state folder, where the journal names each phase
/// before its work begins.
final class JournalWatch: Sendable {
  private let state: String
  private let file: Int32

  /// From now on no change of the journal is missed.
  init(_ state: String) throws(Failure) {
    try FileSystem.makeFolder(state)
    self.state = state
    file = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
    guard file >= 0, inotify_add_watch(file, state, UInt32(IN_MOVED_TO)) >= 0 else {
      throw Failure(.inputOutput, "\(state) cannot be watched.", file: state)
    }
  }

  deinit {
    close(file)
  }

  /// A worker that does not run any more until it is let go or killed.
  struct Frozen: Sendable {
    let worker: pid_t
    let phase: Phase

    func kill() { _ = Glibc.kill(worker, SIGKILL) }
    var isRunning: Bool { Processes.isRunning(worker) }
    func letGo() { _ = Glibc.kill(worker, SIGCONT) }

    /// True when its supervisor has told it something that it has not read yet.
    var isTold: Bool {
      let input = open("/proc/\(worker)/fd/0", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
      guard input >= 0 else { return false }
      defer { close(input) }
      var request = pollfd(fd: input, events: Int16(POLLIN), revents: 0)
      return poll(&request, 1, 0) == 1 && request.revents & Int16(POLLIN) != 0
    }
  }

  /// Freezes the worker, which is the child of `supervisor`, as soon as it has entered `phase` or a
  /// later one; nil when the run was over before that was seen.
  func freeze(_ phase: Phase, workerOf supervisor: pid_t) async throws -> Frozen? {
    try await withCheckedThrowingContinuation { continuation in
      // A thread of its own, which reacts within the time that one fsync takes.
      DispatchQueue(label: "journal").async { [self] in
        continuation.resume(with: Result { try wait(for: phase, supervisor) })
      }
    }
  }

  private func wait(for wanted: Phase, _ supervisor: pid_t) throws -> Frozen? {
    let deadline = ContinuousClock.now + .seconds(120)
    var worker: pid_t?
    var hasBegun = false
    while ContinuousClock.now < deadline {
      if let now = phase() {
        hasBegun = true
        worker = worker ?? Processes.children(of: supervisor).first
        if order(now) >= order(wanted), let worker {
          kill(worker, SIGSTOP)
          while Processes.state(of: worker).map({ !"TtZ".contains($0) }) ?? false {}
          // It may have gone on until the signal reached it.
          return Frozen(worker: worker, phase: phase() ?? .done)
        }
      } else if hasBegun {
        return nil
      }
      var request = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
      // Not only by events: the worker may be seen later than its first phase.
      poll(&request, 1, worker == nil ? 1 : 100)
      var buffer = [UInt8](repeating: 0, count: 4096)
      _ = read(file, &buffer, buffer.count)
    }
    throw Failure(.timeout, "The run never came to \(wanted.rawValue).", file: state)
  }

  private struct Entry: Decodable { var phase: Phase }

  /// What the journal says now; nil when there is none.
  private func phase() -> Phase? {
    guard let bytes = (try? FileSystem.read("\(state)/run.json")) ?? nil else { return nil }
    return (try? JSON.decode(Entry.self, from: bytes))?.phase
  }

  private func order(_ phase: Phase) -> Int {
    let all: [Phase] = [
      .plan, .safety, .quiesce, .snapshot, .rehearse, .apply, .verify, .restore, .commit, .resume,
      .prove, .done,
    ]
    return all.firstIndex(of: phase) ?? all.count
  }
}
