/// What the owner of a coach asks of the gates.
public struct SafetyPolicy: Codable, Sendable, Equatable {
  /// The gates that block; the others are judged and shown too.
  public var requiredGates: Set<GateID>
  /// For how long the coach must have been parked, in seconds.
  public var parkedForSeconds: Int
  /// Less than this from the battery, in volts, is not enough for an update and its recovery. 0: the
  /// board's own under-voltage sensor is enough.
  public var minimumVolts: Double
  /// The interlocks that must be reported; nil: at least one, whatever its name.
  public var interlocks: [String]?
  /// What must be secured for the road: the beginnings of names under `secured.`, such as "slide".
  public var requireSecured: [String]
  /// The signals for which a person's word is taken.
  public var mayAttest: Set<String>

  /// Gates that block always, whatever the config says: they are open unless somebody says otherwise.
  public static let alwaysRequired: Set<GateID> = [.updateLock, .technician]

  /// Signals that are silent while the ignition is off, and what a board may have no sensor for.
  public static let attestable: Set<String> = [
    Signal.parkingBrake, Signal.vehicleSpeed, Signal.transmissionGear, Signal.selectedGear,
    Signal.engineRunning, Signal.ignition, Signal.inTow, Signal.supplyVoltage, Signal.shorePower,
    Signal.connections,
    Signal.activeControls, Signal.clock, Signal.interlockPrefix, Signal.securedPrefix,
  ]

  public init(
    requiredGates: Set<GateID>, parkedForSeconds: Int = 0, minimumVolts: Double = 12,
    interlocks: [String]? = nil, requireSecured: [String] = [],
    mayAttest: Set<String> = SafetyPolicy.attestable
  ) {
    self.requiredGates = requiredGates
    self.parkedForSeconds = parkedForSeconds
    self.minimumVolts = minimumVolts
    self.interlocks = interlocks
    self.requireSecured = requireSecured
    self.mayAttest = mayAttest
  }

  /// Whether the policy takes a person's word for it; `interlock.` stands for all interlocks.
  func allowsAttestation(of signal: String) -> Bool {
    mayAttest.contains(signal)
      || mayAttest.contains { $0.hasSuffix(".") && signal.hasPrefix($0) }
  }
}
