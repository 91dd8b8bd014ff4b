import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("Rows of another version are never put in as they are", .timeLimit(.minutes(15)))
struct RescueVersionTests {
  /// Lengths in another unit from version 2 on, also in a table that was empty when it came.
  private static let migrations = [
    "0001_lengths.sql": """
    -- Description: Lengths
    CREATE TABLE a (id INTEGER PRIMARY KEY, x);
    CREATE TABLE late (id INTEGER PRIMARY KEY, x);
    CREATE TABLE rebuilt (id INTEGER PRIMARY KEY, x);
    CREATE TABLE name (id INTEGER PRIMARY KEY, text TEXT);
    """,
    "0002_units.sql": """
    -- Description: In millimetres
    -- Input: factor INTEGER "How many millimetres is one?"
    UPDATE a SET x = x * :factor;
    UPDATE late SET x = x * :factor;
    CREATE TABLE new (id INTEGER PRIMARY KEY, x);
    INSERT INTO new SELECT id, x * :factor FROM rebuilt;
    DROP TABLE rebuilt;
    ALTER TABLE new RENAME TO rebuilt;
    ALTER TABLE name ADD COLUMN length INTEGER;
    UPDATE name SET length = length(text);
    """,
  ]

  private func coach(
    _ rows: String, _ migrations: [String: String] = migrations
  ) async throws -> TestCoach {
    let coach = try TestCoach(migrations: migrations)
    #expect(try await coach.run("init", "--to", "1").code == 0)
    try SampleDatabase.change(coach.database, rows)
    return coach
  }

  /// - Returns: the snapshot from before.
  private func update(
    _ coach: TestCoach, _ inputs: [String] = ["--input", "factor=1000"]
  ) async throws -> String {
    let answer = try await coach.run(["update", "--offline", "--yes", "--json"] + inputs)
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .committed, "\(answer)")
    return try #require(run.snapshotId)
  }

  /// - Returns: the rescue copy.
  private func restore(_ coach: TestCoach, _ snapshot: String) async throws -> String {
    let run: RunDocument = try await coach.run(
      "restore", snapshot, "--offline", "--yes", "--json"
    ).document()
    #expect(run.outcome == .restored, "\(run)")
    return try #require(run.rescueCopy)
  }

  private func apply(_ coach: TestCoach, _ arguments: String...) async throws -> RunDocument {
    try await coach.run(
      ["rescue", "apply"] + arguments + ["--offline", "--yes", "--json"]
    ).document()
  }

  private func rows(_ coach: TestCoach, _ table: String) throws -> String? {
    try SampleDatabase.value(
      coach.database,
      "SELECT group_concat(id || ' ' || x) FROM (SELECT * FROM \(table) ORDER BY id)")
  }

  private static let recorded = """
    INSERT INTO a VALUES (3, 3000); UPDATE a SET x = 2500 WHERE id = 2; INSERT INTO late VALUES (1, 5000);
    INSERT INTO rebuilt VALUES (2, 8000); INSERT INTO name VALUES (2, 'Yuma', 4);
    """

  @Test(
    "A copy of a newer version: tables that the update changes wait for it, and then all is there")
  func newer() async throws {
    let coach = try await coach(
      "INSERT INTO a VALUES (1, 1), (2, 2); INSERT INTO rebuilt VALUES (1, 7); INSERT INTO name VALUES (1, 'Moab')"
    )
    let snapshot = try await update(coach)
    try SampleDatabase.change(coach.database, Self.recorded)
    let asked = try await coach.run("restore", snapshot, "--offline")
    #expect(asked.error.contains("what the update itself has changed is counted"), "\(asked)")
    let copy = try await restore(coach, snapshot)
    let shown = try await coach.run("rescue", "show", copy)
    #expect(shown.output.contains("what the update itself has changed is counted"), "\(shown)")

    let folder = coach.folder("out")
    #expect(try await coach.run("rescue", "export", copy, "--to", folder).code == 0)
    #expect(TestCoach.text("\(folder)/rescue.sql").contains("the values are those of 2"))

    let before = try coach.fingerprint()
    let strict = try await apply(coach, copy, "--strict")
    #expect(strict.error?.code == .conflict, "\(strict)")
    #expect(try coach.fingerprint() == before)
    let first = try await apply(coach, copy)
    #expect(first.outcome == .committed, "\(first)")
    let left = (first.rescued ?? []).filter { $0.leftOut != nil }
    #expect(left.map(\.table) == ["a", "late", "rebuilt"], "\(left)")
    #expect(left.map(\.conflicts) == [2, 1, 1], "\(left)")
    #expect(left.allSatisfy { $0.leftOut?.contains("chock update") == true }, "\(left)")
    #expect(first.rescued?.first { $0.table == "name" }?.added == 1, "\(first)")
    #expect(try rows(coach, "a") == "1 1,2 2")
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM late") == "0")
    let words = try await coach.run("rescue", "apply", copy, "--offline", "--yes")
    #expect(words.output.contains("Update first"), "\(words)")

    _ = try await update(coach)
    let second = try await apply(coach, copy)
    #expect(second.outcome == .committed && second.warnings == nil, "\(second)")
    #expect(second.rescued?.allSatisfy { $0.leftOut == nil && $0.conflicts == 0 } == true)
    #expect(try rows(coach, "a") == "1 1000,2 2500,3 3000")
    #expect(try rows(coach, "late") == "1 5000")
    #expect(try rows(coach, "rebuilt") == "1 7000,2 8000")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT count(*) FROM name WHERE length = 4") == "2")
    #expect(try coach.names(in: "state/snapshots").allSatisfy { !$0.contains("partial") })
  }

  @Test(
    "What a newer version has more of a row comes in after the update, though the row is there by then"
  )
  func moreColumns() async throws {
    let coach = try await coach(
      "INSERT INTO notes VALUES (1, 'a')",
      [
        "0001_notes.sql": "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT NOT NULL);",
        "0002_colour.sql": "-- Description: Colour\nALTER TABLE notes ADD COLUMN colour TEXT;",
      ])
    let snapshot = try await update(coach, [])
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO notes VALUES (2, 'b', 'red'), (3, 'c', 'green'); UPDATE notes SET colour = 'blue' WHERE id = 1"
    )
    let copy = try await restore(coach, snapshot)
    _ = try await apply(coach, copy)
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM notes") == "3")
    _ = try await update(coach, [])
    try SampleDatabase.change(coach.database, "UPDATE notes SET colour = 'mine' WHERE id = 3")
    let run = try await apply(coach, copy)
    // What was recorded meanwhile stays.
    #expect(
      try SampleDatabase.value(
        coach.database, "SELECT group_concat(id || body || colour) FROM notes")
        == "1ablue,2bred,3cmine", "\(run)")
  }

  @Test("Where a name means another column later, nothing of the table is put in before the update")
  func renamedColumns() async throws {
    let coach = try await coach(
      "",
      [
        "0001_tanks.sql": """
        CREATE TABLE tanks (id INTEGER PRIMARY KEY, level REAL);
        CREATE TABLE places (id INTEGER PRIMARY KEY, lat REAL, lon REAL);
        """,
        "0002_names.sql": """
        -- Description: Names
        ALTER TABLE tanks RENAME COLUMN level TO level_percent;
        ALTER TABLE tanks ADD COLUMN level REAL;
        ALTER TABLE places RENAME COLUMN lat TO x;
        ALTER TABLE places RENAME COLUMN lon TO lat;
        ALTER TABLE places RENAME COLUMN x TO lon;
        """,
      ])
    let snapshot = try await update(coach, [])
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO tanks VALUES (1, 50, 120); INSERT INTO places (id, lat, lon) VALUES (1, 42, 12)")
    let copy = try await restore(coach, snapshot)
    let first = try await apply(coach, copy)
    #expect(
      first.rescued?.filter { $0.leftOut != nil }.map(\.table) == ["places", "tanks"], "\(first)")
    _ = try await update(coach, [])
    let second = try await apply(coach, copy)
    #expect(second.rescued?.allSatisfy { $0.conflicts == 0 } == true, "\(second)")
    #expect(
      try SampleDatabase.value(
        coach.database,
        "SELECT printf('%d %d %d %d', level_percent, level, lat, lon) FROM tanks, places")
        == "50 120 42 12")
  }

  @Test("Rows that the update makes otherwise each time are not put in beside those that are there")
  func unsteady() async throws {
    let coach = try await coach(
      "INSERT INTO profiles VALUES (1, 'Anna'), (2, 'Ben')",
      [
        "0001_profiles.sql": "CREATE TABLE profiles (id INTEGER PRIMARY KEY, name TEXT);",
        "0002_prefs.sql": """
        -- Description: Preferences
        CREATE TABLE prefs (id TEXT PRIMARY KEY, profile INTEGER, theme TEXT);
        INSERT INTO prefs SELECT lower(hex(randomblob(16))), id, 'light' FROM profiles;
        """,
      ])
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    try SampleDatabase.change(coach.database, "INSERT INTO profiles VALUES (3, 'Cleo')")
    let copy = try await restore(coach, try #require(taken.snapshotId))
    _ = try await update(coach, [])
    let run = try await apply(coach, copy)
    #expect(
      try SampleDatabase.value(
        coach.database,
        "SELECT (SELECT count(*) FROM prefs) || ' ' || (SELECT count(*) FROM profiles)") == "2 3",
      "\(run)")
    let left = run.rescued?.first { $0.table == "prefs" }
    #expect(left?.leftOut?.contains("each time") == true, "\(run)")
  }

  @Test("A copy of an older version: its rows are brought to the database's")
  func older() async throws {
    let coach = try await coach("INSERT INTO a VALUES (1, 1), (2, 2), (4, 4)")
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO a VALUES (3, 3); UPDATE a SET x = 5 WHERE id = 2; INSERT INTO late VALUES (1, 6)"
    )
    let copy = try await restore(coach, try #require(taken.snapshotId))
    _ = try await update(coach)
    try SampleDatabase.change(coach.database, "UPDATE a SET x = 4400 WHERE id = 4")
    let run = try await apply(coach, copy)
    #expect(run.outcome == .committed && run.warnings == nil, "\(run)")
    #expect(try rows(coach, "a") == "1 1000,2 5000,3 3000,4 4400")
    #expect(try rows(coach, "late") == "1 6000")
  }

  @Test("Where no file leads to the copy's version, nothing is put in")
  func noWay() async throws {
    let coach = try await coach("INSERT INTO a VALUES (1, 1)")
    let snapshot = try await update(coach)
    try SampleDatabase.change(coach.database, Self.recorded)
    let copy = try await restore(coach, snapshot)
    let before = try coach.fingerprint()
    try FileSystem.remove("\(coach.migrations)/0002_units.sql")
    let run = try await apply(coach, copy)
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.message.contains("cannot be found out") == true, "\(run)")
    #expect(run.error?.howToClear?.contains("chock rescue export") == true, "\(run)")
    #expect(try coach.fingerprint() == before)
    #expect(try coach.names(in: "state/snapshots").allSatisfy { !$0.contains("partial") })
  }

  // MARK: Salvage

  private func zero(_ pages: String, of coach: TestCoach) throws {
    try SampleDatabase.change(coach.database, "PRAGMA wal_checkpoint(TRUNCATE)")
    let list = try SampleDatabase.value(
      coach.database, "SELECT group_concat(pageno) FROM dbstat WHERE \(pages)")
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let nothing = [UInt8](repeating: 0, count: 4096)
    for page in try #require(list).split(separator: ",").compactMap({ Int($0) }) {
      #expect(pwrite(file, nothing, 4096, off_t((page - 1) * 4096)) == 4096)
    }
  }

  private static let many = """
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000)
    INSERT INTO a SELECT i, i FROM c;
    """

  @Test("A salvage of a newer version than the good snapshot: the printed way leads to its rows")
  func salvage() async throws {
    let coach = try await coach(Self.many)
    let snapshot = try await update(coach)
    try SampleDatabase.change(coach.database, "INSERT INTO a VALUES (9000, 7000)")
    try zero(
      "name = 'a' AND pagetype = 'leaf' AND pageno IN (SELECT min(pageno) FROM dbstat WHERE name = 'a' AND pagetype = 'leaf')",
      of: coach)
    let words = try await coach.run("rescue", "salvage", "--offline")
    #expect(words.output.contains("`chock restore \(snapshot)`, `chock update --to 2`"), "\(words)")
    let list: RescueCopiesDocument = try await coach.run("rescue", "list", "--json").document()
    let copy = try #require(list.copies.first?.copy.id)
    #expect(try await coach.run("restore", snapshot, "--offline", "--yes").code == 0)
    let early = try await apply(coach, copy)
    #expect(early.rescued?.contains { $0.table == "a" && $0.leftOut != nil } == true, "\(early)")
    _ = try await update(coach)
    let run = try await apply(coach, copy)
    #expect(run.outcome == .committed, "\(run)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT sum(x) FROM a")
        == "\(4000 * 4001 / 2 * 1000 + 7000)")
  }

  /// What salvage says of a ledger that is lost with its index.
  private func salvagedLedger(_ coach: TestCoach) async throws -> (words: String, version: String?)
  {
    try zero("name IN ('chock_migrations', 'sqlite_autoindex_chock_migrations_1')", of: coach)
    let run: RunDocument = try await coach.run("rescue", "salvage", "--offline", "--json")
      .document()
    #expect(run.outcome == .finished, "\(run)")
    return ((run.salvage?.problems ?? []).joined(separator: " "), run.fromVersion)
  }

  /// Its second version changes rows alone: the schema stays.
  private func rowsOnly() async throws -> TestCoach {
    let coach = try TestCoach(migrations: [
      "0001_a.sql": "-- Description: A\nCREATE TABLE a (id INTEGER PRIMARY KEY, x);",
      "0002_b.sql": "-- Description: B\nUPDATE a SET x = x * 1000;",
    ])
    #expect(try await coach.run("init", "--to", "1").code == 0)
    try SampleDatabase.change(coach.database, Self.many)
    return coach
  }

  @Test("The ledger of a snapshot is not taken where an update came after it")
  func outdatedLedger() async throws {
    let coach = try await rowsOnly()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let salvaged = try await salvagedLedger(coach)
    #expect(salvaged.version == nil, "\(salvaged)")
    #expect(salvaged.words.contains("it was at 2"), "\(salvaged)")
    #expect(salvaged.words.contains("chock adopt --at 2"), "\(salvaged)")
    let list: RescueCopiesDocument = try await coach.run("rescue", "list", "--json").document()
    let id = try #require(list.copies.first?.copy.id)
    let refused = try await apply(coach, id)
    #expect(refused.outcome == .refused, "\(refused)")
    #expect(try await coach.run("restore", id, "--offline", "--yes").code == 0)
    #expect(try await coach.run("adopt", "--at", "2", "--yes").code == 0)
    let done: RunDocument = try await coach.run("update", "--offline", "--yes", "--json")
      .document()
    #expect(done.outcome == .nothingToDo, "\(done)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT sum(x) FROM a")
        == "\(4000 * 4001 / 2 * 1000)")
  }

  @Test("It is taken where none came after it, or where it was put back")
  func currentLedger() async throws {
    let coach = try await rowsOnly()
    let updated: RunDocument = try await coach.run("update", "--offline", "--yes", "--json")
      .document()
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let whole = try FileSystem.read(coach.database)
    let salvaged = try await salvagedLedger(coach)
    #expect(salvaged.version == "2" && salvaged.words.contains("was taken"), "\(salvaged)")
    try FileSystem.replace(coach.database, with: try #require(whole))
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    _ = try await restore(coach, try #require(updated.snapshotId))
    let again = try await salvagedLedger(coach)
    #expect(again.version == "1" && again.words.contains("was taken"), "\(again)")
  }
}
