internal import CSQLite

/// What libsqlite3 answered when a call failed.
public struct SQLiteError: Error, Sendable, Equatable {
  /// The extended result code (<https://sqlite.org/rescode.html>).
  public var code: Int32
  /// SQLite's own words.
  public var message: String
  /// Where in the statement a syntax error is: a byte offset, when SQLite knows it.
  public var offset: Int?

  public init(code: Int32, message: String, offset: Int? = nil) {
    self.code = code
    self.message = message
    self.offset = offset
  }

  /// The code of a write that found no room.
  public static let full = SQLITE_FULL

  /// True when it is about the one row that was to be written: a constraint, or a type that a column refuses.
  public var refusesRow: Bool {
    [SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG].contains(code & 0xff)
  }

  /// True when another row has a value that only one may have. SQLITE_CONSTRAINT_UNIQUE, a macro.
  public var isUnique: Bool { code == SQLITE_CONSTRAINT | 8 << 8 }

  /// True when there is a journal to be played back, and the connection can only read.
  /// SQLITE_READONLY_ROLLBACK, a macro.
  public var isHotJournal: Bool { code == SQLITE_READONLY | 3 << 8 }

  /// What kind of trouble it is; what callers decide by.
  public var kind: Kind {
    // SQLITE_CONSTRAINT_FOREIGNKEY, a macro that Swift does not import.
    if code == SQLITE_CONSTRAINT | 3 << 8 { return .foreignKey }
    // SQLITE_IOERR_SHMSIZE: the shared memory of a WAL database could not grow.
    if code == SQLITE_IOERR | 19 << 8 { return .full }
    return switch code & 0xff {
    case SQLITE_BUSY, SQLITE_LOCKED: .busy
    case SQLITE_INTERRUPT: .interrupted
    case SQLITE_AUTH: .denied
    case SQLITE_FULL: .full
    case SQLITE_IOERR: .inputOutput
    case SQLITE_CORRUPT: .corrupt
    case SQLITE_NOTADB: .notADatabase
    case SQLITE_READONLY: .readOnly
    case SQLITE_CANTOPEN: .cannotOpen
    case SQLITE_PERM: .cannotOpen
    case SQLITE_TOOBIG: .tooBig
    default: .other
    }
  }

  public enum Kind: Sendable {
    case busy, interrupted, denied, full, inputOutput, corrupt, notADatabase, readOnly, cannotOpen
    case tooBig, foreignKey, other
  }
}
