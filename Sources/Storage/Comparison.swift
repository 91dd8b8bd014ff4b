public import Migrations
import SQLite

/// How the rows of one table differ between two states of a database.
public struct TableDifference: Codable, Sendable, Equatable {
  public enum Side: String, Codable, Sendable { case before, after }

  public var table: String
  /// The only state that has the table; nil when both have it.
  public var only: Side?
  /// The columns by which rows are told apart; `rowid` where the table has no primary key that both have; empty
  /// where nothing tells one row from another.
  public var key: [String]
  public var rowsBefore: Int64 = 0
  public var rowsAfter: Int64 = 0
  /// Rows that are in the later state only.
  public var added: Int64 = 0
  /// Rows of both that differ in a column which both have.
  public var changed: Int64 = 0
  /// Rows that are in the earlier state only.
  public var deleted: Int64 = 0
  /// Columns that only one of them has; nil when there are none.
  public var columnsBefore: [String]?
  public var columnsAfter: [String]?
  /// Rows of both that hold more than the default in one of `columnsBefore`, or of `columnsAfter`.
  public var valuesBefore: Int64 = 0
  public var valuesAfter: Int64 = 0
  /// True when only numbers of rows could be compared, or contents as a whole.
  public var isByCount: Bool?

  /// Rows or values that only the later state has.
  public var isLossOfAfter: Bool {
    added > 0 || changed > 0 || deleted > 0 || valuesAfter > 0 || isByCount == true
  }

  var isSame: Bool {
    only == nil && added == 0 && changed == 0 && deleted == 0 && valuesBefore == 0
      && valuesAfter == 0 && columnsBefore == nil && columnsAfter == nil && isByCount != true
  }
}

/// A number that belongs to a database and to none of its rows, and differs.
public struct NumberDifference: Codable, Sendable, Equatable {
  /// `user_version`, `application_id`, or `sqlite_sequence TABLE`.
  public var name: String
  public var before: Int64?
  public var after: Int64?
}

/// How the rows of two states of a database differ.
public struct Comparison: Codable, Sendable, Equatable {
  /// Those that differ, sorted by name.
  public var tables: [TableDifference]
  /// How many tables hold the same rows in the same columns.
  public var sameTables: Int
  public var numbers: [NumberDifference]

  public var isEqual: Bool { tables.isEmpty && numbers.isEmpty }
}

/// A row that differs. It is there only while it is handed out: the statements go on to the next one.
public struct RowDifference {
  public enum Change: String, Sendable {
    case added, changed, deleted
    /// The same in all columns that both have, and not in those that only one has.
    case values
  }

  public let change: Change
  let layout: RowLayout
  /// The columns of `layout.key`, `layout.shared` and `layout.before`.
  let before: Statement?
  /// The columns of `layout.key`, `layout.shared` and `layout.after`.
  let after: Statement?
}

/// Which columns are compared, and in which order they are read.
struct RowLayout {
  /// As the later state writes it, which has it; else as the earlier one does.
  var table: String
  var key: [String]
  /// The key is the rowid, which is no column.
  var isRowid: Bool
  /// What both have beside the key.
  var shared: [String]
  /// What only the earlier state has, and only the later one.
  var before: [String]
  var after: [String]
  /// The only state that has the table.
  var only: TableDifference.Side?
}

/// Compares two states of a database, row by row and value by value as they are stored.
///
/// Each row of the later state is looked up by its key in the earlier one, so that the memory does not grow with the
/// tables. A database in WAL mode is read as it is at one moment, and its application goes on writing; otherwise it can
/// between two tables.
public struct Comparer {
  let before: Connection
  let after: Connection
  /// The tables that are looked at; nil: all.
  let only: Set<TableKey>?
  let stop: StopSignal
  let progress: (_ table: String, _ rows: Int64) -> Void

  /// Opens both for reading.
  ///
  /// - Parameter progress: called again and again with how many rows of a table were looked at.
  /// - Throws: what is wrong with a file.
  public init(
    before: String, after: String, tables: [String]? = nil, stop: StopSignal = StopSignal(),
    progress: @escaping (_ table: String, _ rows: Int64) -> Void = { _, _ in }
  ) throws(Failure) {
    self.before = try Database.open(before)
    self.after = try Database.open(after)
    // Where the journal of an application that was killed had to be played back, they can write.
    self.before.keepLogOnClose()
    self.after.keepLogOnClose()
    only = tables.map { Set($0.map(TableKey.init)) }
    self.stop = stop
    self.progress = progress
  }

  /// - Parameter tell: gets each row that differs; nil only counts.
  /// - Throws: what is wrong with a file; `.notFound` for a table that neither has; what `tell` throws; the stop that
  ///   was requested.
  public func run(
    _ tell: ((RowDifference) throws(Failure) -> Void)? = nil
  ) throws(Failure) -> Comparison {
    let stop = stop
    for connection in [before, after] { connection.interrupt { stop.requested != nil } }
    defer { for connection in [before, after] { connection.interrupt(when: nil) } }
    do throws(Failure) {
      return try compare(tell)
    } catch {
      throw stop.requested ?? error
    }
  }

  private func compare(
    _ tell: ((RowDifference) throws(Failure) -> Void)?
  ) throws(Failure) -> Comparison {
    // One moment of each: with a rollback journal that would keep the application from writing all the time.
    var held: [Connection] = []
    var released: [Connection] = []
    for connection in [before, after] {
      let mode = try catching(connection) { () throws(SQLiteError) in
        try connection.text("PRAGMA journal_mode")
      }
      if mode == "wal" { held.append(connection) } else { released.append(connection) }
    }
    defer { for connection in [before, after] { try? connection.execute("ROLLBACK") } }
    for connection in held { try begin(connection) }
    let (old, new) = (try ComparedTable.all(in: before), try ComparedTable.all(in: after))
    if let missing = only?.first(where: { old[$0] == nil && new[$0] == nil }) {
      throw Failure(
        .notFound, "There is no table \(missing.text) in either.", file: after.fileName)
    }
    var result = Comparison(tables: [], sameTables: 0, numbers: [])
    for key in Set(old.keys).union(new.keys).sorted() where only?.contains(key) ?? true {
      try stop.check()
      for connection in released { try begin(connection) }
      let difference = try compare(old[key], new[key], tell)
      for connection in released {
        try catching(connection) { () throws(SQLiteError) in try connection.execute("ROLLBACK") }
      }
      if difference.isSame { result.sameTables += 1 } else { result.tables.append(difference) }
    }
    if only == nil { result.numbers = try numbers() }
    return result
  }

  private func begin(_ connection: Connection) throws(Failure) {
    try catching(connection) { () throws(SQLiteError) in
      try connection.execute("BEGIN; SELECT 1 FROM main.sqlite_schema LIMIT 1")
    }
  }

  private func numbers() throws(Failure) -> [NumberDifference] {
    func all(_ connection: Connection) throws(Failure) -> [String: Int64] {
      try catching(connection) { () throws(SQLiteError) in
        var numbers: [String: Int64] = [:]
        for name in ["user_version", "application_id"] {
          numbers[name] = try connection.integer("PRAGMA main.\(name)") ?? 0
        }
        for (table, number) in try Database.sequences(connection) {
          numbers["sqlite_sequence \(table.text)"] = number
        }
        return numbers
      }
    }
    let (old, new) = (try all(before), try all(after))
    return Set(old.keys).union(new.keys).sorted().compactMap { name in
      old[name] == new[name]
        ? nil : NumberDifference(name: name, before: old[name], after: new[name])
    }
  }

  // MARK: One table

  private func compare(
    _ old: ComparedTable?, _ new: ComparedTable?,
    _ tell: ((RowDifference) throws(Failure) -> Void)?
  ) throws(Failure) -> TableDifference {
    guard let old, let new else {
      return try all(of: old ?? new, isBefore: new == nil, tell)
    }
    var difference = TableDifference(table: new.name, key: [])
    difference.rowsBefore = try old.count(before)
    difference.rowsAfter = try new.count(after)
    let (key, isRowid) = try self.key(old, new)
    let there = Set(old.columns.map(TableKey.init))
    let still = Set(new.columns.map(TableKey.init))
    let keyNames = Set(key.map(TableKey.init))
    let layout = RowLayout(
      table: new.name, key: key, isRowid: isRowid,
      shared: new.columns.filter {
        there.contains(TableKey($0)) && (isRowid || !keyNames.contains(TableKey($0)))
      },
      before: old.columns.filter { !still.contains(TableKey($0)) },
      after: new.columns.filter { !there.contains(TableKey($0)) })
    difference.columnsBefore = layout.before.isEmpty ? nil : layout.before
    difference.columnsAfter = layout.after.isEmpty ? nil : layout.after
    guard !key.isEmpty else {
      try compareWhole(old, new, layout.shared, &difference)
      return difference
    }
    difference.key = key
    try compare(old, new, layout, &difference, tell)
    return difference
  }

  /// A table that one of them has not.
  private func all(
    of table: ComparedTable?, isBefore: Bool,
    _ tell: ((RowDifference) throws(Failure) -> Void)?
  ) throws(Failure) -> TableDifference {
    guard let table else { return TableDifference(table: "", key: []) }
    let connection = isBefore ? before : after
    let key = table.primaryKey.isEmpty ? table.rowid.map { [$0] } ?? [] : table.primaryKey
    var difference = TableDifference(
      table: table.name, only: isBefore ? .before : .after, key: key)
    let rows = try table.count(connection)
    if isBefore {
      (difference.rowsBefore, difference.deleted) = (rows, rows)
    } else {
      (difference.rowsAfter, difference.added) = (rows, rows)
    }
    guard table.isReadable else {
      difference.isByCount = true
      return difference
    }
    guard let tell, rows > 0 else { return difference }
    let isRowid = table.primaryKey.isEmpty
    let values = table.columns.filter { column in
      isRowid || !key.contains { TableKey($0) == TableKey(column) }
    }
    let layout = RowLayout(
      table: table.name, key: key, isRowid: isRowid && !key.isEmpty, shared: [],
      before: isBefore ? values : [], after: isBefore ? [] : values,
      only: isBefore ? .before : .after)
    let scan = try table.scan(layout, values, of: connection)
    while try step(scan, connection) {
      try tell(
        RowDifference(
          change: isBefore ? .deleted : .added, layout: layout, before: isBefore ? scan : nil,
          after: isBefore ? nil : scan))
    }
    return difference
  }

  /// The key that both have, and whether it is the rowid. Empty: there is none.
  private func key(
    _ old: ComparedTable, _ new: ComparedTable
  ) throws(Failure) -> (columns: [String], isRowid: Bool) {
    guard old.isReadable, new.isReadable else { return ([], false) }
    let names = new.primaryKey
    if !names.isEmpty, Set(names.map(TableKey.init)) == Set(old.primaryKey.map(TableKey.init)),
      try !old.hasNullKey(before), try !new.hasNullKey(after)
    {
      return (names, false)
    }
    guard old.rowid != nil, let rowid = new.rowid else { return ([], false) }
    return ([rowid], true)
  }

  /// Where nothing tells one row from another.
  private func compareWhole(
    _ old: ComparedTable, _ new: ComparedTable, _ columns: [String],
    _ difference: inout TableDifference
  ) throws(Failure) {
    difference.added = max(0, difference.rowsAfter - difference.rowsBefore)
    difference.deleted = max(0, difference.rowsBefore - difference.rowsAfter)
    guard old.isReadable, new.isReadable else {
      difference.isByCount = difference.added + difference.deleted > 0 ? true : nil
      return
    }
    let (left, right) = (
      try catching(before) { () throws(SQLiteError) in
        try Fingerprint.content(old.name, before, columns: columns)
      },
      try catching(after) { () throws(SQLiteError) in
        try Fingerprint.content(new.name, after, columns: columns)
      }
    )
    if left != right { difference.isByCount = true }
  }

  private func compare(
    _ old: ComparedTable, _ new: ComparedTable, _ layout: RowLayout,
    _ difference: inout TableDifference, _ tell: ((RowDifference) throws(Failure) -> Void)?
  ) throws(Failure) {
    // First, so that who carries it out finds the place free that another row takes.
    if let tell { try tellDeleted(old, new, layout, tell) }
    let (keys, values) = (Int32(layout.key.count), Int32(layout.shared.count))
    let (beforeFlag, afterFlag) = (
      keys + values + Int32(layout.before.count), keys + values + Int32(layout.after.count)
    )
    let scan = try new.scan(layout, layout.shared + layout.after, of: after)
    let lookup = try old.lookup(layout, layout.shared + layout.before, in: before)
    var (found, seen): (Int64, Int64) = (0, 0)
    while try step(scan, after) {
      seen += 1
      if seen % 1024 == 0 {
        try stop.check()
        progress(new.name, seen)
      }
      let isThere = try find(scan, lookup, keys)
      defer { lookup.reset() }
      guard isThere else {
        difference.added += 1
        try tell?(RowDifference(change: .added, layout: layout, before: nil, after: scan))
        continue
      }
      found += 1
      let isChanged = !(keys..<(keys + values)).allSatisfy { scan.isSame($0, as: lookup, $0) }
      let (hasOld, hasNew) = (lookup.integer(beforeFlag) != 0, scan.integer(afterFlag) != 0)
      if isChanged { difference.changed += 1 }
      if hasOld { difference.valuesBefore += 1 }
      if hasNew { difference.valuesAfter += 1 }
      guard let tell, isChanged || hasOld || hasNew else { continue }
      try tell(
        RowDifference(
          change: isChanged ? .changed : .values, layout: layout, before: lookup, after: scan))
    }
    // The keys of both are unique: as many rows of the earlier state were found as of the later one.
    difference.deleted = difference.rowsBefore - found
  }

  private func tellDeleted(
    _ old: ComparedTable, _ new: ComparedTable, _ layout: RowLayout,
    _ tell: (RowDifference) throws(Failure) -> Void
  ) throws(Failure) {
    let scan = try old.scan(layout, layout.shared + layout.before, of: before)
    let lookup = try new.lookup(layout, [], in: after)
    while try step(scan, before) {
      let isThere = try find(scan, lookup, Int32(layout.key.count))
      lookup.reset()
      if !isThere {
        try tell(RowDifference(change: .deleted, layout: layout, before: scan, after: nil))
      }
    }
  }

  /// Finds the row with the very key of a row. An index finds more: 1 for 1.0, and `a` for `A` where it is told to.
  private func find(
    _ row: Statement, _ lookup: Statement, _ keys: Int32
  ) throws(Failure) -> Bool {
    try Database.catching(before.fileName) { () throws(SQLiteError) in
      for index in 0..<keys { try lookup.bind(row, column: index, at: index + 1) }
      while try lookup.step() {
        if (0..<keys).allSatisfy({ row.isSame($0, as: lookup, $0) }) { return true }
      }
      return false
    }
  }

  private func step(_ statement: Statement, _ connection: Connection) throws(Failure) -> Bool {
    try catching(connection) { () throws(SQLiteError) in try statement.step() }
  }

  private func catching<R>(
    _ connection: Connection, _ body: () throws(SQLiteError) -> R
  ) throws(Failure) -> R {
    try Database.catching(connection.fileName, body)
  }
}

/// A table as far as comparing it goes.
struct ComparedTable {
  let name: String
  /// What is stored, without generated columns: they follow from the others.
  let columns: [String]
  /// In its order; empty for none, and for a virtual table.
  let primaryKey: [String]
  /// A name of the rowid that no column has; nil where there is none.
  let rowid: String?
  /// False for a full-text index that keeps no text.
  let isReadable: Bool
  let isVirtual: Bool
  /// What columns have by default, as it is written.
  let defaults: [TableKey: String]
  private let mayHaveNullKey: Bool

  /// Ordinary tables and virtual ones that keep rows of their own, without chock's ledger. What an index of other
  /// tables holds follows from their rows.
  static func all(in connection: Connection) throws(Failure) -> [TableKey: ComparedTable] {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      var tables: [TableKey: ComparedTable] = [:]
      for name in try Database.tables(connection) where TableKey(name) != .ledger {
        tables[TableKey(name)] = try ComparedTable(name, nil, connection)
      }
      for table in try VirtualTable.all(in: connection)
      where table.rows == .own || table.rows == .contentless {
        tables[TableKey(table.name)] = try ComparedTable(table.name, table.rows, connection)
      }
      return tables
    }
  }

  /// One table; nil when there is none.
  static func find(_ name: String, in connection: Connection) throws(Failure) -> ComparedTable? {
    try all(in: connection)[TableKey(name)]
  }

  /// - Parameter rows: where a virtual table has its rows; nil for an ordinary table.
  init(
    _ name: String, _ rows: VirtualTable.Rows?, _ connection: Connection
  ) throws(SQLiteError) {
    self.name = name
    isVirtual = rows != nil
    isReadable = rows != .contentless
    let list = try connection.prepare(
      """
      SELECT name, hidden, dflt_value, pk, "notnull",
        EXISTS (SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk')
      FROM pragma_table_xinfo(?1, 'main') ORDER BY cid
      """)
    try list.bind(name, at: 1)
    var columns: [String] = []
    var taken: Set<TableKey> = []
    var defaults: [TableKey: String] = [:]
    var key: [(place: Int64, name: String)] = []
    var mayBeNull = false
    while try list.step() {
      let column = list.text(0) ?? ""
      taken.insert(TableKey(column))
      defaults[TableKey(column)] = list.text(2)
      if list.integer(1) == 0 { columns.append(column) }
      guard list.integer(3) > 0 else { continue }
      key.append((list.integer(3), column))
      // Without an index it is the rowid itself.
      if list.integer(4) == 0, list.integer(5) != 0 { mayBeNull = true }
    }
    self.columns = columns
    self.defaults = defaults
    primaryKey = rows == nil ? key.sorted { $0.place < $1.place }.map(\.name) : []
    let hasRowid = try Self.hasRowid(name, connection)
    mayHaveNullKey = mayBeNull && hasRowid
    rowid =
      hasRowid
      ? ["rowid", "_rowid_", "oid"].first { !taken.contains(TableKey($0)) } : nil
  }

  private static func hasRowid(
    _ table: String, _ connection: Connection
  ) throws(SQLiteError) -> Bool {
    let list = try connection.prepare(
      "SELECT wr FROM pragma_table_list(?1) WHERE schema = 'main'")
    try list.bind(table, at: 1)
    return try list.step() ? list.integer(0) == 0 : false
  }

  func count(_ connection: Connection) throws(Failure) -> Int64 {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      isReadable
        ? try Database.count(name, connection)
        : (try? Database.count(name + "_docsize", connection)) ?? 0
    }
  }

  /// SQLite lets NULL into a primary key, any number of times (<https://sqlite.org/lang_createtable.html#primkeyconst>).
  func hasNullKey(_ connection: Connection) throws(Failure) -> Bool {
    guard mayHaveNullKey else { return false }
    let condition = primaryKey.map { "\(Database.quoted($0)) IS NULL" }
    return try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.integer(
        "SELECT EXISTS (SELECT 1 FROM \(quoted) WHERE \(condition.joined(separator: " OR ")))") == 1
    }
  }

  var quoted: String { "main.\(Database.quoted(name))" }

  /// The columns of the key as this table names them.
  func keyColumns(_ layout: RowLayout) -> [String] {
    layout.isRowid ? [rowid ?? "rowid"] : layout.key.map(Database.quoted)
  }

  /// Key, values, and whether a value that only this state has is more than its default.
  private func selection(_ layout: RowLayout, _ values: [String]) -> String {
    let own = values.filter { value in
      (layout.before + layout.after).contains { TableKey($0) == TableKey(value) }
    }
    let flag = own.map { "\(Database.quoted($0)) IS NOT (\(defaults[TableKey($0)] ?? "NULL"))" }
    return
      (keyColumns(layout) + values.map(Database.quoted)
      + [flag.isEmpty ? "0" : flag.joined(separator: " OR ")]).joined(separator: ", ")
  }

  func scan(
    _ layout: RowLayout, _ values: [String], of connection: Connection
  ) throws(Failure) -> Statement {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.prepare("SELECT \(selection(layout, values)) FROM \(quoted)")
    }
  }

  /// A key is never NULL: an index is used.
  func lookup(
    _ layout: RowLayout, _ values: [String], in connection: Connection
  ) throws(Failure) -> Statement {
    let condition = keyColumns(layout).enumerated().map { "\($1) = ?\($0 + 1)" }
    return try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.prepare(
        "SELECT \(selection(layout, values)) FROM \(quoted) WHERE \(condition.joined(separator: " AND "))"
      )
    }
  }
}
