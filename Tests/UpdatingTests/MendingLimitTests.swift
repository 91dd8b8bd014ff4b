import Migrations
import TestSupport
import Testing

@testable import Updating

@Suite("Looking for what has changed ends", .timeLimit(.minutes(5)))
struct MendingLimitTests {
  /// Whose applied file has a statement that never ends.
  private func endless() throws -> UpdaterSample {
    let sample = try UpdaterSample()
    try sample.folder.write(
      """
      CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
      INSERT INTO item (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i FROM n)
      SELECT i FROM n WHERE i > 1;
      """, to: "migrations/0001_items.sql")
    return sample
  }

  private func failure(_ body: () async throws -> Void) async -> Failure? {
    do {
      try await body()
      return nil
    } catch {
      return error as? Failure
    }
  }

  @Test("After its time, with the way out; others are answered meanwhile")
  func limit() async throws {
    let sample = try endless()
    let updater = sample.updater()
    async let other = failure { _ = try await updater.repair(within: .seconds(3600)) }
    try await waitUntil("it looks") { await !updater.comparing.isEmpty }
    #expect(await updater.status().currentVersion == "1")
    // A run may need the database for itself.
    let run = try await updater.startSnapshot(requestedBy: "test")
    #expect(await other?.code == .runActive)
    #expect(await updater.ended(run.id)?.outcome == .finished)
    let ended = await failure { _ = try await updater.repair(within: .zero) }
    #expect(ended?.code == .timeout)
    #expect(ended?.howToClear?.contains("chock lint") == true)
    await updater.shutDown()
  }

  @Test("When the daemon stops")
  func stop() async throws {
    let sample = try endless()
    let updater = sample.updater()
    async let ended = failure {
      _ = try await updater.accept(seen: "", reason: "why", by: "test")
    }
    try await waitUntil("it looks") { await !updater.comparing.isEmpty }
    await updater.shutDown()
    #expect(await ended?.code == .interrupted)
    #expect(await failure { _ = try await updater.repair() }?.code == .interrupted)
  }
}
