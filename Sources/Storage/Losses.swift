import Migrations
import SQLite

/// What a rollback takes out of the database: rows, or the values of columns.
public struct Loss: Codable, Sendable, Equatable {
  public var table: String
  /// How many rows it is about.
  public var rows: Int64
  /// The columns that go; nil when whole rows go.
  public var columns: [String]?
  /// True when it cannot be read, and so is in no export: it is in the snapshot only.
  public var isUnreadable: Bool?

  public init(
    table: String, rows: Int64, columns: [String]? = nil, isUnreadable: Bool? = nil
  ) {
    self.table = table
    self.rows = rows
    self.columns = columns
    self.isUnreadable = isUnreadable
  }
}

/// Finds out what is in one state of a database and not in the other, row by row.
struct Losses {
  let before: Connection
  let after: Connection
  /// What a table of before is called after.
  let renames: [TableKey: TableKey]
  /// Tables that were written to: the rows of all others are there.
  let touched: Set<TableKey>
  let stop: StopSignal

  /// - Parameter export: gets every row that goes; nil only counts.
  /// - Throws: `.databaseCorrupt` and the like; what `export` throws; the stop that was requested.
  func find(_ export: Export?) throws(Failure) -> [Loss] {
    let stop = stop
    before.interrupt { stop.requested != nil }
    defer { before.interrupt(when: nil) }
    do throws(Failure) {
      let now = Set(try tables(after).map(TableKey.init))
      var losses: [Loss] = []
      for table in try tables(before) where TableKey(table) != .ledger {
        let key = TableKey(table)
        let name = renames[key] ?? key
        guard now.contains(name) else {
          losses += try all(of: table, export)
          continue
        }
        losses += try columns(of: table, now: name, export)
        if touched.contains(key) || touched.contains(name) {
          losses += try rows(of: table, now: name, export)
        }
      }
      return losses + (try contentless())
    } catch {
      throw stop.requested ?? error
    }
  }

  /// Full-text indexes without their text: nobody can read back what is in them.
  private func contentless() throws(Failure) -> [Loss] {
    func counts(_ connection: Connection) throws(Failure) -> [TableKey: (name: String, rows: Int64)]
    {
      try catching(connection) { () throws(SQLiteError) in
        var counts: [TableKey: (name: String, rows: Int64)] = [:]
        for table in try VirtualTable.all(in: connection) where table.rows == .contentless {
          counts[TableKey(table.name)] = (
            table.name, (try? Database.count(table.name + "_docsize", connection)) ?? 1
          )
        }
        return counts
      }
    }
    let now = try counts(after)
    return try counts(before).sorted { $0.key < $1.key }.compactMap { key, found in
      let left = now[renames[key] ?? key]?.rows ?? 0
      return left < found.rows
        ? Loss(table: found.name, rows: found.rows - left, isUnreadable: true) : nil
    }
  }

  /// Ordinary tables, and virtual ones that keep rows of their own.
  private func tables(_ connection: Connection) throws(Failure) -> [String] {
    try catching(connection) { () throws(SQLiteError) in
      let virtual = try VirtualTable.all(in: connection).filter { $0.rows == .own }
      return try Database.tables(connection) + virtual.map(\.name)
    }
  }

  private func all(of table: String, _ export: Export?) throws(Failure) -> [Loss] {
    let columns = try catching(before) { () throws(SQLiteError) in
      try Fingerprint.columns(of: table, before)
    }
    let rows = try write(
      "SELECT \(list(columns)) FROM main.\(Database.quoted(table))", to: export, table, columns,
      key: try key(of: table, before) ?? [], isWhole: true)
    return rows > 0 ? [Loss(table: table, rows: rows)] : []
  }

  /// Values of columns that will not be there. A value that the column has by default is none.
  private func columns(
    of table: String, now: TableKey, _ export: Export?
  ) throws(Failure) -> [Loss] {
    let there = Set(
      try catching(after) { () throws(SQLiteError) in
        try Fingerprint.columns(of: now.text, after).map(TableKey.init)
      })
    let (all, defaults) = try catching(before) { () throws(SQLiteError) in
      (
        try Fingerprint.columns(of: table, before),
        try self.defaults(of: table, before)
      )
    }
    let gone = all.filter { !there.contains(TableKey($0)) }
    guard !gone.isEmpty else { return [] }
    let filter = gone.map { "\(Database.quoted($0)) IS NOT (\(defaults[$0] ?? "NULL"))" }
    // Without a primary key a row is known by what stays of it.
    let key = try self.key(of: table, before) ?? all.filter { !gone.contains($0) }
    let columns = key + gone.filter { !key.contains($0) }
    let rows = try write(
      "SELECT \(list(columns)) FROM main.\(Database.quoted(table)) WHERE \(filter.joined(separator: " OR "))",
      to: export, table, columns, key: key, isWhole: false)
    return rows > 0 ? [Loss(table: table, rows: rows, columns: gone)] : []
  }

  private func defaults(
    of table: String, _ connection: Connection
  ) throws(SQLiteError) -> [String: String] {
    let list = try connection.prepare(
      "SELECT name, dflt_value FROM pragma_table_xinfo(?1, 'main') WHERE dflt_value IS NOT NULL")
    try list.bind(table, at: 1)
    var defaults: [String: String] = [:]
    while try list.step() { defaults[list.text(0) ?? ""] = list.text(1) }
    return defaults
  }

  /// Rows whose key is not there any more.
  private func rows(of table: String, now: TableKey, _ export: Export?) throws(Failure) -> [Loss] {
    let new = Database.quoted(now.text)
    let columns = try catching(before) { () throws(SQLiteError) in
      try Fingerprint.columns(of: table, before)
    }
    let there = Set(
      try catching(after) { () throws(SQLiteError) in
        try Fingerprint.columns(of: now.text, after).map(TableKey.init)
      })
    guard let key = try key(of: table, before),
      key.allSatisfy({ there.contains(TableKey($0)) })
    else {
      // Nothing tells one row from another: all of them are kept when there are fewer.
      let (old, left) = (
        try count(Database.quoted(table), before), try count(new, after)
      )
      guard left < old else { return [] }
      _ = try write(
        "SELECT \(list(columns)) FROM main.\(Database.quoted(table))", to: export, table, columns,
        key: [], isWhole: true)
      return [Loss(table: table, rows: old - left)]
    }
    let condition = key.enumerated().map { "\(Database.quoted($1)) IS ?\($0 + 1)" }
    let lookup = try catching(after) { () throws(SQLiteError) in
      try after.prepare("SELECT 1 FROM main.\(new) WHERE \(condition.joined(separator: " AND "))")
    }
    let ordered = key + columns.filter { !key.contains($0) }
    let rows = try write(
      "SELECT \(list(ordered)) FROM main.\(Database.quoted(table))", to: export, table, ordered,
      key: key, isWhole: true
    ) { row throws(SQLiteError) in
      for index in key.indices {
        try lookup.bind(row, column: Int32(index), at: Int32(index + 1))
      }
      defer { lookup.reset() }
      return try !lookup.step()
    }
    return rows > 0 ? [Loss(table: table, rows: rows)] : []
  }

  /// The columns of the primary key; nil for a table without one.
  private func key(of table: String, _ connection: Connection) throws(Failure) -> [String]? {
    try catching(connection) { () throws(SQLiteError) in
      let list = try connection.prepare(
        "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE pk > 0 ORDER BY pk")
      try list.bind(table, at: 1)
      var names: [String] = []
      while try list.step() { names.append(list.text(0) ?? "") }
      return names.isEmpty ? nil : names
    }
  }

  private func count(_ quoted: String, _ connection: Connection) throws(Failure) -> Int64 {
    try catching(connection) { () throws(SQLiteError) in
      try connection.integer("SELECT count(*) FROM main.\(quoted)") ?? 0
    }
  }

  /// - Returns: how many rows there were.
  private func write(
    _ query: String, to export: Export?, _ table: String, _ columns: [String], key: [String],
    isWhole: Bool, where isLost: (Statement) throws(SQLiteError) -> Bool = { _ in true }
  ) throws(Failure) -> Int64 {
    let rows = try catching(before) { () throws(SQLiteError) in try before.prepare(query) }
    var file: Export.File?
    var count: Int64 = 0
    while try catching(
      before,
      { () throws(SQLiteError) in
        while try rows.step() { if try isLost(rows) { return true } }
        return false
      })
    {
      count += 1
      guard let export else { continue }
      let open =
        if let file { file } else {
          try export.open(table, columns: columns, key: key, isWhole: isWhole)
        }
      file = open
      try export.write(rows, to: open)
    }
    if let export, let file { try export.close(file, rows: count) }
    return count
  }

  private func list(_ columns: [String]) -> String {
    columns.map(Database.quoted).joined(separator: ", ")
  }

  private func catching<R>(
    _ connection: Connection, _ body: () throws(SQLiteError) -> R
  ) throws(Failure) -> R {
    try Database.catching(connection.fileName, body)
  }
}
