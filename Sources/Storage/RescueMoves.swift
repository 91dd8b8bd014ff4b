import Migrations
import SQLite

/// Rows that take one another's place where a UNIQUE allows each value only once: none of them can go first, and all
/// can together.
///
/// First it is found out who stands in whose way. Of those that wait for nobody but one another each that stands in a
/// way gets values that no row has, and then all get their own. What does not work is undone.
final class RescueMoves {
  private struct Row: Hashable {
    var table: TableKey
    /// Its key, as a person reads it.
    var name: String
  }

  private let live: Connection
  private let tables: [TableKey: ComparedTable]
  private let leavesChanges: String?
  private var work: [TableKey: RescuedTableWork] = [:]
  private let blocked: [TableKey: Set<String>]
  /// The rows in whose place each would be.
  private var inTheWay: [Row: [Row]] = [:]
  private var failed: Set<Row> = []
  private var moving: Set<Row> = []
  private var parked: Set<Row> = []

  /// - Parameter blocked: the names of the rows that a UNIQUE has refused.
  init(
    _ live: Connection, _ tables: [TableKey: ComparedTable], leavesChanges: String?,
    _ blocked: [TableKey: Set<String>]
  ) {
    self.live = live
    self.tables = tables
    self.leavesChanges = leavesChanges
    self.blocked = blocked
  }

  /// - Parameter compare: goes through all rows of these tables that differ.
  /// - Returns: what was written; nothing of a row that could not go.
  func run(
    _ compare: (@escaping (RowDifference) throws(Failure) -> Void) throws(Failure) -> Void
  ) throws(Failure) -> [TableKey: RescuedTable] {
    try compare { [self] row throws(Failure) in
      try forEach(row) { row, table, own throws(SQLiteError) in
        guard table.isFree(row, leavesChanges: leavesChanges) else { return }
        inTheWay[own] = try table.inTheWay(of: row).map { Row(table: own.table, name: $0) }
      }
    }
    // Each time at least one row less.
    for _ in 0..<10 {
      choose()
      guard !moving.isEmpty else { break }
      var results: [TableKey: RescuedTable] = [:]
      let known = failed.count
      try execute("SAVEPOINT moves")
      try compare { [self] row throws(Failure) in
        try forEach(row) { row, table, own throws(SQLiteError) in
          if parked.contains(own), try !table.park(row) { failed.insert(own) }
        }
      }
      try compare { [self] row throws(Failure) in
        try forEach(row) { row, table, own throws(SQLiteError) in
          guard moving.contains(own), !failed.contains(own) else { return }
          var result = results[own.table] ?? RescuedTable(row.layout.table)
          switch try table.place(row) {
          case .written where row.change == .added: result.added += 1
          case .written, .filled: result.changed += 1
          case .same, .conflict, .later, .blocked: failed.insert(own)
          }
          results[own.table] = result
        }
      }
      if failed.count == known {
        try execute("RELEASE moves")
        return results
      }
      try execute("ROLLBACK TO moves; RELEASE moves")
    }
    return [:]
  }

  /// Those that wait for nobody but one another.
  private func choose() {
    var waiting: [Row: [Row]] = [:]
    for (row, others) in inTheWay {
      for other in others { waiting[other, default: []].append(row) }
    }
    moving = Set(inTheWay.keys).subtracting(failed)
    var staying = waiting.keys.filter { !moving.contains($0) }
    while let row = staying.popLast() {
      for other in waiting[row] ?? [] where moving.remove(other) != nil { staying.append(other) }
    }
    parked = moving.intersection(
      moving.reduce(into: Set<Row>()) { $0.formUnion(inTheWay[$1] ?? []) })
  }

  private func forEach(
    _ row: RowDifference, _ body: (RowDifference, RescuedTableWork, Row) throws(SQLiteError) -> Void
  ) throws(Failure) {
    let key = TableKey(row.layout.table)
    guard row.change != .deleted, let names = blocked[key] else { return }
    let table: RescuedTableWork
    if let known = work[key] {
      table = known
    } else {
      table = try RescuedTableWork(live, tables[key], row.layout)
      work[key] = table
    }
    let own = Row(table: key, name: table.name(of: row))
    guard names.contains(own.name) else { return }
    try Database.catching(live.fileName) { () throws(SQLiteError) in try body(row, table, own) }
  }

  private func execute(_ sql: String) throws(Failure) {
    try Database.catching(live.fileName) { () throws(SQLiteError) in try live.execute(sql) }
  }
}

extension RescuedTableWork {
  /// Whether nobody but a UNIQUE keeps a row from being put in.
  func isFree(_ row: RowDifference, leavesChanges: String?) -> Bool {
    guard let look, let source = row.after else { return false }
    guard (try? find(source, look)) == true else { return row.change == .added }
    defer { look.reset() }
    return leavesChanges == nil && update != nil && canTake(row, look)
  }

  /// The names of the rows that hold now what a row would hold, and only one may.
  func inTheWay(of row: RowDifference) throws(SQLiteError) -> Set<String> {
    guard let source = row.after, let moves = try preparedMoves() else { return [] }
    var names: Set<String> = []
    for (lookup, places) in moves.lookups {
      lookup.reset()
      defer { lookup.reset() }
      for (index, place) in places.enumerated() {
        try lookup.bind(source, column: place, at: Int32(index) + 1)
      }
      while try lookup.step() { names.insert(name(of: lookup)) }
    }
    names.remove(name(of: row))
    // Numbers that are wanted are no place to wait in.
    for place in moves.numbers where [.integer, .real].contains(source.type(place)) {
      moves.greatest = max(moves.greatest, source.integer(place))
    }
    return names
  }

  /// Gives a row values that no row has, in its columns that have to differ.
  ///
  /// - Returns: false when they are refused, or other rows would follow.
  func park(_ row: RowDifference) throws(SQLiteError) -> Bool {
    guard let source = row.after, let moves = try preparedMoves(), let park = moves.park,
      moves.greatest < .max
    else { return false }
    moves.greatest += 1
    park.reset()
    for index in 0..<keys { try park.bind(source, column: index, at: index + 1) }
    if park.parameterCount > keys { try park.bind(moves.greatest, at: keys + 1) }
    try live.execute("SAVEPOINT parked_row")
    let before = live.totalChanges
    var isDone = false
    do throws(SQLiteError) {
      try park.run()
      isDone = live.totalChanges - before == 1
    } catch {
      park.reset()
      guard error.refusesRow else { throw error }
    }
    if !isDone { try live.execute("ROLLBACK TO parked_row") }
    try live.execute("RELEASE parked_row")
    return isDone
  }

  /// Puts a row in, whatever it holds meanwhile.
  func place(_ row: RowDifference) throws(SQLiteError) -> Done {
    guard let look, let insert, let source = row.after else { return .same }
    let isThere = try find(source, look)
    look.reset()
    guard isThere else { return try write(insert, of: row, source) }
    guard let update else { return .same }
    let done = try write(update, of: row, source)
    if case .written = done, row.change == .added { return .filled }
    return done
  }

  /// The statements for rows that move.
  final class Moves {
    /// For each index: the rows with the same values, and where those stand in the copy's row.
    var lookups: [(Statement, [Int32])] = []
    var park: Statement?
    /// Places of columns that get a number meanwhile.
    var numbers: [Int32] = []
    /// No row has a greater one in these columns, nor gets one.
    var greatest: Int64 = 0
  }

  private func preparedMoves() throws(SQLiteError) -> Moves? {
    if let moves { return moves }
    guard let table else { return nil }
    let made = Moves()
    let unique = try UniqueIndexes(of: table.name, written: columns.map(\.name), live)
    let key = table.keyColumns(layout)
    var places: [TableKey: Int32] = [:]
    for (index, name) in layout.key.enumerated() { places[TableKey(name)] = Int32(index) }
    for column in columns { places[TableKey(column.name)] = column.place }
    for index in unique.indexes where index.isPlain {
      let found = index.columns.compactMap { places[TableKey($0.name)] }
      guard found.count == index.columns.count else { continue }
      let condition = index.columns.enumerated().map {
        "\(Database.quoted($1.name)) = ?\($0 + 1) COLLATE \(Database.quoted($1.collation))"
      }
      made.lookups.append(
        (
          try live.prepare(
            "SELECT \(key.joined(separator: ", ")) FROM \(table.quoted) WHERE \(condition.joined(separator: " AND "))"
          ), found
        ))
    }
    let parking = unique.parking()
    if !parking.isEmpty {
      let values = parking.map {
        "\(Database.quoted($0.name)) = \($0.value(number: "?\(key.count + 1)"))"
      }
      let isRow = key.enumerated().map { "\($1) = ?\($0 + 1)" }
      made.park = try live.prepare(
        "UPDATE OR ABORT \(table.quoted) SET \(values.joined(separator: ", ")) WHERE \(isRow.joined(separator: " AND "))"
      )
      for column in parking where !column.takesNull {
        if let place = places[TableKey(column.name)] { made.numbers.append(place) }
        let name = Database.quoted(column.name)
        let greatest = try live.integer(
          "SELECT CAST(max(\(name)) AS INTEGER) FROM \(table.quoted) WHERE typeof(\(name)) IN ('integer', 'real')"
        )
        made.greatest = max(made.greatest, greatest ?? 0)
      }
    }
    moves = made
    return made
  }
}
