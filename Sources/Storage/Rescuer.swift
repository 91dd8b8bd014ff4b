public import Migrations
public import SQLite

/// What became of the rows of one table that a rescue copy has otherwise than the snapshot which was put back.
public struct RescuedTable: Codable, Sendable, Equatable {
  public struct Conflict: Codable, Sendable, Equatable {
    /// The row, by its key.
    public var row: String
    public var reason: String

    public init(row: String, reason: String) {
      self.row = row
      self.reason = reason
    }
  }

  public var table: String
  public var added: Int64 = 0
  public var changed: Int64 = 0
  public var deleted: Int64 = 0
  /// Rows that are in the database as they are in the copy.
  public var same: Int64 = 0
  /// Rows that were left out.
  public var conflicts: Int64 = 0
  /// Rows with values, or whole rows, for which the database has no column or no table.
  public var withoutPlace: Int64 = 0
  /// Rows that are not in the copy and stay.
  public var keptDeletions: Int64 = 0
  /// The first of what was left out.
  public var examples: [Conflict] = []
  /// Why nothing of the whole table was put in; nil where rows were looked at one by one.
  public var leftOut: String?

  var written: Int64 { added + changed + deleted }

  init(_ table: String) { self.table = table }

  func adding(_ other: RescuedTable) -> RescuedTable {
    var sum = self
    sum.added += other.added
    sum.changed += other.changed
    sum.deleted += other.deleted
    return sum
  }

  mutating func leaveOut(_ row: @autoclosure () -> String, _ reason: String) {
    conflicts += 1
    if examples.count < Self.mostExamples {
      examples.append(Conflict(row: row(), reason: reason))
    }
  }

  static let mostExamples = 20
}

/// Puts into a database what was recorded after a snapshot, and went when that was put back: what the rescue copy
/// of the newer state has, as far as the database can hold it.
public struct Rescuer {
  /// What is put in, and how.
  public struct Request: Codable, Sendable, Equatable {
    /// Nil: all tables.
    public var tables: [String]?
    /// Also take out what the newer state did not have any more.
    public var deletes: Bool
    /// Put in nothing when something has to be left out.
    public var isStrict: Bool
    /// Of a copy whose values may be damaged, also take what it has otherwise.
    public var changes: Bool

    public init(
      tables: [String]? = nil, deletes: Bool = false, isStrict: Bool = false, changes: Bool = false
    ) {
      self.tables = tables
      self.deletes = deletes
      self.isStrict = isStrict
      self.changes = changes
    }
  }

  /// Tables of which nothing is put in: the copy is at a newer version than the database, and has their rows as they
  /// are there.
  public struct LeftOut {
    var tables: Set<TableKey>
    /// The file of an older state as it is at the version of the copy: what the copy has otherwise than that was
    /// recorded.
    var newer: String
    var reason: String

    public init(_ tables: Set<TableKey>, newer: String, reason: String) {
      (self.tables, self.newer, self.reason) = (tables, newer, reason)
    }
  }

  private let live: Connection
  private let base: String
  private let knowsBase: Bool
  private let former: String?
  private let copy: String
  private let mayBeDamaged: Bool
  private let leftOut: LeftOut?
  private let request: Request
  private let stop: StopSignal
  private let progress: (_ table: String, _ rows: Int64) -> Void

  /// - Parameters:
  ///   - base: the snapshot that was put back: what was changed since then, in the copy or in the database. Where it
  ///     is gone, a copy of the database as it is.
  ///   - knowsBase: false for such a copy. Then nobody knows whose change a difference is, and only rows that are not
  ///     there are put in.
  ///   - former: the same snapshot at the version that it was taken at, where `base` was brought to a later one.
  ///   - mayBeDamaged: what the copy has otherwise may be damage, not a change: only rows that are not there are put
  ///     in, unless the request takes changes.
  ///   - leftOut: nil where the copy is at the version of the database.
  public init(
    _ live: Connection, copy: String, base: String, knowsBase: Bool, former: String? = nil,
    mayBeDamaged: Bool = false, leftOut: LeftOut? = nil, _ request: Request,
    stop: StopSignal = StopSignal(),
    progress: @escaping (_ table: String, _ rows: Int64) -> Void = { _, _ in }
  ) {
    self.live = live
    self.base = base
    self.knowsBase = knowsBase
    self.former = former
    self.copy = copy
    self.mayBeDamaged = mayBeDamaged
    self.leftOut = leftOut
    self.request = request
    self.stop = stop
    self.progress = progress
  }

  /// With the triggers off: the rows come back as they were. Foreign keys are enforced for each row; one that refers
  /// to a row which comes later is tried again.
  ///
  /// The caller has opened a transaction, checks the result and commits.
  ///
  /// - Throws: `.conflict` when something has to be left out and nothing may be; `.notFound` for a table that is
  ///   nowhere; what is wrong with a file. Nothing is to be committed then.
  public func run() throws(Failure) -> [RescuedTable] {
    live.setTriggers(enabled: false)
    defer { live.setTriggers(enabled: true) }
    let tables = try ComparedTable.all(in: live)
    var done: [TableKey: RescuedTable] = [:]
    let leftOut = try self.leftOut(tables)
    let formerly = try former.map { (path) throws(Failure) in
      try ComparedTable.all(in: try Database.open(path))
    }
    let left = Set(leftOut.keys).union(self.leftOut?.tables.intersection(tables.keys) ?? [])
    var wanted = request.tables
    while true {
      let pass = RescuePass(
        live, tables, formerly: formerly ?? [:], without: left, leavesChanges: leavesChanges,
        deletes: request.deletes)
      let comparer = try Comparer(
        before: base, after: copy, tables: wanted, stop: stop, progress: progress)
      let comparison = try comparer.run { row throws(Failure) in try pass.put(row) }
      for (key, result) in try pass.finish(comparison) {
        done[key] = done[key].map { $0.adding(result) } ?? result
        done[key]?.conflicts = result.conflicts
        done[key]?.examples = result.examples
      }
      let moved = try move(pass.blocked, tables)
      for (key, result) in moved { done[key] = done[key]?.adding(result) }
      wanted = pass.pending.union(pass.blocked.keys).map(\.text)
      guard pass.hasWritten || !moved.isEmpty, wanted?.isEmpty == false else { break }
    }
    done.merge(leftOut) { _, left in left }
    let results = done.values.sorted { TableKey($0.table) < TableKey($1.table) }
    if request.isStrict { try checkWhole(results) }
    try raiseSequences(without: left)
    try Importer.rebuildIndexes(
      of: Set(results.filter { $0.written > 0 }.map { TableKey($0.table) }), live)
    return results
  }

  /// What was recorded in tables of which nothing is put in.
  private func leftOut(
    _ tables: [TableKey: ComparedTable]
  ) throws(Failure) -> [TableKey: RescuedTable] {
    guard let leftOut else { return [:] }
    let there = try ComparedTable.all(in: try Database.open(copy))
    let wanted = request.tables.map { Set($0.map(TableKey.init)) }
    let names = leftOut.tables.filter {
      tables[$0] != nil && there[$0] != nil && wanted?.contains($0) ?? true
    }
    guard !names.isEmpty else { return [:] }
    let comparison = try Comparer(
      before: leftOut.newer, after: copy, tables: names.map(\.text), stop: stop,
      progress: progress
    ).run()
    var left: [TableKey: RescuedTable] = [:]
    for table in comparison.tables {
      var result = RescuedTable(table.table)
      result.conflicts = table.added + table.changed + (request.deletes ? table.deleted : 0)
      if table.isByCount == true { result.conflicts = max(1, result.conflicts) }
      result.keptDeletions = request.deletes ? 0 : table.deleted
      guard result.conflicts + result.keptDeletions > 0 else { continue }
      result.leftOut = leftOut.reason
      left[TableKey(table.table)] = result
    }
    return left
  }

  /// A number that AUTOINCREMENT has given to a row which is gone is not given again. What a salvage says of it may be
  /// damaged.
  private func raiseSequences(without left: Set<TableKey>) throws(Failure) {
    guard !mayBeDamaged else { return }
    let kept = try Database.open(copy)
    let numbers = try Database.catching(copy) { () throws(SQLiteError) in
      try Database.sequences(kept)
    }
    let wanted = request.tables.map { Set($0.map(TableKey.init)) }
    try Database.catching(live.fileName) { () throws(SQLiteError) in
      for (table, number) in numbers where !left.contains(table) && wanted?.contains(table) ?? true
      {
        try Database.raiseSequence(of: table, to: number, live)
      }
    }
  }

  /// Rows that take one another's place.
  private func move(
    _ blocked: [TableKey: Set<String>], _ tables: [TableKey: ComparedTable]
  ) throws(Failure) -> [TableKey: RescuedTable] {
    guard !blocked.isEmpty else { return [:] }
    return try RescueMoves(live, tables, leavesChanges: leavesChanges, blocked).run {
      tell throws(Failure) in
      _ = try Comparer(
        before: base, after: copy, tables: blocked.keys.map(\.text), stop: stop, progress: progress
      ).run(tell)
    }
  }

  /// Why rows that are there stay as they are; nil where they are changed.
  private var leavesChanges: String? {
    if !knowsBase {
      return "it is otherwise in the database, and what the snapshot had is not known"
    }
    guard mayBeDamaged, !request.changes else { return nil }
    return "it is otherwise in the salvage, where it may be damaged (--changes takes it)"
  }

  private func checkWhole(_ results: [RescuedTable]) throws(Failure) {
    guard let first = results.first(where: { $0.conflicts + $0.withoutPlace > 0 }) else { return }
    let rows = results.reduce(0) { $0 + $1.conflicts + $1.withoutPlace }
    let example =
      first.leftOut.map { " (\($0))" }
      ?? first.examples.first.map { " (\($0.row): \($0.reason))" } ?? ""
    throw Failure(
      .conflict,
      "\(rows) \(rows == 1 ? "row" : "rows") would have to be left out, the first of \(first.table)\(example).",
      file: live.fileName,
      howToClear: "Without --strict the others are put in, and these are listed.")
  }
}

/// One time through all rows that differ.
private final class RescuePass {
  private let live: Connection
  private let tables: [TableKey: ComparedTable]
  private let formerly: [TableKey: ComparedTable]
  private let left: Set<TableKey>
  private let leavesChanges: String?
  private let deletes: Bool
  private var work: [TableKey: RescuedTableWork] = [:]
  private var results: [TableKey: RescuedTable] = [:]
  private(set) var hasWritten = false
  /// Tables with rows that other rows stand in the way of, which may come or go in this pass.
  private(set) var pending: Set<TableKey> = []
  /// The names of rows that a UNIQUE has refused, while others have the values.
  private(set) var blocked: [TableKey: Set<String>] = [:]

  init(
    _ live: Connection, _ tables: [TableKey: ComparedTable],
    formerly: [TableKey: ComparedTable], without left: Set<TableKey>, leavesChanges: String?,
    deletes: Bool
  ) {
    self.live = live
    self.tables = tables
    self.formerly = formerly
    self.left = left
    self.leavesChanges = leavesChanges
    self.deletes = deletes
  }

  func put(_ row: RowDifference) throws(Failure) {
    let key = TableKey(row.layout.table)
    guard !left.contains(key) else { return }
    var result = results[key] ?? RescuedTable(row.layout.table)
    defer { results[key] = result }
    // A table that the newer state has not says nothing of rows.
    if row.change == .deleted, !deletes || row.layout.only != nil {
      result.keptDeletions += 1
      return
    }
    let table: RescuedTableWork
    if let known = work[key] {
      table = known
    } else {
      table = try RescuedTableWork(live, tables[key], row.layout)
      table.formerColumns = formerly[key].map { Set($0.columns.map(TableKey.init)) }
      work[key] = table
    }
    if let misfit = table.misfit {
      result.withoutPlace += 1
      if result.examples.isEmpty {
        result.examples.append(.init(row: "every row", reason: misfit))
      }
      return
    }
    do throws(SQLiteError) {
      switch try table.put(row, leavesChanges: leavesChanges) {
      case .written:
        hasWritten = true
        switch row.change {
        case .added: result.added += 1
        case .deleted: result.deleted += 1
        case .changed, .values: result.changed += 1
        }
      case .filled:
        hasWritten = true
        result.changed += 1
      case .same: result.same += 1
      case .conflict(let reason): result.leaveOut(table.name(of: row), reason)
      case .later(let reason):
        pending.insert(key)
        result.leaveOut(table.name(of: row), reason)
      case .blocked(let reason):
        blocked[key, default: []].insert(table.name(of: row))
        result.leaveOut(table.name(of: row), reason)
      }
      if table.hasValuesWithoutPlace(row) { result.withoutPlace += 1 }
    } catch {
      throw Database.failure(error, live.fileName)
    }
  }

  /// - Returns: the tables that the copy has otherwise, also those whose rows nobody can tell apart.
  func finish(_ comparison: Comparison) throws(Failure) -> [TableKey: RescuedTable] {
    for table in comparison.tables
    where table.isByCount == true && !left.contains(TableKey(table.table)) {
      var result = RescuedTable(table.table)
      result.withoutPlace = max(1, table.added)
      result.examples = [.init(row: "every row", reason: "nothing tells one row from another")]
      results[TableKey(table.table)] = result
    }
    return results
  }
}

/// The statements with which the rows of one table are looked up and written.
final class RescuedTableWork {
  struct Column {
    var name: String
    var place: Int32
    var isShared: Bool
  }

  enum Done {
    case written, same
    /// A row that was put in before got the values for which there was no column then.
    case filled
    case conflict(String)
    /// Another row stands in the way.
    case later(String)
    /// Another row has a value that only one may have.
    case blocked(String)
  }

  /// Why the database has no place for any row of it.
  private(set) var misfit: String?
  let live: Connection
  /// Nil where there is no place for its rows.
  private(set) var table: ComparedTable?
  let layout: RowLayout
  private let isVirtual: Bool
  let keys: Int32
  /// The columns that are written: their place in the copy's row, and whether the snapshot has them too, in the same
  /// place.
  private(set) var columns: [Column] = []
  /// Places of columns that the database has not.
  private var homeless: [Int32] = []
  private(set) var look: Statement?
  private(set) var insert: Statement?
  private(set) var update: Statement?
  private var remove: Statement?
  var moves: Moves?
  /// Of the snapshot, at the version that it was taken at; nil where it is compared as it is.
  var formerColumns: Set<TableKey>?

  init(
    _ live: Connection, _ table: ComparedTable?, _ layout: RowLayout
  ) throws(Failure) {
    self.live = live
    self.layout = layout
    keys = Int32(layout.key.count)
    isVirtual = table?.isVirtual ?? false
    guard let table, table.isReadable else {
      misfit = "the table is not there"
      return
    }
    let there = Set(table.columns.map(TableKey.init))
    let sameKey =
      layout.isRowid
      ? table.rowid != nil
      : Set(layout.key.map(TableKey.init)) == Set(table.primaryKey.map(TableKey.init))
    guard sameKey, !layout.key.isEmpty else {
      misfit = "the table has another key"
      return
    }
    for (index, name) in (layout.shared + layout.after).enumerated() {
      let place = keys + Int32(index)
      if there.contains(TableKey(name)) {
        columns.append(Column(name: name, place: place, isShared: index < layout.shared.count))
      } else {
        homeless.append(place)
      }
    }
    do throws(SQLiteError) {
      try prepare(table)
      self.table = table
    } catch  where error.kind == .other {
      // Such as a foreign key to a table that has no such key.
      misfit = error.message
    } catch {
      throw Database.failure(error, live.fileName)
    }
  }

  private func prepare(_ table: ComparedTable) throws(SQLiteError) {
    let (key, name) = (table.keyColumns(layout), table.quoted)
    let names = columns.map { Database.quoted($0.name) }
    let unset = columns.map {
      "\(Database.quoted($0.name)) IS (\(table.defaults[TableKey($0.name)] ?? "NULL"))"
    }
    // The parameters of the key come first, and then those of the columns.
    func parameters(_ count: Int, after first: Int = 0) -> [String] {
      (0..<count).map { "?\(first + $0 + 1)" }
    }
    func list(_ parts: [String], _ separator: String = ", ") -> String {
      parts.joined(separator: separator)
    }
    let isRow = list(zip(key, parameters(key.count)).map { "\($0) = \($1)" }, " AND ")
    let values = parameters(names.count, after: key.count)
    look = try live.prepare("SELECT \(list(key + names + unset)) FROM \(name) WHERE \(isRow)")
    // What the schema says of conflicts could be to replace another row.
    insert = try live.prepare(
      "INSERT OR ABORT INTO \(name) (\(list(key + names))) VALUES (\(list(parameters(key.count) + values)))"
    )
    if !names.isEmpty {
      update = try live.prepare(
        "UPDATE OR ABORT \(name) SET \(list(zip(names, values).map { "\($0) = \($1)" })) WHERE \(isRow)"
      )
    }
    remove = try live.prepare("DELETE FROM \(name) WHERE \(isRow)")
  }

  /// - Parameter leavesChanges: why a row that is there stays as it is; nil where it is changed.
  func put(_ row: RowDifference, leavesChanges: String?) throws(SQLiteError) -> Done {
    guard let look, let insert, let remove, let source = row.after ?? row.before else {
      return .same
    }
    let isThere = try find(source, look)
    switch (row.change, isThere) {
    case (.deleted, false): return .same
    case (.deleted, true):
      let isUnchanged = row.before.map { isEqual(look, to: $0, sharedOnly: true) } ?? false
      look.reset()
      if let leavesChanges { return .conflict(leavesChanges) }
      guard isUnchanged else { return .conflict("the row has changed in the database as well") }
      return try write(remove, of: row, source)
    case (.added, false):
      return try write(insert, of: row, source)
    case (.added, true):
      let isSame = isEqual(look, to: source, sharedOnly: false)
      let isFree = !isSame && canTake(row, look)
      look.reset()
      if isSame { return .same }
      guard isFree, let update else { return .conflict("another row has its key") }
      if let leavesChanges { return .conflict(leavesChanges) }
      let done = try write(update, of: row, source)
      if case .written = done { return .filled }
      return done
    case (_, false): return .conflict("the row is no longer in the database")
    case (_, true):
      let isSame = isEqual(look, to: source, sharedOnly: false)
      let isFree = !isSame && canTake(row, look)
      look.reset()
      if isSame { return .same }
      if let leavesChanges { return .conflict(leavesChanges) }
      guard isFree, let update else {
        return .conflict("the row has changed in the database as well")
      }
      return try write(update, of: row, source)
    }
  }

  /// By its very key, in this order.
  func find(_ source: Statement, _ look: Statement) throws(SQLiteError) -> Bool {
    look.reset()
    for index in 0..<keys { try look.bind(source, column: index, at: index + 1) }
    while try look.step() {
      if (0..<keys).allSatisfy({ look.isSame($0, as: source, $0) }) { return true }
    }
    look.reset()
    return false
  }

  private func isEqual(_ look: Statement, to row: Statement, sharedOnly: Bool) -> Bool {
    columns.enumerated().allSatisfy { index, column in
      sharedOnly && !column.isShared
        || look.isSame(keys + Int32(index), as: row, column.place)
    }
  }

  /// Each column is as it is in the copy, or as it was in the snapshot, or, where that has none, nothing but the
  /// default.
  func canTake(_ row: RowDifference, _ look: Statement) -> Bool {
    columns.enumerated().allSatisfy { index, column in
      let place = keys + Int32(index)
      if let after = row.after, look.isSame(place, as: after, column.place) { return true }
      if column.isShared {
        if let before = row.before { return look.isSame(place, as: before, column.place) }
        // A row that was put in when there was no place for this yet.
        guard let formerColumns, !formerColumns.contains(TableKey(column.name)) else {
          return false
        }
      }
      return look.integer(place + Int32(columns.count)) != 0
    }
  }

  /// Writes one row, and looks whether it is what it should be; else nothing of it stays.
  func write(
    _ statement: Statement, of row: RowDifference, _ source: Statement
  ) throws(SQLiteError) -> Done {
    statement.reset()
    for index in 0..<keys { try statement.bind(source, column: index, at: index + 1) }
    if row.change != .deleted {
      for (index, column) in columns.enumerated() {
        try statement.bind(source, column: column.place, at: keys + Int32(index) + 1)
      }
    }
    try live.execute("SAVEPOINT rescued_row")
    let changes = live.totalChanges
    let done: Done
    do throws(SQLiteError) {
      try statement.run()
      done = try outcome(of: row, source, changes: live.totalChanges - changes)
    } catch {
      statement.reset()
      guard error.refusesRow else { throw error }
      done =
        error.kind == .foreignKey
        ? .later(
          row.change == .deleted
            ? "other rows refer to it" : "a row that it refers to is not there")
        : error.isUnique ? .blocked(error.message) : .conflict(error.message)
    }
    if case .written = done {} else { try live.execute("ROLLBACK TO rescued_row") }
    try live.execute("RELEASE rescued_row")
    return done
  }

  private func outcome(
    of row: RowDifference, _ source: Statement, changes: Int64
  ) throws(SQLiteError) -> Done {
    // A foreign key's CASCADE, of rows that nobody has compared.
    guard changes == 1 || isVirtual else { return .later("other rows refer to it") }
    guard row.change != .deleted, let look else { return .written }
    let isThere = try find(source, look)
    let isSame = isThere && isEqual(look, to: source, sharedOnly: false)
    look.reset()
    return isSame
      ? .written : .conflict("the database would hold one of its values as another one")
  }

  func hasValuesWithoutPlace(_ row: RowDifference) -> Bool {
    guard let after = row.after else { return false }
    return homeless.contains { after.type($0) != .null }
      && after.integer(keys + Int32(layout.shared.count + layout.after.count)) != 0
  }

  /// `id = 1`, for a person.
  func name(of row: RowDifference) -> String {
    guard let source = row.after ?? row.before else { return "" }
    return name(of: source)
  }

  /// The key comes first.
  func name(of source: Statement) -> String {
    layout.key.enumerated().map { index, name in
      var bytes: [UInt8] = []
      Export.value(source, Int32(index), into: &bytes)
      return "\(name) = \(String(decoding: bytes, as: UTF8.self))"
    }.joined(separator: ", ")
  }
}
