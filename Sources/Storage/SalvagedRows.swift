import Migrations
import SQLite

/// Carries rows from a damaged database into a new one, table by table.
struct SalvagedRows {
  let source: Connection
  let target: Connection
  let pages: PageFile?
  let stop: StopSignal
  let progress: (_ table: String, _ rows: Int64) -> Void

  // MARK: Ordinary tables

  /// - Parameter root: the root page of the table in the damaged file.
  func copy(_ name: String, root: Int64) throws(Failure) -> SalvagedTable {
    let table: ComparedTable
    let hasAlias: Bool
    let rowidTable: Bool
    do throws(SQLiteError) {
      table = try ComparedTable(name, nil, source)
      (rowidTable, hasAlias) = try layout(of: name)
    } catch {
      try stop.check()
      return SalvagedTable(table: name, problem: error.message)
    }
    let columns = table.columns.map(Database.quoted)
    let alias = hasAlias ? table.primaryKey.first.map(Database.quoted) : nil
    guard rowidTable, let key = table.rowid ?? alias else {
      var copied = try copyFromBothEnds(table, columns)
      count(&copied)
      return copied
    }
    // With an INTEGER PRIMARY KEY it is one of the columns.
    let written = hasAlias ? columns : [key] + columns
    var copied = try copy(
      SalvagedTable(table: name), key: key, values: columns, from: table.quoted + " NOT INDEXED",
      into: (table.quoted, written), isKeyWritten: !hasAlias, root: root)
    count(&copied)
    return copied
  }

  /// Rows of a tree that belongs to no table, with the number of its page and the tables that they may be of.
  func copy(_ tree: SalvageSource.LostTree, into table: String) throws(Failure) -> SalvagedTable {
    let fields = (0..<tree.rows.fields).map { "c\($0)" }
    let mayBe = tree.rows.mayBe.joined(separator: ", ").replacing("'", with: "''")
    return try copy(
      SalvagedTable(table: table), key: "rowid",
      values: ["\(tree.rows.page)", mayBe.isEmpty ? "NULL" : "'\(mayBe)'"] + fields,
      from: "main.\(Database.quoted(tree.name)) NOT INDEXED",
      into: ("main.\(table)", ["id", "rootpgno", "may_be"] + fields), isKeyWritten: true,
      root: tree.root, undo: "WHERE rootpgno = \(tree.rows.page)")
  }

  /// Whether a table has a rowid, and a column that is another name of it.
  private func layout(
    of table: String
  ) throws(SQLiteError) -> (hasRowid: Bool, hasAlias: Bool) {
    let list = try source.prepare(
      """
      SELECT wr, (SELECT count(*) FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0) = 1
        AND NOT EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')
      FROM pragma_table_list(?1) WHERE schema = 'main'
      """)
    try list.bind(table, at: 1)
    guard try list.step() else { return (true, false) }
    let hasRowid = list.integer(0) == 0
    return (hasRowid, hasRowid && list.integer(1) != 0)
  }

  /// What an index that can be read whole says about how many rows there were.
  private func count(_ copied: inout SalvagedTable) {
    guard copied.unreadablePlaces > 0 else { return }
    guard
      let list = try? source.prepare(
        "SELECT name FROM pragma_index_list(?1, 'main') WHERE partial = 0 AND origin <> 'pk'"),
      (try? list.bind(copied.table, at: 1)) != nil
    else { return }
    var most: Int64?
    while (try? list.step()) == true {
      let index = Database.quoted(list.text(0) ?? "")
      let rows = try? source.integer(
        "SELECT count(*) FROM main.\(Database.quoted(copied.table)) INDEXED BY \(index)")
      if let rows { most = max(most ?? 0, rows) }
    }
    copied.lost = most.map { max(0, $0 - copied.read - copied.refused) }
  }

  // MARK: By an integer key

  /// One table that is read by its rowid, and where its rows go.
  private final class Stream {
    let forward: Statement
    let backward: Statement
    let insert: Statement
    let isKeyWritten: Bool
    let columns: Int32
    var copied: SalvagedTable
    /// The keys that are to be read; nil: all.
    var wanted: Set<Int64>?
    /// So many rows are looked at.
    var left = 0

    init(
      _ copied: SalvagedTable, forward: Statement, backward: Statement, insert: Statement,
      isKeyWritten: Bool, columns: Int
    ) {
      self.copied = copied
      (self.forward, self.backward, self.insert) = (forward, backward, insert)
      (self.isKeyWritten, self.columns) = (isKeyWritten, Int32(columns))
    }
  }

  private func copy(
    _ copied: SalvagedTable, key: String, values: [String], from table: String,
    into: (table: String, columns: [String]), isKeyWritten: Bool, root: Int64?, undo: String = ""
  ) throws(Failure) -> SalvagedTable {
    let stream: Stream
    do throws(SQLiteError) {
      // NOT INDEXED: an index holds what the table no longer does, or the other way round.
      let select =
        "SELECT \(([key] + values).joined(separator: ", ")) FROM \(table) WHERE \(key) BETWEEN ?1 AND ?2 ORDER BY \(key)"
      stream = Stream(
        copied, forward: try source.prepare(select), backward: try source.prepare(select + " DESC"),
        insert: try insertion(into.table, into.columns), isKeyWritten: isKeyWritten,
        columns: values.count)
    } catch {
      try stop.check()
      var copied = copied
      copied.problem = error.message
      return copied
    }
    if try !read(stream, .min, .max, isDown: false) {
      // What was read may be out of its place.
      try Database.catching(target.fileName) { () throws(SQLiteError) in
        try self.target.execute("DELETE FROM \(into.table) \(undo)")
      }
      stream.copied.read = 0
      stream.copied.refused = 0
      stream.copied.examples = []
      try readLeaves(stream, root)
    }
    progress(stream.copied.table, stream.copied.read)
    return stream.copied
  }

  /// Reads a damaged table leaf by leaf: from both ends of each, and then each row by its key. Which rows a leaf has
  /// is known from its bare page.
  private func readLeaves(_ stream: Stream, _ root: Int64?) throws(Failure) {
    guard let pages, let root = root.flatMap({ UInt32(exactly: $0) }) else {
      _ = try read(stream, .min, .max, isDown: false)
      _ = try read(stream, .min, .max, isDown: true)
      stream.copied.unreadablePlaces += 1
      return
    }
    // A page with one bad cell is refused as a whole by this check, and its other cells may be good.
    try? source.execute("PRAGMA cell_size_check = OFF")
    defer { try? source.execute("PRAGMA cell_size_check = ON") }
    try pages.forEachLeaf(ofTableAt: root) { (leaf) throws(Failure) in
      stream.wanted = Set(leaf.keys)
      // In the order of the keys, and as often as there are cells: a bad one leads anywhere.
      stream.left = leaf.keys.count
      _ = try read(stream, leaf.low, leaf.high, isDown: false)
      if stream.wanted?.isEmpty == false {
        stream.left = leaf.keys.count
        _ = try read(stream, leaf.low, leaf.high, isDown: true)
      }
      for key in stream.wanted?.sorted() ?? [] {
        stream.left = 1
        _ = try read(stream, key, key, isDown: false)
      }
      if leaf.keys.isEmpty || stream.wanted?.isEmpty == false || Set(leaf.keys).count < leaf.cells {
        stream.copied.unreadablePlaces += 1
      }
    }
  }

  /// Reads on until the end, or until reading fails.
  ///
  /// - Returns: whether the end was reached.
  private func read(
    _ stream: Stream, _ low: Int64, _ high: Int64, isDown: Bool
  ) throws(Failure) -> Bool {
    try stop.check()
    let select = isDown ? stream.backward : stream.forward
    select.reset()
    defer { select.reset() }
    var last: Int64?
    do throws(SQLiteError) {
      try select.bind(low, at: 1)
      try select.bind(high, at: 2)
      while try select.step() {
        let key = select.integer(0)
        if stream.wanted != nil {
          stream.left -= 1
          if stream.wanted?.remove(key) != nil { try write(select, by: stream) }
          if stream.left <= 0 { return false }
        } else {
          // A tree that leads back into itself would never end.
          guard last.map({ isDown ? key < $0 : key > $0 }) ?? true else { return false }
          try write(select, by: stream)
        }
        last = key
      }
      return true
    } catch {
      try checkSource(error)
      return false
    }
  }

  /// - Throws: what has nothing to do with what is read.
  private func checkSource(_ error: SQLiteError) throws(Failure) {
    try stop.check()
    if error.kind == .full { throw Database.failure(error, target.fileName) }
  }

  private func write(_ row: Statement, by stream: Stream) throws(SQLiteError) {
    let shift: Int32 = stream.isKeyWritten ? 0 : 1
    stream.insert.reset()
    for index in shift...stream.columns {
      try stream.insert.bind(row, column: index, at: index - shift + 1)
    }
    do throws(SQLiteError) {
      try stream.insert.run()
      note(&stream.copied)
    } catch {
      try refuse(error, "rowid \(row.integer(0))", &stream.copied)
    }
  }

  private func note(_ copied: inout SalvagedTable) {
    copied.read += 1
    if copied.read % 4096 == 0 { progress(copied.table, copied.read) }
  }

  private func refuse(
    _ error: SQLiteError, _ row: String, _ copied: inout SalvagedTable
  ) throws(SQLiteError) {
    guard error.refusesRow else { throw error }
    copied.refused += 1
    if copied.examples.count < 20 { copied.examples.append("\(row): \(error.message)") }
  }

  private func insertion(
    _ table: String, _ columns: [String]
  ) throws(SQLiteError) -> Statement {
    let values = columns.indices.map { "?\($0 + 1)" }
    // Whatever the table says about conflicts: nothing is replaced.
    return try target.prepare(
      "INSERT OR ABORT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(values.joined(separator: ", ")))"
    )
  }

  // MARK: By another key

  /// In the order of the table's own b-tree, from its front and then from its back.
  private func copyFromBothEnds(
    _ table: ComparedTable, _ columns: [String]
  ) throws(Failure) -> SalvagedTable {
    var copied = SalvagedTable(table: table.name)
    let insert: Statement
    do throws(SQLiteError) {
      insert = try insertion(table.quoted, columns)
    } catch {
      copied.problem = error.message
      return copied
    }
    // With NOT INDEXED a table WITHOUT ROWID would still be read through another index that has all columns.
    let own = try? source.prepare(
      "SELECT name FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'")
    try? own?.bind(table.name, at: 1)
    let name = (try? own?.step()) == true ? own?.text(0) : nil
    let way = name.map { "INDEXED BY \(Database.quoted($0))" } ?? "NOT INDEXED"
    // More rows than bytes: a tree that leads back into itself.
    let most = Int64(pages?.pages ?? 0) * Int64(pages?.pageSize ?? 0)
    for isBackward in [false, true] {
      var seen: Int64 = 0
      do throws(SQLiteError) {
        try source.execute("PRAGMA reverse_unordered_selects = \(isBackward ? "ON" : "OFF")")
        let select = try source.prepare(
          "SELECT \(columns.joined(separator: ", ")) FROM \(table.quoted) \(way)")
        while try select.step() {
          seen += 1
          if seen > most { break }
          if seen % 4096 == 0 { progress(table.name, copied.read) }
          insert.reset()
          for index in 0..<Int32(columns.count) {
            try insert.bind(select, column: index, at: index + 1)
          }
          do throws(SQLiteError) {
            try insert.run()
            note(&copied)
          } catch {
            try refuse(error, "row \(seen) from the \(isBackward ? "end" : "front")", &copied)
          }
        }
        if seen <= most {
          try? source.execute("PRAGMA reverse_unordered_selects = OFF")
          return copied
        }
      } catch {
        try checkSource(error)
      }
    }
    try? source.execute("PRAGMA reverse_unordered_selects = OFF")
    copied.unreadablePlaces += 1
    return copied
  }

  // MARK: Virtual tables

  /// Those that have rows of their own get them; full-text indexes of other tables are made anew.
  ///
  /// - Parameter roots: the root pages of tables by their names.
  /// - Returns: nil where it holds nothing that is not in other tables.
  func copy(_ table: VirtualTable, roots: [String: Int64]) throws(Failure) -> SalvagedTable? {
    let quoted = Database.quoted(table.name)
    var copied = SalvagedTable(table: table.name)
    switch table.rows {
    case .none: return nil
    case .indexed:
      do throws(SQLiteError) {
        try target.execute("INSERT INTO main.\(quoted) (\(quoted)) VALUES ('rebuild')")
        return nil
      } catch {
        copied.problem = error.message
        return copied
      }
    case .contentless:
      copied.problem = "It keeps no text of its own: its application has to fill it again."
      return copied
    case .own: break
    }
    let content = table.name + "_content"
    let (columns, stored): ([String], [String])
    do throws(SQLiteError) {
      columns = try self.columns(of: table.name, in: target)
      stored = try self.columns(of: content, in: source)
    } catch {
      try stop.check()
      copied.problem = error.message
      return copied
    }
    let written = columns.map(Database.quoted)
    switch table.module {
    case let module where module.hasPrefix("fts") && stored.count > columns.count:
      // The rows are in a table of their own, in the order of the columns, behind the key.
      let key = Database.quoted(stored[0])
      return try copy(
        copied, key: key, values: stored.dropFirst().prefix(columns.count).map(Database.quoted),
        from: "main.\(Database.quoted(content)) NOT INDEXED",
        into: ("main.\(quoted)", ["rowid"] + written), isKeyWritten: true, root: roots[content])
    case "rtree", "rtree_i32":
      // A table of its own says which node holds a row.
      let ids = table.name + "_rowid"
      return try copy(
        copied, key: "ids.rowid", values: written.map { "boxes.\($0)" },
        from:
          "main.\(Database.quoted(ids)) AS ids NOT INDEXED CROSS JOIN main.\(quoted) AS boxes ON boxes.\(written[0]) = ids.rowid",
        into: ("main.\(quoted)", written), isKeyWritten: false, root: roots[ids])
    default:
      copied.problem = "Nobody knows how the module \(table.module) keeps its rows."
      return copied
    }
  }

  private func columns(
    of table: String, in connection: Connection
  ) throws(SQLiteError) -> [String] {
    let list = try connection.prepare(
      "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0 ORDER BY cid")
    try list.bind(table, at: 1)
    var columns: [String] = []
    while try list.step() { columns.append(list.text(0) ?? "") }
    return columns
  }
}
