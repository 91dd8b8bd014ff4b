import Authoring
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("A baseline makes what all files make, or is not written")
struct SquashTests {
  private let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  /// Not how an index lays out its own tables.
  private static let kept = [
    "odd \"name", "log", "plain", "item", "own_content", "search_content", "sqlite_sequence",
  ]

  private func catalog(_ files: [String: String]) throws -> MigrationCatalog {
    for (name, text) in files { try folder.write(text, to: name) }
    return try MigrationCatalog(directory: folder.path, hasBaselines: false)
  }

  private func made(_ catalog: MigrationCatalog) throws -> (
    print: String, ledger: [String], steps: Int
  ) {
    let path = folder("made-\(catalog.baselines.count).db")
    let plan = try Plan(catalog: catalog, ledger: .blank)
    _ = try Creation.create(path, plan, ApplyOrder(run: "test", chockVersion: "test"))
    let connection = try Database.open(path)
    let ledger = try LedgerTable.read(connection)
    return (
      try Fingerprint(connection).tables.filter { Self.kept.contains($0.name) }
        .map { "\($0.name) \($0.digest)" }.joined(),
      (ledger?.entries ?? []).map { "\($0.version) \($0.checksum)" }, plan.steps.count
    )
  }

  @Test("Rows, rowids, generated columns, full text, views and triggers that must not fire")
  func everything() throws {
    let files = try catalog([
      "0001_a.sql": """
      CREATE TABLE "odd ""name" (a TEXT, b BLOB, c REAL, d GENERATED ALWAYS AS (length(a)) STORED);
      INSERT INTO "odd ""name" (a, b, c) VALUES ('it''s; -- @migrate', x'00ff', 0.1), (NULL, NULL, 1e300);
      DELETE FROM "odd ""name" WHERE rowid = 1;
      INSERT INTO "odd ""name" (a) VALUES ('two
      lines');
      CREATE TABLE log (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
      CREATE TABLE plain (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
      INSERT INTO plain VALUES ('b', 1), ('a', 9223372036854775807);
      """,
      "0002_b.sql": """
      -- Expect: item rows +2
      CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
      CREATE VIRTUAL TABLE search USING fts5(name, content='item', content_rowid='id');
      CREATE VIRTUAL TABLE own USING fts5(words);
      CREATE TRIGGER item_is_found AFTER INSERT ON item BEGIN
        INSERT INTO search(rowid, name) VALUES (new.id, new.name);
        INSERT INTO log (what) VALUES (new.name);
      END;
      INSERT INTO item (name) VALUES ('tent'), ('rope');
      INSERT INTO own VALUES ('a few words');
      CREATE VIEW items AS SELECT name FROM item;
      CREATE TRIGGER items_go INSTEAD OF DELETE ON items BEGIN DELETE FROM item WHERE name = old.name; END;
      CREATE INDEX item_by_name ON item (name);
      """,
      "0003_c.sql":
        "-- Expect: item rows +1\nALTER TABLE item ADD COLUMN size INTEGER; INSERT INTO item (name, size) VALUES ('lamp', 3);",
    ])
    let squash = try Squash(files, to: try #require(SchemaVersion("2")))
    #expect(squash.file == folder("0002_b.baseline"))
    #expect(squash.warnings.isEmpty)
    let both = try MigrationCatalog(directory: folder.path)
    #expect(both.migrations.count == 3)
    let (old, new) = (try made(files), try made(both))
    #expect(old.print == new.print)
    #expect(old.ledger == new.ledger)
    #expect((old.steps, new.steps) == (3, 2))
    let found = try Database.open(folder("made-1.db"))
    #expect(try found.text("SELECT name FROM search('lamp')") == "lamp")
    #expect(try found.text("SELECT group_concat(rowid) FROM search('tent OR rope')") == "1,2")
  }

  @Test("An older database goes through the files") func older() throws {
    let files = try catalog([
      "0001_a.sql": "CREATE TABLE a (x);", "0002_b.sql": "CREATE TABLE b (x);",
    ])
    _ = try Squash(files, to: files.latest)
    let both = try MigrationCatalog(directory: folder.path)
    let first = try #require(files.migrations.first)
    let entry = LedgerEntry(
      version: first.version, name: first.name, checksum: first.checksum, appliedAt: "",
      durationMs: 0, run: "", chockVersion: "", kind: .applied)
    #expect(
      try Plan(catalog: both, ledger: Ledger(entries: [entry])).steps.map(\.fileName)
        == ["0002_b.sql"])
    // Adopted at 0: it has tables of somebody else.
    #expect(try Plan(catalog: both, ledger: Ledger(entries: [])).steps.count == 2)
    #expect(try Plan(catalog: both, ledger: .blank).after.map(\.description) == ["1", "2"])
    let one = Goal.update(to: first.version, outOfOrder: false)
    #expect(
      try Plan(catalog: both, ledger: .blank, goal: one).steps.map(\.fileName) == ["0001_a.sql"])
  }

  @Test("A file that changed since makes the baseline void, and it can be made anew")
  func stale() throws {
    let files = try catalog(["0001_a.sql": "CREATE TABLE a (x);"])
    _ = try Squash(files, to: files.latest)
    try folder.write("CREATE TABLE a (x, y);", to: "0001_a.sql")
    // Only who makes a new database would use it.
    let catalog = try MigrationCatalog(directory: folder.path)
    _ = try Plan(catalog: catalog, ledger: Ledger(entries: []))
    let error = #expect(throws: Failure.self) { try Plan(catalog: catalog, ledger: .blank) }
    #expect(error?.file == folder("0001_a.baseline"))
    #expect(error?.howToClear?.contains("chock squash --to 1") == true)
    #expect(try Lint.findings(directory: folder.path).contains { $0.file.hasSuffix(".baseline") })
    _ = try Squash(try self.catalog([:]), to: files.latest)
    #expect(try MigrationCatalog(directory: folder.path).baselines.count == 1)
  }

  @Test(
    "What one file cannot do is refused, and nothing is written",
    arguments: [
      ("PRAGMA user_version = 7; CREATE TABLE a (x);", "user_version"),
      (
        "CREATE TABLE a (x INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES (9); DELETE FROM a;",
        "AUTOINCREMENT"
      ),
      (Self.asks + "CREATE TABLE a (x); INSERT INTO a VALUES (:unit);", "answer"),
      (
        Self.asks
          + "CREATE TABLE a (x); INSERT INTO a VALUES (random()), (2); DELETE FROM a WHERE :unit = 'st';",
        "answer"
      ),
      (
        "CREATE VIRTUAL TABLE f USING fts5(a); INSERT INTO f (f, rank) VALUES ('rank', 'bm25(10.0)');",
        "f_config would"
      ),
      (
        "CREATE TABLE a (x); INSERT INTO a VALUES ('one'), ('two'); CREATE VIRTUAL TABLE f USING fts5(x, content='a'); INSERT INTO f (rowid, x) VALUES (1, 'one');",
        "f_docsize would"
      ),
      (
        "CREATE VIRTUAL TABLE f USING fts5(x, content=''); INSERT INTO f (rowid, x) VALUES (1, 'one');",
        "read back what is in f"
      ),
      ("CREATE TABLE a (x); DROP TABLE a;", "make nothing"),
    ])
  func refused(sql: String, words: String) throws {
    let files = try catalog(["0001_a.sql": sql])
    let error = #expect(throws: Failure.self) { try Squash(files, to: files.latest) }
    #expect(error?.message.contains(words) == true, "\(error as Any)")
    #expect(try FileSystem.names(in: folder.path) == ["0001_a.sql"])
  }

  private static let asks =
    "-- Input: unit TEXT \"Which unit?\" default 'kg' choices 'kg','lb','st'\n-- Expect: a rows >= 0\n"

  @Test("An answer that only goes over rows that are not there; rows that are new each time")
  func harmless() throws {
    let files = try catalog([
      "0001_a.sql":
        "-- Input: unit TEXT \"Which unit?\"\nCREATE TABLE a (x); CREATE TABLE b (x, y); UPDATE a SET x = :unit; INSERT INTO b SELECT x, :unit FROM a;",
      "0002_b.sql": "INSERT INTO a VALUES (randomblob(8));",
      "0003_c.sql": "INSERT INTO a VALUES (CURRENT_TIMESTAMP);",
    ])
    #expect(try Squash(files, to: try #require(SchemaVersion("1"))).warnings.isEmpty)
    let warnings = try Squash(files, to: files.latest).warnings.joined(separator: "\n")
    #expect(warnings.contains("a holds other") && warnings.contains("CURRENT_TIMESTAMP"))
  }

  @Test("Rows keep their numbers, whatever index SQLite reads them by") func numbers() throws {
    let files = try catalog([
      "0001_a.sql": """
      CREATE TABLE icon (name TEXT UNIQUE, file TEXT AS (name || '.svg'));
      INSERT INTO icon VALUES ('zebra'), ('apple'), ('mango');
      CREATE TABLE odd (a); INSERT INTO odd (rowid, a) VALUES (-5, 'x'), (2, 1e999), (3, -1e999);
      CREATE TABLE pair (a INTEGER, b, PRIMARY KEY (a, b)); INSERT INTO pair VALUES (9, 1), (8, 1);
      """
    ])
    _ = try Squash(files, to: files.latest)
    let path = folder("new.db")
    let plan = try Plan(catalog: try MigrationCatalog(directory: folder.path), ledger: .blank)
    _ = try Creation.create(path, plan, ApplyOrder(run: "test", chockVersion: "test"))
    let made = try Database.open(path)
    #expect(
      try made.text(
        "SELECT group_concat(rowid || name) FROM (SELECT rowid, name FROM icon ORDER BY 1)")
        == "1zebra,2apple,3mango")
    #expect(
      try made.text("SELECT group_concat(rowid) FROM (SELECT rowid FROM odd ORDER BY 1)")
        == "-5,2,3")
    #expect(
      try made.text("SELECT group_concat(a) FROM (SELECT a FROM pair ORDER BY rowid)") == "9,8")
  }

  @Test("A baseline that somebody has edited is not used") func edited() throws {
    let files = try catalog(["0001_a.sql": "CREATE TABLE a (x); CREATE TABLE b (x);"])
    let squash = try Squash(files, to: files.latest)
    try folder.write(
      TestCoach.text(squash.file).split(separator: "CREATE TABLE b (x);").joined(),
      to: "0001_a.baseline")
    let catalog = try MigrationCatalog(directory: folder.path)
    #expect(catalog.baselines.isEmpty)
    #expect(throws: Failure.self) { try Plan(catalog: catalog, ledger: .blank) }
  }

  @Test("Foreign keys may be on for the files behind it; one by an older name is replaced")
  func enforced() throws {
    let enforced = "-- Foreign-Keys: enforced\n"
    let files = try catalog([
      "0001_a.sql":
        "\(enforced)CREATE TABLE b (x INTEGER PRIMARY KEY); CREATE TABLE a (x REFERENCES b); INSERT INTO b VALUES (1); INSERT INTO a VALUES (1);",
      "0002_b.sql": "\(enforced)-- Expect: a rows +1\nINSERT INTO a VALUES (1);",
    ])
    _ = try Squash(files, to: try #require(SchemaVersion("1")))
    let path = folder("new.db")
    let plan = try Plan(catalog: try MigrationCatalog(directory: folder.path), ledger: .blank)
    _ = try Creation.create(path, plan, ApplyOrder(run: "test", chockVersion: "test"))
    #expect(try Database.open(path).integer("SELECT count(*) FROM a") == 2)

    try FileSystem.rename(folder("0001_a.sql"), to: folder("0001_again.sql"))
    _ = try Squash(try catalog([:]), to: try #require(SchemaVersion("1")))
    #expect(
      try FileSystem.names(in: folder.path).filter { $0.hasSuffix(".baseline") } == [
        "0001_again.baseline"
      ])
  }

  @Test("Only a baseline file has the header, and each has it") func header() throws {
    for (name, text) in [
      ("0001_a.sql", "-- Squashes: abc\nCREATE TABLE a (x);"),
      ("0001_a.baseline", "CREATE TABLE a (x);"),
    ] {
      let error = #expect(throws: Failure.self) {
        try Migration(fileName: name, path: name, text: text)
      }
      #expect(error?.code == .migrationFile)
    }
  }
}
