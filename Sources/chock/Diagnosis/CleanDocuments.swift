import Coach
import Migrations
import Storage
import Updating

// What of chock's documents is in the file for support: each field that is, and no other.

/// A run, without what a person gave or what rows hold.
struct CleanRun: Encodable {
  struct Seconds: Encodable {
    var phase: String
    var seconds: Double
  }

  struct Table: Encodable {
    var table: String
    var added: Int64?
    var changed: Int64?
    var deleted: Int64?
    var same: Int64?
    var conflicts: Int64?
    var rows: Int64?
    var columns: [String]?
  }

  struct Rehearsal: Encodable {
    var planHash: String
    var seconds: Double
    var statements: Int
    var peakBytes: Int64
    var temporaryBytes: Int64?
    var touchedTables: [String]
    var losses: [Table]?
  }

  var id: String
  var kind: RunKind
  var outcome: Outcome?
  var phase: Phase?
  var phases: [Seconds]
  var fraction: Double?
  var isWaiting: Bool
  var fromVersion: String?
  var toVersion: String?
  var planHash: String?
  var snapshotId: String?
  var rescueCopy: String?
  var hasSetAside: Bool
  var hasExported: Bool
  var rehearsal: Rehearsal?
  /// Their names; what was answered stays on the coach.
  var inputs: [String]?
  var attested: [String]?
  var imported: [Table]?
  var rescued: [Table]?
  var error: Cleaner.Problem?
  var warnings: [Cleaner.Problem]?
  var confirmedBy: String?
  var requestedBy: String?
  var startedAt: String
  var endedAt: String?
  var acknowledged: Bool

  init(_ run: RunDocument, _ cleaner: Cleaner) {
    id = run.id
    kind = run.kind
    outcome = run.outcome
    phase = run.phase
    phases = run.phases.map { Seconds(phase: $0.phase.rawValue, seconds: $0.seconds) }
    fraction = run.fraction
    isWaiting = run.waitingFor != nil
    fromVersion = run.fromVersion
    toVersion = run.toVersion
    planHash = run.planHash
    snapshotId = run.snapshotId
    rescueCopy = run.rescueCopy
    hasSetAside = run.setAside != nil
    hasExported = run.exportFolder != nil
    rehearsal = run.rehearsal.map { rehearsal in
      Rehearsal(
        planHash: rehearsal.planHash, seconds: rehearsal.seconds,
        statements: rehearsal.statements, peakBytes: rehearsal.peakBytes,
        temporaryBytes: rehearsal.temporaryBytes, touchedTables: rehearsal.touchedTables,
        losses: rehearsal.losses?.map { Table(table: $0.table, rows: $0.rows, columns: $0.columns) }
      )
    }
    inputs = run.inputs?.keys.sorted()
    attested = run.attestations?.map(\.signal)
    imported = run.imported?.map {
      Table(
        table: $0.table, added: $0.added, changed: $0.filled, same: $0.same,
        conflicts: $0.conflicts)
    }
    rescued = run.rescued?.map {
      Table(
        table: $0.table, added: $0.added, changed: $0.changed, deleted: $0.deleted, same: $0.same,
        conflicts: $0.conflicts)
    }
    error = run.error.map(cleaner.problem)
    warnings = run.warnings?.map(cleaner.problem)
    confirmedBy = run.confirmedBy.map(cleaner.person)
    requestedBy = run.requestedBy.map(cleaner.person)
    startedAt = run.startedAt
    endedAt = run.endedAt
    acknowledged = run.acknowledged
  }
}

/// An entry of the audit: who, when, what kind of thing; and about what, where chock itself has named it.
struct CleanAuditEntry: Encodable {
  var at: String
  var action: String
  var by: String
  var what: String?
  var version: String?
  var before: String?

  init(_ entry: AuditEntry, _ cleaner: Cleaner) {
    at = entry.at
    action = entry.action.rawValue
    by =
      entry.action == .endAttestation ? cleaner.source(entry.actor) : cleaner.person(entry.actor)
    what = Self.what(entry)
    version = entry.version.flatMap { Cleaner.isPlain($0, besides: ".") ? $0 : nil }
    before = entry.before.flatMap { Cleaner.isPlain($0, besides: "") ? $0 : nil }
  }

  private static func what(_ entry: AuditEntry) -> String? {
    switch entry.action {
    case .attest, .endAttestation: attested(entry.accepted)
    // Checksums, ids, versions, roles.
    case .acceptChecksum, .acceptDrift, .approve, .schedule, .unschedule,
      .postpone, .cancel, .confirm, .acknowledge, .deleteSnapshot, .signIn, .signOut, .setPin,
      .factoryState, .adopt, .exportRescue:
      Cleaner.isPlain(entry.accepted, besides: "._-=") ? entry.accepted : nil
    case .refuse: entry.accepted.contains(" /api/") ? entry.accepted : nil
    // Names that people give, and what devices have said.
    case .breakLock, .forget, .makeCode, .pair, .revoke, .makeToken, .leaveRecovery: nil
    }
  }

  /// `SIGNAL=VALUE`
  private static func attested(_ text: String) -> String? {
    let parts = text.split(separator: "=", maxSplits: 1)
    guard let signal = parts.first, Cleaner.isPlain(text, besides: "._-=") else { return nil }
    return ([CleanSafety.withoutName(String(signal))] + parts.dropFirst().map(String.init))
      .joined(separator: "=")
  }
}

/// The gates and what was heard, without the words of people and of other programs.
struct CleanSafety: Encodable {
  struct Gate: Encodable {
    var id: String
    var title: String
    var state: GateState
    var required: Bool
    var reason: String?
    var neededVolts: Double?
    var readings: [Reading]
  }

  struct Reading: Encodable {
    var signal: String
    var value: String?
    var source: String?
    var ageSeconds: Double?
    var stale: Bool
    var attested: Bool
    var vetoOnly: Bool
    /// The frame.
    var evidence: String?
  }

  struct Source: Encodable {
    var source: String
    var isWell: Bool
    var words: String?
  }

  var isSafe: Bool
  var gates: [Gate]
  var locks: Int
  var activities: Int
  var sources: [Source]
  var readings: [Reading]?

  init(_ safety: SafetyDocument, _ cleaner: Cleaner) {
    isSafe = safety.isSafe
    gates = safety.gates.map { gate in
      Gate(
        id: gate.id, title: gate.title, state: gate.state, required: gate.required,
        reason: Self.reason(of: gate), neededVolts: gate.neededVolts,
        readings: gate.readings.map { Self.reading($0, cleaner) })
    }
    locks = safety.locks.count
    activities = safety.activities.count
    sources = safety.sources.map { source in
      let name = cleaner.source(source.source)
      return Source(
        source: name, isWell: source.isWell,
        words: name == source.source ? source.words : nil)
    }
    readings = safety.readings?.map { Self.reading($0, cleaner) }
  }

  /// Of the device's own conditions, which nobody puts a name into.
  private static func reason(of gate: GateDocument) -> String? {
    ["disk", "clock"].contains(gate.id) ? gate.reason : nil
  }

  /// `interlock.NAME` and their like: the name is the config's, or another program's. Of a bus it is the profile's.
  static func withoutName(_ signal: String) -> String {
    guard let dot = signal.firstIndex(of: ".") else { return signal }
    return "\(signal[...dot])#\(sha256(Array(signal.utf8)).prefix(6))"
  }

  private static func reading(_ reading: ReadingDocument, _ cleaner: Cleaner) -> Reading {
    func plain(_ text: String?, _ signs: String) -> String? {
      text.map { Cleaner.isPlain($0, besides: signs) ? $0 : "…" }
    }
    // As candump writes it.
    let isFrame = reading.evidence?.allSatisfy { "0123456789ABCDEF# ".contains($0) } ?? false
    let source = reading.source.map(cleaner.source)
    let isOfBus = source != nil && source == reading.source
    return Reading(
      signal: isOfBus ? reading.signal : Self.withoutName(reading.signal),
      value: plain(reading.value, "._-+"),
      source: reading.attested ? "a person" : source,
      ageSeconds: reading.ageSeconds, stale: reading.stale, attested: reading.attested,
      vetoOnly: reading.vetoOnly, evidence: isFrame ? reading.evidence : nil)
  }
}
