public import Migrations
import SQLite

/// chock's own memory, `state.db`: how every run ended. Its schema is kept by chock's own engine.
public struct StateStore: Sendable {
  let path: String
  let chockVersion: String

  public init(stateFolder: String, chockVersion: String) {
    path = stateFolder + "/state.db"
    self.chockVersion = chockVersion
  }

  private static let schema = """
    -- Description: How every run ended
    CREATE TABLE runs (
      id TEXT PRIMARY KEY NOT NULL,
      started_at TEXT NOT NULL,
      document TEXT NOT NULL CHECK (json_valid(document))
    ) STRICT;
    CREATE INDEX runs_started_at ON runs (started_at);
    """

  /// Writes how a run stands; the same run again replaces it.
  public func save(run id: String, startedAt: String, document: String) throws(Failure) {
    let connection = try open()
    try Database.catching(path) { () throws(SQLiteError) in
      let statement = try connection.prepare("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3)")
      try statement.bind(id, at: 1)
      try statement.bind(startedAt, at: 2)
      try statement.bind(document, at: 3)
      try statement.run()
    }
  }

  /// The documents of the newest runs, newest first.
  public func runs(limit: Int) throws(Failure) -> [String] {
    guard FileSystem.facts(path) != nil else { return [] }
    let connection = try open()
    return try Database.catching(path) { () throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT document FROM runs ORDER BY started_at DESC, id DESC LIMIT ?1")
      try statement.bind(Int64(limit), at: 1)
      var documents: [String] = []
      while try statement.step() { documents.append(statement.text(0) ?? "") }
      return documents
    }
  }

  /// Nil when no run has this id.
  public func run(_ id: String) throws(Failure) -> String? {
    guard FileSystem.facts(path) != nil else { return nil }
    let connection = try open()
    return try Database.catching(path) { () throws(SQLiteError) in
      let statement = try connection.prepare("SELECT document FROM runs WHERE id = ?1")
      try statement.bind(id, at: 1)
      return try statement.step() ? statement.text(0) : nil
    }
  }

  /// A damaged file is kept aside and a new history begun: no snapshot and no run depends on it.
  private func open() throws(Failure) -> Connection {
    do throws(Failure) {
      return try opened()
    } catch {
      guard [.notADatabase, .databaseCorrupt].contains(error.code) else { throw error }
      for suffix in ["-wal", "-shm", "-journal"] { try FileSystem.remove(path + suffix) }
      try FileSystem.rename(path, to: path + ".damaged")
      return try opened()
    }
  }

  private func opened() throws(Failure) -> Connection {
    try FileSystem.makeFolder(FileSystem.parent(path))
    let connection = try Database.catching(path) { () throws(SQLiteError) in
      let connection = try Connection(path: path, mode: .create)
      // FULL does not sync the folder after a rollback journal is unlinked; EXTRA does.
      try connection.execute("PRAGMA synchronous = EXTRA")
      return connection
    }
    let catalog = try MigrationCatalog(
      directory: "built in",
      migrations: [
        try Migration(fileName: "0001_runs.sql", path: "built in: state.db 0001", text: Self.schema)
      ])
    guard let ledger = try LedgerTable.read(connection) else {
      throw Failure(
        .notAllowed, "\(path) is not chock's own state.", file: path,
        howToClear: "Move it away; chock starts a new history. Snapshots are not affected.")
    }
    let plan = try Plan(catalog: catalog, ledger: ledger, target: nil)
    if !plan.steps.isEmpty {
      let transaction = try Transaction.begin(connection, plan: plan)
      if try LedgerTable.read(connection)?.current == plan.from {
        try transaction.apply(
          plan, ApplyOrder(run: "state", chockVersion: chockVersion), baseline: nil, rehearsal: nil,
          .asRun)
        try transaction.commit()
      }
    }
    return connection
  }
}
