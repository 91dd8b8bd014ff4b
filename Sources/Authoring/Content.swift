import Migrations
import SQLite
import Storage

/// What a database holds for a person: its schema, and the rows of its tables.
///
/// How a virtual table lays out its own tables, and how far AUTOINCREMENT has counted, is nobody's record.
struct Content {
  let schema: Schema
  let tables: [TableKey: Fingerprint.Table]

  init(_ scratch: Scratch) throws(Failure) {
    let connection = scratch.connection
    schema = try scratch.schema()
    tables = try Database.catching("the scratch database") { () throws(SQLiteError) in
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
      return tables
    }
  }

  /// What `other` has otherwise, in words.
  func differences(in other: Content) -> [String] {
    schemaDifferences(in: other) + rowDifferences(in: other)
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
}
