import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("What the checks find rolls back or warns, as the config says")
struct VerdictTests {
  private func run(
    _ sql: String, _ config: String, orphans: Bool = false, rehearse: Bool = true
  ) async throws -> RunDocument {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[verify]\n\(config)\n[update]\nrehearse = \(rehearse)",
      update: """
        -- Expect: child rows >= 0
        \(sql)
        """)
    try SampleDatabase.change(
      coach.database,
      """
      PRAGMA foreign_keys = OFF;
      CREATE TABLE child (item_id INTEGER REFERENCES item (id), n CHECK (n > 0));
      INSERT INTO child VALUES (1, 1), (2, 1);
      PRAGMA ignore_check_constraints = ON;
      \(orphans ? "INSERT INTO child VALUES (90000, -1);" : "")
      """)
    return try await coach.run("update", "--offline", "--json").document()
  }

  @Test(
    "Each kind, both ways", .timeLimit(.minutes(15)),
    arguments: [
      ("rows_lost", "DELETE FROM item WHERE id = 900;", Failure.Code.rowsLost, false),
      (
        "expectations", "-- Expect: item rows +1\nUPDATE item SET body = body;", .expectation, false
      ),
      (
        "expectations", "-- Expect: item content unchanged\nUPDATE item SET body = 'x';",
        .expectation, false
      ),
      (
        "foreign_keys", "-- Expect: item rows -1\nDELETE FROM item WHERE id = 1;", .foreignKeys,
        false
      ),
      ("old_foreign_keys", "UPDATE child SET n = 2 WHERE item_id = 1;", .foreignKeys, true),
      ("constraints", "UPDATE child SET n = 2 WHERE item_id = 1;", .integrity, true),
    ])
  func both(key: String, sql: String, code: Failure.Code, orphans: Bool) async throws {
    for (rehearse, outcome) in [(true, Outcome.refused), (false, .rolledBack)] {
      let strict = try await run(
        sql, "\(key) = \"rollback\"", orphans: orphans, rehearse: rehearse)
      #expect(strict.outcome == outcome, "\(strict)")
      #expect(strict.error?.code == code)
    }
    let mild = try await run(sql, "\(key) = \"warn\"", orphans: orphans)
    #expect(mild.outcome == .committed, "\(mild)")
    #expect(mild.warnings?.contains { $0.code == code } == true, "\(mild)")
  }

  @Test("Production can only be made stricter", .timeLimit(.minutes(15)))
  func production() async throws {
    for (line, isGood) in [
      ("rows_lost = \"warn\"", false), ("expectations = \"warn\"", false),
      ("foreign_keys = \"warn\"", false), ("constraints = \"rollback\"", true),
      ("old_foreign_keys = \"warn\"", true), ("rows_lost = \"maybe\"", false),
    ] {
      let coach = try Sample.coach(config: "environment = \"production\"\n[verify]\n\(line)")
      let answer = try await coach.run("status")
      #expect(answer.code == (isGood ? 0 : 78), "\(line): \(answer)")
      if !isGood { #expect(answer.error.contains("chock.toml:3"), "\(answer)") }
    }
  }
}
