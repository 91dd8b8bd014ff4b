public import Migrations
public import SQLite
public import Storage

/// What does not fit between a database and the files that are applied to it, and that a person can accept.
public struct Repair: Sendable, Encodable {
  public var schema = "chock.REPAIR/1"
  public var path: String
  /// Applied files that have changed since.
  public var files: [ChangedFile]
  /// Where the schema is not what the files, as they are now, make.
  public var drift: [Schema.Difference]
  /// Why it cannot be told whether the schema has drifted.
  public var driftProblem: Failure?
  /// When the drift is accepted already.
  public var accepted: AuditEntry?
  /// Of all of it: two looks that have the same have found the same.
  public private(set) var hash = ""

  public struct ChangedFile: Sendable, Encodable {
    public var version: SchemaVersion
    public var file: String
    /// The SHA-256 of the file that was applied.
    public var before: String
    /// Of the file that is there.
    public var now: String
  }

  /// Looks, and changes nothing.
  ///
  /// - Throws: what is wrong with the database or the files; the stop that was requested.
  public init(
    _ connection: Connection, _ catalog: MigrationCatalog, _ history: StateStore,
    stop: StopSignal = StopSignal()
  ) throws(Failure) {
    path = connection.fileName
    let ledger = try LedgerTable.read(connection)
    files = []
    for entry in ledger?.entries ?? [] where !entry.checksum.isEmpty {
      guard let file = catalog.migrations.first(where: { $0.version == entry.version }),
        file.checksum != entry.checksum
      else { continue }
      files.append(
        ChangedFile(
          version: entry.version, file: file.path, before: entry.checksum, now: file.checksum))
    }
    drift = []
    do throws(Failure) {
      drift = try Drift.find(in: connection, catalog, stop: stop)
    } catch {
      try stop.check()
      // A changed file can be accepted all the same.
      guard !files.isEmpty else { throw error }
      driftProblem = error
    }
    accepted = try history.acceptance(of: drift, in: [path])
    hash = sha256(try JSON.encode(self))
  }

  public var isNeeded: Bool { !files.isEmpty || (!drift.isEmpty && accepted == nil) }

  /// Accepts what was found: changed files in the ledger, drift in the audit.
  ///
  /// - Throws: `.planChanged` when the ledger has changed since.
  public func accept(reason: String, actor: String, _ history: StateStore) throws(Failure) {
    var entries = files.map {
      AuditEntry(
        .acceptChecksum, of: path, accepted: $0.now, reason: reason, actor: actor,
        version: $0.version.description, before: $0.before)
    }
    if !drift.isEmpty, accepted == nil {
      entries.append(
        AuditEntry(
          .acceptDrift, of: path, accepted: try Drift.digest(drift), reason: reason, actor: actor))
    }
    let changes = files.map { ($0.version, $0.before, $0.now) }
    try LedgerTable.replaceChecksums(changes, in: path) { () throws(Failure) in
      // An entry about something that did not come to pass does no harm; the other way round it would.
      for entry in entries { try history.append(entry) }
    }
  }
}

extension Drift {
  /// Equal exactly when the differences are.
  static func digest(_ differences: [Schema.Difference]) throws(Failure) -> String {
    sha256(Array(try JSON.text(differences).utf8))
  }
}

extension StateStore {
  /// The newest entry that accepts exactly these differences; nil when there is none, or nothing to accept.
  public func acceptance(
    of differences: [Schema.Difference], in paths: [String]
  ) throws(Failure) -> AuditEntry? {
    guard !differences.isEmpty else { return nil }
    let digest = try Drift.digest(differences)
    return try audit().entries.last {
      $0.action == .acceptDrift && paths.contains($0.databasePath) && $0.accepted == digest
    }
  }
}
