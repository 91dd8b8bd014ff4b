import Migrations
import SQLite

/// What a database held before a run, as far as the verification compares it with what is there after.
public struct Baseline: Sendable {
  struct Table: Sendable {
    var name: String
    var rows: Int64
  }

  /// By name in lower case; chock's ledger is left out.
  var tables: [String: Table]
  var violations: ForeignKeyViolations

  init(_ connection: Connection) throws(SQLiteError) {
    tables = [:]
    for name in try Database.tables(connection) where name != LedgerTable.name {
      let rows = try connection.integer("SELECT count(*) FROM main.\(Database.quoted(name))") ?? 0
      tables[name.lowercased()] = Table(name: name, rows: rows)
    }
    // One whose module is missing here cannot be counted.
    for name in try Database.tables(connection, type: "virtual") {
      if let rows = try? connection.integer("SELECT count(*) FROM main.\(Database.quoted(name))") {
        tables[name.lowercased()] = Table(name: name, rows: rows)
      }
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
  ///
  /// - Parameters:
  ///   - name: what a table of before is called now.
  ///   - rebuilt: whether a table of now was made anew, so that its rowids may be others: there too
  ///     only a higher count tells.
  func new(
    since before: ForeignKeyViolations, name: (String) -> String, rebuilt: (String) -> Bool
  ) -> [Row] {
    guard before.count <= Self.limit else {
      return count > before.count ? Array(rows.keys.prefix(1)) : []
    }
    func comparable(_ table: String, _ rowid: Int64?, _ parent: String) -> Row {
      Row(table: table, rowid: rebuilt(table) ? nil : rowid, parent: parent)
    }
    var known: [Row: Int] = [:]
    for (row, times) in before.rows {
      known[comparable(name(row.table), row.rowid, name(row.parent)), default: 0] += times
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
