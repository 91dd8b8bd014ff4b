import Coach
import FoundationEssentials
import Testing

@Suite struct ReadingsTests {
  @Test(
    "Every signal takes its values",
    arguments: [
      ("parking_brake", ReadingValue.text("released")), ("vehicle_speed", .number(88.5)),
      ("transmission_gear", .text("neutral")), ("engine_running", .flag(true)),
      ("ignition", .text("off")), ("in_tow", .flag(false)), ("emergency_stop", .text("inactive")),
      ("supply_voltage", .number(13.2)), ("interlock.awning-2", .text("violated")),
      ("connections", .number(3)), ("active_controls", .text("none")),
    ])
  func takes(signal: String, value: ReadingValue) throws {
    var coach = TestCoach()
    try coach.put(signal, value)
    #expect(coach.readings.readings(of: signal).map(\.value) == [value])
    #expect(coach.readings.readings(of: signal).map(\.source) == ["coachiq"])
  }

  @Test(
    "A value that the signal cannot have is refused with those that it can",
    arguments: [
      ("parking_brake", ReadingValue.text("on"), "engaged, released"),
      ("parking_brake", .flag(true), "engaged, released"),
      ("vehicle_speed", .text("0"), "0 to 300 (km/h)"), ("vehicle_speed", .number(-1), "0 to 300"),
      ("vehicle_speed", .number(.nan), "0 to 300"), ("in_tow", .number(0), "true or false"),
      ("connections", .number(0.5), "whole number"), ("connections", .number(-1), "whole number"),
      ("supply_voltage", .number(.infinity), "0 to 100 (V)"),
      ("interlock.awning", .text("ok"), "satisfied, violated"),
    ])
  func wrongValue(signal: String, value: ReadingValue, allowed: String) {
    var coach = TestCoach()
    let error = coachError { try coach.put(signal, value) }
    #expect(error?.field == "value")
    #expect(error?.message.contains(signal) == true)
    #expect(error?.howToClear.contains(allowed) == true)
    #expect(coach.readings.all.isEmpty)
  }

  @Test(
    "An unknown signal is refused with the known ones",
    arguments: ["parkingbrake", "", "interlock.", "interlock.a b", "interlock"])
  func unknownSignal(signal: String) {
    var coach = TestCoach()
    let error = coachError { try coach.put(signal, .flag(true)) }
    #expect(error?.field == "signal")
    #expect(error?.howToClear.contains("parking_brake") == true)
    #expect(error?.howToClear.contains("interlock.NAME") == true)
  }

  @Test("A lease lasts more than nothing and at most an hour") func ttl() throws {
    var coach = TestCoach()
    for seconds in [0, -1, 3601] {
      let error = coachError { try coach.put("in_tow", .flag(false), for: seconds) }
      #expect(error?.field == "ttl_seconds")
    }
    try coach.put("in_tow", .flag(false), for: 3600)
  }

  @Test("Names and descriptions are short plain text") func plainText() {
    var readings = Readings()
    let now = ContinuousClock.now
    for text in ["", "a\nb", String(repeating: "x", count: 201)] {
      #expect(
        coachError {
          try readings.put(
            signal: "in_tow", value: .flag(false), ttl: .seconds(1), source: text, now: now)
        }?.field == "source")
      #expect(
        coachError {
          try readings.putActivity(id: text, description: "d", ttl: .seconds(1), now: now)
        }?.field == "id")
      #expect(
        coachError {
          try readings.putActivity(id: "i", description: text, ttl: .seconds(1), now: now)
        }?.field == "description")
    }
  }

  @Test("A faulty client cannot fill the memory") func bounded() {
    var coach = TestCoach()
    let interlocks = coachError {
      for index in 0..<1000 { try coach.put("interlock.\(index)", .text("satisfied")) }
    }
    #expect(interlocks?.field == "signal")
    let activities = coachError {
      for index in 0..<1000 {
        try coach.readings.putActivity(
          id: "\(index)", description: "d", ttl: .seconds(5), now: coach.now)
      }
    }
    #expect(activities?.field == "id")
    #expect(coach.readings.activities(at: coach.now).count == 64)
  }

  @Test("The next change is the earliest end of a lease that still runs") func nextChange() throws {
    var coach = TestCoach()
    let start = coach.now
    #expect(coach.readings.nextChange(after: start, coach.policy) == nil)
    try coach.put("in_tow", .flag(false), for: 10)
    try coach.readings.putActivity(id: "a", description: "d", ttl: .seconds(5), now: start)
    #expect(coach.readings.nextChange(after: start, coach.policy) == start + .seconds(5))
    #expect(
      coach.readings.nextChange(after: start + .seconds(5), coach.policy) == start + .seconds(10))
    #expect(coach.readings.nextChange(after: start + .seconds(10), coach.policy) == nil)
    try coach.put("in_tow", .flag(false), for: 20)
    coach.readings.endActivity(id: "a")
    #expect(coach.readings.nextChange(after: start, coach.policy) == start + .seconds(20))
  }

  @Test("A person's word lasts 15 minutes at most and carries their name") func attest() throws {
    var coach = TestCoach()
    #expect(
      coachError {
        try coach.attest("in_tow", .flag(false), for: 901)
      }?.field == "ttl_seconds")
    try coach.attest("in_tow", .flag(false))
    let reading = try #require(coach.readings.readings(of: "in_tow").first)
    #expect(reading.source == "attestation by ann")
    #expect(reading.isAttested)
  }

  @Test("A person's word does not overrule what a device reports") func noOverruling() throws {
    var coach = TestCoach()
    try coach.put("parking_brake", .text("released"))
    #expect(coachError { try coach.attest("parking_brake", .text("engaged")) }?.field == "signal")
    coach.wait(10)
    try coach.attest("parking_brake", .text("engaged"))
    try coach.put("parking_brake", .text("released"))
    #expect(coach.readings.readings(of: "parking_brake").map(\.value) == [.text("released")])
  }

  @Test("A value is a bare JSON value") func json() throws {
    let values: [ReadingValue] = [.text("park"), .number(12.5), .flag(true), .number(1)]
    let data = try JSONEncoder().encode(values)
    #expect(String(decoding: data, as: UTF8.self) == #"["park",12.5,true,1]"#)
    #expect(try JSONDecoder().decode([ReadingValue].self, from: data) == values)
    #expect(values.map(\.description) == ["park", "12.5", "true", "1"])
    #expect(values.map { ReadingValue(parsing: $0.description) } == values)
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(ReadingValue.self, from: Data("[1]".utf8))
    }
  }
}
