import Migrations
import SQLite
import Storage

/// A migration or rollback file that has been run on a scratch database, and what it did there.
struct LintedFile {
  /// A statement, and what SQLite says it does.
  struct Ran {
    var statement: SQLStatement
    var creates: Set<TableKey> = []
    var drops: Set<TableKey> = []
    var alters: TableKey?
    /// Rows are inserted into, or updated.
    var writes: Set<TableKey> = []
    /// Rows are deleted from, by the statement itself.
    var deletes: Set<TableKey> = []
    /// Indexes and triggers are made on, or dropped from.
    var decorates: Set<TableKey> = []

    var tables: Set<TableKey> {
      creates.union(drops).union(decorates).union(alters.map { [$0] } ?? [])
    }
  }

  /// The way of a table that was there before the file.
  struct Way {
    /// What it is called now.
    var name: TableKey
    /// What its columns of before are called now.
    var columns: [TableKey: TableKey] = [:]
    /// The lines on which its name was changed, it was dropped, and rows were deleted from it.
    var renamedAt: Int?
    var droppedAt: Int?
    var deletedAt: [Int] = []
    /// A statement that writes elsewhere names it. (SQLite's authorizer does not hear of what `INSERT INTO a
    /// SELECT * FROM b` reads when it can copy whole pages.)
    var isCopied = false
  }

  let migration: Migration
  let before: Shape
  /// Of a rollback file: what there was before its migration.
  let earlier: Shape?
  private(set) var after: Shape
  private(set) var statements: [Ran] = []
  /// By the name before the file.
  private(set) var ways: [TableKey: Way] = [:]
  /// What was found while it ran.
  private(set) var findings: [Finding] = []

  private let connection: Connection
  /// A savepoint is open, to which the caller goes back.
  private let isInSavepoint: Bool
  private let guardian = MigrationGuard()

  /// Runs the file, and goes on behind a statement that SQLite refuses.
  ///
  /// - Throws: what is wrong with the scratch database itself.
  init(
    _ migration: Migration, on scratch: Scratch, before: Shape, earlier: Shape? = nil
  ) throws(Failure) {
    self.migration = migration
    self.before = before
    self.earlier = earlier
    after = before
    connection = scratch.connection
    isInSavepoint = !connection.isAutocommit
    for key in before.tables.keys where before.tables[key]?.kind != .view {
      ways[key] = Way(name: key)
    }
    guardian.isInTransaction = migration.runsInTransaction
    for section in migration.preflight { try run(section, isCheck: true) }
    for section in migration.migrate { try run(section, isCheck: false) }
    after = try Shape(connection, since: before)
    for section in migration.validate { try run(section, isCheck: true) }
  }

  mutating func report(
    _ rule: LintRule, line: Int, _ message: String, statement: String? = nil
  ) {
    findings.append(
      Finding(
        rule: rule, version: migration.version, file: migration.path, line: line, message,
        statement: statement))
  }

  // MARK: Running

  private mutating func run(_ section: SQLSection, isCheck: Bool) throws(Failure) {
    for statement in SQLStatement.all(of: section) {
      // RAISE(ROLLBACK) has ended it: what follows could not be undone.
      guard !isInSavepoint || !connection.isAutocommit else { return }
      do throws(SQLiteError) {
        try run(statement, isCheck: isCheck)
      } catch {
        if let refusal = guardian.refusal {
          report(
            .runnerOwned, at: statement, "\(refusal.message) \(refusal.howToClear)")
        } else {
          report(
            .fails, at: statement, "SQLite refuses the statement: \(error.message).",
            offset: error.offset)
        }
      }
    }
  }

  /// - Parameter offset: where in the statement, in bytes, when SQLite knows it.
  private mutating func report(
    _ rule: LintRule, at statement: SQLStatement, _ message: String, offset: Int? = nil
  ) {
    let lines = statement.text.utf8.prefix(offset ?? 0).count { $0 == UInt8(ascii: "\n") }
    let text =
      statement.text.count <= 300 ? statement.text : String(statement.text.prefix(297)) + "..."
    report(rule, line: statement.line + lines, message, statement: text)
  }

  private mutating func run(_ statement: SQLStatement, isCheck: Bool) throws(SQLiteError) {
    let (prepared, ran) = try compile(statement)
    if isCheck {
      guard prepared.isReadOnly else {
        throw SQLiteError(code: 1, message: "a section of checks can only read")
      }
      return
    }
    statements.append(ran)
    // It would change nothing here, and cannot run inside the savepoint of a rollback file.
    if statement.verb == "vacuum" { return }
    if case .addColumn = statement.alteration { try tryOnRow(ran) }
    let deadline = ContinuousClock.now + .seconds(10)
    connection.interrupt { .now > deadline }
    defer { connection.interrupt(when: nil) }
    do throws(SQLiteError) {
      try prepared.run()
    } catch {
      guard error.kind == .interrupted else { throw error }
      throw SQLiteError(code: error.code, message: "it takes longer than 10 s without any rows")
    }
    follow(ran)
  }

  private func compile(
    _ statement: SQLStatement
  ) throws(SQLiteError) -> (prepared: Statement, ran: Ran) {
    var ran = Ran(statement: statement)
    let guardian = guardian
    guardian.startStatement()
    connection.authorize { request in
      ran.note(request)
      return guardian.allow(request)
    }
    defer { connection.authorize(nil) }
    if statement.verb == "vacuum", !guardian.startVacuum() {
      throw SQLiteError(code: 23, message: "not authorized")
    }
    let prepared = try connection.prepare(statement.text)
    try prepared.bindSamples(of: migration)
    return (prepared, ran)
  }

  /// Adds the column to a table with the same columns and one row, all NULL: SQLite accepts more while a
  /// table is empty. A virtual column is left out, since what it makes of NULL says nothing.
  private mutating func tryOnRow(_ ran: Ran) throws(SQLiteError) {
    let words = ran.statement.outerWords
    guard let key = ran.alters,
      ways.values.contains(where: { $0.name == key && $0.droppedAt == nil }),
      words.contains("stored") || !words.contains("as")
    else { return }
    let list = try connection.prepare("SELECT name FROM pragma_table_xinfo(?1)")
    try list.bind(key.text, at: 1)
    var columns: [String] = []
    while try list.step() { columns.append(Database.quoted(list.text(0) ?? "")) }
    let twin = try Connection(path: ":memory:", mode: .create)
    let name = Database.quoted(key.text)
    try twin.execute(
      """
      PRAGMA foreign_keys = \(migration.enforcesForeignKeys ? "ON" : "OFF");
      CREATE TABLE \(name) (\(columns.joined(separator: ", ")));
      INSERT INTO \(name) DEFAULT VALUES;
      """)
    do throws(SQLiteError) {
      try twin.execute(ran.statement.text)
    } catch {
      let value = words.firstIndex(of: "default").map { words[$0...].dropFirst().first }
      if words.contains("not"), value == nil || value == "null" {
        report(
          .notNullWithoutDefault, at: ran.statement,
          "The new column is NOT NULL and has no default: SQLite refuses it as soon as the table has a row."
        )
      } else {
        report(
          .fails, at: ran.statement,
          "SQLite refuses the statement as soon as the table has a row: \(error.message).")
      }
    }
  }

  /// Keeps track of where the tables of before are.
  private mutating func follow(_ ran: Ran) {
    let line = ran.statement.line
    let names = ran.writes.union(ran.creates).isEmpty ? [] : ran.statement.names
    for (old, way) in ways where way.droppedAt == nil {
      if ran.deletes.contains(way.name), !ran.drops.contains(way.name), ran.alters == nil {
        ways[old]?.deletedAt.append(line)
      }
      if ran.drops.contains(way.name) {
        ways[old]?.droppedAt = line
      } else if ran.alters == way.name {
        switch ran.statement.alteration {
        case .renameTable(let name):
          ways[old]?.name = TableKey(name)
          ways[old]?.renamedAt = line
        case .renameColumn(let column, let name):
          let first = way.columns.first { $0.value == TableKey(column) }?.key ?? TableKey(column)
          ways[old]?.columns[first] = TableKey(name)
        default: break
        }
      } else if names.contains(way.name),
        !ran.writes.union(ran.creates).subtracting([way.name]).isEmpty
      {
        ways[old]?.isCopied = true
      }
    }
  }
}

extension LintedFile.Ran {
  fileprivate mutating func note(_ request: AuthorizerRequest) {
    // What triggers do is not what the file says.
    guard request.trigger == nil, let first = request.first else { return }
    let key = TableKey(first)
    guard !first.lowercased().hasPrefix("sqlite_") else { return }
    switch request.action {
    case .createTable, .createVirtualTable: creates.insert(key)
    case .dropTable, .dropVirtualTable: drops.insert(key)
    case .alterTable: alters = request.second.map(TableKey.init)
    case .createIndex, .dropIndex, .createTrigger, .dropTrigger:
      if let table = request.second { decorates.insert(TableKey(table)) }
    case .insert, .update: writes.insert(key)
    case .delete: deletes.insert(key)
    default: break
    }
  }
}
