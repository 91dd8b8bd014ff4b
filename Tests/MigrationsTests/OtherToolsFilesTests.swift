import FoundationEssentials
import Migrations
import Testing

/// The migration and the rollback that a folder with this one file gives.
private func both(
  _ text: String, _ fileName: String = "0004_x.sql"
) throws -> (up: Migration, down: Migration?) {
  var found: (Migration, Migration?)?
  try withFolder([fileName: text]) { folder in
    let catalog = try MigrationCatalog(directory: folder)
    found = (catalog.migrations[0], catalog.rollbacks[catalog.migrations[0].version])
  }
  return try #require(found)
}

@Suite struct DbmateFileTests {
  @Test("Both parts are read, with the lines of the file") func parts() throws {
    let (up, down) = try both(
      """
      -- what it is for
      -- migrate:up
      CREATE TABLE a (x);
      -- more
      INSERT INTO a VALUES (';');

      -- migrate:down
      DROP TABLE a;

      """)
    #expect(
      up.migrate == [
        SQLSection(
          text: "CREATE TABLE a (x);\n-- more\nINSERT INTO a VALUES (';');\n\n", firstLine: 3)
      ])
    #expect(down?.migrate == [SQLSection(text: "DROP TABLE a;\n", firstLine: 8)])
    #expect(up.runsInTransaction && down?.runsInTransaction == true)
    #expect(up.checksum == down?.checksum)
    #expect(down?.fileName == "0004_x.sql" && down?.version == up.version)
  }

  @Test(
    "transaction:false holds for its own part",
    arguments: [
      (" transaction:false", "", false, true), ("", " transaction:false", true, false),
      ("  transaction:true ", "\t", true, true),
    ])
  func transaction(up: String, down: String, upIs: Bool, downIs: Bool) throws {
    let file = try both("-- migrate:up\(up)\nVACUUM;\n--migrate:down\(down)\nVACUUM;")
    #expect(file.up.runsInTransaction == upIs)
    #expect(file.down?.runsInTransaction == downIs)
  }

  @Test(
    "Without SQL in its down part there is no way back",
    arguments: ["", "-- migrate:down", "-- migrate:down\n-- not possible\n;\n"])
  func noDown(down: String) throws {
    #expect(try both("-- migrate:up\nSELECT 1;\n\(down)").down == nil)
  }

  @Test("A mark inside a text, a trigger or behind SQL is none") func noMark() throws {
    let sql = """
      INSERT INTO t VALUES ('
      -- migrate:down
      ');
      CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1;
      -- migrate:down
      END;
      SELECT 1; -- migrate:down

      """
    let file = try both("-- migrate:up\n\(sql)")
    #expect(file.up.migrate.map(\.text) == [sql])
    #expect(file.down == nil)
  }

  @Test("chock's headers count at the top of each part, and what is none is prose") func headers()
    throws
  {
    let file = try both(
      """
      -- Author: somebody
      -- Description: Notes
      -- migrate:up
      -- Expect: notes rows >= 0
      DELETE FROM notes;
      -- Timeout: soon
      -- migrate:down
      -- Timeout: 5 s
      INSERT INTO notes VALUES (1);
      """)
    #expect(file.up.summary == "Notes" && file.down?.summary == "Notes")
    #expect(file.up.expectations.map(\.line) == [4])
    #expect(file.down?.expectations == [])
    #expect(file.up.timeout == nil && file.down?.timeout == .seconds(5))
  }
}

@Suite struct GooseFileTests {
  @Test("Statements between StatementBegin and StatementEnd are kept") func statements() throws {
    let trigger = """
      -- +goose StatementBegin
      CREATE TRIGGER r AFTER INSERT ON t BEGIN
        UPDATE t SET x = 1;
        DELETE FROM u;
      END;
      -- +goose StatementEnd

      """
    let file = try both(
      "-- +goose Up\n\(trigger)-- +goose Down\n-- +goose StatementBegin\nDROP TRIGGER r;\n-- +goose StatementEnd\n",
      "00004_x.sql")
    #expect(file.up.migrate == [SQLSection(text: trigger, firstLine: 2)])
    #expect(file.down?.migrate.map(\.firstLine) == [9])
    #expect(file.up.runsInTransaction)
  }

  @Test(
    "NO TRANSACTION holds for both parts, wherever it stands, in any case of letters",
    arguments: [
      "-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;\n-- +goose Down\nVACUUM;",
      "-- +goose up\n-- +goose no transaction\nVACUUM;\n-- +GOOSE  DOWN\nVACUUM;",
    ])
  func noTransaction(text: String) throws {
    let file = try both(text)
    #expect(!file.up.runsInTransaction)
    #expect(file.down?.runsInTransaction == false)
  }

  @Test("ENVSUB is refused with its line; OFF alone changes nothing") func environment() throws {
    let error = failure { try both("-- +goose Up\n-- +goose ENVSUB ON\nSELECT '${HOME}';") }
    #expect(error.code == .migrationFile && error.line == 2)
    #expect(error.howToClear?.contains("Input") == true)
    _ = try both("-- +goose Up\n-- +goose ENVSUB OFF\nSELECT 1;")
  }

  @Test("A migration in Go is refused by name") func go() throws {
    try withFolder(["00001_a.sql": "-- +goose Up\nSELECT 1;", "00002_b.go": "package m"]) {
      folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.file == folder + "/00002_b.go")
      #expect(error.message.contains("goose"))
    }
    try withFolder(["1_a.sql": "SELECT 1;", "embed.go": "", "00002_b_test.go": ""]) { folder in
      _ = try MigrationCatalog(directory: folder)
    }
  }
}

@Suite struct MarkErrorTests {
  @Test(
    "What does not fit the tool's format is refused with its line",
    arguments: [
      ("-- migrate:down\nSELECT 1;\n-- migrate:up\nSELECT 1;", 1),
      ("-- +goose Down\nSELECT 1;", 1),
      ("-- migrate:up\nSELECT 1;\n-- migrate:up\nSELECT 2;", 3),
      ("-- migrate:up\nSELECT 1;\n-- migrate:down\n-- migrate:down\n", 4),
      ("SELECT 1;\n-- migrate:up\nSELECT 1;", 1),
      ("-- +goose NO TRANSACTION\nSELECT 1;", 1),
      ("-- migrate:up retries:3\nSELECT 1;", 1),
      ("-- migrate:pu\nSELECT 1;", 1),
      ("-- +goose Up\nSELECT 1;\n-- +goose Dwon\nSELECT 1;", 3),
      ("-- +goose\nSELECT 1;", 1),
      ("-- +migrate Up\nCREATE TABLE a (x);\n-- +migrate Down\nDROP TABLE a;", 1),
      ("CREATE TABLE a (x);\n---- create above / drop below ----\nDROP TABLE a;", 2),
      ("-- migrate:up\nSELECT 1;\n-- +goose Down\nSELECT 1;", 3),
      ("-- @migrate\nSELECT 1;\n-- migrate:down\nSELECT 1;", 3),
      ("-- migrate:up\nSELECT 1;\n-- @validate\nSELECT 1;", 3),
      ("-- no-transaction\n-- @migrate\nSELECT 1;", 2),
      ("-- no-transaction\n-- +goose Up\nSELECT 1;", 2),
      ("-- migrate:up\n-- Timeout: never\nSELECT 1;", 2),
    ])
  func refused(text: String, line: Int) {
    let error = failure { try both(text) }
    #expect(error.code == .migrationFile)
    #expect(error.line == line)
    #expect(error.file?.hasSuffix("/0004_x.sql") == true)
    #expect(error.howToClear != nil)
  }

  @Test(
    "A file that changes nothing on its way up is refused",
    arguments: ["-- migrate:up\n-- migrate:down\nSELECT 1;", "-- +goose Up\n;\n-- +goose Down\n"])
  func empty(text: String) {
    let error = failure { try both(text) }
    #expect(error.message == "0004_x.sql changes nothing: there is no SQL in its up part.")
  }

  @Test("@down is no section of chock's") func noDownSection() {
    #expect(
      failure { try migration("-- @down\nSELECT 1;") }.message == "There is no section @down.")
  }

  @Test("Marks of both parts have no place in a rollback file, nor a second way back beside one")
  func rollbackFiles() throws {
    let text = "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;"
    for other in [text, "SELECT 3;"] {
      try withFolder(["0001_a.sql": text, "0001_a.down.sql": other]) { folder in
        let error = failure { try MigrationCatalog(directory: folder) }
        #expect(error.code == .migrationFile)
        #expect(error.message.contains("0001_a.down.sql"))
      }
    }
  }
}

@Suite struct NamesOfOtherToolsTests {
  @Test("Pairs of golang-migrate and sqlx are a migration and its rollback") func pairs() throws {
    let files = [
      "000001_a.up.sql": "-- Author: x\nSELECT 1;", "000001_a.down.sql": "-- Author: x\nSELECT 2;",
      "000002_b.up.sql": "SELECT 1;", "20250101120000_c.sql": "SELECT 1;",
    ]
    try withFolder(files) { folder in
      let catalog = try MigrationCatalog(directory: folder)
      #expect(catalog.migrations.map(\.name) == ["a", "b", "c"])
      #expect(catalog.rollbacks.mapValues(\.fileName) == [try version("1"): "000001_a.down.sql"])
    }
  }

  @Test("no-transaction in the first line is sqlx's; elsewhere it is prose") func noTransaction()
    throws
  {
    #expect(!(try migration("-- no-transaction\nVACUUM;")).runsInTransaction)
    #expect(try migration("\n-- no-transaction\nSELECT 1;").runsInTransaction)
    #expect(try migration("SELECT 1; -- no-transaction").runsInTransaction)
  }

  @Test("Flyway's versions and undo files are read") func flyway() throws {
    let files = [
      "V1__a.sql": "SELECT 1;", "U1__a.sql": "SELECT 2;", "V1.1__b.sql": "SELECT 1;",
      "V1_2__c.sql": "SELECT 1;", "U1_2__c.sql": "SELECT 3;",
    ]
    try withFolder(files) { folder in
      let catalog = try MigrationCatalog(directory: folder)
      #expect(catalog.migrations.map(\.version.description) == ["1", "1.1", "1.2"])
      #expect(
        catalog.rollbacks.mapValues(\.fileName)
          == [try version("1"): "U1__a.sql", try version("1.2"): "U1_2__c.sql"])
    }
  }

  @Test(
    "What of Flyway's files is not run is refused by name",
    arguments: [
      ("R__views.sql", "repeatable"), ("B5__all.sql", "baseline"), ("B1.2__all.sql", "baseline"),
      ("beforeMigrate.sql", "callback"), ("afterEachMigrate__x.sql", "callback"),
      ("V1__a.sql.conf", "script configuration"),
    ])
  func notRun(fileName: String, what: String) throws {
    try withFolder(["V1__a.sql": "SELECT 1;", fileName: "SELECT 1;"]) { folder in
      let error = failure { try MigrationCatalog(directory: folder) }
      #expect(error.code == .migrationFile)
      #expect(error.message.contains(fileName) && error.message.contains(what))
      #expect(error.howToClear != nil)
    }
  }

  @Test(
    "Flyway's placeholders are refused with their line",
    arguments: [
      "SELECT 1;\nSELECT '${name}';", "SELECT 1;\nSELECT ${name};", "-- x\nSELECT \"a${b}\";",
    ])
  func placeholders(text: String) {
    let error = failure { try migration(text, "V1__a.sql") }
    #expect(error.code == .migrationFile && error.line == 2)
    #expect(error.howToClear?.contains("@migrate") == true)
  }

  @Test("What looks like a placeholder is text elsewhere") func noPlaceholder() throws {
    _ = try migration("SELECT '${name}';", "0001_a.sql")
    _ = try migration("-- @migrate\nSELECT '${name}';", "V1__a.sql")
    _ = try migration("SELECT '$', '{', 1; -- ${name}", "V1__a.sql")
  }

  @Test("The formats may be mixed in a folder, file by file") func mixed() throws {
    let files = [
      "0001_a.sql": "-- @migrate\nSELECT 1;", "0001_a.rollback.sql": "SELECT 2;",
      "0002_b.sql": "-- migrate:up\nSELECT 1;\n-- migrate:down\nSELECT 2;",
      "0003_c.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\nSELECT 2;",
      "0004_d.up.sql": "SELECT 1;", "0004_d.down.sql": "SELECT 2;",
      "V5__e.sql": "SELECT 1;", "U5__e.sql": "SELECT 2;",
    ]
    try withFolder(files) { folder in
      let catalog = try MigrationCatalog(directory: folder)
      #expect(catalog.migrations.map(\.name) == ["a", "b", "c", "d", "e"])
      #expect(catalog.rollbacks.count == 5)
      for rollback in catalog.rollbacks.values {
        #expect(rollback.migrate.map { $0.text.prefix(9) } == ["SELECT 2;"])
      }
    }
  }
}
