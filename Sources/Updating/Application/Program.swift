import Dispatch
import Migrations
import Storage
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A program that is started and waited for, but never longer than it may take.
///
/// Not Subprocess: what a start command leaves running must not be waited for, and nothing that belongs to
/// the application is ever killed.
struct Program {
  struct End {
    /// Nil when it did not end in time; 128 and the number of a signal.
    var code: Int32?
    /// Of a program whose output was wanted.
    var output = ""
  }

  /// Where its words go.
  enum Output {
    /// With the program's errors, into the end.
    case kept
    /// Into chock's own log.
    case logged
    case discarded
  }

  let command: [String]
  var output = Output.discarded
  /// Beside chock's own environment.
  var environment: [String: String] = [:]

  /// - Throws: `.application` when it cannot be started; the stop that was requested meanwhile.
  func run(within limit: Duration, stop: StopSignal? = nil) throws(Failure) -> End {
    var ends: [Int32] = [-1, -1]
    if output == .kept, pipe(&ends) != 0 { ends = [-1, -1] }
    for end in ends where end >= 0 { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    let (reading, writing) = (ends[0], ends[1])
    defer { if reading >= 0 { close(reading) } }
    let child: pid_t
    do {
      defer { if writing >= 0 { close(writing) } }
      child = try spawn(writing)
    }
    let exit = Exit()
    exit.wait(for: child)
    let deadline = ContinuousClock.now + limit
    var end = End()
    var bytes: [UInt8] = []
    while end.code == nil, .now < deadline {
      if let requested = stop?.requested {
        _ = kill(child, SIGTERM)
        throw requested
      }
      if reading >= 0 { Self.read(reading, into: &bytes) }
      end.code = exit.code(within: .milliseconds(reading >= 0 ? 5 : 100), until: deadline)
    }
    // Whatever it has started goes on.
    if end.code == nil { _ = kill(child, SIGTERM) }
    if reading >= 0 { Self.read(reading, into: &bytes) }
    end.output = String(decoding: bytes, as: UTF8.self)
    return end
  }

  /// What has come so far.
  private static func read(_ file: Int32, into bytes: inout [UInt8]) {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while bytes.count < 1 << 20 {
      var request = pollfd(fd: file, events: Int16(POLLIN), revents: 0)
      guard poll(&request, 1, 0) == 1 else { return }
      let count = Glibc.read(file, &buffer, buffer.count)
      guard count > 0 else { return }
      bytes.append(contentsOf: buffer[..<count])
    }
  }

  private func spawn(_ writing: Int32) throws(Failure) -> pid_t {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
    switch output {
    case .kept where writing >= 0:
      posix_spawn_file_actions_adddup2(&actions, writing, STDOUT_FILENO)
      posix_spawn_file_actions_adddup2(&actions, writing, STDERR_FILENO)
    case .logged:
      // The worker's own output belongs to its supervisor.
      posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO)
    case .kept, .discarded:
      posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
      posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
    }
    // What chock does with signals is nothing for an application to inherit.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    sigemptyset(&signals)
    posix_spawnattr_setsigmask(&attributes, &signals)
    sigfillset(&signals)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes,
      Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP))

    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    var variables: [UnsafeMutablePointer<CChar>?] = self.variables.map { strdup($0) } + [nil]
    defer { for text in arguments + variables { free(text) } }
    var child: pid_t = 0
    // Nor is it what the worker's files are made with, or that the worker goes first where memory runs out.
    let mask = umask(0o022)
    let score = MemoryScore.set(MemoryScore.ordinary)
    let code = posix_spawnp(
      &child, command.first ?? "", &actions, &attributes, &arguments, &variables)
    umask(mask)
    if let score { MemoryScore.set(score) }
    guard code == 0 else {
      throw Failure(
        .application,
        "\(command.first ?? "?") could not be started: \(String(cString: strerror(code))).",
        howToClear: code == ENOENT
          ? "Install it, or name another program in [application]." : nil)
    }
    return child
  }

  /// chock's own, but for what the worker has set for itself.
  private var variables: [String] {
    var variables: [String] = []
    var next = environ
    while let entry = next.pointee {
      let text = String(cString: entry)
      let name = String(text.prefix { $0 != "=" })
      if name != "SQLITE_TMPDIR", environment[name] == nil { variables.append(text) }
      next += 1
    }
    return variables + environment.map { "\($0.key)=\($0.value)" }
  }

  /// How a child ended, from a thread of its own: waiting blocks as long as it lives.
  private final class Exit: Sendable {
    private let status = Mutex<Int32?>(nil)
    private let signal = DispatchSemaphore(value: 0)

    func wait(for child: pid_t) {
      DispatchQueue(label: "program \(child)").async { [self] in
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + (status & 0x7f)
        self.status.withLock { $0 = code }
        signal.signal()
      }
    }

    func code(within time: Duration, until deadline: ContinuousClock.Instant) -> Int32? {
      _ = signal.wait(timeout: .now() + min(time, max(.zero, deadline - .now)).seconds)
      return status.withLock { $0 }
    }
  }
}
