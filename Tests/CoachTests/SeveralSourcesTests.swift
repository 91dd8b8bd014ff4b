import Coach
import Testing

@Suite("Several sources of one signal") struct SeveralSourcesTests {
  @Test("Two that disagree violate, and both are named") func conflict() throws {
    var coach = try TestCoach.parked()
    coach.hear("parking_brake", .text("released"))
    let gate = try coach.gate(.parked)
    #expect(gate.state == .violated)
    #expect(
      gate.reason == "The parking brake is released by can0/9C and engaged by coachiq.")
    #expect(gate.readings.filter { $0.signal == "parking_brake" }.count == 2)
  }

  @Test(
    "So it is with every signal that decides",
    arguments: [
      ("vehicle_speed", ReadingValue.number(40), GateID.parked),
      ("in_tow", .flag(true), .parked), ("transmission_gear", .text("drive"), .parked),
      ("engine_running", .flag(true), .engineOff), ("ignition", .text("on"), .ignition),
      ("interlock.slide_room", .text("violated"), .interlocks),
      ("emergency_stop", .text("active"), .emergencyStop),
      ("active_controls", .text("some"), .noActiveControls),
      ("shore_power", .text("off"), .power), ("undervoltage", .flag(true), .power),
    ])
  func everySignal(signal: String, bad: ReadingValue, gate: GateID) throws {
    let good: [String: ReadingValue] = [
      "vehicle_speed": .number(0), "in_tow": .flag(false), "transmission_gear": .text("park"),
      "engine_running": .flag(false), "ignition": .text("off"),
      "interlock.slide_room": .text("satisfied"), "emergency_stop": .text("inactive"),
      "active_controls": .text("none"), "shore_power": .text("on"), "undervoltage": .flag(false),
    ]
    var coach = try TestCoach.parked()
    try coach.put(signal, try #require(good[signal]))
    #expect(try coach.gate(gate).state == .satisfied)
    coach.hear(signal, bad)
    let verdict = try coach.gate(gate)
    #expect(verdict.state == .violated)
    #expect(verdict.reason.contains("can0/9C") && verdict.reason.contains("coachiq"))
  }

  @Test("Of two speeds that both stand, or two batteries, the worse counts") func worse() throws {
    var coach = try TestCoach.parked()
    coach.hear("vehicle_speed", .number(0.3))
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.hear("supply_voltage", .number(11.4))
    #expect(try coach.gate(.power).reason.hasPrefix("The battery has 11.4 V"))
    coach.hear("connections", .number(2))
    #expect(try coach.gate(.noActiveConnections).state == .violated)
  }

  @Test("A heavy transmission that says neutral where another says park is no conflict")
  func gears() throws {
    var coach = try TestCoach.parked()
    try coach.put("transmission_gear", .text("park"))
    coach.hear("transmission_gear", .text("neutral"))
    #expect(try coach.gate(.parked).state == .satisfied)
  }

  @Test("A source that falls silent is covered by one that goes on; all silent is unknown")
  func silence() throws {
    var coach = try TestCoach.parked()
    coach.hear("parking_brake", .text("engaged"), for: 5)
    coach.wait(6)
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.wait(5)
    let gate = try coach.gate(.parked)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The vehicle speed was last heard 11 s ago (0, by coachiq).")
  }

  @Test("A source that says \"not available\" has no last word to rely on") func sentinel() throws {
    var coach = TestCoach()
    coach.hear("vehicle_speed", .number(0))
    coach.hear("parking_brake", .text("engaged"))
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.hear("parking_brake", nil)
    let gate = try coach.gate(.parked)
    #expect(gate.state == .unknown)
    #expect(gate.reason.contains("engaged, by can0/9C"))
  }

  @Test("A source that may only veto is never the reason to allow an update") func vetoOnly() throws
  {
    var coach = TestCoach()
    for (signal, value) in [
      ("vehicle_speed", ReadingValue.number(0)), ("parking_brake", .text("engaged")),
      ("interlock.slides", .text("satisfied")), ("connections", .number(0)),
      ("engine_running", .flag(false)), ("ignition", .text("off")), ("supply_voltage", .number(13)),
    ] {
      coach.hear(signal, value, by: "http://127.0.0.1:8000", vetoOnly: true)
    }
    let gates: [GateID] = [
      .parked, .interlocks, .noActiveControls, .noActiveConnections, .engineOff, .ignition, .power,
    ]
    for gate in gates { #expect(try coach.gate(gate).state == .unknown, "\(gate)") }
    #expect(try coach.gate(.parked).reason.contains("whose word is not enough"))
    coach.hear("parking_brake", .text("released"), by: "http://127.0.0.1:8000", vetoOnly: true)
    #expect(try coach.gate(.parked).state == .violated)
  }

  @Test("A veto beside a source that allows is a veto") func veto() throws {
    var coach = try TestCoach.parked()
    coach.hear("interlock.coachiq", .text("violated"), by: "http://x:1", vetoOnly: true)
    #expect(try coach.gate(.interlocks).state == .violated)
    coach.hear("interlock.coachiq", .text("satisfied"), by: "http://x:1", vetoOnly: true)
    #expect(try coach.gate(.interlocks).state == .satisfied)
    // It need not go on saying that all is well; a veto does not go away by silence.
    coach.hear("interlock.coachiq", nil, by: "http://x:1", vetoOnly: true)
    #expect(try coach.gate(.interlocks).state == .satisfied)
    coach.hear("interlock.coachiq", .text("violated"), by: "http://x:1", vetoOnly: true)
    coach.hear("interlock.coachiq", nil, by: "http://x:1", vetoOnly: true)
    #expect(try coach.gate(.interlocks).state == .unknown)
  }

  @Test("What a configured source has to report is unknown until it does") func expected() throws {
    var coach = try TestCoach.parked()
    #expect(try coach.gate(.emergencyStop).state == .satisfied)
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
    coach.readings.expect(["emergency_stop", "active_controls"], from: "http://x:1")
    for gate in [GateID.emergencyStop, .noActiveControls] {
      #expect(try coach.gate(gate).state == .unknown)
      #expect(try coach.gate(gate).reason.contains("http://x:1"))
    }
    coach.hear("emergency_stop", .text("inactive"), by: "http://x:1", vetoOnly: true)
    coach.hear("active_controls", .text("none"), by: "http://x:1", vetoOnly: true)
    #expect(try coach.gate(.emergencyStop).state == .satisfied)
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
  }

  @Test(
    "Nobody speaks in the name of a bus, a file or a person",
    arguments: ["can0/9C", "/proc/net/tcp", "http://127.0.0.1:8000", "attestation by ann"])
  func names(source: String) throws {
    var coach = TestCoach()
    #expect(
      coachError { try coach.put("parking_brake", .text("engaged"), by: source) }?.field == "source"
    )
  }

  @Test("A bus that babbles does not fill the memory, and blocks") func babbling() throws {
    var coach = try TestCoach.parked()
    for source in 0..<254 {
      for instance in 0..<20 {
        coach.hear("interlock.slide_\(instance)", .text("satisfied"), by: "can0/\(source)")
      }
    }
    #expect(coach.readings.all.count <= 4096)
    #expect(try coach.gate(.interlocks).state == .violated)
    coach.wait(61)
    for _ in 0..<5 { coach.hear("interlock.slide_1", .text("satisfied"), by: "can0/new") }
    #expect(try coach.gate(.interlocks).reason.contains("flood") == false)
  }
}

@Suite("Parked for long enough") struct DebounceTests {
  private func coach() throws -> TestCoach {
    var coach = TestCoach()
    coach.policy.parkedForSeconds = 60
    return coach
  }

  private func drive(_ coach: inout TestCoach, for seconds: Int, brake: String = "engaged") {
    for _ in 0..<seconds {
      coach.wait(1)
      coach.hear("vehicle_speed", .number(0), for: 5)
      coach.hear("parking_brake", .text(brake), for: 5)
    }
  }

  @Test("A coach is parked after it has been so for 60 s without a gap") func debounce() throws {
    var coach = try coach()
    drive(&coach, for: 31)
    let gate = try coach.gate(.parked)
    #expect(gate.state == .violated)
    #expect(
      gate.reason
        == "The coach stands with the parking brake set, and has done so for 30 s of 60 s.")
    #expect(gate.howToClear == "Wait 30 s.")
    #expect(
      coach.readings.nextChange(after: coach.now, coach.policy) == coach.now + .seconds(5))
    drive(&coach, for: 30)
    #expect(try coach.gate(.parked).state == .satisfied)
  }

  @Test("A released brake or a silence begins the time anew") func gap() throws {
    var coach = try coach()
    drive(&coach, for: 70)
    #expect(try coach.gate(.parked).state == .satisfied)
    drive(&coach, for: 1, brake: "released")
    drive(&coach, for: 60)
    #expect(try coach.gate(.parked).state == .violated)
    drive(&coach, for: 1)
    #expect(try coach.gate(.parked).state == .satisfied)
    coach.wait(6)
    #expect(try coach.gate(.parked).state == .unknown)
    drive(&coach, for: 1)
    #expect(try coach.gate(.parked).state == .violated)
  }

  @Test("Another source that said otherwise begins it anew, also when it is silent by now")
  func otherSource() throws {
    var coach = try coach()
    drive(&coach, for: 70)
    coach.hear("parking_brake", .text("released"), for: 2, by: "can1/21", vetoOnly: true)
    drive(&coach, for: 3)
    #expect(try coach.gate(.parked).state == .violated)
    #expect(try coach.gate(.parked).reason.contains("for 3 s of 60 s"))
  }

  @Test("A person's word needs no waiting") func attested() throws {
    var coach = try coach()
    try coach.attest("vehicle_speed", .number(0))
    try coach.attest("parking_brake", .text("engaged"))
    #expect(try coach.gate(.parked).state == .satisfied)
  }
}

@Suite("A bus that is not heard") struct SilentBusTests {
  @Test("Matters where its profile reads commands: a J1939 chassis may be silent")
  func tellsOfControls() throws {
    for (name, expected) in [
      ("rvc", true), ("rvc-multiplexed", true), ("no-chassis-bus", true), ("j1939", false),
    ] {
      #expect(try #require(Profile.builtIn(name)).tellsOfControls == expected, "\(name)")
    }
  }

  @Test("Hides what moves on it, however well the others are heard") func silentBus() throws {
    var coach = try TestCoach.parked()
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
    coach.facts.silentBuses = ["can1"]
    let gate = try coach.gate(.noActiveControls)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "can1 is not heard, so that nobody knows what moves there.")
    try coach.attest("active_controls", .text("none"))
    #expect(try coach.gate(.noActiveControls).state == .satisfied)
  }

  @Test("What has to be secured, and is never reported, is unknown") func securedUnreported() throws
  {
    var coach = try TestCoach.parked()
    coach.policy.requireSecured = ["slide"]
    #expect(try coach.gate(.interlocks).state == .unknown)
    try coach.put("secured.slide_1", .text("secured"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
  }

  @Test("Nobody pushes that the clock is right, and names are not kept without end") func limits()
    throws
  {
    var coach = TestCoach()
    #expect(coachError { try coach.put("clock", .text("right")) }?.field == "signal")
    let error = coachError {
      for index in 0..<1000 { try coach.put("secured.\(index)", .text("secured")) }
    }
    #expect(error?.field == "signal")
  }
}
