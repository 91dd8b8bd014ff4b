import Migrations
import SQLite
import Storage
import TestSupport
import Testing

/// What a migration's SQL may say, and where a failure in it is.
@Suite struct ScriptTests {
  @Test(
    "What belongs to the runner is refused, with the line",
    arguments: [
      "ATTACH 'other.db' AS other;", "DETACH main;", "VACUUM INTO 'copy.db';", "VACUUM;",
      "PRAGMA foreign_keys = ON;", "PRAGMA foreign_keys;", "PRAGMA journal_mode = DELETE;",
      "PRAGMA writable_schema = 1;", "PRAGMA synchronous = OFF;", "PRAGMA main.cache_size = 1;",
      "BEGIN;", "COMMIT;", "END;", "ROLLBACK;", "SAVEPOINT a;", "RELEASE a;", "ROLLBACK TO a;",
      "SELECT load_extension('x.so');", "INSERT INTO chock_migrations DEFAULT VALUES;",
      "UPDATE chock_migrations SET version = 9;", "DELETE FROM chock_migrations;",
      "DROP TABLE chock_migrations;", "DROP TABLE \"Chock_Migrations\";",
      "ALTER TABLE chock_migrations RENAME TO x;", "CREATE INDEX i ON chock_migrations (name);",
      "CREATE TRIGGER t AFTER INSERT ON chock_migrations BEGIN DELETE FROM trips; END;",
    ])
  func forbidden(sql: String) throws {
    let failure = try Workshop().failure(of: "UPDATE trips SET name = 'gone';\n\n/* x */ \(sql)")
    #expect(failure.code == .forbiddenStatement)
    #expect(failure.file == "migrations/0001_change.sql")
    #expect(failure.line == 3)
    // A refused trigger is shown up to its first semicolon.
    #expect(failure.statement.map { sql.hasPrefix($0) } == true)
    #expect(failure.message.hasSuffix(" is not allowed in a migration."))
    #expect(failure.howToClear != nil)
  }

  @Test("A trigger cannot carry a write into the ledger") func ledgerByTrigger() throws {
    let failure = try Workshop().failure(
      of: """
        CREATE TRIGGER t AFTER INSERT ON trips BEGIN DELETE FROM chock_migrations; END;
        INSERT INTO trips VALUES (4, 'Bend');
        """)
    #expect(failure.code == .forbiddenStatement)
    #expect(failure.line == 2)
  }

  @Test(
    "A temporary object, which could stand in for a table or the ledger, is refused",
    arguments: [
      "CREATE TEMP TABLE trips AS SELECT * FROM main.trips;\nDELETE FROM main.trips;",
      "CREATE TEMP VIEW trips AS SELECT 1;",
      "CREATE TEMP TABLE x AS SELECT * FROM main.chock_migrations;\nALTER TABLE temp.x RENAME TO chock_migrations;",
      "CREATE TEMP TRIGGER t AFTER INSERT ON trips BEGIN SELECT 1; END;",
    ])
  func temporary(sql: String) throws {
    let failure = try Workshop().failure(of: sql)
    #expect(failure.code == .forbiddenStatement)
    #expect(failure.line == 1)
  }

  @Test("The schema table cannot be written, also without the pragma") func schemaTable() throws {
    let failure = try Workshop().failure(of: "DELETE FROM sqlite_schema;")
    #expect(failure.code == .statement)
  }

  @Test(
    "What only reads, and what SQLite does for itself, is allowed",
    arguments: [
      "SELECT * FROM pragma_table_info('trips');", "PRAGMA table_info(trips);",
      "PRAGMA foreign_key_check;", "PRAGMA user_version;", "ANALYZE;", "REINDEX;",
      "ALTER TABLE trips RENAME TO journeys;", "ALTER TABLE trips RENAME COLUMN name TO title;",
      "ALTER TABLE trips ADD COLUMN a TEXT; ALTER TABLE trips DROP COLUMN a;",
      "CREATE VIEW v AS SELECT * FROM trips; SELECT * FROM v; DROP VIEW v;",
      "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f VALUES ('x'); SELECT * FROM f('x');",
      "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f(f) VALUES ('rebuild'); DROP TABLE f;",
      "CREATE VIRTUAL TABLE r USING rtree(id, x0, x1); INSERT INTO r VALUES (1, 2, 3);",
    ])
  func allowed(sql: String) throws {
    let workshop = try Workshop()
    try workshop.update(sql)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "1")
  }

  @Test("Trigger bodies and texts with semicolons are one statement") func semicolons() throws {
    let workshop = try Workshop()
    let report = try workshop.update(
      """
      CREATE TRIGGER t AFTER INSERT ON trips BEGIN
        UPDATE settings SET value = 'a;b' WHERE key = 'unit';
        DELETE FROM settings WHERE key = 'x;';
      END;
      INSERT INTO trips VALUES (4, 'Bend; Oregon'); -- a comment; with one
      /* and; another */ ;;
      INSERT INTO trips VALUES (5, "name");
      """.replacing("\"name\"", with: "'\"; DROP TABLE trips; --'"))
    #expect(report.statementSeconds.count == 3)
    #expect(try workshop.value("SELECT value FROM settings") == "a;b")
    #expect(try workshop.value("SELECT name FROM trips WHERE id = 4") == "Bend; Oregon")
  }

  @Test(
    "The line is that of the statement's first word",
    arguments: [
      ("SELECT 1;\n-- comment; with one\n\n/* two\nlines */ BAD;", 5),
      ("SELECT 1; SELECT 2;\nSELECT 3; BAD;", 2),
      ("SELECT 'a\nb';\nBAD;", 3),
      ("SELECT 1;\r\n-- x\r\nBAD;\r\n", 3),
      ("SELECT 1;\r\rBAD;", 3),
      ("\u{FEFF}-- Description: marked\nSELECT 1;\nBAD;", 3),
      ("-- @migrate\nSELECT 1;\n-- @validate\n\nBAD;", 5),
      ("-- @migrate\nSELECT 1;\n-- @validate\nSELECT 1 WHERE 0;\n-- @migrate\n\nBAD;", 7),
      ("-- @preflight\nSELECT 1 WHERE 0;\n\n-- @migrate\n-- why\nBAD;", 6),
      (
        "CREATE TRIGGER t AFTER INSERT ON trips BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\nBAD;", 5
      ),
    ])
  func lines(text: String, line: Int) throws {
    let failure = try Workshop().failure(of: text)
    #expect(failure.code == .statement)
    #expect(failure.line == line)
    #expect(failure.statement == "BAD;")
  }

  @Test("A word that does not parse is found inside a long statement") func lineInside() throws {
    let failure = try Workshop().failure(
      of: "SELECT 1;\nCREATE TABLE x (\n  a TEXT,\n  b TEXT,,\n);")
    #expect(failure.line == 4)
    #expect(failure.message.contains("syntax error"))
  }

  @Test("A long statement is shortened in the failure") func longStatement() throws {
    let text = "INSERT INTO trips VALUES (1, '" + String(repeating: "x", count: 5000) + "');"
    let failure = try Workshop().failure(of: text)
    #expect(failure.statement?.count == 300)
  }

  @Test(
    "A value that is too long is refused, with the line",
    arguments: [
      "SELECT length(zeroblob(1000000000));", "UPDATE trips SET name = hex(zeroblob(40000000));",
      "SELECT replace(hex(zeroblob(20000000)), '0', 'xx');",
    ])
  func tooLong(sql: String) throws {
    let failure = try Workshop().failure(of: "SELECT 1;\n\(sql)")
    #expect(failure.code == .statement)
    #expect(failure.line == 2)
    #expect(failure.message.contains("more than 68 MB"))
    #expect(failure.howToClear != nil)
  }

  @Test("VACUUM says where it belongs, and its INTO is refused everywhere") func vacuum() throws {
    let workshop = try Workshop()
    let failure = try workshop.failure(of: "VACUUM;")
    #expect(failure.code == .forbiddenStatement)
    #expect(failure.howToClear?.contains("Transaction: none") == true)
    let into = try workshop.failure(
      of: "-- Transaction: none\nVACUUM INTO '\(workshop.folder("copy.db"))';")
    #expect(into.code == .forbiddenStatement)
    #expect(into.line == 2)
    #expect(FileSystem.facts(workshop.folder("copy.db")) == nil)
  }

  @Test(
    "Without a transaction VACUUM runs, and the rest is guarded as ever",
    arguments: ["WAL", "DELETE"])
  func noTransaction(mode: String) throws {
    let workshop = try Workshop(Workshop.manyPages, journalMode: mode)
    let sql = """
      -- Transaction: none
      PRAGMA auto_vacuum = FULL;
      ;;VACUUM;
      """
    let content = try workshop.value("SELECT count(*) || sum(length(value)) FROM readings")
    try workshop.update(sql)
    #expect(try workshop.value("PRAGMA auto_vacuum") == "1")
    #expect(
      try workshop.value("SELECT count(*) || sum(length(value)) FROM readings") == content)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "1")
    for forbidden in ["BEGIN", "ATTACH 'x.db' AS x", "PRAGMA journal_mode = OFF", "SAVEPOINT a"] {
      let failure = try #require(throws: Failure.self) {
        try workshop.update("-- Transaction: none\nSELECT 1;\n\(forbidden);")
      }
      #expect([.forbiddenStatement, .drift].contains(failure.code))
    }
  }
}
