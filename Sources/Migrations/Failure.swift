/// Why something was refused or went wrong, in a form that a person, a script and the panel can all use.
///
/// One type for every module: an error that crosses from SQL to a browser keeps its file, line and statement.
public struct Failure: Error, Codable, Sendable, Equatable {
  /// What kind of failure it is; stable, and never matched on by its text.
  public var code: Code
  /// What happened, in one sentence for a person.
  public var message: String
  /// The file that it is about (a migration, a snapshot, the config), when there is one.
  public var file: String?
  /// The line in `file`, counted from 1.
  public var line: Int?
  /// The SQL statement that was running, shortened to a few hundred characters.
  public var statement: String?
  /// What the person can do about it.
  public var howToClear: String?
  /// The field of a request that it is about, as a JSON pointer (RFC 6901), such as `/pin`.
  public var pointer: String?

  public init(
    _ code: Code, _ message: String, file: String? = nil, line: Int? = nil,
    statement: String? = nil, howToClear: String? = nil, pointer: String? = nil
  ) {
    self.code = code
    self.message = message
    self.file = file
    self.line = line
    self.statement = statement
    self.howToClear = howToClear
    self.pointer = pointer
  }

  /// The stable codes. The raw value is what `--json`, the interface and the docs show.
  public enum Code: String, Codable, Sendable, CaseIterable {
    // What was asked for
    case usage = "CHK-USAGE"
    case badConfig = "CHK-CONFIG"
    /// A profile or a recording of what the coach says.
    case coachFile = "CHK-COACH-FILE"
    case notAllowed = "CHK-NOT-ALLOWED"
    /// Nobody knows who asks.
    case notSignedIn = "CHK-NOT-SIGNED-IN"
    /// A PIN is missing or wrong, or locked after too many wrong ones.
    case pin = "CHK-PIN"
    /// The first one of its role chooses a PIN.
    case pinNeeded = "CHK-PIN-NEEDED"
    /// A second person has to agree to the plan.
    case approval = "CHK-APPROVAL"
    /// An Idempotency-Key came with another request before.
    case keyReused = "CHK-KEY-REUSED"
    case consentMissing = "CHK-CONSENT-MISSING"
    case planChanged = "CHK-PLAN-CHANGED"
    case notFound = "CHK-NOT-FOUND"
    case input = "CHK-INPUT"
    // Migration files
    case migrationsMissing = "CHK-MIGRATIONS-MISSING"
    case migrationFile = "CHK-MIGRATION-FILE"
    case migrationOrder = "CHK-MIGRATION-ORDER"
    case rollbackMissing = "CHK-ROLLBACK-MISSING"
    case drift = "CHK-DRIFT"
    case databaseNewer = "CHK-DATABASE-NEWER"
    case unadopted = "CHK-UNADOPTED"
    // The database
    case databaseMissing = "CHK-DATABASE-MISSING"
    case databaseExists = "CHK-DATABASE-EXISTS"
    case databaseEmpty = "CHK-DATABASE-EMPTY"
    case notADatabase = "CHK-NOT-A-DATABASE"
    case databaseCorrupt = "CHK-DATABASE-CORRUPT"
    case databaseReadOnly = "CHK-DATABASE-READ-ONLY"
    case databaseLocked = "CHK-DATABASE-LOCKED"
    case inputOutput = "CHK-INPUT-OUTPUT"
    // Not now
    case gateClosed = "CHK-GATE-CLOSED"
    case runActive = "CHK-RUN-ACTIVE"
    case noSpace = "CHK-NO-SPACE"
    case noDaemon = "CHK-NO-DAEMON"
    /// All places for connections are taken.
    case busy = "CHK-BUSY"
    /// The application cannot be stopped or started as the config says.
    case application = "CHK-APPLICATION"
    /// It does not stop, or does not stay down.
    case applicationStop = "CHK-APPLICATION-STOP"
    // While the run went
    case preflight = "CHK-PREFLIGHT"
    case statement = "CHK-STATEMENT"
    case forbiddenStatement = "CHK-FORBIDDEN-STATEMENT"
    case timeout = "CHK-TIMEOUT"
    case stopped = "CHK-STOPPED"
    case validation = "CHK-VALIDATION"
    case foreignKeys = "CHK-FOREIGN-KEYS"
    case rowsLost = "CHK-ROWS-LOST"
    case expectation = "CHK-EXPECTATION"
    /// Rows that are to be put in do not fit what is there by now.
    case conflict = "CHK-CONFLICT"
    case integrity = "CHK-INTEGRITY"
    case snapshotDamaged = "CHK-SNAPSHOT-DAMAGED"
    /// A place for copies of snapshots is not there, or cannot be used.
    case copyPlace = "CHK-COPY-PLACE"
    /// A copy from elsewhere is not what it says, or not of this controller.
    case foreignSnapshot = "CHK-FOREIGN-SNAPSHOT"
    /// It was not well with the new state.
    case applicationUnhealthy = "CHK-APPLICATION-UNHEALTHY"
    /// Since the update it makes more errors than before.
    case moreErrors = "CHK-MORE-ERRORS"
    case interrupted = "CHK-INTERRUPTED"
    case needsPerson = "CHK-NEEDS-PERSON"
    /// It was asked for, or the daemon ends again and again.
    case recoveryMode = "CHK-RECOVERY-MODE"
  }

  /// The process exit code, after sysexits.h where it has one (the table in docs/command-line.md).
  public var exitCode: Int32 {
    switch code {
    case .usage, .input, .pinNeeded, .keyReused: 64
    case .coachFile, .migrationFile, .migrationOrder, .rollbackMissing, .drift, .databaseNewer,
      .unadopted,
      .databaseEmpty,
      .notADatabase, .databaseCorrupt, .snapshotDamaged, .foreignSnapshot,
      .preflight:
      65
    case .databaseMissing, .migrationsMissing, .notFound: 66
    case .noDaemon: 69
    case .inputOutput, .databaseReadOnly, .databaseExists: 74
    case .gateClosed, .runActive, .noSpace, .databaseLocked, .planChanged, .approval, .busy,
      .application, .applicationStop, .copyPlace:
      75
    case .notAllowed, .consentMissing, .notSignedIn, .pin: 77
    case .badConfig: 78
    case .statement, .forbiddenStatement, .timeout, .stopped, .validation, .foreignKeys, .rowsLost,
      .expectation, .conflict, .integrity, .interrupted, .applicationUnhealthy,
      .moreErrors:
      1
    case .needsPerson, .recoveryMode: 2
    }
  }
}
