import SQLite
import Storage

/// A small coach database that a test can make, look into and compare.
public enum SampleDatabase {
  /// Makes a WAL database from SQL.
  public static func make(_ path: String, _ sql: String, journalMode: String = "WAL") throws {
    let connection = try Connection(path: path, mode: .create)
    try connection.execute("PRAGMA journal_mode = \(journalMode)")
    try connection.execute(sql)
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
