import Migrations
import SQLite

/// What a database held before a run: what the verification compares with what is there after.
public struct Baseline: Sendable {
  struct Table: Sendable {
    var name: String
    var rows: Int64
    /// What it holds; nil of a virtual table, whose content is in its shadow tables.
    var fingerprint: Fingerprint.Table?
    /// True of a table in which a virtual table keeps its content. How many rows it has is nobody's
    /// business but that module's.
    var isShadow = false
  }

  /// chock's ledger is left out, and the tables of SQLite itself.
  let tables: [TableKey: Table]
  /// The numbers that AUTOINCREMENT has reached.
  let sequences: [TableKey: Int64]
  /// Which columns refer to which.
  let foreignKeys: [String]
  /// Views, and tables with triggers, that statements could use.
  let working: Set<TableKey>
  /// `quick_check` has found the whole database sound: a snapshot is checked when it is taken.
  let isChecked: Bool
  private let violationsBefore: Violations

  private enum Violations: Sendable {
    case known(ForeignKeyViolations)
    /// Looked up in this file when it is known which tables matter.
    case inSnapshot(String)
  }

  /// Of the database itself, before anything is changed: reads all of it.
  init(_ connection: Connection, stop: StopSignal) throws(Failure) {
    try self.init(
      connection, try Fingerprint(connection, stop: stop),
      .known(
        try Database.catching(connection.fileName) { () throws(SQLiteError) in
          try ForeignKeyViolations(connection, affectedBy: nil)
        }))
  }

  /// Of a snapshot whose fingerprint is known.
  ///
  /// - Parameter path: where the snapshot can be read later.
  init(_ snapshot: Connection, _ fingerprint: Fingerprint, path: String) throws(Failure) {
    try self.init(snapshot, fingerprint, .inSnapshot(path))
  }

  private init(
    _ connection: Connection, _ fingerprint: Fingerprint, _ violations: Violations
  ) throws(Failure) {
    violationsBefore = violations
    isChecked = if case .inSnapshot = violations { true } else { false }
    (tables, sequences, foreignKeys, working) = try Database.catching(connection.fileName) {
      () throws(SQLiteError) in
      let ordinary = Set(try Database.tables(connection).map(TableKey.init))
      var tables: [TableKey: Table] = [:]
      for table in fingerprint.tables {
        let key = TableKey(table.name)
        guard key != .ledger, !table.name.hasPrefix("sqlite_") else { continue }
        tables[key] = Table(
          name: table.name, rows: table.rows, fingerprint: table, isShadow: !ordinary.contains(key))
      }
      // One whose module is missing here cannot be counted.
      for name in try Database.tables(connection, type: "virtual") {
        if let rows = try? Database.count(name, connection) {
          tables[TableKey(name)] = Table(name: name, rows: rows)
        }
      }
      return (
        tables, try Database.sequences(connection), try ForeignKeyViolations.keys(connection),
        try Database.workingObjects(connection)
      )
    }
  }

  /// The foreign keys that led nowhere before, where a change of these tables matters.
  func violations(affectedBy changed: Set<TableKey>) throws(Failure) -> ForeignKeyViolations {
    switch violationsBefore {
    case .known(let all): return all
    case .inSnapshot(let path):
      let snapshot = try Database.open(path)
      return try Database.catching(path) { () throws(SQLiteError) in
        try ForeignKeyViolations(snapshot, affectedBy: changed)
      }
    }
  }
}

/// Rows whose foreign key leads nowhere, as SQLite's `foreign_key_check` lists them.
struct ForeignKeyViolations: Sendable {
  struct Row: Hashable, Sendable {
    var table: TableKey
    /// Nil in a WITHOUT ROWID table.
    var rowid: Int64?
    /// Nil when the table's keys do not fit their parents, so that no row can be checked.
    var parent: TableKey?
  }

  /// Beyond this many the rows are only counted, so that memory stays small.
  private static let limit = 10_000

  private(set) var rows: [Row: Int] = [:]
  private(set) var count = 0

  /// - Parameter changed: only tables that are among these, or refer to one of them, are looked at: in
  ///   no other can a foreign key have come to lead nowhere. Nil: all.
  init(_ connection: Connection, affectedBy changed: Set<TableKey>?) throws(SQLiteError) {
    for table in try Self.tables(affectedBy: changed, connection) {
      do throws(SQLiteError) {
        try add(
          try connection.prepare("PRAGMA foreign_key_check(\(Database.quoted(table)))"))
      } catch {
        guard error.kind == .other else { throw error }
        // A key that does not fit its parent cannot be checked. That may have been so for years.
        add(Row(table: TableKey(table), rowid: nil, parent: nil))
      }
    }
  }

  /// Each foreign key, its columns and what they refer to: a line for a column.
  static func keys(_ connection: Connection) throws(SQLiteError) -> [String] {
    let keys = try connection.prepare(
      """
      SELECT quote(child.name) || key.id || ',' || key.seq || quote(key."table")
        || quote(key."from") || quote(key."to")
      FROM pragma_table_list AS child, pragma_foreign_key_list(child.name) AS key
      WHERE child.schema = 'main' AND child.type = 'table' ORDER BY child.name, key.id, key.seq
      """)
    var lines: [String] = []
    while try keys.step() { lines.append(keys.text(0) ?? "") }
    return lines
  }

  private static func tables(
    affectedBy changed: Set<TableKey>?, _ connection: Connection
  ) throws(SQLiteError) -> [String] {
    let keys = try connection.prepare(
      """
      SELECT child.name, key."table" FROM pragma_table_list AS child,
        pragma_foreign_key_list(child.name) AS key
      WHERE child.schema = 'main' AND child.type = 'table' ORDER BY child.name
      """)
    var found: [String] = []
    while try keys.step() {
      guard let child = keys.text(0), let parent = keys.text(1) else { continue }
      let isAffected =
        changed.map { $0.contains(TableKey(child)) || $0.contains(TableKey(parent)) } ?? true
      if isAffected, found.last.map(TableKey.init) != TableKey(child) { found.append(child) }
    }
    return found
  }

  private mutating func add(_ statement: Statement) throws(SQLiteError) {
    while try statement.step() {
      add(
        Row(
          table: TableKey(statement.text(0) ?? ""),
          rowid: statement.type(1) == .null ? nil : statement.integer(1),
          parent: TableKey(statement.text(2) ?? "")))
    }
  }

  private mutating func add(_ row: Row) {
    count += 1
    if count <= Self.limit { rows[row, default: 0] += 1 }
  }

  /// Violations that were not there before. With more than 10,000 before, only a higher count tells.
  ///
  /// - Parameters:
  ///   - name: what a table of before is called now.
  ///   - rebuilt: whether a table of now was made anew, so that its rowids may be others: there too
  ///     only a higher count tells.
  func new(
    since before: ForeignKeyViolations, name: (TableKey) -> TableKey, rebuilt: (TableKey) -> Bool
  ) -> [Row] {
    guard before.count <= Self.limit else {
      return count > before.count ? Array(rows.keys.prefix(1)) : []
    }
    func comparable(_ table: TableKey, _ rowid: Int64?, _ parent: TableKey?) -> Row {
      Row(table: table, rowid: rebuilt(table) ? nil : rowid, parent: parent)
    }
    var known: [Row: Int] = [:]
    for (row, times) in before.rows {
      known[comparable(name(row.table), row.rowid, row.parent.map(name)), default: 0] += times
    }
    var found: [Row] = []
    let sorted = rows.sorted {
      ($0.key.table, $0.key.rowid ?? 0) < ($1.key.table, $1.key.rowid ?? 0)
    }
    for (row, times) in sorted {
      let left = known[comparable(row.table, row.rowid, row.parent), default: 0] - times
      known[comparable(row.table, row.rowid, row.parent)] = left
      if left < 0 { found.append(row) }
    }
    return found
  }
}
