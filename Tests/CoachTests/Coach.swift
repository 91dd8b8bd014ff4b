import Coach
import Testing

/// A coach with a hand-driven clock.
struct TestCoach {
  var readings = Readings()
  var now = ContinuousClock.now
  var disk: DiskSpace? = DiskSpace(neededBytes: 1_000_000, availableBytes: 2_000_000)

  /// Parked, interlocked, idle and alone: every gate is satisfied for 10 s.
  static func parked() throws -> TestCoach {
    var coach = TestCoach()
    try coach.put("vehicle_speed", .number(0))
    try coach.put("parking_brake", .text("engaged"))
    try coach.put("interlock.slide_room", .text("satisfied"))
    try coach.put("connections", .number(0))
    return coach
  }

  mutating func put(_ signal: String, _ value: ReadingValue, for seconds: Int = 10) throws {
    try readings.put(
      signal: signal, value: value, ttl: .seconds(seconds), source: "coachiq", now: now)
  }

  mutating func wait(_ seconds: Int) {
    now += .seconds(seconds)
  }

  func verdict(required: Set<GateID> = Set(GateID.allCases)) -> SafetyVerdict {
    evaluate(readings, disk: disk, required: required, now: now)
  }

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
