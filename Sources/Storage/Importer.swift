import FoundationEssentials
public import Migrations
public import SQLite

/// What an import did with the rows of one table.
public struct ImportedTable: Codable, Sendable, Equatable {
  public var table: String
  /// Rows that were not there.
  public var added: Int64 = 0
  /// Rows that were there, and got values for columns that had none.
  public var filled: Int64 = 0
  /// Rows that are as they were exported.
  public var same: Int64 = 0
  /// Rows that hold something else by now, and with `replace` got what was exported.
  public var conflicts: Int64 = 0
  /// The first of the conflicts, by their keys.
  public var examples: [String] = []
}

/// Puts into a database again what a rollback took out of it.
public struct Importer {
  private let connection: Connection
  private let folder: String
  private let replaces: Bool
  private let stop: StopSignal

  /// - Parameter replaces: rows that hold something else by now get what was exported; else they stay.
  public init(
    _ connection: Connection, folder: String, replaces: Bool, stop: StopSignal = StopSignal()
  ) {
    self.connection = connection
    self.folder = folder
    self.replaces = replaces
    self.stop = stop
  }

  /// - Throws: `.notFound` when the folder holds no export, `.usage` when its description cannot be read.
  public static func document(in folder: String) throws(Failure) -> Export.Document {
    let path = "\(folder)/\(Export.documentName)"
    guard let bytes = try FileSystem.read(path) else {
      throw Failure(
        .notFound, "There is no export in \(folder).", file: folder,
        howToClear: "Name the run whose rollback wrote it: `chock history`.")
    }
    do {
      return try JSON.decode(Export.Document.self, from: bytes)
    } catch {
      throw Failure(.usage, "The description of the export cannot be read.", file: path)
    }
  }

  /// Inserts and fills, with the triggers off: the rows come back as they were, and nothing is derived from
  /// them anew. Full-text indexes of other tables are rebuilt.
  ///
  /// The caller has opened a transaction, checks the result and commits.
  ///
  /// - Throws: `.usage`, naming file and line, for what does not fit the tables that are there; nothing is to be
  ///   committed then.
  public func run() throws(Failure) -> [ImportedTable] {
    let document = try Self.document(in: folder)
    connection.setTriggers(enabled: false)
    defer { connection.setTriggers(enabled: true) }
    var done: [ImportedTable] = []
    // Whole rows first: values are put into rows.
    for table in document.tables.filter(\.isWhole) + document.tables.filter({ !$0.isWhole }) {
      let result = try importTable(table)
      if let index = done.firstIndex(where: { $0.table == result.table }) {
        done[index].filled += result.filled
        done[index].conflicts += result.conflicts
        done[index].examples += result.examples
      } else {
        done.append(result)
      }
    }
    try Self.rebuildIndexes(of: Set(done.map { TableKey($0.table) }), connection)
    return done
  }

  private func importTable(_ table: Export.Table) throws(Failure) -> ImportedTable {
    let path = "\(folder)/\(table.file)"
    guard !table.file.contains("/") else {
      throw Failure(.usage, "The description of the export names a file elsewhere.", file: path)
    }
    let work = try TableImport(connection, table, path: path)
    var result = ImportedTable(table: table.table)
    var line = 0
    try FileSystem.forEachLine(of: path) { bytes throws(Failure) in
      line += 1
      if line % 1000 == 0 { try stop.check() }
      let cells: [String: ExportedValue]
      do {
        cells = try JSONDecoder().decode([String: ExportedValue].self, from: Data(bytes))
      } catch {
        throw Failure(.usage, "The line is not one that chock wrote.", file: path, line: line)
      }
      do throws(SQLiteError) {
        try work.put(cells, into: &result, replaces: replaces)
      } catch {
        var failure = Database.failure(error, connection.fileName)
        if error.kind == .other || error.kind == .foreignKey {
          failure = Failure(
            .usage, "\(table.table) does not take the row: \(error.message).",
            howToClear:
              "Change the line or remove it, in a copy of the folder, and import that; or import at another version."
          )
        }
        failure.file = path
        failure.line = line
        throw failure
      }
    }
    guard line == Int(table.rows) else {
      throw Failure(
        .usage, "The file has \(line) rows, and its description says \(table.rows).", file: path,
        howToClear: "Look for the whole file.")
    }
    return result
  }

  /// An index without a copy of the rows did not see them, with the triggers off.
  static func rebuildIndexes(
    of imported: Set<TableKey>, _ connection: Connection
  ) throws(Failure) {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let views = Set(try Database.tables(connection, type: "view").map(TableKey.init))
      for table in try VirtualTable.all(in: connection) {
        guard case .indexed(let content) = table.rows else { continue }
        let quoted = Database.quoted(table.name)
        let rebuild = "INSERT INTO main.\(quoted) (\(quoted)) VALUES ('rebuild')"
        if imported.contains(TableKey(content)) {
          try connection.execute(rebuild)
        } else if views.contains(TableKey(content)) {
          // What the view reads may be imported. One that does not work is no matter of this import.
          try? connection.execute(rebuild)
        }
      }
    }
  }
}

/// A value of an export's line.
private enum ExportedValue: Decodable, CustomStringConvertible {
  case null
  case integer(Int64)
  case real(Double)
  case text(String)
  /// Text that is not UTF-8.
  case rawText([UInt8])
  case blob([UInt8])

  private enum Key: String, CodingKey { case blob, real, text }

  init(from decoder: any Decoder) throws {
    if let object = try? decoder.container(keyedBy: Key.self) {
      if let number = try object.decodeIfPresent(String.self, forKey: .real),
        let value = Double(number)
      {
        self = .real(value)
      } else if let hex = try object.decodeIfPresent(String.self, forKey: .blob) {
        self = .blob(try Self.bytes(hex, decoder))
      } else if let hex = try object.decodeIfPresent(String.self, forKey: .text) {
        self = .rawText(try Self.bytes(hex, decoder))
      } else {
        throw Self.corrupted(decoder)
      }
      return
    }
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let integer = try? container.decode(Int64.self) {
      self = .integer(integer)
    } else if let real = try? container.decode(Double.self) {
      self = .real(real)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  private static func bytes(_ hex: String, _ decoder: any Decoder) throws -> [UInt8] {
    let digits = Array(hex.utf8)
    guard digits.count.isMultiple(of: 2) else { throw corrupted(decoder) }
    return try stride(from: 0, to: digits.count, by: 2).map { index in
      let pair = String(decoding: digits[index..<(index + 2)], as: UTF8.self)
      guard let byte = UInt8(pair, radix: 16) else { throw corrupted(decoder) }
      return byte
    }
  }

  private static func corrupted(_ decoder: any Decoder) -> DecodingError {
    DecodingError.dataCorrupted(
      .init(codingPath: decoder.codingPath, debugDescription: "no value of an export"))
  }

  var description: String {
    switch self {
    case .null: "NULL"
    case .integer(let number): "\(number)"
    case .real(let number): "\(number)"
    case .text(let text): "'\(text)'"
    case .rawText(let bytes), .blob(let bytes): "x'\(Fingerprint.hex(bytes))'"
    }
  }

  func bind(to statement: Statement, at index: Int32) throws(SQLiteError) {
    switch self {
    case .null: try statement.bind(nil as String?, at: index)
    case .integer(let number): try statement.bind(number, at: index)
    case .real(let number): try statement.bind(number, at: index)
    case .text(let text): try statement.bind(text, at: index)
    case .rawText(let bytes): try statement.bind(rawText: bytes, at: index)
    case .blob(let bytes): try statement.bind(bytes, at: index)
    }
  }
}

/// The statements with which the rows of one table are looked up, inserted and changed.
private struct TableImport {
  private let columns: [String]
  private let key: [String]
  private let isWhole: Bool
  /// Whether there is a row of this key, and whether it holds the same, and nothing but defaults.
  private let look: Statement
  private let insert: Statement
  private let update: Statement

  /// - Throws: `.usage` when the table or a column is not there.
  init(_ connection: Connection, _ table: Export.Table, path: String) throws(Failure) {
    func misfit(_ what: String) -> Failure {
      Failure(
        .usage, "\(what) is not there.", file: path,
        howToClear:
          "Import at the version at which it was exported: `chock update` first.")
    }
    let (there, generated, defaults) = try Database.catching(connection.fileName) {
      () throws(SQLiteError) in
      let list = try connection.prepare(
        "SELECT name, hidden, dflt_value FROM pragma_table_xinfo(?1, 'main')")
      try list.bind(table.table, at: 1)
      var there: Set<TableKey> = []
      var generated: Set<TableKey> = []
      var defaults: [TableKey: String] = [:]
      while try list.step() {
        let name = TableKey(list.text(0) ?? "")
        there.insert(name)
        if list.integer(1) >= 2 { generated.insert(name) }
        defaults[name] = list.text(2)
      }
      return (there, generated, defaults)
    }
    guard !there.isEmpty else { throw misfit("The table \(table.table)") }
    if let missing = table.columns.first(where: { !there.contains(TableKey($0)) }) {
      throw misfit("The column \(missing) of \(table.table)")
    }
    let columns = table.columns.filter { !generated.contains(TableKey($0)) }
    let key = table.key.isEmpty ? columns : table.key
    (self.columns, self.key) = (columns, key)
    isWhole = table.isWhole
    let name = "main.\(Database.quoted(table.table))"
    let values = columns.filter { !table.key.contains($0) }
    // Each column has the number of its place in `columns`.
    func parameter(_ column: String) -> String { "?\((columns.firstIndex(of: column) ?? 0) + 1)" }
    func equal(_ names: [String]) -> String {
      names.isEmpty
        ? "1"
        : names.map { "\(Database.quoted($0)) IS \(parameter($0))" }.joined(separator: " AND ")
    }
    let unset = values.map {
      "\(Database.quoted($0)) IS (\(defaults[TableKey($0)] ?? "NULL"))"
    }
    let list = columns.map(Database.quoted).joined(separator: ", ")
    let set = values.map { "\(Database.quoted($0)) = \(parameter($0))" }
    (look, insert, update) = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      (
        try connection.prepare(
          "SELECT \(equal(columns)), \(unset.isEmpty ? "1" : unset.joined(separator: " AND ")) FROM \(name) WHERE \(equal(key))"
        ),
        try connection.prepare(
          "INSERT INTO \(name) (\(list)) VALUES (\(columns.map(parameter).joined(separator: ", ")))"
        ),
        // Nothing but the key: there is nothing to change.
        try connection.prepare(
          set.isEmpty
            ? "SELECT 1" : "UPDATE \(name) SET \(set.joined(separator: ", ")) WHERE \(equal(key))")
      )
    }
  }

  func put(
    _ cells: [String: ExportedValue], into result: inout ImportedTable, replaces: Bool
  ) throws(SQLiteError) {
    func bind(_ statement: Statement) throws(SQLiteError) {
      for (index, column) in columns.enumerated() {
        guard Int32(index) < statement.parameterCount else { continue }
        guard let cell = cells[column] else {
          throw SQLiteError(code: 1, message: "the line has no \(column)")
        }
        try cell.bind(to: statement, at: Int32(index + 1))
      }
    }
    try bind(look)
    let isThere = try look.step()
    let (isSame, isUnset) = (look.integer(0) != 0, look.integer(1) != 0)
    look.reset()
    switch (isThere, isSame) {
    case (false, _) where isWhole:
      try bind(insert)
      try insert.run()
      result.added += 1
    case (true, true): result.same += 1
    case (true, false) where !isWhole && isUnset:
      try bind(update)
      try update.run()
      result.filled += 1
    default:
      result.conflicts += 1
      if result.examples.count < 5 {
        result.examples.append(
          key.map { "\($0) = \(cells[$0]?.description ?? "?")" }.joined(separator: ", "))
      }
      guard replaces, isThere else { return }
      try bind(update)
      try update.run()
    }
  }
}
