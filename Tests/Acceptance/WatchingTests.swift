import Coach
import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("The coach is watched until the commit", .serialized)
struct WatchingTests {
  private static let config = """
    environment = "development"
    [coach]
    required_gates = ["parked"]
    """

  /// A run that stands still in its snapshot, with the brake released meanwhile.
  private func waiting(
    _ patience: Int
  ) async throws -> (TestCoach, Daemon, id: String, JournalWatch.Frozen) {
    let coach = try Sample.coach(
      config: "\(Self.config)\n[update]\nwait_for_gates_seconds = \(patience)")
    let daemon = try await coach.serve()
    try daemon.park()
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startUpdate()
    let frozen = try #require(
      try await watch.freeze(.snapshot, workerOf: daemon.process.pid))
    try daemon.put("parking_brake", "\"released\"")
    return (coach, daemon, id, frozen)
  }

  @Test(
    "Before anything is changed a run waits for a gate that closed, and goes on when it is open again",
    .timeLimit(.minutes(15)))
  func goesOn() async throws {
    let (coach, daemon, id, frozen) = try await waiting(600)
    try await waitUntil("it waits") { try daemon.run(id).waitingFor != nil }
    let run = try daemon.run(id)
    #expect(run.waitingFor == "The parking brake is released.")
    #expect(run.waitingUntil != nil)
    frozen.letGo()
    // It has come to the end of what only reads, and changes nothing.
    try await waitUntil("it has rehearsed") { try daemon.run(id).phase == .rehearse }
    #expect(try daemon.run(id).outcome == nil)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    try daemon.put("parking_brake", "\"engaged\"")
    let ended = try await daemon.ended(id)
    #expect(ended.outcome == .committed, "\(ended)")
    #expect(ended.waitingFor == nil)
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("One that waits for too long is cancelled, and says for what", .timeLimit(.minutes(15)))
  func cancelled() async throws {
    let (coach, daemon, id, frozen) = try await waiting(1)
    frozen.letGo()
    let ended = try await daemon.ended(id)
    #expect(ended.outcome == .refused, "\(ended)")
    #expect(ended.error?.code == .gateClosed)
    #expect(ended.error?.message == "The parking brake is released.")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("While it changes something, it stops and rolls back at once", .timeLimit(.minutes(15)))
  func apply() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    try daemon.park()
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startUpdate()
    let frozen = try #require(try await watch.freeze(.apply, workerOf: daemon.process.pid))
    guard frozen.phase == .apply else { return }
    try daemon.put("parking_brake", "\"released\"")
    frozen.letGo()
    let ended = try await daemon.ended(id)
    #expect(ended.outcome == .rolledBack, "\(ended)")
    #expect(ended.error?.code == .gateClosed)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "While a run is active, everybody is told not to move anything, and when it is over",
    .timeLimit(.minutes(15)))
  func lock() async throws {
    let (_, daemon, id, frozen) = try await waiting(600)
    let safety = try daemon.safety()
    #expect(safety.updateInProgress?.run == id)
    #expect(
      safety.updateInProgress?.message
        == "Update in progress: do not move slides, jacks or awnings, and do not drive off.")
    frozen.letGo()
    try daemon.put("parking_brake", "\"engaged\"")
    _ = try await daemon.ended(id)
    try await waitUntil("it is over") { try daemon.safety().updateInProgress == nil }
    #expect(await daemon.stop() == .exited(0))
  }
}

@Suite("What people say of the coach", .serialized)
struct PeopleTests {
  private static let config = """
    environment = "development"
    [coach]
    required_gates = ["parked"]
    """

  @Test(
    "A technician's word opens a gate, and is in the audit and in the report",
    .timeLimit(.minutes(15)))
  func technician() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    #expect(try daemon.ask("POST", "/api/database/update", "{}").status == 409)
    let answer = try await coach.run("coach", "attest", "vehicle_speed=0", "parking_brake=engaged")
    #expect(answer.code == 0, "\(answer)")
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.attestations?.map(\.signal) == ["vehicle_speed", "parking_brake"])
    #expect(run.attestations?.allSatisfy { $0.source.hasPrefix("attestation by cli:") } == true)
    let audit = try await coach.run("audit", "--json")
    #expect(audit.output.contains("parking_brake=engaged"), "\(audit)")

    // A device says otherwise: the word ends, and that is in the audit too.
    try daemon.put("parking_brake", "\"released\"")
    let after = try await coach.run("audit", "--json")
    #expect(after.output.contains("\"end_attestation\""), "\(after)")
    #expect(try daemon.safety().gates.first?.state == .violated)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "An owner's word needs the PIN, and wrong ones lock it, also over a restart",
    .timeLimit(.minutes(15)))
  func pin() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    func attest(_ pin: String?) throws -> (status: Int, text: String) {
      let field = pin.map { ", \"pin\": \"\($0)\"" } ?? ""
      let answer = try daemon.askOverTCP(
        "POST", "/api/safety/attestations",
        "{\"signal\": \"parking_brake\", \"value\": \"engaged\"\(field)}")
      return (answer.status, answer.text)
    }
    #expect(try attest("1234").status == 403)
    #expect(try attest("1234").text.contains("none is set"))
    #expect(try await coach.run(["pin", "set"], input: "12x4\n").code == 64)
    #expect(try await coach.run(["pin", "set"], input: "135791\n").code == 0)
    #expect(try attest(nil).text.contains("needs the owner"))
    #expect(try attest("135791").status == 204)
    for _ in 0..<5 { #expect(try attest("000000").status == 403) }
    #expect(try attest("135791").text.contains("too often"))
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try attest("135791").text.contains("too often"))
    // It never stands where somebody could read it.
    #expect(!TestCoach.text("\(coach.state)/access.json").contains("135791"))
    #expect(try await coach.run(["pin", "set"], input: "2468\n").code == 0)
    #expect(try attest("2468").status == 204)
    #expect(
      try daemon.askOverTCP("PUT", "/api/safety/pin", #"{"pin": "1111"}"#).status == 403)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Who holds a lock keeps updates from starting, also over a restart, until it is released or broken",
    .timeLimit(.minutes(15)))
  func locks() async throws {
    let coach = try Sample.coach(config: Self.config)
    var daemon = try await coach.serve()
    try daemon.park()
    let body = #"{"owner": "kitchen", "reason": "Supper is on.", "ttl_seconds": 3600}"#
    let path = "/api/safety/locks/supper"
    #expect(try daemon.askOverTCP("PUT", path, body).status == 204)
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    try daemon.park()
    let refused = try daemon.ask("POST", "/api/database/update", "{}")
    #expect(refused.status == 409 && refused.text.contains("Supper is on."), "\(refused.text)")
    #expect(try daemon.askOverTCP("DELETE", path, nil).status == 403)
    #expect(try daemon.askOverTCP("DELETE", "\(path)?owner=bath", nil).status == 403)
    #expect(
      try daemon.askOverTCP("PUT", path, body.replacing("kitchen", with: "bath")).status == 403)
    #expect(try daemon.safety().locks.map(\.owner) == ["kitchen"])
    #expect(try daemon.askOverTCP("DELETE", "\(path)?owner=kitchen", nil).status == 204)
    #expect(try daemon.askOverTCP("PUT", path, body).status == 204)
    #expect(try await coach.run("coach", "unlock", "supper").code == 0)
    #expect(try await coach.run("audit", "--json").output.contains("\"break_lock\""))
    #expect(try await coach.run("coach", "unlock", "supper").code == 66)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "An interlock that was reported once under a wrong name is forgotten by a technician",
    .timeLimit(.minutes(15)))
  func forget() async throws {
    let coach = try Sample.coach(
      config: Self.config.replacing("[\"parked\"]", with: "[\"interlocks\"]"))
    let daemon = try await coach.serve()
    func code() async throws -> Int32? {
      try await coach.run("coach", "forget", "interlock.slied").code
    }
    try daemon.put("interlock.slied", "\"violated\"")
    #expect(try await code() == 64)
    try daemon.put("interlock.slied", "\"violated\"", ttl: 0.01)
    try daemon.put("interlock.slide", "\"satisfied\"")
    try await waitUntil("it is silent") {
      try daemon.safety().gate("interlocks").state == .unknown
    }
    let path = "/api/safety/readings/interlock.slied"
    #expect(try daemon.askOverTCP("DELETE", path, nil).status == 403)
    #expect(try await code() == 0)
    #expect(try daemon.safety().gate("interlocks").state == .satisfied)
    #expect(try await coach.run("audit", "--json").output.contains("\"forget\""))
    #expect(try await code() == 64)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Last words that cannot be read, or not be written, let nobody vouch that a coach stands",
    .timeLimit(.minutes(15)))
  func unreadableLastWords() async throws {
    let coach = try Sample.coach(config: Self.config)
    try coach.folder.write("[{", to: "state/last-words.json")
    var daemon = try await coach.serve()
    func attest() async throws -> Int32? {
      try await coach.run("coach", "attest", "vehicle_speed=0", "parking_brake=engaged").code
    }
    #expect(try await attest() != 0)
    #expect(try daemon.safety().gate("parked").state == .unknown)
    #expect(try await coach.run("coach", "forget", "vehicle_speed").code == 0)
    #expect(try await attest() == 0)
    #expect(try daemon.safety().gate("parked").state == .satisfied)

    // What could not be written at first is written at the end.
    let blocked = "\(coach.state)/last-words.json.partial"
    try #require(mkdir(blocked, 0o700) == 0)
    try daemon.put("vehicle_speed", "40", ttl: 0.01)
    try await waitUntil("it could not be written") {
      daemon.call.error.contains("could not be written down")
    }
    try #require(rmdir(blocked) == 0)
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try await attest() != 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Who asks for the plan of a database that is locked keeps nobody from watching the coach",
    .timeLimit(.minutes(15)))
  func planOfALockedDatabase() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    try daemon.park()
    let connection = try Connection(path: coach.database, mode: .readWrite)
    try connection.execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
    async let plan = Task.detached { try daemon.ask("GET", "/api/database/plan", nil) }.value
    let open = "/proc/\(daemon.process.pid)/fd"
    try await waitUntil("the plan is being made") {
      try FileSystem.names(in: open).contains {
        FileSystem.canonical("\(open)/\($0)") == coach.database
      }
    }
    try daemon.put("parking_brake", "\"released\"")
    #expect(try daemon.safety().gate("parked").state == .violated)
    try connection.execute("COMMIT")
    #expect(try await plan.status == 200)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A file of locks that cannot be read holds updates back", .timeLimit(.minutes(15)))
  func unreadableLocks() async throws {
    let coach = try Sample.coach(config: Self.config)
    try coach.folder.write("[{", to: "state/locks.json")
    let daemon = try await coach.serve()
    try daemon.park()
    #expect(try daemon.ask("POST", "/api/database/update", "{}").status == 409)
    #expect(try await coach.run("coach", "unlock", "unreadable").code == 0)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(await daemon.stop() == .exited(0))
  }
}
