import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("The schema is shown, and what nobody migrated is found")
struct SchemaCommandTests {
  @Test("A dump is stable, and makes the same schema", .timeLimit(.minutes(15)))
  func dump() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    let live = try await coach.run("schema")
    #expect(live.code == 0)
    #expect(live.output == (try await coach.run("schema", "--at", "2")).output)
    #expect(live.output.contains("CREATE INDEX item_by_size"))
    #expect(!live.output.contains("chock_migrations"))
    try SampleDatabase.make(coach.folder("again.db"), live.output)
    let again = try await coach.run("schema", coach.folder("again.db"))
    #expect(again.output == live.output)
  }

  @Test("What is missing, extra or changed is named, in a snapshot too", .timeLimit(.minutes(15)))
  func diff() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let same = try await coach.run("diff")
    #expect(same.code == 0, "\(same)")
    #expect(try await coach.run("diff", try #require(updated.snapshotId)).code == 0)
    try SampleDatabase.change(
      coach.database,
      """
      DROP INDEX item_by_size; CREATE TABLE extra (a); ALTER TABLE note ADD COLUMN colour TEXT;
      """)
    let answer = try await coach.run("diff")
    #expect(answer.code == 65)
    for words in ["missing index item_by_size", "extra table extra", "changed table note", "  + "] {
      #expect(answer.output.contains(words), "\(answer)")
    }
  }

  @Test(
    "Files that were right when they were applied need not run at once on an empty database",
    .timeLimit(.minutes(15)))
  func history() async throws {
    let coach = try TestCoach(migrations: [
      "0001_p.sql": "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1), (2);",
      "0002_q.sql": """
      -- Foreign-Keys: enforced
      -- Input: cc TEXT "Which country?"
      CREATE TABLE q (cc TEXT CHECK (length(cc) = 2)); INSERT INTO q VALUES (:cc);
      """,
      "0003_r.sql": """
      -- Expect: p rows -1
      -- @preflight
      SELECT 'nobody was here' WHERE NOT EXISTS (SELECT 1 FROM p WHERE id = 3);
      -- @migrate
      DELETE FROM p WHERE id = 3;
      CREATE TABLE r (id);
      """,
    ])
    #expect(try await coach.run("init", "--to", "1").code == 0)
    for version in ["2", "3"] {
      try SampleDatabase.change(coach.database, "INSERT OR IGNORE INTO p VALUES (3)")
      let answer = try await coach.run(
        ["update", "--offline", "--to", version] + (version == "2" ? ["--input", "cc=DE"] : []))
      #expect(answer.code == 0, "\(answer)")
    }
    #expect(try await coach.run("diff").code == 0)
    try coach.folder.write(
      "-- the same\nCREATE TABLE p (id INTEGER PRIMARY KEY);", to: "migrations/0001_p.sql")
    let repaired = try await coach.run("repair", "--reason", "only a comment", "--yes")
    #expect(repaired.code == 0, "\(repaired)")
    #expect(try await coach.run("plan").code == 0)
  }
}
