import Crypto
public import Migrations
public import SQLite

/// What a database holds, as one digest per table: equal exactly when schema, number of rows and
/// every value with its type are equal. The order of rows and the layout of the file do not count.
///
/// The digest of a table is the sum of the 128-bit hashes of its rows. It finds what went wrong by
/// accident; against an attacker a snapshot has the SHA-256 of its file.
public struct Fingerprint: Codable, Sendable, Equatable {
  public var schema = "chock.FINGERPRINT/1"
  /// How `total` begins: digests that were computed in another way are not compared.
  static let algorithm = "fp2:"
  /// One digest over all tables but chock's own ledger, and the application's numbers in the header:
  /// `user_version` and `application_id`.
  public var total: String
  public var tables: [Table]

  public struct Table: Codable, Sendable, Equatable {
    public var name: String
    public var rows: Int64
    /// Of the content.
    public var digest: String
    /// Of the CREATE statements of the table, its indexes and its triggers.
    public var schemaDigest: String

    /// Reads every row of one table, a virtual one too.
    public init(_ name: String, _ connection: Connection) throws(SQLiteError) {
      self.name = name
      (rows, digest) = try Fingerprint.content(name, connection)
      schemaDigest = try Fingerprint.schemaDigest(name, connection)
    }
  }

  /// Reads every row of every table.
  ///
  /// - Throws: the stop that was requested, or what is wrong with the file.
  public init(_ connection: Connection, stop: StopSignal = StopSignal()) throws(Failure) {
    connection.interrupt { stop.requested != nil }
    defer { connection.interrupt(when: nil) }
    do throws(SQLiteError) {
      var found: [Table] = []
      let list = try connection.prepare(
        """
        SELECT name FROM pragma_table_list
        WHERE schema = 'main' AND type IN ('table', 'shadow')
          AND (name NOT LIKE 'sqlite\\_%' ESCAPE '\\' OR name = 'sqlite_sequence')
        ORDER BY name
        """)
      while try list.step() {
        guard let name = list.text(0) else { continue }
        found.append(try Table(name, connection))
      }
      tables = found
      let others = [
        try Self.schemaDigest(nil, connection),
        "\(try connection.integer("PRAGMA user_version") ?? 0)",
        "\(try connection.integer("PRAGMA application_id") ?? 0)",
      ]
      total =
        Self.algorithm
        + Self.hex(
          SHA256.hash(
            data: Array(
              (tables.filter { $0.name != LedgerTable.name }
                .map { "\($0.name)\u{0}\($0.rows)\u{0}\($0.digest)\u{0}\($0.schemaDigest)" }
                + others)
                .joined(separator: "\n").utf8)))
    } catch {
      if let requested = stop.requested { throw requested }
      throw Database.failure(error, connection.fileName)
    }
  }

  /// The columns that a table keeps; none when there is no such table.
  static func columns(
    of table: String, _ connection: Connection
  ) throws(SQLiteError) -> [String] {
    // Not 1, a hidden column of a virtual table, nor 2, a virtual generated one: it follows from the others,
    // and computing it may fail.
    let columns = try connection.prepare(
      "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden NOT IN (1, 2) ORDER BY cid")
    try columns.bind(table, at: 1)
    var names: [String] = []
    while try columns.step() { names.append(columns.text(0) ?? "") }
    return names
  }

  /// How many rows there are, and their digest.
  ///
  /// - Parameter columns: what is looked at; nil: all that the table keeps.
  static func content(
    _ table: String, _ connection: Connection, columns: [String]? = nil
  ) throws(SQLiteError) -> (Int64, String) {
    let names =
      if let columns { columns } else { try Self.columns(of: table, connection) }
    let list = names.map(Database.quoted).joined(separator: ", ")
    let content = try connection.prepare("SELECT \(list) FROM main.\(Database.quoted(table))")
      .hashRows()
    let words = [content.high, content.low]
    return (
      content.rows, hex(words.flatMap { word in withUnsafeBytes(of: word.bigEndian, Array.init) })
    )
  }

  /// The digest of the CREATE statements that belong to a table; nil: of those that belong to none
  /// that has rows of its own (views, virtual tables).
  static func schemaDigest(
    _ table: String?, _ connection: Connection
  ) throws(SQLiteError) -> String {
    let statement =
      if let table {
        try {
          () throws(SQLiteError) in
          let statement = try connection.prepare(
            """
            SELECT type, name, sql FROM sqlite_schema
            WHERE tbl_name = ?1 COLLATE NOCASE AND sql IS NOT NULL ORDER BY type, name
            """)
          try statement.bind(table, at: 1)
          return statement
        }()
      } else {
        try connection.prepare(
          """
          SELECT type, name, sql FROM sqlite_schema
          WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL%'
            OR tbl_name COLLATE NOCASE IN (SELECT name FROM sqlite_schema WHERE type = 'view')
          ORDER BY type, name
          """)
      }
    return try digest(statement)
  }

  /// The digest of all CREATE statements of a database, but for chock's ledger: equal exactly when
  /// the schemas are.
  static func schema(_ connection: Connection) throws(SQLiteError) -> String {
    try digest(
      try connection.prepare(
        """
        SELECT type, name, sql FROM sqlite_schema
        WHERE sql IS NOT NULL AND tbl_name <> '\(LedgerTable.name)' COLLATE NOCASE
        ORDER BY type, name
        """))
  }

  private static func digest(_ statement: Statement) throws(SQLiteError) -> String {
    var hash = SHA256()
    while try statement.step() {
      for column: Int32 in 0..<3 {
        var text = statement.text(column) ?? ""
        text.append("\u{0}")
        text.withUTF8 { hash.update(bufferPointer: UnsafeRawBufferPointer($0)) }
      }
    }
    return hex(hash.finalize())
  }

  static func hex(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
  }
}

extension FileSystem {
  /// The SHA-256 of a file in lower-case hex. Never of a database that others may have open:
  /// see `forEachChunk`.
  ///
  /// - Parameter check: called again and again; what it throws ends the work.
  static func sha256(of path: String, checking check: () throws(Failure) -> Void) throws(Failure)
    -> String
  {
    var hash = SHA256()
    try forEachChunk(of: path) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
      try check()
      hash.update(bufferPointer: chunk)
    }
    return Fingerprint.hex(hash.finalize())
  }
}
