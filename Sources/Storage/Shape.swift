public import Migrations
public import SQLite

/// What statements can name in a database: tables and views with their columns, as SQLite itself tells them.
///
/// chock's ledger, SQLite's own tables and those in which a virtual table keeps its content are left out.
public struct Shape: Sendable, Equatable {
  public struct Column: Sendable, Equatable {
    public var name: String
    public var refusesNull: Bool
    /// As it is written; nil for none, and for NULL.
    public var defaultValue: String?
    /// The one column of a primary key that is the rowid: it gets a number by itself.
    public var isRowid: Bool
    /// How it is computed, if it is.
    public var generated: Generated?

    public enum Generated: Sendable, Equatable { case virtual, stored }

    /// A row cannot be written without naming it.
    public var isRequired: Bool {
      refusesNull && defaultValue == nil && generated == nil && !isRowid
    }
  }

  public struct ForeignKey: Sendable, Equatable, Hashable {
    public var columns: [String]
    /// The table that it refers to, as it is written there.
    public var parent: String
  }

  public struct Table: Sendable, Equatable {
    public enum Kind: String, Sendable, Equatable { case table, virtual, view }

    public var kind: Kind
    public var name: String
    public var sql: String
    /// Nil for a view that cannot be read.
    public var columns: [Column]?
    public var foreignKeys: [ForeignKey]

    public func column(_ name: String) -> Column? {
      let key = TableKey(name)
      return columns?.first { TableKey($0.name) == key }
    }
  }

  /// An index, a trigger or a view.
  public struct Object: Sendable, Equatable {
    public enum Kind: String, Sendable, Equatable { case index, trigger, view }

    public var kind: Kind
    public var name: String
    /// The table that an index or trigger belongs to; else its own name.
    public var table: String
    public var sql: String
  }

  public var tables: [TableKey: Table] = [:]
  public var objects: [Object] = []
  /// <https://sqlite.org/pragma.html#pragma_schema_version>
  private var version: Int64

  /// - Parameter older: a shape of the same database from before; what has the same CREATE statement is taken
  ///   from it.
  /// - Throws: what is wrong with the file.
  public init(_ connection: Connection, since older: Shape? = nil) throws(Failure) {
    do throws(SQLiteError) {
      version = try connection.integer("PRAGMA main.schema_version") ?? 0
      if let older, older.version == version {
        self = older
        return
      }
      let list = try connection.prepare(
        """
        SELECT type, name, tbl_name, sql FROM main.sqlite_schema
        WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        """)
      while try list.step() {
        let (type, name, sql) = (list.text(0) ?? "", list.text(1) ?? "", list.text(3) ?? "")
        if let kind = Object.Kind(rawValue: type) {
          objects.append(Object(kind: kind, name: name, table: list.text(2) ?? "", sql: sql))
        }
        let key = TableKey(name)
        guard type == "table" || type == "view", key != .ledger else { continue }
        // The columns of a view are those of its tables.
        if type == "table", let same = older?.tables[key], same.sql == sql, same.name == name {
          tables[key] = same
        } else if let kind = try Self.kind(name, connection) {
          tables[key] = Table(
            kind: kind, name: name, sql: sql, columns: try Self.columns(name, connection),
            foreignKeys: try Self.foreignKeys(name, connection))
        }
      }
    } catch {
      throw Database.failure(error, connection.fileName)
    }
  }

  /// Nil for a table in which a virtual one keeps its content.
  private static func kind(
    _ table: String, _ connection: Connection
  ) throws(SQLiteError) -> Table.Kind? {
    let list = try connection.prepare(
      "SELECT type FROM pragma_table_list(?1) WHERE schema = 'main'")
    try list.bind(table, at: 1)
    return try list.step() ? Table.Kind(rawValue: list.text(0) ?? "") : nil
  }

  private static func columns(
    _ table: String, _ connection: Connection
  ) throws(SQLiteError) -> [Column]? {
    let list = try connection.prepare(
      """
      SELECT name, "notnull", nullif(upper(dflt_value), 'NULL') IS NULL, dflt_value,
        pk = 1 AND upper(type) = 'INTEGER' AND (SELECT count(*) FROM pragma_table_xinfo(?1) WHERE pk) = 1
          AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1) WHERE origin = 'pk'),
        hidden
      FROM pragma_table_xinfo(?1) WHERE hidden <> 1
      """)
    try list.bind(table, at: 1)
    var columns: [Column] = []
    do throws(SQLiteError) {
      while try list.step() {
        columns.append(
          Column(
            name: list.text(0) ?? "", refusesNull: list.integer(1) != 0,
            defaultValue: list.integer(2) == 0 ? list.text(3) : nil, isRowid: list.integer(4) != 0,
            generated: list.integer(5) == 2 ? .virtual : list.integer(5) == 3 ? .stored : nil))
      }
    } catch  where error.kind == .other {
      return nil
    }
    return columns.isEmpty ? nil : columns
  }

  private static func foreignKeys(
    _ table: String, _ connection: Connection
  ) throws(SQLiteError) -> [ForeignKey] {
    let list = try connection.prepare(
      "SELECT id, \"table\", \"from\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq")
    try list.bind(table, at: 1)
    var keys: [(id: Int64, key: ForeignKey)] = []
    while try list.step() {
      let (id, column) = (list.integer(0), list.text(2) ?? "")
      if keys.last?.id == id {
        keys[keys.count - 1].key.columns.append(column)
      } else {
        keys.append((id, ForeignKey(columns: [column], parent: list.text(1) ?? "")))
      }
    }
    return keys.map(\.key)
  }
}
