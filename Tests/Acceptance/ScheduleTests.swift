import FoundationEssentials
import Glibc
import Migrations
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
    arguments: ["window", "plan", "file"])
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
    default: try coach.folder.write("{", to: "state/schedule.json")
    }
    daemon = try await coach.serve()
    try daemon.park()
    if what == "file" {
      #expect(daemon.call.error.contains("nobody knows what was scheduled"))
      #expect(try daemon.status().schedule == nil)
    } else {
      let words = what == "window" ? "did not run in the window" : "not the one that was confirmed"
      try await waitUntil("it has lapsed") {
        try daemon.status().schedule?.lapsedReason?.contains(words) == true
      }
      #expect(try daemon.ask("DELETE", "/api/database/schedule", nil).status == 204)
      #expect(try daemon.status().schedule == nil)
    }
    #expect(try daemon.status().run == nil)
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
}
