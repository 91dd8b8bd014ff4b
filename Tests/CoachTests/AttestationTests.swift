import Coach
import Testing

@Suite("A person's word") struct AttestationTests {
  @Test("Resolves a silent bus, and is gone after its time") func silentBus() throws {
    var coach = try TestCoach.parked()
    coach.wait(11)
    #expect(try coach.gate(.parked).state == .unknown)
    try coach.attest("vehicle_speed", .number(0), for: 60)
    try coach.attest("parking_brake", .text("engaged"), for: 60)
    #expect(try coach.gate(.parked).state == .satisfied)
    #expect(coach.readings.all.count { $0.isAttested && $0.isFresh(at: coach.now) } == 2)
    coach.wait(60)
    #expect(try coach.gate(.parked).state == .unknown)
    #expect(!coach.readings.all.contains { $0.isAttested && $0.isFresh(at: coach.now) })
  }

  @Test("Ends at once when a device says otherwise, and the ended one is told") func contrary()
    throws
  {
    var coach = TestCoach()
    try coach.attest("vehicle_speed", .number(0))
    try coach.attest("parking_brake", .text("engaged"))
    #expect(coach.hear("parking_brake", .text("released")).map(\.signal) == ["parking_brake"])
    #expect(try coach.gate(.parked).state == .violated)
    coach.hear("parking_brake", nil)
    #expect(try coach.gate(.parked).state == .unknown)
  }

  @Test("Every word about being parked ends when a device says that the coach moves")
  func moving() throws {
    for speed in [ReadingValue.number(3), .text("moving")] {
      var coach = TestCoach()
      try coach.attest("vehicle_speed", .number(0))
      #expect(coach.hear("vehicle_speed", speed).map(\.signal) == ["vehicle_speed"])
      #expect(try coach.gate(.parked).state == .violated)
    }
  }

  @Test("That the coach moves can never be attested away") func neverMoving() throws {
    var coach = TestCoach()
    coach.hear("vehicle_speed", .number(60), for: 5)
    #expect(coachError { try coach.attest("vehicle_speed", .number(0)) } != nil)
    coach.wait(3600)
    let error = coachError { try coach.attest("vehicle_speed", .number(0)) }
    #expect(error?.message == "The last that can0/9C said is that the coach moves.")
    coach.hear("vehicle_speed", .number(0), for: 5)
    coach.wait(5)
    try coach.attest("vehicle_speed", .number(0))
  }

  @Test("Is offered for what would be taken, and what is offered opens the gate") func offered()
    throws
  {
    var coach = try TestCoach.parked()
    #expect(coach.verdict().gates.flatMap(\.attestable).isEmpty)
    coach.wait(11)
    let offered = try coach.gate(.parked).attestable
    #expect(offered.map(\.signal) == ["vehicle_speed", "parking_brake", "transmission_gear"])
    for word in offered { try coach.attest(word.signal, try #require(word.value)) }
    #expect(try coach.gate(.parked).state == .satisfied)
    // A word that holds a gate open can be renewed before it ends.
    #expect(try coach.gate(.parked).attestable == offered)
    #expect(try coach.gate(.power).attestable.map(\.signal) == ["supply_voltage", "shore_power"])
    #expect(try coach.gate(.emergencyStop).attestable.isEmpty)
  }

  @Test("Is not offered where it would be refused") func notOffered() throws {
    var coach = TestCoach()
    coach.hear("vehicle_speed", .number(60), for: 5)
    coach.wait(5)
    #expect(try coach.gate(.parked).attestable.contains { $0.signal == "vehicle_speed" } == false)
    coach.policy.mayAttest = ["transmission_gear"]
    #expect(try coach.gate(.parked).attestable.map(\.signal) == ["transmission_gear"])
  }

  @Test("Nor away by a source that may only veto, or by the driver's second speedometer of before")
  func movingBesideOthers() throws {
    var coach = TestCoach()
    coach.hear("vehicle_speed", .number(0), for: 5, by: "can1/00")
    coach.wait(1)
    coach.hear("vehicle_speed", .number(60), for: 5)
    coach.wait(10)
    coach.hear("vehicle_speed", .number(0), for: 5, by: "http://x:1", vetoOnly: true)
    #expect(coachError { try coach.attest("vehicle_speed", .number(0)) } != nil)
    coach.hear("vehicle_speed", .number(0), for: 5, by: "can1/00")
    coach.wait(10)
    try coach.attest("vehicle_speed", .number(0))
  }

  @Test("Outlives a device that says the same, and falls silent again") func agreeing() throws {
    var coach = TestCoach()
    try coach.attest("parking_brake", .text("engaged"))
    #expect(coach.hear("parking_brake", .text("engaged"), for: 5).isEmpty)
    coach.wait(5)
    try coach.attest("vehicle_speed", .number(0))
    #expect(try coach.gate(.parked).state == .satisfied)
  }

  @Test("Counts for what the policy names, and for nothing else") func policy() throws {
    var coach = TestCoach()
    for signal in ["emergency_stop", "undervoltage"] {
      let value: ReadingValue = signal == "undervoltage" ? .flag(false) : .text("inactive")
      #expect(coachError { try coach.attest(signal, value) }?.field == "signal")
    }
    try coach.attest("interlock.slides", .text("satisfied"))
    coach.policy.mayAttest = ["parking_brake"]
    #expect(coachError { try coach.attest("vehicle_speed", .number(0)) }?.field == "signal")
    #expect(coachError { try coach.attest("interlock.a", .text("satisfied")) }?.field == "signal")
    try coach.attest("parking_brake", .text("engaged"))
  }

  @Test("A veto is not overruled, though its source alone would not be enough") func veto() throws {
    var coach = TestCoach()
    coach.hear("parking_brake", .text("released"), by: "http://x:1", vetoOnly: true)
    #expect(coachError { try coach.attest("parking_brake", .text("engaged")) } != nil)
    coach.hear("parking_brake", .text("engaged"), by: "http://x:1", vetoOnly: true)
    try coach.attest("parking_brake", .text("engaged"))
    try coach.attest("vehicle_speed", .number(0))
    #expect(try coach.gate(.parked).state == .satisfied)
  }
}
