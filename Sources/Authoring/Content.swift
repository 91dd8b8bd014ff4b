import Migrations
import SQLite
import Storage

/// What a database holds for a person: its schema, and the rows of its tables.
///
/// How a virtual table lays out its own tables is nobody's record.
struct Content {
  let schema: Schema
  let tables: [TableKey: Fingerprint.Table]
  /// The application's numbers in the header.
  private let header: String?
  /// How far AUTOINCREMENT has counted.
  private let sequences: String?
  /// Full-text indexes that do not fit their rows.
  private let broken: Set<String>

  init(_ scratch: Scratch) throws(Failure) {
    let connection = scratch.connection
    schema = try scratch.schema()
    (tables, header, sequences, broken) = try Database.catching("the scratch database") {
      () throws(SQLiteError) in
      let list = try connection.prepare(
        """
        SELECT name FROM pragma_table_list
        WHERE schema = 'main' AND type IN ('table', 'virtual')
          AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name <> '\(LedgerTable.name)'
        """)
      var tables: [TableKey: Fingerprint.Table] = [:]
      while try list.step() {
        let name = list.text(0) ?? ""
        tables[TableKey(name)] = try Fingerprint.Table(name, connection)
      }
      let hasSequences =
        try connection.integer("SELECT count(*) FROM sqlite_schema WHERE name = 'sqlite_sequence'")
        == 1
      return (
        tables,
        try connection.text(
          """
          SELECT 'user_version ' || user_version || ', application_id ' || application_id
          FROM pragma_user_version, pragma_application_id
          """),
        hasSequences
          ? try connection.text(
            "SELECT group_concat(name || ' ' || seq, ', ') FROM (SELECT * FROM sqlite_sequence ORDER BY name)"
          ) : nil,
        Set(try Database.brokenFullTextIndexes(connection))
      )
    }
  }

  /// What `other` has otherwise, in words.
  func differences(in other: Content) -> [String] {
    schemaDifferences(in: other) + rowDifferences(in: other) + indexDifferences(in: other)
  }

  func schemaDifferences(in other: Content) -> [String] {
    schema.differences(in: other.schema).map { difference in
      let what = "the \(difference.object) \(difference.name)"
      return switch difference.kind {
      case .missing: "\(what) is missing"
      case .extra: "\(what) is still there"
      case .changed: "\(what) is another one"
      }
    }
  }

  /// Of the tables that both have.
  func rowDifferences(in other: Content) -> [String] {
    tables.sorted { $0.key < $1.key }.compactMap { key, table in
      guard let found = other.tables[key] else { return nil }
      guard found.rows == table.rows else {
        return "\(table.name) has \(found.rows) rows instead of \(table.rows)"
      }
      return found.digest == table.digest ? nil : "\(table.name) holds other values"
    }
  }

  /// Full-text indexes that have come to find the wrong rows.
  func indexDifferences(in other: Content) -> [String] {
    other.broken.subtracting(broken).sorted().map {
      "the full-text index \($0) finds the wrong rows"
    }
  }

  func headerDifferences(in other: Content) -> [String] {
    header == other.header
      ? [] : ["the database has \(other.header ?? "nothing"), not \(header ?? "")"]
  }

  func sequenceDifferences(in other: Content) -> [String] {
    sequences ?? "" == other.sequences ?? ""
      ? []
      : [
        "AUTOINCREMENT has counted to \(other.sequences ?? "nothing"), not \(sequences ?? "nothing")"
      ]
  }
}
