import SQLite
import Storage

/// A small coach database that a test can make, look into and compare.
public enum SampleDatabase {
  /// Makes a WAL database from SQL.
  public static func make(_ path: String, _ sql: String, journalMode: String = "WAL") throws {
    let connection = try Connection(path: path, mode: .create)
    // Most of the time of making one would be its syncs.
    try connection.execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = \(journalMode)")
    try connection.execute(sql)
  }

  /// Runs SQL on a database that exists, as its application would.
  public static func change(_ path: String, _ sql: String) throws {
    try Connection(path: path, mode: .readWrite).execute(sql)
  }

  /// The digest over everything but chock's ledger.
  public static func fingerprint(_ path: String) throws -> String {
    try Fingerprint(try Database.open(path)).total
  }

  /// The first column of the first row as text.
  public static func value(_ path: String, _ sql: String) throws -> String? {
    try Database.open(path).text(sql)
  }
}
