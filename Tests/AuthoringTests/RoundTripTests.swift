import Authoring
import FoundationEssentials
import Migrations
import Storage
import TestSupport
import Testing

@Suite("A way back is proven to lead back")
struct RoundTripTests {
  private func trips(_ files: [String: String], database: String? = nil) throws -> [RoundTrip] {
    let folder = try TemporaryFolder()
    for (name, text) in files { try folder.write(text, to: "migrations/\(name)") }
    let catalog = try MigrationCatalog(directory: folder("migrations"))
    guard let database else { return try RoundTrip.all(catalog, on: try Scratch()) }
    try SampleDatabase.make(folder("coach.db"), database)
    try Creation.adopt(
      folder("coach.db"), at: .zero, catalog: catalog, run: "test", chockVersion: "test")
    let before = try FileSystem.read(folder("coach.db"))
    let trips = try RoundTrip.all(catalog, on: try Scratch(copyOf: folder("coach.db")))
    #expect(try FileSystem.read(folder("coach.db")) == before)
    return trips
  }

  @Test("Up, down and up again, also over rows that are there") func good() throws {
    let files = [
      "0001_a.sql":
        "ALTER TABLE item ADD COLUMN size INTEGER; CREATE TABLE a (x); INSERT INTO a VALUES (1);",
      "0001_a.rollback.sql": "DROP TABLE a; ALTER TABLE item DROP COLUMN size;",
      "0002_b.sql": "-- Transaction: none\nVACUUM;",
    ]
    let trips = try trips(files, database: "CREATE TABLE item (id); INSERT INTO item VALUES (1);")
    #expect(trips.map(\.version.description) == ["1", "2"])
    #expect(trips.allSatisfy { $0.problems.isEmpty && $0.warnings.isEmpty && $0.upSeconds != nil })
    #expect(trips.map { $0.downSeconds != nil } == [true, false])
  }

  @Test(
    "One that leaves something, or takes too much, is found",
    arguments: [
      ("CREATE TABLE b (x)", "DELETE FROM item", "item has 0 rows instead of 1"),
      ("CREATE TABLE b (x)", "UPDATE item SET id = 2", "item holds other values"),
      ("CREATE TABLE b (x)", "DROP INDEX item_by_id", "the index item_by_id is missing"),
      (
        "CREATE TABLE b (x); CREATE INDEX extra ON item (id)", "SELECT 1",
        "the index extra is still there"
      ),
      ("CREATE TABLE b (x)", "DROP TABLE absent", "no such table: absent"),
    ])
  func bad(up: String, down: String, words: String) throws {
    let drop = up.contains("extra") ? "" : "; DROP TABLE b"
    let trips = try trips(
      ["0001_a.sql": up, "0001_a.rollback.sql": "-- Expect: item rows >= 0\n\(down)\(drop)"],
      database:
        "CREATE TABLE item (id); CREATE INDEX item_by_id ON item (id); INSERT INTO item VALUES (1);"
    )
    let problems = trips.flatMap(\.problems).map(\.message)
    #expect(problems.contains { $0.contains(words) }, "\(problems)")
  }

  @Test("A search index that finds the wrong rows, and a number in the header, are found")
  func hidden() throws {
    let index = "CREATE VIRTUAL TABLE f USING fts5(x, content='t');"
    let problems = try trips([
      "0001_t.sql":
        "CREATE TABLE t (x); INSERT INTO t VALUES ('apple'), ('pear'); \(index) INSERT INTO f (f) VALUES ('rebuild');",
      "0002_y.sql": "PRAGMA user_version = 5; ALTER TABLE t ADD COLUMN y;",
      "0002_y.rollback.sql":
        "CREATE TABLE t2 (x); INSERT INTO t2 SELECT x FROM t ORDER BY x DESC; DROP TABLE t; ALTER TABLE t2 RENAME TO t;",
    ]).flatMap(\.problems).map(\.message)
    #expect(
      problems.contains { $0.contains("full-text index f finds the wrong rows") }, "\(problems)")
    #expect(problems.contains { $0.contains("user_version 5") }, "\(problems)")
  }

  @Test("What a migration removes for good on purpose is a warning") func destructive() throws {
    let trips = try trips([
      "0001_t.sql": "CREATE TABLE t (x); INSERT INTO t VALUES (1);",
      "0002_t.sql": "-- Destructive: yes\n-- Expect: t rows >= 0\nDROP TABLE t;",
      "0002_t.rollback.sql": "CREATE TABLE t (x);",
    ])
    #expect(trips.allSatisfy { $0.problems.isEmpty })
    #expect(trips.contains { $0.warnings.joined().contains("t has 0 rows instead of 1") })
  }

  @Test("What comes out otherwise each time is a warning") func random() throws {
    let trips = try trips([
      "0001_a.sql": "CREATE TABLE a (x); INSERT INTO a VALUES (randomblob(8));",
      "0001_a.rollback.sql": "DROP TABLE a;",
    ])
    #expect(trips.allSatisfy { $0.problems.isEmpty })
    #expect(trips.first?.warnings.first?.contains("a holds other values") == true)
  }

  @Test("A file that fails is the last one, and is named") func failing() throws {
    let trips = try trips(["0001_a.sql": "SELECT\nbroken;", "0002_b.sql": "CREATE TABLE b (x);"])
    #expect(trips.count == 1)
    #expect(trips.first?.problems.first?.line == 2)
  }
}

@Suite("A new migration gets the next number, in the folder's own way")
struct NewMigrationTests {
  private static let now = Date(timeIntervalSince1970: 1_800_000_000)

  @Test(arguments: [
    ([], "0001_add_tanks", "1"),
    (["0009_x.sql", "0010_y.sql"], "0011_add_tanks", "11"),
    (["9_x.sql"], "10_add_tanks", "10"),
    (["V4__x.sql"], "V5__add_tanks", "5"),
    (["phase1_004_x.sql"], "phase1_005_add_tanks", "1.5"),
    (["20250101120000_x.sql"], "20270115080000_add_tanks", "20270115080000"),
    (["20990101120000_x.sql"], "20990101120001_add_tanks", "20990101120001"),
  ])
  func name(there: [String], stem: String, version: String) throws {
    let folder = try TemporaryFolder()
    for name in there { try folder.write("SELECT 1;", to: name) }
    let new = try NewMigration("2 × Add tanks!", in: folder.path, now: Self.now)
    #expect(new.migration == folder("\(stem).sql"))
    #expect(new.rollback == folder("\(stem).rollback.sql"))
    #expect(new.version.description == version)
    // The newest one may be half written.
    let next = try NewMigration("More", in: folder.path, now: Self.now)
    #expect(next.version > new.version)
  }

  @Test("As it is written it changes nothing, and is refused by name") func unfinished() throws {
    let folder = try TemporaryFolder()
    let new = try NewMigration("Add tanks", in: folder.path)
    #expect(throws: Failure.self) { try MigrationCatalog(directory: folder.path) }
    let parts = TestCoach.text(new.migration).split(separator: "-- @validate")
    try folder.write(
      parts.joined(separator: "CREATE TABLE tank (id);\n-- @validate"), to: "0001_add_tanks.sql")
    try folder.write(
      "\(TestCoach.text(new.rollback))DROP TABLE tank;", to: "0001_add_tanks.rollback.sql")
    let trips = try RoundTrip.all(
      try MigrationCatalog(directory: folder.path), on: try Scratch())
    #expect(trips.allSatisfy { $0.problems.isEmpty })
  }

  @Test("Words that would make another file of it, and numbers that end") func oddNames() throws {
    let folder = try TemporaryFolder()
    let new = try NewMigration("Fix rollback", in: folder.path)
    #expect(new.migration == folder("0001_fix_rollback_again.sql"))
    try folder.write("SELECT 1;", to: "\(UInt64.max)_x.sql")
    #expect(throws: Failure.self) { try NewMigration("More", in: folder.path) }
  }

  @Test("Nothing is replaced, and a wrong place or name is said") func refused() throws {
    let folder = try TemporaryFolder()
    for (words, place) in [("!?", folder.path), ("Tanks", folder("nowhere"))] {
      #expect(throws: Failure.self) { try NewMigration(words, in: place) }
    }
    #expect(try FileSystem.names(in: folder.path).isEmpty)
  }
}
