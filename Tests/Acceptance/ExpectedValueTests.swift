import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What a migration declares to leave alone is left alone")
struct ExpectedValueTests {
  private func update(_ header: String, _ sql: String) async throws -> RunDocument {
    let coach = try Sample.coach(update: "-- Expect: \(header)\n\(sql)")
    let old = try coach.fingerprint()
    let run: RunDocument = try await coach.run("update", "--offline", "--json").document()
    if run.outcome != .committed { #expect(try coach.fingerprint() == old) }
    return run
  }

  @Test(
    "It comes true", .timeLimit(.minutes(15)),
    arguments: [
      ("item content unchanged", "ALTER TABLE item ADD COLUMN a TEXT;"),
      (
        "item content unchanged",
        "CREATE TABLE n (id INTEGER PRIMARY KEY, body TEXT, a); INSERT INTO n SELECT *, 1 FROM item ORDER BY id DESC; DROP TABLE item; ALTER TABLE n RENAME TO item;"
      ),
      ("item columns (ID) unchanged", "UPDATE item SET body = '';"),
      ("later content unchanged", "CREATE TABLE later (a); INSERT INTO later VALUES (1);"),
    ])
  func kept(header: String, sql: String) async throws {
    let run = try await update(header, sql)
    #expect(run.outcome == .committed, "\(run)")
  }

  @Test(
    "It does not, and says what would be", .timeLimit(.minutes(15)),
    arguments: [
      (
        "item content unchanged", "UPDATE item SET body = 'x' WHERE id = 7;",
        "values would be changed"
      ),
      (
        "item content unchanged", "INSERT INTO item (body) VALUES ('x');",
        "it had 1000 rows and would have 1001"
      ),
      (
        "item columns (body) unchanged",
        "UPDATE item SET body = body || '';UPDATE item SET body = NULL || body WHERE 0;UPDATE item SET body = upper(body) || '.' WHERE id = 1;",
        "values would be changed"
      ),
      ("item columns (id, colour) unchanged", "SELECT 1;", "it has no column colour"),
      (
        "item columns (body) unchanged", "ALTER TABLE item RENAME COLUMN body TO text;",
        "the column body would be gone"
      ),
      ("item content unchanged", "ALTER TABLE item RENAME TO items;", "the table would be gone"),
    ])
  func broken(header: String, sql: String, words: String) async throws {
    let run = try await update(header, sql)
    #expect(run.outcome == .refused)
    #expect(run.error?.code == .expectation)
    #expect(run.error?.line == 1)
    #expect(run.error?.message.contains(words) == true, "\(run)")
  }
}
