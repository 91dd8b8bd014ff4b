public import Migrations
public import SQLite

/// Opening the application's database, and what can be asked about it as a whole.
public enum Database {
  /// Opens an existing database and reads its header, so that whatever is wrong with the file is
  /// found here.
  ///
  /// The journal of an application that was killed is played back, as the application itself would, if it is whole.
  ///
  /// - Parameter busyTimeout: how long a call waits for a lock, in milliseconds.
  /// - Throws: `.databaseMissing`, `.databaseEmpty`, `.notADatabase`, `.databaseCorrupt`,
  ///   `.databaseReadOnly`, `.databaseLocked` or `.inputOutput`, naming the file and the way out.
  public static func open(
    _ path: String, mode: Connection.Mode = .readOnly, busyTimeout: Int32 = 5000
  ) throws(Failure) -> Connection {
    try checkFile(path)
    if mode == .readOnly || mode == .readWrite { try checkJournal(of: path) }
    return try catching(path) { () throws(SQLiteError) in
      func opened(_ mode: Connection.Mode) throws(SQLiteError) -> Connection {
        let connection = try Connection(path: path, mode: mode, busyTimeout: busyTimeout)
        connection.setDefensive()
        do throws(SQLiteError) {
          _ = try connection.integer("SELECT count(*) FROM sqlite_schema")
        } catch {
          // Closing it would move the log into a file that is damaged, and remove it.
          connection.keepLogOnClose()
          throw error
        }
        return connection
      }
      do throws(SQLiteError) {
        return try opened(mode)
      } catch {
        // The journal of an application that was killed: only who may write can play it back.
        guard mode == .readOnly, error.kind == .readOnly else { throw error }
        return try opened(.readWrite)
      }
    }
  }

  /// Whether there is a file with something in it. SQLite takes one of 0 bytes for a new database, and removes the
  /// log beside it, which may be all that is left.
  ///
  /// - Throws: `.databaseMissing`, `.notADatabase`, `.databaseEmpty`.
  public static func checkFile(_ path: String) throws(Failure) {
    guard let there = FileSystem.target(path) else {
      throw Failure(
        .databaseMissing, "There is no database at \(path).", file: path,
        howToClear:
          "Check database.path in the config. `chock init` creates a new database on purpose.")
    }
    guard there.isRegular else {
      throw Failure(
        .notADatabase, "\(path) is not a file.", file: path,
        howToClear: "Point database.path in the config at the database file.")
    }
    guard there.size > 0 else {
      throw Failure(
        .databaseEmpty, "\(path) is empty (0 bytes): it holds no data at all.", file: path,
        howToClear: "Restore a snapshot (`chock snapshots list`), or move the empty file away.")
    }
  }

  /// SQLite plays back what it can of a journal, and removes it. Where that would not be all, nothing is opened:
  /// what a damaged journal still holds is for salvage.
  private static func checkJournal(of path: String) throws(Failure) {
    guard FileSystem.target(FileSystem.canonical(path) + "-journal")?.size ?? 0 > 0,
      let look = try? Connection(path: path, mode: .readOnly, busyTimeout: 0)
    else { return }
    look.keepLogOnClose()
    do throws(SQLiteError) {
      _ = try look.integer("SELECT count(*) FROM sqlite_schema")
    } catch {
      guard error.isHotJournal, let journal = RollbackJournal(of: path) else { return }
      let isWhole = journal.isWhole { number, size in
        look.fileBytes(at: Int64(number - 1) * Int64(size), count: size)
      }
      guard !isWhole else { return }
      throw Failure(
        .databaseCorrupt,
        "\(path) is damaged: a program was cut off in a transaction, and \(path)-journal, which takes it back, is damaged itself. It was left as it is.",
        file: path,
        howToClear:
          "Before the application opens it: `chock rescue salvage` reads what both files still hold; `chock restore ID` puts a snapshot back, and keeps them."
      )
    }
  }

  /// Opens for writing.
  ///
  /// - Throws: `.databaseReadOnly` besides what `open` throws.
  public static func openForWriting(_ path: String, busyTimeout: Int32 = 10_000) throws(Failure)
    -> Connection
  {
    let connection = try open(path, mode: .readWrite, busyTimeout: busyTimeout)
    guard !connection.isReadOnly else {
      throw Failure(
        .databaseReadOnly, "\(path) cannot be written.", file: path,
        howToClear: "Check its permissions and whether its file system is mounted read-only.")
    }
    // The log grows until the application's own checkpoint: two checkpointing processes can hit the
    // WAL-reset bug of SQLite up to 3.51.2 (<https://sqlite.org/wal.html#walresetbug>). Closing the last
    // connection still empties it: then nobody else is there.
    try catching(path) { () throws(SQLiteError) in
      try connection.execute("PRAGMA wal_autocheckpoint = 0")
    }
    return connection
  }

  /// Opens for writing what a COMMIT that failed, or was killed, may have left: what the connection says then
  /// stays so, also after a power cut.
  ///
  /// Opening plays back a hot journal, or reads the log. A transaction that changes nothing is then
  /// committed. It syncs what may only have been written; and while others are connected it takes the place
  /// of a commit that is in the log but not in its index, which the next to read the log from its start
  /// would take for valid.
  ///
  /// - Throws: what `openForWriting` throws, and why the transaction could not be committed.
  public static func openSettled(_ path: String) throws(Failure) -> Connection {
    let connection = try openForWriting(path, busyTimeout: 30_000)
    try catching(path) { () throws(SQLiteError) in
      try connection.execute("PRAGMA synchronous = EXTRA; BEGIN IMMEDIATE")
      let same = try connection.integer("PRAGMA user_version") ?? 0
      try connection.execute("PRAGMA user_version = \(same); COMMIT")
    }
    return connection
  }

  /// Opens a file that may be new; SQLite gives its journal or log the same owner.
  static func create(_ path: String) throws(Failure) -> Connection {
    let connection = try catching(path) { () throws(SQLiteError) in
      try Connection(path: path, mode: .create)
    }
    FileSystem.takeOwner(ofFolderOf: path)
    return connection
  }

  /// Runs `body`; what SQLite throws becomes a failure that names the file.
  public static func catching<R>(
    _ path: String, _ body: () throws(SQLiteError) -> R
  ) throws(Failure) -> R {
    do {
      return try body()
    } catch {
      throw failure(error, path)
    }
  }

  /// What an SQLite error means for a person.
  static func failure(_ error: SQLiteError, _ path: String) -> Failure {
    let words = "\(error.message) (SQLite code \(error.code))"
    switch error.kind {
    case .busy:
      let programs = Openers.programs(of: path).map(\.description).joined(separator: ", ")
      return Failure(
        .databaseLocked,
        "Another program holds a lock on \(path): \(words)."
          + (programs.isEmpty ? "" : " It is open in \(programs)."), file: path,
        howToClear: "Wait until it has finished, or stop it, and try again.")
    case .notADatabase:
      return Failure(
        .notADatabase, "\(path) is not an SQLite database: \(words).", file: path,
        howToClear:
          "Check database.path in the config; if the file was damaged, restore a snapshot.")
    case .corrupt:
      return Failure(
        .databaseCorrupt, "\(path) is damaged: \(words).", file: path,
        howToClear: "Restore a snapshot: `chock snapshots list`, then `chock restore ID`.")
    case .readOnly:
      return Failure(
        .databaseReadOnly, "\(path) cannot be written: \(words).", file: path,
        howToClear: "Check its permissions and whether its file system is mounted read-only.")
    case .full: return FileSystem.noSpace(path, words)
    case .interrupted:
      return Failure(.stopped, "The work on \(path) was stopped.", file: path)
    case .inputOutput, .cannotOpen:
      // A full file system surfaces as an I/O error when it hits the -shm file.
      if let available = try? FileSystem.availableBytes(at: path), available < 1 << 20 {
        return FileSystem.noSpace(path, words)
      }
      return Failure(
        .inputOutput, "\(path) could not be read or written: \(words).", file: path,
        howToClear: "Check its permissions and the storage device.")
    case .foreignKey:
      return Failure(
        .foreignKeys, "Rows of \(path) would point to nothing: \(words).", file: path,
        howToClear: "Keep the rows that others refer to, or remove those too.")
    case .denied, .tooBig, .other:
      return Failure(.inputOutput, "\(path): \(words).", file: path)
    }
  }

  /// How much of a database is looked at.
  public enum Check: Sendable {
    /// The structure and the constraints of the whole database, but not what its indexes hold
    /// (<https://sqlite.org/pragma.html#pragma_quick_check>).
    case quick
    /// The same of one table.
    case quickTable(String)
    /// Everything; takes ten times as long (<https://sqlite.org/pragma.html#pragma_integrity_check>).
    case full
    /// The same of one table.
    case fullTable(String)

    var sql: String {
      switch self {
      case .quick: "PRAGMA quick_check(\(Int32.max))"
      case .quickTable(let name): "PRAGMA quick_check(\(Database.quoted(name)))"
      case .full: "PRAGMA integrity_check(\(Int32.max))"
      case .fullTable(let name): "PRAGMA integrity_check(\(Database.quoted(name)))"
      }
    }
  }

  /// Whether SQLite is sound in itself. Rows that do not keep a constraint of their table are no damage: they
  /// were written before the constraint, or around it, and SQLite enforces it for each row that is written.
  /// (On a read-only connection SQLite does not look at CHECK at all.)
  ///
  /// - Returns: how many rows do not keep a constraint.
  /// - Throws: `code`, with the first problems.
  @discardableResult
  public static func check(
    _ connection: Connection, _ check: Check = .quick, file: String, failingAs code: Failure.Code
  ) throws(Failure) -> Int {
    var drifted = 0
    let problems = try catching(file) { () throws(SQLiteError) in
      let statement = try connection.prepare(check.sql)
      var problems: [String] = []
      while problems.count < 5, try statement.step() {
        let row = statement.text(0) ?? ""
        if isDrift(row) { drifted += 1 } else if row != "ok" { problems.append(row) }
      }
      return problems
    }
    guard problems.isEmpty else {
      throw Failure(
        code, "The database failed its check: \(problems.joined(separator: "; "))", file: file,
        howToClear: "Restore a snapshot: `chock snapshots list`, then `chock restore ID`.")
    }
    return drifted
  }

  /// Such as `CHECK constraint failed in items`, `NULL value in items.name`, `TEXT value in items.count` and,
  /// for STRICT tables, `non-INTEGER value in items.count`: a row that does not keep what its table says.
  static func isDrift(_ problem: String) -> Bool {
    let type = problem.hasPrefix("non-") ? problem.dropFirst(4) : problem[...]
    return problem.hasPrefix("CHECK constraint failed in ")
      || type.first?.isUppercase == true
        && type.drop { $0.isUppercase }.hasPrefix(" value in ")
  }

  /// Whether readers and a writer do not wait for one another.
  public static func isInWALMode(_ path: String) throws(Failure) -> Bool {
    let connection = try open(path)
    return try catching(path) { () throws(SQLiteError) in
      try connection.text("PRAGMA journal_mode") == "wal"
    }
  }

  /// Compares everything with everything, the indexes too. In WAL mode the application goes on writing
  /// meanwhile; otherwise it can between two tables.
  ///
  /// - Throws: `.databaseCorrupt` with the first problems; the stop that was requested.
  public static func checkIntegrity(_ connection: Connection, stop: StopSignal) throws(Failure) {
    connection.interrupt { stop.requested != nil }
    defer { connection.interrupt(when: nil) }
    let file = connection.fileName
    do throws(Failure) {
      let isWAL = try catching(file) { () throws(SQLiteError) in
        try connection.text("PRAGMA journal_mode") == "wal"
      }
      guard !isWAL else {
        try check(connection, .full, file: file, failingAs: .databaseCorrupt)
        return
      }
      for table in try catching(file, { () throws(SQLiteError) in try tables(connection) }) {
        try stop.check()
        try check(connection, .fullTable(table), file: file, failingAs: .databaseCorrupt)
      }
    } catch {
      throw stop.requested ?? error
    }
  }

  /// The bytes that the database takes: pages times page size, without the write-ahead log.
  public static func bytes(_ connection: Connection) throws(Failure) -> Int64 {
    try catching(connection.fileName) { () throws(SQLiteError) in
      let pages = try connection.integer("PRAGMA page_count") ?? 0
      let size = try connection.integer("PRAGMA page_size") ?? 0
      return pages * size
    }
  }

  /// The ordinary tables of the database, sorted: no views, no virtual tables (nor
  /// the shadow tables behind them), no tables of SQLite's own.
  static func tables(
    _ connection: Connection, type: String = "table"
  ) throws(SQLiteError) -> [String] {
    let statement = try connection.prepare(
      """
      SELECT name FROM pragma_table_list
      WHERE schema = 'main' AND type = '\(type)' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
      ORDER BY name
      """)
    var names: [String] = []
    while try statement.step() { if let name = statement.text(0) { names.append(name) } }
    return names
  }

  /// Views, and tables with triggers, that cannot be used since something that they name is not there.
  static func failingObjects(
    _ connection: Connection
  ) throws(SQLiteError) -> [TableKey: (name: String, message: String)] {
    var failing: [TableKey: (name: String, message: String)] = [:]
    for (key, object) in try objects(connection) {
      if let message = object.message { failing[key] = (object.name, message) }
    }
    return failing
  }

  static func workingObjects(_ connection: Connection) throws(SQLiteError) -> Set<TableKey> {
    Set(try objects(connection).filter { $0.value.message == nil }.keys)
  }

  /// Each view, and each table with triggers, with what SQLite says when statements on it are compiled.
  private static func objects(
    _ connection: Connection
  ) throws(SQLiteError) -> [TableKey: (name: String, message: String?)] {
    let list = try connection.prepare(
      """
      SELECT DISTINCT tbl_name, max(type = 'view') FROM main.sqlite_schema
      WHERE type IN ('view', 'trigger') GROUP BY tbl_name COLLATE NOCASE
      """)
    var objects: [TableKey: (name: String, message: String?)] = [:]
    while try list.step() {
      let table = list.text(0) ?? ""
      let name = "main.\(quoted(table))"
      var statements = ["SELECT 1 FROM \(name)"]
      if list.integer(1) == 0 {
        // Every trigger on an update is compiled with the columns that it may be about. A generated one is not
        // written to.
        let columns = try connection.prepare(
          "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0")
        try columns.bind(table, at: 1)
        var values: [String] = []
        while try columns.step() { values.append("\(quoted(columns.text(0) ?? "")) = NULL") }
        statements += [
          "DELETE FROM \(name)", "INSERT INTO \(name) DEFAULT VALUES",
          "UPDATE \(name) SET \(values.joined(separator: ", "))",
        ]
      }
      var message: String?
      for statement in statements {
        do throws(SQLiteError) {
          _ = try connection.prepare(statement)
        } catch  where error.message.contains("no such ") {
          message = error.message
        } catch {
          // Anything else may have another reason than what is gone.
        }
      }
      objects[TableKey(table)] = (table, message)
    }
    return objects
  }

  /// How many rows a table has.
  static func count(_ table: String, _ connection: Connection) throws(SQLiteError) -> Int64 {
    try connection.integer("SELECT count(*) FROM main.\(quoted(table))") ?? 0
  }

  /// The numbers that AUTOINCREMENT has reached, by table.
  static func sequences(_ connection: Connection) throws(SQLiteError) -> [TableKey: Int64] {
    guard
      try connection.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        == 1
    else { return [:] }
    let statement = try connection.prepare("SELECT name, seq FROM main.sqlite_sequence")
    var found: [TableKey: Int64] = [:]
    while try statement.step() { found[TableKey(statement.text(0) ?? "")] = statement.integer(1) }
    return found
  }

  /// Makes AUTOINCREMENT go on behind `number`, unless it is further already; of another table nothing.
  static func raiseSequence(
    of table: TableKey, to number: Int64, _ connection: Connection
  ) throws(SQLiteError) {
    let find = try connection.prepare(
      "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE")
    try find.bind(table.text, at: 1)
    guard try find.step(), let name = find.text(0),
      SQLToken.all(of: find.text(1) ?? "").contains(where: { $0.isWord("autoincrement") })
    else { return }
    let update = try connection.prepare(
      "UPDATE main.sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1 RETURNING 1")
    try update.bind(name, at: 1)
    try update.bind(number, at: 2)
    var isThere = false
    while try update.step() { isThere = true }
    guard !isThere else { return }
    let insert = try connection.prepare("INSERT INTO main.sqlite_sequence VALUES (?1, ?2)")
    try insert.bind(name, at: 1)
    try insert.bind(number, at: 2)
    try insert.run()
  }

  /// A name as an SQL identifier.
  public static func quoted(_ name: String) -> String {
    "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"")
      + "\""
  }
}

extension Failure.Code {
  /// There is no database to be asked: it is missing, empty, damaged or something else. Unlike one that is
  /// locked, or a disk that fails.
  public var isUnreadableDatabase: Bool {
    [.databaseMissing, .databaseEmpty, .databaseCorrupt, .notADatabase].contains(self)
  }
}
