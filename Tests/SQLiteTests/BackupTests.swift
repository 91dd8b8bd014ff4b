import SQLite
import TestSupport
import Testing

@Suite struct BackupTests {
  private let folder: TemporaryFolder
  private let source: Connection
  private let copy: Connection

  init() throws {
    folder = try TemporaryFolder()
    source = try Connection(path: folder("a.db"), mode: .create)
    try source.execute(
      """
      PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE t (a);
      WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 100)
      INSERT INTO t SELECT zeroblob(900) FROM c;
      """)
    copy = try Connection(path: folder("b.db"), mode: .create)
  }

  @Test("A copy is made in steps, and says how far it is") func steps() throws {
    let backup = try Backup(from: source, to: copy)
    #expect(try backup.step(pages: 10) == .more)
    #expect(backup.total > 100)
    #expect(backup.remaining == backup.total - 10)
    #expect(try backup.step(pages: -1) == .done)
    try backup.finish()
    try backup.finish()
    #expect(try copy.integer("SELECT count(*) FROM t") == 100)
  }

  @Test("A copy into a database is no commit of another connection to it") func dataVersion() throws
  {
    try copy.execute("PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; CREATE TABLE mine (a)")
    let before = try copy.dataVersion()
    let backup = try Backup(from: source, to: copy)
    #expect(try backup.step(pages: -1) == .done)
    try backup.finish()
    #expect(try copy.dataVersion() == before)
    #expect(try copy.integer("SELECT count(*) FROM t") == 100)
    try Connection(path: folder("b.db"), mode: .readWrite).execute("DELETE FROM t")
    #expect(try copy.dataVersion() != before)
  }

  @Test("A copy that is given up leaves the destination as it was") func givenUp() throws {
    try copy.execute("PRAGMA page_size = 1024; CREATE TABLE mine (a)")
    do {
      let backup = try Backup(from: source, to: copy)
      _ = try backup.step(pages: 50)
    }
    #expect(try copy.integer("SELECT count(*) FROM mine") == 0)
    #expect(throws: SQLiteError.self) { try copy.integer("SELECT count(*) FROM t") }
  }

  @Test("A destination that another connection writes to is busy, not broken") func busy() throws {
    let other = try Connection(path: folder("b.db"), mode: .readWrite)
    try other.execute("PRAGMA journal_mode = WAL; CREATE TABLE x (a); BEGIN IMMEDIATE")
    let late = try Connection(path: folder("b.db"), mode: .readWrite, busyTimeout: 10)
    let backup = try Backup(from: source, to: late)
    #expect(try backup.step(pages: 1) == .busy)
  }
}
