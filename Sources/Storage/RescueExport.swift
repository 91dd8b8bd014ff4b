public import Migrations
import SQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What a rescue copy has otherwise than the snapshot that was put back, as files: JSON lines for each table, and the
/// same as SQL, as far as the older schema can hold it.
public enum RescueExport {
  /// `rescue.json`.
  public struct Document: Codable, Sendable, Equatable {
    public var schema = "chock.RESCUE-EXPORT/1"
    /// The id of the rescue copy.
    public var copy: String
    /// What it was compared with: the id of the snapshot that was put back; nil: the database as it is.
    public var snapshot: String?
    public var createdAt: String
    public var folder: String
    public var tables: [Table]

    /// The names of all its files.
    public var files: [String] {
      [RescueExport.scriptName] + tables.compactMap(\.file) + [RescueExport.documentName]
    }
  }

  public struct Table: Codable, Sendable, Equatable {
    public var difference: TableDifference
    /// Its rows, a JSON object in each line; nil when there are none that can be told apart.
    public var file: String?
  }

  private static let damageNote = """
    -- So are rows that it has otherwise, whose values may be damaged, and rows that it has not, which may be lost.

    """

  /// That a value may be right in one version only.
  private static func versionNote(_ before: String, _ after: String) throws(Failure) -> String {
    func version(_ path: String) throws(Failure) -> SchemaVersion? {
      try LedgerTable.read(try Database.open(path))?.current
    }
    guard let old = try version(before), let new = try version(after), old != new else { return "" }
    return
      "-- That is at version \(old), and the values are those of \(new): look at what the migrations in between convert.\n"
  }

  public static let documentName = "rescue.json"
  public static let scriptName = "rescue.sql"

  /// Compares and writes.
  ///
  /// - Parameters:
  ///   - folder: made, or empty.
  ///   - mayBeDamaged: of a salvage: what it has otherwise may be damaged, and what it has not may be lost. The SQL
  ///     has neither.
  /// - Throws: `.notAllowed` when the folder holds something; what is wrong with a file; `.noSpace`.
  public static func write(
    before: String, after: String, to folder: String, copy: String, snapshot: String?,
    mayBeDamaged: Bool = false, stop: StopSignal = StopSignal()
  ) throws(Failure) -> Document {
    guard try FileSystem.names(in: folder).isEmpty else {
      throw Failure(
        .notAllowed, "The folder is not empty; nothing was written.", file: folder,
        howToClear: "Name a folder that is not there yet.")
    }
    try FileSystem.makeFolder(folder)
    let literals = try Database.catching(":memory:") { () throws(SQLiteError) in try SQLLiterals() }
    let script = try TextFile("\(folder)/\(scriptName)")
    try script.write(
      """
      -- What \(copy) has otherwise than \(snapshot ?? "the database"), for the older schema.
      -- Tables and columns that it has not are in the .jsonl files only.
      \(try versionNote(before, after))\(mayBeDamaged ? Self.damageNote : "")BEGIN IMMEDIATE;
      PRAGMA defer_foreign_keys = ON;
      """)
    if !mayBeDamaged { try park(before: before, after: after, script, literals, stop) }
    var files: [TableKey: TextFile] = [:]
    var names: [TableKey: String] = [:]
    let comparer = try Comparer(before: before, after: after, stop: stop)
    let comparison = try comparer.run { row throws(Failure) in
      let key = TableKey(row.layout.table)
      let file: TextFile
      if let open = files[key] {
        file = open
      } else {
        // One after another: the tables come in order.
        for (_, open) in files { try open.close() }
        let name = Export.fileName(row.layout.table, number: names.count + 1)
        names[key] = name
        file = try TextFile("\(folder)/\(name)")
        files = [key: file]
      }
      try file.write(row.json())
      if mayBeDamaged, row.change != .added { return }
      let sql = try Database.catching(after) { () throws(SQLiteError) in try row.sql(literals) }
      if let sql { try script.write(sql) }
    }
    for (_, open) in files { try open.close() }
    try script.write("COMMIT;")
    try script.close()
    let document = Document(
      copy: copy, snapshot: snapshot, createdAt: Timestamp.now(), folder: folder,
      tables: comparison.tables.map { Table(difference: $0, file: names[TableKey($0.table)]) })
    try FileSystem.replace(
      "\(folder)/\(documentName)", with: try JSON.encode(document, pretty: true))
    return document
  }
}

extension RescueExport {
  /// Rows that take one another's place where each value may be there only once get values that no row has, before
  /// they get their own.
  private static func park(
    before: String, after: String, _ script: TextFile, _ literals: SQLLiterals, _ stop: StopSignal
  ) throws(Failure) {
    let older = try Database.open(before)
    var known: [TableKey: UniqueIndexes] = [:]
    _ = try Comparer(before: before, after: after, stop: stop).run { row throws(Failure) in
      guard row.change == .changed else { return }
      let key = TableKey(row.layout.table)
      let sql = try Database.catching(before) { () throws(SQLiteError) -> String? in
        if let unique = known[key] { return try row.parking(unique, literals) }
        let unique = try UniqueIndexes(of: key.text, written: row.layout.shared, older)
        known[key] = unique
        return try row.parking(unique, literals)
      }
      if let sql { try script.write(sql) }
    }
  }
}

/// A new text file for its owner only, written line by line.
private final class TextFile {
  private let path: String
  private let descriptor: Int32
  private var buffer: [UInt8] = []

  init(_ path: String) throws(Failure) {
    self.path = path
    descriptor = try FileSystem.create(path, O_WRONLY | O_EXCL)
  }

  deinit { _ = Glibc.close(descriptor) }

  func write(_ line: String) throws(Failure) {
    buffer += Array(line.utf8)
    buffer.append(UInt8(ascii: "\n"))
    if buffer.count >= 1 << 16 { try flush() }
  }

  private func flush() throws(Failure) {
    try FileSystem.writeAll(buffer, to: descriptor, named: path)
    buffer.removeAll(keepingCapacity: true)
  }

  func close() throws(Failure) {
    try flush()
    guard fsync(descriptor) == 0 else { throw FileSystem.failure("sync", path) }
  }
}
