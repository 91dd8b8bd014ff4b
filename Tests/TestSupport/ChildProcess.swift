import Dispatch
public import Glibc
public import Migrations
import Storage
import Synchronization

/// A program that a test has started: its own signals, its own end. Whatever still runs when the
/// test lets go of it is killed.
public final class ChildProcess: Sendable {
  /// How a process ended.
  public enum End: Sendable, Equatable {
    case exited(Int32)
    case signalled(Int32)
  }

  public let pid: pid_t
  private let state = Mutex<(end: End?, waiting: [CheckedContinuation<End, Never>])>((nil, []))

  /// - Parameters:
  ///   - input: the file that is its standard input.
  ///   - environment: everything that the program inherits; nothing else does.
  ///   - output: the file that its standard output is appended to.
  ///   - error: the file that its standard error is appended to.
  public init(
    _ executable: String, _ arguments: [String], input: String = "/dev/null",
    environment: [String: String] = [:], output: String, error: String
  ) throws(Failure) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, input, O_RDONLY, 0)
    for (descriptor, path) in [(STDOUT_FILENO, output), (STDERR_FILENO, error)] {
      posix_spawn_file_actions_addopen(
        &actions, descriptor, path, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    }

    // A thread of a pool blocks signals, and a program would inherit that.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

    var variables = ["PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent"]
    variables.merge(environment) { $1 }
    let texts = [executable] + arguments
    var argv: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
    var envp: [UnsafeMutablePointer<CChar>?] =
      variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
    defer { for text in argv + envp { free(text) } }
    var pid: pid_t = 0
    let code = posix_spawnp(&pid, executable, &actions, &attributes, &argv, &envp)
    guard code == 0 else {
      throw Failure(
        .inputOutput, "\(executable) could not be started: \(String(cString: strerror(code))).",
        file: executable)
    }
    self.pid = pid
    reap()
  }

  deinit {
    signal(SIGCONT)
    signal(SIGKILL)
  }

  private func reap() {
    let pid = pid
    // A thread of its own: waiting blocks as long as the process lives.
    DispatchQueue(label: "child \(pid)").async { [weak self] in
      var information = siginfo_t()
      while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) < 0, errno == EINTR {}
      guard let self else {
        waitpid(pid, nil, 0)
        return
      }
      // Reaped under the lock, so that `signal` never hits another process that got the number.
      let (end, waiting) = state.withLock { state in
        var status: Int32 = 0
        waitpid(pid, &status, 0)
        let end = status & 0x7f == 0 ? End.exited(status >> 8 & 0xff) : .signalled(status & 0x7f)
        state.end = end
        defer { state.waiting = [] }
        return (end, state.waiting)
      }
      for continuation in waiting { continuation.resume(returning: end) }
    }
  }

  /// Nil while it runs.
  public var end: End? { state.withLock { $0.end } }

  /// Sends a signal; nothing happens when the process has ended.
  public func signal(_ number: Int32) {
    state.withLock { state in
      if state.end == nil { _ = kill(pid, number) }
    }
  }

  /// Waits until it has ended; kills it when the test's time is up.
  public func ended() async -> End {
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let end = state.withLock { state in
          if state.end == nil { state.waiting.append(continuation) }
          return state.end
        }
        if let end { continuation.resume(returning: end) }
      }
    } onCancel: {
      signal(SIGCONT)
      signal(SIGKILL)
    }
  }
}

/// What /proc says about processes.
public enum Processes {
  /// The children of a process that have not ended.
  public static func children(of parent: pid_t) -> [pid_t] {
    ((try? FileSystem.names(in: "/proc")) ?? []).compactMap { pid_t($0) }.filter {
      guard let status = status(of: $0) else { return false }
      return status.parent == parent && status.state != "Z"
    }
  }

  /// True while it exists and is no zombie.
  public static func isRunning(_ pid: pid_t) -> Bool {
    status(of: pid).map { $0.state != "Z" && $0.state != "X" } ?? false
  }

  /// The paths of the files that a process has open.
  public static func openFiles(of pid: pid_t) -> [String] {
    let folder = "/proc/\(pid)/fd"
    return ((try? FileSystem.names(in: folder)) ?? []).compactMap { name in
      var buffer = [CChar](repeating: 0, count: 4096)
      let count = readlink("\(folder)/\(name)", &buffer, buffer.count)
      return count > 0
        ? String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }
  }

  /// The letter of proc(5): `T` is stopped, `Z` a zombie; nil when there is no such process.
  public static func state(of pid: pid_t) -> Character? { status(of: pid)?.state }

  private static func status(of pid: pid_t) -> (state: Character, parent: pid_t)? {
    guard let bytes = (try? FileSystem.read("/proc/\(pid)/stat")) ?? nil else { return nil }
    // The name is in parentheses and may hold anything, parentheses included.
    let text = String(decoding: bytes, as: UTF8.self)
    guard let end = text.lastIndex(of: ")") else { return nil }
    let fields = text[text.index(after: end)...].split(separator: " ")
    guard fields.count > 1, let state = fields[0].first, let parent = pid_t(fields[1]) else {
      return nil
    }
    return (state, parent)
  }
}
