import Coach
import Testing

@Suite("What speaks against an update outlasts the silence of its source") struct LastWordTests {
  @Test(
    "Another source's good word is not enough, until a person gives theirs",
    arguments: [
      ("vehicle_speed", ReadingValue.number(40), ReadingValue.number(0), GateID.parked),
      ("parking_brake", .text("released"), .text("engaged"), .parked),
      ("transmission_gear", .text("drive"), .text("park"), .parked),
      ("selected_gear", .text("drive"), .text("park"), .parked),
      ("in_tow", .flag(true), .flag(false), .parked),
      ("interlock.slide_room", .text("violated"), .text("satisfied"), .interlocks),
    ])
  func contradicted(signal: String, bad: ReadingValue, good: ReadingValue, gate: GateID) throws {
    var coach = try TestCoach.parked()
    coach.hear(signal, bad, for: 5)
    #expect(try coach.gate(gate).state == .violated)
    coach.wait(6)
    try coach.put("vehicle_speed", .number(0))
    try coach.put("parking_brake", .text("engaged"))
    try coach.put(signal, good)
    let verdict = try coach.gate(gate)
    #expect(verdict.state == .unknown)
    #expect(
      verdict.reason.hasSuffix("is \(good) by coachiq, but \(bad) was the last word of can0/9C."))
    #expect(verdict.attestable.contains { $0.signal == signal && $0.value == good })
    try coach.attest(signal, good)
    #expect(try coach.gate(gate).state == .satisfied)
    // The device comes back, and goes: its word is the last one again.
    coach.hear(signal, bad, for: 1)
    coach.wait(1)
    #expect(try coach.gate(gate).state == .unknown)
    coach.hear(signal, good, for: 1)
    coach.wait(1)
    #expect(try coach.gate(gate).state == .satisfied)
  }

  @Test("An emergency stop too") func emergencyStop() throws {
    var coach = try TestCoach.parked()
    coach.hear("emergency_stop", .text("active"), for: 5)
    coach.wait(6)
    try coach.put("emergency_stop", .text("inactive"))
    #expect(try coach.gate(.emergencyStop).state == .unknown)
  }

  @Test("But not the engine and the ignition, which are what silences a bus") func engine() throws {
    var coach = try TestCoach.parked()
    coach.hear("engine_running", .flag(true), for: 2)
    coach.hear("ignition", .text("on"), for: 2)
    coach.wait(3)
    #expect(try coach.gate(.engineOff).state == .satisfied)
    #expect(try coach.gate(.ignition).state == .satisfied)
  }

  @Test("Nor an alarm, which nobody takes back") func alarm() throws {
    var coach = try TestCoach.parked()
    coach.hear("parking_brake", .text("released"), for: 2, by: "can0/FC", vetoOnly: true)
    #expect(try coach.gate(.parked).state == .violated)
    coach.wait(3)
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.restart()
    #expect(coach.readings.all.isEmpty)
  }

  @Test("And a restart: nobody vouches away that the coach moved") func restart() throws {
    for vetoOnly in [false, true] {
      var coach = TestCoach()
      coach.hear("vehicle_speed", .number(40), vetoOnly: vetoOnly)
      coach.hear("parking_brake", .text("released"))
      coach.hear("ignition", .text("on"))
      coach.restart()
      #expect(coach.readings.all.map(\.signal) == ["parking_brake", "vehicle_speed"])
      #expect(!coach.readings.all.contains { $0.isFresh(at: coach.now) })
      #expect(try coach.gate(.parked).state == .unknown)
      let error = coachError { try coach.attest("vehicle_speed", .number(0)) }
      #expect(error?.message == "The last that can0/9C said is that the coach moves.")
      try coach.attest("parking_brake", .text("engaged"))
      coach.wait(1)
      coach.hear("vehicle_speed", .number(0), for: 2)
      #expect(try coach.gate(.parked).state == .satisfied)
      coach.wait(3)
      try coach.attest("vehicle_speed", .number(0))
      #expect(try coach.gate(.parked).state == .satisfied)
    }
  }

  @Test("What is written down changes with what is said, and not with what is repeated")
  func version() throws {
    var coach = TestCoach()
    coach.hear("vehicle_speed", .number(0))
    #expect(coach.readings.lastWordsVersion == 0)
    for speed in 1...50 { coach.hear("vehicle_speed", .number(Double(speed))) }
    #expect(coach.readings.lastWordsVersion == 1)
    coach.hear("vehicle_speed", .number(0))
    #expect(coach.readings.lastWordsVersion == 2)
    #expect(coach.readings.lastWords.isEmpty)
  }

  @Test("A technician has forgotten what is silent, and nothing else") func forget() throws {
    var coach = try TestCoach.parked()
    coach.hear("interlock.slied", .text("violated"), for: 5)
    func refusal(_ signal: String) -> String? {
      var readings = coach.readings
      return coachError { _ = try readings.forget(signal, now: coach.now) }?.message
    }
    #expect(refusal("interlock.slied") == "can0/9C reports interlock.slied (violated).")
    #expect(refusal("interlock.slide") == "No device has reported interlock.slide.")
    coach.hear("vehicle_speed", .number(3), for: 5)
    coach.wait(11)
    #expect(
      refusal("vehicle_speed") == "The last that can0/9C said is that the coach moves.")
    let before = coach.readings.lastWordsVersion
    #expect(try coach.readings.forget("interlock.slied", now: coach.now).count == 1)
    #expect(coach.readings.lastWordsVersion == before + 1)
    try coach.put("interlock.slide_room", .text("satisfied"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
  }

  @Test("A device that only ever says \"error\" is there, and unknown") func error() throws {
    var coach = try TestCoach.parked()
    coach.fail("interlock.slide_2")
    let gate = try coach.gate(.interlocks)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The interlock slide_2 has not been reported by can0/9C yet.")
    // "Not available" is what a coach without a second slide says.
    coach.hear("interlock.slide_3", nil)
    _ = try coach.readings.forget("interlock.slide_2", now: coach.now)
    #expect(try coach.gate(.interlocks).state == .satisfied)
    coach.fail("interlock.slide_2")
    coach.hear("interlock.slide_2", .text("satisfied"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
    coach.fail("interlock.slide_2")
    #expect(try coach.gate(.interlocks).state == .unknown)
    for index in 0..<10_000 { coach.fail("interlock.x\(index)") }
  }

  @Test("A selected gear that would move the coach is enough to say no") func selectedGear() throws
  {
    var coach = try TestCoach.parked()
    coach.hear("selected_gear", .text("drive"))
    #expect(try coach.gate(.parked).reason == "The gear drive is selected.")
    coach.hear("selected_gear", .text("park"))
    #expect(try coach.gate(.parked).state == .satisfied)
  }

  @Test("Positions are shown, and decide nothing") func position() throws {
    var coach = try TestCoach.parked()
    coach.hear("position.slide_1", .number(100), for: 3600)
    coach.hear("position.slide_1", .number(0), by: "can1/9C")
    #expect(coach.verdict().isSafe)
  }
}
