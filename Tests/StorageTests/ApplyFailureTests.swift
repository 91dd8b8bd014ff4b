import Migrations
import SQLite
import Storage
import TestSupport
import Testing

/// Every way in which the statements of a migration end early. `Workshop.failure` proves each time
/// that the content is the old one.
@Suite struct ApplyFailureTests {
  @Test("A migration and its ledger row are committed together") func success() throws {
    let workshop = try Workshop()
    try workshop.update("ALTER TABLE trips ADD COLUMN note TEXT;\nUPDATE trips SET note = name;")
    #expect(try workshop.value("SELECT note FROM trips WHERE id = 2") == "Yuma")
    #expect(
      try workshop.value(
        "SELECT version || name || run || kind || chock_version FROM chock_migrations")
        == "1changerun-1applied0.1.0")
    let ledger = try LedgerTable.read(try Database.open(workshop.database))
    #expect(ledger?.current == SchemaVersion("1"))
  }

  @Test("Until the commit nobody sees anything of it, and without one it never was")
  func uncommitted() throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let plan = try workshop.plan(try workshop.catalog("INSERT INTO trips VALUES (4, 'Bend');"))
    do {
      let transaction = try Transaction.begin(
        try Database.openForWriting(workshop.database), plan: plan)
      _ = try transaction.apply(
        plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: nil, rehearsal: nil, .asRun)
      #expect(try workshop.fingerprint() == before)
      #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "0")
    }
    #expect(try workshop.fingerprint() == before)
  }

  @Test("A failing third statement takes back the first two, and is named") func third() throws {
    let failure = try Workshop().failure(
      of: """
        -- Description: three statements
        CREATE TABLE notes (id INTEGER PRIMARY KEY);
        UPDATE trips SET name = 'gone';

        INSERT INTO trips
          VALUES (1, 'Again');
        """)
    #expect(failure.code == .statement)
    #expect(failure.file == "migrations/0001_change.sql")
    #expect(failure.line == 5)
    #expect(failure.statement == "INSERT INTO trips\n  VALUES (1, 'Again');")
    #expect(failure.message.contains("UNIQUE constraint failed: trips.id"))
  }

  @Test("A failing second file takes back the first one") func secondFile() throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let failure = try #require(throws: Failure.self) {
      try workshop.update(try workshop.catalog("DROP TABLE settings;", "DROP TABLE nothing;"))
    }
    #expect(failure.file == "migrations/0002_change.sql")
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "0")
  }

  @Test("A problem that @preflight finds stops the migration before its first statement")
  func preflight() throws {
    let failure = try Workshop().failure(
      of: """
        -- @preflight
        SELECT 'never' WHERE 0;
        SELECT 'trip ' || name || ' has no stops' FROM trips
        WHERE id NOT IN (SELECT trip_id FROM stops);
        -- @migrate
        INSERT INTO trips VALUES (1, 'this would fail otherwise');
        """)
    #expect(failure.code == .preflight)
    #expect(failure.message == "change cannot start: trip Taos has no stops")
    #expect(failure.line == 3)
    #expect(failure.statement?.hasPrefix("SELECT 'trip '") == true)
    #expect(failure.howToClear != nil)
  }

  @Test("A problem that @validate finds takes everything back") func validate() throws {
    let failure = try Workshop().failure(
      of: """
        -- @migrate
        UPDATE trips SET name = '' WHERE id = 2;
        -- @validate
        SELECT 'trip ' || id || ' has no name' FROM trips WHERE name = '';
        """)
    #expect(failure.code == .validation)
    #expect(failure.message.contains("trip 2 has no name"))
    #expect(failure.line == 4)
  }

  @Test("A problem is a row, also one whose first column is null or not text")
  func problemWithoutText() throws {
    let failure = try Workshop().failure(
      of: "-- @migrate\nDELETE FROM settings WHERE 0;\n-- @validate\nSELECT NULL;")
    #expect(failure.code == .validation)
  }

  @Test("A check cannot write") func checkThatWrites() throws {
    let failure = try Workshop().failure(
      of: "-- @preflight\nDELETE FROM stops;\n-- @migrate\nSELECT 1;")
    #expect(failure.code == .statement)
    #expect(failure.line == 2)
    #expect(failure.message.contains("can only read"))
  }

  private static let endless =
    "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT max(i) FROM c;"

  @Test(
    "An endless statement is ended at its file's Timeout",
    arguments: [
      endless, "INSERT INTO settings " + endless.dropLast() + ", 2;",
      "CREATE TABLE big AS " + endless,
    ])
  func timeout(sql: String) throws {
    let sql =
      sql.hasPrefix("INSERT") ? "UPDATE trips SET name = (\(Self.endless.dropLast()));" : sql
    let failure = try Workshop().failure(
      of: "-- Timeout: 50 ms\nUPDATE trips SET name = 'gone';\n\(sql)")
    #expect(failure.code == .timeout)
    #expect(failure.line == 3)
    #expect(failure.file == "migrations/0001_change.sql")
    #expect(failure.statement == sql)
    #expect(failure.message.contains("Timeout of 0.05 s"))
    #expect(failure.howToClear?.contains("Timeout header") == true)
  }

  @Test("The time limit also ends an endless check", arguments: ["preflight", "validate"])
  func timeoutInCheck(section: String) throws {
    let failure = try Workshop().failure(
      of: "-- Timeout: 50 ms\n-- @migrate\nSELECT 1;\n-- @\(section)\n\(Self.endless)")
    #expect(failure.code == .timeout)
    #expect(failure.line == 5)
  }

  @Test("A run that takes too long as a whole is ended") func deadline() throws {
    let failure = try Workshop().failure(of: Self.endless, deadline: .now + .milliseconds(50))
    #expect(failure.code == .timeout)
    #expect(failure.howToClear?.contains("migration_timeout_seconds") == true)
  }

  @Test("A stop request ends the statement that runs, and is the error") func stop() throws {
    let stop = StopSignal()
    let failure = try Workshop().failure(
      of: "UPDATE trips SET name = 'gone';\n\(Self.endless)", stop: stop
    ) {
      if $0.statement == 1 { stop.request(Failure(.gateClosed, "The brake was released.")) }
    }
    #expect(failure.code == .gateClosed)
    #expect(failure.message == "The brake was released.")
  }

  @Test("A statement that runs long reports how long, and can be stopped then") func ticks() throws
  {
    let stop = StopSignal()
    let failure = try Workshop().failure(of: Self.endless, stop: stop) { progress in
      if progress.running > .milliseconds(100) {
        stop.request(Failure(.stopped, "Stopped at a tick."))
      }
    }
    // Whoever stopped it is the reason, not the statement.
    #expect(failure == Failure(.stopped, "Stopped at a tick."))
  }

  @Test("Progress counts statements over all files, and names the line") func progress() throws {
    let workshop = try Workshop()
    var seen: [String] = []
    let report = try workshop.update(
      try workshop.catalog("SELECT 1;\n\nSELECT 2;", "-- a comment\nSELECT 3;"),
      progress: { seen.append("\($0.number) \($0.statement) \($0.line)") })
    #expect(seen == ["1 0 1", "1 1 3", "2 2 2"])
    #expect(report.statementSeconds.count == 3)
  }

  @Test("A plan that was made for another state of the database is refused") func stalePlan() throws
  {
    let workshop = try Workshop()
    let plan = try workshop.plan(try workshop.catalog("INSERT INTO trips VALUES (4, 'Bend');"))
    try workshop.update("INSERT INTO trips VALUES (5, 'Ely');")
    let failure = try #require(throws: Failure.self) {
      try Transaction.begin(try Database.openForWriting(workshop.database), plan: plan).apply(
        plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: nil, rehearsal: nil, .asRun)
    }
    #expect(failure.code == .planChanged)
    #expect(try workshop.value("SELECT count(*) FROM trips") == "4")
  }

  @Test("A writer that does not let go is named as a lock, and nothing changes") func locked()
    throws
  {
    let workshop = try Workshop()
    let other = try Connection(path: workshop.database, mode: .readWrite)
    try other.execute("BEGIN IMMEDIATE")
    let plan = try workshop.plan(try workshop.catalog("SELECT 1;"))
    let connection = try Database.openForWriting(workshop.database, busyTimeout: 20)
    let failure = try #require(throws: Failure.self) {
      try Transaction.begin(connection, plan: plan)
    }
    #expect(failure.code == .databaseLocked)
    #expect(failure.file == workshop.database)
  }

  @Test(
    "A full file system takes back what was done",
    .enabled(if: SmallFileSystem.isPossible, "Only root can make a small file system."))
  func noSpace() throws {
    let workshop = try Workshop()
    let small = try #require(SmallFileSystem(in: workshop.folder, kilobytes: 400))
    let path = small.path + "/coach.db"
    try copyFile(workshop.database, to: path)
    let before = try SampleDatabase.fingerprint(path)
    let failure = try #require(throws: Failure.self) {
      let plan = try workshop.plan(
        try workshop.catalog(
          """
          UPDATE trips SET name = 'gone';
          CREATE TABLE big AS
          WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000)
          SELECT i, zeroblob(900) AS value FROM c;
          """))
      let transaction = try Transaction.begin(try Database.openForWriting(path), plan: plan)
      _ = try transaction.apply(
        plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: nil, rehearsal: nil, .asRun)
      try transaction.commit()
    }
    #expect(failure.code == .noSpace)
    #expect(try SampleDatabase.fingerprint(path) == before)
  }
}
