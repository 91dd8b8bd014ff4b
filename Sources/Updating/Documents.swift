public import Migrations
public import Storage

// What chock tells the outside: the same documents for `--json`, HTTP and WebSocket.
// Keys become snake_case on the wire (see `JSON.encode`), so acronyms are spelled `Id` here.

/// What a run does.
public enum RunKind: String, Codable, Sendable {
  case update, rollback, rehearse, snapshot, restore, recover, verify
  /// Puts in what a rollback took out.
  case `import`
  /// Puts in what a restore took out.
  case rescue
  /// Reads out of a damaged database what can still be read.
  case salvage
  /// A check of the database. The full one in idle time is no part of the history.
  case check
  /// Copies snapshots to other places. Neither this nor the next keeps a run from beginning.
  case copy
  /// Fetches a snapshot from another place.
  case fetch
  /// Erases everything of the owner's, and begins with a new database.
  case factory

  /// The coach is watched while they are active.
  var isWatched: Bool { self == .factory || Self.changing.contains(self) }

  /// Those that change what the database holds.
  public static let changing: [RunKind] = [.update, .rollback, .import, .rescue, .restore]

  /// Whether a gate that closes makes the run wait, because it has changed nothing yet.
  func waitsForGates(in phase: Phase?) -> Bool {
    [nil, .plan, .safety, .quiesce, .snapshot, .rehearse].contains(phase)
  }

  /// Whether a run may still be stopped: not from the commit on, nor while an update is undone.
  func isCancellable(in phase: Phase?) -> Bool {
    switch phase {
    case nil, .commit, .resume, .prove, .done: false
    case .restore: self == .restore
    default: true
    }
  }
}

/// The named steps of a run, in the order in which they happen.
public enum Phase: String, Codable, Sendable, CaseIterable {
  case plan, safety
  /// The application is stopped.
  case quiesce
  case snapshot, rehearse, apply, verify, commit, restore
  /// The application is started again; on every way out.
  case resume
  /// It has to show that it is well with the new state.
  case prove
  case done
}

/// How a run ended.
public enum Outcome: String, Codable, Sendable {
  /// The new state is in place.
  case committed
  /// Nothing was started; the old state is untouched.
  case refused
  /// The change was undone inside its transaction; the old state is in place.
  case rolledBack = "rolled_back"
  /// A snapshot was put back.
  case restored
  /// A person is needed; nothing more is changed on its own.
  case needsRecovery = "needs_recovery"
  case nothingToDo = "nothing_to_do"
  /// A run that changes nothing (rehearsal, snapshot, check) succeeded.
  case finished
}

/// A migration that is not applied yet.
public struct PendingMigration: Codable, Sendable, Equatable {
  public var version: String
  public var name: String
  public var description: String

  public init(version: String, name: String, description: String) {
    self.version = version
    self.name = name
    self.description = description
  }
}

/// `GET /api/database/plan`, `chock plan --json`.
public struct PlanDocument: Codable, Sendable, Equatable {
  public var schema = "chock.PLAN/1"
  public var fromVersion: String
  public var toVersion: String
  /// What a person consents to, once: the plan after what was last done to the database. Also the ETag.
  public var hash: String
  /// The plan alone: what a run and a rehearsal name.
  public var planHash: String
  public var direction: Direction
  public var migrations: [PlannedMigration]
  /// Files that were rolled back and are left alone: `--out-of-order` brings them again.
  public var skipped: [PlannedMigration]
  /// What the plan asks a person.
  public var inputs: [MigrationInput]
  /// Seconds of the whole run: from the newest rehearsal of this very plan on this device, with the application's
  /// stop and start as they were in the newest run, and its probation. Before a rehearsal what the authors of all
  /// files say; nil when one does not.
  public var expectedSeconds: Double?
  /// Seconds at worst, a restore included; nil before a rehearsal.
  public var worstCaseSeconds: Double?
  public var databaseBytes: Int64
  /// Bytes that must be free on the file system of the state folder before a run starts.
  public var neededBytes: Int64
  public var availableBytes: Int64
  /// The time limit of the whole run, in seconds.
  public var timeoutSeconds: Double
  /// The newest try of this very plan, or its rehearsal, when that failed: another one would fail too.
  public var failedTry: RunDocument?

  public struct PlannedMigration: Codable, Sendable, Equatable {
    public var version: String
    public var name: String
    public var description: String
    public var file: String
    public var checksum: String
    public var phase: Int?
    public var purpose: Migration.Purpose?
    /// Its author acknowledges that it removes something.
    public var isDestructive: Bool
    /// An owner cannot start it.
    public var needsTechnician: Bool
    /// Units that have to be started again after it.
    public var restart: [String]
    /// What an application that still runs with the old schema cannot do after it, in words; nil when that is not
    /// known, as of a rollback.
    public var incompatibleChanges: [String]?

    public init(_ migration: Migration, incompatibleChanges: [String]? = nil) {
      version = migration.version.description
      name = migration.name
      description = migration.summary
      file = migration.fileName
      checksum = migration.checksum
      phase = migration.phase
      purpose = migration.purpose
      isDestructive = migration.isDestructive
      needsTechnician = migration.needsTechnician
      restart = migration.restart
      self.incompatibleChanges = incompatibleChanges
    }
  }

  public enum Direction: String, Codable, Sendable { case update, rollback }

  /// - Parameters:
  ///   - hash: what a person consents to.
  ///   - breaks: what each step breaks, if that is known.
  public init(
    _ plan: Plan, hash: String, breaks: [[Shape.Break]?],
    expectedSeconds: Double?, worstCaseSeconds: Double?, databaseBytes: Int64, neededBytes: Int64,
    availableBytes: Int64, timeoutSeconds: Double, failedTry: RunDocument?
  ) {
    fromVersion = plan.from.description
    toVersion = plan.to.description
    self.hash = hash
    planHash = plan.hash
    direction = plan.direction == .update ? .update : .rollback
    migrations = plan.steps.enumerated().map { index, step in
      PlannedMigration(
        step,
        incompatibleChanges: breaks.indices.contains(index) ? breaks[index]?.map(\.message) : nil)
    }
    skipped = plan.skipped.map { PlannedMigration($0) }
    inputs = plan.inputs
    self.expectedSeconds = expectedSeconds
    self.worstCaseSeconds = worstCaseSeconds
    self.databaseBytes = databaseBytes
    self.neededBytes = neededBytes
    self.availableBytes = availableBytes
    self.timeoutSeconds = timeoutSeconds
    self.failedTry = failedTry
  }
}

/// What a rehearsal found out.
///
/// `losses`: what a rollback takes out of the database.
public struct RehearsalDocument: Codable, Sendable, Equatable {
  public var planHash: String
  /// Seconds for all statements and checks on the copy.
  public var seconds: Double
  public var statements: Int
  /// Bytes that the apply needs beside the database at its peak.
  public var peakBytes: Int64
  /// Bytes that SQLite's temporary files took at their peak; nil in a run of an older chock.
  public var temporaryBytes: Int64?
  public var touchedTables: [String]
  public var losses: [Loss]?

  public init(
    planHash: String, seconds: Double, statements: Int, peakBytes: Int64, temporaryBytes: Int64,
    touchedTables: [String], losses: [Loss]
  ) {
    self.planHash = planHash
    self.seconds = seconds
    self.statements = statements
    self.peakBytes = peakBytes
    self.temporaryBytes = temporaryBytes
    self.touchedTables = touchedTables
    self.losses = losses
  }
}

/// One run, in progress or ended: `GET /api/database/update/{job}/progress`, `history`, `update --json`.
public struct RunDocument: Codable, Sendable, Equatable {
  public var schema = "chock.RUN/1"
  public var id: String
  public var kind: RunKind
  /// Nil while it runs.
  public var outcome: Outcome?
  public var phase: Phase?
  public var phases: [PhaseSeconds]
  /// 0...1 over the whole run; never goes back; nil when not known.
  public var fraction: Double?
  /// What happens right now, for a person ("Copying the database").
  public var message: String?
  /// Why the run waits, and until when it does so; nil when it goes on.
  public var waitingFor: String?
  public var waitingUntil: String?
  public var done: Int64?
  public var total: Int64?
  public var fromVersion: String?
  public var toVersion: String?
  public var planHash: String?
  /// What a committed update has applied.
  public var migrations: [PlanDocument.PlannedMigration]?
  public var snapshotId: String?
  /// Where the newer state went that a restore replaced: a snapshot. Of a rescue, the one that it puts in.
  public var rescueCopy: String?
  /// Where the files of a database went that could not be read: a folder.
  public var setAside: String?
  public var rehearsal: RehearsalDocument?
  /// What a person gave to the plan's inputs.
  public var inputs: [String: InputValue]?
  /// The readings for which a person gave their word.
  public var attestations: [AttestationDocument]?
  /// Where the rows are that a rollback took out, or that an import puts in: a folder.
  public var exportFolder: String?
  public var imported: [ImportedTable]?
  /// What became of the rows of a rescue copy.
  public var rescued: [RescuedTable]?
  /// Of a `verify`: the snapshot was also restored into a file of its own, and is good.
  public var isTestRestored: Bool?
  /// What a check has looked at.
  public var check: CheckKind?
  /// What a check has found, a line for each; of more than a thousand the first ones.
  public var found: [String]?
  /// What could be read out of a damaged database.
  public var salvage: Salvage?
  /// What a return to the factory state has erased.
  public var erased: ErasedDocument?
  public var error: Failure?
  /// What was found and did not stop the run.
  public var warnings: [Failure]?
  /// Who has said that the application is well, before its probation was over.
  public var confirmedBy: String?
  /// Who consented or asked ("panel", "cli:root", "auto").
  public var requestedBy: String?
  public var startedAt: String
  public var endedAt: String?
  /// Until when cancelling is safe: false from the commit on.
  public var cancellable: Bool
  public var acknowledged: Bool
  /// The number of the event that told how it ended; nil until then.
  public var resultSeq: UInt64?

  public struct PhaseSeconds: Codable, Sendable, Equatable {
    public var phase: Phase
    public var seconds: Double

    public init(phase: Phase, seconds: Double) {
      self.phase = phase
      self.seconds = seconds
    }
  }

  public init(id: String, kind: RunKind, startedAt: String, requestedBy: String? = nil) {
    self.id = id
    self.kind = kind
    self.startedAt = startedAt
    self.requestedBy = requestedBy
    self.phases = []
    self.cancellable = true
    self.acknowledged = false
  }
}

/// What a return to the factory state erases, and what it cannot reach.
public struct ErasedDocument: Codable, Sendable, Equatable {
  /// Rescue copies are snapshots, too.
  public var snapshots: Int
  /// Of the database, the snapshots and chock's own files.
  public var bytes: Int64
  /// Places at which copies of snapshots may still be.
  public var copiesElsewhere: [String]
}

/// `GET /api/database/status`, `chock status --json`.
public struct StatusDocument: Codable, Sendable, Equatable {
  public var schema = "chock.STATUS/1"
  public var chockVersion: String
  public var mode: Mode
  public var environment: String
  public var databasePath: String
  /// False when the database has tables and no ledger: nothing is offered until `chock adopt`.
  public var adopted: Bool
  public var currentVersion: String?
  public var targetVersion: String?
  public var needsUpdate: Bool
  public var pendingMigrations: [PendingMigration]
  public var isSafeToMigrate: Bool
  public var gates: [GateDocument]
  public var safetyIssues: [String]
  /// The newest that can stand for the database: no salvage, and no copy of a damaged one.
  public var latestBackup: SnapshotDocument?
  public var migrationInProgress: Bool
  public var currentJobId: String?
  /// The run in progress, or the last one until it is acknowledged.
  public var run: RunDocument?
  /// What keeps an update from being offered, when something does.
  public var problem: Failure?
  public var consentRequired: Bool
  /// The last full check of the database; nil before the first, or when one is due again.
  public var integrityCheck: IntegrityCheck?
  /// Its age; nil when the clock says that it is still to come.
  public var integrityCheckAgeSeconds: Double?
  /// The programs that have the database open, as far as we may see them.
  public var openers: [Opener]
  /// What a person has decided to do later about the pending update.
  public var schedule: Schedule?
  /// When a consent for later begins where it names no time, in the device's time: `02:00-05:00`.
  public var maintenanceWindow: String
  /// Who has agreed to a plan that another person is still to start.
  public var approvals: [ApprovalDocument]
  /// The snapshot whose restore undoes the newest update, while nothing else has changed the database since.
  public var undoSnapshot: String?
  /// The places where copies of snapshots are kept.
  public var copies: [CopyPlaceDocument]
  /// The application's errors, where they are counted.
  public var errorWatch: ErrorWatchDocument?

  public enum Mode: String, Codable, Sendable { case normal, recovery }

  public init(
    chockVersion: String, mode: Mode, environment: String, databasePath: String, adopted: Bool,
    currentVersion: String?, targetVersion: String?, needsUpdate: Bool,
    pendingMigrations: [PendingMigration], isSafeToMigrate: Bool, gates: [GateDocument],
    safetyIssues: [String], latestBackup: SnapshotDocument?, migrationInProgress: Bool,
    currentJobId: String?, run: RunDocument?, problem: Failure?, consentRequired: Bool,
    integrityCheck: IntegrityCheck?, openers: [Opener], schedule: Schedule?,
    maintenanceWindow: DailyWindow, approvals: [ApprovalDocument], undoSnapshot: String?,
    copies: [CopyPlaceDocument], errorWatch: ErrorWatchDocument?
  ) {
    self.chockVersion = chockVersion
    self.mode = mode
    self.environment = environment
    self.databasePath = databasePath
    self.adopted = adopted
    self.currentVersion = currentVersion
    self.targetVersion = targetVersion
    self.needsUpdate = needsUpdate
    self.pendingMigrations = pendingMigrations
    self.isSafeToMigrate = isSafeToMigrate
    self.gates = gates
    self.safetyIssues = safetyIssues
    self.latestBackup = latestBackup
    self.migrationInProgress = migrationInProgress
    self.currentJobId = currentJobId
    self.run = run
    self.problem = problem
    self.consentRequired = consentRequired
    self.integrityCheck = integrityCheck
    integrityCheckAgeSeconds = integrityCheck?.ageSeconds()
    self.openers = openers
    self.schedule = schedule
    self.maintenanceWindow = maintenanceWindow.description
    self.approvals = approvals
    self.undoSnapshot = undoSnapshot
    self.copies = copies
    self.errorWatch = errorWatch
  }
}

/// One entry of the event stream.
public struct Event: Codable, Sendable, Equatable {
  public var seq: UInt64
  public var at: String
  public var type: EventType
  public var run: String?
  public var phase: Phase?
  public var step: String?
  public var done: Int64?
  public var total: Int64?
  public var fraction: Double?
  public var message: String?
  /// With `state`: everything a newly connected client needs.
  public var status: StatusDocument?
  /// With `gate`: the gates as they now stand.
  public var safety: SafetyDocument?
  /// With `result`: the finished run.
  public var result: RunDocument?
  public enum EventType: String, Codable, Sendable, CaseIterable {
    case state, phase, progress, gate, log, result
    /// What follows the number that the client named is not complete.
    case gap
    case updateAvailable = "update_available"
    /// For CoachIQ's panel: a run's progress in its words. Other fields than an ``Event`` has.
    case coachIQProgress = "database_update_progress"
  }

  public init(seq: UInt64, at: String, type: EventType) {
    self.seq = seq
    self.at = at
    self.type = type
  }
}
