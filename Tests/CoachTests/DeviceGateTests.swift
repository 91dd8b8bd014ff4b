import Coach
import Testing

@Suite("Power") struct PowerTests {
  @Test("A battery above the minimum, or shore power, is enough") func enough() throws {
    var coach = TestCoach()
    #expect(try coach.gate(.power).state == .unknown)
    try coach.put("supply_voltage", .number(12))
    #expect(try coach.gate(.power).reason == "The battery has 12 V.")
    try coach.put("supply_voltage", .number(11.96))
    let gate = try coach.gate(.power)
    #expect(gate.state == .violated)
    #expect(gate.neededVolts == 12)
    #expect(gate.reason == "The battery has 11.96 V; an update and its recovery need 12 V.")
    try coach.put("shore_power", .text("on"))
    #expect(try coach.gate(.power).state == .satisfied)
  }

  @Test("A board that has too little violates, whatever the battery has") func undervoltage() throws
  {
    var coach = try TestCoach.parked()
    coach.hear("undervoltage", .flag(true), for: 5, by: "board")
    #expect(try coach.gate(.power).state == .violated)
    coach.wait(5)
    #expect(try coach.gate(.power).state == .unknown)
    coach.hear("undervoltage", .flag(false), by: "board")
    #expect(try coach.gate(.power).state == .satisfied)
  }

  @Test("The board's own sensor is enough where the owner says so") func boardAlone() throws {
    var coach = TestCoach()
    coach.hear("undervoltage", .flag(false), by: "board")
    #expect(try coach.gate(.power).state == .unknown)
    coach.policy.minimumVolts = 0
    #expect(try coach.gate(.power).state == .satisfied)
  }
}

@Suite("Clock") struct ClockTests {
  @Test(
    "A clock of another age, or behind what was written down, violates",
    arguments: [
      (0.0, nil), (4_102_444_801, nil), (1_800_000_000, 1_800_000_061),
      (1_800_000_000, 1_900_000_000),
    ] as [(Double, Double?)])
  func wrong(now: Double, lastSeen: Double?) throws {
    var coach = TestCoach()
    coach.facts.clock = ClockFacts(now: now, lastSeen: lastSeen)
    #expect(try coach.gate(.clock).state == .violated)
  }

  @Test("A person can say that it was wrong before, and not that it is 1970") func attested() throws
  {
    var coach = TestCoach()
    coach.facts.clock = ClockFacts(now: 1_800_000_000, lastSeen: 4_000_000_000)
    #expect(try coach.gate(.clock).state == .violated)
    try coach.attest("clock", .text("right"))
    #expect(try coach.gate(.clock).state == .satisfied)
    coach.facts.clock.now = 0
    #expect(try coach.gate(.clock).state == .violated)
  }

  @Test("A correction of less than a minute does not") func correction() throws {
    var coach = TestCoach()
    coach.facts.clock = ClockFacts(now: 1_800_000_000, lastSeen: 1_800_000_059)
    #expect(try coach.gate(.clock).state == .satisfied)
  }
}

@Suite("People") struct PeopleTests {
  @Test("A file that needs a technician closes the gate until one has started it")
  func technician() throws {
    var coach = try TestCoach.parked()
    coach.facts.technician = .needed(by: "0002_b.sql")
    #expect(try coach.gate(.technician).reason == "0002_b.sql needs a technician.")
    #expect(!coach.verdict().isSafe)
    coach.facts.technician = .present
    #expect(coach.verdict().isSafe)
  }

  @Test("A lock holds updates back, whatever the config requires") func lock() throws {
    var coach = try TestCoach.parked()
    coach.policy.requiredGates = []
    #expect(coach.verdict().isSafe)
    coach.facts.locks = [
      try UpdateLock(
        id: "supper", owner: "ann", reason: "We are cooking.", ttlSeconds: 7200,
        now: coach.facts.clock.now)
    ]
    let gate = try coach.gate(.updateLock)
    #expect(gate.state == .violated)
    #expect(gate.reason == "ann holds updates back for 2 h: We are cooking.")
    #expect(!coach.verdict().isSafe)
  }

  @Test(
    "A lock ends at its time, and a clock that went back and does not vanish when the clock goes back"
  ) func lockEnds()
    throws
  {
    let lock = try UpdateLock(id: "a", owner: "o", reason: "r", ttlSeconds: 60, now: 1000)
    #expect(lock.isHeld(at: 1000) && lock.isHeld(at: 1059) && !lock.isHeld(at: 1060))
    #expect(lock.isHeld(at: -1_000_000))
    for (id, owner, reason, seconds) in [
      ("", "o", "r", 1.0), ("a b", "o", "r", 1), ("a", "", "r", 1), ("a", "o", "r\n", 1),
      ("a", "o", "r", 0), ("a", "o", "r", 604_801), ("a", "o", "r", .nan),
    ] {
      #expect(
        coachError {
          _ = try UpdateLock(id: id, owner: owner, reason: reason, ttlSeconds: seconds, now: 0)
        } != nil)
    }
  }
}

@Suite("Interlocks that are there, and what has to be secured") struct InterlockPolicyTests {
  @Test("A coach that says it has none needs none") func none() throws {
    var coach = TestCoach()
    coach.policy.interlocks = []
    #expect(try coach.gate(.interlocks).state == .satisfied)
    try coach.put("interlock.surprise", .text("violated"))
    #expect(try coach.gate(.interlocks).state == .violated)
  }

  @Test("Those that the config names must be reported") func named() throws {
    var coach = try TestCoach.parked()
    coach.policy.interlocks = ["slide_room", "awning"]
    let gate = try coach.gate(.interlocks)
    #expect(gate.state == .unknown)
    #expect(gate.reason == "The interlock awning has not been reported yet.")
    try coach.put("interlock.awning", .text("satisfied"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
  }

  @Test("What is not secured matters only where the config asks for it") func secured() throws {
    var coach = try TestCoach.parked()
    try coach.put("secured.slide_1", .text("not_secured"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
    coach.policy.requireSecured = ["slide"]
    #expect(try coach.gate(.interlocks).state == .violated)
    try coach.put("secured.slide_1", .text("secured"))
    #expect(try coach.gate(.interlocks).state == .satisfied)
  }
}
