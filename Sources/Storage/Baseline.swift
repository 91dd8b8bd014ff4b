import Migrations
import SQLite

/// What a database held before a run, as far as the verification compares it with what is there after.
public struct Baseline: Sendable {
  struct Table: Sendable {
    var name: String
    var rows: Int64
    /// The root page in the file: ALTER TABLE RENAME keeps it.
    var rootPage: Int64
  }

  /// By name in lower case; chock's ledger is left out.
  var tables: [String: Table]
  var violations: ForeignKeyViolations

  init(_ connection: Connection) throws(SQLiteError) {
    tables = [:]
    for name in try Database.tables(connection) where name != LedgerTable.name {
      let rows = try connection.integer("SELECT count(*) FROM \(Database.quoted(name))") ?? 0
      let root = try connection.prepare("SELECT rootpage FROM sqlite_schema WHERE name = ?1")
      try root.bind(name, at: 1)
      let rootPage = try root.step() ? root.integer(0) : 0
      tables[name.lowercased()] = Table(name: name, rows: rows, rootPage: rootPage)
    }
    violations = try ForeignKeyViolations(connection)
  }
}

/// Rows whose foreign key leads nowhere, as SQLite's `foreign_key_check` lists them.
struct ForeignKeyViolations: Sendable {
  struct Row: Hashable, Sendable {
    var table: String
    /// Nil in a WITHOUT ROWID table.
    var rowid: Int64?
    var parent: String
  }

  /// Beyond this many the rows are only counted, so that memory stays small.
  private static let limit = 100_000

  private(set) var rows: [Row: Int] = [:]
  private(set) var count = 0

  init(_ connection: Connection) throws(SQLiteError) {
    let statement = try connection.prepare("PRAGMA foreign_key_check")
    while try statement.step() {
      count += 1
      guard count <= Self.limit else { continue }
      let row = Row(
        table: statement.text(0)?.lowercased() ?? "",
        rowid: statement.type(1) == .null ? nil : statement.integer(1),
        parent: statement.text(2)?.lowercased() ?? "")
      rows[row, default: 0] += 1
    }
  }

  /// Violations that were not there before. With more than 100,000 before, only a higher count tells.
  func new(since before: ForeignKeyViolations) -> [Row] {
    guard before.count <= Self.limit else {
      return count > before.count ? Array(rows.keys.prefix(1)) : []
    }
    return rows.filter { $0.value > before.rows[$0.key, default: 0] }.map(\.key)
      .sorted { ($0.table, $0.rowid ?? 0) < ($1.table, $1.rowid ?? 0) }
  }
}
