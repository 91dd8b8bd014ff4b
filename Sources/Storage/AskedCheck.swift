public import Migrations
public import SQLite

/// A check of the database that a person asks for.
public enum CheckKind: String, Codable, Sendable, CaseIterable {
  /// Structure and constraints, but not what the indexes hold.
  case quick
  /// Everything; takes ten times as long.
  case full
  /// Rows that point to nothing.
  case foreignKeys = "foreign_keys"
}

/// What a check has found, a line for each.
public struct CheckFindings: Sendable, Equatable {
  /// So many are listed; all are counted.
  public static let mostLines = 1000

  public private(set) var lines: [String] = []
  /// What makes the check fail.
  public private(set) var problems = 0
  /// Rows that do not keep a constraint of their table: they were written before it, or around it.
  public private(set) var drifted = 0

  mutating func add(_ line: String, isDrift: Bool) {
    if isDrift { drifted += 1 } else { problems += 1 }
    if lines.count < Self.mostLines { lines.append(line) }
  }
}

extension Database {
  /// Checks a database, and goes on to its end whatever it finds. In WAL mode the application goes on writing
  /// meanwhile; otherwise it can between two tables.
  ///
  /// - Parameter progress: called again and again: the table, and how many of how many tables are done; where the
  ///   whole file is checked at once, how many steps of SQLite were done, in millions.
  /// - Throws: what keeps it from being read at all, the stop that was requested.
  public static func findings(
    _ kind: CheckKind, _ connection: Connection, stop: StopSignal,
    progress: @escaping (_ table: String?, _ done: Int64, _ total: Int64?) -> Void
  ) throws(Failure) -> CheckFindings {
    var findings = CheckFindings()
    var millions: Int64 = 0
    var tell: (() -> Void)?
    connection.interrupt(every: 100_000) {
      tell?()
      return stop.requested != nil
    }
    defer { connection.interrupt(when: nil) }
    do throws(Failure) {
      try catching(connection.fileName) { () throws(SQLiteError) in
        let mode = try connection.text("PRAGMA journal_mode")
        guard kind == .foreignKeys || mode != "wal" else {
          var steps: Int64 = 0
          tell = {
            steps += 1
            guard steps % 10 == 0 else { return }
            millions += 1
            progress(nil, millions, nil)
          }
          let sql = kind == .quick ? Check.quick.sql : Check.full.sql
          try read(try connection.prepare(sql), of: nil, into: &findings)
          return
        }
        let tables = try self.tables(connection)
        for (index, table) in tables.enumerated() {
          let report = { progress(table, Int64(index), Int64(tables.count)) }
          report()
          tell = report
          let sql =
            switch kind {
            case .quick: Check.quickTable(table).sql
            case .full: Check.fullTable(table).sql
            case .foreignKeys: "PRAGMA main.foreign_key_check(\(quoted(table)))"
            }
          try read(
            try connection.prepare(sql), of: kind == .foreignKeys ? table : nil, into: &findings)
          if stop.requested != nil { return }
        }
      }
      try stop.check()
    } catch {
      if let requested = stop.requested { throw requested }
      // Where it cannot go on, that is what it has found.
      guard error.code == .databaseCorrupt else { throw error }
      findings.add(error.message, isDrift: false)
    }
    return findings
  }

  /// - Parameter table: of a check of foreign keys.
  private static func read(
    _ statement: Statement, of table: String?, into findings: inout CheckFindings
  ) throws(SQLiteError) {
    while try statement.step() {
      guard let table else {
        let row = statement.text(0) ?? ""
        // Several lines may come as one, below a title that names the database.
        for line in row.split(separator: "\n")
        where line != "ok" && !line.hasPrefix("*** in database ") {
          findings.add(String(line), isDrift: isDrift(String(line)))
        }
        continue
      }
      let row = statement.type(1) == .null ? "a row" : "rowid \(statement.integer(1))"
      findings.add(
        "\(table): \(row) points to nothing in \(statement.text(2) ?? "?")", isDrift: false)
    }
  }
}
