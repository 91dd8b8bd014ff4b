import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("Production asks, development may not ask, testing does not even copy", .serialized)
struct EnvironmentTests {
  static let attested = [
    "--attest", "vehicle_speed=0", "--attest", "parking_brake=engaged",
    "--attest", "interlock.all=satisfied", "--attest", "connections=0",
    "--attest", "active_controls=none", "--attest", "supply_voltage=12.8",
  ]

  @Test("Production does nothing without a person's yes", .timeLimit(.minutes(15)))
  func consent() async throws {
    let coach = try Sample.coach(config: "")
    let answer = try await coach.run(["update", "--offline", "--json"] + Self.attested)
    #expect(answer.code == 77, "\(answer)")
    #expect(try answer.document(RunDocument.self).error?.code == .consentMissing)
    #expect(try coach.fingerprint() == Sample.prints.get().old)

    let yes = try await coach.run(["update", "--offline", "--yes", "--json"] + Self.attested)
    #expect(yes.code == 0, "\(yes)")
    #expect(try coach.fingerprint() == Sample.prints.get().new)
  }

  @Test("Production does nothing on a coach of which nothing is known", .timeLimit(.minutes(15)))
  func gates() async throws {
    let coach = try Sample.coach(config: "")
    let answer = try await coach.run("update", "--offline", "--yes", "--json")
    #expect(answer.code == 75, "\(answer)")
    #expect(try answer.document(RunDocument.self).error?.code == .gateClosed)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test(
    "Only in development the daemon starts an update by itself; production refuses to be told to",
    .timeLimit(.minutes(15)))
  func autoMigrate() async throws {
    let automatic = "[update]\nauto_migrate = true"
    let coach = try Sample.coach(config: "\(TestCoach.development)\n\(automatic)")
    let daemon = try await coach.serve()
    try await waitUntil("it has updated") { try daemon.status().run?.outcome != nil }
    #expect(try daemon.status().run?.requestedBy == "auto")
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().new)

    let waiting = try Sample.coach()
    let other = try await waiting.serve()
    #expect(try other.status().needsUpdate)
    #expect(try other.status().run == nil)
    #expect(await other.stop() == .exited(0))
    #expect(try waiting.fingerprint() == Sample.prints.get().old)

    let production = try await Sample.coach(config: automatic).run("serve")
    #expect(production.code == 78, "\(production)")
    #expect(production.error.contains("in production a person starts each update"))
  }

  @Test("The daemon wants the hash of the plan that was shown", .timeLimit(.minutes(15)))
  func planHash() async throws {
    let coach = try Sample.coach(config: "[coach]\nparked_for_seconds = 0")
    let daemon = try await coach.serve()
    try daemon.park()
    let path = "/api/database/update"
    #expect(
      try daemon.ask("POST", path, #"{"consent": true}"#).text.contains("CHK-CONSENT-MISSING"))
    let other = try daemon.ask(
      "POST", path, #"{"consent": true}"#, headers: ["If-Match": "\"0000\""])
    #expect(other.text.contains("CHK-PLAN-CHANGED"), "\(other.text)")
    let plan = try JSON.decode(
      PlanDocument.self, from: daemon.ask("GET", "/api/database/plan").body)
    let no = try daemon.ask("POST", path, "{}", headers: ["If-Match": "\"\(plan.hash)\""])
    #expect(no.text.contains("CHK-CONSENT-MISSING"), "\(no.text)")
    #expect(try coach.fingerprint() == Sample.prints.get().old)

    #expect(try await coach.run("update").code == 77)
    let yes = try await coach.run("update", "--yes", "--json")
    #expect(yes.code == 0, "\(yes)")
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Development with auto_migrate updates at the start, after a snapshot", .timeLimit(.minutes(15))
  )
  func development() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[update]\nauto_migrate = true")
    let run = try await automatic(coach)
    #expect(run.snapshotId != nil)
    #expect(try coach.names(in: "state/snapshots").count == 2)
  }

  @Test("Testing updates by itself and takes none", .timeLimit(.minutes(15)))
  func testing() async throws {
    let coach = try Sample.coach(config: "environment = \"testing\"")
    let run = try await automatic(coach)
    #expect(run.snapshotId == nil)
    #expect(try coach.names(in: "state/snapshots") == [])
  }

  @Test("Without auto_migrate the daemon only offers", .timeLimit(.minutes(15)))
  func offered() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    let status = try daemon.status()
    #expect(status.needsUpdate)
    #expect(!status.migrationInProgress)
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  private func automatic(_ coach: TestCoach) async throws -> RunDocument {
    let daemon = try await coach.serve()
    var run: RunDocument?
    try await waitUntil("the automatic update has ended") {
      run = try daemon.status().run
      return run?.outcome != nil
    }
    let ended = try #require(run)
    #expect(ended.outcome == .committed)
    #expect(ended.requestedBy == "auto")
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    return ended
  }
}
