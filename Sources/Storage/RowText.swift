import SQLite

// A row that differs, as text: JSON for programs, SQL for the sqlite3 shell.
extension RowDifference {
  /// One line: `table`, `change`, `key`, and what the row was `before` and is `after`. Of a row that was changed only
  /// the columns that differ. Values are written as exports write them.
  public func json() -> String {
    var bytes = Array("{\"table\":".utf8)
    Export.quote(Array(layout.table.utf8), into: &bytes)
    bytes += Array(",\"change\":\"\(change.rawValue)\"".utf8)
    if !layout.key.isEmpty, let row = after ?? before {
      bytes += Array(",\"key\":".utf8)
      Self.object(layout.key.enumerated().map { ($1, Int32($0)) }, row, into: &bytes)
    }
    for (name, row, other) in [("before", before, after), ("after", after, before)] {
      guard let row else { continue }
      bytes += Array(",\"\(name)\":".utf8)
      Self.object(cells(of: row, unlike: other), row, into: &bytes)
    }
    return String(decoding: bytes + Array("}".utf8), as: UTF8.self)
  }

  /// The columns beside the key, with their places; where there is another row, those that differ from it.
  private func cells(of row: Statement, unlike other: Statement?) -> [(String, Int32)] {
    let own = row === after ? layout.after : layout.before
    let all = (layout.shared + own).enumerated().map { index, name in
      (name, Int32(layout.key.count + index))
    }
    guard let other else { return all }
    let ends = Int32(layout.key.count + layout.shared.count)
    return all.filter { $0.1 >= ends || !row.isSame($0.1, as: other, $0.1) }
  }

  private static func object(
    _ cells: [(String, Int32)], _ row: Statement, into bytes: inout [UInt8]
  ) {
    bytes.append(UInt8(ascii: "{"))
    for (index, (name, column)) in cells.enumerated() {
      if index > 0 { bytes.append(UInt8(ascii: ",")) }
      Export.quote(Array(name.utf8), into: &bytes)
      bytes.append(UInt8(ascii: ":"))
      Export.value(row, column, into: &bytes)
    }
    bytes.append(UInt8(ascii: "}"))
  }

  /// The statement that makes the earlier state's row the later one's, in the columns that both have; nil where the
  /// earlier state has no place for it.
  func sql(_ literals: SQLLiterals) throws(SQLiteError) -> String? {
    guard layout.only == nil else { return nil }
    let table = Database.quoted(layout.table)
    func condition(_ row: Statement) throws(SQLiteError) -> String {
      try self.condition(row, literals)
    }
    switch change {
    case .added:
      guard let row = after else { return nil }
      let columns = keys + layout.shared.map(Database.quoted)
      var values: [String] = []
      for index in columns.indices { values.append(try literals.text(row, Int32(index))) }
      return
        "INSERT INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(values.joined(separator: ", ")));"
    case .deleted:
      guard let row = before, !keys.isEmpty else { return nil }
      return "DELETE FROM \(table) WHERE \(try condition(row));"
    case .changed:
      guard let row = after else { return nil }
      let ends = Int32(layout.key.count + layout.shared.count)
      var values: [String] = []
      for (name, column) in cells(of: row, unlike: before) where column < ends {
        values.append("\(Database.quoted(name)) = \(try literals.text(row, column))")
      }
      return
        "UPDATE \(table) SET \(values.joined(separator: ", ")) WHERE \(try condition(row));"
    case .values: return nil
    }
  }

  private var keys: [String] { layout.isRowid ? layout.key : layout.key.map(Database.quoted) }

  private func condition(
    _ row: Statement, _ literals: SQLLiterals
  ) throws(SQLiteError) -> String {
    var parts: [String] = []
    for (index, name) in keys.enumerated() {
      parts.append("\(name) = \(try literals.text(row, Int32(index)))")
    }
    return parts.joined(separator: " AND ")
  }

  /// The statement that gives a row which changes a value that may be there only once one that no row has; nil where it
  /// changes none.
  func parking(
    _ unique: UniqueIndexes, _ literals: SQLLiterals
  ) throws(SQLiteError) -> String? {
    guard let after, let before else { return nil }
    // Only those that get their own value again.
    let ends = Int32(layout.key.count + layout.shared.count)
    let changed = cells(of: after, unlike: before).filter { $0.1 < ends }.map { TableKey($0.0) }
    let parking = unique.parking(among: Set(changed))
    guard !parking.isEmpty else { return nil }
    let table = Database.quoted(layout.table)
    let values = parking.map { column in
      let name = Database.quoted(column.name)
      // Far from every number that comes.
      return
        "\(name) = \(column.value(number: "(SELECT max(\(name)) FROM \(table) WHERE typeof(\(name)) IN ('integer', 'real')) + 1000000000"))"
    }
    return
      "UPDATE \(table) SET \(values.joined(separator: ", ")) WHERE \(try condition(before, literals));"
  }
}

/// Values as SQL that gives the very same value and type.
final class SQLLiterals {
  private let connection: Connection
  private let parse: Statement

  init() throws(SQLiteError) {
    connection = try Connection(path: ":memory:", mode: .create)
    parse = try connection.prepare("SELECT CAST(?1 AS REAL)")
  }

  func text(_ row: Statement, _ column: Int32) throws(SQLiteError) -> String {
    switch row.type(column) {
    case .null: return "NULL"
    case .integer: return "\(row.integer(column))"
    case .real: return try real(row.real(column))
    case .blob: return "x'\(Fingerprint.hex(row.bytes(column)))'"
    case .text:
      let bytes = row.bytes(column)
      // The shell ends a statement at a zero byte.
      guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
        return "CAST(x'\(Fingerprint.hex(bytes))' AS TEXT)"
      }
      let parts = text.utf8.split(
        separator: UInt8(ascii: "'"), omittingEmptySubsequences: false
      ).map { String(decoding: $0, as: UTF8.self) }
      return "'\(parts.joined(separator: "''"))'"
    }
  }

  private func real(_ number: Double) throws(SQLiteError) -> String {
    guard number.isFinite else { return number < 0 ? "-9e999" : "9e999" }
    let text = "\(number)"
    try parse.bind(text, at: 1)
    defer { parse.reset() }
    if try parse.step(), parse.real(0).bitPattern == number.bitPattern { return text }
    guard number != 0 else { return text }
    // SQLite may read the last digit of a long number otherwise. A whole number below 2^53 and powers of two are
    // exact, and so is this product of them.
    var result = "(\(Int64((number.significand * 0x1p52).rounded())).0"
    if number < 0 { result = "(-" + result.dropFirst() }
    var power = Int(number.exponent) - 52
    while power != 0 {
      let part = min(abs(power), 52)
      result += " \(power < 0 ? "/" : "*") \(1 << part).0"
      power += power < 0 ? part : -part
    }
    return result + ")"
  }
}
