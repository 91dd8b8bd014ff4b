import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("Two states of a database are compared row by row, as their values are stored")
struct ComparisonTests {
  /// Two files made from SQL of their own.
  private struct Pair {
    let folder: TemporaryFolder
    var before: String { folder("before.db") }
    var after: String { folder("after.db") }

    init(_ before: String, _ after: String) throws {
      folder = try TemporaryFolder()
      try SampleDatabase.make(self.before, before, journalMode: "DELETE")
      try SampleDatabase.make(self.after, after, journalMode: "WAL")
    }

    func compare(tables: [String]? = nil) throws -> (result: Comparison, rows: [String]) {
      var rows: [String] = []
      let result = try Comparer(before: before, after: after, tables: tables).run { row in
        rows.append(row.json())
      }
      // Counting alone gives the same counts.
      #expect(try Comparer(before: before, after: after, tables: tables).run() == result)
      return (result, rows)
    }
  }

  private static func counts(_ table: TableDifference?) -> [Int64] {
    guard let table else { return [] }
    return [table.added, table.changed, table.deleted]
  }

  // MARK: Against dictionaries

  private static let kinds = [
    "CREATE TABLE t (k INTEGER PRIMARY KEY, a, b TEXT, c REAL)",
    "CREATE TABLE t (k TEXT PRIMARY KEY, a, b TEXT, c REAL) WITHOUT ROWID",
    "CREATE TABLE t (k PRIMARY KEY, a, b TEXT, c REAL)",
    "CREATE TABLE t (k TEXT COLLATE NOCASE, a, b TEXT, c REAL, l BLOB, PRIMARY KEY (l, k)) WITHOUT ROWID",
    "CREATE TABLE t (k, a, b TEXT, c REAL)",
    "CREATE TABLE t (k INTEGER, a, b TEXT, c REAL, l, PRIMARY KEY (k, l))",
  ]

  /// Values of all types, many of them equal to others but for their type.
  private static let values = [
    "NULL", "0", "1", "1.0", "-0.0", "'1'", "x'31'", "''", "x''", "'a'", "'A'", "0.1", "1e300",
    "9e999", "9223372036854775807", "-9223372036854775808", "CAST(x'c328' AS TEXT)",
    "'a' || char(0) || 'b'", "'🚐'",
  ]

  @Test(
    "Random tables against dictionaries: every key, every type", .timeLimit(.minutes(5)),
    arguments: kinds)
  func random(definition: String) throws {
    var random = SystemRandomNumberGenerator()
    for _ in 0..<12 {
      let hasSecond = definition.contains(" l")
      func row(_ key: Int) -> String {
        let value = { Self.values.randomElement(using: &random) ?? "0" }
        let keys = ["\(key)", "'\(key)'", "\(key).0", "x'0\(key % 10)'", "'k\(key)'", "'K\(key)'"]
        let isWhole = definition.contains("k INTEGER")
        let first = isWhole ? "\(key)" : keys.randomElement(using: &random) ?? "0"
        let second =
          hasSecond ? ", \(["1", "'1'", "x'01'"].randomElement(using: &random) ?? "1")" : ""
        return
          "INSERT OR IGNORE INTO t (k, a, b, c\(hasSecond ? ", l" : "")) VALUES (\(first), \(value()), \(value()), \(value())\(second));"
      }
      let base = (0..<40).map { _ in row(Int.random(in: 0..<30, using: &random)) }
      let edits = (0..<15).map { _ in
        let key = Int.random(in: 0..<30, using: &random)
        return switch Int.random(in: 0..<3, using: &random) {
        case 0: "DELETE FROM t WHERE CAST(k AS TEXT) = '\(key)';"
        case 1:
          "UPDATE t SET a = \(Self.values.randomElement(using: &random) ?? "0") WHERE CAST(k AS TEXT) = '\(key)';"
        default: row(key)
        }
      }
      let start = "\(definition); \(base.joined())"
      let pair = try Pair(start, start + edits.joined())
      let (result, rows) = try pair.compare()
      let expected = try oracle(pair, definition)
      let found = Self.counts(result.tables.first)
      #expect(
        (found.isEmpty ? [0, 0, 0] : found) == expected,
        "\(definition)\n\(base)\n\(edits)\n\(rows)")
      #expect(rows.count == Int(expected.reduce(0, +)))
      // Each of them in turn makes the other one.
      try check(pair)
    }
  }

  /// Counts by dictionaries of texts that SQLite itself makes of keys and values.
  private func oracle(_ pair: Pair, _ definition: String) throws -> [Int64] {
    func all(_ path: String) throws -> [String: String] {
      let key =
        definition.contains("PRIMARY KEY")
        ? definition.contains(" l")
          ? "typeof(k) || hex(k) || ' ' || typeof(l) || hex(l)" : "typeof(k) || quote(k)"
        : "rowid"
      let connection = try Connection(path: path, mode: .readOnly)
      let statement = try connection.prepare("SELECT \(key), k, a, b, c FROM t")
      var rows: [String: String] = [:]
      while try statement.step() {
        rows[statement.text(0) ?? ""] = (Int32(1)...4).map { column in
          switch statement.type(column) {
          case .null: "null"
          case .integer: "integer \(statement.integer(column))"
          // SQL takes 0.0 and -0.0 for the same.
          case .real: "real \(statement.real(column).bitPattern)"
          case .text: "text \(statement.bytes(column))"
          case .blob: "blob \(statement.bytes(column))"
          }
        }.joined(separator: ", ")
      }
      return rows
    }
    let (old, new) = (try all(pair.before), try all(pair.after))
    return [
      Int64(new.keys.count { old[$0] == nil }),
      Int64(new.count { row in old[row.key].map { $0 != row.value } ?? false }),
      Int64(old.keys.count { new[$0] == nil }),
    ]
  }

  /// The SQL of an export, run by the sqlite3 shell, makes the later state of the earlier one.
  private func check(_ pair: Pair) throws {
    let folder = pair.folder("export")
    try FileSystem.removeFolder(folder)
    _ = try RescueExport.write(
      before: pair.before, after: pair.after, to: folder, copy: "later", snapshot: "earlier")
    let sql = TestCoach.text("\(folder)/rescue.sql")
    try SampleDatabase.change(pair.before, sql)
    let (result, rows) = try pair.compare()
    #expect(result.isEqual, "\(rows)\n\(sql)")
    for name in try FileSystem.names(in: folder) {
      var facts = stat()
      #expect(stat("\(folder)/\(name)", &facts) == 0 && facts.st_mode & 0o777 == 0o600, "\(name)")
    }
  }

  // MARK: One rule each

  @Test("Types are told apart, and a key's collation makes no two rows one")
  func exact() throws {
    let pair = try Pair(
      """
      CREATE TABLE v (id INTEGER PRIMARY KEY, x);
      INSERT INTO v VALUES (1, 1), (2, 0.0), (3, 'a'), (4, NULL), (5, x'61');
      CREATE TABLE c (name TEXT PRIMARY KEY COLLATE NOCASE, n) WITHOUT ROWID;
      INSERT INTO c VALUES ('Anna', 1), ('Bert', 2);
      """,
      """
      CREATE TABLE v (id INTEGER PRIMARY KEY, x);
      INSERT INTO v VALUES (1, 1.0), (2, -0.0), (3, x'61'), (4, ''), (5, x'61');
      CREATE TABLE c (name TEXT PRIMARY KEY COLLATE NOCASE, n) WITHOUT ROWID;
      INSERT INTO c VALUES ('anna', 1), ('Bert', 2);
      """)
    let (result, rows) = try pair.compare()
    #expect(Self.counts(result.tables.first { $0.table == "v" }) == [0, 4, 0])
    #expect(Self.counts(result.tables.first { $0.table == "c" }) == [1, 0, 1])
    #expect(
      rows.contains(
        #"{"table":"v","change":"changed","key":{"id":1},"before":{"x":1},"after":{"x":{"real":"1.0"}}}"#
      ), "\(rows)")
  }

  @Test("A table of another shape is compared over the columns that both have")
  func shapes() throws {
    let pair = try Pair(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a, gone, g AS (a + 1), s AS (a * 2) STORED);
      INSERT INTO t (id, a, gone) VALUES (1, 1, NULL), (2, 2, 'x'), (3, 3, NULL);
      CREATE TABLE old (a); INSERT INTO old VALUES (1);
      """,
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, new TEXT DEFAULT 'none', a, s AS (a * 3) STORED);
      INSERT INTO t (id, a, new) VALUES (1, 1, 'none'), (2, 20, 'y'), (4, 4, 'z'), (5, 5, 'none');
      CREATE TABLE made (a); INSERT INTO made VALUES (1), (2);
      """)
    let (result, rows) = try pair.compare()
    let t = try #require(result.tables.first { $0.table == "t" })
    #expect(Self.counts(t) == [2, 1, 1])
    #expect(t.columnsBefore == ["gone"] && t.columnsAfter == ["new"])
    #expect(t.valuesBefore == 1 && t.valuesAfter == 1)
    let old = try #require(result.tables.first { $0.table == "old" })
    #expect(old.only == .before && old.deleted == 1 && old.rowsAfter == 0)
    let made = try #require(result.tables.first { $0.table == "made" })
    #expect(made.only == .after && made.added == 2)
    #expect(rows.count == 4 + 1 + 2, "\(rows)")
  }

  @Test("Without a key that both have, or with NULLs in it, rows are known by their rowid")
  func keys() throws {
    let pair = try Pair(
      """
      CREATE TABLE n (k TEXT PRIMARY KEY, v); INSERT INTO n VALUES (NULL, 1), (NULL, 2), ('a', 3);
      CREATE TABLE p (a PRIMARY KEY, b); INSERT INTO p VALUES (1, 2);
      CREATE TABLE r (rowid TEXT, v); INSERT INTO r VALUES ('x', 1), ('x', 1);
      CREATE TABLE h (rowid, oid, _rowid_); INSERT INTO h VALUES (1, 1, 1), (1, 1, 1);
      """,
      """
      CREATE TABLE n (k TEXT PRIMARY KEY, v); INSERT INTO n VALUES (NULL, 1), (NULL, 9), ('a', 3);
      CREATE TABLE p (a, b PRIMARY KEY); INSERT INTO p VALUES (1, 2), (2, 3);
      CREATE TABLE r (rowid TEXT, v); INSERT INTO r VALUES ('x', 1), ('x', 2);
      CREATE TABLE h (rowid, oid, _rowid_); INSERT INTO h VALUES (1, 1, 1), (1, 1, 2);
      """)
    let (result, _) = try pair.compare()
    func table(_ name: String) -> TableDifference? { result.tables.first { $0.table == name } }
    #expect(Self.counts(table("n")) == [0, 1, 0] && table("n")?.key == ["rowid"])
    #expect(Self.counts(table("p")) == [1, 0, 0] && table("p")?.key == ["rowid"])
    #expect(Self.counts(table("r")) == [0, 1, 0] && table("r")?.key == ["_rowid_"])
    #expect(table("h")?.isByCount == true && table("h")?.key == [])
  }

  @Test(
    "Virtual tables by their rows, indexes by what they index, chock's and SQLite's own not at all")
  func others() throws {
    let schema = """
      CREATE VIRTUAL TABLE words USING fts5 (text);
      CREATE VIRTUAL TABLE boxes USING rtree (id, x0, x1);
      CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, body);
      CREATE VIRTUAL TABLE found USING fts5 (body, content = 'item', content_rowid = 'id');
      CREATE VIRTUAL TABLE silent USING fts5 (body, content = '');
      CREATE TABLE chock_migrations (version PRIMARY KEY);
      INSERT INTO words (rowid, text) VALUES (1, 'one'), (2, 'two');
      INSERT INTO boxes VALUES (1, 1, 2);
      INSERT INTO item VALUES (1, 'a');
      """
    let pair = try Pair(
      schema,
      schema + """
        UPDATE words SET text = 'zwei' WHERE rowid = 2; INSERT INTO words VALUES ('three');
        DELETE FROM boxes; INSERT INTO silent VALUES ('unreadable');
        INSERT INTO item VALUES (2, 'b'); DELETE FROM item WHERE id = 2;
        INSERT INTO found (rowid, body) VALUES (9, 'of no row'); INSERT INTO chock_migrations VALUES (1);
        PRAGMA user_version = 7;
        """)
    let (result, rows) = try pair.compare()
    #expect(result.tables.map(\.table) == ["boxes", "silent", "words"], "\(result)")
    #expect(Self.counts(result.tables.last) == [1, 1, 0])
    #expect(result.tables[1].isByCount == true && result.tables[1].added == 1)
    #expect(rows.count == 3, "\(rows)")
    #expect(result.numbers.map(\.name) == ["sqlite_sequence item", "user_version"])
    #expect(!result.isEqual)
  }

  @Test("A text in UTF-16 is the same text, and is written as such")
  func encodings() throws {
    let rows =
      "CREATE TABLE t (id INTEGER PRIMARY KEY, x); INSERT INTO t VALUES (1, 'é🚐'), (2, 'b');"
    let pair = try Pair(
      rows, "PRAGMA encoding = 'UTF-16le'; \(rows) UPDATE t SET x = 'ü' WHERE id = 2;")
    #expect(try SampleDatabase.value(pair.after, "PRAGMA encoding") == "UTF-16le")
    let (result, lines) = try pair.compare()
    #expect(Self.counts(result.tables.first) == [0, 1, 0])
    #expect(
      lines == [
        #"{"table":"t","change":"changed","key":{"id":2},"before":{"x":"b"},"after":{"x":"ü"}}"#
      ])
  }

  @Test("One table alone; one that neither has is named")
  func one() throws {
    let pair = try Pair(
      "CREATE TABLE a (x); CREATE TABLE b (x);",
      "CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);")
    #expect(try pair.compare(tables: ["A"]).result.tables.map(\.table) == ["a"])
    let failure = #expect(throws: Failure.self) { try pair.compare(tables: ["c"]) }
    #expect(failure?.code == .notFound)
  }

  @Test("The application writes meanwhile, and its log stays where it is")
  func live() throws {
    let workshop = try Workshop()
    let snapshot = try workshop.snapshot()
    let application = try Connection(path: workshop.database, mode: .readWrite, busyTimeout: 0)
    try application.execute("INSERT INTO trips VALUES (4, 'Bend'), (5, 'Reno')")
    var told = 0
    let comparison = try Comparer(before: snapshot.path, after: workshop.database).run {
      _ throws(Failure) in
      told += 1
      // No wait: a reader that kept writers out would make this fail.
      try Database.catching(workshop.database) { () throws(SQLiteError) in
        try application.execute("INSERT INTO trips (name) VALUES ('later')")
      }
    }
    #expect(comparison.tables.map(\.added) == [2])
    #expect(told == 2)
    #expect((FileSystem.facts(workshop.database + "-wal")?.size ?? 0) > 0)
    #expect(FileSystem.facts(snapshot.path + "-wal") == nil)
  }

  @Test("A stop is heeded between two rows")
  func stop() throws {
    let workshop = try Workshop(Workshop.manyPages)
    let snapshot = try workshop.snapshot()
    try workshop.execute("UPDATE readings SET value = zeroblob(800)")
    let stop = StopSignal()
    var rows = 0
    let failure = #expect(throws: Failure.self) {
      try Comparer(before: snapshot.path, after: workshop.database, stop: stop).run { _ in
        rows += 1
        if rows == 3 { stop.request(Failure(.stopped, "Enough.")) }
      }
    }
    #expect(failure?.message == "Enough.")
    #expect(rows < 4000)
  }
}
