public import Migrations
import Storage

/// What a run is about to do, written before it does it: what recovery decides by.
struct Journal: Codable, Sendable, Equatable {
  var schema = "chock.JOURNAL/1"
  var run: RunDocument
  var phase: Phase
  var databasePath: String
  /// How a part of the plan may have been committed before the whole is; nil: it cannot have been.
  var partialCommit: PartialCommit?
  /// What tells, after a kill, whether the restore was committed.
  var restoreMark: Restorer.Mark?
  /// How the application kept its journal, when a restore has to leave that mode.
  var journalMode: String?
  /// What a restore has set aside: the names in its rescue folder.
  var setAsideFiles: [String]?
  /// The number of the file that a restore puts in the database's place.
  var replacement: UInt64?
  /// What has to be started again, and how far that is; nil: a run does not stop it.
  var application: ApplicationJournal?
  /// How often recovery has begun; three failures end in recovery mode.
  var recoveries = 0

  static let attempts = 3
}

/// What of a plan in several segments may be in the database.
enum PartialCommit: String, Codable, Sendable {
  /// Whole segments, each with its ledger rows.
  case transactions
  /// Also single statements of a migration that the ledger does not know yet.
  case statements
}

/// `run.json`: there is one exactly while a run has not ended.
struct JournalFile: Sendable {
  let path: String

  init(stateDirectory: String) {
    path = stateDirectory + "/run.json"
  }

  var exists: Bool { FileSystem.facts(path) != nil }

  /// Nil when no run was interrupted.
  ///
  /// - Throws: `.needsPerson` when the file cannot be understood.
  func read() throws(Failure) -> Journal? {
    guard let bytes = try FileSystem.read(path) else { return nil }
    do {
      return try JSON.decode(Journal.self, from: bytes)
    } catch {
      throw Failure(
        .needsPerson, "The journal of an interrupted run cannot be read.", file: path,
        howToClear:
          "Check the database with `chock doctor`; when it is well, `chock recover --discard` removes the journal."
      )
    }
  }

  func write(_ journal: Journal) throws(Failure) {
    try FileSystem.replace(path, with: try JSON.encode(journal, pretty: true))
  }

  func remove() throws(Failure) {
    try FileSystem.remove(path)
    try FileSystem.sync(FileSystem.parent(path))
  }
}

/// What the journal says, for somebody who only looks.
public struct OpenRun: Sendable {
  public var run: RunDocument
  public var phase: Phase
  /// A part of its plan may be committed: `transactions` or `statements`.
  public var partialCommit: String?
  /// A restore had begun to put the snapshot in place.
  public var hasBegunRestore: Bool
  /// The application has to be started again.
  public var holdsApplication: Bool
  /// How often recovery has begun.
  public var recoveries: Int

  /// Nil when every run has ended.
  ///
  /// - Throws: `.needsPerson` when the journal cannot be understood.
  public init?(stateDirectory: String) throws(Failure) {
    guard let journal = try JournalFile(stateDirectory: stateDirectory).read() else { return nil }
    run = journal.run
    phase = journal.phase
    partialCommit = journal.partialCommit?.rawValue
    hasBegunRestore = journal.restoreMark != nil || journal.replacement != nil
    holdsApplication = journal.application != nil
    recoveries = journal.recoveries
  }
}
