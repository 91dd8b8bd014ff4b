import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("Of a database whose schema is lost every row is kept", .timeLimit(.minutes(15)))
struct LostSchemaTests {
  private static let files = [
    "0001_items.sql": """
    CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    CREATE TABLE old (id INTEGER PRIMARY KEY, name TEXT, weight REAL);
    CREATE TABLE pair (a TEXT PRIMARY KEY, b INTEGER) WITHOUT ROWID;
    CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, said TEXT);
    CREATE INDEX item_body ON item (body);
    """,
    "0002_more.sql": """
    -- Description: More
    ALTER TABLE item ADD COLUMN size INTEGER;
    CREATE TABLE new_old (id INTEGER PRIMARY KEY, name TEXT NOT NULL, weight REAL, at TEXT);
    INSERT INTO new_old SELECT id, ifnull(name, ''), weight, 'then' FROM old;
    DROP TABLE old;
    ALTER TABLE new_old RENAME TO old;
    CREATE TABLE kind (id INTEGER PRIMARY KEY, word TEXT NOT NULL, sort INTEGER NOT NULL, colour TEXT);
    INSERT INTO kind VALUES (1, 'tent', 5, NULL), (2, 'van', 6, 'red');
    CREATE TABLE picture (id INTEGER PRIMARY KEY, bytes BLOB, width INTEGER, height INTEGER, by TEXT);
    CREATE VIEW names AS SELECT name FROM old;
    CREATE TRIGGER said AFTER INSERT ON picture BEGIN INSERT INTO log (said) VALUES ('picture'); END;
    """,
  ]

  private static let rows = """
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
    INSERT INTO item (body) SELECT 'item ' || i || hex(zeroblob(100)) FROM n;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
    INSERT INTO old (name, weight) SELECT 'name ' || i, i / 7.0 FROM n;
    INSERT INTO pair VALUES ('x', 1), ('y', 2);
    INSERT INTO log (said) VALUES ('hello'), ('gone'); DELETE FROM log WHERE said = 'gone';
    """

  private static let later = """
    INSERT INTO item (body, size) VALUES ('recorded', 8);
    UPDATE item SET body = 'changed' WHERE id = 7;
    INSERT INTO old (name, weight, at) VALUES ('new', 1.5, 'now');
    INSERT INTO pair VALUES ('z', 3);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
    INSERT INTO picture (bytes, width, height, by) SELECT randomblob(9000), i, -i, 'anna' FROM n;
    """

  /// At version 2, with what was recorded since, and a copy of it.
  private func coach(
    _ files: [String: String] = Self.files, later: String = Self.later
  ) async throws -> (coach: TestCoach, copy: String) {
    let coach = try TestCoach(migrations: files)
    try SampleDatabase.make(coach.database, try #require(files["0001_items.sql"]) + Self.rows)
    #expect(try await coach.run("adopt", "--at", "1", "--yes").code == 0)
    let updated = try await coach.run("update", "--offline", "--yes")
    #expect(updated.code == 0, "\(updated)")
    try SampleDatabase.change(
      coach.database, "\(later); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")
    let copy = coach.folder("before.db")
    try FileSystem.replace(copy, with: try #require(try FileSystem.read(coach.database)))
    return (coach, copy)
  }

  private func overwrite(_ pages: [Int], of coach: TestCoach) throws {
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let garbage = [UInt8](repeating: 0xa5, count: 4096)
    for page in pages { #expect(pwrite(file, garbage, 4096, off_t((page - 1) * 4096)) == 4096) }
  }

  private func salvage(
    _ coach: TestCoach
  ) async throws -> (run: RunDocument, salvage: Salvage, path: String) {
    let run: RunDocument = try await coach.run("rescue", "salvage", "--offline", "--json")
      .document()
    let names = try FileSystem.names(in: coach.state + "/snapshots")
    #expect(names.allSatisfy { !$0.contains("partial") }, "\(names)")
    return (
      run, try #require(run.salvage, "\(run)"),
      "\(coach.state)/snapshots/\(try #require(run.snapshotId)).sqlite"
    )
  }

  private func isSame(_ path: String, _ copy: String, _ salvage: Salvage) throws {
    let difference = try Comparer(before: copy, after: path).run()
    #expect(difference.isEqual, "\(difference); \(salvage)")
    #expect(salvage.tables.allSatisfy { $0.isWhole }, "\(salvage)")
    #expect(salvage.lost == nil, "\(salvage)")
    let objects =
      "SELECT group_concat(type || name || sql) FROM (SELECT * FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY name)"
    #expect(try SampleDatabase.value(path, objects) == SampleDatabase.value(copy, objects))
  }

  @Test("The first page after an update: the migration files say what the snapshot does not")
  func firstPage() async throws {
    let (coach, copy) = try await coach()
    try overwrite([1], of: coach)
    let (run, salvage, path) = try await salvage(coach)
    try isSame(path, copy, salvage)
    #expect(salvage.schemaFrom != nil, "\(salvage)")
    #expect(
      salvage.problems.contains { $0.contains("brought to version 2 with the migration files") },
      "\(salvage.problems)")
    #expect(
      salvage.problems.contains { $0.contains("Table picture was found") && $0.contains("shape") })
    #expect(try LedgerTable.read(try Database.open(path))?.current.description == "2")
    let restored = try await coach.run(
      "restore", try #require(run.snapshotId), "--offline", "--yes")
    #expect(restored.code == 0, "\(restored)")
    #expect(try await coach.run("update", "--offline", "--yes").output.contains("Nothing to do"))
  }

  @Test("Where the tables have moved since the snapshot, none gets what stands in its old place")
  func moved() async throws {
    let coach = try TestCoach(migrations: [
      "0001_all.sql": """
      CREATE TABLE sensors (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
      CREATE INDEX sensors_name ON sensors (name);
      CREATE TABLE todo (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      CREATE TABLE done (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      CREATE TABLE counters (name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE log (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      CREATE TABLE trash (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      """
    ])
    #expect(try await coach.run("init").code == 0)
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO sensors VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO counters VALUES ('x', 1);
      INSERT INTO done (body) VALUES ('done 1'), ('done 2'), ('done 3');
      INSERT INTO log (body) VALUES ('log 1'), ('log 2');
      """)
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO todo (body) VALUES ('todo 1'), ('todo 2');
      UPDATE counters SET name = 'trips', n = 42; VACUUM;
      PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE
      """)
    try overwrite([1], of: coach)
    let (_, salvage, path) = try await salvage(coach)
    for (table, others) in [
      ("todo", "body NOT LIKE 'todo%'"), ("done", "body NOT LIKE 'done%'"),
      ("log", "body NOT LIKE 'log%'"), ("trash", "1"), ("counters", "name <> 'trips'"),
    ] {
      #expect(
        try SampleDatabase.value(path, "SELECT count(*) FROM \(table) WHERE \(others)") == "0",
        "\(table): \(salvage)")
    }
    #expect(try SampleDatabase.value(path, "SELECT count(*) FROM done") == "3", "\(salvage)")
    #expect(try SampleDatabase.value(path, "SELECT count(*) FROM log") == "2", "\(salvage)")
  }

  @Test("A long row that looks like the list of free pages takes no page away from a table")
  func overflow() async throws {
    let coach = try TestCoach(migrations: [
      "0001_all.sql": """
      CREATE TABLE trip (id INTEGER PRIMARY KEY, body TEXT NOT NULL);
      CREATE TABLE route (id INTEGER PRIMARY KEY, points BLOB);
      """
    ])
    #expect(try await coach.run("init").code == 0)
    // So many page numbers, and these; one of the rows has the first of them where its overflow page begins.
    let words = (Array(UInt32(40)...40) + Array(UInt32(20)...59)).flatMap { word in
      withUnsafeBytes(of: word.bigEndian) { Array($0) }
    }
    let rows = (0..<words.count).map { shift in
      let bytes =
        [UInt8](repeating: 0xff, count: shift) + (0..<40).flatMap { _ in words }
      let digits = bytes.map { $0 < 16 ? "0\(String($0, radix: 16))" : String($0, radix: 16) }
      return "INSERT INTO route (points) VALUES (x'\(digits.joined())');"
    }
    try SampleDatabase.change(
      coach.database,
      """
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
      INSERT INTO trip (body) SELECT 'trip ' || i || hex(zeroblob(50)) FROM n;
      """)
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    try SampleDatabase.change(
      coach.database,
      rows.joined() + "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE")
    try overwrite([1], of: coach)
    let (_, salvage, path) = try await salvage(coach)
    #expect(try SampleDatabase.value(path, "SELECT count(*) FROM trip") == "3000", "\(salvage)")
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM route") == "\(words.count)", "\(salvage)"
    )
  }

  @Test("The ledger's page is lost, too: the history says the version")
  func ledger() async throws {
    let (coach, copy) = try await coach()
    let pages = try #require(
      try SampleDatabase.value(
        coach.database,
        "SELECT group_concat(pageno) FROM dbstat WHERE name LIKE '%chock_migrations%'"
      )?.split(separator: ",").compactMap { Int($0) })
    try overwrite([1] + pages, of: coach)
    let (_, salvage, path) = try await salvage(coach)
    #expect(try Comparer(before: copy, after: path).run().tables == [], "\(salvage)")
    #expect(salvage.problems.contains { $0.contains("chock adopt --at 2") }, "\(salvage.problems)")
  }

  @Test("One leaf of a schema of many pages: the tables that it named are found again")
  func schemaLeaf() async throws {
    var files = Self.files
    let words = String(repeating: "x", count: 900)
    files["0001_items.sql"]? += (1...12).map { "CREATE TABLE t\($0) (a, /* \(words) */ b);\n" }
      .joined()
    let (coach, copy) = try await coach(
      files,
      later: Self.later + (1...12).map { ";INSERT INTO t\($0) VALUES ('\($0)', 'x')" }.joined())
    let leaves = try #require(
      try SampleDatabase.value(
        coach.database,
        "SELECT group_concat(pageno) FROM dbstat WHERE name = 'sqlite_schema' AND pagetype = 'leaf'"
      )?.split(separator: ",").compactMap { Int($0) })
    try #require(leaves.count > 3)
    let whole = try #require(try FileSystem.read(coach.database))
    for leaf in leaves {
      try FileSystem.replace(coach.database, with: whole)
      try overwrite([leaf], of: coach)
      let (_, salvage, path) = try await salvage(coach)
      try isSame(path, copy, salvage)
    }
    // Without the first page its other leaves still say what they said.
    try FileSystem.replace(coach.database, with: whole)
    try overwrite([1], of: coach)
    let (_, salvage, path) = try await salvage(coach)
    try isSame(path, copy, salvage)
  }

  @Test("What fits two tables is put into neither, and kept, counted and named")
  func ambiguous() async throws {
    var files = Self.files
    files["0002_more.sql"]? += """

      CREATE TABLE one (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER);
      CREATE TABLE two (id INTEGER PRIMARY KEY, c INTEGER, d INTEGER);
      """
    let (coach, copy) = try await coach(
      files,
      later: Self.later
        + "; INSERT INTO one VALUES (1, 2, 3), (4, 5, 6); INSERT INTO two VALUES (9, 8, 7)"
    )
    try overwrite([1], of: coach)
    let (_, salvage, path) = try await salvage(coach)
    let differences = try Comparer(before: copy, after: path).run().tables
    #expect(differences.map(\.table) == ["lost_and_found", "one", "two"], "\(salvage)")
    #expect(salvage.lost?.map(\.rows).sorted() == [1, 2], "\(salvage)")
    #expect(salvage.lost?.allSatisfy { $0.mayBe.sorted() == ["one", "two"] } == true, "\(salvage)")
    #expect(salvage.tables.first { $0.table == "one" }?.isWhole == false)
    #expect(salvage.tables.first { $0.table == "lost_and_found" }?.read == 3)
    #expect(
      try SampleDatabase.value(
        path,
        "SELECT group_concat(id || ',' || c1 || ',' || c2, ';') FROM (SELECT * FROM lost_and_found ORDER BY id)"
      )
        == "1,2,3;4,5,6;9,8,7")
    let words = try await coach.run("rescue", "salvage", "--offline")
    #expect(words.output.contains("3 rows belong to no table for certain"), "\(words)")
    #expect(words.output.contains("maybe of one or two"), "\(words)")
  }

  @Test(
    "Without the migration files, what an older schema has no column or table for is told and kept")
  func olderSchema() async throws {
    let (coach, copy) = try await coach()
    try FileSystem.remove(coach.migrations + "/0002_more.sql")
    try overwrite([1], of: coach)
    let (_, salvage, path) = try await salvage(coach)
    #expect(salvage.problems.contains { $0.contains("could not be made from the migration files") })
    let item = try #require(salvage.tables.first { $0.table == "item" })
    // Only what was written after the update has the new field.
    #expect(item.read == 501 && item.longer == 2 && !item.isWhole, "\(item)")
    #expect(salvage.problems.contains { $0.contains("2 rows of table item have more fields") })
    #expect(
      try SampleDatabase.value(path, "SELECT c2 FROM lost_and_found WHERE c1 = 'recorded'") == "8")
    #expect(salvage.problems.contains { $0.contains("`chock adopt --at 1`") }, "\(salvage)")
    #expect(try LedgerTable.read(try Database.open(path)) == nil)
    // No row of any table is lost.
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM lost_and_found WHERE c4 = 'anna'")
        == SampleDatabase.value(copy, "SELECT count(*) FROM picture"))
    let words = try await coach.run("rescue", "salvage", "--offline")
    #expect(words.output.contains("2 rows with more fields than it has"), "\(words)")
  }

  @Test("Without any snapshot the rows are kept without their tables")
  func noSnapshot() async throws {
    let (coach, copy) = try await coach()
    for name in try FileSystem.names(in: coach.state + "/snapshots") {
      try FileSystem.remove("\(coach.state)/snapshots/\(name)")
    }
    try overwrite([1], of: coach)
    let (run, salvage, path) = try await salvage(coach)
    #expect(run.salvage?.schemaFrom == nil && salvage.lost?.isEmpty == false, "\(salvage)")
    for (table, field) in [("item", "c1"), ("old", "c1"), ("picture", "c1")] {
      let name = try #require(
        try SampleDatabase.value(
          copy, "SELECT name FROM pragma_table_info('\(table)') WHERE cid = 1"))
      let there = try Connection(path: path, mode: .readOnly)
      try there.execute("ATTACH '\(copy)' AS copy")
      #expect(
        try there.integer(
          "SELECT count(*) FROM (SELECT id, \(name) FROM copy.\(table) EXCEPT SELECT id, \(field) FROM lost_and_found)"
        ) == 0, "\(table)")
    }
  }

  @Test("Of a database of 0 bytes what its log holds is read")
  func emptyFile() async throws {
    let (coach, _) = try await coach()
    let log: [UInt8]
    do {
      let writer = try Connection(path: coach.database, mode: .readWrite)
      try writer.execute("PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0")
      try writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
      writer.keepLogOnClose()
      for number in 1...50 {
        try writer.execute("INSERT INTO item (body, size) VALUES ('in the log', \(number))")
      }
      log = try #require(try FileSystem.read(coach.database + "-wal"))
    }
    try FileSystem.replace(coach.database, with: [])
    try FileSystem.replace(coach.database + "-wal", with: log)
    let (_, salvage, path) = try await salvage(coach)
    #expect(try FileSystem.read(coach.database + "-wal") == log)
    #expect(FileSystem.facts(coach.database)?.size == 0)
    #expect(salvage.problems.first?.contains("0 bytes") == true, "\(salvage.problems)")
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM item WHERE body = 'in the log'") == "50",
      "\(salvage)")
    // A log in which nothing was committed is nothing.
    try FileSystem.replace(coach.database + "-wal", with: Array(log.prefix(2000)))
    let nothing = try await coach.run("rescue", "salvage", "--offline")
    #expect(nothing.code == 65 && nothing.error.contains("0 bytes"), "\(nothing)")
  }
}
