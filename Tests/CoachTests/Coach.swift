import Coach
import Testing

/// A coach with a hand-driven clock.
struct TestCoach {
  var readings = Readings()
  var now = ContinuousClock.now
  var facts = SafetyFacts(
    disk: DiskSpace(neededBytes: 1_000_000, availableBytes: 2_000_000),
    clock: ClockFacts(now: 1_800_000_000, lastSeen: nil))
  var policy = SafetyPolicy(requiredGates: Set(GateID.allCases))

  /// Parked, interlocked, idle and alone: every gate is satisfied for 10 s.
  static func parked() throws -> TestCoach {
    var coach = TestCoach()
    try coach.put("vehicle_speed", .number(0))
    try coach.put("parking_brake", .text("engaged"))
    try coach.put("interlock.slide_room", .text("satisfied"))
    try coach.put("connections", .number(0))
    try coach.put("engine_running", .flag(false))
    try coach.put("ignition", .text("off"))
    try coach.put("supply_voltage", .number(12.8))
    return coach
  }

  mutating func put(
    _ signal: String, _ value: ReadingValue, for seconds: Int = 10, by source: String = "coachiq"
  ) throws {
    try readings.put(
      signal: signal, value: value, ttl: .seconds(seconds), source: source, now: now)
  }

  /// What a source of chock's own says.
  @discardableResult
  mutating func hear(
    _ signal: String, _ value: ReadingValue?, for seconds: Int = 10, by source: String = "can0/9C",
    vetoOnly: Bool = false
  ) -> [Reading] {
    let content: Report.Content =
      value.map { .value($0, of: signal, lasting: .seconds(seconds)) } ?? .noValue(of: signal)
    return readings.take(Report(content, source: source, vetoOnly: vetoOnly), now: now)
  }

  /// A device that should know and cannot tell.
  mutating func fail(_ signal: String, by source: String = "can0/9C") {
    _ = readings.take(Report(.error(of: signal), source: source), now: now)
  }

  /// The readings of a daemon that has started again.
  mutating func restart() {
    let words = readings.lastWords
    readings = Readings()
    readings.takeOver(words, now: now)
  }

  mutating func attest(_ signal: String, _ value: ReadingValue, for seconds: Int = 900) throws {
    try readings.attest(
      signal: signal, value: value, ttl: .seconds(seconds), by: "ann", policy: policy, now: now)
  }

  mutating func wait(_ seconds: Int) {
    now += .seconds(seconds)
  }

  func verdict() -> SafetyVerdict { evaluate(readings, facts, policy, now: now) }

  func gate(_ id: GateID) throws -> GateVerdict {
    try #require(verdict().gates.first { $0.gate == id })
  }
}

/// The error that `body` throws; records an issue when it throws none.
func coachError(_ body: () throws -> Void) -> CoachError? {
  do {
    try body()
    Issue.record("threw nothing")
    return nil
  } catch {
    return error as? CoachError
  }
}
