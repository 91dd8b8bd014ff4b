/// Judges every gate by what the coach has told.
///
/// - Parameter now: The time for which the verdict holds; a reading counts until its lease ends.
public func evaluate(
  _ readings: Readings, _ facts: SafetyFacts, _ policy: SafetyPolicy,
  now: ContinuousClock.Instant
) -> SafetyVerdict {
  let evaluation = Evaluation(readings: readings, facts: facts, policy: policy, now: now)
  let required = policy.requiredGates.union(SafetyPolicy.alwaysRequired)
  return SafetyVerdict(
    gates: GateID.allCases.map { gate in
      let rule = evaluation.rule(gate)
      let views = rule.signals.flatMap(evaluation.views)
      let offersWord = rule.judgement.state == .unknown || views.contains { $0.isAttested }
      return GateVerdict(
        gate: gate, title: rule.title, state: rule.judgement.state, reason: rule.judgement.reason,
        howToClear: rule.judgement.howToClear, required: required.contains(gate),
        readings: views, attestable: offersWord ? evaluation.attestable(rule.signals) : [],
        neededVolts: gate == .power && policy.minimumVolts > 0 ? policy.minimumVolts : nil)
    })
}

/// What a rule says of its gate.
struct Judgement {
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

/// The rules look at the readings through this. Those of the coach are in ParkedGate.swift and
/// CoachGates.swift, those of the device in DeviceGates.swift.
struct Evaluation {
  let readings: Readings
  let facts: SafetyFacts
  let policy: SafetyPolicy
  let now: ContinuousClock.Instant

  typealias Rule = (title: String, judgement: Judgement, signals: [String])

  func rule(_ gate: GateID) -> Rule {
    switch gate {
    case .parked:
      (
        "Parked", parked(),
        [
          Signal.vehicleSpeed, Signal.parkingBrake, Signal.transmissionGear, Signal.selectedGear,
          Signal.inTow,
        ]
      )
    case .engineOff: ("Engine off", engineOff(), [Signal.engineRunning])
    case .ignition: ("Ignition off", ignition(), [Signal.ignition])
    case .interlocks: ("Interlocks", interlocks(), interlockSignals)
    case .emergencyStop: ("No emergency stop", emergencyStop(), [Signal.emergencyStop])
    case .noActiveControls:
      ("Nothing is moving", noActiveControls(), [Signal.activeControls])
    case .noActiveConnections:
      ("No control connections", noActiveConnections(), [Signal.connections])
    case .power:
      ("Power", power(), [Signal.supplyVoltage, Signal.shorePower, Signal.undervoltage])
    case .disk: ("Disk space", disk(), [])
    case .clock: ("Clock", clock(), [Signal.clock])
    case .technician: ("Technician", technician(), [])
    case .updateLock: ("No lock", updateLock(), [])
    }
  }

  // MARK: Looking at a signal

  /// What is to be made of all that the sources say of one signal.
  enum Heard {
    /// Nobody has ever said anything; a source that should is named.
    case nothing(from: String?)
    /// The last word, which is too old; of several, one that speaks against an update.
    case stale(Reading)
    /// All that is fresh agrees; the reading is the one that is furthest from allowing an update.
    /// `vetoOnly`: none of the sources may be the reason to allow one.
    case fresh(Reading, vetoOnly: Bool)
    /// The first is fresh; the second spoke against an update until its source went silent.
    case contradicted(Reading, by: Reading)
    /// Two fresh readings that cannot both be true.
    case conflict(Reading, Reading)
  }

  func heard(_ signal: String) -> Heard {
    let all = readings.readings(of: signal)
    let fresh = all.filter { $0.isFresh(at: now) }
    guard var worst = fresh.first else {
      // What speaks against an update is not made good by what came later and has expired too.
      let last = readings.lastWord(of: signal, at: now) ?? all.max { $0.heardAt < $1.heardAt }
      return last.map(Heard.stale) ?? .nothing(from: readings.source(expectedFor: signal))
    }
    for reading in fresh.dropFirst() {
      if let other = fresh.first(where: { !Signal.agree($0.value, reading.value, on: signal) }) {
        return .conflict(other, reading)
      }
      if Signal.isWorse(reading.value, than: worst.value, on: signal) { worst = reading }
    }
    if let silent = readings.contradiction(to: worst, at: now) {
      return .contradicted(worst, by: silent)
    }
    return .fresh(worst, vetoOnly: fresh.allSatisfy(\.vetoOnly))
  }

  /// The value, if all that is fresh agrees on one.
  func value(_ signal: String) -> ReadingValue? {
    switch heard(signal) {
    case .fresh(let reading, _), .contradicted(let reading, _): reading.value
    case .nothing, .stale, .conflict: nil
    }
  }

  /// The value, if a source says so that may be the reason to allow an update.
  func reliable(_ signal: String) -> Reading? {
    if case .fresh(let reading, vetoOnly: false) = heard(signal) { reading } else { nil }
  }

  /// True when the signal was heard once, or a source is there that should report it.
  func isKnown(_ signal: String) -> Bool {
    if case .nothing(from: nil) = heard(signal) { false } else { true }
  }

  /// Two sources that disagree, and who they are.
  func conflict(_ signal: String, _ name: String) -> Judgement? {
    guard case .conflict(let one, let other) = heard(signal) else { return nil }
    return .violated(
      "The \(name) is \(one.value) by \(one.source) and \(other.value) by \(other.source).",
      "Find out which of the two is wrong (`chock coach watch`).")
  }

  /// So many sources that one which speaks against an update may be missing.
  var flood: Judgement? {
    guard let overflow = readings.overflowedAt, now - overflow < .seconds(60) else { return nil }
    return .violated(
      "More devices report than chock can keep apart.",
      "Find out what floods the bus (`chock coach watch`).")
  }

  /// Why nothing can be said of a signal, and how to come by it.
  func unknown(_ signal: String, _ name: String) -> Judgement {
    let attest =
      policy.allowsAttestation(of: signal)
      ? "\(Self.checkController) With the ignition off, a person can attest it."
      : Self.checkController
    switch heard(signal) {
    case .nothing(from: nil): return .unknown("The \(name) has not been reported yet.", attest)
    case .nothing(let source?):
      return .unknown("The \(name) has not been reported by \(source) yet.", attest)
    case .fresh(let reading, _):
      return .unknown(
        "The \(name) is reported by \(reading.source) alone (\(reading.value)), whose word is not enough.",
        attest)
    case .contradicted(let reading, let silent):
      return .unknown(
        "The \(name) is \(reading.value) by \(reading.source), but \(silent.value) was the last word of \(silent.source).",
        attest)
    case .stale(let reading), .conflict(let reading, _):
      let age = ageText(reading.heardAt.duration(to: now))
      return .unknown(
        "The \(name) was last heard \(age) ago (\(reading.value), by \(reading.source)).", attest)
    }
  }

  /// Those of the signals for which a person's word would be taken now.
  func attestable(_ signals: [String]) -> [Attestable] {
    signals.compactMap { signal in
      // Nobody has to vouch for what a coach never reports and need not.
      if [Signal.inTow, Signal.selectedGear].contains(signal), !isKnown(signal) { return nil }
      let value = Signal.vouchedValue(of: signal)
      let objection = readings.objection(
        to: value ?? .number(policy.minimumVolts), signal, policy: policy, now: now)
      return objection == nil ? Attestable(signal: signal, value: value) : nil
    }
  }

  static let checkController = "Check that the controller is on and connected."

  /// Every source's word on a signal, as it is shown; one line without a value when nobody said anything.
  func views(_ signal: String) -> [ReadingView] {
    let all = readings.readings(of: signal)
    guard all.isEmpty else { return all.map { ReadingView($0, now: now) } }
    // Optional signals are shown once they were heard.
    let optional = [
      Signal.inTow, Signal.selectedGear, Signal.emergencyStop, Signal.activeControls,
      Signal.shorePower,
      Signal.undervoltage, Signal.clock,
    ]
    return optional.contains(signal) && !isKnown(signal) ? [] : [ReadingView(signal)]
  }
}

/// "42 s", "3 min", "2 h": whole units, rounded down.
func ageText(_ age: Duration) -> String {
  let seconds = age.components.seconds
  return switch seconds {
  case ..<120: "\(seconds) s"
  case ..<7200: "\(seconds / 60) min"
  default: "\(seconds / 3600) h"
  }
}
