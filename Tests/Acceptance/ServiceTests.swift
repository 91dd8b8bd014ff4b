import Dispatch
import Glibc
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

/// The other end of sd_notify(3).
private final class NotifySocket: Sendable {
  let path: String
  private let file: Int32
  private let heard = Mutex<[String]>([])

  init(_ path: String) throws(Failure) {
    self.path = path
    file = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) {
      $0.copyBytes(from: Array(path.utf8).prefix(107))
    }
    let bound = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard bound == 0 else { throw Failure(.inputOutput, "\(path) cannot be made.", file: path) }
    // A thread of its own, as receiving blocks: the daemon would wait for a queue that is full.
    DispatchQueue(label: "notify").async { [file, weak self] in
      var buffer = [UInt8](repeating: 0, count: 4096)
      while true {
        let count = recv(file, &buffer, buffer.count, 0)
        guard count > 0, let self else { return }
        heard.withLock { $0.append(String(decoding: buffer.prefix(count), as: UTF8.self)) }
      }
    }
  }

  /// Ends the thread.
  func end() { shutdown(file, Int32(SHUT_RD)) }

  deinit {
    shutdown(file, Int32(SHUT_RD))
    close(file)
  }

  var messages: [String] { heard.withLock { $0 } }
}

@Suite("chock is a good service of systemd", .serialized)
struct ServiceTests {
  private static let analyzer = ["/usr/bin", "/bin"].map { $0 + "/systemd-analyze" }
    .first { FileSystem.target($0) != nil }

  @Test(
    "systemd accepts the unit", .timeLimit(.minutes(15)),
    .enabled(if: analyzer != nil, "systemd-analyze is not installed."))
  func unit() async throws {
    let folder = try TemporaryFolder()
    let source = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let unit = TestCoach.text("\(source)/systemd/chock.service")
    let start = "ExecStart=/usr/bin/chock "
    #expect(unit.contains(start))
    // systemd looks whether there is such a program.
    try folder.write(
      unit.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        line.hasPrefix(start)
          ? "ExecStart=\(TestCoach.binary) \(line.dropFirst(start.count))" : line
      }.joined(separator: "\n"), to: "chock.service")
    let check = try ChildProcess(
      try #require(Self.analyzer), ["verify", "--man=no", folder("chock.service")],
      output: folder("out"), error: folder("out"))
    #expect(await check.ended() == .exited(0), "\(TestCoach.text(folder("out")))")
    // A key that it does not know is only a warning.
    let warnings = TestCoach.text(folder("out")).split(separator: "\n")
      .filter { $0.contains("chock") }
    #expect(warnings == [])
  }

  @Test("It is ready only when an interrupted run is recovered", .timeLimit(.minutes(15)))
  func ready() async throws {
    let coach = try Sample.coach()
    let first = try await coach.serve()
    let watch = try JournalWatch(coach.state)
    let id = try first.startUpdate()
    let frozen = try #require(try await watch.freeze(.apply, workerOf: first.process.pid))
    first.process.signal(SIGKILL)
    frozen.kill()
    _ = await first.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }

    // As long as somebody holds the lock of the run, recovery has to wait.
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    var lock: RunLock?
    // The threads of a process that was killed end one after the other.
    try await waitUntil("its lock is free") {
      lock = try RunLock(folder: coach.state)
      return lock != nil
    }
    let call = try coach.start(["serve"], environment: ["NOTIFY_SOCKET": notify.path])
    try await waitUntil("recovery has begun") {
      !Processes.children(of: call.process.pid).isEmpty || call.process.end != nil
    }
    #expect(notify.messages == [])
    #expect(FileSystem.target("\(coach.state)/run.json") != nil)
    withExtendedLifetime(lock) {}
    lock = nil
    try await waitUntil("it is ready") { notify.messages.contains("READY=1") }
    #expect(FileSystem.target("\(coach.state)/run.json") == nil)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    let status: StatusDocument = try await coach.run("status", "--json").document()
    #expect(status.run?.id == id)
    #expect(status.run?.outcome == .rolledBack)
    call.process.signal(SIGTERM)
    #expect(await call.process.ended() == .exited(0))
    #expect(notify.messages.filter { $0 == "READY=1" }.count == 1)
  }

  @Test("Where its address is taken it says so and ends")
  func addressTaken() async throws {
    let first = try Sample.coach()
    let daemon = try await first.serve()
    let port = try #require(daemon.port)
    let second = try Sample.coach()
    let end = try await second.run(
      ["serve"], environment: ["CHOCK_SERVER_LISTEN": "127.0.0.1:\(port)"])
    #expect(end.code == 78, "\(end)")
    #expect(end.error.contains("127.0.0.1:\(port)"), "\(end)")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("It says what a run does, and that it stops", .timeLimit(.minutes(15)))
  func messages() async throws {
    let coach = try Sample.coach()
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    let daemon = try await coach.serve(environment: ["NOTIFY_SOCKET": notify.path])
    _ = try await daemon.ended(try daemon.startUpdate())
    try await waitUntil("the end is told") { notify.messages.last == "STATUS=Last run: committed" }
    let phases: [Phase] = [.plan, .safety, .snapshot, .rehearse, .apply, .verify, .commit, .done]
    #expect(
      notify.messages == ["READY=1"] + phases.map { "STATUS=Run in progress: \($0.rawValue)" }
        + ["STATUS=Last run: committed"])
    #expect(await daemon.stop() == .exited(0))
    try await waitUntil("the stop is told") { notify.messages.last == "STOPPING=1" }
  }
}
