import Migrations
import Storage
import TestSupport
import Testing

@testable import Updating

@Suite("Counting what a restore would take out ends", .timeLimit(.minutes(5)))
struct LossLimitTests {
  /// So many take seconds to compare.
  private static let many = 300_000

  private func failure(_ body: () async throws -> LossDocument) async -> Failure? {
    do {
      _ = try await body()
      return nil
    } catch {
      return error as? Failure
    }
  }

  @Test("After its time, with the way out", arguments: ["WAL", "DELETE"])
  func limit(journalMode: String) async throws {
    let sample = try UpdaterSample(rows: Self.many, journalMode: journalMode)
    let (snapshot, updater) = (try sample.snapshot(), sample.updater())
    async let other = updater.losses(restoring: snapshot, within: .seconds(3600))
    let ended = await failure { try await updater.losses(restoring: snapshot, within: .zero) }
    #expect(ended?.code == .timeout)
    #expect(ended?.message == "Comparing takes too long beside the application.")
    #expect(ended?.howToClear?.contains("go back without the figures") == true)
    // The time of one is not that of another.
    #expect(try await other.added == 0)
    #expect(await updater.comparing.isEmpty)
    // The application's database is let go.
    try SampleDatabase.change(sample.settings.databasePath, "DELETE FROM item WHERE id = 1")
  }

  @Test("When the daemon stops, and none begins any more")
  func stop() async throws {
    let sample = try UpdaterSample(rows: Self.many)
    let (snapshot, updater) = (try sample.snapshot(), sample.updater())
    async let first = failure {
      try await updater.losses(restoring: snapshot, within: .seconds(3600))
    }
    async let second = failure {
      try await updater.losses(restoring: snapshot, within: .seconds(3600))
    }
    try await waitUntil("both wait") { await updater.comparing.count == 2 }
    await updater.shutDown()
    for ended in await [first, second] {
      #expect(ended?.code == .interrupted && ended?.message == "The daemon was told to stop.")
    }
    let late = await failure { try await updater.losses(restoring: snapshot) }
    #expect(late?.code == .interrupted)
  }

  @Test("When a run begins, which may need the database for itself")
  func run() async throws {
    let sample = try UpdaterSample(rows: Self.many)
    let (snapshot, updater) = (try sample.snapshot(), sample.updater())
    async let ended = failure {
      try await updater.losses(restoring: snapshot, within: .seconds(3600))
    }
    try await waitUntil("it compares") { await !updater.comparing.isEmpty }
    let run = try await updater.startSnapshot(requestedBy: "test")
    #expect(await ended?.code == .runActive)
    #expect(await updater.ended(run.id)?.outcome == .finished)
    await updater.shutDown()
  }
}
