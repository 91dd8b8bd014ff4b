/// Judges every gate by what the coach has told.
///
/// - Parameters:
///   - disk: Nil when the space could not be measured.
///   - required: The gates that block; the others are judged and shown too.
///   - now: The time for which the verdict holds; a reading counts until its lease ends.
public func evaluate(
  _ readings: Readings, disk: DiskSpace?, required: Set<GateID>, now: ContinuousClock.Instant
) -> SafetyVerdict {
  let evaluation = Evaluation(readings: readings, now: now)
  return SafetyVerdict(
    gates: GateID.allCases.map { gate in
      let (title, judgement, signals) =
        switch gate {
        case .parked: ("Parked", evaluation.parked(), Evaluation.parkedSignals)
        case .interlocks:
          ("Interlocks", evaluation.interlocks(), evaluation.interlockSignals)
        case .noActiveControls:
          ("Nothing is moving", evaluation.noActiveControls(), [Signal.activeControls])
        case .noActiveConnections:
          ("No control connections", evaluation.noActiveConnections(), [Signal.connections])
        case .disk: ("Disk space", judge(disk), [])
        }
      return GateVerdict(
        gate: gate, title: title, state: judgement.state, reason: judgement.reason,
        howToClear: judgement.howToClear, required: required.contains(gate),
        readings: signals.compactMap(evaluation.view))
    })
}

private struct Judgement {
  var state: GateState
  var reason: String
  var howToClear: String?

  static func satisfied(_ reason: String) -> Self { Self(state: .satisfied, reason: reason) }
  static func violated(_ reason: String, _ howToClear: String) -> Self {
    Self(state: .violated, reason: reason, howToClear: howToClear)
  }
  static func unknown(_ reason: String, _ howToClear: String) -> Self {
    Self(state: .unknown, reason: reason, howToClear: howToClear)
  }
}

private struct Evaluation {
  let readings: Readings
  let now: ContinuousClock.Instant

  static let parkedSignals = [
    Signal.vehicleSpeed, Signal.parkingBrake, Signal.transmissionGear, Signal.inTow,
  ]
  private static let checkController = "Check that the controller is on and connected."

  /// Slower than this is standing: speed signals jitter around zero.
  private static let standstill = 0.5

  func parked() -> Judgement {
    let brake = fresh(Signal.parkingBrake)
    let gear = fresh(Signal.transmissionGear)
    let speed = fresh(Signal.vehicleSpeed)

    // What speaks against it comes first, whatever else is missing.
    if case .number(let speed) = speed, speed >= Self.standstill {
      let tenths = ReadingValue.number((speed * 10).rounded() / 10)
      return .violated("The coach is moving at \(tenths) km/h.", "Stop and park the coach.")
    }
    if brake == .text("released") {
      return .violated("The parking brake is released.", "Set the parking brake.")
    }
    if fresh(Signal.inTow) == .flag(true) {
      return .violated("The coach is in tow.", "Park the coach before updating.")
    }
    if gear == .text("drive") || gear == .text("reverse"), let gear {
      return .violated("The transmission is in \(gear).", "Shift to park or neutral.")
    }

    if speed == nil { return unknown(Signal.vehicleSpeed, "vehicle speed") }
    // A contradiction does not become harmless by growing old.
    if brake == nil, value(Signal.parkingBrake) == .text("released") {
      return unknown(Signal.parkingBrake, "parking brake")
    }
    // Not every coach reports towing; one that does must keep doing so.
    if fresh(Signal.inTow) == nil, value(Signal.inTow) != nil {
      return unknown(Signal.inTow, "towing state")
    }
    if brake == .text("engaged") {
      return .satisfied("The coach stands still with the parking brake set.")
    }
    if gear == .text("park") {
      return .satisfied("The coach stands still with the transmission in park.")
    }
    // A coach that only ever told its gear is asked for its gear.
    return value(Signal.parkingBrake) == nil && gear == nil && value(Signal.transmissionGear) != nil
      ? unknown(Signal.transmissionGear, "transmission gear")
      : unknown(Signal.parkingBrake, "parking brake")
  }

  var interlockSignals: [String] {
    [Signal.emergencyStop] + interlockReadings.map(\.signal)
  }

  func interlocks() -> Judgement {
    if fresh(Signal.emergencyStop) == .text("active") {
      return .violated("The emergency stop is active.", "Release the emergency stop.")
    }
    let interlocks = interlockReadings
    let violated = interlocks.filter { $0.isFresh(at: now) && $0.value == .text("violated") }
    if !violated.isEmpty {
      let names = violated.map { name($0.signal) }.joined(separator: ", ")
      return .violated(
        violated.count == 1
          ? "The interlock \(names) is not satisfied."
          : "The interlocks \(names) are not satisfied.",
        "Bring what the interlock guards into its safe position.")
    }
    if interlocks.isEmpty {
      return .unknown("No interlock has been reported yet.", Self.checkController)
    }
    if let stale = interlocks.first(where: { !$0.isFresh(at: now) }) {
      return unknown(stale.signal, "interlock \(name(stale.signal))")
    }
    if fresh(Signal.emergencyStop) == nil, value(Signal.emergencyStop) != nil {
      return unknown(Signal.emergencyStop, "emergency stop")
    }
    return .satisfied("All interlocks are satisfied.")
  }

  /// Silence about operations says "none" only while the controller is heard at all. A person's
  /// word for another signal does not prove that it lives; their word for `active_controls` stands
  /// for it.
  func noActiveControls() -> Judgement {
    let activities = readings.activities(at: now)
    if let first = activities.first {
      let others = activities.count > 1 ? " (and \(activities.count - 1) more)" : ""
      return .violated(
        "The coach is busy: \(first.description)\(others).", "Wait until it has finished.")
    }
    if fresh(Signal.activeControls) == .text("some") {
      return .violated("The coach is moving something.", "Wait until it has finished.")
    }
    let heard = readings.readings.values.filter { !$0.isAttested }
    if fresh(Signal.activeControls) == .text("none")
      || heard.contains(where: { $0.isFresh(at: now) })
    {
      return .satisfied("Nothing is being moved or switched.")
    }
    guard let last = heard.map(\.heardAt).max() else {
      return .unknown("The controller has not reported yet.", Self.checkController)
    }
    return .unknown(
      "The controller was last heard \(ageText(last.duration(to: now))) ago.", Self.checkController)
  }

  func noActiveConnections() -> Judgement {
    guard case .number(let count) = fresh(Signal.connections) else {
      return unknown(Signal.connections, "number of control connections")
    }
    if count == 0 { return .satisfied("Nobody is controlling the coach.") }
    let connections =
      count == 1
      ? "1 control connection is" : "\(ReadingValue.number(count)) control connections are"
    return .violated("\(connections) open.", "Close the coach's control apps.")
  }

  func view(_ signal: String) -> ReadingView? {
    guard let reading = readings.readings[signal] else {
      // Optional signals are shown once they were heard.
      let isOptional = [Signal.inTow, Signal.emergencyStop, Signal.activeControls].contains(signal)
      return isOptional
        ? nil : ReadingView(signal: signal, value: nil, source: nil, age: nil, stale: true)
    }
    return ReadingView(
      signal: signal, value: reading.value, source: reading.source,
      age: reading.heardAt.duration(to: now), stale: !reading.isFresh(at: now))
  }

  private func value(_ signal: String) -> ReadingValue? {
    readings.readings[signal]?.value
  }

  private func fresh(_ signal: String) -> ReadingValue? {
    readings.readings[signal].flatMap { $0.isFresh(at: now) ? $0.value : nil }
  }

  private var interlockReadings: [Reading] {
    readings.readings.values
      .filter { $0.signal.hasPrefix(Signal.interlockPrefix) }
      .sorted { $0.signal < $1.signal }
  }

  private func name(_ interlock: String) -> String {
    String(interlock.dropFirst(Signal.interlockPrefix.count))
  }

  private func unknown(_ signal: String, _ name: String) -> Judgement {
    guard let reading = readings.readings[signal] else {
      return .unknown("The \(name) has not been reported yet.", Self.checkController)
    }
    let age = reading.heardAt.duration(to: now)
    return .unknown("The \(name) was last heard \(ageText(age)) ago.", Self.checkController)
  }
}

private func judge(_ disk: DiskSpace?) -> Judgement {
  guard let disk else {
    return .unknown("The free disk space is not known.", "Check the state folder of chock.")
  }
  // Megabytes, so that both numbers can be compared at a glance; rounded to the safe side.
  let needed = (max(0, disk.neededBytes) / 1_000_000) + (disk.neededBytes % 1_000_000 > 0 ? 1 : 0)
  let available = max(0, disk.availableBytes) / 1_000_000
  if disk.neededBytes > disk.availableBytes {
    return .violated(
      "The update needs \(needed) MB of disk space; \(available) MB are free.",
      "Free at least \(max(1, needed - available)) MB.")
  }
  let free = available < 10_000 ? "\(available) MB" : "\((available + 500) / 1000) GB"
  guard needed > 0 else { return .satisfied("\(free) are free.") }
  return .satisfied("The update needs \(needed) MB of disk space; \(free) are free.")
}

/// "42 s", "3 min", "2 h": whole units, rounded down.
private func ageText(_ age: Duration) -> String {
  let seconds = age.components.seconds
  return switch seconds {
  case ..<120: "\(seconds) s"
  case ..<7200: "\(seconds / 60) min"
  default: "\(seconds / 3600) h"
  }
}
