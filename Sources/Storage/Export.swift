import FoundationEssentials
import Migrations
import SQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Rows as JSON lines, one file for each table, with a description: what a rollback takes out of the database,
/// and what an import puts in again.
///
/// Text, whole numbers and NULL are themselves. What JSON cannot say, or would read as another type, is an
/// object: `{"blob": "00ff"}`, `{"real": "2.0"}`, and `{"text": "c328"}` for bytes that are not UTF-8.
public final class Export {
  /// `export.json`.
  public struct Document: Codable, Sendable, Equatable {
    public var schema = "chock.EXPORT/1"
    public var run: String
    public var databasePath: String
    public var fromVersion: String
    public var toVersion: String
    public var createdAt: String
    public var tables: [Table]
  }

  public struct Table: Codable, Sendable, Equatable {
    public var table: String
    public var file: String
    public var rows: Int64
    /// The columns of the primary key; empty when it has none.
    public var key: [String]
    public var columns: [String]
    /// False when only the values of some columns went, and the rows stayed.
    public var isWhole: Bool
  }

  /// A file that is being written.
  final class File {
    fileprivate let descriptor: Int32
    fileprivate let path: String
    fileprivate var table: Table
    fileprivate let prefixes: [[UInt8]]
    fileprivate var buffer: [UInt8] = []

    fileprivate init(_ path: String, _ table: Table) throws(Failure) {
      self.path = path
      self.table = table
      prefixes = table.columns.enumerated().map { index, name in
        var bytes = Array((index == 0 ? "{" : ",").utf8)
        Export.quote(Array(name.utf8), into: &bytes)
        return bytes + [UInt8(ascii: ":")]
      }
      descriptor = try FileSystem.create(path, O_WRONLY | O_TRUNC)
    }

    deinit { Glibc.close(descriptor) }
  }

  public static let documentName = "export.json"

  private let folder: String
  private var document: Document

  /// Begins anew in `folder`, which it makes.
  init(
    in folder: String, run: String, databasePath: String, from: SchemaVersion, to: SchemaVersion
  ) throws(Failure) {
    self.folder = folder
    document = Document(
      run: run, databasePath: databasePath, fromVersion: from.description,
      toVersion: to.description, createdAt: Timestamp.now(), tables: [])
    try FileSystem.removeFolder(folder)
    try FileSystem.makeFolder(folder)
  }

  func open(
    _ table: String, columns: [String], key: [String], isWhole: Bool
  ) throws(Failure) -> File {
    let name = Self.fileName(table, number: document.tables.count + 1)
    return try File(
      "\(folder)/\(name)",
      Table(table: table, file: name, rows: 0, key: key, columns: columns, isWhole: isWhole))
  }

  /// With the table's name where that is a plain one.
  static func fileName(_ table: String, number: Int) -> String {
    let isPlain =
      table.utf8.count < 60
      && table.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
    return (isPlain ? "\(number)-\(table)" : "\(number)") + ".jsonl"
  }

  /// Writes the row at which the statement stands.
  func write(_ row: Statement, to file: File) throws(Failure) {
    for (index, prefix) in file.prefixes.enumerated() {
      file.buffer += prefix
      Self.value(row, Int32(index), into: &file.buffer)
    }
    file.buffer += Array("}\n".utf8)
    if file.buffer.count >= 1 << 16 { try flush(file) }
  }

  private func flush(_ file: File) throws(Failure) {
    try FileSystem.writeAll(file.buffer, to: file.descriptor, named: file.path)
    file.buffer.removeAll(keepingCapacity: true)
  }

  func close(_ file: File, rows: Int64) throws(Failure) {
    try flush(file)
    guard fsync(file.descriptor) == 0 else { throw FileSystem.failure("sync", file.path) }
    file.table.rows = rows
    document.tables.append(file.table)
  }

  /// Writes the description, without which the files are no export; an empty export is removed.
  ///
  /// - Returns: the folder; nil when nothing was written.
  func finish() throws(Failure) -> String? {
    guard !document.tables.isEmpty else {
      try FileSystem.removeFolder(folder)
      return nil
    }
    try FileSystem.replace(
      "\(folder)/\(Self.documentName)", with: try JSON.encode(document, pretty: true))
    return folder
  }

  // MARK: JSON

  static func value(_ row: Statement, _ column: Int32, into bytes: inout [UInt8]) {
    switch row.type(column) {
    case .null: bytes += Array("null".utf8)
    case .integer: bytes += Array("\(row.integer(column))".utf8)
    case .real:
      let number = row.real(column)
      // Such as 2.0, which a reader of JSON takes for the whole number.
      if number.isFinite, Int64(exactly: number) == nil {
        bytes += Array("\(number)".utf8)
      } else {
        wrap("real", Array("\(number)".utf8), into: &bytes)
      }
    case .text:
      let text = row.bytes(column)
      if String(validating: text, as: UTF8.self) != nil {
        quote(text, into: &bytes)
      } else {
        wrap("text", Array(Fingerprint.hex(text).utf8), into: &bytes)
      }
    case .blob: wrap("blob", Array(Fingerprint.hex(row.bytes(column)).utf8), into: &bytes)
    }
  }

  private static func wrap(_ kind: String, _ text: [UInt8], into bytes: inout [UInt8]) {
    bytes += Array("{\"\(kind)\":\"".utf8) + text + Array("\"}".utf8)
  }

  /// RFC 8259, section 7.
  static func quote(_ text: [UInt8], into bytes: inout [UInt8]) {
    bytes.append(UInt8(ascii: "\""))
    for byte in text {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        bytes.append(UInt8(ascii: "\\"))
        bytes.append(byte)
      case UInt8(ascii: "\n"): bytes += Array("\\n".utf8)
      case 0..<0x20:
        bytes += Array("\\u00".utf8) + Array(Fingerprint.hex([byte]).utf8)
      default: bytes.append(byte)
      }
    }
    bytes.append(UInt8(ascii: "\""))
  }
}
