import Migrations
public import SQLite

/// A virtual table, and where its rows are (<https://sqlite.org/vtab.html>).
public struct VirtualTable: Sendable {
  public enum Rows: Sendable, Equatable {
    /// In tables of its own: they can be read and written through it.
    case own
    /// In another table or a view, of which it is the full-text index.
    case indexed(String)
    /// It is a full-text index and keeps no text: its words cannot be read back.
    case contentless
    /// It shows something else: `fts5vocab` and the like.
    case none
  }

  public let name: String
  /// In lower case: `fts5`, `rtree`.
  public let module: String
  public let rows: Rows

  /// All of a database.
  public static func all(in connection: Connection) throws(SQLiteError) -> [VirtualTable] {
    let shadows = try Database.tables(connection, type: "shadow").map(TableKey.init)
    let list = try connection.prepare("SELECT sql FROM sqlite_schema WHERE name = ?1")
    var tables: [VirtualTable] = []
    for name in try Database.tables(connection, type: "virtual") {
      try list.bind(name, at: 1)
      if try list.step(), let sql = list.text(0) {
        tables.append(
          VirtualTable(name, sql, own: shadows.filter { $0.isShadow(of: TableKey(name)) }))
      }
      list.reset()
    }
    return tables
  }

  private init(_ name: String, _ sql: String, own shadows: [TableKey]) {
    self.name = name
    let tokens = SQLToken.all(of: sql)
    // CREATE VIRTUAL TABLE [IF NOT EXISTS] [schema.]name USING module (…)
    let using = tokens.firstIndex { $0.isWord("using") } ?? tokens.endIndex
    module = tokens.dropFirst(using + 1).first?.meaning ?? ""
    if !["fts3", "fts4", "fts5"].contains(module) || shadows.contains(TableKey(name + "_content")) {
      rows = shadows.isEmpty ? .none : .own
      return
    }
    // content = 'table', content="table", content=table
    let arguments = tokens.dropFirst(using + 2)
    let option = arguments.indices.first { index in
      arguments[index].meaning == "content"
        && arguments.dropFirst(index - using - 1).first?.text == "="
    }
    let table = option.flatMap { arguments.indices.contains($0 + 2) ? arguments[$0 + 2].text : nil }
    rows = table.map { $0.isEmpty ? .contentless : .indexed($0) } ?? .contentless
  }
}

extension Database {
  /// The full-text indexes that do not fit the rows that they index
  /// (<https://sqlite.org/fts5.html#the_integrity_check_command>). Reads all of those rows.
  public static func brokenFullTextIndexes(
    _ connection: Connection, of touched: Set<TableKey>? = nil
  ) throws(SQLiteError) -> [String] {
    var broken: [String] = []
    for table in try VirtualTable.all(in: connection) where table.module == "fts5" {
      guard case .indexed(let content) = table.rows else { continue }
      guard touched?.contains(TableKey(content)) ?? true else { continue }
      let name = quoted(table.name)
      do throws(SQLiteError) {
        // It writes nothing, whatever it looks like. With a rank of 1 the rows are compared too.
        try connection.execute(
          "INSERT INTO main.\(name) (\(name), rank) VALUES ('integrity-check', 1)")
      } catch  where error.kind == .corrupt || error.kind == .other {
        broken.append(table.name)
      }
    }
    return broken
  }
}
