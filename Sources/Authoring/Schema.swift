public import Migrations
public import SQLite
import Storage

/// What a database is made of: the CREATE statements of its tables, indexes, triggers and views, sorted.
///
/// chock's ledger, SQLite's own tables and those in which a virtual table keeps its content are left out.
public struct Schema: Sendable, Equatable, Codable {
  public struct Object: Sendable, Equatable, Codable, Hashable {
    public enum Kind: String, Sendable, Codable, CaseIterable, Comparable {
      case table, index, trigger, view

      public static func < (left: Kind, right: Kind) -> Bool {
        (allCases.firstIndex(of: left) ?? 0) < (allCases.firstIndex(of: right) ?? 0)
      }
    }

    public var kind: Kind
    public var name: String
    /// The table that an index or trigger belongs to; else its own name.
    public var table: String
    public var sql: String

    /// A virtual table, whose rows its module keeps.
    var isVirtual: Bool { sql.hasPrefix("CREATE VIRTUAL") }

    fileprivate struct Key: Hashable {
      var kind: Kind
      var name: TableKey
    }

    fileprivate var key: Key { Key(kind: kind, name: TableKey(name)) }

    /// The statement as SQLite understands it: blanks, comments, quotes around names and the case of names and
    /// keywords do not count.
    var meaning: [[UInt8]] { SQLToken.all(of: sql).map { Array($0.meaning.utf8) } }
  }

  public var objects: [Object]

  public init(objects: [Object]) {
    self.objects = objects.sorted { ($0.kind, $0.name) < ($1.kind, $1.name) }
  }

  /// - Throws: what is wrong with the file.
  public init(_ connection: Connection) throws(Failure) {
    self.init(
      objects: try Database.catching(connection.fileName) { () throws(SQLiteError) in
        let list = try connection.prepare(
          """
          SELECT type, name, tbl_name, sql FROM main.sqlite_schema
          WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
            AND tbl_name <> '\(LedgerTable.name)' COLLATE NOCASE
            AND name NOT IN (
              SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')
          """)
        var objects: [Object] = []
        while try list.step() {
          guard let kind = Object.Kind(rawValue: list.text(0) ?? "") else { continue }
          objects.append(
            Object(
              kind: kind, name: list.text(1) ?? "", table: list.text(2) ?? "",
              sql: list.text(3) ?? ""))
        }
        return objects
      })
  }

  /// All that does something when others are used: triggers, views and virtual tables, told by their statements
  /// whatever else their rows say, with none left out.
  ///
  /// SQLite goes by the statement: a row may call a trigger a table, or have a name that no CREATE takes.
  ///
  /// - Throws: what is wrong with the file.
  static func acting(in connection: Connection) throws(Failure) -> [Object] {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let list = try connection.prepare(
        "SELECT name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
      var objects: [Object] = []
      while try list.step() {
        var object = Object(
          kind: .table, name: list.text(0) ?? "", table: list.text(1) ?? "",
          sql: list.text(2) ?? "")
        // CREATE, and what follows it.
        let words = object.meaning.dropFirst().map { String(decoding: $0, as: UTF8.self) }
          .drop { ["temp", "temporary"].contains($0) }
        switch words.first {
        case "table"?, "index"?, "unique"?: continue
        case "trigger"?: object.kind = .trigger
        case "view"?: object.kind = .view
        // A virtual table, or nothing that is known.
        default: break
        }
        objects.append(object)
      }
      return objects
    }
  }

  /// Where two schemas differ.
  public struct Difference: Sendable, Equatable, Codable {
    public enum Kind: String, Sendable, Codable { case missing, extra, changed }

    public var kind: Kind
    public var object: Object.Kind
    public var name: String
    /// The statement that was expected; nil for what is extra.
    public var expected: String?
    /// The statement that is there; nil for what is missing.
    public var found: String?
  }

  /// What `found` has otherwise than this schema; empty when both mean the same.
  public func differences(in found: Schema) -> [Difference] {
    func byKey(_ objects: [Object]) -> [Object.Key: Object] {
      Dictionary(objects.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
    }
    let (expected, there) = (byKey(objects), byKey(found.objects))
    var differences: [Difference] = []
    for object in objects + found.objects.filter({ expected[$0.key] == nil }) {
      let (old, new) = (expected[object.key], there[object.key])
      guard old?.meaning != new?.meaning else { continue }
      differences.append(
        Difference(
          kind: old == nil ? .extra : new == nil ? .missing : .changed, object: object.kind,
          name: object.name, expected: old?.sql, found: new?.sql))
    }
    return differences.sorted { ($0.object, $0.name) < ($1.object, $1.name) }
  }

  /// SQL that makes it, sorted and stable: fit for review and for a diff.
  public var text: String {
    objects.map { "\($0.sql);\n" }.joined(separator: "\n")
  }
}
