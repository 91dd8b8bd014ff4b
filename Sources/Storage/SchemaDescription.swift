import Migrations
import SQLite

/// Says what the tables of a file were whose schema is lost: what a snapshot has, brought to the version that the
/// file was at where that can be had.
struct SchemaDescription {
  struct Column {
    enum Affinity { case integer, real, numeric, text, none }

    var affinity: Affinity
    var refusesNull: Bool
    /// Another name of the rowid: its place in a row is empty.
    var isAlias: Bool
    /// A row from before the column was added may end in front of it.
    var mayBeAbsent: Bool
  }

  struct Table {
    var name: String
    var sql: String
    var hasRowid: Bool
    /// As they are stored.
    var columns: [Column]
    /// In the description.
    var root: UInt32
    /// Whether the table has been at this place since the snapshot.
    var isRootKnown: Bool
    /// Whether the description has rows of it.
    var hasRows: Bool
  }

  let good: Salvager.Good
  /// Nil where nobody knows it.
  let version: String?
  /// Whether the migration files have brought it there.
  let isBrought: Bool
  private(set) var tables: [Table] = []
  /// All, also those that are no tables of their own.
  private(set) var objects: [SalvagedObject] = []
  /// Some rows, as they are stored, and whose they are.
  private(set) var samples: [Int: Set<Int>] = [:]
  /// Whose pages they are there.
  private(set) var owners: [UInt32: Int] = [:]

  /// - Parameter path: of the snapshot itself, or of a copy at a later version.
  init(_ good: Salvager.Good, at path: String, version: String?) throws(Failure) {
    self.good = good
    self.version = version
    isBrought = path != good.path
    let before = isBrought ? try Self.roots(of: good.path) : nil
    let connection = try Database.open(path)
    guard let file = try PageFile(path, isReadOnly: true) else {
      throw Failure(.notADatabase, "It is no SQLite database.", file: path)
    }
    let list = try Database.catching(path) { () throws(SQLiteError) in
      try SalvagedObject.all(connection)
    }
    objects = list
    for object in list where object.type == "table" && object.root > 0 {
      let sample = file.sample(ofTreeAt: UInt32(clamping: object.root))
      let (columns, hasRowid) = try Database.catching(path) { () throws(SQLiteError) in
        try Self.columns(object.name, connection)
      }
      let isRootKnown = before.map { $0[TableKey(object.name)] == object.root } ?? true
      if isRootKnown { for page in sample.pages { owners[page] = tables.count } }
      for digest in sample.digests { samples[digest, default: []].insert(tables.count) }
      tables.append(
        Table(
          name: object.name, sql: object.sql, hasRowid: hasRowid, columns: columns,
          root: UInt32(clamping: object.root), isRootKnown: isRootKnown,
          hasRows: !sample.digests.isEmpty))
    }
  }

  private static func roots(of path: String) throws(Failure) -> [TableKey: Int64] {
    let connection = try Database.open(path)
    return try Database.catching(path) { () throws(SQLiteError) in
      Dictionary(
        try SalvagedObject.all(connection).map { (TableKey($0.name), $0.root) },
        uniquingKeysWith: { first, _ in first })
    }
  }

  private static func columns(
    _ table: String, _ connection: Connection
  ) throws(SQLiteError) -> (columns: [Column], hasRowid: Bool) {
    let layout = try connection.prepare(
      """
      SELECT wr, (SELECT count(*) FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0) = 1
        AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')
      FROM pragma_table_list(?1) WHERE schema = 'main'
      """)
    try layout.bind(table, at: 1)
    guard try layout.step() else { return ([], true) }
    let hasRowid = layout.integer(0) == 0
    let hasAlias = hasRowid && layout.integer(1) != 0
    // Virtual generated columns are not stored; without a rowid the key stands first.
    let list = try connection.prepare(
      """
      SELECT upper(type), "notnull", dflt_value IS NOT NULL, pk FROM pragma_table_xinfo(?1, 'main')
      WHERE hidden IN (0, 3) ORDER BY \(hasRowid ? "cid" : "iif(pk = 0, 1000000, pk), cid")
      """)
    try list.bind(table, at: 1)
    var columns: [Column] = []
    while try list.step() {
      let isKey = list.integer(3) > 0
      let refusesNull = list.integer(1) != 0 || (isKey && !hasRowid)
      columns.append(
        Column(
          affinity: affinity(of: list.text(0) ?? ""), refusesNull: refusesNull,
          isAlias: isKey && hasAlias,
          mayBeAbsent: !isKey && (!refusesNull || list.integer(2) != 0)))
    }
    return (columns, hasRowid)
  }

  /// <https://sqlite.org/datatype3.html#determination_of_column_affinity>
  private static func affinity(of type: String) -> Column.Affinity {
    if type.contains("INT") { return .integer }
    if ["CHAR", "CLOB", "TEXT"].contains(where: type.contains) { return .text }
    // ANY keeps what it gets in a STRICT table.
    if type.isEmpty || type == "ANY" || type.contains("BLOB") { return .none }
    return ["REAL", "FLOA", "DOUB"].contains(where: type.contains) ? .real : .numeric
  }
}

extension SchemaDescription.Table {
  enum Fit: Int, Comparable {
    /// Nothing that is stored speaks against it.
    case possible
    /// Each value is of the kind that its column says.
    case natural

    static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
  }

  /// - Parameter isLongerAllowed: rows may have more fields than there are columns.
  /// - Returns: nil where its rows cannot be those of this table.
  func fit(_ tree: PageTrees.Tree, isLongerAllowed: Bool = false) -> Fit? {
    guard tree.isTable == hasRowid, !tree.isSchema || tree.rows == 0,
      isLongerAllowed || tree.mostFields <= columns.count,
      columns.dropFirst(tree.fewestFields).allSatisfy(\.mayBeAbsent) || tree.rows == 0
    else { return nil }
    var fit = tree.mostFields == columns.count ? Fit.natural : .possible
    for (column, classes) in zip(columns, tree.fields) {
      if column.isAlias {
        guard classes.isSubset(of: .null) else { return nil }
        continue
      }
      guard !column.refusesNull || !classes.contains(.null) else { return nil }
      let natural: PageTrees.Classes
      switch column.affinity {
      case .text:
        // Numbers become text there.
        guard classes.isDisjoint(with: [.integer, .real]) else { return nil }
        natural = [.null, .text]
      case .integer, .real: natural = [.null, .integer, .real]
      case .numeric: natural = [.null, .integer, .real, .text]
      case .none: natural = [.null, .integer, .real, .text, .blob]
      }
      if !classes.isSubset(of: natural) { fit = .possible }
    }
    return fit
  }
}

/// A row of a schema.
struct SalvagedObject {
  var type: String
  var name: String
  var table: String
  var root: Int64
  var sql: String

  /// In the order in which they were made. What SQLite makes by itself is left out, but for tables.
  static func all(_ connection: Connection) throws(SQLiteError) -> [SalvagedObject] {
    let list = try connection.prepare(
      "SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema ORDER BY rowid")
    var objects: [SalvagedObject] = []
    while try list.step() {
      if let object = SalvagedObject(list) { objects.append(object) }
    }
    return objects
  }

  /// The same as far as they can be read.
  static func readable(_ connection: Connection, where condition: String = "1") -> [SalvagedObject]
  {
    var objects: [SalvagedObject] = []
    let list = try? connection.prepare(
      "SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema WHERE \(condition) ORDER BY rowid"
    )
    while let list, (try? list.step()) == true {
      if let object = SalvagedObject(list) { objects.append(object) }
    }
    return objects
  }

  /// - Parameter row: type, name, table, root page and text.
  init?(_ row: Statement) {
    // What SQLite makes by itself has no text.
    guard let sql = row.text(4), let name = row.text(1), !sql.isEmpty else { return nil }
    self.init(
      type: row.text(0) ?? "", name: name, table: row.text(2) ?? name, root: row.integer(3),
      sql: sql)
  }

  init(type: String, name: String, table: String, root: Int64, sql: String) {
    (self.type, self.name, self.table, self.root, self.sql) = (type, name, table, root, sql)
  }

  /// SQLite's own tables are made by SQLite.
  var isOfSQLite: Bool { name.hasPrefix("sqlite_") }
}
