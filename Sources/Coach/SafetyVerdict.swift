/// Whether a condition holds. Unknown is not safe.
public enum GateState: String, Codable, Sendable { case satisfied, violated, unknown }

/// The conditions of an update, in the order in which they are shown.
public enum GateID: String, CaseIterable, Codable, Sendable {
  case parked
  case engineOff = "engine_off"
  case ignition, interlocks
  case emergencyStop = "emergency_stop"
  case noActiveControls = "no_active_controls"
  case noActiveConnections = "no_active_connections"
  case power, disk, clock, technician
  case updateLock = "update_lock"
}

/// A reading as it is shown beside the gate that it decides.
public struct ReadingView: Codable, Sendable, Hashable {
  public let signal: String
  /// Nil when nothing was ever heard.
  public let value: ReadingValue?
  public let source: String?
  public let age: Duration?
  /// True when its time to live has passed: it then counts as unknown.
  public let stale: Bool
  public let isAttested: Bool
  /// True when it may speak against an update and is never the reason to allow one.
  public let vetoOnly: Bool
  /// The raw form, where there is one.
  public let evidence: String?

  public init(_ reading: Reading, now: ContinuousClock.Instant) {
    signal = reading.signal
    value = reading.value
    source = reading.source
    age = reading.heardAt.duration(to: now)
    stale = !reading.isFresh(at: now)
    isAttested = reading.isAttested
    vetoOnly = reading.vetoOnly
    evidence = reading.evidence
  }

  /// A signal of which nothing was ever heard.
  init(_ signal: String) {
    self.signal = signal
    value = nil
    source = nil
    age = nil
    stale = true
    isAttested = false
    vetoOnly = false
    evidence = nil
  }
}

/// A signal for which a person's word would be taken now, and the word that opens the gate.
public struct Attestable: Codable, Sendable, Hashable {
  public let signal: String
  /// Nil for a number that the person reads somewhere, such as a voltage.
  public let value: ReadingValue?
}

/// One gate at one time: how it stands, why, and what would open it.
public struct GateVerdict: Codable, Sendable, Hashable {
  public let gate: GateID
  public let title: String
  public let state: GateState
  /// One sentence for the owner.
  public let reason: String
  /// What to do; nil when it is satisfied.
  public let howToClear: String?
  /// Whether it blocks an update; the others are shown all the same.
  public let required: Bool
  public let readings: [ReadingView]
  /// What a person may vouch for, where a silent signal leaves the gate unknown or a person's word, which
  /// ends soon, holds it open.
  public let attestable: [Attestable]
  /// The least voltage of the battery with which the gate `power` opens, in volts; nil for every other gate, and
  /// where the config asks for none.
  public let neededVolts: Double?
}

/// All gates at one time.
public struct SafetyVerdict: Codable, Sendable, Hashable {
  /// Every gate once, in the order of ``GateID``.
  public let gates: [GateVerdict]

  /// The required gates that are violated or unknown.
  public var blockers: [GateVerdict] { gates.filter { $0.required && $0.state != .satisfied } }

  /// True when every required gate is satisfied.
  public var isSafe: Bool { blockers.isEmpty }
}

/// Evidence that all required gates were open at one time: only a safe verdict makes one.
public struct SafetyPermit: Sendable {
  public let verdict: SafetyVerdict

  /// Nil unless the verdict is safe.
  public init?(_ verdict: SafetyVerdict) {
    guard verdict.isSafe else { return nil }
    self.verdict = verdict
  }
}
