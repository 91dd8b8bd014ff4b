import Coach
import Testing

/// The frames are written out from the tables of the RV-C specification and of J1939, byte by byte.
@Suite("A profile makes readings of frames")
struct DecoderTests {
  @Test(
    "Every field of CHASSIS_MOBILITY_STATUS is read",
    arguments: [
      // Parked, all that the frame can say: 0 rpm, 0 km/h, brake set, transmission and engine locked,
      // ignition and accessory on, in park.
      (
        "11FFF494#000000001505FBFB",
        [
          "accessory=on", "engine_lock=locked", "engine_running=false", "ignition=on",
          "parking_brake=engaged", "selected_gear=park", "transmission_gear=park",
          "transmission_lock=locked",
          "vehicle_speed=0",
        ]
      ),
      // 1800 rpm (14400 = 3840h), 88.5 km/h (22656 = 5880h), all released, 2nd gear.
      (
        "19FFF49C#4038805800057F7F",
        [
          "accessory=on", "engine_lock=unlocked", "engine_running=true", "ignition=on",
          "parking_brake=released", "selected_gear=drive", "transmission_gear=drive",
          "transmission_lock=unlocked",
          "vehicle_speed=88.5",
        ]
      ),
      // Engine running and coach moving, neither measured (F000h); reverse; ignition on, accessory off.
      (
        "19FFF4FC#00F000F000017C7C",
        [
          "accessory=off", "engine_lock=unlocked", "engine_running=true", "ignition=on",
          "parking_brake=released", "selected_gear=reverse", "transmission_gear=reverse",
          "transmission_lock=unlocked",
          "vehicle_speed=moving",
        ]
      ),
      // Neutral, ignition off, the slowest speed above zero.
      (
        "19FFF49C#0000010001007D7D",
        [
          "accessory=off", "engine_lock=unlocked", "engine_running=false", "ignition=off",
          "parking_brake=engaged", "selected_gear=neutral", "transmission_gear=neutral",
          "transmission_lock=unlocked",
          "vehicle_speed=0.00390625",
        ]
      ),
    ])
  func chassis(frame: String, said: [String]) throws {
    #expect(try Profile.named("rvc").said(of: frame) == said)
  }

  @Test("What the chassis cannot tell is no value")
  func sentinels() throws {
    let rvc = try Profile.named("rvc")
    let signals = [
      "accessory", "engine_lock", "engine_running", "ignition", "parking_brake", "selected_gear",
      "transmission_gear", "transmission_lock", "vehicle_speed",
    ]
    // "Not available": 11b, 255, 65535. "Error" and "reserved": 10b; 254, 253; 65534, 65533.
    #expect(try rvc.said(of: "19FFF49C#FFFFFFFFFFFFFFFF") == signals.map { "\($0)=?" })
    #expect(try rvc.said(of: "19FFF49C#FEFFFEFF2A0AFEFE") == signals.map { "\($0)=error" })
    #expect(try rvc.said(of: "19FFF49C#FDFFFDFF2A0AFDFD") == signals.map { "\($0)=error" })
    // 65532 and 252 are values, of which only the speed means something.
    #expect(try rvc.said(of: "19FFF49C#FCFFFCFF3F0FFCFC").contains("vehicle_speed=255.984375"))
    #expect(try rvc.said(of: "19FFF49C#FCFFFCFF3F0FFCFC").contains("transmission_gear=?"))
    // An engine that would turn at more than 7680 rpm is a field that is not filled in: 00 FF.
    #expect(try rvc.said(of: "19FFF49C#00FFFFFF3F0FFFFF").contains("engine_running=?"))
  }

  @Test("A frame that is too short says what is in it, and nothing of the rest")
  func short() throws {
    let rvc = try Profile.named("rvc")
    #expect(try rvc.said(of: "19FFF49C#") == [])
    #expect(try rvc.said(of: "19FFF49C#00") == [])
    #expect(try rvc.said(of: "19FFF49C#0000") == ["engine_running=false"])
    #expect(try rvc.said(of: "19FFF49C#000000") == ["engine_running=false"])
    #expect(try rvc.said(of: "19FFF49C#00000000") == ["engine_running=false", "vehicle_speed=0"])
    #expect(
      try rvc.said(of: "19FFF49C#0000000001") == [
        "engine_lock=unlocked", "engine_running=false", "parking_brake=engaged",
        "transmission_lock=unlocked", "vehicle_speed=0",
      ])
    // Too short to have the instance's value, and too short for the condition.
    #expect(try rvc.said(of: "19FFE8A0#01") == [])
    #expect(try rvc.said(of: "19FFFD80#") == [])
  }

  @Test("A frame with a length that no frame has is none")
  func wrongLength() {
    var bytes = [UInt8](repeating: 0, count: 16)
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: 0x99FF_F49C, as: UInt32.self) }
    for length in UInt8(0)...15 {
      bytes[4] = length
      let frame = bytes.withUnsafeBytes { CANFrame($0) }
      #expect((frame != nil) == (length <= 8))
    }
  }

  @Test("Only data frames with 29 bits of identifier say anything")
  func kinds() throws {
    let rvc = try Profile.named("rvc")
    let data: [UInt8] = [0, 0, 0, 0, 1, 5, 251, 251]
    #expect(!rvc.reports(of: CANFrame(id: 0x19FF_F49C, data: data), from: "can0").isEmpty)
    #expect(rvc.reports(of: CANFrame(id: 0x7F4, data: data, kind: .standard), from: "can0") == [])
    #expect(
      rvc.reports(of: CANFrame(id: 0x19FF_F49C, data: data, kind: .error), from: "can0") == [])
    #expect(
      rvc.reports(of: CANFrame(id: 0x19FF_F49C, data: data, isRemote: true), from: "can0") == [])
    // The same identifier but for the data page, and one beside it.
    #expect(try rvc.said(of: "18FFF49C#0000000001050000") == [])
    #expect(try rvc.said(of: "19FFF59C#0000000001050000") == [])
    // The priority does not count.
    #expect(try rvc.said(of: "01FFF49C#0000") == ["engine_running=false"])
  }

  @Test("A report names its source and shows the frame")
  func evidence() throws {
    let rvc = try Profile.named("rvc")
    let frame = CANFrame(id: 0x19FF_F49C, data: [0, 0, 0, 0, 1, 255, 251, 251])
    let reports = rvc.reports(of: frame, from: "can1")
    #expect(reports.allSatisfy { $0.source == "can1/9C" && !$0.vetoOnly })
    #expect(reports.allSatisfy { $0.evidence == "19FFF49C#0000000001FFFBFB" })
    #expect(reports.compactMap(\.lasting).allSatisfy { $0 == .milliseconds(5500) })
    let low = rvc.reports(of: CANFrame(id: 0x19FF_F404, data: [0, 0]), from: "can0")
    #expect(low.map(\.source) == ["can0/04"])
  }

  @Test(
    "Every other row of the chassis is read",
    arguments: [
      // VEHICLE_ENVIRONMENT_STATUS: in tow, stabilised; neither; not available.
      ("19FE8790#FFFF01FFFFFFFFFF", ["in_tow=true", "stabilised=false"]),
      ("19FE8790#FFFF04FFFFFFFFFF", ["in_tow=false", "stabilised=true"]),
      ("19FE8790#FFFFFFFFFFFFFFFF", ["in_tow=?", "stabilised=?"]),
      // GENERIC_ALARM of DSA 252: alarms 1 to 7, triggered.
      ("19FE9FFC#FC0101FFFFFFFFFF", []),
      ("19FE9FFC#FC0201FFFFFFFFFF", ["parking_brake=released"]),
      ("19FE9FFC#FC0301FFFFFFFFFF", ["vehicle_speed=moving"]),
      ("19FE9FFC#FC0401FFFFFFFFFF", ["engine_running=true"]),
      ("19FE9FFC#FC0501FFFFFFFFFF", []),
      ("19FE9FFC#FC0601FFFFFFFFFF", ["ignition=on"]),
      ("19FE9FFC#FC0701FFFFFFFFFF", []),
      // Not triggered; of another device.
      ("19FE9FFC#FC0200FFFFFFFFFF", []),
      ("19FE9F44#440201FFFFFFFFFF", []),
    ])
  func otherChassis(frame: String, said: [String]) throws {
    #expect(try Profile.named("rvc").said(of: frame) == said)
    #expect(try Profile.named("rvc-multiplexed").said(of: frame) == said)
    let alarms = said.filter { _ in frame.hasPrefix("19FE9F") }
    #expect(try Profile.named("no-chassis-bus").said(of: frame) == alarms)
  }

  @Test("Alarms and steps, whose bytes are assumed, never allow an update")
  func assumed() throws {
    let rvc = try Profile.named("rvc")
    let alarm = CANFrame(id: 0x19FE_9FFC, data: [252, 2, 1])
    let step = CANFrame(id: 0x19FE_8990, data: [1, 0])
    for frame in [alarm, step] {
      let reports = rvc.reports(of: frame, from: "can0")
      #expect(reports.count == 1)
      #expect(reports.allSatisfy { $0.vetoOnly })
    }
  }

  @Test(
    "Every row of the interlocks is read, with its instance",
    arguments: [
      // SLIDE_STATUS: slide 1 still and secured; 2 extending, not secured; 3 retracting, not told.
      (
        "19FFE8A0#010000FCFFFFFFFF",
        ["interlock.slide_1=satisfied", "position.slide_1=0", "secured.slide_1=secured"]
      ),
      (
        "19FFE8A0#020164FDFFFFFFFF",
        ["interlock.slide_2=violated", "position.slide_2=50", "secured.slide_2=not_secured"]
      ),
      (
        "19FFE8A0#0302C8FFFFFFFFFF",
        ["interlock.slide_3=violated", "position.slide_3=100", "secured.slide_3=?"]
      ),
      (
        "19FFE8A0#03FFFFFFFFFFFFFF",
        ["interlock.slide_3=?", "position.slide_3=?", "secured.slide_3=?"]
      ),
      // A motion that the specification does not have.
      (
        "19FFE8A0#0303FFFFFFFFFFFF",
        ["interlock.slide_3=?", "position.slide_3=?", "secured.slide_3=?"]
      ),
      // AWNING_STATUS
      (
        "19FEF3A0#010000FC",
        ["interlock.awning_1=satisfied", "position.awning_1=0", "secured.awning_1=secured"]
      ),
      (
        "19FEF3A0#0201C8FD",
        ["interlock.awning_2=violated", "position.awning_2=100", "secured.awning_2=not_secured"]
      ),
      (
        "19FEF3A0#FA0264FD",
        [
          "interlock.awning_250=violated", "position.awning_250=50",
          "secured.awning_250=not_secured",
        ]
      ),
      // LEVELING_CONTROL_STATUS: inactive and still; active, the second jack in motion; jacks 3 and 4
      // not there.
      (
        "19FFEDA1#00FFFF00000000FF",
        [
          "interlock.jack_1=satisfied", "interlock.jack_2=satisfied", "interlock.jack_3=satisfied",
          "interlock.jack_4=satisfied", "interlock.leveling=satisfied",
        ]
      ),
      (
        "19FFEDA1#02FFFF0001FFFFFF",
        [
          "interlock.jack_1=satisfied", "interlock.jack_2=violated", "interlock.jack_3=?",
          "interlock.jack_4=?", "interlock.leveling=violated",
        ]
      ),
      (
        "19FFEDA1#00FFFF02000201FF",
        [
          "interlock.jack_1=violated", "interlock.jack_2=satisfied", "interlock.jack_3=violated",
          "interlock.jack_4=violated", "interlock.leveling=satisfied",
        ]
      ),
      // LEVELING_JACK_STATUS: jacks 1 and 4 extended, 5 to 8 not there but the 6th, which is in.
      (
        "19FFECA1#FF41F3FFFFFFFFFF",
        [
          "secured.jack_1=not_secured", "secured.jack_2=secured", "secured.jack_3=secured",
          "secured.jack_4=not_secured", "secured.jack_5=?", "secured.jack_6=secured",
          "secured.jack_7=?", "secured.jack_8=?",
        ]
      ),
      // LOCK_STATUS: door 1 locked; door 2 unlocked, in motion.
      ("19FEE5A2#01FD00FFFFFFFFFF", ["interlock.lock_1=satisfied", "secured.lock_1=secured"]),
      ("19FEE5A2#02FC01FFFFFFFFFF", ["interlock.lock_2=violated", "secured.lock_2=not_secured"]),
      // STEP_STATUS
      ("19FE89A2#0100FFFFFFFFFFFF", ["interlock.step_1=satisfied"]),
      ("19FE89A2#0101FFFFFFFFFFFF", ["interlock.step_1=violated"]),
    ])
  func interlocks(frame: String, said: [String]) throws {
    for name in ["rvc", "rvc-multiplexed", "no-chassis-bus"] {
      #expect(try Profile.named(name).said(of: frame) == said)
    }
  }

  @Test(
    "Power is read: the house battery's voltage, and the generator",
    arguments: [
      // 12.6 V (252 = 00FCh) and 13.2 V of the main house battery; the starter's is another one.
      ("19FFFD80#0178FC0000943577", ["supply_voltage=12.6"]),
      ("19FFFD80#0178080100943577", ["supply_voltage=13.2"]),
      ("19FFFD80#0278FC0000943577", []),
      ("19FFFD80#0178FFFFFFFFFFFF", ["supply_voltage=?"]),
      // 3276.6 V is no battery.
      ("19FFFD80#0178FCFFFFFFFFFF", ["supply_voltage=?"]),
      ("19FFDC83#00FFFFFFFFFFFFFF", ["generator=stopped"]),
      ("19FFDC83#02FFFFFFFFFFFFFF", ["generator=cranking"]),
      ("19FFDC83#03FFFFFFFFFFFFFF", ["generator=running"]),
      ("19FFDC83#05FFFFFFFFFFFFFF", ["generator=fault"]),
      ("19FFDC83#01FFFFFFFFFFFFFF", ["generator=?"]),
    ])
  func power(frame: String, said: [String]) throws {
    for name in ["rvc", "rvc-multiplexed", "no-chassis-bus"] {
      let profile = try Profile.named(name)
      let line = try #require(CandumpLine("(0.0) can0 \(frame)"[...]))
      let heard = profile.reports(of: line.frame, from: "can0")
      #expect(heard.count == said.count)
      for (report, said) in zip(heard, said) {
        // 252 x 0.05 is 12.600000000000001 to a computer.
        if case .value(.number(let volts), let signal, _) = report.content {
          #expect("\(signal)=\((volts * 10).rounded() / 10)" == said)
        } else {
          #expect(report.said == said)
        }
      }
    }
  }

  @Test(
    "Every command is an activity of its sender, for some seconds",
    arguments: [
      (0x1FEDB, "dimmer", "a"), (0x1FFBC, "DC load", "a"), (0x1FFBE, "AC load", "an"),
      (0x1FEE1, "DC motor", "a"), (0x1FEDF, "shade", "a"), (0x1FFE7, "slide", "a"),
      (0x1FEF2, "awning", "an"), (0x1FFEE, "leveling", "a"), (0x1FEE4, "lock", "a"),
      (0x1FFDA, "generator", "a"), (0x1FE88, "step", "a"), (0x1FFB2, "water pump", "a"),
      (0x1FEF9, "thermostat", "a"), (0x1FFE0, "air conditioner", "an"),
      (0x1FFF3, "chassis lock", "a"),
    ] as [(UInt32, String, String)])
  func commands(dgn: UInt32, name: String, article: String) throws {
    for profile in ["rvc", "rvc-multiplexed", "no-chassis-bus"] {
      for length in [0, 8] {
        let frame = CANFrame(
          id: 0x1800_0000 | dgn << 8 | 0x44, data: [UInt8](repeating: 0xFF, count: length))
        let reports = try Profile.named(profile).reports(of: frame, from: "can0")
        #expect(reports.map(\.said) == ["\(article) \(name) command on can0"])
        guard case .activity(let id, _, let lasting) = try #require(reports.first).content else {
          Issue.record("no activity")
          return
        }
        #expect(id == "can0/44/\(name)")
        #expect(lasting >= .seconds(3) && lasting <= .seconds(10))
      }
    }
  }

  @Test(
    "A multiplexed coach tells its frames apart by their first byte",
    arguments: [
      // The ignition's frame, whose other bytes would be a released brake and a running engine.
      ("19FFF49C#F100000000050000", ["accessory=on", "ignition=on"]),
      ("19FFF49C#F1FFFFFFFF00FFFF", ["accessory=off", "ignition=off"]),
      ("19FFF49C#F1FFFFFFFFFFFFFF", ["accessory=?", "ignition=?"]),
      // The brake's frame, whose other bytes would be an ignition that is off.
      ("19FFF49C#F2FFFFFF01000000", ["parking_brake=engaged"]),
      ("19FFF49C#F2FFFFFF00000000", ["parking_brake=released"]),
      ("19FFF49C#F2FFFFFFFFFFFFFF", ["parking_brake=?"]),
      // Another frame, and one that is too short to say which it is.
      ("19FFF49C#0000000001050000", []), ("19FFF49C#F3FFFFFF01050000", []), ("19FFF49C#", []),
    ])
  func multiplexed(frame: String, said: [String]) throws {
    #expect(try Profile.named("rvc-multiplexed").said(of: frame) == said)
  }

  @Test(
    "A J1939 chassis is read",
    arguments: [
      // CCVS: brake set (b0 bits 2-3 = 01) and 0 km/h; released at 100 km/h (25600 = 6400h).
      ("18FEF100#F70000FFFFFFFFFF", ["parking_brake=engaged", "vehicle_speed=0"]),
      ("18FEF100#F30064FFFFFFFFFF", ["parking_brake=released", "vehicle_speed=100"]),
      // Error (10b, FExxh) and not available (11b, FFxxh); FAFFh is the last that is a speed.
      ("18FEF100#FB00FEFFFFFFFFFF", ["parking_brake=error", "vehicle_speed=?"]),
      ("18FEF100#FFFFFFFFFFFFFFFF", ["parking_brake=?", "vehicle_speed=?"]),
      ("18FEF100#FFFFFAFFFFFFFFFF", ["parking_brake=?", "vehicle_speed=250.99609375"]),
      ("18FEF100#FF00FBFFFFFFFFFF", ["parking_brake=?", "vehicle_speed=?"]),
      // EEC1: 0 rpm, 700 rpm (5600 = 15E0h), not available.
      ("0CF00400#FFFFFF0000FFFFFF", ["engine_running=false"]),
      ("0CF00400#FFFFFFE015FFFFFF", ["engine_running=true"]),
      ("0CF00400#FFFFFFFFFFFFFFFF", ["engine_running=?"]),
      ("0CF00400#FFFFFF00FEFFFFFF", ["engine_running=?"]),
      // ETC2: the current gear (b3) and the selected one (b0).
      ("18F00503#7EFFFFFBFFFFFFFF", ["selected_gear=drive", "transmission_gear=park"]),
      ("18F00503#FBFFFF7DFFFFFFFF", ["selected_gear=park", "transmission_gear=neutral"]),
      ("18F00503#FBFFFF7EFFFFFFFF", ["selected_gear=park", "transmission_gear=drive"]),
      ("18F00503#FBFFFF7CFFFFFFFF", ["selected_gear=park", "transmission_gear=reverse"]),
      ("18F00503#FBFFFFFFFFFFFFFF", ["selected_gear=park", "transmission_gear=?"]),
      // The same groups on the other data page, and RV-C's.
      ("19FEF100#F70000FFFFFFFFFF", []), ("19FFF49C#0000000001050000", []),
    ])
  func j1939(frame: String, said: [String]) throws {
    let profile = try Profile.named("j1939")
    #expect(try profile.said(of: frame) == said)
    let line = try #require(CandumpLine("(0.0) can1 \(frame)"[...]))
    for report in profile.reports(of: line.frame, from: "can1") {
      #expect(report.lasting ?? .seconds(2) == .seconds(2))
    }
  }

  @Test("Rows can be for some source addresses")
  func sources() throws {
    let profile = try Profile(
      text: """
        name = "Ours"
        [[signal]]
        signal = "ignition"
        dgn = 0x1FFF4
        sources = "252, 144-159"
        at = "5.0-1"
        map = { 0 = "off", 1 = "on" }
        expires_after_seconds = 5.5
        [[command]]
        dgn = 0x1FFE7
        sources = "0x44"
        name = "slide"
        lasts_seconds = 3
        """, file: "ours.toml")
    for address in UInt32(0)...255 {
      let frame = CANFrame(id: 0x19FF_F400 | address, data: [0, 0, 0, 0, 0, 1])
      let isRight = address == 252 || (144...159).contains(address)
      #expect(profile.reports(of: frame, from: "can0").count == (isRight ? 1 : 0))
      let command = CANFrame(id: 0x19FF_E700 | address, data: [])
      #expect(profile.reports(of: command, from: "can0").count == (address == 0x44 ? 1 : 0))
    }
  }

  @Test("Fields of every width keep their highest values back")
  func widths() throws {
    // at, the highest raw value that is one, as little-endian data behind it.
    let cases: [(at: String, highest: UInt64, bits: Int)] = [
      ("0.0", 1, 1), ("0.0-1", 1, 2), ("0.0-2", 5, 3), ("0.0-3", 13, 4), ("0.0-6", 125, 7),
      ("0.0-7", 252, 8), ("0", 252, 8), ("0-1", 65532, 16), ("0-2", 0xFF_FFFC, 24),
      ("0-3", 0xFFFF_FFFC, 32), ("0-7", 0xFFFF_FFFF_FFFF_FFFC, 64),
    ]
    for (at, highest, bits) in cases {
      let profile = try Profile(
        text: """
          name = "Ours"
          [[signal]]
          signal = "supply_voltage"
          dgn = 0x1FFFD
          at = "\(at)"
          scale = 1e-18
          expires_after_seconds = 5
          """, file: "ours.toml")
      func said(_ raw: UInt64) -> Bool {
        var frame = CANFrame(id: 0x19FF_FD80, data: [0, 0, 0, 0, 0, 0, 0, 0])
        frame.data = raw
        return profile.reports(of: frame, from: "can0").contains { $0.lasting != nil }
      }
      #expect(said(0) && said(highest), "\(at)")
      let all = UInt64.max >> UInt64(64 - bits)
      if highest < all { for raw in (highest + 1)...all { #expect(!said(raw), "\(at): \(raw)") } }
    }
  }

  @Test("No frame makes it stop")
  func anything() throws {
    var generator = SeededGenerator(state: 5)
    let profiles = try Profile.builtInNames.map(Profile.named)
    let dgns = profiles.flatMap(\.dgns)
    var count = 0
    for turn in 0..<100_000 {
      var frame = CANFrame(
        id: UInt32.random(in: 0...0x1FFF_FFFF, using: &generator),
        data: (0..<Int.random(in: 0...8, using: &generator)).map { _ in
          UInt8.random(in: 0...255, using: &generator)
        })
      // Most are of a group that somebody reads.
      if Int.random(in: 0..<8, using: &generator) > 0,
        let dgn = dgns.randomElement(using: &generator)
      {
        frame.id = 0x1800_0000 | dgn << 8 | frame.id & 0xFF
      }
      // In turn: all of them for every frame takes a test without optimisation eight seconds.
      count += profiles[turn % profiles.count].reports(of: frame, from: "can0").count
    }
    #expect(count > 50_000)
  }
}

/// SplitMix64: the same numbers at every run.
private struct SeededGenerator: RandomNumberGenerator {
  var state: UInt64

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
    return word ^ word >> 31
  }
}
