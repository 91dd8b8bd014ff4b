import Migrations
import SQLite
import Storage
import TestSupport
import Testing

/// What is checked inside the transaction, after the statements and before the commit.
@Suite struct VerificationTests {
  private static let rebuild = """
    CREATE TABLE new_trips (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT) STRICT;
    INSERT INTO new_trips (id, name) SELECT id, name FROM trips;
    DROP TABLE trips;
    ALTER TABLE new_trips RENAME TO trips;
    """

  @Test("A rebuild the usual way keeps the rows of the child table") func rebuild() throws {
    let workshop = try Workshop()
    try workshop.update(Self.rebuild)
    #expect(try workshop.value("SELECT count(*) FROM stops") == "3")
    #expect(try workshop.value("SELECT count(*) FROM trips") == "3")
    #expect(
      try workshop.value(
        "SELECT sql LIKE '%REFERENCES trips %' FROM sqlite_schema WHERE name = 'stops'")
        == "1")
  }

  @Test("A rebuild with foreign keys enforced, which empties the child by cascade, is taken back")
  func cascade() throws {
    let failure = try Workshop().failure(of: "-- Foreign-Keys: enforced\n" + Self.rebuild)
    #expect(failure.code == .rowsLost)
    #expect(failure.message.contains("stops would lose 3 of its 3 rows"))
    #expect(failure.line == 4)
    #expect(failure.statement == "DROP TABLE trips;")
    #expect(failure.howToClear?.contains("-- Expect: stops rows >= 0") == true)
  }

  @Test(
    "Rows that did not keep a constraint before are no damage, and stop no update",
    arguments: ["v INTEGER CHECK (v > 0)", "v INTEGER NOT NULL", "v TEXT"])
  func drift(column: String) throws {
    let workshop = try Workshop()
    try workshop.execute("CREATE TABLE drifted (v INTEGER) STRICT")
    // More than a check lists, so that what comes behind them must still be seen.
    try workshop.execute(
      "INSERT INTO drifted WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200) SELECT CASE WHEN i % 2 THEN -1 END FROM n"
    )
    try workshop.execute(
      "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE drifted (\(column)) STRICT' WHERE name = 'drifted'"
    )
    try #require(try workshop.value("PRAGMA quick_check") != "ok" || column.contains("CHECK"))
    try workshop.snapshot()
    try workshop.update("ALTER TABLE trips ADD COLUMN note TEXT;")
    #expect(try workshop.value("SELECT count(note) FROM trips") == "0")
  }

  @Test("A new column that refers to nothing is found, although no row is written")
  func newReference() throws {
    let failure = try Workshop().failure(
      of: "ALTER TABLE trips ADD COLUMN home INTEGER DEFAULT 99 REFERENCES stops (id);")
    #expect(failure.code == .foreignKeys)
  }

  @Test("A cascade that is declared is carried out") func declaredCascade() throws {
    let workshop = try Workshop()
    try workshop.update(
      """
      -- Foreign-Keys: enforced
      -- Expect: trips rows -1
      -- Expect: stops rows -2
      DELETE FROM trips WHERE id = 1;
      """)
    #expect(try workshop.value("SELECT count(*) FROM stops") == "1")
  }

  @Test(
    "Rows that are lost without a declaration are an error that names the statement",
    arguments: [
      "DELETE FROM settings;", "DROP TABLE settings;",
      "CREATE TRIGGER t AFTER UPDATE ON trips BEGIN DELETE FROM settings; END; UPDATE trips SET name = 'x';",
    ])
  func lost(sql: String) throws {
    let failure = try Workshop().failure(of: "SELECT 1;\n\(sql)")
    #expect(failure.code == .rowsLost)
    #expect(failure.message.contains("settings would lose 1 of its 1 rows"))
    #expect(failure.line == 2)
    #expect(failure.statement.map { sql.hasSuffix($0) } == true)
  }

  @Test("Rows that one statement replaces by others of the same key are counted too")
  func replaced() throws {
    let failure = try Workshop().failure(of: "UPDATE OR REPLACE trips SET id = 2 WHERE id = 3;")
    #expect([.rowsLost, .foreignKeys].contains(failure.code))
    #expect(failure.file == "migrations/0001_change.sql")
  }

  @Test(
    "An Expect header that came true is passed",
    arguments: [
      ("trips rows unchanged", "UPDATE trips SET name = upper(name);"),
      ("trips rows +2", "INSERT INTO trips VALUES (4, 'a'), (5, 'b');"),
      ("trips rows +0", "SELECT 1;"),
      ("settings rows -1", "DELETE FROM settings;"),
      ("settings rows >= 0", "DROP TABLE settings;"),
      ("trips rows >= 3", "INSERT INTO trips VALUES (4, 'a');"),
      ("TRIPS rows +1", "INSERT INTO trips VALUES (4, 'a');"),
      ("notes rows +1", "CREATE TABLE notes (a); INSERT INTO notes VALUES (1);"),
      ("settings rows >=1\n-- Expect: trips rows +1", "INSERT INTO trips VALUES (4, 'a');"),
    ])
  func expected(header: String, sql: String) throws {
    let workshop = try Workshop()
    try workshop.update("-- Expect: \(header)\n\(sql)")
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "1")
  }

  @Test(
    "An Expect header that did not come true takes everything back",
    arguments: [
      ("trips rows unchanged", "INSERT INTO trips VALUES (4, 'a');"),
      ("trips rows +2", "INSERT INTO trips VALUES (4, 'a');"),
      ("trips rows +0", "INSERT INTO trips VALUES (4, 'a');"),
      ("settings rows -1", "SELECT 1;"),
      ("settings rows -2", "DELETE FROM settings;"),
      ("trips rows >= 5", "INSERT INTO trips VALUES (4, 'a');"),
      ("settings rows unchanged", "DROP TABLE settings;"),
      ("nothing rows +1", "SELECT 1;"),
    ])
  func unexpected(header: String, sql: String) throws {
    let failure = try Workshop().failure(of: "-- Description: x\n-- Expect: \(header)\n\(sql)")
    #expect(failure.code == .expectation)
    #expect(failure.file == "migrations/0001_change.sql")
    #expect(failure.line == 2)
  }

  @Test(
    "A view or trigger that names what is gone takes everything back",
    arguments: [
      "CREATE VIEW v AS SELECT * FROM u;",
      "CREATE TRIGGER tt AFTER INSERT ON trips BEGIN INSERT INTO u VALUES (new.id); END;",
    ])
  func dangling(object: String) throws {
    let workshop = try Workshop()
    try workshop.execute("CREATE TABLE u (id)")
    try workshop.execute(object)
    let failure = try workshop.failure(of: "DROP TABLE u;")
    #expect(failure.code == .integrity, "\(failure)")
    #expect(failure.message.contains("no such table: main.u"), "\(failure)")
  }

  @Test("A full-text index that no longer fits its rows is a warning; one that is rebuilt is none")
  func fullText() throws {
    let change = "UPDATE trips SET name = 'another' WHERE id = 1;"
    for (sql, count) in [(change, 1), ("\(change) INSERT INTO f (f) VALUES ('rebuild');", 0)] {
      let workshop = try Workshop()
      try workshop.execute(
        "CREATE VIRTUAL TABLE f USING fts5(name, content='trips', content_rowid='id')")
      try workshop.execute("INSERT INTO f (f) VALUES ('rebuild')")
      let warnings = try workshop.update(sql).warnings.filter { $0.message.contains("index f") }
      #expect(warnings.count == count, "\(sql)")
    }
  }

  @Test("What a file declares is counted from right before it") func eachFile() throws {
    let workshop = try Workshop()
    try workshop.update(
      try workshop.catalog(
        "INSERT INTO trips VALUES (4, 'a');",
        "-- Expect: trips rows +2\nINSERT INTO trips VALUES (5, 'a'), (6, 'b');"))
    #expect(try workshop.value("SELECT count(*) FROM trips") == "6")
  }

  @Test(
    "A table that is renamed has lost nothing",
    arguments: [
      "ALTER TABLE settings RENAME TO preferences;",
      "ALTER TABLE settings RENAME TO a; ALTER TABLE a RENAME TO preferences;",
      // Freed pages, and with them root pages, are used again.
      "CREATE TABLE x (a); DROP TABLE x; ALTER TABLE settings RENAME TO preferences; CREATE TABLE y (a);",
    ])
  func renamed(sql: String) throws {
    let workshop = try Workshop()
    try workshop.update(sql)
    #expect(try workshop.value("SELECT value FROM preferences") == "mi")
  }

  @Test("Rows that are deleted from a renamed table are lost all the same") func renamedAndEmptied()
    throws
  {
    let failure = try Workshop().failure(
      of: "ALTER TABLE settings RENAME TO preferences;\nDELETE FROM preferences;")
    #expect(failure.code == .rowsLost)
    #expect(failure.line == 2)
  }

  @Test("A new table in the place of a dropped one is not that table under another name")
  func rootPageUsedAgain() throws {
    let failure = try Workshop().failure(
      of: """
        DROP TABLE settings;
        CREATE TABLE other (key TEXT PRIMARY KEY, value TEXT) STRICT, WITHOUT ROWID;
        INSERT INTO other VALUES ('a', 'b');
        """)
    #expect(failure.code == .rowsLost)
    #expect(failure.line == 1)
  }

  @Test("A new orphan takes everything back, and names the statement") func orphan() throws {
    let failure = try Workshop().failure(
      of: "-- Expect: trips rows -1\nSELECT 1;\nDELETE FROM trips WHERE id = 1;")
    #expect(failure.code == .foreignKeys)
    #expect(failure.message.contains("2 rows would point to nothing"))
    #expect(failure.message.contains("row 1 of stops refers to a row of trips"))
    #expect(failure.line == 3)
    #expect(failure.statement == "DELETE FROM trips WHERE id = 1;")
  }

  @Test("A child that still refers to the old table's name is found") func renamedFirst() throws {
    let failure = try Workshop().failure(
      of: """
        ALTER TABLE trips RENAME TO old_trips;
        CREATE TABLE trips (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
        INSERT INTO trips SELECT * FROM old_trips;
        DROP TABLE old_trips;
        """)
    #expect(failure.code == .foreignKeys)
  }

  private static let orphans = """
    CREATE TABLE trips (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE stops (trip_id INTEGER REFERENCES trips (id), place TEXT);
    INSERT INTO trips VALUES (1, 'Moab');
    INSERT INTO stops VALUES (1, 'Arches'), (77, 'nowhere'), (78, 'nowhere else');
    DELETE FROM stops WHERE trip_id = 1;
    """

  @Test(
    "Orphans that were there before do not stand in the way",
    arguments: [
      "INSERT INTO trips VALUES (2, 'Yuma');",
      // Their row numbers change, as a table without INTEGER PRIMARY KEY allows.
      """
      CREATE TABLE new_stops (trip_id INTEGER REFERENCES trips (id), place TEXT, note TEXT);
      INSERT INTO new_stops (trip_id, place) SELECT trip_id, place FROM stops;
      DROP TABLE stops;
      ALTER TABLE new_stops RENAME TO stops;
      """,
      "ALTER TABLE trips RENAME TO journeys;", "ALTER TABLE stops RENAME TO places;",
    ])
  func oldOrphans(sql: String) throws {
    let workshop = try Workshop(Self.orphans)
    try workshop.update(sql)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "1")
  }

  @Test("A new orphan among old ones is found") func newAmongOld() throws {
    let failure = try Workshop(Self.orphans).failure(of: "INSERT INTO stops VALUES (79, 'new');")
    #expect(failure.code == .foreignKeys)
    #expect(failure.message.contains("1 rows would point to nothing"))
  }

  @Test("A CHECK with json_valid() is no damage") func jsonCheck() throws {
    let workshop = try Workshop(
      """
      CREATE TABLE documents (id INTEGER PRIMARY KEY, body TEXT CHECK (json_valid(body)));
      INSERT INTO documents VALUES (1, '{}');
      """)
    try workshop.update(
      """
      CREATE TABLE more (body TEXT NOT NULL CHECK (json_valid(body))) STRICT;
      INSERT INTO more SELECT body FROM documents;
      """)
    let snapshot = try workshop.snapshot()
    try workshop.execute("DELETE FROM documents")
    #expect(try workshop.restore(snapshot.document.id).rescueCopy != nil)
    #expect(try workshop.value("SELECT body FROM documents") == "{}")
  }

  @Test("Files that enforce foreign keys and files that do not are refused in one run")
  func mixed() throws {
    let workshop = try Workshop()
    let failure = try #require(throws: Failure.self) {
      try workshop.update(
        try workshop.catalog("SELECT 1;", "-- Foreign-Keys: enforced\nSELECT 1;"))
    }
    #expect(failure.code == .migrationOrder)
    #expect(failure.file == "migrations/0002_change.sql")
  }

  @Test(
    "Rows of a virtual table are counted like others",
    arguments: ["DELETE FROM notes;", "DROP TABLE notes;"])
  func virtualTable(sql: String) throws {
    let workshop = try Workshop()
    try Connection(path: workshop.database, mode: .readWrite).execute(
      "CREATE VIRTUAL TABLE notes USING fts5(a); INSERT INTO notes VALUES ('x');")
    let failure = try workshop.failure(of: sql)
    #expect(failure.code == .rowsLost)
  }
}
