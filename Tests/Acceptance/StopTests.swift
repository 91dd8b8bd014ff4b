import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("A run that has to stop puts everything back", .serialized)
struct StopTests {
  private static let noRehearsal = "[update]\nrehearse = false\n"

  /// A coach whose daemon is in the middle of a statement that never ends.
  private func applying(
    config: String, ready: (Daemon) throws -> Void = { _ in }
  ) async throws -> (TestCoach, Daemon, run: String) {
    let coach = try Sample.coach(config: config + "\n" + Self.noRehearsal, update: Sample.endless)
    let daemon = try await coach.serve()
    try ready(daemon)
    let id = try daemon.startUpdate()
    try await waitUntil("the endless statement runs") {
      try daemon.run(id).message != nil && daemon.run(id).phase == .apply
    }
    return (coach, daemon, id)
  }

  private func isOld(_ coach: TestCoach) throws {
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(try coach.ledgerVersion() == "1")
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  private static let gated = #"""
    environment = "development"
    """#

  @Test("The brake released in the middle of apply rolls the run back", .timeLimit(.minutes(15)))
  func brake() async throws {
    let (coach, daemon, id) = try await applying(config: Self.gated) { try $0.park() }
    try daemon.put("parking_brake", "\"released\"")
    let run = try await daemon.ended(id)
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.code == .gateClosed)
    #expect(run.error?.message.contains("brake") == true)
    #expect(await daemon.stop() == .exited(0))
    try isOld(coach)
  }

  @Test(
    "A command whose daemon dies under the run does not say how that ended",
    .timeLimit(.minutes(15)))
  func lost() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n\(Self.noRehearsal)", update: Sample.endless)
    let daemon = try await coach.serve()
    let call = try coach.start(["update", "--yes", "--json"])
    try await waitUntil("it applies") {
      try daemon.status().run?.phase == .apply || call.process.end != nil
    }
    let id = try daemon.status().run?.id
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    let answer = await call.answer()
    let run = try answer.document(RunDocument.self)
    #expect(answer.code == 69 && run.id == id && run.outcome == nil, "\(answer)")
    #expect(run.error?.howToClear?.contains("chock status") == true, "\(answer)")
    let next = try await coach.serve()
    #expect(try next.run(try #require(id)).outcome == .rolledBack)
    #expect(await next.stop() == .exited(0))
    try isOld(coach)
  }

  @Test("So does a reading that nobody renews", .timeLimit(.minutes(15)))
  func expiry() async throws {
    let coach = try Sample.coach(
      config: "\(Self.gated)\n\(Self.noRehearsal)", update: Sample.endless)
    let daemon = try await coach.serve()
    try daemon.park()
    try daemon.put("vehicle_speed", "0", ttl: 3)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.code == .gateClosed)
    #expect(run.phases.last?.phase == .apply)
    #expect(await daemon.stop() == .exited(0))
    try isOld(coach)
  }

  @Test("A person can cancel it", .timeLimit(.minutes(15)))
  func cancel() async throws {
    let (coach, daemon, id) = try await applying(config: TestCoach.development)
    #expect(try daemon.ask("POST", "/api/database/update/\(id)/cancel").status == 200)
    let run = try await daemon.ended(id)
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.code == .stopped)
    #expect(await daemon.stop() == .exited(0))
    try isOld(coach)
  }

  @Test(
    "A daemon that is told to stop rolls back, ends in time and says so", .timeLimit(.minutes(15)))
  func sigterm() async throws {
    let (coach, daemon, id) = try await applying(config: TestCoach.development)
    let told = ContinuousClock.now
    #expect(await daemon.stop() == .exited(0))
    // Well before systemd would kill it (TimeoutStopSec=120).
    #expect(ContinuousClock.now - told < .seconds(60))
    try isOld(coach)
    let next = try await coach.serve()
    let run = try #require(try next.status().run)
    #expect(run.id == id)
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.code == .interrupted)
    #expect(await next.stop() == .exited(0))
  }

  @Test("Ctrl-C does it without a daemon", .timeLimit(.minutes(15)))
  func interrupt() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n\(Self.noRehearsal)", update: Sample.endless)
    let call = try coach.start(["update", "--offline", "--json"])
    try await waitUntil("apply has begun") { call.error.contains("apply") }
    call.process.signal(SIGINT)
    let answer = await call.answer()
    #expect(answer.code == 1)
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.code == .stopped)
    try isOld(coach)
  }

  @Test("A second run is refused while one is active", .timeLimit(.minutes(15)))
  func second() async throws {
    let (coach, daemon, id) = try await applying(config: TestCoach.development)
    for arguments in [["update"], ["rehearse"], ["snapshots", "take"], ["update", "--offline"]] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 75, "\(arguments): \(answer)")
    }
    #expect(try daemon.status().currentJobId == id)
    #expect(await daemon.stop() == .exited(0))
    try isOld(coach)
  }

  @Test("So is one without a daemon beside another", .timeLimit(.minutes(15)))
  func secondOffline() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n\(Self.noRehearsal)", update: Sample.endless)
    let call = try coach.start(["update", "--offline", "--json"])
    try await waitUntil("apply has begun") { call.error.contains("apply") }
    for arguments in [
      ["update", "--offline"], ["snapshots", "take", "--offline"], ["adopt", "--at", "1"],
    ] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 75, "\(arguments): \(answer)")
    }
    call.process.signal(SIGTERM)
    #expect(await call.answer().code == 1)
    try isOld(coach)
  }
}
