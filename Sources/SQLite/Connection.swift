internal import CSQLite

/// One open connection to a database file, used from one thread at a time.
///
/// It never creates a file unless asked to: a wrong path must not turn into an empty database.
public final class Connection {
  public enum Mode: Sendable {
    case readOnly, readWrite, create
    /// A file of ours whose content comes from elsewhere: read as if nobody could change it, so that SQLite looks
    /// for no log beside it. Nothing in it is called or followed that need not be.
    case foreign
    /// The file is only read; what is written stays in a write-ahead log beside it, which is never
    /// moved into the file. The log is the caller's to remove.
    case rehearsal
    /// A private copy of a file that may be damaged anywhere. Its log and its journal are read; what of its schema
    /// cannot be read is left out. Nothing in it is called or followed that need not be.
    case damaged
    /// The same without its log and its journal, and nothing is written.
    case damagedAlone
  }

  let handle: OpaquePointer
  private var progressCheck: (() -> Bool)?
  private var authorizer: ((AuthorizerRequest) -> Bool)?

  /// Opens `path`.
  ///
  /// - Parameters:
  ///   - mode: `.create` makes the file where there is none and is only for files that are ours.
  ///   - busyTimeout: how long a call waits for a lock, in milliseconds.
  public init(path: String, mode: Mode, busyTimeout: Int32 = 5000) throws(SQLiteError) {
    let flags =
      switch mode {
      case .readOnly: SQLITE_OPEN_READONLY
      case .foreign, .damagedAlone: SQLITE_OPEN_READONLY | SQLITE_OPEN_URI
      case .readWrite, .rehearsal, .damaged: SQLITE_OPEN_READWRITE
      case .create: SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE
      }
    if mode == .rehearsal {
      let code = chock_register_rehearsal_vfs()
      guard code == SQLITE_OK else {
        throw SQLiteError(code: code, message: String(cString: sqlite3_errstr(code)))
      }
    }
    var opened: OpaquePointer?
    let code = sqlite3_open_v2(
      mode == .foreign || mode == .damagedAlone ? Self.immutable(path) : path, &opened,
      flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      mode == .rehearsal ? chock_rehearsal_vfs : nil)
    guard let opened else {
      throw SQLiteError(code: SQLITE_NOMEM, message: "out of memory")
    }
    guard code == SQLITE_OK else {
      let error = SQLiteError(code: code, message: String(cString: sqlite3_errmsg(opened)))
      sqlite3_close_v2(opened)
      throw error
    }
    handle = opened
    sqlite3_busy_timeout(opened, busyTimeout)
    let isDamaged = mode == .damaged || mode == .damagedAlone
    if mode == .foreign || isDamaged { try harden() }
    // With DEFENSIVE it only makes SQLite go on where a part of the schema does not parse.
    if isDamaged { _ = chock_db_config_set(opened, SQLITE_DBCONFIG_WRITABLE_SCHEMA, 1) }
  }

  /// The name for a file that nothing changes (<https://sqlite.org/uri.html#uriimmutable>).
  private static func immutable(_ path: String) -> String {
    let escaped = path.utf8.map { byte in
      let isPlain = byte > 0x20 && byte < 0x7F && !"?#%".utf8.contains(byte)
      return isPlain
        ? String(Character(Unicode.Scalar(byte)))
        : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }
    return "file:\(escaped.joined())?immutable=1"
  }

  /// What SQLite advises for a database that somebody else may have made
  /// (<https://sqlite.org/security.html#untrusted_sqlite_database_files>).
  private func harden() throws(SQLiteError) {
    for (option, isOn) in [
      (SQLITE_DBCONFIG_DEFENSIVE, true), (SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
      (SQLITE_DBCONFIG_ENABLE_VIEW, false), (SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, false),
      (SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, false),
      (SQLITE_DBCONFIG_TRUSTED_SCHEMA, !Self.canDistrustSchema),
    ] {
      _ = chock_db_config_set(handle, option, isOn ? 1 : 0)
    }
    for (limit, most) in [
      (SQLITE_LIMIT_LENGTH, 256 << 20), (SQLITE_LIMIT_SQL_LENGTH, 1 << 20),
      (SQLITE_LIMIT_ATTACHED, 0), (SQLITE_LIMIT_EXPR_DEPTH, 200),
      (SQLITE_LIMIT_COMPOUND_SELECT, 50), (SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 5000),
    ] {
      sqlite3_limit(handle, limit, Int32(most))
    }
    try execute("PRAGMA cell_size_check = ON; PRAGMA mmap_size = 0")
  }

  /// Whether this SQLite takes a sound schema for sound when schemas are not trusted: up to 3.40 at least it calls
  /// `json_valid()` in a CHECK unsafe, and the database malformed (docs/decisions/0010-trusted-schema.md).
  static let canDistrustSchema: Bool = {
    guard let connection = try? Connection(path: ":memory:", mode: .create) else { return false }
    _ = chock_db_config_set(connection.handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0)
    return
      (try? connection.execute(
        "CREATE TABLE x (a CHECK (json_valid(a)), b AS (json_extract(a, '$.b')))")) != nil
  }()

  deinit {
    sqlite3_close_v2(handle)
  }

  /// The version of the library in use, such as `3.40.1`.
  public static var sqliteVersion: String { String(cString: sqlite3_libversion()) }

  // MARK: Running SQL

  /// Runs statements that give no rows that anybody needs.
  public func execute(_ sql: String) throws(SQLiteError) {
    let code = sqlite3_exec(handle, sql, nil, nil, nil)
    guard code == SQLITE_OK else { throw lastError(code) }
  }

  public func prepare(_ sql: String) throws(SQLiteError) -> Statement {
    var script = Script(sql)
    guard let statement = try prepareNext(&script) else {
      throw SQLiteError(code: SQLITE_MISUSE, message: "no statement in: \(sql)")
    }
    return statement
  }

  /// The next statement of a script, found by SQLite's own parser (never by looking for `;`, which
  /// trigger bodies and strings contain). Nil at the end. On an error the script stands at the
  /// statement that did not parse.
  public func prepareNext(_ script: inout Script) throws(SQLiteError) -> Statement? {
    while true {
      script.skipBlank()
      let start = script.offset
      guard start < script.count else { return nil }
      var prepared: OpaquePointer?
      var consumed = 0
      let code = script.bytes.withUnsafeBufferPointer { buffer -> Int32 in
        buffer.withMemoryRebound(to: CChar.self) { text -> Int32 in
          guard let base = text.baseAddress else { return SQLITE_OK }
          var tail: UnsafePointer<CChar>?
          let code = sqlite3_prepare_v3(
            handle, base + start, Int32(text.count - start), 0, &prepared, &tail)
          if let tail { consumed = tail - (base + start) }
          return code
        }
      }
      guard code == SQLITE_OK else { throw lastError(code) }
      script.offset = start + max(consumed, 1)
      if let prepared {
        return Statement(prepared, on: self, start: start, end: script.offset)
      }
      // Only a comment or an empty statement: go on behind it.
      if consumed == 0 { return nil }
    }
  }

  /// The first column of the first row, as an integer.
  public func integer(_ sql: String) throws(SQLiteError) -> Int64? {
    let statement = try prepare(sql)
    return try statement.step() ? statement.integer(0) : nil
  }

  /// The first column of the first row, as text.
  public func text(_ sql: String) throws(SQLiteError) -> String? {
    let statement = try prepare(sql)
    return try statement.step() ? statement.text(0) : nil
  }

  // MARK: State

  /// False while a transaction is open.
  public var isAutocommit: Bool { sqlite3_get_autocommit(handle) != 0 }

  /// How many rows this connection has written and deleted so far, also by foreign key actions
  /// (<https://sqlite.org/c3ref/total_changes.html>).
  public var totalChanges: Int64 { sqlite3_total_changes64(handle) }

  /// A number that changes when *another* connection commits to the database
  /// (<https://sqlite.org/pragma.html#pragma_data_version>).
  public func dataVersion() throws(SQLiteError) -> Int64 {
    try integer("PRAGMA data_version") ?? 0
  }

  /// Refuses what damages a database silently: writes to the schema table and to shadow tables.
  ///
  /// `trusted_schema` stays on: SQLite 3.40 takes `json_valid()` in a CHECK for unsafe without it, and
  /// then calls a sound database malformed (docs/decisions/0010-trusted-schema.md).
  public func setDefensive() {
    _ = chock_db_config_set(handle, SQLITE_DBCONFIG_DEFENSIVE, 1)
  }

  /// Whether triggers fire on this connection.
  public func setTriggers(enabled: Bool) {
    _ = chock_db_config_set(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, enabled ? 1 : 0)
  }

  /// Leaves the write-ahead log as it is when the connection closes, even when it is the last one.
  public func keepLogOnClose() {
    _ = chock_db_config_set(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
  }

  /// The longest text, blob or row in bytes, and the longest statement
  /// (<https://sqlite.org/limits.html>); nil: SQLite's own limits.
  public func limit(bytes: Int32?) {
    sqlite3_limit(handle, SQLITE_LIMIT_LENGTH, bytes ?? Int32.max)
    sqlite3_limit(handle, SQLITE_LIMIT_SQL_LENGTH, bytes ?? Int32.max)
  }

  /// The pages that the open write transaction has changed; nil where that cannot be known, without a
  /// write-ahead log. No statement may be in the middle of its rows.
  public func changedPages() throws(SQLiteError) -> Set<UInt32>? {
    guard try text("PRAGMA journal_mode") == "wal" else { return nil }
    var pages: Set<UInt32> = []
    let code = withUnsafeMutablePointer(to: &pages) { pages in
      chock_changed_pages(
        handle,
        { context, page in
          context?.assumingMemoryBound(to: Set<UInt32>.self).pointee.insert(page)
        }, pages)
    }
    switch code {
    case SQLITE_OK: return pages
    case SQLITE_NOTFOUND: return nil
    default: throw lastError(code)
    }
  }

  /// The most bytes that temporary files of `.rehearsal` connections of this thread took at one time
  /// since this was last asked.
  public static func takeTemporaryPeak() -> Int64 { chock_take_temporary_peak() }

  /// True when the file, its folder or its file system cannot be written.
  public var isReadOnly: Bool { sqlite3_db_readonly(handle, "main") == 1 }

  /// The path of the file of the main database, as SQLite resolved it.
  public var fileName: String {
    sqlite3_db_filename(handle, "main").map { String(cString: $0) } ?? ""
  }

  /// Bytes of the file of the main database as they are, without its log and its journal; nil beyond its end.
  ///
  /// Through SQLite's own descriptor: to close another one of the same file would give up the locks of all
  /// connections of this process (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
  public func fileBytes(at offset: Int64, count: Int) -> [UInt8]? {
    var file: UnsafeMutablePointer<sqlite3_file>?
    let code = withUnsafeMutablePointer(to: &file) {
      sqlite3_file_control(handle, "main", SQLITE_FCNTL_FILE_POINTER, $0)
    }
    guard code == SQLITE_OK, let file, let read = file.pointee.pMethods?.pointee.xRead else {
      return nil
    }
    var bytes = [UInt8](repeating: 0, count: count)
    return read(file, &bytes, Int32(count), offset) == SQLITE_OK ? bytes : nil
  }

  func lastError(_ code: Int32) -> SQLiteError {
    let offset = sqlite3_error_offset(handle)
    return SQLiteError(
      code: sqlite3_extended_errcode(handle) == SQLITE_OK
        ? code : sqlite3_extended_errcode(handle),
      message: String(cString: sqlite3_errmsg(handle)), offset: offset >= 0 ? Int(offset) : nil)
  }

  // MARK: Callbacks

  /// Calls `check` about every `operations` virtual-machine steps; when it answers true, the
  /// running statement ends with `.interrupted`. Nil disarms it, which must be done before COMMIT:
  /// an interrupted COMMIT leaves the transaction open.
  public func interrupt(every operations: Int32 = 20_000, when check: (() -> Bool)?) {
    progressCheck = check
    guard check != nil else {
      sqlite3_progress_handler(handle, 0, nil, nil)
      return
    }
    sqlite3_progress_handler(
      handle, operations,
      { context in
        guard let context else { return 0 }
        let connection = Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue()
        return connection.progressCheck?() == true ? 1 : 0
      }, Unmanaged.passUnretained(self).toOpaque())
  }

  /// Asks `allow` about every action while statements are compiled
  /// (<https://sqlite.org/c3ref/set_authorizer.html>); false makes the statement fail with `.denied`.
  public func authorize(_ allow: ((AuthorizerRequest) -> Bool)?) {
    authorizer = allow
    guard allow != nil else {
      sqlite3_set_authorizer(handle, nil, nil)
      return
    }
    sqlite3_set_authorizer(
      handle,
      { context, action, first, second, database, trigger in
        guard let context else { return SQLITE_OK }
        let connection = Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue()
        let request = AuthorizerRequest(
          action: AuthorizerRequest.Action(code: action),
          first: first.map { String(cString: $0) }, second: second.map { String(cString: $0) },
          database: database.map { String(cString: $0) },
          trigger: trigger.map { String(cString: $0) })
        return connection.authorizer?(request) == false ? SQLITE_DENY : SQLITE_OK
      }, Unmanaged.passUnretained(self).toOpaque())
  }
}

/// What a statement wants to do, as SQLite's authorizer reports it.
public struct AuthorizerRequest: Sendable {
  public enum Action: Sendable, Equatable {
    case insert, update, delete, read, select
    case createTable, dropTable, alterTable, createIndex, dropIndex
    case createTrigger, dropTrigger, createView, dropView, createVirtualTable, dropVirtualTable
    case attach, detach, pragma, transaction, savepoint, function, reindex, analyze, other

    init(code: Int32) {
      self =
        switch code {
        case SQLITE_INSERT: .insert
        case SQLITE_UPDATE: .update
        case SQLITE_DELETE: .delete
        case SQLITE_READ: .read
        case SQLITE_SELECT: .select
        case SQLITE_CREATE_TABLE, SQLITE_CREATE_TEMP_TABLE: .createTable
        case SQLITE_DROP_TABLE, SQLITE_DROP_TEMP_TABLE: .dropTable
        case SQLITE_ALTER_TABLE: .alterTable
        case SQLITE_CREATE_INDEX, SQLITE_CREATE_TEMP_INDEX: .createIndex
        case SQLITE_DROP_INDEX, SQLITE_DROP_TEMP_INDEX: .dropIndex
        case SQLITE_CREATE_TRIGGER, SQLITE_CREATE_TEMP_TRIGGER: .createTrigger
        case SQLITE_DROP_TRIGGER, SQLITE_DROP_TEMP_TRIGGER: .dropTrigger
        case SQLITE_CREATE_VIEW, SQLITE_CREATE_TEMP_VIEW: .createView
        case SQLITE_DROP_VIEW, SQLITE_DROP_TEMP_VIEW: .dropView
        case SQLITE_CREATE_VTABLE: .createVirtualTable
        case SQLITE_DROP_VTABLE: .dropVirtualTable
        case SQLITE_ATTACH: .attach
        case SQLITE_DETACH: .detach
        case SQLITE_PRAGMA: .pragma
        case SQLITE_TRANSACTION: .transaction
        case SQLITE_SAVEPOINT: .savepoint
        case SQLITE_FUNCTION: .function
        case SQLITE_REINDEX: .reindex
        case SQLITE_ANALYZE: .analyze
        default: .other
        }
    }
  }

  public var action: Action
  /// The table, pragma, file or operation; for ALTER TABLE the database.
  public var first: String?
  /// The column, the pragma's argument, the function; for ALTER TABLE the table.
  public var second: String?
  public var database: String?
  /// The trigger or view through which the access happens, when it is not direct.
  public var trigger: String?
}
