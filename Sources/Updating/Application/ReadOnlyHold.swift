import Migrations
import SQLite
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Holds the database's write lock: whoever has it open reads, and a write gets SQLITE_BUSY. Nothing is written.
actor ReadOnlyHold {
  private var connection: Connection?

  var isHeld: Bool { connection != nil }

  /// - Throws: why it cannot be held: the database does not open, or a program keeps a transaction open.
  func take(_ path: String) throws(Failure) {
    guard connection == nil else { return }
    let connection = try Database.openForWriting(path, busyTimeout: 1000)
    try Database.catching(path) { () throws(SQLiteError) in
      try connection.execute("BEGIN IMMEDIATE")
    }
    self.connection = connection
  }

  /// The end of the connection is the end of its transaction.
  func release() { connection = nil }
}

/// `recovery-mode.json` in the state folder: tells the application that it can only read, since a person is
/// needed. It is there as long as chock holds the write lock.
struct RecoveryNotice {
  static let fileName = "recovery-mode.json"
  /// Names the file to start commands.
  static let variable = "CHOCK_RECOVERY_MODE"

  let path: String

  init(stateDirectory: String) {
    path = "\(stateDirectory)/\(Self.fileName)"
  }

  private struct Document: Encodable {
    var schema = "chock.RECOVERY_MODE/1"
    var since: String
    var readOnly = true
    var reason: String
    var code: String
  }

  var environment: [String: String] {
    FileSystem.facts(path) == nil ? [:] : [Self.variable: path]
  }

  func begin(_ reason: Failure) throws(Failure) {
    try FileSystem.replace(
      path,
      with: try JSON.encode(
        Document(since: Timestamp.now(), reason: reason.message, code: reason.code.rawValue),
        pretty: true))
    // The application may run as another user.
    chmod(path, 0o644)
  }

  func end() throws(Failure) { try FileSystem.remove(path) }
}
