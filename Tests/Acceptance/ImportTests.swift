import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What a rollback took out is put in again, as it was")
struct ImportTests {
  private static let files = [
    "0001_items.sql": Sample.base,
    "0002_notes.sql": """
    CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT, picture BLOB, weight REAL, other);
    CREATE TABLE mark (note_id INTEGER REFERENCES note (id), word);
    ALTER TABLE item ADD COLUMN size INTEGER NOT NULL DEFAULT 0;
    CREATE TRIGGER note_is_marked AFTER INSERT ON note BEGIN
      INSERT INTO mark VALUES (new.id, 'by the trigger');
    END;
    INSERT INTO note (id, text) VALUES (100, 'seeded');
    """,
    "0002_notes.rollback.sql":
      "DROP TABLE mark; DROP TABLE note; ALTER TABLE item DROP COLUMN size;",
  ]

  /// A coach at version 2 whose rows were taken out, and put aside by a rollback; and the content of before.
  private func coach() async throws -> (coach: TestCoach, run: String, before: String) {
    let coach = try TestCoach(migrations: Self.files)
    try Sample.make(coach.database, coach.migrations)
    _ = try await coach.run("update", "--offline")
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO note VALUES (1, 'it''s "new"' || char(10, 1) || '🚐', x'00ff', 2.0, -0.0),
        (2, CAST(x'c328' AS TEXT), NULL, 1e300, 9e999), (3, '', x'', 0.1, 9223372036854775807);
      UPDATE note SET text = 'changed' WHERE id = 100;
      UPDATE item SET size = id WHERE id < 4;
      DELETE FROM mark WHERE note_id = 2;
      """)
    let before = try coach.fingerprint()
    let rolledBack: RunDocument = try await coach.run(
      "rollback", "--to", "1", "--offline", "--yes", "--json"
    ).document()
    try #require(rolledBack.outcome == .committed)
    _ = try await coach.run("update", "--offline")
    return (coach, rolledBack.id, before)
  }

  private func put(_ coach: TestCoach, _ arguments: String...) async throws -> RunDocument {
    try await coach.run(["import"] + arguments + ["--offline", "--yes", "--json"]).document()
  }

  @Test(
    "Every value with its type; what is there by now stays, until it is replaced",
    .timeLimit(.minutes(15)))
  func all() async throws {
    let (coach, run, before) = try await coach()
    let first = try await put(coach, run)
    #expect(first.outcome == .committed, "\(first)")
    let note = try #require(first.imported?.first { $0.table == "note" })
    #expect(note.added == 3 && note.conflicts == 1)
    #expect(note.examples == ["id = 100"])
    #expect(first.imported?.first { $0.table == "item" }?.filled == 3)
    #expect(
      try SampleDatabase.value(coach.database, "SELECT text FROM note WHERE id = 100") == "seeded")
    let second = try await put(coach, run, "--replace")
    #expect(second.outcome == .committed, "\(second)")
    #expect(try coach.fingerprint() == before)
    // Once more changes nothing.
    let third = try await put(coach, run)
    #expect(third.imported?.allSatisfy { $0.added + $0.filled + $0.conflicts == 0 } == true)
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "What the application writes until the lock is in the snapshot of before",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."),
    .timeLimit(.minutes(15)))
  func writtenMeanwhile() async throws {
    let (coach, run, _) = try await coach()
    // It stops behind the snapshot, when it has written into the journal that it applies.
    let shim = Shim(.stop, at: [1], phase: .apply)
    let call = try coach.start(
      ["import", run, "--replace", "--offline", "--yes", "--json"],
      environment: shim.environment(of: coach))
    try await waitUntil("it has stopped") { shim.faults(of: coach) > 0 }
    let worker = try #require(Processes.children(of: call.process.pid).first)
    try await waitUntil("the worker has stopped") { Processes.state(of: worker) == "T" }
    try SampleDatabase.change(
      coach.database, "UPDATE note SET text = 'acknowledged' WHERE id = 100")
    kill(worker, SIGCONT)
    let ended: RunDocument = try await call.answer().document()
    #expect(ended.outcome == .committed, "\(ended)")
    let text = "SELECT text FROM note WHERE id = 100"
    #expect(try SampleDatabase.value(coach.database, text) == "changed")
    let snapshot = try #require(ended.snapshotId)
    #expect(
      try SampleDatabase.value(coach.folder("state/snapshots/\(snapshot).sqlite"), text)
        == "acknowledged")
  }

  @Test("The whole shipped schema, taken down to nothing, is as it was", .timeLimit(.minutes(15)))
  func shipped() async throws {
    let coach = try await Shipped.coach(at: Shipped.head)
    let before = try coach.fingerprint()
    let rolledBack: RunDocument = try await coach.run(
      "rollback", "--to", "0", "--offline", "--yes", "--json"
    ).document()
    _ = try await coach.run("update", "--offline")
    let run = try await put(coach, rolledBack.id)
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.imported?.allSatisfy { $0.conflicts == 0 } == true, "\(run)")
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "What does not fit changes nothing, and says where", .timeLimit(.minutes(15)),
    arguments: [
      ("{\"id\":1}\n", "the line has no text"), ("[]\n", "not one that chock wrote"),
      ("{\"id\":{\"blob\":\"0\"}}\n", "not one that chock wrote"), ("", "has 0 rows"),
      (
        "{\"id\":\"x\",\"text\":null,\"picture\":null,\"weight\":null,\"other\":null}\n",
        "does not take the row"
      ),
    ])
  func misfit(line: String, words: String) async throws {
    let (coach, run, _) = try await coach()
    let before = try coach.fingerprint()
    let folder = coach.folder("state/exports/\(run)")
    let name = try #require(
      try FileSystem.names(in: folder).first { $0.hasSuffix("-note.jsonl") })
    try FileSystem.replace("\(folder)/\(name)", with: Array(line.utf8))
    let answer = try await put(coach, run)
    #expect(answer.outcome == .refused)
    #expect(answer.error?.message.contains(words) == true, "\(answer)")
    #expect(answer.error?.file?.hasSuffix(name) == true)
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "At a version without the tables, without its parent rows, or of no run, it is refused",
    .timeLimit(.minutes(15)))
  func refused() async throws {
    let (coach, run, _) = try await coach()
    #expect(try await put(coach, "nonsense").error?.code == .notFound)
    #expect(try await put(coach, "../snapshots").error?.code == .notFound)
    let folder = coach.folder("state/exports/\(run)")
    let export = TestCoach.text("\(folder)/export.json")
    let copy = coach.folder("state/exports/copy")
    try FileSystem.makeFolder(copy)
    for name in try FileSystem.names(in: folder) {
      try FileSystem.replace(
        "\(copy)/\(name)", with: try FileSystem.read("\(folder)/\(name)") ?? [])
    }
    try SampleDatabase.change(coach.database, "DELETE FROM mark; DELETE FROM note")
    // Marks of notes that are not there.
    var document = try JSON.decode(Export.Document.self, from: Array(export.utf8))
    document.tables.removeAll { $0.table == "note" }
    try FileSystem.replace("\(copy)/export.json", with: try JSON.encode(document))
    let orphans = try await put(coach, "copy")
    #expect(orphans.error?.code == .foreignKeys, "\(orphans)")
    _ = try await coach.run("rollback", "--to", "1", "--offline", "--yes")
    let older = try await put(coach, run)
    #expect(older.outcome == .refused)
    #expect(older.error?.message.contains("is not there") == true, "\(older)")
    let unconfirmed = try await coach.run("import", run, "--offline")
    #expect(unconfirmed.code == 77)
  }

  @Test("Values of a table without a key find their rows by what stayed", .timeLimit(.minutes(15)))
  func keyless() async throws {
    let coach = try Sample.coach(
      update: "ALTER TABLE mark ADD COLUMN word TEXT; CREATE VIRTUAL TABLE search USING fts5 (a);")
    try coach.folder.write(
      "DROP TABLE search; ALTER TABLE mark DROP COLUMN word;",
      to: "migrations/0002_change.rollback.sql")
    // A comment that speaks of a full-text index makes none of a table.
    try SampleDatabase.change(
      coach.database,
      """
      CREATE TABLE mark (place TEXT /* found using fts5 */, n);
      INSERT INTO mark VALUES ('here', 1), ('there', NULL), (NULL, x'00');
      """)
    _ = try await coach.run("update", "--offline")
    try SampleDatabase.change(
      coach.database,
      "UPDATE mark SET word = coalesce(place, 'nowhere'); INSERT INTO search VALUES ('text')")
    let all = "SELECT group_concat(quote(place) || quote(n) || word) FROM mark"
    let before = try SampleDatabase.value(coach.database, all)
    let rolledBack: RunDocument = try await coach.run(
      "rollback", "--to", "1", "--offline", "--yes", "--json"
    ).document()
    #expect(rolledBack.outcome == .committed, "\(rolledBack)")
    _ = try await coach.run("update", "--offline")
    let run = try await put(coach, rolledBack.id)
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.imported?.first { $0.table == "mark" }?.filled == 3, "\(run)")
    #expect(try SampleDatabase.value(coach.database, all) == before)
    #expect(try SampleDatabase.value(coach.database, "SELECT a FROM search('text')") == "text")
  }

  @Test("Virtual tables of every kind, whatever words are in them", .timeLimit(.minutes(15)))
  func virtual() async throws {
    let coach = try TestCoach(migrations: [
      "0001_base.sql": """
      CREATE VIRTUAL TABLE words USING fts5(x); CREATE VIRTUAL TABLE known USING fts5vocab(words, 'row');
      CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT);
      CREATE VIRTUAL TABLE askew USING fts5(label, content='shelf');
      """,
      "0002_boxes.sql": """
      CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, +lifts TEXT);
      CREATE VIRTUAL TABLE silent USING fts5(x, content='');
      CREATE TABLE z (id INTEGER PRIMARY KEY, n);
      """,
      "0002_boxes.rollback.sql": "DROP TABLE boxes; DROP TABLE silent; DROP TABLE z;",
    ])
    #expect(try await coach.run("init").code == 0)
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO boxes VALUES (1, 1, 2, 'mine'); INSERT INTO z VALUES (1, 'too'); INSERT INTO silent VALUES ('a'), ('b');"
    )
    let back: RunDocument = try await coach.run(
      "rollback", "--to", "1", "--offline", "--yes", "--json"
    ).document()
    let losses = try #require(back.rehearsal?.losses)
    #expect(Set(losses.map { "\($0.table) \($0.rows)" }) == ["boxes 1", "silent 2", "z 1"])
    #expect(losses.first { $0.table == "silent" }?.isUnreadable == true)
    #expect(try await coach.run("update", "--offline").code == 0)
    let put = try await put(coach, back.id)
    #expect(put.outcome == .committed, "\(put)")
    #expect(try SampleDatabase.value(coach.database, "SELECT lifts FROM boxes") == "mine")
    #expect(try SampleDatabase.value(coach.database, "SELECT n FROM z") == "too")
  }
}
