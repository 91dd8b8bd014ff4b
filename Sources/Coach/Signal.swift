/// The signals that chock takes, and what each of them may say.
enum Signal {
  static let parkingBrake = "parking_brake"
  static let vehicleSpeed = "vehicle_speed"
  static let transmissionGear = "transmission_gear"
  static let inTow = "in_tow"
  static let emergencyStop = "emergency_stop"
  static let connections = "connections"
  static let activeControls = "active_controls"
  /// Followed by the interlock's own name.
  static let interlockPrefix = "interlock."

  enum Domain {
    case words([String])
    case flag
    case number(ClosedRange<Double>, unit: String)
    case count(upTo: Double)

    func contains(_ value: ReadingValue) -> Bool {
      switch (self, value) {
      case (.words(let words), .text(let word)): words.contains(word)
      case (.flag, .flag): true
      case (.number(let range, _), .number(let number)): range.contains(number)
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
      case .number(let range, let unit):
        "a number from \(Int(range.lowerBound)) to \(Int(range.upperBound)) (\(unit))"
      case .count(let limit): "a whole number from 0 to \(Int(limit))"
      }
    }
  }

  /// What each signal may say, in the order in which messages list them.
  private static let domains: [(signal: String, domain: Domain)] = [
    (parkingBrake, .words(["engaged", "released"])),
    (vehicleSpeed, .number(0...300, unit: "km/h")),
    (transmissionGear, .words(["park", "neutral", "reverse", "drive"])),
    ("engine_running", .flag),
    ("ignition", .words(["on", "off"])),
    (inTow, .flag),
    (emergencyStop, .words(["active", "inactive"])),
    ("supply_voltage", .number(0...100, unit: "V")),
    (connections, .count(upTo: 100_000)),
    (activeControls, .words(["none", "some"])),
  ]

  static let names = domains.map(\.signal) + [interlockPrefix + "NAME"]

  /// What the signal may say; nil when there is no such signal.
  static func domain(of signal: String) -> Domain? {
    guard signal.hasPrefix(interlockPrefix) else {
      return domains.first { $0.signal == signal }?.domain
    }
    let name = signal.dropFirst(interlockPrefix.count)
    let isGood = name.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == "-")
    }
    guard isGood, (1...64).contains(name.count) else { return nil }
    return .words(["satisfied", "violated"])
  }
}
