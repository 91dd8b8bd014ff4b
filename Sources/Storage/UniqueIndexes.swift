import SQLite

/// What of one table may be there only once beside its primary key, and the columns in which a row is moved out of the
/// way of another one.
struct UniqueIndexes {
  struct Index {
    /// With the collation by which values are the same; without what is an expression.
    var columns: [(name: String, collation: String)]
    /// False where more than the columns decides: an expression, or a condition.
    var isPlain: Bool
    /// Its columns that are written, the best first.
    var parking: [Parking] = []
  }

  /// A column that gets a value which no other row has, for as long as it takes.
  struct Parking {
    var name: String
    var takesNull: Bool

    /// - Parameter number: one that no row has.
    func value(number: String) -> String {
      let column = Database.quoted(name)
      return takesNull
        ? "NULL"
        : "CASE typeof(\(column)) WHEN 'text' THEN 'x' || hex(randomblob(16)) WHEN 'blob' THEN randomblob(16) WHEN 'real' THEN CAST(\(number) AS REAL) ELSE \(number) END"
    }
  }

  let indexes: [Index]

  /// One column for each index that has one among these; nil: among all that are written.
  func parking(among names: Set<TableKey>? = nil) -> [Parking] {
    var chosen: [Parking] = []
    for index in indexes {
      let choice = index.parking.first { names?.contains(TableKey($0.name)) ?? true }
      guard let choice, !chosen.contains(where: { $0.name == choice.name }) else { continue }
      chosen.append(choice)
    }
    return chosen
  }

  /// - Parameter written: the columns that get their own value again.
  init(of table: String, written: [String], _ connection: Connection) throws(SQLiteError) {
    let written = Set(written.map(TableKey.init))
    var nullable: Set<TableKey> = []
    var referring: Set<TableKey> = []
    let columns = try connection.prepare(
      "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE \"notnull\" = 0")
    try columns.bind(table, at: 1)
    while try columns.step() { nullable.insert(TableKey(columns.text(0) ?? "")) }
    let keys = try connection.prepare(
      "SELECT \"from\" FROM pragma_foreign_key_list(?1, 'main')")
    try keys.bind(table, at: 1)
    while try keys.step() { referring.insert(TableKey(keys.text(0) ?? "")) }

    var indexes: [Index] = []
    let list = try connection.prepare(
      """
      SELECT name, partial FROM pragma_index_list(?1, 'main')
      WHERE "unique" = 1 AND origin <> 'pk' ORDER BY seq
      """)
    try list.bind(table, at: 1)
    while try list.step() {
      let parts = try connection.prepare(
        "SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE \"key\" = 1 ORDER BY seqno")
      try parts.bind(list.text(0) ?? "", at: 1)
      var index = Index(columns: [], isPlain: list.integer(1) == 0)
      while try parts.step() {
        if let name = parts.text(0) {
          index.columns.append((name, parts.text(1) ?? "BINARY"))
        } else {
          index.isPlain = false
        }
      }
      // What refers to another row is not sent anywhere else, if there is a choice.
      func rank(_ name: String) -> Int {
        (referring.contains(TableKey(name)) ? 2 : 0) + (nullable.contains(TableKey(name)) ? 0 : 1)
      }
      index.parking = index.columns.map(\.name).filter { written.contains(TableKey($0)) }
        .sorted { rank($0) < rank($1) }
        .map { Parking(name: $0, takesNull: nullable.contains(TableKey($0))) }
      indexes.append(index)
    }
    self.indexes = indexes
  }
}
