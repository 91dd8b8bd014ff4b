internal import CSQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A compiled statement. Columns and parameters are counted from 0 and 1, as SQLite does.
public final class Statement {
  private let handle: OpaquePointer
  // Keeps the connection open as long as the statement lives.
  private let connection: Connection
  /// Where the statement stands in the script that it came from: byte offsets.
  public let start: Int
  public let end: Int

  init(_ handle: OpaquePointer, on connection: Connection, start: Int, end: Int) {
    self.handle = handle
    self.connection = connection
    self.start = start
    self.end = end
  }

  deinit {
    sqlite3_finalize(handle)
  }

  /// Goes to the next row; false when there is none.
  public func step() throws(SQLiteError) -> Bool {
    let code = sqlite3_step(handle)
    switch code {
    case SQLITE_ROW: return true
    case SQLITE_DONE: return false
    default:
      let error = connection.lastError(code)
      sqlite3_reset(handle)
      throw error
    }
  }

  /// Steps to the end and starts over.
  public func run() throws(SQLiteError) {
    while try step() {}
    sqlite3_reset(handle)
  }

  public func reset() {
    sqlite3_reset(handle)
  }

  /// True when the statement cannot write to the database file.
  public var isReadOnly: Bool { sqlite3_stmt_readonly(handle) != 0 }

  // MARK: Parameters

  public func bind(_ value: String?, at index: Int32) throws(SQLiteError) {
    guard let text = value else { return try check(sqlite3_bind_null(handle, index)) }
    try check(chock_bind_text(handle, index, text, Int32(text.utf8.count)))
  }

  /// Binds text that need not be UTF-8.
  public func bind(rawText bytes: [UInt8], at index: Int32) throws(SQLiteError) {
    try check(
      bytes.withUnsafeBytes {
        chock_bind_text(
          handle, index, $0.bindMemory(to: CChar.self).baseAddress, Int32($0.count))
      })
  }

  public var parameterCount: Int32 { sqlite3_bind_parameter_count(handle) }

  public func bind(_ value: Int64?, at index: Int32) throws(SQLiteError) {
    if let value {
      try check(sqlite3_bind_int64(handle, index, value))
    } else {
      try check(sqlite3_bind_null(handle, index))
    }
  }

  public func bind(_ value: Double, at index: Int32) throws(SQLiteError) {
    try check(sqlite3_bind_double(handle, index, value))
  }

  public func bind(_ blob: [UInt8], at index: Int32) throws(SQLiteError) {
    try check(
      blob.withUnsafeBytes { chock_bind_blob(handle, index, $0.baseAddress, Int32($0.count)) })
  }

  /// Binds what stands in a column of another statement's row.
  public func bind(_ row: Statement, column: Int32, at index: Int32) throws(SQLiteError) {
    try check(sqlite3_bind_value(handle, index, sqlite3_column_value(row.handle, column)))
  }

  /// Each parameter with its number and its name; `?` has none.
  public var parameters: [(index: Int32, name: String)] {
    guard parameterCount > 0 else { return [] }
    return (1...parameterCount).map { index in
      (index, sqlite3_bind_parameter_name(handle, index).map { String(cString: $0) } ?? "?")
    }
  }

  private func check(_ code: Int32) throws(SQLiteError) {
    guard code == SQLITE_OK else { throw connection.lastError(code) }
  }

  // MARK: Columns

  public enum ColumnType: UInt8, Sendable {
    case null = 0
    case integer, real, text, blob
  }

  public func type(_ column: Int32) -> ColumnType {
    switch sqlite3_column_type(handle, column) {
    case SQLITE_INTEGER: .integer
    case SQLITE_FLOAT: .real
    case SQLITE_TEXT: .text
    case SQLITE_BLOB: .blob
    default: .null
    }
  }

  public func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

  public func real(_ column: Int32) -> Double { sqlite3_column_double(handle, column) }

  /// A text in UTF-8, also where the database keeps it in UTF-16, or a blob as it is stored; empty for NULL.
  public func bytes(_ column: Int32) -> [UInt8] {
    if sqlite3_column_type(handle, column) == SQLITE_TEXT {
      _ = sqlite3_column_text(handle, column)
    }
    guard let bytes = sqlite3_column_blob(handle, column) else { return [] }
    return Array(
      UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(handle, column))))
  }

  public func text(_ column: Int32) -> String? {
    guard let bytes = sqlite3_column_text(handle, column) else { return nil }
    let count = Int(sqlite3_column_bytes(handle, column))
    return String(decoding: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self)
  }

  /// Whether a column holds the very value, with its type, that a column of another statement's row holds.
  public func isSame(_ column: Int32, as other: Statement, _ otherColumn: Int32) -> Bool {
    let type = sqlite3_column_type(handle, column)
    guard type == sqlite3_column_type(other.handle, otherColumn) else { return false }
    switch type {
    case SQLITE_INTEGER: return integer(column) == other.integer(otherColumn)
    case SQLITE_FLOAT: return real(column).bitPattern == other.real(otherColumn).bitPattern
    case SQLITE_NULL: return true
    case SQLITE_TEXT:
      return Self.isSame(
        sqlite3_column_text(handle, column), sqlite3_column_bytes(handle, column),
        sqlite3_column_text(other.handle, otherColumn),
        sqlite3_column_bytes(other.handle, otherColumn))
    default:
      return Self.isSame(
        sqlite3_column_blob(handle, column), sqlite3_column_bytes(handle, column),
        sqlite3_column_blob(other.handle, otherColumn),
        sqlite3_column_bytes(other.handle, otherColumn))
    }
  }

  private static func isSame(
    _ left: UnsafeRawPointer?, _ leftCount: Int32, _ right: UnsafeRawPointer?, _ rightCount: Int32
  ) -> Bool {
    guard leftCount == rightCount else { return false }
    // An empty blob has no address.
    guard let left, let right, leftCount > 0 else { return true }
    return memcmp(left, right, Int(leftCount)) == 0
  }

  /// Steps to the end and hashes all rows, whatever their order.
  ///
  /// - Returns: how many rows there are, and the sum of their 128-bit hashes.
  public func hashRows() throws(SQLiteError) -> (rows: Int64, high: UInt64, low: UInt64) {
    var content = chock_content()
    let code = chock_hash_rows(handle, &content)
    guard code == SQLITE_DONE else {
      let error = connection.lastError(code)
      sqlite3_reset(handle)
      throw error
    }
    sqlite3_reset(handle)
    return (content.rows, content.sum.0, content.sum.1)
  }
}

/// The text of one or more statements, and how far it has been read.
public struct Script: Sendable {
  let bytes: [UInt8]
  /// Where the next statement starts: a byte offset.
  public internal(set) var offset = 0
  private var counted = (offset: 0, lines: 0)

  public init(_ sql: String) {
    bytes = Array(sql.utf8) + [0]
  }

  /// The number of bytes of SQL.
  public var count: Int { bytes.count - 1 }

  /// How many line breaks there are before a byte offset; counted on from the last one asked for.
  public mutating func linesBefore(_ offset: Int) -> Int {
    let offset = min(offset, count)
    if offset < counted.offset { counted = (0, 0) }
    counted.lines += bytes[counted.offset..<offset].count { $0 == UInt8(ascii: "\n") }
    counted.offset = offset
    return counted.lines
  }

  /// The text between two byte offsets.
  public func text(from start: Int, to end: Int) -> String {
    String(decoding: bytes[min(start, count)..<min(max(start, end), count)], as: UTF8.self)
  }

  /// Goes past white space, comments and empty statements, so that a statement begins with its first word.
  mutating func skipBlank() {
    while offset < count {
      let byte = bytes[offset]
      if byte == 0x20 || (0x09...0x0d).contains(byte) || byte == UInt8(ascii: ";") {
        offset += 1
      } else if byte == UInt8(ascii: "-"), bytes[offset + 1] == UInt8(ascii: "-") {
        while offset < count, bytes[offset] != UInt8(ascii: "\n") { offset += 1 }
      } else if byte == UInt8(ascii: "/"), bytes[offset + 1] == UInt8(ascii: "*") {
        offset += 2
        while offset < count,
          !(bytes[offset] == UInt8(ascii: "*") && bytes[offset + 1] == UInt8(ascii: "/"))
        {
          offset += 1
        }
        offset = min(offset + 2, count)
      } else {
        return
      }
    }
  }
}
