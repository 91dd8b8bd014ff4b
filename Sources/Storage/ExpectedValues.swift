import Migrations
import SQLite

/// What a migration declares to leave as it is: `Expect: TABLE content unchanged` and `columns (…) unchanged`,
/// looked at right before its statements and right after them.
struct ExpectedValues {
  private let migration: Migration
  private var declared: [(expectation: TableExpectation, columns: [String], content: Content)] = []

  /// The rows whatever their order, as the fingerprint counts them.
  private struct Content: Equatable {
    var rows: Int64
    var digest: String
  }

  /// Reads the tables that are declared. One that is not there yet holds nothing that could change.
  ///
  /// - Throws: `.expectation` when a column is not there.
  init(_ migration: Migration, _ connection: Connection) throws(Failure) {
    self.migration = migration
    for expectation in migration.expectations {
      guard case .values(let named) = expectation.subject else { continue }
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

  /// - Throws: `.expectation` when a table holds something else in these columns than before.
  func check(_ connection: Connection) throws(Failure) {
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
