import Dispatch
import FoundationEssentials
import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What a person wants done later is done then, once, or it is said why not", .serialized)
struct ScheduleTests {
  private static let config = """
    environment = "production"
    [coach]
    parked_for_seconds = 0
    """

  private func later(_ seconds: Double) -> String {
    Timestamp.text(Date().addingTimeInterval(seconds))
  }

  /// Consents to the plan as it is, for a window that begins in so many seconds.
  private func schedule(_ daemon: Daemon, in seconds: Double) throws -> Schedule {
    let plan = try JSON.decode(
      PlanDocument.self, from: try daemon.ask("GET", "/api/database/plan").body)
    let answer = try daemon.ask(
      "POST", "/api/database/update",
      #"{"consent": true, "when": "window", "at": "\#(later(seconds))"}"#,
      headers: ["If-Match": "\"\(plan.hash)\""])
    try #require(answer.status == 200, "\(answer.text)")
    return try JSON.decode(Schedule.self, from: answer.body)
  }

  @Test("It starts in the window, when the coach is safe", .timeLimit(.minutes(15)))
  func window() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    try daemon.park()
    try daemon.put("parking_brake", "\"released\"")
    let schedule = try schedule(daemon, in: 0.5)
    #expect(try daemon.status().schedule == schedule)
    #expect(schedule.action == .window && schedule.version == "2")
    let at = try #require(schedule.at)
    try await waitUntil("the window has begun") { Timestamp.now() > at }
    #expect(try daemon.status().run == nil)
    try daemon.put("parking_brake", "\"engaged\"")
    try await waitUntil("it is updated") { try daemon.status().run?.outcome == .committed }
    #expect(try daemon.status().run?.requestedBy?.hasSuffix(", scheduled") == true)
    #expect(try daemon.status().schedule == nil)
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("The command line decides, shows and withdraws as the panel does")
  func commandLine() async throws {
    let coach = try Sample.coach(config: Self.config)
    #expect(try await coach.run("schedule").code == 69)
    let daemon = try await coach.serve()
    #expect(try await coach.run("schedule").output.contains("Nothing is decided"))
    #expect(try await coach.run("schedule", "window", "--at", "02:00").code == 77)
    #expect(try daemon.status().schedule == nil)
    let window = try await coach.run("schedule", "window", "--at", "02:00", "--yes")
    #expect(window.code == 0, "\(window)")
    #expect(window.output.hasPrefix("Update to 2 between "), "\(window)")
    #expect(try daemon.status().schedule?.action == .window)
    let wrong = try await coach.run("schedule", "window", "--at", "25:00", "--yes")
    #expect(wrong.code == 64 && wrong.error.contains("25:00"), "\(wrong)")
    #expect(try await coach.run("schedule", "remind", "--hours", "1000").code == 64)
    #expect(try await coach.run("schedule", "remind", "--hours", "2").code == 0)
    #expect(try daemon.status().schedule?.action == .remind)
    #expect(try await coach.run("schedule", "skip").code == 0)
    let shown = try await coach.run("schedule", "--json")
    #expect(shown.output.contains(#""action":"skip""#), "\(shown)")
    #expect(try await coach.run("schedule", "clear").code == 0)
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A consent for later that comes again is the same one, and is not given twice")
  func sameRequest() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    let plan = try JSON.decode(
      PlanDocument.self, from: try daemon.ask("GET", "/api/database/plan").body)
    func ask(at: String) throws -> SocketClient.Answer {
      try daemon.ask(
        "POST", "/api/database/update",
        #"{"consent": true, "when": "window", "at": "\#(at)"}"#,
        headers: ["If-Match": "\"\(plan.hash)\"", "Idempotency-Key": "tonight"])
    }
    let first = try ask(at: "02:00")
    #expect(first.status == 200, "\(first.text)")
    #expect(try ask(at: "02:00").text == first.text)
    #expect(try ask(at: "03:00").text.contains("CHK-KEY-REUSED"))
    #expect(try daemon.ask("DELETE", "/api/database/schedule").status == 204)
    // The retry of a request that came late must not bring back what was withdrawn.
    #expect(try ask(at: "02:00").status == 422)
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  /// Consents to a plan for the next 02:00.
  private func consent(
    _ daemon: Daemon, to hash: String, key: String
  ) throws -> SocketClient.Answer {
    try daemon.ask(
      "POST", "/api/database/update", #"{"consent": true, "when": "window", "at": "02:00"}"#,
      headers: ["If-Match": "\"\(hash)\"", "Idempotency-Key": key])
  }

  private func hash(_ daemon: Daemon) throws -> String {
    try JSON.decode(
      PlanDocument.self, from: try daemon.ask("GET", "/api/database/plan").body
    ).hash
  }

  @Test(
    "A consent for later that could not be written down is none, and its request may come again")
  func unwritten() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    let hash = try hash(daemon)
    // In the place of the file that is to become the schedule.
    let obstacle = "\(coach.state)/schedule.json.partial"
    try FileSystem.makeFolder(obstacle)
    let failed = try consent(daemon, to: hash, key: "tonight")
    #expect(failed.status == 500 && failed.text.contains("schedule.json"), "\(failed.text)")
    #expect(try daemon.status().schedule == nil)
    try FileSystem.removeFolder(obstacle)
    let given = try consent(daemon, to: hash, key: "tonight")
    #expect(given.status == 200, "\(given.text)")
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try consent(daemon, to: hash, key: "tonight").text == given.text)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("The request of a consent that has lapsed brings nothing back; a new one consents anew")
  func keyOfLapsed() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    let old = try hash(daemon)
    #expect(try consent(daemon, to: old, key: "tonight").status == 200)
    try coach.folder.write("SELECT 1;\n", to: "migrations/0003_more.sql")
    #expect(try daemon.status().schedule?.lapsedReason != nil)
    let again = try consent(daemon, to: old, key: "tonight")
    #expect(again.status == 422 && again.text.contains("has lapsed"), "\(again.text)")
    #expect(try consent(daemon, to: old, key: "tomorrow").status == 412)
    #expect(try daemon.status().schedule?.lapsedReason != nil)
    #expect(try consent(daemon, to: try hash(daemon), key: "tomorrow").status == 200)
    #expect(try daemon.status().schedule?.version == "3")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A consent of two persons ends with the device of either", arguments: [true, false])
  func removedApprover(isRestarted: Bool) async throws {
    let coach = try Sample.coach(config: Self.config)
    let two = ["CHOCK_ACCESS_APPROVALS": "2"]
    var daemon = try await coach.serve(environment: two)
    let hash = try hash(daemon)
    let code = try await coach.run("pair", "--json").document(PairingDocument.self).code
    let paired = try daemon.askOverTCP(
      "POST", "/api/pair", #"{"code": "\#(code)", "name": "Phone", "pin": "135791"}"#)
    let cookie = try #require(paired.header("set-cookie")).prefix { $0 != ";" }
    #expect(try consent(daemon, to: hash, key: "tonight").status == 409)
    let approval = try daemon.askOverTCP(
      "POST", "/api/database/approvals", #"{"plan_hash": "\#(hash)", "pin": "135791"}"#,
      headers: ["Cookie": String(cookie)])
    #expect(approval.status == 201, "\(approval.text)")
    #expect(try consent(daemon, to: hash, key: "tonight").status == 200)
    let schedule = try #require(try daemon.status().schedule)
    #expect(schedule.lapsedReason == nil)
    #expect(schedule.requestedBy.hasSuffix("approved by Phone (owner)"))
    let device = try await coach.run("devices", "--json").document(DevicesDocument.self)
    if isRestarted { #expect(await daemon.stop() == .exited(0)) }
    #expect(
      try await coach.run("devices", "remove", try #require(device.devices.first?.id)).code == 0)
    if isRestarted { daemon = try await coach.serve(environment: two) }
    #expect(
      try daemon.status().schedule?.lapsedReason
        == "The device of the person who approved it was removed.")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A kill in between changes nothing of it", .timeLimit(.minutes(15)))
  func restart() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    _ = try schedule(daemon, in: 1)
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    daemon = try await coach.serve()
    try daemon.park()
    try await waitUntil("it is updated") { try daemon.status().run?.outcome == .committed }
    #expect(await daemon.stop() == .exited(0))
    // Used once.
    daemon = try await coach.serve()
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A consent lapses with its window or its plan, and it is said why", .timeLimit(.minutes(15)),
    arguments: ["window", "plan", "clock", "device"])
  func lapses(with what: String) async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    let schedule = try schedule(daemon, in: 60)
    #expect(await daemon.stop() == .exited(0))
    let file = "\(coach.state)/schedule.json"
    switch what {
    case "window":
      let text = TestCoach.text(file)
        .replacing(try #require(schedule.at), with: later(-20))
        .replacing(try #require(schedule.until), with: later(-10))
      try coach.folder.write(text, to: "state/schedule.json")
    case "plan":
      try coach.folder.write("SELECT 1;\n", to: "migrations/0003_more.sql")
    case "clock":
      let text = TestCoach.text(file).replacing(schedule.createdAt, with: later(7200))
      try coach.folder.write(text, to: "state/schedule.json")
    default:
      let text = TestCoach.text(file).replacing(
        "{", with: "{\"credential\": \"c0ffee00\",", maxReplacements: 1)
      try coach.folder.write(text, to: "state/schedule.json")
    }
    daemon = try await coach.serve()
    try daemon.park()
    let words = [
      "window": "did not run in the window", "plan": "not the one that was confirmed",
      "clock": "clock was set back", "device": "was removed",
    ]
    try await waitUntil("it has lapsed") {
      try daemon.status().schedule?.lapsedReason?.contains(words[what] ?? what) == true
    }
    #expect(try daemon.ask("DELETE", "/api/database/schedule", nil).status == 204)
    #expect(try daemon.status().schedule == nil)
    #expect(try daemon.status().run == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A schedule that cannot be understood is none, and somebody hears of it",
    .timeLimit(.minutes(15)), arguments: ["{", "at", "until", "no until", "folder"])
  func damaged(how: String) async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    let schedule = try schedule(daemon, in: 60)
    #expect(await daemon.stop() == .exited(0))
    let file = "\(coach.state)/schedule.json"
    let text = TestCoach.text(file)
    let until = try #require(schedule.until)
    switch how {
    case "at":
      try coach.folder.write(
        text.replacing(try #require(schedule.at), with: "soon"), to: "state/schedule.json")
    case "until":
      try coach.folder.write(text.replacing(until, with: "x"), to: "state/schedule.json")
    case "no until":
      try coach.folder.write(
        text.replacing("\"until\"", with: "\"other\""), to: "state/schedule.json")
    case "folder":
      try FileSystem.remove(file)
      try FileSystem.makeFolder(file)
    default: try coach.folder.write(how, to: "state/schedule.json")
    }
    daemon = try await coach.serve()
    try daemon.park()
    #expect(daemon.call.error.contains("nobody knows what was scheduled"))
    #expect(
      try daemon.status().schedule?.lapsedReason?.contains("nobody knows what was scheduled")
        == true)
    #expect(FileSystem.facts(file + ".damaged") != nil)
    // It is in nobody's way.
    _ = try self.schedule(daemon, in: 60)
    #expect(try daemon.ask("DELETE", "/api/database/schedule", nil).status == 204)
    try FileSystem.makeFolder(file)
    #expect(try daemon.ask("POST", "/api/database/schedule", #"{"action": "skip"}"#).status == 200)
    #expect(try daemon.status().run == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "What is in the way for a while does not end a consent: it goes on trying within the window",
    .timeLimit(.minutes(15)), arguments: ["application", "other run"])
  func obstacles(what: String) async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    try daemon.park()
    let schedule = try schedule(daemon, in: 2)
    var lock: RunLock?
    var application: Connection?
    if what == "application" {
      application = try Connection(path: coach.database, mode: .readWrite)
      try application?.execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
    } else {
      lock = try RunLock(folder: coach.state)
      #expect(lock != nil)
    }
    let at = try #require(schedule.at)
    try await waitUntil("the window has begun") { Timestamp.now() > at }
    // Something new from the coach is looked at at once.
    try daemon.park()
    #expect(try daemon.status().schedule == schedule)
    #expect(try daemon.status().run == nil)
    try application?.execute("ROLLBACK")
    application = nil
    lock = nil
    try await waitUntil("it is updated") {
      try daemon.park()
      return try daemon.status().run?.outcome == .committed
    }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "What stood in the way to the end of the window is the reason", .timeLimit(.minutes(15)))
  func obstacleToTheEnd() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    let schedule = try schedule(daemon, in: 60)
    #expect(await daemon.stop() == .exited(0))
    // A window that has begun, and ends soon.
    let text = TestCoach.text("\(coach.state)/schedule.json")
      .replacing(try #require(schedule.at), with: later(-10))
      .replacing(try #require(schedule.until), with: later(5))
    try coach.folder.write(text, to: "state/schedule.json")
    daemon = try await coach.serve()
    let lock = try RunLock(folder: coach.state)
    #expect(lock != nil)
    try await waitUntil("it has lapsed") {
      try daemon.park()
      return try daemon.status().schedule?.lapsedReason != nil
    }
    let reason = try daemon.status().schedule?.lapsedReason
    #expect(reason == Failure.runActive.message)
    withExtendedLifetime(lock) {}
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("What people decided about an update and its run is in the audit", .timeLimit(.minutes(15)))
  func audit() async throws {
    let coach = try Sample.coach(
      config: TestCoach.development + "\n[update]\nrehearse = false", update: Sample.endless)
    let daemon = try await coach.serve()
    _ = try schedule(daemon, in: 60)
    #expect(try daemon.ask("DELETE", "/api/database/schedule", nil).status == 204)
    #expect(try daemon.ask("POST", "/api/database/schedule", #"{"action": "skip"}"#).status == 200)
    #expect(try daemon.ask("DELETE", "/api/database/schedule", nil).status == 204)
    let id = try daemon.startUpdate()
    try await waitUntil("it is on its way") { try daemon.run(id).phase == .apply }
    #expect(try daemon.ask("POST", "/api/database/update/\(id)/cancel", "{}").status == 200)
    _ = try await daemon.ended(id)
    #expect(try daemon.ask("POST", "/api/database/update/\(id)/acknowledge", "{}").status == 200)
    #expect(try await daemon.ended(try daemon.startSnapshotRun()).outcome == .finished)
    let snapshots = try JSON.decode(
      SnapshotsAnswer.self, from: try daemon.ask("GET", "/api/database/backups").body)
    let snapshot = try #require(snapshots.snapshots.first?.id)
    #expect(try daemon.ask("DELETE", "/api/database/backups/\(snapshot)", nil).status == 204)
    let page = try JSON.decode(
      AuditPage.self, from: try daemon.ask("GET", "/api/database/audit").body)
    #expect(
      page.entries.map(\.action).reversed() == [
        .schedule, .unschedule, .postpone, .unschedule, .cancel, .acknowledge, .deleteSnapshot,
      ])
    #expect(page.entries.map(\.accepted).reversed().suffix(3) == [id, id, snapshot])
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Reminders and skipped versions are kept, until there is something new",
    .timeLimit(.minutes(15)))
  func postpone() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    func post(_ body: String) throws -> Int {
      try daemon.ask("POST", "/api/database/schedule", body).status
    }
    #expect(try post(#"{"action": "remind", "hours": 0}"#) == 400)
    #expect(try post(#"{"action": "window"}"#) == 400)
    #expect(try post(#"{"action": "later"}"#) == 400)
    #expect(try post(#"{"action": "remind", "hours": 0.0002}"#) == 200)
    try await waitUntil("it reminds") { try daemon.status().schedule == nil }
    #expect(try post(#"{"action": "skip"}"#) == 200)
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try daemon.status().schedule?.action == .skip)
    try coach.folder.write("SELECT 1;\n", to: "migrations/0003_more.sql")
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Nobody consents without the plan's hash, or for a time that is no time",
    .timeLimit(.minutes(15)))
  func refused() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    for (body, status) in [
      (#"{"consent": true, "when": "window"}"#, 428), (#"{"consent": true, "when": "soon"}"#, 400),
      (#"{"consent": true, "at": "02:00"}"#, 400),
    ] {
      #expect(try daemon.ask("POST", "/api/database/update", body).status == status, "\(body)")
    }
    for at in ["25:00", "2:00", "2020-01-01T02:00:00Z", "tonight"] {
      let body = #"{"consent": true, "when": "window", "at": "\#(at)"}"#
      let plan = try JSON.decode(
        PlanDocument.self, from: try daemon.ask("GET", "/api/database/plan").body)
      let answer = try daemon.ask(
        "POST", "/api/database/update", body, headers: ["If-Match": "\"\(plan.hash)\""])
      #expect(answer.status == 400, "\(at): \(answer.text)")
    }
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
  }

  // MARK: Being told

  private struct Letter: Decodable {
    var event: String
    var message: String
  }

  @Test(
    "Who is named is told of an update that is there and of its end, and what does not arrive is kept",
    .timeLimit(.minutes(15)))
  func notices() async throws {
    let server = try FakeServer(isUp: false) { _, _ in .text("{}") }
    let coach = try Sample.coach(
      config: """
        environment = "development"
        [coach]
        required_gates = []
        [notify]
        url = "\(server.url)/hook"
        ntfy_url = "\(server.url)/topic"
        """)
    var daemon = try await coach.serve()
    try await waitUntil("it was tried") { daemon.call.error.contains("this was not sent") }
    #expect(await daemon.stop() == .exited(0))
    server.start()
    daemon = try await coach.serve()
    try await waitUntil("it arrives") { server.requests.count == 2 }
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    try await waitUntil("the end arrives") { server.requests.count == 4 }
    #expect(await daemon.stop() == .exited(0))
    let hooks = server.requests.filter { $0.hasPrefix("POST /hook HTTP/1.1\r\n") }
    let letters = try hooks.map {
      try JSON.decode(
        Letter.self, from: Array(try #require($0.split(separator: "\r\n\r\n").last).utf8))
    }
    #expect(letters.map(\.event) == ["update_available", "done"])
    let topics = server.requests.filter { $0.hasPrefix("POST /topic HTTP/1.1\r\n") }
    #expect(topics.count == 2)
    #expect(topics.first?.contains("Priority: default\r\n") == true)
    #expect(topics.last?.contains(": The update is done\r\n") == true)
  }

  private func letters(_ server: FakeServer) throws -> [Letter] {
    try server.requests.map {
      try JSON.decode(
        Letter.self, from: Array(try #require($0.split(separator: "\r\n\r\n").last).utf8))
    }
  }

  /// How many letters have not arrived, as far as is noted.
  private func waiting(_ coach: TestCoach) throws -> Int? {
    struct Notices: Decodable {
      struct Letter: Decodable {}
      var waiting: [Letter]
    }
    return try FileSystem.read("\(coach.state)/notices.json").map {
      try JSON.decode(Notices.self, from: $0).waiting.count
    }
  }

  private func told(_ server: FakeServer, config: String = "", update: String = Sample.update)
    throws -> TestCoach
  {
    try Sample.coach(
      config: """
        \(TestCoach.development)
        \(config)
        [notify]
        url = "\(server.url)/hook"
        """, update: update)
  }

  @Test(
    "How a run ended that was killed is told at the next start, once", .timeLimit(.minutes(15)))
  func noticeOfRecovery() async throws {
    let server = try FakeServer { _, _ in .text("{}") }
    let coach = try told(
      server, config: "[update]\nrehearse = false", update: Sample.endless)
    var daemon = try await coach.serve()
    let id = try daemon.startUpdate()
    try await waitUntil("it is on its way") { try daemon.run(id).phase == .apply }
    // A letter that was answered, and not noted yet, would be sent again.
    try await waitUntil("the update is told of, and that is noted") {
      try server.requests.count == 1 && waiting(coach) == 0
    }
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    daemon = try await coach.serve()
    try await waitUntil("its end is told") { server.requests.count == 2 }
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    let next = try await daemon.ended(try daemon.startSnapshotRun())
    #expect(next.outcome == .finished)
    #expect(await daemon.stop() == .exited(0))
    #expect(try letters(server).map(\.event) == ["update_available", "failed"])
  }

  @Test(
    "A reminder that came due while chock did not run is told at its start",
    .timeLimit(.minutes(15)))
  func noticeOfReminder() async throws {
    let server = try FakeServer { _, _ in .text("{}") }
    let coach = try told(server)
    var daemon = try await coach.serve()
    try await waitUntil("the update is told of") { server.requests.count == 1 }
    let answer = try daemon.ask(
      "POST", "/api/database/schedule", #"{"action": "remind", "hours": 0.0005}"#)
    let due = try #require(try JSON.decode(Schedule.self, from: answer.body).at)
    #expect(await daemon.stop() == .exited(0))
    try await waitUntil("it is due") { Timestamp.now() > due }
    daemon = try await coach.serve()
    try await waitUntil("it reminds") { server.requests.count == 2 }
    #expect(try daemon.status().schedule == nil)
    #expect(await daemon.stop() == .exited(0))
    #expect(try letters(server).map(\.event) == ["update_available", "update_available"])
  }

  @Test("Nobody who is slow is told twice", .timeLimit(.minutes(15)))
  func slowListener() async throws {
    let gate = DispatchSemaphore(value: 0)
    let server = try FakeServer { _, request in
      if request.contains("update_available") { _ = gate.wait(timeout: .now() + 8) }
      return .text("{}")
    }
    let coach = try told(server)
    let daemon = try await coach.serve()
    try await waitUntil("the update is told of") { server.requests.count == 1 }
    _ = try await daemon.ended(try daemon.startUpdate())
    gate.signal()
    try await waitUntil("the end is told") { try letters(server).contains { $0.event == "done" } }
    #expect(try letters(server).map(\.event) == ["update_available", "done"])
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("That notices are lost is in the log", .timeLimit(.minutes(15)))
  func lostNotices() async throws {
    let server = try FakeServer { _, _ in .text("{}") }
    let coach = try told(server)
    try coach.folder.write("{", to: "state/notices.json")
    let daemon = try await coach.serve()
    try await waitUntil("the update is told of") { server.requests.count == 1 }
    #expect(daemon.call.error.contains("notices.json cannot be read"))
    #expect(await daemon.stop() == .exited(0))
  }
}

extension Daemon {
  fileprivate func startSnapshotRun() throws -> String {
    try JSON.decode(
      RunDocument.self, from: try ask("POST", "/api/database/backups", "{}").body
    ).id
  }
}
