import Migrations
import SQLite
import TestSupport
import Testing

@testable import Storage

@Suite struct RehearsalTests {
  private func rehearse(
    _ workshop: Workshop, _ catalog: MigrationCatalog, stop: StopSignal = StopSignal(),
    progress: @escaping (ApplyProgress) -> Void = { _ in }
  ) throws -> (Snapshot, Plan, Result<Rehearsal, Failure>) {
    let snapshot = try workshop.snapshot()
    let plan = try workshop.plan(catalog)
    do throws(Failure) {
      let rehearsal = try snapshot.rehearse(
        plan,
        ApplyOrder(run: "run-1", chockVersion: "0.1.0", stop: stop, progress: progress),
        in: workshop.folder("work"), reserveBytes: 0)
      return (snapshot, plan, .success(rehearsal))
    } catch {
      return (snapshot, plan, .failure(error))
    }
  }

  @Test("A rehearsal changes neither the database nor the snapshot, and leaves no file")
  func untouched() throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let (snapshot, plan, result) = try rehearse(
      workshop, try workshop.catalog("-- Expect: stops rows -3\nDELETE FROM stops;"))
    let rehearsal = try result.get()
    #expect(rehearsal.planHash == plan.hash)
    #expect(rehearsal.touchedTables == ["stops"])
    #expect(rehearsal.statements == 1)
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.store.verify(snapshot.document.id).sha256 == snapshot.document.sha256)
    #expect(try SampleDatabase.value(snapshot.path, "SELECT count(*) FROM chock_migrations") == "0")
    #expect(try workshop.names("work") == [])
    #expect(try workshop.names("state/snapshots").count == 2)
  }

  @Test("The progress that follows a rehearsal never goes back and never leaves 0 to 1")
  func course() throws {
    let rehearsal = Rehearsal(
      planHash: "", statementSeconds: [0, 2, 0.1], seconds: 2.1, peakBytes: 0,
      temporaryBytes: 0, losses: [], exportFolder: nil, parts: [])
    let migration = try Migration(fileName: "0001_a.sql", path: "0001_a.sql", text: "SELECT 1;")
    var last = -1.0
    for statement in 0..<3 {
      for running in [Duration.zero, .seconds(1), .seconds(1000)] {
        let now = ApplyProgress(
          migration: migration, number: 1, statement: statement, line: 1, running: running)
        let fraction = try #require(rehearsal.fraction(at: now))
        #expect(fraction >= last && fraction <= 1)
        last = fraction
      }
    }
    let beyond = ApplyProgress(
      migration: migration, number: 1, statement: 3, line: 1, running: .zero)
    #expect(rehearsal.fraction(at: beyond) == nil)
  }

  @Test(
    "A rehearsal fails as the run itself would, and leaves no file",
    arguments: [
      "SELECT 1;\nINSERT INTO trips VALUES (1, 'x');", "SELECT 1;\nPRAGMA foreign_keys;",
      "DELETE FROM settings;", "DELETE FROM trips WHERE id = 1;",
      "-- Foreign-Keys: enforced\nDELETE FROM trips;", "-- Expect: trips rows +1\nSELECT 1;",
      "-- @preflight\nSELECT 'no';\n-- @migrate\nSELECT 1;",
      "-- @migrate\nSELECT 1;\n-- @validate\nSELECT 'no';",
      "-- Timeout: 30 ms\nWITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT 1 FROM c) SELECT max(i) FROM c;",
    ])
  func sameFailure(sql: String) throws {
    let workshop = try Workshop()
    let (_, _, result) = try rehearse(workshop, try workshop.catalog(sql))
    let rehearsed = try #require(throws: Failure.self) { try result.get() }
    let live = try workshop.failure(of: sql)
    #expect(rehearsed == live)
    #expect(try workshop.names("work") == [])
  }

  @Test("A rehearsal that is stopped leaves no file") func stopped() throws {
    let workshop = try Workshop()
    let stop = StopSignal()
    let (_, _, result) = try rehearse(
      workshop, try workshop.catalog("SELECT 1; SELECT 2;"), stop: stop,
      progress: { _ in stop.request(Failure(.stopped, "Enough.")) })
    #expect(try #require(throws: Failure.self) { try result.get() }.message == "Enough.")
    #expect(try workshop.names("work") == [])
  }

  @Test("The peak that a rehearsal measures is enough for a rebuild of the largest table")
  func peak() throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let catalog = try workshop.catalog(
      """
      CREATE TABLE new_readings (id INTEGER PRIMARY KEY, value BLOB, note TEXT);
      INSERT INTO new_readings (id, value) SELECT id, value FROM readings;
      DROP TABLE readings;
      ALTER TABLE new_readings RENAME TO readings;
      """)
    let (_, plan, result) = try rehearse(workshop, catalog)
    let peak = try result.get().peakBytes
    let before = try #require(FileSystem.facts(workshop.database)).size
    let connection = try Database.openForWriting(workshop.database)
    let transaction = try Transaction.begin(connection, plan: plan)
    _ = try transaction.apply(
      plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: nil, rehearsal: nil, .asRun)
    try transaction.commit()
    let log = try #require(FileSystem.facts(workshop.database + "-wal")).size
    #expect(log > before)
    try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    let growth = try #require(FileSystem.facts(workshop.database)).size - before
    #expect(peak >= log + growth)
    #expect(peak < (log + growth) * 3 / 2)
  }

  @Test(
    "A rehearsal for which the space runs out says so, and leaves no file",
    .enabled(if: SmallFileSystem.isPossible, "Only root can make a small file system."),
    arguments: [100, 4600])
  func noSpace(kilobytes: Int) throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let small = try #require(SmallFileSystem(in: workshop.folder, kilobytes: kilobytes))
    let snapshot = try workshop.snapshot()
    let plan = try workshop.plan(try workshop.catalog("UPDATE readings SET value = zeroblob(800);"))
    let failure = try #require(throws: Failure.self) {
      try snapshot.rehearse(
        plan, ApplyOrder(run: "r", chockVersion: "0"), in: small.path, reserveBytes: 0)
    }
    #expect(failure.code == .noSpace)
    #expect(try FileSystem.names(in: small.path) == [])
  }

  @Test("A rehearsal copies nothing and cannot write to the snapshot, whose digest stays")
  func noCopy() throws {
    let workshop = try Workshop(Workshop.manyPages)
    var largest: Int64 = 0
    let (snapshot, _, result) = try rehearse(
      workshop, try workshop.catalog("INSERT INTO marks VALUES (1, 1); SELECT 1;"),
      progress: { _ in
        let kept = (try? FileSystem.names(in: workshop.store.folder)) ?? []
        let known = kept.map { FileSystem.facts("\(workshop.store.folder)/\($0)")?.inode }
        let work = workshop.folder("work")
        for name in (try? FileSystem.names(in: work)) ?? [] where !name.hasSuffix("-shm") {
          guard let facts = FileSystem.facts("\(work)/\(name)") else { continue }
          if !known.contains(facts.inode) { largest = max(largest, facts.size) }
        }
      })
    _ = try result.get()
    #expect(largest < 100_000)
    _ = try workshop.store.verify(snapshot.document.id)

    let direct = try Database.open(snapshot.path, mode: .rehearsal)
    defer { Snapshot.removeDatabase(snapshot.path + "-wal") }
    direct.keepLogOnClose()
    try direct.execute("DELETE FROM marks; INSERT INTO marks VALUES (3, 3)")
    #expect(throws: SQLiteError.self) { try direct.execute("PRAGMA journal_mode = DELETE") }
    _ = try? direct.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    #expect(
      try FileSystem.sha256(of: snapshot.path) {} == snapshot.document.sha256)
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(snapshot.path + suffix) }
  }

  @Test("Temporary files are counted too") func temporary() throws {
    let workshop = try Workshop(
      """
      CREATE TABLE words (word TEXT);
      WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 40000)
      INSERT INTO words SELECT hex(randomblob(150)) FROM c;
      """)
    let (_, _, result) = try rehearse(
      workshop, try workshop.catalog("CREATE INDEX words_by_word ON words (word);"))
    // SQLite sorts 12 MB in runs of what the cache holds.
    #expect(try result.get().temporaryBytes > 10_000_000)
    let (_, _, small) = try rehearse(workshop, try workshop.catalog("SELECT 1;"))
    #expect(try small.get().temporaryBytes == 0)
  }

  @Test("The schema has to be the one that was rehearsed") func schema() throws {
    let workshop = try Workshop()
    let catalog = try workshop.catalog("CREATE TABLE notes (a);")
    let (snapshot, plan, result) = try rehearse(workshop, catalog)
    let rehearsal = try result.get()
    let connection = try Database.openForWriting(workshop.database)
    let transaction = try Transaction.begin(connection, plan: plan)
    try connection.execute("CREATE VIEW extra AS SELECT 1")
    let failure = try #require(throws: Failure.self) {
      try transaction.apply(
        plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: snapshot.baseline,
        rehearsal: rehearsal, .asRun)
    }
    #expect(failure.message.contains("schema would not be the one"))
  }
}
