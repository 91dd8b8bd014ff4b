public import Migrations
import SQLite

/// The two ways in which a database comes under chock's care, both on a person's word.
public enum Creation {
  /// Writes the ledger into a database that other means brought to `version`.
  ///
  /// - Parameter recording: done before it counts; nothing is adopted when it fails.
  /// - Throws: `.databaseExists` when it is adopted already; what `Database.open` throws.
  public static func adopt(
    _ path: String, at version: SchemaVersion, catalog: MigrationCatalog, run: String,
    chockVersion: String, recording: () throws(Failure) -> Void = {}
  ) throws(Failure) {
    let known = try catalog.upTo(version)
    let connection = try Database.openForWriting(path)
    guard
      try !Database.catching(path, { () throws(SQLiteError) in try LedgerTable.exists(connection) })
    else { throw adoptedAlready(path) }
    try Database.catching(path) { () throws(SQLiteError) in
      try connection.execute("PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE")
    }
    do throws(Failure) {
      try Database.catching(path) { () throws(SQLiteError) in
        try LedgerTable.create(connection)
        for migration in known {
          try LedgerTable.insert(
            LedgerEntry(
              version: migration.version, name: migration.name, checksum: migration.checksum,
              appliedAt: Timestamp.now(), durationMs: 0, run: run, chockVersion: chockVersion,
              kind: .adopted), connection)
        }
      }
      try recording()
      try Database.catching(path) { () throws(SQLiteError) in try connection.execute("COMMIT") }
    } catch {
      try? connection.execute("ROLLBACK")
      throw error
    }
  }

  public static func adoptedAlready(_ path: String) -> Failure {
    Failure(
      .databaseExists, "The database is adopted already.", file: path,
      howToClear: "`chock status` shows its version.")
  }

  /// Makes a new database at a version: built beside its place, and moved there when it is complete.
  ///
  /// - Throws: `.databaseExists` where anything exists at `path`; what a migration's failure is.
  public static func create(
    _ path: String, _ plan: Plan, _ order: ApplyOrder
  ) throws(Failure) -> SchemaVersion {
    for suffix in ["", "-wal", "-journal"] where FileSystem.facts(path + suffix) != nil {
      throw Failure(
        .databaseExists, "\(path + suffix) exists already; nothing was changed.", file: path,
        howToClear: "Move it away first, or choose another database.path.")
    }
    let partial = path + ".chock-init"
    defer { Snapshot.removeDatabase(partial) }
    try make(partial, plan, order)
    // A link fails where a file has appeared meanwhile; a rename would replace it.
    try FileSystem.link(partial, as: path)
    return plan.to
  }

  /// Makes a new database that nobody uses yet, whole, checked and synced; what lies at `path` is replaced.
  ///
  /// - Throws: what a migration's failure is, `.databaseCorrupt`, `.noSpace`; what was made so far is the caller's
  ///   to remove.
  public static func make(_ path: String, _ plan: Plan, _ order: ApplyOrder) throws(Failure) {
    Snapshot.removeDatabase(path)
    do {
      let connection = try Database.create(path)
      connection.setDefensive()
      // It is worth nothing until it is complete, and synced below.
      try Database.catching(path) { () throws(SQLiteError) in
        try connection.execute("PRAGMA journal_mode = MEMORY")
      }
      try Transaction.carryOut(plan, order, on: connection, .asRun)
      try Database.catching(path) { () throws(SQLiteError) in
        try connection.execute("PRAGMA journal_mode = WAL")
      }
      try Database.check(connection, .full, file: path, failingAs: .databaseCorrupt)
    }
    try FileSystem.sync(path)
  }

  /// The tables of a database that a new one has not, sorted: somebody else has made them.
  ///
  /// - Throws: what is wrong with one of the two.
  public static func tables(of path: String, missingIn new: String) throws(Failure) -> [String] {
    func tables(_ path: String) throws(Failure) -> [String] {
      let connection = try Database.open(path)
      return try Database.catching(path) { () throws(SQLiteError) in
        try Database.tables(connection) + Database.tables(connection, type: "virtual")
      }
    }
    let known = Set(try tables(new).map(TableKey.init))
    return try tables(path).filter { !known.contains(TableKey($0)) }.sorted()
  }
}
