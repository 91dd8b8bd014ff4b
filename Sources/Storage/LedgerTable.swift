public import Migrations
public import SQLite

/// The ledger as a table of the application's database: it is restored with the data it describes.
public enum LedgerTable {
  public static let name = "chock_migrations"

  static let definition = """
    CREATE TABLE IF NOT EXISTS main.chock_migrations (
      version TEXT PRIMARY KEY NOT NULL,
      name TEXT NOT NULL,
      checksum TEXT NOT NULL,
      applied_at TEXT NOT NULL,
      duration_ms INTEGER NOT NULL,
      run TEXT NOT NULL,
      chock_version TEXT NOT NULL,
      kind TEXT NOT NULL CHECK (kind IN ('applied', 'adopted', 'rolled_back', 'begun', 'imported'))
    ) STRICT
    """

  /// The ledger; nil when the database has tables and no ledger: it is not adopted.
  ///
  /// A database without any table needs no adoption: nothing is in it.
  public static func read(_ connection: Connection) throws(Failure) -> Ledger? {
    try Database.catching(connection.fileName) { () throws(SQLiteError) -> Ledger? in
      guard try exists(connection) else {
        let isBlank = try connection.integer("SELECT count(*) FROM main.sqlite_schema") == 0
        return isBlank ? .blank : nil
      }
      let statement = try connection.prepare(
        """
        SELECT version, name, checksum, applied_at, duration_ms, run, chock_version, kind
        FROM main.chock_migrations WHERE kind NOT IN ('begun', 'imported')
        """)
      var entries: [LedgerEntry] = []
      while try statement.step() {
        guard let version = SchemaVersion(statement.text(0) ?? "") else {
          throw SQLiteError(
            code: 11, message: "the ledger holds \"\(statement.text(0) ?? "")\", not a version")
        }
        entries.append(
          LedgerEntry(
            version: version, name: statement.text(1) ?? "", checksum: statement.text(2) ?? "",
            appliedAt: statement.text(3) ?? "", durationMs: statement.integer(4),
            run: statement.text(5) ?? "", chockVersion: statement.text(6) ?? "",
            kind: LedgerEntry.Kind(rawValue: statement.text(7) ?? "") ?? .applied))
      }
      let begun = try connection.text("SELECT run FROM main.chock_migrations WHERE kind = 'begun'")
      let others = try connection.prepare(
        "SELECT run FROM main.chock_migrations WHERE kind = 'imported'")
      var imports: Set<String> = []
      while try others.step() { imports.insert(others.text(0) ?? "") }
      return Ledger(entries: entries, begun: begun, imports: imports)
    }
  }

  /// Says that a part of a run's plan is committed, or (nil) that all of it is. What is put back has no such row.
  static func setBegun(
    _ run: String?, chockVersion: String, _ connection: Connection
  ) throws(SQLiteError) {
    try connection.execute("DELETE FROM main.chock_migrations WHERE kind = 'begun'")
    if let run { try note(run, "begun", of: "", chockVersion: chockVersion, connection) }
  }

  /// Says that a run has imported what another one exported.
  static func noteImport(
    _ run: String, of export: String, chockVersion: String, _ connection: Connection
  ) throws(SQLiteError) {
    try note(run, "imported", of: export, chockVersion: chockVersion, connection)
  }

  /// A row that is about no version.
  private static func note(
    _ run: String, _ kind: String, of name: String, chockVersion: String, _ connection: Connection
  ) throws(SQLiteError) {
    let statement = try connection.prepare(
      "INSERT INTO main.chock_migrations VALUES (?1, ?2, '', ?3, 0, ?4, ?5, ?6)")
    try statement.bind("\(kind) \(run)", at: 1)
    try statement.bind(name, at: 2)
    try statement.bind(Timestamp.now(), at: 3)
    try statement.bind(run, at: 4)
    try statement.bind(chockVersion, at: 5)
    try statement.bind(kind, at: 6)
    try statement.run()
  }

  public static func exists(_ connection: Connection) throws(SQLiteError) -> Bool {
    try connection.integer(
      "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = '\(name)'") == 1
  }

  /// Makes the table where there is none.
  public static func create(_ connection: Connection) throws(SQLiteError) {
    try connection.execute(definition)
  }

  /// Takes files as they are now for those that were applied.
  ///
  /// - Parameter recording: called before the commit.
  /// - Throws: `.planChanged` when the ledger says something else by now; nothing is changed then.
  public static func replaceChecksums(
    _ changes: [(version: SchemaVersion, before: String, now: String)], in path: String,
    recording: () throws(Failure) -> Void
  ) throws(Failure) {
    guard !changes.isEmpty else { return try recording() }
    let connection = try Database.openForWriting(path)
    try Database.catching(path) { () throws(SQLiteError) in
      try connection.execute("PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE")
    }
    do throws(Failure) {
      for change in changes {
        let isThere = try Database.catching(path) { () throws(SQLiteError) in
          let statement = try connection.prepare(
            """
            UPDATE main.chock_migrations SET checksum = ?3 WHERE version = ?1 AND checksum = ?2
            RETURNING 1
            """)
          try statement.bind(change.version.description, at: 1)
          try statement.bind(change.before, at: 2)
          try statement.bind(change.now, at: 3)
          var isThere = false
          while try statement.step() { isThere = true }
          return isThere
        }
        guard isThere else {
          throw Failure(
            .planChanged, "The ledger has changed since; nothing was accepted.", file: path,
            howToClear: "Look again: `chock repair`.")
        }
      }
      try recording()
      try Database.catching(path) { () throws(SQLiteError) in try connection.execute("COMMIT") }
    } catch {
      try? connection.execute("ROLLBACK")
      throw error
    }
  }

  static func insert(_ entry: LedgerEntry, _ connection: Connection) throws(SQLiteError) {
    let statement = try connection.prepare(
      "INSERT OR REPLACE INTO main.chock_migrations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
    try statement.bind(entry.version.description, at: 1)
    try statement.bind(entry.name, at: 2)
    try statement.bind(entry.checksum, at: 3)
    try statement.bind(entry.appliedAt, at: 4)
    try statement.bind(entry.durationMs, at: 5)
    try statement.bind(entry.run, at: 6)
    try statement.bind(entry.chockVersion, at: 7)
    try statement.bind(entry.kind.rawValue, at: 8)
    try statement.run()
  }
}
