import Migrations
import SQLite
import Storage

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
