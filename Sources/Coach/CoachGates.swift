/// The gates of what the coach is doing, besides standing.
extension Evaluation {
  func engineOff() -> Judgement {
    if let conflict = conflict(Signal.engineRunning, "engine's state") { return conflict }
    if value(Signal.engineRunning) == .flag(true) {
      return .violated("The engine is running.", "Switch the engine off.")
    }
    return reliable(Signal.engineRunning) == nil
      ? unknown(Signal.engineRunning, "engine's state") : .satisfied("The engine is off.")
  }

  func ignition() -> Judgement {
    if let conflict = conflict(Signal.ignition, "ignition") { return conflict }
    if value(Signal.ignition) == .text("on") {
      return .violated("The ignition is on.", "Switch the ignition off.")
    }
    return reliable(Signal.ignition) == nil
      ? unknown(Signal.ignition, "ignition") : .satisfied("The ignition is off.")
  }

  var interlockSignals: [String] {
    let known = readings.signals.filter {
      $0.hasPrefix(Signal.interlockPrefix) || isSecuredRequired($0)
    }
    return known.union((policy.interlocks ?? []).map { Signal.interlockPrefix + $0 }).sorted()
  }

  func interlocks() -> Judgement {
    if let flood { return flood }
    let signals = interlockSignals
    for signal in signals {
      if let conflict = conflict(signal, "interlock \(Self.name(signal))") { return conflict }
    }
    for kind in policy.requireSecured
    where !signals.contains(where: { isSecured($0, kind) && reliable($0) != nil }) {
      return .unknown(
        "Nothing is reported of whether each \(kind) is secured.", Self.checkController)
    }
    let bad: [ReadingValue] = [.text("violated"), .text("not_secured")]
    let violated = signals.filter { value($0).map(bad.contains) ?? false }
    if !violated.isEmpty {
      let names = violated.map(Self.name).joined(separator: ", ")
      return .violated(
        violated.count == 1
          ? "The interlock \(names) is not satisfied."
          : "The interlocks \(names) are not satisfied.",
        "Bring what the interlock guards into its safe position.")
    }
    if signals.isEmpty, policy.interlocks == nil {
      return .unknown(
        "No interlock has been reported yet.",
        "\(Self.checkController) A coach that has none says so: coach.interlocks = [].")
    }
    for signal in signals where reliable(signal) == nil {
      // Sources that may only veto have had their say above, and need not go on saying that all is well.
      let said = readings.readings(of: signal)
      let isNamed = policy.interlocks?.contains(Self.name(signal)) ?? false
      if !isNamed, !said.isEmpty, said.allSatisfy({ $0.vetoOnly && !bad.contains($0.value) }) {
        continue
      }
      return unknown(signal, "interlock \(Self.name(signal))")
    }
    guard policy.interlocks != nil || signals.contains(where: { reliable($0) != nil }) else {
      return unknown(signals[0], "interlock \(Self.name(signals[0]))")
    }
    return .satisfied("All interlocks are satisfied.")
  }

  private func isSecuredRequired(_ signal: String) -> Bool {
    policy.requireSecured.contains { isSecured(signal, $0) }
  }

  private func isSecured(_ signal: String, _ kind: String) -> Bool {
    signal.hasPrefix(Signal.securedPrefix + kind)
  }

  /// A command, or a slide that moves, on a bus that is not heard would not be known.
  private var silentBus: Judgement? {
    guard let bus = facts.silentBuses.first else { return nil }
    return .unknown(
      "\(bus) is not heard, so that nobody knows what moves there.",
      "Check the bus (`chock coach watch`); or a person attests active_controls=none.")
  }

  private static func name(_ interlock: String) -> String {
    interlock.hasPrefix(Signal.interlockPrefix)
      ? String(interlock.dropFirst(Signal.interlockPrefix.count)) : interlock
  }

  /// Not every coach has one that is reported; a source that was heard, or is configured, must go on.
  func emergencyStop() -> Judgement {
    if let conflict = conflict(Signal.emergencyStop, "emergency stop") { return conflict }
    switch heard(Signal.emergencyStop) {
    case .nothing(from: nil): return .satisfied("No source reports an emergency stop.")
    case .fresh(let reading, _):
      return reading.value == .text("active")
        ? .violated("The emergency stop is active.", "Release the emergency stop.")
        : .satisfied("The emergency stop is not active.")
    default: return unknown(Signal.emergencyStop, "emergency stop")
    }
  }

  /// Silence about operations says "none" only while the coach is heard at all. A person's word for
  /// another signal does not prove that it lives; their word for `active_controls` stands for it.
  func noActiveControls() -> Judgement {
    let activities = readings.activities(at: now)
    if let first = activities.first {
      let others = activities.count > 1 ? " (and \(activities.count - 1) more)" : ""
      return .violated(
        "The coach is busy: \(first.description)\(others).", "Wait until it has finished.")
    }
    if let conflict = conflict(Signal.activeControls, "state of controls") { return conflict }
    if value(Signal.activeControls) == .text("some") {
      return .violated("The coach is moving something.", "Wait until it has finished.")
    }
    if reliable(Signal.activeControls) == nil, let silence = silentBus { return silence }
    // A source that was asked for it, and does not answer, may be hiding some.
    if readings.source(expectedFor: Signal.activeControls) != nil,
      value(Signal.activeControls) == nil
    {
      return unknown(Signal.activeControls, "state of controls")
    }
    let isHeard = readings.contains { tellsOfTheCoach($0) && $0.isFresh(at: now) }
    if reliable(Signal.activeControls) != nil || isHeard {
      return .satisfied("Nothing is being moved or switched.")
    }
    guard let last = readings.all.filter(tellsOfTheCoach).map(\.heardAt).max() else {
      return .unknown("The controller has not reported yet.", Self.checkController)
    }
    return .unknown(
      "The controller was last heard \(ageText(last.duration(to: now))) ago.", Self.checkController)
  }

  /// The board's own sensors tell nothing of what the coach does.
  private func tellsOfTheCoach(_ reading: Reading) -> Bool {
    let ofTheBoard = [
      Signal.connections, Signal.undervoltage, Signal.shorePower, Signal.ignition,
    ]
    return !reading.isAttested && !reading.vetoOnly && !ofTheBoard.contains(reading.signal)
  }

  func noActiveConnections() -> Judgement {
    guard case .number(let count) = value(Signal.connections) else {
      return unknown(Signal.connections, "number of control connections")
    }
    if count > 0 {
      let connections =
        count == 1
        ? "1 control connection is" : "\(ReadingValue.number(count)) control connections are"
      return .violated("\(connections) open.", "Close the coach's control apps.")
    }
    return reliable(Signal.connections) == nil
      ? unknown(Signal.connections, "number of control connections")
      : .satisfied("Nobody is controlling the coach.")
  }
}
