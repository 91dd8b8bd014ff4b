import Authoring
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

/// Databases with the tables that the tools' own sources define.
enum ToolTables {
  static func alembic(_ ids: String...) -> String {
    "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));"
      + insert("alembic_version", ids.map { "'\($0)'" })
  }

  static func dbmate(_ versions: String...) -> String {
    "CREATE TABLE IF NOT EXISTS \"schema_migrations\" (version varchar(128) primary key);"
      + insert("schema_migrations", versions.map { "'\($0)'" })
  }

  static func rails(_ versions: String...) -> String {
    """
    CREATE TABLE "schema_migrations" ("version" varchar NOT NULL PRIMARY KEY);
    CREATE TABLE "ar_internal_metadata" ("key" varchar NOT NULL PRIMARY KEY, "value" varchar, "created_at" datetime(6) NOT NULL, "updated_at" datetime(6) NOT NULL);
    INSERT INTO ar_internal_metadata VALUES ('environment', 'production', '', '');
    """ + insert("schema_migrations", versions.map { "'\($0)'" })
  }

  static func golangMigrate(_ version: String?, dirty: Bool = false) -> String {
    """
    CREATE TABLE schema_migrations (version uint64,dirty bool);
    CREATE UNIQUE INDEX version_unique ON schema_migrations (version);
    """ + insert("schema_migrations", version.map { ["\($0), \(dirty ? 1 : 0)"] } ?? [])
  }

  /// Rows of a version and whether it is applied.
  static func goose(_ rows: String...) -> String {
    """
    CREATE TABLE goose_db_version (
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      version_id INTEGER NOT NULL,
      is_applied INTEGER NOT NULL,
      tstamp TIMESTAMP DEFAULT (datetime('now'))
    );
    """
      + (["0, 1"] + rows).map {
        "INSERT INTO goose_db_version (version_id, is_applied) VALUES (\($0));"
      }.joined()
  }

  /// Rows of version, type, script and success.
  static func flyway(_ rows: String...) -> String {
    """
    CREATE TABLE "flyway_schema_history" (
      "installed_rank" INT NOT NULL PRIMARY KEY,
      "version" VARCHAR(50),
      "description" VARCHAR(200) NOT NULL,
      "type" VARCHAR(20) NOT NULL,
      "script" VARCHAR(1000) NOT NULL,
      "checksum" INT,
      "installed_by" VARCHAR(100) NOT NULL,
      "installed_on" TEXT NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f','now')),
      "execution_time" INT NOT NULL,
      "success" BOOLEAN NOT NULL
    );
    CREATE INDEX "flyway_schema_history_s_idx" ON "flyway_schema_history" ("success");
    """
      + rows.enumerated().map { rank, row in
        "INSERT INTO flyway_schema_history (installed_rank, description, installed_by, execution_time, version, type, script, success) VALUES (\(rank), '', '', 0, \(row));"
      }.joined()
  }

  /// Rows of a version and whether it succeeded.
  static func sqlx(_ rows: String...) -> String {
    """
    CREATE TABLE _sqlx_migrations (
        version BIGINT PRIMARY KEY,
        description TEXT NOT NULL,
        installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
        success BOOLEAN NOT NULL,
        checksum BLOB NOT NULL,
        execution_time BIGINT NOT NULL
    );
    """
      + rows.map {
        "INSERT INTO _sqlx_migrations (description, checksum, execution_time, version, success) VALUES ('', x'', 0, \($0));"
      }.joined()
  }

  static func django(_ rows: String...) -> String {
    """
    CREATE TABLE "django_migrations" ("id" integer NOT NULL PRIMARY KEY AUTOINCREMENT, "app" varchar(255) NOT NULL, "name" varchar(255) NOT NULL, "applied" datetime NOT NULL);
    """
      + rows.map { "INSERT INTO django_migrations (app, name, applied) VALUES (\($0), '');" }
      .joined()
  }

  static func yoyo(_ ids: String...) -> String {
    """
    CREATE TABLE "_yoyo_migration" ("migration_hash" VARCHAR(64), "migration_id" VARCHAR(255), "applied_at_utc" TIMESTAMP, PRIMARY KEY ("migration_hash"));
    CREATE TABLE "_yoyo_log" ("id" VARCHAR(36), PRIMARY KEY ("id"));
    CREATE TABLE "_yoyo_version" ("version" INT NOT NULL PRIMARY KEY, "installed_at_utc" TIMESTAMP);
    CREATE TABLE yoyo_lock (locked INT DEFAULT 1, ctime TIMESTAMP, pid INT NOT NULL, PRIMARY KEY (locked));
    """ + insert("_yoyo_migration", ids.map { "'\($0)', '\($0)', ''" })
  }

  private static func insert(_ table: String, _ rows: [String]) -> String {
    rows.map { "INSERT INTO \(table) VALUES (\($0));" }.joined()
  }
}

/// A folder with three files, and what is found in a database beside it.
private struct Survey {
  static let one = "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL);"
  static let two = "ALTER TABLE item ADD COLUMN size INTEGER;"
  static let three = "CREATE INDEX item_by_size ON item (size);"
  static let files = [
    "0001_initial.sql": one, "0002_item_size_68ed601820ee.sql": two, "0003_by_size.sql": three,
  ]

  static func look(
    _ sql: String, _ files: [String: String] = files, at version: String? = nil
  ) throws -> Adoption {
    let folder = try TemporaryFolder()
    for (name, text) in files { try folder.write(text, to: "migrations/\(name)") }
    let connection = try Connection(path: folder("coach.db"), mode: .create)
    try connection.execute(sql)
    return try Adoption(
      connection, try MigrationCatalog(directory: folder("migrations")),
      at: version.flatMap { SchemaVersion($0) })
  }
}

@Suite("Each tool's table is read, and its own tables are no part of the schema")
struct ToolTableTests {
  @Test(
    "A table that agrees with the schema makes the version certain",
    arguments: [
      (ToolTables.dbmate("0001", "0002"), "dbmate"),
      (ToolTables.rails("1", "2"), "Rails"),
      (ToolTables.golangMigrate("2"), "golang-migrate"),
      (ToolTables.goose("1, 1", "2, 1", "3, 1", "3, 0"), "goose"),
      (ToolTables.goose("1, 1", "2, 1", "2, 0", "2, 1"), "goose"),
      (
        ToolTables.flyway("'1', 'SQL', 'V1__a.sql', 1", "'2', 'SQL', 'V2__b.sql', 1"),
        "Flyway"
      ),
      (
        ToolTables.flyway(
          "'1', 'BASELINE', '', 1", "'2', 'SQL', 'V2__b.sql', 1", "NULL, 'SQL', 'R__v.sql', 1",
          "'3', 'SQL', 'V3__c.sql', 1", "'3', 'UNDO_SQL', 'U3__c.sql', 1"), "Flyway"
      ),
      (ToolTables.sqlx("1, 1", "2, 1"), "sqlx"),
      (ToolTables.alembic("68ed601820ee"), "Alembic"),
      (
        ToolTables.django(
          "'auth', '0001_initial'", "'auth', '0002_x'", "'sessions', '0001_initial'",
          "'shop', '0001_initial'", "'shop', '0002_item_size_68ed601820ee'"), "Django"
      ),
      (ToolTables.yoyo("0001_initial", "0002_item_size_68ed601820ee"), "yoyo"),
    ])
  func agrees(table: String, tool: String) throws {
    let found = try Survey.look(Survey.one + Survey.two + table)
    #expect(found.findings.map(\.tool.rawValue) == [tool])
    #expect(found.findings.first?.version == SchemaVersion("2"))
    #expect(found.exact.map(\.description) == ["2"])
    #expect(found.proposal == SchemaVersion("2"))
    #expect(found.isCertain)
    #expect(found.reason.hasPrefix("\(tool) says version 2"))
    #expect(found.warnings.isEmpty && found.differences.isEmpty)
  }

  @Test(
    "A table that says that nothing is applied means version 0",
    arguments: [
      ToolTables.dbmate(), ToolTables.golangMigrate(nil), ToolTables.goose("1, 1", "1, 0"),
      ToolTables.flyway(), ToolTables.sqlx(), ToolTables.alembic(), ToolTables.yoyo(),
      ToolTables.flyway("'1', 'SQL', '', 1", "'1', 'DELETE', '', 1"),
    ])
  func nothing(table: String) throws {
    let found = try Survey.look(table)
    #expect(found.proposal == .zero)
    #expect(found.isCertain)
  }

  @Test(
    "What is half done is refused with the reason, also when the schema fits",
    arguments: [
      (ToolTables.golangMigrate("2", dirty: true), "dirty"),
      (ToolTables.sqlx("1, 1", "2, 0"), "did not succeed"),
      (ToolTables.flyway("'1', 'SQL', '', 1", "'2', 'SQL', 'V2__b.sql', 0"), "V2__b.sql failed"),
      (ToolTables.alembic("68ed601820ee", "0078a61315c9"), "2 revisions at a time"),
    ])
  func unfinished(table: String, words: String) throws {
    let found = try Survey.look(Survey.one + Survey.two + table)
    #expect(found.proposal == nil && !found.isCertain)
    #expect(found.warnings.contains { $0.contains(words) })
  }

  @Test(
    "What no file has is named, and nothing is certain",
    arguments: [
      ToolTables.dbmate("1", "2", "9"), ToolTables.golangMigrate("9"),
      ToolTables.goose("1, 1", "2, 1", "9, 1"), ToolTables.sqlx("1, 1", "2, 1", "9, 1"),
      ToolTables.rails("1", "2", "20240101120000", "9"),
    ])
  func unknown(table: String) throws {
    let found = try Survey.look(Survey.one + Survey.two + table)
    #expect(!found.isCertain)
    #expect(found.findings.first?.unknown.last == "9")
    #expect(found.warnings.contains { $0.contains("no file has") && $0.contains("9") })
  }

  @Test("A file that the tool has left out is named, and nothing is certain") func gap() throws {
    let found = try Survey.look(
      Survey.one + Survey.two + Survey.three + ToolTables.goose("1, 1", "3, 1"))
    #expect(found.findings.first?.missing.map(\.description) == ["2"])
    #expect(found.proposal == SchemaVersion("3"))
    #expect(!found.isCertain)
    #expect(found.warnings == ["goose has not applied 2, which are older than 3."])
  }

  @Test(
    "Ids that no file is named for leave it to the schema",
    arguments: [
      ToolTables.alembic("f3c4a20601b2"),
      ToolTables.django("'shop', '0001_first'", "'shop', '0002_second'"),
      ToolTables.yoyo("20250101_01_AbCdE-items"),
    ])
  func otherIds(table: String) throws {
    let found = try Survey.look(Survey.one + Survey.two + table)
    #expect(found.findings.first?.version == nil)
    #expect(found.proposal == SchemaVersion("2") && found.isCertain)
    #expect(found.reason == "The schema is exactly that of version 2, and of no other.")
  }

  @Test("Names that fit several apps of Django leave it to the schema") func apps() throws {
    let found = try Survey.look(
      Survey.one + ToolTables.django("'shop', '0001_initial'", "'blog', '0001_initial'"))
    #expect(found.findings.first?.version == nil)
    #expect(found.findings.first?.reason.contains("blog, shop") == true)
    #expect(found.proposal == SchemaVersion("1") && found.isCertain)
  }

  @Test("A revision of Alembic that is a number is the file's number") func number() throws {
    let found = try Survey.look(Survey.one + ToolTables.alembic("0001"))
    #expect(found.findings.first?.version == SchemaVersion("1"))
  }

  @Test(
    "A table with a tool's name and other columns is the application's",
    arguments: ["schema_migrations", "alembic_version", "goose_db_version", "django_migrations"])
  func otherColumns(table: String) throws {
    let found = try Survey.look(Survey.one + "CREATE TABLE \(table) (x);")
    #expect(found.findings.isEmpty)
    #expect(found.exact.isEmpty)
    #expect(found.differences.map(\.name) == [table])
  }
}

@Suite("The schema is compared with that of each version")
struct SchemaMatchTests {
  @Test("Without any tool the one schema that fits is the version") func one() throws {
    let found = try Survey.look(Survey.one + "PRAGMA user_version = 3;")
    #expect(found.findings.isEmpty && found.userVersion == 3)
    #expect(found.matches.map(\.differences) == [1, 0, 1, 2])
    #expect(found.proposal == SchemaVersion("1") && found.isCertain)
  }

  @Test("Versions with one schema are listed, and the newest is not taken silently") func several()
    throws
  {
    let files = [
      "0001_a.sql": Survey.one, "0002_b.sql": "INSERT INTO item (body) VALUES ('x');",
      "0003_c.sql": Survey.two,
    ]
    let found = try Survey.look(Survey.one, files)
    #expect(found.exact.map(\.description) == ["1", "2"])
    #expect(found.proposal == nil && !found.isCertain)
    #expect(found.reason.contains("1, 2"))
    // A tool's word decides.
    let said = try Survey.look(Survey.one + ToolTables.dbmate("1"), files)
    #expect(said.proposal == SchemaVersion("1") && said.isCertain)
  }

  @Test("A tool that disagrees with the schema is not followed") func disagreement() throws {
    let found = try Survey.look(Survey.one + ToolTables.sqlx("1, 1", "2, 1"))
    #expect(found.proposal == nil && !found.isCertain)
    #expect(found.reason == "sqlx says version 2, but the schema is exactly that of version 1.")
    #expect(found.comparedWith == SchemaVersion("2"))
    #expect(found.differences.map(\.name) == ["item"])
  }

  @Test("Where no schema fits, a tool's word is a proposal that is not certain") func unlike()
    throws
  {
    let found = try Survey.look(
      Survey.one + Survey.two + "CREATE TABLE own (x);" + ToolTables.goose("1, 1", "2, 1"))
    #expect(found.proposal == SchemaVersion("2") && !found.isCertain)
    #expect(found.differences.map { "\($0.kind) \($0.name)" } == ["extra own"])
    let silent = try Survey.look(Survey.one + Survey.two + "CREATE TABLE own (x);")
    #expect(silent.proposal == nil)
    #expect(silent.comparedWith == SchemaVersion("2"))
  }

  @Test("Two tools that disagree are both named") func tools() throws {
    let found = try Survey.look(
      Survey.one + ToolTables.dbmate("1") + ToolTables.sqlx("1, 1", "2, 1"))
    #expect(found.proposal == nil)
    #expect(found.reason == "The tools' tables say different versions: 1, 2.")
  }

  @Test("Files that cannot run on an empty database end the comparison, and nothing is certain")
  func incomplete() throws {
    var files = Survey.files
    files["0002_item_size_68ed601820ee.sql"] = "ALTER TABLE elsewhere ADD COLUMN a;"
    let found = try Survey.look(Survey.one, files)
    #expect(found.matches.count == 2)
    #expect(found.warnings.first?.contains("behind version 1") == true)
    #expect(found.proposal == SchemaVersion("1") && !found.isCertain)
  }

  @Test("A person's word is held against what was found") func word() throws {
    let sql = Survey.one + ToolTables.dbmate("1")
    #expect(try Survey.look(sql, at: "1").warnings.isEmpty)
    #expect(
      try Survey.look(sql, at: "2").warnings == [
        "dbmate says version 1.", "The schema differs from that of version 2 in 1 place.",
      ])
    #expect(try Survey.look(Survey.one, at: "0").warnings.isEmpty)
  }

  @Test("An adopted database is refused, and looking changes nothing") func adopted() throws {
    let folder = try TemporaryFolder()
    try SampleDatabase.make(folder("coach.db"), Survey.one + ToolTables.dbmate("1"))
    try folder.write(Survey.one, to: "migrations/0001_initial.sql")
    let catalog = try MigrationCatalog(directory: folder("migrations"))
    let before = try FileSystem.read(folder("coach.db"))
    _ = try Adoption(try Database.open(folder("coach.db")), catalog)
    #expect(try FileSystem.read(folder("coach.db")) == before)
    try Creation.adopt(
      folder("coach.db"), at: .zero, catalog: catalog, run: "adopt", chockVersion: "0.1.0")
    let failure = try #require(throws: Failure.self) {
      try Adoption(try Database.open(folder("coach.db")), catalog)
    }
    #expect(failure.code == .databaseExists)
  }
}
