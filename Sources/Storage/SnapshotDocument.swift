public import Migrations

/// What a snapshot says about itself: the content of `ID.json` beside `ID.sqlite`.
public struct SnapshotDocument: Codable, Sendable, Equatable {
  public var schema = "chock.SNAPSHOT/1"
  public var id: String
  public var createdAt: String
  /// The database that it is a copy of.
  public var databasePath: String
  /// The schema version of its content; nil when the database was not adopted.
  public var version: String?
  /// Of the file `ID.sqlite`; nil, like all that only the description knows, when that is lost.
  public var sha256: String?
  public var sizeBytes: Int64
  /// `Fingerprint.total` of its content.
  public var fingerprint: String?
  /// The journal mode that the database was in (`wal`, `delete`); a restore brings it back.
  public var journalMode: String?
  public var reason: Reason
  /// The run that took it.
  public var run: String?
  /// A pinned snapshot is never removed by retention.
  public var pinned: Bool
  /// When its content was last checked against its digest.
  public var verifiedAt: String?
  public var sqliteVersion: String?
  public var chockVersion: String?
  /// In a copy elsewhere: the chock that has put it there, and may remove it.
  public var copiedBy: String?
  /// What the full check finds wrong with its content: it is a copy of a database that was damaged. Then it is for
  /// looking at, and for its rows, and is never put back.
  public var damage: String?

  /// What is otherwise in it than in another state may be damage, and what is not in it may be lost.
  public var mayBeDamaged: Bool { reason == .salvage || damage != nil }

  /// Its fingerprint, if it was computed as this version does.
  var knownFingerprint: String? {
    fingerprint.flatMap { $0.hasPrefix(Fingerprint.algorithm) ? $0 : nil }
  }

  /// - Throws: `.notAllowed` when it is a copy of another database than the one at `path`.
  public func checkBelongs(to path: String) throws(Failure) {
    guard !databasePath.isEmpty, databasePath != path,
      databasePath != FileSystem.canonical(path)
    else { return }
    throw Failure(
      .notAllowed, "Snapshot \(id) is a copy of \(databasePath), not of \(path).",
      howToClear: "Set database.path to the database that it belongs to.")
  }

  /// Whether it can stand for the database: nothing is known to be wrong with it, and nothing was left out.
  public var isComplete: Bool { damage == nil && reason != .salvage }

  /// - Throws: `.snapshotDamaged` when it is a copy of a database that was damaged.
  public func checkIsSound() throws(Failure) {
    guard let damage else { return }
    throw Failure(
      .snapshotDamaged, "Snapshot \(id) was made of a database that was damaged: \(damage)",
      howToClear:
        "Put another snapshot back (`chock snapshots list`), or what `chock rescue salvage` reads. \(reason == .beforeRestore ? "`chock rescue apply \(id)`" : "`chock diff \(id) live --rows`") \(reason == .beforeRestore ? "puts its rows in" : "shows its rows")."
    )
  }

  public enum Reason: String, Codable, Sendable {
    case beforeUpdate = "before_update"
    case beforeRestore = "before_restore"
    /// What could be read out of a damaged database.
    case salvage
    case manual
  }
}

/// A verified copy from before: the evidence that what follows can be undone.
public struct Snapshot: Sendable {
  public let document: SnapshotDocument
  public let path: String
  /// What the copy holds, to compare with what is there after the change.
  public let baseline: Baseline
  /// `PRAGMA data_version` of the connection that the copy was made from: as long as that connection
  /// still says the same, nobody has committed since.
  let dataVersion: Int64
}
