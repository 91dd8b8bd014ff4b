internal import CSQLite

/// A copy from one connection to another, made in steps (<https://sqlite.org/backup.html>).
public final class Backup {
  private let handle: OpaquePointer
  private let source: Connection
  private let destination: Connection
  private var isFinished = false

  public init(from source: Connection, to destination: Connection) throws(SQLiteError) {
    guard let handle = sqlite3_backup_init(destination.handle, "main", source.handle, "main") else {
      throw destination.lastError(SQLITE_ERROR)
    }
    self.handle = handle
    self.source = source
    self.destination = destination
  }

  deinit {
    if !isFinished { sqlite3_backup_finish(handle) }
  }

  public enum Step: Sendable { case more, done, busy }

  /// Copies up to `pages` pages; -1 for all that are left.
  public func step(pages: Int32) throws(SQLiteError) -> Step {
    let code = sqlite3_backup_step(handle, pages)
    switch code {
    case SQLITE_OK: return .more
    case SQLITE_DONE: return .done
    case SQLITE_BUSY, SQLITE_LOCKED: return .busy
    default: throw SQLiteError(code: code, message: String(cString: sqlite3_errstr(code)))
    }
  }

  /// Ends the copy. Before `.done` it leaves the destination as it was.
  public func finish() throws(SQLiteError) {
    guard !isFinished else { return }
    isFinished = true
    let code = sqlite3_backup_finish(handle)
    guard code == SQLITE_OK else {
      throw SQLiteError(code: code, message: String(cString: sqlite3_errstr(code)))
    }
  }

  /// Pages of the source, and how many of them are still to be copied.
  public var total: Int64 { Int64(sqlite3_backup_pagecount(handle)) }
  public var remaining: Int64 { Int64(sqlite3_backup_remaining(handle)) }
}
