import Coach
import Testing

@Suite("A profile makes readings of JSON documents and of files")
struct DocumentTests {
  static let parked = """
    {
      "in_safe_state": false,
      "emergency_stop_active": false,
      "operational_mode": "normal",
      "watchdog_timeout": 15.0,
      "time_since_last_kick": 0.41,
      "interlocks": {
        "slide_room_safety": {"engaged": false, "feature": "firefly",
          "conditions": ["vehicle_not_moving", "parking_brake_engaged"], "engagement_time": null},
        "awning_safety": {"engaged": false, "feature": "firefly", "conditions": []},
        "leveling_jack_safety": {"engaged": true, "feature": "spartan_k2", "conditions": []}
      },
      "system_state": {
        "vehicle_speed": 0.0, "parking_brake": true, "leveling_jacks_down": true,
        "engine_running": false, "transmission_gear": "PARK", "all_slides_retracted": true
      },
      "audit_log_entries": 3
    }
    """
  static let status = "/api/safety/status"
  static let entities = "/api/v2/entities/safety-status"

  func said(_ json: String, at path: String = status) throws -> [String] {
    try Profile.named("coachiq").reports(ofJSON: Array(json.utf8), at: path, from: "controller")?
      .map(\.said).sorted() ?? []
  }

  @Test("CoachIQ's safety status is read, and may only speak against an update")
  func coachIQ() throws {
    let profile = try Profile.named("coachiq")
    #expect(profile.paths == [Self.status, Self.entities])
    #expect(
      try said(Self.parked) == [
        "emergency_stop=inactive", "engine_running=false", "interlock.awning_safety=satisfied",
        "interlock.leveling_jack_safety=violated", "interlock.slide_room_safety=satisfied",
        "parking_brake=engaged", "secured.slides=secured", "transmission_gear=park",
        "vehicle_speed=0",
      ])
    let reports = try #require(
      profile.reports(ofJSON: Array(Self.parked.utf8), at: Self.status, from: "here"))
    #expect(reports.allSatisfy { $0.vetoOnly && $0.source == "here" && $0.lasting == .seconds(6) })
    #expect(
      reports.map(\.evidence).contains(
        "/api/safety/status#/interlocks/leveling_jack_safety/engaged: true"))
    #expect(
      reports.map(\.evidence).contains(
        "/api/safety/status#/system_state/transmission_gear: \"PARK\""))
  }

  @Test("CoachIQ's pending operations are active controls")
  func operations() throws {
    func said(_ json: String) throws -> [String] { try self.said(json, at: Self.entities) }
    #expect(
      try said(
        #"{"emergency_stop_active": false, "pending_operations_count": 0, "pending_operations": []}"#
      ) == ["active_controls=none", "interlock.entity_emergency_stop=satisfied"])
    #expect(
      try said(#"{"emergency_stop_active": true, "pending_operations_count": 2}"#)
        == ["active_controls=some", "interlock.entity_emergency_stop=violated"])
  }

  @Test("CoachIQ's speed is in miles per hour")
  func speed() throws {
    let driving = Self.parked.replacing("\"vehicle_speed\": 0.0", with: "\"vehicle_speed\": 50")
    #expect(try said(driving).contains("vehicle_speed=80.4672"))
  }

  @Test("What is not there, null or of another kind is no value, but for interlocks without a name")
  func missing() throws {
    let nothing = [
      "emergency_stop=?", "engine_running=?", "parking_brake=?", "secured.slides=?",
      "transmission_gear=?", "vehicle_speed=?",
    ]
    for json in ["{}", "[]", "null", "1", "\"text\"", "{\"interlocks\": {}, \"system_state\": 1}"] {
      #expect(try said(json) == nothing, "\(json)")
    }
    let odd = """
      {"emergency_stop_active": "maybe", "interlocks": {"a b/ä": {"engaged": null}, "": {},
       "\(String(repeating: "y", count: 100))": {"engaged": false}},
       "system_state": {"vehicle_speed": -1, "parking_brake": 1, "engine_running": [false],
       "transmission_gear": "LOW", "all_slides_retracted": {"a": true}}}
      """
    #expect(
      try said(odd)
        == (nothing + [
          "interlock._=?", "interlock.a_b__=?",
          "interlock.\(String(repeating: "y", count: 40))=satisfied",
        ]).sorted())
    #expect(try said(#"{"system_state": {"vehicle_speed": 1e999}}"#).contains("vehicle_speed=?"))
  }

  @Test("What is no JSON says nothing, nor does a document of another path")
  func noJSON() throws {
    for body in ["", "{", "<html>", "{\"emergency_stop_active\": false} x", "\u{FEFF}"] {
      #expect(try said(body) == [], "\(body)")
    }
    let deep = String(repeating: "[", count: 100_000)
    #expect(try said(deep) == [])
    #expect(try said(deep + String(repeating: "]", count: 100_000)) == [])
    let profile = try Profile.named("coachiq")
    #expect(profile.reports(ofJSON: [0xFF, 0xFE, 0], at: Self.status, from: "x") == nil)
    #expect(profile.reports(ofJSON: Array(Self.parked.utf8), at: "/", from: "x") == [])
  }

  @Test("Of keys that make the same name the one that speaks against an update counts")
  func folded() throws {
    let profile = try Profile.named("coachiq")
    for names in [["slide 1", "slide.1", "slide_1"], ["slide_1", "slide.1", "slide 1"]] {
      let members = zip(names, ["true", "false", "null"]).map {
        "\"\($0)\": {\"engaged\": \($1)}"
      }
      let json = "{\"interlocks\": {\(members.joined(separator: ", "))}}"
      let reports = try #require(
        profile.reports(ofJSON: Array(json.utf8), at: Self.status, from: "x"))
      #expect(
        reports.map(\.said).last { $0.hasPrefix("interlock.slide_1") }
          == "interlock.slide_1=violated")
    }
  }

  @Test("A document with keys without end says nothing, and is no answer")
  func manyKeys() throws {
    func reports(_ count: Int) throws -> [Report]? {
      let members = (0..<count).map { "\"slide\($0)\": {\"engaged\": false}" }
      let json = "{\"interlocks\": {\(members.joined(separator: ", "))}}"
      return try Profile.named("coachiq").reports(
        ofJSON: Array(json.utf8), at: Self.status, from: "x")
    }
    #expect(try reports(Profile.keyLimit) != nil)
    #expect(try reports(Profile.keyLimit + 1) == nil)
  }

  @Test("The signals of which a silent source must be told are those with fixed names")
  func signals() throws {
    #expect(
      try Profile.named("coachiq").signals == [
        "emergency_stop", "vehicle_speed", "parking_brake", "engine_running", "transmission_gear",
        "secured.slides", "active_controls", "interlock.entity_emergency_stop",
      ])
    #expect(try Profile.named("raspberry-pi").signals == ["undervoltage"])
    #expect(try Profile.named("rvc").signals == [])
  }

  @Test("A pointer leads where RFC 6901 says")
  func pointers() throws {
    // The document of RFC 6901, 5, with numbers that are volts.
    let json = Array(
      #"{"foo": [10, 11], "": 0, "a/b": 1, "c%d": 2, "i\\j": 5, "k\"l": 6, " ": 7, "m~n": 8}"#.utf8)
    func said(_ pointer: String) throws -> String? {
      let profile = try Profile(
        text: """
          name = "Ours"
          [[signal]]
          signal = "supply_voltage"
          path = "/"
          pointer = '\(pointer)'
          scale = 1
          expires_after_seconds = 5
          """, file: "ours.toml")
      return profile.reports(ofJSON: json, at: "/", from: "x")?.first?.said
    }
    let cases = [
      ("/foo/0", 10), ("/foo/1", 11), ("/", 0), ("/a~1b", 1), ("/c%d", 2), (#"/i\j"#, 5),
      (#"/k"l"#, 6), ("/ ", 7), ("/m~0n", 8),
    ]
    for (pointer, volts) in cases { #expect(try said(pointer) == "supply_voltage=\(volts)") }
    for pointer in [
      "", "/foo", "/foo/2", "/foo/-1", "/foo/+1", "/foo/01", "/foo/-", "/foo/a", "/foo/0/0",
      "/bar", "/m~1n", "/foo/99999999999999999999",
    ] {
      #expect(try said(pointer) == "supply_voltage=?", "\(pointer)")
    }
  }

  @Test("A controller's own words and numbers can be mapped and scaled")
  func values() throws {
    let profile = try Profile(
      text: """
        name = "Ours"
        [[signal]]
        signal = "shore_power"
        path = "/power"
        pointer = "/shore"
        map = { Connected = "on", none = "off", 0 = "off", "1-16" = "on" }
        expires_after_seconds = 5
        [[signal]]
        signal = "supply_voltage"
        path = "/power"
        pointer = "/millivolts"
        scale = 0.001
        offset = -0.5
        expires_after_seconds = 5
        """, file: "ours.toml")
    func said(_ json: String) -> [String] {
      profile.reports(ofJSON: Array(json.utf8), at: "/power", from: "x")?.map(\.said).sorted() ?? []
    }
    #expect(
      said(#"{"shore": "connected", "millivolts": 13000}"#)
        == ["shore_power=on", "supply_voltage=12.5"])
    #expect(
      said(#"{"shore": "NONE", "millivolts": 0}"#) == ["shore_power=off", "supply_voltage=?"])
    #expect(said(#"{"shore": 16, "millivolts": "12"}"#) == ["shore_power=on", "supply_voltage=?"])
    #expect(said(#"{"shore": 17}"#) == ["shore_power=?", "supply_voltage=?"])
    #expect(said(#"{"shore": true}"#) == ["shore_power=?", "supply_voltage=?"])
  }

  @Test("Evidence is one line, and not without end")
  func evidence() throws {
    let profile = try Profile.named("coachiq")
    let long =
      "{\"emergency_stop_active\": \"a\\r\\nb\\u001B\(String(repeating: "ü", count: 5000))\"}"
    let reports = profile.reports(ofJSON: Array(long.utf8), at: Self.status, from: "x")
    let evidence = try #require(reports?.first?.evidence)
    #expect(evidence.count <= 161 && evidence.hasSuffix("…"))
    #expect(!evidence.unicodeScalars.contains { $0.properties.generalCategory == .control })
  }

  @Test("The Pi's under-voltage is read from either file")
  func raspberryPi() throws {
    let profile = try Profile.named("raspberry-pi")
    let patterns = profile.files
    #expect(
      patterns == [
        "/sys/class/hwmon/*/in0_lcrit_alarm",
        "/sys/devices/platform/soc/soc:firmware/get_throttled",
      ])
    func said(_ text: String, _ index: Int) -> [String] {
      profile.reports(ofFile: text, at: patterns[index], path: "/sys/x", from: "x").map(\.said)
    }
    #expect(said("0\n", 0) == ["undervoltage=false"])
    #expect(said("1\n", 0) == ["undervoltage=true"])
    for text in ["", "\n", "2\n", "yes\n", "-1", "0 1", "\0"] {
      #expect(said(text, 0) == ["undervoltage=?"], "\(text)")
    }
    // Now; only in the past (bit 16); with other bits.
    #expect(said("0\n", 1) == ["undervoltage=false"])
    #expect(said("50005\n", 1) == ["undervoltage=true"])
    #expect(said("0x50000\n", 1) == ["undervoltage=false"])
    #expect(said("e0008\n", 1) == ["undervoltage=false"])
    for text in ["", "0x", "throttled", "-1", "11111111111111111"] {
      #expect(said(text, 1) == ["undervoltage=?"], "\(text)")
    }
    let report = try #require(
      profile.reports(
        ofFile: "1\n", at: patterns[0], path: "/sys/class/hwmon/hwmon1/in0_lcrit_alarm", from: "pi"
      ).first)
    #expect(report.source == "pi" && !report.vetoOnly)
    #expect(report.evidence == "/sys/class/hwmon/hwmon1/in0_lcrit_alarm: 1")
    #expect(profile.reports(ofFile: "1", at: "/etc/passwd", path: "/etc/passwd", from: "x") == [])
  }

  @Test("A line of a GPIO and a measured voltage are read from files")
  func gpio() throws {
    let profile = try Profile(
      text: """
        name = "Ours"
        [[signal]]
        signal = "ignition"
        file = "/run/gpio/ignition"
        map = { active = "on", inactive = "off", 0 = "off", 1 = "on" }
        expires_after_seconds = 6
        [[signal]]
        signal = "supply_voltage"
        file = "/sys/bus/iio/devices/*/in_voltage0_raw"
        scale = 0.005
        expires_after_seconds = 6
        """, file: "ours.toml")
    func said(_ text: String, _ pattern: String) -> [String] {
      profile.reports(ofFile: text, at: pattern, path: "/x", from: "x").map(\.said)
    }
    #expect(said("1\n", "/run/gpio/ignition") == ["ignition=on"])
    #expect(said(" Inactive \n", "/run/gpio/ignition") == ["ignition=off"])
    #expect(
      said("2500\n", "/sys/bus/iio/devices/*/in_voltage0_raw") == ["supply_voltage=12.5"])
    for text in ["nan", "inf", "1e300", "-5"] {
      #expect(
        said(text, "/sys/bus/iio/devices/*/in_voltage0_raw") == ["supply_voltage=?"], "\(text)")
    }
  }
}
