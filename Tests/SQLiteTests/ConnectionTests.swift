import SQLite
import Storage
import TestSupport
import Testing

@Suite struct ConnectionTests {
  private let folder: TemporaryFolder
  private let connection: Connection

  init() throws {
    folder = try TemporaryFolder()
    connection = try Connection(path: folder("a.db"), mode: .create)
    try connection.execute("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')")
  }

  @Test(
    "Opening makes a file only when asked to", arguments: [Connection.Mode.readOnly, .readWrite])
  func neverCreates(mode: Connection.Mode) throws {
    let error = try #require(throws: SQLiteError.self) {
      try Connection(path: folder("b.db"), mode: mode)
    }
    #expect(error.kind == .cannotOpen)
    #expect(try FileSystem.names(in: folder.path) == ["a.db"])
  }

  @Test("A script is split by SQLite's parser, with the place of every statement") func split()
    throws
  {
    var script = Script(
      """
      -- one; two
      SELECT ';', "a""b;" ; /* ; */

      CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; SELECT 2; END;
      SELECT 3 -- no semicolon at the end
      """)
    var found: [String] = []
    while let statement = try connection.prepareNext(&script) {
      let lines = script.linesBefore(statement.start)
      found.append(
        "\(lines): "
          + script.text(from: statement.start, to: statement.start + 9))
    }
    #expect(found == ["1: SELECT ';", "3: CREATE TR", "4: SELECT 3 "])
  }

  @Test(
    "A script without a statement gives none",
    arguments: ["", " \n", "-- x", "/* x", ";;", "--", "/*"])
  func blank(sql: String) throws {
    var script = Script(sql)
    #expect(try connection.prepareNext(&script) == nil)
  }

  @Test("An error says where in the statement it is") func errorOffset() throws {
    var script = Script("SELECT 1;\n  SELECT nothing_here;")
    _ = try connection.prepareNext(&script)
    let error = try #require(throws: SQLiteError.self) { try connection.prepareNext(&script) }
    #expect(error.message == "no such column: nothing_here")
    #expect(
      script.text(from: script.offset + (error.offset ?? 0), to: script.count) == "nothing_here;")
  }

  @Test("Values come back as they went in") func values() throws {
    let statement = try connection.prepare("SELECT ?1, ?2, ?3, ?4")
    try statement.bind("a\u{0}🚐", at: 1)
    try statement.bind(Int64.min, at: 2)
    try statement.bind(String?.none, at: 3)
    try statement.bind("", at: 4)
    #expect(try statement.step())
    #expect(statement.text(0) == "a\u{0}🚐")
    #expect(statement.integer(1) == .min)
    #expect(statement.type(2) == .null && statement.text(2) == nil)
    #expect(statement.type(3) == .text && statement.text(3) == "")
    #expect(try !statement.step())
  }

  @Test("An interrupted write rolls the whole transaction back") func interrupted() throws {
    try connection.execute("BEGIN; DELETE FROM t")
    connection.interrupt(every: 100) { true }
    let error = try #require(throws: SQLiteError.self) {
      try connection.execute(
        "INSERT INTO t WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i, i FROM c"
      )
    }
    #expect(error.kind == .interrupted)
    connection.interrupt(when: nil)
    #expect(connection.isAutocommit)
    #expect(try connection.integer("SELECT count(*) FROM t") == 2)
  }

  @Test("What the authorizer refuses does not compile, and is told from other errors")
  func authorizer() throws {
    connection.authorize { $0.action != .delete || $0.first != "t" }
    let error = try #require(throws: SQLiteError.self) { try connection.execute("DELETE FROM t") }
    #expect(error.kind == .denied)
    connection.authorize(nil)
    try connection.execute("DELETE FROM t")
  }

  @Test("With foreign keys on, the authorizer hears of the rows that a cascade deletes")
  func cascade() throws {
    try connection.execute(
      """
      PRAGMA foreign_keys = ON;
      CREATE TABLE p (id INTEGER PRIMARY KEY);
      CREATE TABLE c (p_id REFERENCES p (id) ON DELETE CASCADE);
      """)
    var deleted: [String] = []
    connection.authorize {
      if $0.action == .delete { deleted.append($0.first ?? "") }
      return true
    }
    _ = try connection.prepare("DROP TABLE p")
    connection.authorize(nil)
    #expect(deleted.contains("c"))
  }

  @Test("The schema table cannot be written in defensive mode") func defensive() throws {
    connection.setDefensive()
    try connection.execute("PRAGMA writable_schema = ON")
    #expect(throws: SQLiteError.self) { try connection.execute("DELETE FROM sqlite_schema") }
    #expect(try connection.integer("SELECT count(*) FROM t") == 2)
  }

  @Test("Commits of others, and only those, change the data version") func dataVersion() throws {
    let before = try connection.dataVersion()
    try connection.execute("DELETE FROM t WHERE a = 1")
    #expect(try connection.dataVersion() == before)
    try Connection(path: folder("a.db"), mode: .readWrite).execute("DELETE FROM t")
    #expect(try connection.dataVersion() != before)
  }

  @Test("A statement keeps its connection open") func lifetime() throws {
    func statement() throws -> Statement {
      try Connection(path: folder("a.db"), mode: .readOnly).prepare("SELECT count(*) FROM t")
    }
    let kept = try statement()
    #expect(try kept.step())
    #expect(kept.integer(0) == 2)
  }
}
