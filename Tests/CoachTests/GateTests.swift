import Coach
import Testing

@Suite struct ParkedTests {
  @Test("Standing still with the brake set is parked") func parked() throws {
    let gate = try TestCoach.parked().gate(.parked)
    #expect(gate.state == .satisfied)
    #expect(gate.howToClear == nil)
  }

  @Test("Park gear stands in for a brake that nobody reports") func parkGear() throws {
    var coach = TestCoach()
    try coach.put("vehicle_speed", .number(0.4))
    try coach.put("transmission_gear", .text("park"))
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.wait(9)
    try coach.put("vehicle_speed", .number(0))
    coach.wait(1)
    #expect(try coach.gate(.parked).state == .unknown)
    #expect(
      try coach.gate(.parked).reason
        == "The transmission gear was last heard 10 s ago (park, by coachiq).")
  }

  @Test(
    "What speaks against it violates it, whatever else is fresh",
    arguments: [
      ("parking_brake", ReadingValue.text("released"), "The parking brake is released."),
      ("vehicle_speed", .number(0.5), "The coach is moving at 0.5 km/h."),
      ("in_tow", .flag(true), "The coach is in tow."),
      ("transmission_gear", .text("drive"), "The transmission is in drive."),
      ("transmission_gear", .text("reverse"), "The transmission is in reverse."),
    ])
  func contradictions(signal: String, value: ReadingValue, reason: String) throws {
    var coach = try TestCoach.parked()
    try coach.put("transmission_gear", .text("park"))
    try coach.put(signal, value)
    let gate = try coach.gate(.parked)
    #expect(gate.state == .violated)
    #expect(gate.reason == reason)
    #expect(gate.howToClear != nil)
  }

  @Test("Neutral with the brake set is parked; neutral alone is not") func neutral() throws {
    var coach = try TestCoach.parked()
    try coach.put("transmission_gear", .text("neutral"))
    #expect(try coach.gate(.parked).state == .satisfied)
    var other = TestCoach()
    try other.put("vehicle_speed", .number(0))
    try other.put("transmission_gear", .text("neutral"))
    #expect(try other.gate(.parked).reason == "The parking brake has not been reported yet.")
  }

  @Test("A released brake violates also when the speed is missing") func releasedAlone() throws {
    var coach = TestCoach()
    try coach.put("parking_brake", .text("released"))
    let gate = try coach.gate(.parked)
    #expect(gate.state == .violated)
    #expect(gate.howToClear == "Set the parking brake.")
  }

  @Test("A missing reading is unknown, and the sentence says which") func missing() throws {
    var coach = TestCoach()
    #expect(try coach.gate(.parked).reason == "The vehicle speed has not been reported yet.")
    try coach.put("vehicle_speed", .number(0))
    let gate = try coach.gate(.parked)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The parking brake has not been reported yet.")
    #expect(gate.readings.map(\.signal) == ["vehicle_speed", "parking_brake", "transmission_gear"])
    #expect(gate.readings[1].value == nil && gate.readings[1].stale)
  }

  @Test("A stale reading is unknown, with its age") func stale() throws {
    var coach = try TestCoach.parked()
    coach.wait(9)
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.wait(1)
    try coach.put("vehicle_speed", .number(0), for: 600)
    coach.wait(32)
    let gate = try coach.gate(.parked)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The parking brake was last heard 42 s ago (engaged, by coachiq).")
    #expect(gate.readings[1].value == .text("engaged"))
    #expect(gate.readings[1].age == .seconds(42))
    #expect(gate.readings[1].stale && !gate.readings[0].stale)
    coach.wait(120)
    #expect(
      try coach.gate(.parked).reason
        == "The parking brake was last heard 2 min ago (engaged, by coachiq).")
  }

  @Test("A released brake does not become harmless by growing old") func staleRelease() throws {
    var coach = TestCoach()
    try coach.put("parking_brake", .text("released"))
    coach.wait(10)
    try coach.put("vehicle_speed", .number(0))
    try coach.put("transmission_gear", .text("park"))
    #expect(try coach.gate(.parked).state == .unknown)
  }

  @Test("A coach that reports towing must keep doing so") func staleTow() throws {
    var coach = TestCoach()
    try coach.put("in_tow", .flag(false), for: 1)
    coach.wait(1)
    try coach.put("vehicle_speed", .number(0))
    try coach.put("parking_brake", .text("engaged"))
    #expect(try coach.gate(.parked).state == .unknown)
  }
}

@Suite struct InterlockTests {
  @Test("No interlock heard is unknown") func none() throws {
    let gate = try TestCoach().gate(.interlocks)
    #expect(gate.state == .unknown)
  }

  @Test("Every interlock must be satisfied, and the violated one is named") func violated() throws {
    var coach = try TestCoach.parked()
    #expect(try coach.gate(.interlocks).state == .satisfied)
    try coach.put("interlock.awning", .text("violated"))
    let gate = try coach.gate(.interlocks)
    #expect(gate.state == .violated)
    #expect(gate.reason == "The interlock awning is not satisfied.")
    #expect(gate.readings.map(\.signal) == ["interlock.awning", "interlock.slide_room"])
  }

  @Test("An interlock that falls silent is unknown, though the others speak") func silent() throws {
    var coach = try TestCoach.parked()
    try coach.put("interlock.awning", .text("satisfied"), for: 5)
    coach.wait(5)
    let gate = try coach.gate(.interlocks)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The interlock awning was last heard 5 s ago (satisfied, by coachiq).")
  }

  @Test("An active emergency stop violates; one that falls silent is unknown")
  func emergencyStop() throws {
    var coach = try TestCoach.parked()
    try coach.put("emergency_stop", .text("active"), for: 5)
    #expect(try coach.gate(.emergencyStop).reason == "The emergency stop is active.")
    #expect(try coach.gate(.emergencyStop).state == .violated)
    coach.wait(5)
    #expect(try coach.gate(.emergencyStop).state == .unknown)
    try coach.put("emergency_stop", .text("inactive"))
    #expect(try coach.gate(.emergencyStop).state == .satisfied)
  }
}

@Suite struct ActiveControlTests {
  @Test("A controller that never reported is unknown") func never() throws {
    let gate = try TestCoach().gate(.noActiveControls)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The controller has not reported yet.")
  }

  @Test("A live activity violates and is named, until it ends or runs out") func activity() throws {
    var coach = try TestCoach.parked()
    try coach.readings.putActivity(
      id: "s1", description: "slide 1 extending", ttl: .seconds(5), now: coach.now)
    #expect(try coach.gate(.noActiveControls).state == .violated)
    #expect(try coach.gate(.noActiveControls).reason == "The coach is busy: slide 1 extending.")
    try coach.readings.putActivity(id: "s2", description: "x", ttl: .seconds(5), now: coach.now)
    #expect(try coach.gate(.noActiveControls).reason.contains("(and 1 more)"))
    coach.readings.endActivity(id: "s2")
    coach.wait(5)
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
  }

  @Test("No activity counts only while the controller is heard") func silence() throws {
    var coach = try TestCoach.parked()
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
    coach.wait(10)
    let gate = try coach.gate(.noActiveControls)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The controller was last heard 10 s ago.")
  }

  @Test("A person's word for another signal does not prove that the controller lives")
  func attested() throws {
    var coach = TestCoach()
    try coach.attest("in_tow", .flag(false))
    #expect(try coach.gate(.noActiveControls).state == .unknown)
    try coach.attest("active_controls", .text("none"))
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
    try coach.put("active_controls", .text("some"))
    #expect(try coach.gate(.noActiveControls).state == .violated)
  }
}

@Suite struct ConnectionTests {
  @Test("Only a fresh zero is nobody") func connections() throws {
    var coach = TestCoach()
    #expect(try coach.gate(.noActiveConnections).state == .unknown)
    try coach.put("connections", .number(0))
    #expect(try coach.gate(.noActiveConnections).state == .satisfied)
    try coach.put("connections", .number(1))
    #expect(try coach.gate(.noActiveConnections).reason == "1 control connection is open.")
    try coach.put("connections", .number(2))
    let gate = try coach.gate(.noActiveConnections)
    #expect(gate.state == .violated)
    #expect(gate.reason == "2 control connections are open.")
    coach.wait(10)
    #expect(try coach.gate(.noActiveConnections).state == .unknown)
  }
}

@Suite struct DiskTests {
  @Test("Unmeasured space is unknown") func unknown() throws {
    var coach = TestCoach()
    coach.facts.disk = nil
    #expect(try coach.gate(.disk).state == .unknown)
  }

  @Test("Too little space shows what is needed and what there is") func tooLittle() throws {
    var coach = TestCoach()
    coach.facts.disk = DiskSpace(neededBytes: 150_000_001, availableBytes: 99_999_999)
    let gate = try coach.gate(.disk)
    #expect(gate.state == .violated)
    #expect(gate.reason == "The update needs 151 MB of disk space; 99 MB are free.")
    #expect(gate.howToClear == "Free at least 52 MB.")
  }

  @Test("Just enough is enough") func enough() throws {
    var coach = TestCoach()
    coach.facts.disk = DiskSpace(neededBytes: 5_000_000, availableBytes: 5_000_000)
    #expect(try coach.gate(.disk).state == .satisfied)
  }
}

@Suite struct VerdictTests {
  @Test("All gates open give a permit") func permit() throws {
    let verdict = try TestCoach.parked().verdict()
    #expect(verdict.isSafe)
    #expect(verdict.gates.map(\.gate) == GateID.allCases)
    #expect(SafetyPermit(verdict) != nil)
  }

  @Test("A missing reading is unknown, and unknown blocks") func unknownBlocks() {
    let verdict = TestCoach().verdict()
    #expect(!verdict.isSafe)
    let known: Set<GateID> = [.emergencyStop, .disk, .clock, .technician, .updateLock]
    #expect(verdict.blockers.map(\.gate) == GateID.allCases.filter { !known.contains($0) })
    #expect(SafetyPermit(verdict) == nil)
  }

  @Test("A gate that is not required is judged and shown, but does not block")
  func notRequired() throws {
    var coach = try TestCoach.parked()
    try coach.put("connections", .number(2))
    coach.policy.requiredGates = [.parked, .interlocks, .noActiveControls, .disk]
    let verdict = coach.verdict()
    let gate = try #require(verdict.gates.first { $0.gate == .noActiveConnections })
    #expect(gate.state == .violated && !gate.required)
    #expect(verdict.isSafe)
    #expect(SafetyPermit(verdict) != nil)
  }

  @Test("Every gate that is not satisfied says why and how to clear it") func sentences() throws {
    var empty = TestCoach()
    empty.facts.disk = nil
    empty.facts.clock.now = 0
    empty.facts.technician = .needed(by: "0002_b.sql")
    empty.facts.locks = [
      try UpdateLock(id: "l", owner: "ann", reason: "Cooking.", ttlSeconds: 60, now: 0)
    ]
    for gate in empty.verdict().gates where gate.gate != .emergencyStop {
      #expect(gate.state != .satisfied)
      #expect(gate.reason.hasSuffix(".") && gate.howToClear?.hasSuffix(".") == true)
      #expect(!gate.title.isEmpty)
    }
  }
}
