import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("A plan in several segments ends as the old or the new state, too", .serialized)
struct SegmentTests {
  private static let vacuum = "-- Transaction: none\nPRAGMA auto_vacuum = FULL;\nVACUUM;"
  private static let config = """
    environment = "development"
    [coach]
    required_gates = []
    [update]
    rehearse = false
    """

  private func coach(_ last: String, config: String = config) throws -> TestCoach {
    let coach = try Sample.coach(config: config)
    try coach.folder.write(Self.vacuum, to: "migrations/0003_vacuum.sql")
    try coach.folder.write(last, to: "migrations/0004_last.sql")
    return coach
  }

  @Test("VACUUM between two transactions, rehearsed and committed", .timeLimit(.minutes(15)))
  func committed() async throws {
    let coach = try coach(
      "CREATE TABLE extra (a TEXT) STRICT;", config: TestCoach.development)
    let answer = try await coach.run("update", "--offline", "--yes", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .committed, "\(answer)")
    #expect(try coach.ledgerVersion() == "4")
    #expect(try SampleDatabase.value(coach.database, "PRAGMA auto_vacuum") == "1")
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM note") == "1000")
    #expect(try coach.names(in: "state/work") == [])
  }

  @Test(
    "A failure behind the first segment puts the snapshot back, and keeps what was there",
    .timeLimit(.minutes(15)),
    arguments: [
      "DELETE FROM note;", "SELECT broken;", "DROP TABLE item;",
      "-- Transaction: none\nDROP TABLE note;\nSELECT broken;",
    ])
  func undone(last: String) async throws {
    let coach = try coach(last)
    let old = try Sample.prints.get().old
    let answer = try await coach.run("update", "--offline", "--yes", "--json")
    let run: RunDocument = try answer.document()
    #expect(answer.code == 1, "\(answer)")
    #expect(run.outcome == .rolledBack)
    #expect(run.error?.file?.hasSuffix("0004_last.sql") == true)
    #expect(try coach.fingerprint() == old)
    #expect(try coach.ledgerVersion() == "1")
    // What the segments before had made, and the application may have written meanwhile.
    let rescue = try #require(run.rescueCopy)
    let kept = coach.folder("state/snapshots/\(rescue).sqlite")
    #expect(
      try SampleDatabase.value(kept, "SELECT count(*) FROM sqlite_schema WHERE name = 'note'")
        != nil)
    let again = try await coach.run("recover", "--json")
    #expect(try again.document(RunDocument.self).outcome == .nothingToDo)
  }

  @Test("The snapshot is taken also where the config says none", .timeLimit(.minutes(15)))
  func withoutSnapshots() async throws {
    let coach = try coach(
      "SELECT broken;", config: Self.config + "\nbackup_before_migrate = false")
    let run: RunDocument = try await coach.run("update", "--offline", "--yes", "--json").document()
    #expect(run.outcome == .rolledBack)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test(
    "Before a part is committed nothing is put back over what was recorded since",
    .timeLimit(.minutes(15)))
  func nothingCommitted() async throws {
    let coach = try Sample.coach(config: Self.config, update: Sample.endless)
    try coach.folder.write(Self.vacuum, to: "migrations/0003_vacuum.sql")
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(.apply, workerOf: call.process.pid))
    call.process.signal(SIGKILL)
    frozen.kill()
    _ = await call.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    try SampleDatabase.change(coach.database, "INSERT INTO item (body) VALUES ('since')")
    let run: RunDocument = try await coach.run("recover", "--json").document()
    #expect(run.outcome == .rolledBack)
    #expect(run.rescueCopy == nil)
    let since = "SELECT count(*) FROM item WHERE body = 'since'"
    #expect(try SampleDatabase.value(coach.database, since) == "1")
  }
}
