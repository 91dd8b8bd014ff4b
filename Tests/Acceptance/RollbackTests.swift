import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("A rollback goes back exactly, and what it takes out is kept")
struct RollbackTests {
  private static let files = [
    "0001_items.sql": Sample.base,
    "0002_notes.sql": """
    -- Description: Notes
    CREATE TABLE note (
      id INTEGER PRIMARY KEY,
      text TEXT, picture BLOB, weight REAL, other
    );
    """,
    "0002_notes.rollback.sql": "DROP TABLE note;",
    "0003_sizes.sql": """
    ALTER TABLE item ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
    INSERT INTO item (id, body, size) VALUES (5000, 'seeded', 7);
    """,
    "0003_sizes.rollback.sql": """
    -- Expect: item rows -1
    DELETE FROM item WHERE id = 5000;
    ALTER TABLE item DROP COLUMN size;
    """,
    "0004_last.sql": "-- Requires: 2\nCREATE TABLE last (a TEXT PRIMARY KEY) WITHOUT ROWID;",
    "0004_last.rollback.sql": "DROP TABLE last;",
  ]

  /// At version 4, with something recorded in each of its tables.
  private func coach() async throws -> TestCoach {
    let coach = try TestCoach(migrations: Self.files)
    try Sample.make(coach.database, coach.migrations)
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    try #require(updated.outcome == .committed)
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO note VALUES (1, 'it''s "new"' || char(10, 1) || '🚐', x'00ff', 2.0, -0.0),
        (2, CAST(x'c328' AS TEXT), NULL, 1e300, 9e999), (3, '', x'', 0.1, 9223372036854775807);
      UPDATE item SET size = id WHERE id IN (1, 2);
      INSERT INTO last VALUES ('z');
      """)
    return coach
  }

  private func export(_ run: RunDocument) throws -> [String: String] {
    let folder = try #require(run.exportFolder)
    let names = try FileSystem.names(in: folder).filter { $0.hasSuffix(".jsonl") }
    return Dictionary(
      names.map { name in
        (
          String(name.drop { $0 != "-" }.dropFirst().dropLast(6)),
          TestCoach.text("\(folder)/\(name)")
        )
      }, uniquingKeysWith: +)
  }

  @Test("To a version: the old content, and all that went in the export", .timeLimit(.minutes(15)))
  func back() async throws {
    let coach = try await coach()
    let old = try Sample.prints.get().old
    let run: RunDocument = try await coach.run(
      "rollback", "--to", "1", "--offline", "--yes", "--json"
    ).document()
    #expect(run.kind == .rollback)
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.fromVersion == "4" && run.toVersion == "1")
    #expect(try coach.fingerprint() == old)
    let losses = [
      Storage.Loss(table: "item", rows: 3, columns: ["size"]), Storage.Loss(table: "item", rows: 1),
      Storage.Loss(table: "last", rows: 1), Storage.Loss(table: "note", rows: 3),
    ]
    #expect(run.rehearsal?.losses == losses)
    let files = try export(run)
    #expect(files["last"] == "{\"a\":\"z\"}\n")
    #expect(
      files["note"] == """
        {"id":1,"text":"it's \\"new\\"\\n\\u0001🚐","picture":{"blob":"00ff"},"weight":{"real":"2.0"},"other":{"real":"-0.0"}}
        {"id":2,"text":{"text":"c328"},"picture":null,"weight":1e+300,"other":{"real":"inf"}}
        {"id":3,"text":"","picture":{"blob":""},"weight":0.1,"other":9223372036854775807}

        """)
    // A second time there is nothing to do, and nothing is written.
    let again = try await coach.run("rollback", "--to", "1", "--offline", "--yes", "--json")
    #expect(again.code == 0)
    #expect(try again.document(RunDocument.self).outcome == .nothingToDo)
    // And forward again.
    let forward: RunDocument = try await coach.run("update", "--offline", "--json").document()
    #expect(forward.outcome == .committed && forward.toVersion == "4")
  }

  @Test("Without a yes it only shows what would go", .timeLimit(.minutes(15)))
  func unconfirmed() async throws {
    let coach = try await coach()
    let before = try coach.fingerprint()
    let answer = try await coach.run("rollback", "--to", "3", "--offline")
    #expect(answer.code == 77)
    #expect(answer.error.contains("Goes: 1 row of last"), "\(answer)")
    #expect(answer.error.contains("nothing was changed") && answer.error.contains("Add --yes"))
    #expect(try coach.fingerprint() == before)
    #expect(try FileSystem.names(in: coach.folder("state/exports")) == [])
  }

  @Test(
    "A person who says no is told that nothing was changed, and not how to say yes",
    .timeLimit(.minutes(15)))
  func saidNo() async throws {
    let coach = try await coach()
    let before = try coach.fingerprint()
    let rollback = try await coach.talk(["n"], "rollback --to 3 --offline")
    #expect(rollback.code == 77, "\(rollback)")
    #expect(rollback.output.contains("Nothing was changed. [CHK-CONSENT-MISSING]"), "\(rollback)")
    #expect(!rollback.output.contains("--yes"), "\(rollback)")
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let restore = try await coach.talk(
      ["n"], "restore \(try #require(taken.snapshotId)) --offline")
    #expect(restore.code == 77, "\(restore)")
    #expect(restore.output.contains("Nothing was changed. [CHK-CONSENT-MISSING]"), "\(restore)")
    #expect(!restore.output.contains("--yes"), "\(restore)")
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "One feature alone, and again, while newer ones stay", .timeLimit(.minutes(15)))
  func only() async throws {
    let coach = try await coach()
    let refused = try await coach.run("rollback", "--only", "2", "--offline", "--yes", "--json")
    #expect(refused.code == 65)
    #expect(refused.error.contains("0004_last.sql requires version 2"), "\(refused)")
    let run: RunDocument = try await coach.run(
      "rollback", "--only", "3", "--offline", "--yes", "--json"
    ).document()
    #expect(run.outcome == .committed, "\(run)")
    #expect(try coach.ledgerVersion() == "4")
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM last") == "1")
    let status: StatusDocument = try await coach.run("status", "--json").document()
    #expect(!status.needsUpdate)
    let twice = try await coach.run("rollback", "--only", "3", "--offline", "--yes", "--json")
    #expect(try twice.document(RunDocument.self).outcome == .nothingToDo)
    let again: RunDocument = try await coach.run(
      "update", "--out-of-order", "--offline", "--json"
    ).document()
    #expect(again.outcome == .committed, "\(again)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT size FROM item WHERE id = 5000") == "7")
  }

  @Test("What is recorded during the rehearsal is exported too", .timeLimit(.minutes(15)))
  func recordedMeanwhile() async throws {
    let coach = try await coach()
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["rollback", "--to", "1", "--offline", "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(.rehearse, workerOf: call.process.pid))
    try SampleDatabase.change(coach.database, "INSERT INTO note (id, text) VALUES (9, 'late')")
    frozen.letGo()
    let run: RunDocument = try await call.answer().document()
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.rehearsal?.losses?.last == Storage.Loss(table: "note", rows: 4))
    #expect(try export(run)["note"]?.contains("late") == true)
  }

  @Test(
    "A rollback that fails changes nothing and leaves no export", .timeLimit(.minutes(15)),
    arguments: [
      ("DROP TABLE no_such_table;", Failure.Code.statement),
      ("DELETE FROM item WHERE id = 1; DROP TABLE last;", .rowsLost),
      (
        "-- Expect: item content unchanged\nUPDATE item SET body = ''; DROP TABLE last;",
        .expectation
      ),
      ("DROP TABLE last;\n-- @validate\nSELECT 'still there';", .validation),
    ])
  func failing(sql: String, code: Failure.Code) async throws {
    let coach = try await coach()
    let before = try coach.fingerprint()
    let text = sql.contains("@validate") ? "-- @migrate\n\(sql)" : sql
    try coach.folder.write(text, to: "migrations/0004_last.rollback.sql")
    let run: RunDocument = try await coach.run(
      "rollback", "--to", "3", "--offline", "--yes", "--json"
    ).document()
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.code == code)
    #expect(run.error?.file?.hasSuffix("0004_last.rollback.sql") == true)
    #expect(try coach.fingerprint() == before)
    #expect(try coach.ledgerVersion() == "4")
    #expect(try FileSystem.names(in: coach.folder("state/exports")) == [])
  }

  @Test("A missing rollback file is named, with the way out", .timeLimit(.minutes(15)))
  func missing() async throws {
    let coach = try await coach()
    try FileSystem.remove(coach.folder("migrations/0003_sizes.rollback.sql"))
    let answer = try await coach.run("rollback", "--to", "1", "--offline", "--yes")
    #expect(answer.code == 65)
    #expect(answer.error.contains("0003_sizes.sql has no rollback file"), "\(answer)")
  }

  @Test("Over the control interface it needs a technician, at the socket", .timeLimit(.minutes(15)))
  func daemon() async throws {
    let coach = try await coach()
    let daemon = try await coach.serve()
    let run: RunDocument = try await coach.run("rollback", "--to", "3", "--yes", "--json")
      .document()
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.exportFolder != nil)
    #expect(await daemon.stop() == .exited(0))
  }

  // MARK: In parts

  private static let sort = """
    WITH big AS (
      SELECT a.body || b.id AS t FROM item a, (SELECT id FROM item LIMIT 10) b ORDER BY 1)
    SELECT count(*) FROM (SELECT t FROM big LIMIT 100000 OFFSET 1);
    """

  /// A coach at version 3; the way back from there has two parts.
  private func inParts() async throws -> TestCoach {
    let coach = try Sample.coach()
    for (name, text) in [
      "0002_change.rollback.sql":
        "DROP TABLE note; DROP INDEX item_by_size; ALTER TABLE item DROP COLUMN size;",
      "0003_extra.sql": "CREATE TABLE extra (a TEXT) STRICT;",
      "0003_extra.rollback.sql": "-- Transaction: none\n\(Self.sort)\nDROP TABLE extra;",
    ] {
      try coach.folder.write(text, to: "migrations/\(name)")
    }
    try #require(try await coach.run("update", "--offline").code == 0)
    return coach
  }

  private static let back = ["rollback", "--to", "1", "--offline", "--yes", "--json"]

  @Test("In parts it is refused while a program has the database open", .timeLimit(.minutes(15)))
  func openedInParts() async throws {
    let coach = try await inParts()
    do {
      let application = try ConnectedApplication(coach)
      let answer = try await coach.run(Self.back)
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .refused, "\(answer)")
      #expect(run.error?.code == .databaseLocked)
      #expect(run.error?.message.contains("pid \(getpid())") == true)
      #expect(try coach.ledgerVersion() == "3")
      withExtendedLifetime(application) {}
    }
    let answer = try await coach.run(Self.back)
    #expect(answer.code == 0, "\(answer)")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test(
    "Who writes between the parts all the same is noticed, and everything is put back",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."),
    .timeLimit(.minutes(15)))
  func writtenInParts() async throws {
    let coach = try await inParts()
    // A sort of its own makes a temporary file: there it holds no lock.
    var shim = Shim(.stop, at: [1], phase: .apply)
    shim.file = "etilqs_*"
    let call = try coach.start(Self.back, environment: shim.environment(of: coach))
    try await waitUntil("it has stopped") { shim.faults(of: coach) > 0 }
    // Beside the database, where there is space for it, and not in a RAM disk.
    #expect(shim.last(of: coach).contains(" /etilqs_"), "\(shim.last(of: coach))")
    let worker = try #require(Processes.children(of: call.process.pid).first)
    try await waitUntil("the worker has stopped") { Processes.state(of: worker) == "T" }
    try SampleDatabase.change(
      coach.database, "INSERT INTO note (item_id, text) VALUES (1, 'recorded meanwhile')")
    kill(worker, SIGCONT)
    let run: RunDocument = try await call.answer().document()
    #expect(run.outcome == .rolledBack, "\(run)")
    #expect(run.error?.code == .databaseLocked)
    #expect(run.exportFolder == nil)
    #expect(try coach.ledgerVersion() == "3")
    let rescue = try #require(run.rescueCopy)
    #expect(
      try SampleDatabase.value(
        coach.folder("state/snapshots/\(rescue).sqlite"),
        "SELECT count(*) FROM note WHERE text = 'recorded meanwhile'") == "1")
  }
}
