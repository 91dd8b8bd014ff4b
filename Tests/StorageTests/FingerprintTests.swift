import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct FingerprintTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private func fingerprint(_ name: String, _ sql: String, journalMode: String = "DELETE") throws
    -> Fingerprint
  {
    try SampleDatabase.make(folder(name), sql, journalMode: journalMode)
    return try Fingerprint(try Database.open(folder(name)))
  }

  @Test(
    "Two values that differ, in their type alone too, have different digests",
    arguments: [
      ("1", "'1'"), ("1", "1.0"), ("NULL", "''"), ("'abc'", "x'616263'"), ("''", "x''"),
      ("NULL", "0"), ("9007199254740993", "9007199254740992"),
      ("9223372036854775807", "9223372036854775806"), ("9007199254740993", "9007199254740993.0"),
      ("0.1", "0.1 + 1e-17 + 1e-17"), ("'a'", "'a '"), ("'ä'", "'a' || char(776)"),
      ("'a'", "'a' || char(0)"), ("x'00'", "x'0000'"), ("1e400", "-1e400"),
    ])
  func values(left: String, right: String) throws {
    let a = try fingerprint("a", "CREATE TABLE t (v); INSERT INTO t VALUES (\(left))")
    let b = try fingerprint("b", "CREATE TABLE t (v); INSERT INTO t VALUES (\(right))")
    #expect(a.tables[0].schemaDigest == b.tables[0].schemaDigest)
    #expect((a.total == b.total) == (try isSame(left, right)))
  }

  /// Whether SQLite itself stores the two as the same value of the same type.
  private func isSame(_ left: String, _ right: String) throws -> Bool {
    let connection = try Connection(path: ":memory:", mode: .create)
    return try connection.integer(
      "SELECT typeof(\(left)) = typeof(\(right)) AND \(left) IS \(right)") == 1
  }

  @Test(
    "What belongs to a table counts however its name was spelled, and so do the numbers in the header",
    arguments: [
      "CREATE TRIGGER r AFTER INSERT ON ITEMS BEGIN SELECT 1; END", "CREATE INDEX i ON Items (v)",
      "CREATE TRIGGER r INSTEAD OF INSERT ON ALL_ITEMS BEGIN SELECT 1; END",
      "PRAGMA user_version = 7", "PRAGMA application_id = 7",
    ])
  func everything(change: String) throws {
    let sql = "CREATE TABLE items (v); CREATE VIEW all_items AS SELECT v FROM items;"
    let a = try fingerprint("a", sql)
    let b = try fingerprint("b", "\(sql) \(change);")
    #expect(a.total != b.total)
  }

  @Test("A virtual generated column that cannot be computed keeps nobody from anything")
  func brokenColumn() throws {
    let workshop = try Workshop(
      "CREATE TABLE notes (a TEXT); INSERT INTO notes VALUES ('not json'); ALTER TABLE notes ADD COLUMN b AS (json_extract(a, '$.x'))"
    )
    let id = try workshop.snapshot().document.id
    try workshop.update("CREATE TABLE other (a TEXT) STRICT;")
    #expect(try workshop.restore(id).rescueCopy != nil)
    #expect(try workshop.value("SELECT a FROM notes") == "not json")
  }

  @Test("What moves between columns or rows changes the digest") func borders() throws {
    let table = "CREATE TABLE t (a, b); INSERT INTO t VALUES "
    var totals: Set<String> = []
    for (index, rows) in [
      "('ab', 'c')", "('a', 'bc')", "('a', 'b'), ('c', NULL)", "('a', NULL), ('c', 'b')",
      "('abc', NULL)", "(NULL, 'abc')", "('ab', 'c'), ('ab', 'c')",
      "('ab', 'c'), ('ab', 'c'), ('ab', 'c')",
    ].enumerated() {
      totals.insert(try fingerprint("\(index)", table + rows).total)
    }
    #expect(totals.count == 8)
  }

  @Test("Negative zero and infinities survive a snapshot and a restore") func specialNumbers()
    throws
  {
    let workshop = try Workshop(
      "CREATE TABLE t (v, r REAL); INSERT INTO t VALUES (-0.0, -0.0), (1e400, -1e400), (5e-324, 1.5)"
    )
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    try workshop.execute("DELETE FROM t")
    _ = try workshop.restore(id)
    #expect(try workshop.fingerprint() == before)
  }

  @Test("The order of rows, the layout of the file and the journal mode do not count")
  func layout() throws {
    let table = "CREATE TABLE t (a, b); CREATE TABLE u (x TEXT PRIMARY KEY) WITHOUT ROWID;"
    let a = try fingerprint("a", table + "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'z')")
    let b = try fingerprint(
      "b",
      table
        + "INSERT INTO t VALUES (3, 'z'), (9, 9), (1, 'x'), (2, 'y'); DELETE FROM t WHERE a = 9",
      journalMode: "WAL")
    #expect(a == b)
    try Connection(path: folder("b"), mode: .readWrite).execute(
      "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM")
    #expect(try Fingerprint(try Database.open(folder("b"))) == a)
  }

  @Test("Rows in a WITHOUT ROWID table, and generated columns, count") func kindsOfTables() throws {
    let table = "CREATE TABLE t (k TEXT PRIMARY KEY, v) WITHOUT ROWID; INSERT INTO t VALUES "
    #expect(try fingerprint("a", table + "('a', 1)") != fingerprint("b", table + "('a', 2)"))
    let generated = "(v INT, w INT GENERATED ALWAYS AS"
    let c = try fingerprint(
      "c", "CREATE TABLE t \(generated) (v + 1) STORED); INSERT INTO t VALUES (1)")
    let d = try fingerprint(
      "d", "CREATE TABLE t \(generated) (v + 2) STORED); INSERT INTO t VALUES (1)")
    #expect(c.tables[0].digest != d.tables[0].digest)
    let e = try fingerprint(
      "e", "CREATE TABLE t \(generated) (v + 1) VIRTUAL); INSERT INTO t VALUES (1)")
    let f = try fingerprint(
      "f", "CREATE TABLE t \(generated) (v + 2) VIRTUAL); INSERT INTO t VALUES (1)")
    #expect(e.total != f.total)
  }

  @Test("What a full-text table holds counts, through its shadow tables") func fullText() throws {
    let table = "CREATE VIRTUAL TABLE notes USING fts5(body); INSERT INTO notes VALUES "
    let a = try fingerprint("a", table + "('tire pressure')")
    #expect(a.tables.map(\.name).contains("notes_content"))
    #expect(try fingerprint("b", table + "('tire pressure')").total == a.total)
    #expect(try fingerprint("c", table + "('oil pressure')").total != a.total)
    #expect(
      try fingerprint(
        "d", table.replacing("body", with: "body, tokenize='porter'") + "('tire pressure')"
      )
      .total != a.total)
  }

  @Test("Names with quotes, spaces and emoji are names like others") func names() throws {
    let names = ["my \"table\"", "it's", "[x]", "🚐", "a;b", "select", "%_\\"]
    let sql = names.map {
      let name = "\"" + $0.replacing("\"", with: "\"\"") + "\""
      return "CREATE TABLE \(name) (\(name) TEXT); INSERT INTO \(name) VALUES ('x');"
    }
    let a = try fingerprint("a", sql.joined())
    #expect(Set(a.tables.map(\.name)) == Set(names))
    #expect(a.tables.allSatisfy { $0.rows == 1 })
  }

  @Test(
    "A changed index, trigger, view or column changes the total",
    arguments: [
      "CREATE INDEX i ON t (a);", "CREATE UNIQUE INDEX i ON t (a);",
      "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;",
      "CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 2; END;",
      "CREATE VIEW v AS SELECT a FROM t;", "CREATE VIEW v AS SELECT b FROM t;",
      "CREATE VIEW v AS SELECT a FROM t; CREATE TRIGGER g INSTEAD OF INSERT ON v BEGIN SELECT 1; END;",
      "ALTER TABLE t ADD COLUMN c;", "ALTER TABLE t RENAME TO u;", "CREATE TABLE u (x);",
    ])
  func schema(sql: String) throws {
    let table = "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 2);"
    let a = try fingerprint("a", table)
    let b = try fingerprint("b", table + sql)
    #expect(a.total != b.total)
    if sql.contains("INDEX") || sql.contains("TRIGGER g AFTER") {
      #expect(a.tables[0].schemaDigest != b.tables[0].schemaDigest)
      #expect(a.tables[0].digest == b.tables[0].digest)
    }
  }

  @Test("The next AUTOINCREMENT number counts, ANALYZE's statistics and the ledger do not")
  func ownTables() throws {
    let table = "CREATE TABLE t (a INTEGER PRIMARY KEY AUTOINCREMENT); CREATE INDEX i ON t (a);"
    let a = try fingerprint("a", table + "INSERT INTO t VALUES (1)")
    let b = try fingerprint("b", table + "INSERT INTO t VALUES (1), (2); DELETE FROM t WHERE a = 2")
    #expect(a.total != b.total)
    try Connection(path: folder("a"), mode: .readWrite).execute(
      "ANALYZE; CREATE TABLE chock_migrations (version TEXT)")
    #expect(try Fingerprint(try Database.open(folder("a"))).total == a.total)
  }

  @Test("A fingerprint that is stopped throws the stop") func stopped() throws {
    let workshop = try Workshop(
      """
      CREATE TABLE t (a);
      WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20000)
      INSERT INTO t SELECT i FROM c;
      """)
    let stop = StopSignal()
    stop.request(Failure(.stopped, "Enough."))
    #expect(throws: Failure(.stopped, "Enough.")) {
      try Fingerprint(try Database.open(workshop.database), stop: stop)
    }
  }
}
