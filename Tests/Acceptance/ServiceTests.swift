import Dispatch
import Glibc
import Logging
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

@testable import chock

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
    try folder.write(TestCoach.text("\(source)/systemd/chock.socket"), to: "chock.socket")
    let start = "ExecStart=/usr/bin/chock "
    #expect(unit.contains(start))
    // systemd looks whether there is such a program.
    try folder.write(
      unit.split(separator: "\n", omittingEmptySubsequences: false).map { line in
        line.hasPrefix(start)
          ? "ExecStart=\(TestCoach.binary) \(line.dropFirst(start.count))" : line
      }.joined(separator: "\n"), to: "chock.service")
    let check = try ChildProcess(
      try #require(Self.analyzer),
      ["verify", "--man=no", folder("chock.service"), folder("chock.socket")],
      output: folder("out"), error: folder("out"))
    #expect(await check.ended() == .exited(0), "\(TestCoach.text(folder("out")))")
    // A key that it does not know is only a warning.
    #expect(
      TestCoach.text(folder("out")).split(separator: "\n").filter { $0.contains("chock") } == [])

    let security = try ChildProcess(
      try #require(Self.analyzer),
      ["security", "--offline=true", "--threshold=12", "--no-pager", folder("chock.service")],
      output: folder("security"), error: folder("security"))
    #expect(await security.ended() == .exited(0), "\(TestCoach.text(folder("security")))")
  }

  @Test("The journal knows each of its messages, and no other")
  func catalog() {
    let source = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let known = TestCoach.text("\(source)/systemd/chock.catalog").split(separator: "\n")
      .filter { $0.hasPrefix("-- ") }.map { String($0.dropFirst(3)) }
    #expect(known.sorted() == JournalMessage.allCases.map(\.rawValue).sorted())
  }

  @Test("A line goes to the journal with the fields by which its run is found")
  func fields() async throws {
    let folder = try TemporaryFolder()
    let journal = try NotifySocket(folder("journal"))
    defer { journal.end() }
    var run = RunDocument(
      id: "20260101T000000Z-update-1234", kind: .update, startedAt: Timestamp.now())
    run.phase = .apply
    run.outcome = .rolledBack
    run.error = Failure(.timeout, "two\nlines")
    Logger(label: "chock") { JournalLog(label: $0, path: folder("journal")) }.tell(run)
    try await waitUntil("it is there") { !journal.messages.isEmpty }
    let words = "update \(run.id): rolled_back: two\nlines"
    // Native protocol: a value of several lines stands behind its length in eight bytes.
    #expect(
      journal.messages == [
        "MESSAGE\n\(Character(UnicodeScalar(UInt8(words.utf8.count))))\(String(repeating: "\0", count: 7))"
          + """
          \(words)
          PRIORITY=4
          SYSLOG_IDENTIFIER=chock
          CHOCK_CODE=\(Failure.Code.timeout.rawValue)
          MESSAGE_ID=\(JournalMessage.runUndone.rawValue)
          CHOCK_OUTCOME=rolled_back
          CHOCK_PHASE=apply
          CHOCK_RUN=\(run.id)

          """
      ])
  }

  @Test("Where no journal answers, its lines go to standard error")
  func noJournal() async throws {
    let coach = try Sample.coach()
    let call = try coach.start(
      [
        "-c",
        "JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2) exec \(TestCoach.binary) serve",
      ], binary: "/bin/sh")
    try await waitUntil("it is told") {
      call.error.contains("The panel is at") || call.process.end != nil
    }
    call.process.signal(SIGTERM)
    #expect(await call.process.ended() == .exited(0))
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
    // Who stops it meanwhile does not wait, too.
    let stopped = try coach.start(["serve"], environment: ["NOTIFY_SOCKET": notify.path])
    try await waitUntil("it starts") {
      notify.messages.contains(Self.starting) || stopped.process.end != nil
    }
    stopped.process.signal(SIGTERM)
    #expect(await stopped.process.ended() == .exited(0))
    #expect(!notify.messages.contains { $0.contains("READY=1") })
    #expect(FileSystem.target("\(coach.state)/run.json") != nil)

    let call = try coach.start(["serve"], environment: ["NOTIFY_SOCKET": notify.path])
    // As long as that takes: more time is asked for every ten seconds.
    try await waitUntil("more time is asked for, longer than anybody waits for a lock") {
      notify.messages.count { $0.hasPrefix("EXTEND_TIMEOUT_USEC=") } > 4
        || call.process.end != nil
    }
    #expect(
      Set(notify.messages) == [
        Self.starting, "EXTEND_TIMEOUT_USEC=30000000", "STOPPING=1",
      ])
    #expect(FileSystem.target("\(coach.state)/run.json") != nil)
    withExtendedLifetime(lock) {}
    lock = nil
    try await waitUntil("it is ready") { notify.messages.contains(Self.ready) }
    #expect(FileSystem.target("\(coach.state)/run.json") == nil)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    let status: StatusDocument = try await coach.run("status", "--json").document()
    #expect(status.run?.id == id)
    #expect(status.run?.outcome == .rolledBack)
    call.process.signal(SIGTERM)
    #expect(await call.process.ended() == .exited(0))
    #expect(notify.messages.filter { $0.contains("READY=1") }.count == 1)
  }

  private static let starting =
    "STATUS=Starting: what was interrupted or runs elsewhere comes first"
  private static let ready = "READY=1\nSTATUS=Ready"

  @Test("In recovery mode the status says so and why, until it is left")
  func recoveryMode() async throws {
    let coach = try Sample.coach()
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    let daemon = try await coach.serve(
      ["--recovery"], environment: ["NOTIFY_SOCKET": notify.path])
    let words = "STATUS=Recovery mode: chock was started in recovery mode."
    try await waitUntil("it is told") { notify.messages.contains("READY=1\n\(words)") }
    #expect(try await coach.run("recover", "--leave").code == 0)
    try await waitUntil("its end is told") { notify.messages.last == "STATUS=Ready" }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "One that cannot start again and again waits longer before it ends, and can be stopped then")
  func failedStarts() async throws {
    let coach = try Sample.coach()
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    let runtime = coach.folder("runtime")
    try FileSystem.makeFolder(runtime)
    // In the way of the state folder.
    try coach.folder.write("", to: "file")
    let environment = [
      "NOTIFY_SOCKET": notify.path, "RUNTIME_DIRECTORY": runtime,
      "CHOCK_STATE_DIRECTORY": coach.folder("file/state"),
    ]
    let first = try await coach.run(["serve"], environment: environment)
    let code = try #require(first.code)
    #expect(![0, 64, 78].contains(code), "\(first)")
    #expect(TestCoach.text(runtime + "/failed-starts") == "1")
    try coach.folder.write("5", to: "runtime/failed-starts")
    let last = try coach.start(["serve"], environment: environment)
    try await waitUntil("it is told") {
      notify.messages.last == "STATUS=Could not start; tries again in 60 s"
    }
    #expect(last.process.end == nil)
    last.process.signal(SIGTERM)
    #expect(await last.process.ended() == .exited(code))
    // One that starts is a new beginning.
    let good = try await coach.serve(
      environment: ["NOTIFY_SOCKET": notify.path, "RUNTIME_DIRECTORY": runtime])
    #expect(try FileSystem.names(in: runtime) == [])
    #expect(await good.stop() == .exited(0))
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

  /// What systemd does for chock.socket: "tcp", "two" of them, or "unix".
  private static let manager = """
    import os, socket, sys
    places = {"tcp": 1, "two": 2, "unix": 1}
    listening = []
    for number in range(places[sys.argv[1]]):
        one = socket.socket(socket.AF_UNIX if sys.argv[1] == "unix" else socket.AF_INET)
        one.bind(sys.argv[3] if sys.argv[1] == "unix" else ("127.0.0.1", 0))
        one.listen()
        listening.append(one)
    if sys.argv[1] == "tcp":
        print(one.getsockname()[1], file=open(sys.argv[3], "w"))
    for number, one in enumerate(listening):
        os.dup2(one.fileno(), 3 + number)
        os.set_inheritable(3 + number, True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(listening)))
    os.execv(sys.argv[2], [sys.argv[2], "serve"])
    """

  @Test("A port that the service manager has opened is served instead of server.listen")
  func inherited() async throws {
    let coach = try Sample.coach()
    let call = try coach.start(
      ["-c", Self.manager, "tcp", TestCoach.binary, coach.folder("port")],
      environment: ["CHOCK_SERVER_LISTEN": "127.0.0.1:1"], binary: "/usr/bin/python3")
    try await waitUntil("it is told where the panel is") {
      call.error.contains("The panel is at") || call.process.end != nil
    }
    let port = try #require(
      UInt16(TestCoach.text(coach.folder("port")).filter(\.isNumber)), "\(call.error)")
    #expect(call.error.contains("http://127.0.0.1:\(port)/"), "\(call.error)")
    let answer = try SocketClient.request("GET", "/readyz", port: port)
    #expect(answer.status == 200, "\(answer.text)")
    // The commands find it where they always do, and say where the panel is.
    let code = try await coach.run("pair")
    #expect(code.output.contains("http://127.0.0.1:\(port)/"), "\(code)")
    #expect(code.output.contains("Only this machine"), "\(code)")
    call.process.signal(SIGTERM)
    #expect(await call.process.ended() == .exited(0))
  }

  @Test("Where the config is bad, who waits at that port is answered, and nobody waits any more")
  func inheritedAndBad() async throws {
    let coach = try Sample.coach(config: "nonsense = 1")
    // Somebody waits before chock begins.
    let script = Self.manager.replacing(
      "os.environ.update",
      with: """
        waiting = socket.create_connection(listening[0].getsockname())
        waiting.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
        os.environ.update
        """
    ).replacing(
      "os.execv(",
      with: """
        if os.fork():
            os.wait()
            print(waiting.recv(4096).decode())
            listening[0].setblocking(False)
            try: listening[0].accept()
            except BlockingIOError: print("nobody")
            sys.exit()
        os.environ["LISTEN_PID"] = str(os.getpid())
        os.execv(
        """)
    let end = await
      (try coach.start(
        ["-c", script, "tcp", TestCoach.binary, coach.folder("port")],
        binary: "/usr/bin/python3")).answer()
    #expect(end.error.contains("nonsense"), "\(end)")
    #expect(end.output.contains("503 Service Unavailable"), "\(end)")
    #expect(end.output.contains("`journalctl -u chock` says why"), "\(end)")
    #expect(end.output.contains("nobody"), "\(end)")
  }

  @Test("A socket of another kind, or two, are refused", arguments: ["two", "unix"])
  func inheritedElse(kind: String) async throws {
    let coach = try Sample.coach()
    let end = await
      (try coach.start(
        ["-c", Self.manager, kind, TestCoach.binary, coach.folder("listening")],
        binary: "/usr/bin/python3")).answer()
    #expect(end.code == 78, "\(end)")
    #expect(end.error.contains("chock.socket"), "\(end)")
  }

  @Test("It says what a run does, and that it stops", .timeLimit(.minutes(15)))
  func messages() async throws {
    let coach = try Sample.coach()
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    let daemon = try await coach.serve(environment: ["NOTIFY_SOCKET": notify.path])
    _ = try await daemon.ended(try daemon.startUpdate())
    try await waitUntil("the end is told") { notify.messages.last == "STATUS=Last run: committed" }
    let told = notify.messages.filter { !$0.hasPrefix("EXTEND_TIMEOUT_USEC=") }
    let phases: [Phase] = [.plan, .safety, .snapshot, .rehearse, .apply, .verify, .commit, .done]
    // `STATUS=Run in progress: apply, 55 %`
    let words = told.map { String($0.prefix { $0 != "," }) }
    let steps = phases.map { "STATUS=Run in progress: \($0.rawValue)" }
    let expected = [Self.starting, Self.ready] + steps + ["STATUS=Last run: committed"]
    let distinct = words.indices.filter { $0 == 0 || words[$0 - 1] != words[$0] }.map { words[$0] }
    #expect(distinct == expected)
    let percents = told.compactMap { Int($0.drop { $0 != "," }.filter(\.isNumber)) }
    #expect(percents == percents.sorted() && percents.last == 100, "\(percents)")
    // Each once: the journal explains the line where a run begins, and the one where it ends.
    for message in [JournalMessage.runStarted, .runDone] {
      #expect(daemon.call.error.ranges(of: message.rawValue).count == 1, "\(message)")
    }
    #expect(await daemon.stop() == .exited(0))
    try await waitUntil("the stop is told") { notify.messages.contains("STOPPING=1") }
  }

  @Test(
    "Its heart beats while the unit's watchdog listens, and only then", arguments: [true, false])
  func heartbeat(isMeant: Bool) async throws {
    let coach = try Sample.coach()
    let notify = try NotifySocket(coach.folder("notify"))
    defer { notify.end() }
    var environment = ["NOTIFY_SOCKET": notify.path, "WATCHDOG_USEC": "100000"]
    // Of a process that is none of ours: the variables were meant for somebody else.
    if !isMeant { environment["WATCHDOG_PID"] = "1" }
    let daemon = try await coach.serve(environment: environment)
    if isMeant {
      try await waitUntil("it has beaten") {
        notify.messages.filter { $0 == "WATCHDOG=1" }.count > 3
      }
    } else {
      _ = try await daemon.ended(try daemon.startUpdate())
    }
    #expect(await daemon.stop() == .exited(0))
    #expect(notify.messages.contains("WATCHDOG=1") == isMeant)
  }
}
