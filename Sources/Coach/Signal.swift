/// The signals that chock takes, and what each of them may say.
enum Signal {
  static let parkingBrake = "parking_brake"
  static let vehicleSpeed = "vehicle_speed"
  static let transmissionGear = "transmission_gear"
  static let selectedGear = "selected_gear"
  static let engineRunning = "engine_running"
  static let ignition = "ignition"
  static let inTow = "in_tow"
  static let emergencyStop = "emergency_stop"
  static let supplyVoltage = "supply_voltage"
  static let undervoltage = "undervoltage"
  static let shorePower = "shore_power"
  static let connections = "connections"
  static let activeControls = "active_controls"
  /// A person's word that the device's clock is right, and what was written down before is not.
  static let clock = "clock"
  /// Followed by the interlock's own name.
  static let interlockPrefix = "interlock."
  /// Followed by the name of what is secured for the road.
  static let securedPrefix = "secured."
  /// Followed by the name of what can be out, such as a slide.
  static let positionPrefix = "position."

  enum Domain {
    case words([String])
    case flag
    case number(ClosedRange<Double>, unit: String, words: [String] = [])
    case count(upTo: Double)

    func contains(_ value: ReadingValue) -> Bool {
      switch (self, value) {
      case (.words(let words), .text(let word)): words.contains(word)
      case (.flag, .flag): true
      case (.number(let range, _, _), .number(let number)): range.contains(number)
      case (.number(_, _, let words), .text(let word)): words.contains(word)
      case (.count(let limit), .number(let number)):
        (0...limit).contains(number) && number == number.rounded()
      default: false
      }
    }

    /// For "The value must be …".
    var description: String {
      switch self {
      case .words(let words): "one of " + words.joined(separator: ", ")
      case .flag: "true or false"
      case .number(let range, let unit, let words):
        ([
          "a number from \(Int(range.lowerBound)) to \(Int(range.upperBound)) (\(unit))"
        ] + words).joined(separator: ", or ")
      case .count(let limit): "a whole number from 0 to \(Int(limit))"
      }
    }
  }

  /// What each signal may say, in the order in which messages list them.
  private static let domains: [(signal: String, domain: Domain)] = [
    (parkingBrake, .words(["engaged", "released"])),
    // "moving": it moves, and how fast is not measured (RV-C's F000h).
    (vehicleSpeed, .number(0...300, unit: "km/h", words: ["moving"])),
    (transmissionGear, .words(["park", "neutral", "reverse", "drive"])),
    (selectedGear, .words(["park", "neutral", "reverse", "drive"])),
    (engineRunning, .flag),
    (ignition, .words(["on", "off"])),
    ("accessory", .words(["on", "off"])),
    ("transmission_lock", .words(["locked", "unlocked"])),
    ("engine_lock", .words(["locked", "unlocked"])),
    (inTow, .flag),
    ("stabilised", .flag),
    (emergencyStop, .words(["active", "inactive"])),
    (supplyVoltage, .number(0...100, unit: "V")),
    (undervoltage, .flag),
    (shorePower, .words(["on", "off"])),
    ("generator", .words(["stopped", "cranking", "running", "fault"])),
    (connections, .count(upTo: 100_000)),
    (activeControls, .words(["none", "some"])),
    (clock, .words(["right"])),
  ]

  /// The kinds of signals of which a coach has several, each with a name of its own.
  private static let namedDomains: [(prefix: String, domain: Domain)] = [
    (interlockPrefix, .words(["satisfied", "violated"])),
    (securedPrefix, .words(["secured", "not_secured"])),
    // How far it is out; shown, and no reason for anything.
    (positionPrefix, .number(0...100, unit: "%")),
  ]

  static let names = domains.map(\.signal) + namedDomains.map { $0.prefix + "NAME" }

  /// What the signal may say; nil when there is no such signal.
  static func domain(of signal: String) -> Domain? {
    for (prefix, domain) in namedDomains where signal.hasPrefix(prefix) {
      return isName(signal.dropFirst(prefix.count)) ? domain : nil
    }
    return domains.first { $0.signal == signal }?.domain
  }

  /// The names of interlocks, locks and the like: they reach messages and URLs.
  static func isName(_ name: some StringProtocol) -> Bool {
    let isGood = name.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-")
    }
    return isGood && (1...64).contains(name.count)
  }

  // MARK: What values mean

  /// Slower than this is standing, in km/h: speed signals jitter around zero.
  private static let standstill = 0.5

  static func isMoving(_ speed: ReadingValue) -> Bool {
    if case .number(let speed) = speed { return speed >= standstill }
    return speed == .text("moving")
  }

  /// Whether a value says that the coach is not parked.
  static func speaksAgainstParked(_ value: ReadingValue, _ signal: String) -> Bool {
    switch signal {
    case vehicleSpeed: isMoving(value)
    case parkingBrake: value == .text("released")
    case transmissionGear, selectedGear: value == .text("drive") || value == .text("reverse")
    case inTow: value == .flag(true)
    default: false
    }
  }

  /// Whether a value speaks against an update for longer than its source is heard: what moved, or was out,
  /// when its source went silent need not have come to rest. The engine and the ignition are not among
  /// them: they are what silences a chassis bus.
  static func outlastsSilence(_ value: ReadingValue, _ signal: String) -> Bool {
    speaksAgainstParked(value, signal)
      || [.text("violated"), .text("not_secured"), .text("active")].contains(value)
  }

  /// What a person may vouch for so that it opens a gate; nil where they read a number themselves.
  static func vouchedValue(of signal: String) -> ReadingValue? {
    switch signal {
    case parkingBrake: .text("engaged")
    case vehicleSpeed, connections: .number(0)
    case transmissionGear, selectedGear: .text("park")
    case engineRunning, inTow: .flag(false)
    case ignition: .text("off")
    case shorePower: .text("on")
    case activeControls: .text("none")
    default:
      if signal.hasPrefix(interlockPrefix) {
        .text("satisfied")
      } else if signal.hasPrefix(securedPrefix) {
        .text("secured")
      } else {
        nil
      }
    }
  }

  /// Whether two sources that say these say the same thing.
  static func agree(_ one: ReadingValue, _ other: ReadingValue, on signal: String) -> Bool {
    switch signal {
    case vehicleSpeed: isMoving(one) == isMoving(other)
    // Heavy transmissions without a P report one or the other when parked.
    case transmissionGear, selectedGear:
      one == other || [one, other].allSatisfy { [.text("park"), .text("neutral")].contains($0) }
    // Each counts or measures its own.
    case supplyVoltage, connections: true
    default: signal.hasPrefix(positionPrefix) || one == other
    }
  }

  /// Which of two values that agree is further from allowing an update.
  static func isWorse(_ one: ReadingValue, than other: ReadingValue, on signal: String) -> Bool {
    switch (one, other) {
    case (.number(let one), .number(let other)):
      signal == supplyVoltage ? one < other : one > other
    case (.text(let one), _):
      (signal == vehicleSpeed && one == "moving")
        || ([transmissionGear, selectedGear].contains(signal) && one == "neutral")
    default: false
    }
  }
}
