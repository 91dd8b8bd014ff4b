import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// A migration that must not get through, and where it goes wrong.
struct BadMigration: CustomTestStringConvertible, Sendable {
  var name: String
  var text: String
  var code: Failure.Code
  var line: Int
  /// How the statement that is to blame begins.
  var statement: String

  var testDescription: String { name }

  static let all = [
    BadMigration(
      name: "fails at its third statement",
      text: """
        -- Description: Fails late
        UPDATE item SET body = 'changed';
        DELETE FROM keepsake;
        INSERT INTO item (id, body) VALUES (1, 'taken');
        """,
      code: .statement, line: 4, statement: "INSERT INTO item (id, body)"),
    BadMigration(
      name: "does not give what it promises",
      text: """
        -- Description: Promises too much
        -- @migrate
        UPDATE item SET body = 'changed';
        -- @validate
        SELECT 'Item ' || id || ' was changed' FROM item LIMIT 1;
        """,
      code: .validation, line: 5, statement: "SELECT 'Item ' || id"),
    BadMigration(
      name: "runs past its Timeout",
      text: """
        -- Description: Never ends
        -- Timeout: 300 ms
        UPDATE item SET body = 'changed';
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;
        """,
      code: .timeout, line: 4, statement: "WITH RECURSIVE n (i)"),
    BadMigration(
      name: "silently empties a child table by cascade",
      text: """
        -- Description: Removes more than it says
        -- Foreign-Keys: enforced
        -- Expect: box rows >= 0
        UPDATE item SET body = 'changed';
        DELETE FROM box;
        """,
      code: .rowsLost, line: 5, statement: "DELETE FROM box"),
  ]
}

@Suite("A migration that goes wrong leaves the old content, and says where", .serialized)
struct FailingMigrationTests {
  private static let tables = """
    CREATE TABLE keepsake (id INTEGER PRIMARY KEY, body TEXT) STRICT;
    CREATE TABLE box (id INTEGER PRIMARY KEY) STRICT;
    CREATE TABLE content (
      id INTEGER PRIMARY KEY,
      box_id INTEGER NOT NULL REFERENCES box (id) ON DELETE CASCADE
    ) STRICT;
    INSERT INTO box VALUES (1), (2);
    INSERT INTO content (box_id) VALUES (1), (1), (2);
    INSERT INTO keepsake (body) VALUES ('kept');
    """

  @Test(
    "A rehearsal finds it, and the database is not touched", .timeLimit(.minutes(15)),
    arguments: BadMigration.all)
  func rehearsed(_ bad: BadMigration) async throws {
    try await check(bad, config: TestCoach.development, outcome: .refused)
  }

  @Test(
    "Without a rehearsal it is rolled back", .timeLimit(.minutes(15)), arguments: BadMigration.all)
  func live(_ bad: BadMigration) async throws {
    try await check(
      bad, config: "\(TestCoach.development)\n[update]\nrehearse = false", outcome: .rolledBack)
  }

  private func check(_ bad: BadMigration, config: String, outcome: Outcome) async throws {
    let coach = try Sample.coach(config: config, update: bad.text)
    try SampleDatabase.change(coach.database, Self.tables)
    let before = try coach.fingerprint()

    let answer = try await coach.run("update", "--offline", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == outcome, "\(answer)")
    #expect(answer.code == 1)
    let error = try #require(run.error)
    #expect(error.code == bad.code, "\(answer)")
    #expect(error.file == coach.migrations + "/0002_change.sql")
    #expect(error.line == bad.line)
    #expect(error.statement?.hasPrefix(bad.statement) == true, "\(answer)")

    #expect(try coach.fingerprint() == before)
    #expect(try coach.ledgerVersion() == "1")
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(try coach.names(in: "state/work") == [])
  }
}
