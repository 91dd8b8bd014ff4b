public import Coach
import Storage

// What chock tells of the coach: the same documents for `--json`, HTTP and WebSocket.

/// One condition of the coach, as shown to a person.
public struct GateDocument: Codable, Sendable, Equatable {
  public var id: String
  public var title: String
  /// `satisfied`, `violated` or `unknown`.
  public var state: GateState
  public var required: Bool
  public var reason: String
  public var howToClear: String?
  public var readings: [ReadingDocument]
  /// What a person may vouch for now, so that it opens the gate or keeps it open.
  public var attestable: [Attestable]
  /// In volts, for the gate `power`: the least with which it opens by the battery. Nil for the others.
  public var neededVolts: Double?

  public init(_ verdict: GateVerdict) {
    id = verdict.gate.rawValue
    title = verdict.title
    state = verdict.state
    required = verdict.required
    reason = verdict.reason
    howToClear = verdict.howToClear
    readings = verdict.readings.map(ReadingDocument.init)
    attestable = verdict.attestable
    neededVolts = verdict.neededVolts
  }
}

/// One value that the coach reported, with how old it is and who said so.
public struct ReadingDocument: Codable, Sendable, Equatable {
  public var signal: String
  /// As text: `engaged`, `12.4`, `true`; nil when nothing was ever heard.
  public var value: String?
  public var source: String?
  public var ageSeconds: Double?
  /// True when its time to live has passed: it then counts as unknown.
  public var stale: Bool
  /// True when it is a person's word.
  public var attested: Bool
  /// True when it may speak against an update and is never the reason to allow one.
  public var vetoOnly: Bool
  /// The raw form, such as the frame.
  public var evidence: String?

  public init(_ view: ReadingView) {
    signal = view.signal
    value = view.value?.description
    source = view.source
    ageSeconds = view.age?.seconds
    stale = view.stale
    attested = view.isAttested
    vetoOnly = view.vetoOnly
    evidence = view.evidence
  }
}

/// A person's word for a reading that no device gives.
public struct AttestationDocument: Codable, Sendable, Equatable {
  public var signal: String
  public var value: String
  /// Such as `attestation by cli:root`.
  public var source: String

  public init(signal: String, value: String, source: String) {
    self.signal = signal
    self.value = value
    self.source = source
  }
}

/// A source of readings, and how it is.
public struct SourceDocument: Codable, Sendable, Equatable {
  /// Such as `can0`.
  public var source: String
  public var isWell: Bool
  /// One sentence for a technician.
  public var words: String
  public var howToClear: String?

  public init(source: String, isWell: Bool, words: String, howToClear: String?) {
    self.source = source
    self.isWell = isWell
    self.words = words
    self.howToClear = howToClear
  }
}

/// Something that the coach is doing.
public struct ActivityDocument: Codable, Sendable, Equatable {
  public var id: String
  public var description: String

  public init(id: String, description: String) {
    self.id = id
    self.description = description
  }
}

/// What the controller and the people in the coach are asked for while a run is active.
public struct UpdateInProgress: Codable, Sendable, Equatable {
  public var run: String
  public var kind: RunKind
  public var since: String
  public var message: String

  public init(_ run: RunDocument) {
    self.run = run.id
    kind = run.kind
    since = run.startedAt
    message = "Update in progress: do not move slides, jacks or awnings, and do not drive off."
  }
}

/// Somebody's word that no update is to start.
public struct LockDocument: Codable, Sendable, Equatable {
  public var id: String
  public var owner: String
  public var reason: String
  public var expiresAt: String

  public init(_ lock: UpdateLock) {
    id = lock.id
    owner = lock.owner
    reason = lock.reason
    expiresAt = Timestamp.text(secondsSince1970: lock.expiresAt)
  }
}

/// `GET /api/safety`.
public struct SafetyDocument: Codable, Sendable, Equatable {
  public var schema = "chock.SAFETY/1"
  public var isSafe: Bool
  public var gates: [GateDocument]
  public var blockingReasons: [String]
  /// Nil unless a run is active that changes the database.
  public var updateInProgress: UpdateInProgress?
  /// Who holds updates back.
  public var locks: [LockDocument]
  public var activities: [ActivityDocument]
  public var sources: [SourceDocument]
  /// Everything that was heard, also what decides no gate; nil in events.
  public var readings: [ReadingDocument]?

  public init(
    _ verdict: SafetyVerdict, updateInProgress: UpdateInProgress?, locks: [LockDocument],
    activities: [ActivityDocument], sources: [SourceDocument], readings: [ReadingDocument]
  ) {
    isSafe = verdict.isSafe
    gates = verdict.gates.map(GateDocument.init)
    blockingReasons = verdict.blockers.map(\.reason)
    self.updateInProgress = updateInProgress
    self.locks = locks
    self.activities = activities
    self.sources = sources
    self.readings = readings
  }
}
