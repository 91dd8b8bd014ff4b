import Migrations
import SQLite

/// What a migration declares with `Expect`, looked at right before its statements and right after them.
struct Expectations {
  private let migration: Migration
  private let direction: Plan.Direction
  private var rows:
    [(expectation: TableExpectation, change: TableExpectation.RowChange, before: Int64)] = []
  private var declared: [(expectation: TableExpectation, columns: [String], content: Content)] = []

  /// The rows whatever their order, as the fingerprint counts them.
  private struct Content: Equatable {
    var rows: Int64
    var digest: String
  }

  /// Reads the tables that are declared. One that is not there yet holds nothing that could change.
  ///
  /// - Throws: `.expectation` when a column is not there.
  init(
    _ migration: Migration, _ direction: Plan.Direction, _ connection: Connection
  ) throws(Failure) {
    self.migration = migration
    self.direction = direction
    for expectation in migration.expectations {
      let named: [String]
      switch expectation.subject {
      case .rows(let change):
        rows.append((expectation, change, try Self.rows(expectation.table, connection) ?? 0))
        continue
      case .values(let columns): named = columns
      }
      let there = try Self.columns(of: expectation.table, connection)
      guard !there.isEmpty else { continue }
      if let missing = Self.first(of: named, missingIn: there) {
        throw Self.failure(expectation, migration, "it has no column \(missing)")
      }
      let columns = named.isEmpty ? there : named
      declared.append(
        (expectation, columns, try Self.content(expectation.table, columns, connection)))
    }
  }

  /// - Throws: `.expectation` when a table has other rows, or other values in these columns, than is declared.
  func check(_ connection: Connection) throws(Failure) {
    for (expectation, change, before) in rows {
      let found = try Self.rows(expectation.table, connection)
      // What a rollback drops was counted, shown and exported.
      if direction == .rollback, found == nil { continue }
      let after = found ?? 0
      switch change {
      case .unchanged where after == before: break
      case .changesBy(let count) where after == before + count: break
      case .atLeast(let least):
        guard after >= least else {
          throw Self.failure(expectation, migration, "it has \(after) rows, not at least \(least)")
        }
      default:
        throw Self.failure(
          expectation, migration, "it had \(before) rows and would have \(after)")
      }
    }
    for (expectation, columns, before) in declared {
      func failure(_ what: String) -> Failure { Self.failure(expectation, migration, what) }
      let there = try Self.columns(of: expectation.table, connection)
      guard !there.isEmpty else { throw failure("the table would be gone") }
      if let missing = Self.first(of: columns, missingIn: there) {
        throw failure("the column \(missing) would be gone")
      }
      let after = try Self.content(expectation.table, columns, connection)
      guard after.rows == before.rows else {
        throw failure("it had \(before.rows) rows and would have \(after.rows)")
      }
      guard after == before else { throw failure("values would be changed") }
    }
  }

  private static func failure(
    _ expectation: TableExpectation, _ migration: Migration, _ what: String
  ) -> Failure {
    Failure(
      .expectation,
      "What the migration expects of \(expectation.table) did not come true: \(what).",
      file: migration.path, line: expectation.line,
      howToClear: "Correct the Expect header, or the migration.")
  }

  /// Nil when there is no such table.
  private static func rows(_ table: String, _ connection: Connection) throws(Failure) -> Int64? {
    guard try !columns(of: table, connection).isEmpty else { return nil }
    return try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Database.count(table, connection)
    }
  }

  private static func columns(
    of table: String, _ connection: Connection
  ) throws(Failure) -> [String] {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Fingerprint.columns(of: table, connection)
    }
  }

  private static func content(
    _ table: String, _ columns: [String], _ connection: Connection
  ) throws(Failure) -> Content {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let (rows, digest) = try Fingerprint.content(table, connection, columns: columns)
      return Content(rows: rows, digest: digest)
    }
  }

  /// Names of columns are compared as SQLite does: without regard to the case of ASCII letters.
  private static func first(of names: [String], missingIn there: [String]) -> String? {
    let known = Set(there.map(TableKey.init))
    return names.first { !known.contains(TableKey($0)) }
  }
}
