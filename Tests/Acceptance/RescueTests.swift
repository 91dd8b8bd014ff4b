import ControlServer
import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("What a restore takes out is counted before the yes, and put in again")
struct RescueTests {
  private struct ComparisonAnswer: Decodable {
    var schema: String
    var equal: Bool
    var tables: [TableDifference]
  }

  private struct ShowAnswer: Decodable {
    var rescue: RescueCopy
    var tables: [TableDifference]
  }

  /// What the owner recorded after the update.
  private static let recorded = """
    INSERT INTO item (id, body) VALUES (5000, 'recorded'); UPDATE item SET body = 'changed' WHERE id = 1;
    DELETE FROM item WHERE id = 2; INSERT INTO note (id, item_id, text) VALUES (9000, 5000, 'about it');
    """

  /// A coach that was updated, and used since; and the snapshot from before.
  private func updated() async throws -> (coach: TestCoach, snapshot: String) {
    let coach = try Sample.coach()
    let run: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let snapshot = try #require(run.snapshotId)
    try SampleDatabase.change(coach.database, "PRAGMA foreign_keys = ON; \(Self.recorded)")
    return (coach, snapshot)
  }

  /// The same after its restore; and the copy of what was recorded.
  private func restored() async throws -> (coach: TestCoach, snapshot: String, copy: String) {
    let (coach, snapshot) = try await updated()
    let run: RunDocument = try await coach.run(
      "restore", snapshot, "--offline", "--yes", "--json"
    ).document()
    #expect(run.outcome == .restored, "\(run)")
    return (coach, snapshot, try #require(run.rescueCopy))
  }

  private func apply(_ coach: TestCoach, _ arguments: String...) async throws -> RunDocument {
    try await coach.run(
      ["rescue", "apply"] + arguments + ["--offline", "--yes", "--json"]
    ).document()
  }

  // MARK: Looking

  @Test(
    "A restore says what goes before it asks, and changes nothing without a yes",
    .timeLimit(.minutes(15)))
  func asks() async throws {
    let (coach, snapshot) = try await updated()
    let before = try coach.fingerprint()
    let answer = try await coach.run("restore", snapshot, "--offline")
    #expect(answer.code == 77, "\(answer)")
    #expect(
      answer.error.contains(
        "item: 1 added, 1 changed, 1 deleted, column size only here, with values in 999 rows"),
      "\(answer)")
    #expect(answer.error.contains("note: only here, 1000 rows"), "\(answer)")
    #expect(try coach.fingerprint() == before)
    let daemon = try await coach.serve()
    let losses = try JSON.decode(
      LossDocument.self, from: daemon.ask("GET", "/api/database/restore/\(snapshot)").body)
    #expect(losses.added == 1001 && losses.changed == 1 && losses.deleted == 1)
    #expect(losses.snapshotVersion == "1" && losses.currentVersion == "2")
    let asked = try await coach.run("restore", snapshot)
    #expect(asked.error.contains("note: only here, 1000 rows"), "\(asked)")
    #expect(try daemon.ask("GET", "/api/database/restore/nobody").status == 404)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("What cannot be counted keeps nobody from restoring", .timeLimit(.minutes(15)))
  func damaged() async throws {
    let (coach, snapshot) = try await updated()
    try FileSystem.replace(coach.database, with: Array(repeating: 7, count: 8192))
    let asked = try await coach.run("restore", snapshot, "--offline")
    #expect(asked.code == 77)
    #expect(asked.error.contains("cannot be counted"), "\(asked)")
    #expect(try await coach.run("restore", snapshot, "--offline", "--yes").code == 0)
    let list: RescueCopiesDocument = try await coach.run("rescue", "list", "--json").document()
    #expect(list.setAside.count == 1, "\(list)")
  }

  @Test(
    "Two states are told apart by schema and rows: live, snapshot, rescue copy and file",
    .timeLimit(.minutes(15)))
  func diff() async throws {
    let (coach, snapshot, copy) = try await restored()
    let same = try await coach.run("diff", snapshot, "live")
    #expect(same.code == 0, "\(same)")
    let answer = try await coach.run("diff", "live", copy, "--rows")
    #expect(answer.code == 1, "\(answer.error)")
    for words in [
      "extra table note", "changed table item", "extra index item_by_size",
      "item: 1 added, 1 changed, 1 deleted",
      #"- {"table":"item","change":"deleted","key":{"id":2}"#,
      #"+ {"table":"item","change":"added","key":{"id":5000},"after":{"body":"recorded","size":null}}"#,
    ] {
      #expect(answer.output.contains(words), "\(words)")
    }
    let json = try await coach.run("diff", "live", copy, "--rows", "--table", "note", "--json")
    let lines = json.output.split(separator: "\n")
    #expect(lines.count == 1001)
    let document = try JSON.decode(ComparisonAnswer.self, from: Array((lines.last ?? "").utf8))
    #expect(document.schema == "chock.COMPARISON/1" && !document.equal)
    #expect(document.tables.map(\.table) == ["note"])
    try copyFile(coach.folder("state/snapshots/\(copy).sqlite"), to: coach.folder("elsewhere.db"))
    #expect(try await coach.run("diff", copy, coach.folder("elsewhere.db")).code == 0)
    #expect(try await coach.run("diff", "live", "nobody").code == 66)
    #expect(try await coach.run("diff", "live", "--rows").code == 64)
    #expect(try await coach.run("diff", "live", copy, "--table", "nothing").code == 66)
  }

  @Test("A stop of the daemon ends a comparison, and it says so", .timeLimit(.minutes(15)))
  func stopped() async throws {
    let coach = try Sample.coach()
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO item (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
      WHERE i < 1000000) SELECT i FROM n;
      """)
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let snapshot = try #require(taken.snapshotId)
    let daemon = try await coach.serve()
    async let answer = ControlClient(socketPath: daemon.socket).patient(.seconds(600)).request(
      "GET", "/api/database/restore/\(snapshot)")
    try await waitUntil("it compares") {
      Processes.openFiles(of: daemon.process.pid).contains { $0.hasSuffix("/\(snapshot).sqlite") }
    }
    #expect(await daemon.stop() == .exited(0))
    let text = String(decoding: try await answer.body, as: UTF8.self)
    #expect(text.contains("The daemon was told to stop."), "\(text)")
  }

  // MARK: Putting in

  @Test("Exported as lines and as SQL, which the older schema takes", .timeLimit(.minutes(15)))
  func export() async throws {
    let (coach, snapshot, copy) = try await restored()
    let list: RescueCopiesDocument = try await coach.run("rescue", "--json").document()
    #expect(list.copies.map(\.copy.id) == [copy])
    #expect(list.copies.first?.snapshot == snapshot)
    let show: ShowAnswer = try await coach.run("rescue", "show", copy, "--json").document()
    #expect(show.tables.map(\.table) == ["item", "note"])
    let folder = coach.folder("out")
    let exported = try await coach.run("rescue", "export", copy, "--to", folder)
    #expect(exported.code == 0, "\(exported)")
    #expect(
      try FileSystem.names(in: folder) == [
        "1-item.jsonl", "2-note.jsonl", "rescue.json", "rescue.sql",
      ])
    #expect(TestCoach.text("\(folder)/2-note.jsonl").contains(#""text":"about it""#))
    try SampleDatabase.change(coach.database, TestCoach.text("\(folder)/rescue.sql"))
    let values = "SELECT group_concat(id || body) FROM item WHERE id IN (1, 2, 5000)"
    #expect(try SampleDatabase.value(coach.database, values) == "1changed,5000recorded")
    #expect(try await coach.run("rescue", "export", copy, "--to", folder).code == 77)
    #expect(try await coach.run("rescue", "show", snapshot).code == 77)
  }

  @Test(
    "What the older schema can hold comes in, in one transaction; the rest after the next update",
    .timeLimit(.minutes(15)))
  func apply() async throws {
    let (coach, _, copy) = try await restored()
    #expect(try await coach.run("rescue", "apply", copy, "--offline").code == 77)
    let run = try await apply(coach, copy)
    #expect(run.kind == .rescue && run.outcome == .committed, "\(run)")
    #expect(run.rescueCopy == copy && run.snapshotId != nil)
    let item = try #require(run.rescued?.first { $0.table == "item" })
    #expect(item.added == 1 && item.changed == 1 && item.keptDeletions == 1)
    #expect(item.conflicts == 0 && item.withoutPlace == 999, "\(item)")
    #expect(run.rescued?.first { $0.table == "note" }?.withoutPlace == 1000)
    let strict = try await apply(coach, copy, "--strict")
    #expect(strict.outcome == .refused && strict.error?.code == .conflict, "\(strict)")
    let deleted = try await apply(coach, copy, "--table", "item", "--deletions")
    #expect(deleted.rescued?.map(\.deleted) == [1], "\(deleted)")
    // At the newer version there is place for all of it.
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    #expect(updated.outcome == .committed)
    let rest = try await apply(coach, copy)
    #expect(rest.outcome == .committed, "\(rest)")
    #expect(rest.rescued?.allSatisfy { $0.withoutPlace == 0 } == true, "\(rest)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT text FROM note WHERE id = 9000")
        == "about it")
    let history: HistoryAnswer = try await coach.run("history", "--json").document()
    #expect(history.runs.filter { $0.kind == .rescue }.count == 4)
    #expect(try await coach.run("diff").code == 0)
  }

  @Test(
    "A conflict is listed and left as it is; with --strict nothing is put in",
    .timeLimit(.minutes(15)))
  func conflict() async throws {
    let (coach, _, copy) = try await restored()
    try SampleDatabase.change(coach.database, "UPDATE item SET body = 'since' WHERE id = 1")
    let before = try coach.fingerprint()
    let strict = try await apply(coach, copy, "--table", "item", "--strict")
    #expect(strict.error?.code == .conflict, "\(strict)")
    #expect(try coach.fingerprint() == before)
    let run = try await apply(coach, copy, "--table", "item")
    #expect(run.outcome == .committed)
    #expect(
      run.rescued?.first?.examples == [
        .init(row: "id = 1", reason: "the row has changed in the database as well")
      ])
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 1") == "since")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 5000")
        == "recorded")
  }

  @Test(
    "A database whose check has failed is not updated; its copy is not called sound, and puts nothing over good rows",
    .timeLimit(.minutes(15)))
  func ofDamagedDatabase() async throws {
    let coach = try TestCoach(migrations: [
      "0001_service.sql": """
      CREATE TABLE service (id INTEGER PRIMARY KEY, what TEXT NOT NULL);
      CREATE INDEX service_what ON service (what);
      """
    ])
    #expect(try await coach.run("init").code == 0)
    try SampleDatabase.change(
      coach.database, "INSERT INTO service (what) VALUES ('oil'), ('brakes'), ('belt')")
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO service (what) VALUES ('tyres'); PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE"
    )
    // In the table, and not in its index.
    let root = try #require(
      try SampleDatabase.value(
        coach.database, "SELECT rootpage FROM sqlite_schema WHERE name = 'service'"
      ).flatMap { Int($0) })
    var bytes = try #require(try FileSystem.read(coach.database))
    let place = try #require(
      bytes[((root - 1) * 4096)...].firstRange(of: Array("brakes".utf8))?.lowerBound)
    bytes[place] = UInt8(ascii: "?")
    try FileSystem.replace(coach.database, with: bytes)
    #expect(try await coach.run("recover", "--check", "full", "--offline").code != 0)

    try coach.folder.write(
      "-- Description: More\nCREATE TABLE more (x);", to: "migrations/0002_more.sql")
    let update: RunDocument = try await coach.run("update", "--offline", "--yes", "--json")
      .document()
    #expect(update.outcome == .refused && update.error?.code == .databaseCorrupt, "\(update)")

    let restored: RunDocument = try await coach.run(
      "restore", try #require(taken.snapshotId), "--offline", "--yes", "--json"
    ).document()
    let copy = try #require(restored.rescueCopy, "\(restored)")
    let verified = try await coach.run("snapshots", "verify", copy, "--offline")
    #expect(verified.code != 0 && verified.error.contains("damaged"), "\(verified)")
    let run = try await apply(coach, copy)
    #expect(
      try SampleDatabase.value(
        coach.database, "SELECT group_concat(what) FROM (SELECT * FROM service ORDER BY id)")
        == "oil,brakes,belt,tyres", "\(run)")
  }

  @Test("With the snapshot gone, or the copy damaged", .timeLimit(.minutes(15)))
  func gone() async throws {
    let (coach, snapshot, copy) = try await restored()
    #expect(try await coach.run("snapshots", "delete", snapshot).code == 0)
    let run = try await apply(coach, copy, "--deletions")
    let item = try #require(run.rescued?.first { $0.table == "item" })
    #expect(item.added == 1 && item.changed == 0 && item.deleted == 0 && item.conflicts == 2)
    let path = coach.folder("state/snapshots/\(copy).sqlite")
    var bytes = try #require(try FileSystem.read(path))
    bytes[bytes.count / 2] ^= 1
    try FileSystem.replace(path, with: bytes)
    let before = try coach.fingerprint()
    let damaged = try await apply(coach, copy)
    #expect(damaged.outcome == .refused && damaged.error?.code == .snapshotDamaged, "\(damaged)")
    #expect(try coach.fingerprint() == before)
    #expect(try await apply(coach, "nobody").error?.code == .notFound)
  }

  @Test("Over the control interface", .timeLimit(.minutes(15)))
  func daemon() async throws {
    let (coach, _, copy) = try await restored()
    let daemon = try await coach.serve()
    let run: RunDocument = try await coach.run(
      "rescue", "apply", copy, "--table", "item", "--yes", "--json"
    ).document()
    #expect(run.outcome == .committed && run.rescued?.first?.added == 1, "\(run)")
    #expect(try daemon.status().run?.kind == .rescue)
    #expect(try daemon.ask("POST", "/api/database/rescue/\(copy)", "{}").status == 428)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Killed in any phase, the database is the old one or has all of it", .serialized,
    .timeLimit(.minutes(15)),
    arguments: [Phase.plan, .safety, .snapshot, .apply, .commit, .done])
  func killed(phase: Phase) async throws {
    let (coach, _, copy) = try await restored()
    let old = try coach.fingerprint()
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["rescue", "apply", copy, "--offline", "--yes", "--json"])
    let frozen = try await watch.freeze(phase, workerOf: call.process.pid)
    call.process.signal(SIGKILL)
    frozen?.kill()
    _ = await call.process.ended()
    try await waitUntil("the worker has gone") { frozen?.isRunning != true }
    let recovered: RunDocument = try await coach.run("recover", "--json").document()
    let body = try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 5000")
    switch recovered.outcome {
    case .committed, .nothingToDo:
      #expect(body == "recorded", "\(recovered)")
      #expect(
        try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 1") == "changed")
    case .rolledBack, .refused:
      #expect(try coach.fingerprint() == old, "\(recovered)")
    default: Issue.record("\(recovered)")
    }
    #expect(try !coach.names(in: "state").contains("run.json"))
    // The copy is there still, and what it has comes in.
    let again = try await apply(coach, copy)
    #expect(again.outcome == .committed, "\(again)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 5000")
        == "recorded")
  }
}

/// Copies a file byte by byte.
private func copyFile(_ from: String, to path: String) throws {
  try FileSystem.replace(path, with: try #require(try FileSystem.read(from)))
}
