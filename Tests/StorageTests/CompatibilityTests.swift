import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("A plan says what it breaks for an application of before")
struct CompatibilityTests {
  private static let before = """
    CREATE TABLE trip (id INTEGER PRIMARY KEY, title TEXT, owner TEXT);
    CREATE VIEW titles AS SELECT title FROM trip;
    CREATE VIRTUAL TABLE search USING fts5(title);
    """

  private func breaks(_ files: String...) throws -> [[String]?] {
    let folder = try TemporaryFolder()
    try SampleDatabase.make(folder("coach.db"), Self.before)
    var migrations: [Migration] = []
    for (index, text) in files.enumerated() {
      migrations.append(
        try Migration(fileName: "000\(index + 1)_x.sql", path: "x", text: text))
    }
    let catalog = try MigrationCatalog(directory: folder.path, migrations: migrations)
    let plan = try Plan(catalog: catalog, ledger: Ledger(entries: []))
    return plan.breaks(in: try Database.open(folder("coach.db"))).map { $0?.map(\.message) }
  }

  @Test("Each thing once, at the file that does it; what the plan made itself does not count")
  func named() throws {
    let found = try breaks(
      "CREATE TABLE extra (a); ALTER TABLE trip ADD COLUMN stars INTEGER NOT NULL DEFAULT 0;",
      "DROP VIEW titles; ALTER TABLE trip RENAME COLUMN title TO name; UPDATE trip SET name = 'x';",
      "ALTER TABLE extra RENAME COLUMN a TO b;",
      "DROP TABLE extra; DROP TABLE search;")
    #expect(found[0] == [])
    #expect(
      found[1] == ["The view titles is gone.", "The column title of trip is gone."])
    #expect(found[2] == [])
    #expect(found[3] == ["The table search is gone."])
  }

  @Test("A rebuild is looked at by its result, without the rows") func rebuild() throws {
    let found = try breaks(
      """
      DROP VIEW titles;
      CREATE TABLE new_trip (id INTEGER PRIMARY KEY, title TEXT NOT NULL, owner TEXT) STRICT;
      INSERT INTO new_trip SELECT id, coalesce(title, ''), owner FROM trip;
      DROP TABLE trip; ALTER TABLE new_trip RENAME TO trip;
      CREATE VIEW titles AS SELECT title FROM trip;
      """)
    #expect(found == [["The column title of trip refuses NULL."]])
  }

  @Test("Where it cannot be told nothing is said, and it does not take long") func unknown() throws
  {
    #expect(
      try breaks("CREATE TABLE a (x);", "SELECT broken;", "DROP TABLE trip;") == [[], nil, nil])
    #expect(
      try breaks(
        "CREATE TABLE a AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n;"
      ) == [nil])
  }
}
