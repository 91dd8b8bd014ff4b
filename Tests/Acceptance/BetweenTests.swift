import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "What is done between a kill and its recovery is not taken for chock's own",
  .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
struct BetweenTests {
  /// Kills every process at this call of the phase and at all later ones, so that nobody recovers it.
  private func kill(
    _ coach: TestCoach, at call: Int, of phase: Phase, _ arguments: [String]
  ) async throws {
    let shim = Shim(.kill, at: [call], isSticky: true, phase: phase)
    _ = try await coach.run(arguments, environment: shim.environment(of: coach))
    try #require(shim.faults(of: coach) > 0)
    try FileSystem.remove(coach.folder(Shim.counter))
    try #require(try coach.names(in: "state").contains("run.json"))
  }

  private func recover(_ coach: TestCoach) async throws -> RunDocument {
    try await coach.run("recover", "--json").document()
  }

  @Test(
    "A new table or index of the application does not make a restore of it",
    .timeLimit(.minutes(15)),
    arguments: ["CREATE TABLE since (a)", "CREATE INDEX since ON item (body)", "ANALYZE", "VACUUM"])
  func schemaChange(sql: String) async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    try await kill(
      coach, at: 1, of: .commit,
      ["restore", try #require(updated.snapshotId), "--offline", "--yes"])
    try Connection(path: coach.database, mode: .readWrite).execute(sql)
    let now = try coach.fingerprint()
    #expect(try await recover(coach).outcome == .refused)
    #expect(try coach.fingerprint() == now)
    #expect(try coach.ledgerVersion() == "2")
  }

  @Test(
    "Nor does a copy of the database that somebody has put in its place", .timeLimit(.minutes(15)))
  func otherFile() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    try await kill(
      coach, at: 1, of: .commit,
      ["restore", try #require(updated.snapshotId), "--offline", "--yes"])
    let copy = coach.folder("copy.db")
    try Connection(path: coach.database, mode: .readWrite).execute("VACUUM INTO '\(copy)'")
    try Connection(path: copy, mode: .readWrite).execute("PRAGMA journal_mode = WAL")
    let now = try coach.fingerprint()
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    try FileSystem.rename(copy, to: coach.database)
    #expect(try await recover(coach).outcome == .refused)
    #expect(try coach.fingerprint() == now)
    #expect(try coach.ledgerVersion() == "2")
  }

  @Test("Where it cannot be told, a person is asked and both are kept", .timeLimit(.minutes(15)))
  func undecided() async throws {
    let coach = try Sample.coach()
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let snapshot = try #require(try taken.document(RunDocument.self).snapshotId)
    try SampleDatabase.change(coach.database, "INSERT INTO item (body) VALUES ('newer')")
    let newer = try coach.fingerprint()
    try await kill(coach, at: 1, of: .commit, ["restore", snapshot, "--offline", "--yes"])
    try Connection(path: coach.database, mode: .readWrite).execute("CREATE TABLE since (a)")
    let run = try await recover(coach)
    #expect(run.outcome == .needsRecovery)
    #expect(run.error?.code == .needsPerson)
    let rescue = try #require(run.rescueCopy)
    #expect(
      try SampleDatabase.fingerprint(coach.folder("state/snapshots/\(rescue).sqlite")) == newer)
  }

  private struct Recoveries: Decodable {
    var recoveries: Int
  }

  @Test(
    "While the application keeps the database locked, recovery waits for another day",
    .timeLimit(.minutes(15)))
  func locked() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    try await kill(
      coach, at: 1, of: .commit,
      ["restore", try #require(updated.snapshotId), "--offline", "--yes"])
    let application = try Connection(path: coach.database, mode: .readWrite)
    try application.execute("BEGIN EXCLUSIVE")
    #expect(try await recover(coach).outcome == .needsRecovery)
    // It does not count as one that failed.
    let journal = try #require(try FileSystem.read(coach.folder("state/run.json")))
    #expect(try JSON.decode(Recoveries.self, from: journal).recoveries == 0)
    try application.execute("ROLLBACK")
    #expect(try await recover(coach).outcome == .refused)
    #expect(try coach.ledgerVersion() == "2")
  }

  @Test("Nor a half-applied plan one that was put back", .timeLimit(.minutes(15)))
  func schemaChangeWhileUndone() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[update]\nrehearse = false")
    try coach.folder.write(
      "-- Transaction: none\nUPDATE item SET body = 'changed';\nSELECT broken;",
      to: "migrations/0002_change.sql")
    let old = try coach.fingerprint()
    try await kill(coach, at: 3, of: .restore, ["update", "--offline"])
    try Connection(path: coach.database, mode: .readWrite).execute(
      "CREATE INDEX since ON item (body)")
    let run = try await recover(coach)
    #expect(run.outcome == .rolledBack)
    #expect(run.rescueCopy != nil)
    #expect(try coach.fingerprint() == old)
  }

  @Test(
    "A half-applied plan is not begun again, also where the journal is lost",
    .timeLimit(.minutes(15)))
  func lostJournal() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[update]\nrehearse = false")
    try coach.folder.write(
      "-- Transaction: none\nUPDATE item SET body = body || '!';\nSELECT broken;",
      to: "migrations/0002_change.sql")
    try await kill(coach, at: 3, of: .restore, ["update", "--offline"])
    let half = try coach.fingerprint()
    let config = TestCoach.text(coach.configFile)
    try coach.folder.write(
      config.split(separator: coach.state).joined(separator: coach.folder("elsewhere")),
      to: "chock.toml")
    let answer = try await coach.run("update", "--offline", "--json")
    #expect(answer.code == 2, "\(answer)")
    #expect(try coach.fingerprint() == half)
  }

  /// A coach whose newest row is in the log alone, and what that holds.
  private func withLog() async throws -> (TestCoach, snapshot: String, log: [UInt8]) {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    do {
      let writer = try Connection(path: coach.database, mode: .readWrite)
      writer.keepLogOnClose()
      try writer.execute(
        "PRAGMA wal_autocheckpoint = 0; INSERT INTO item (body) VALUES ('only in the log')")
    }
    let log = try #require(try FileSystem.read(coach.database + "-wal"))
    return (coach, try #require(updated.snapshotId), log)
  }

  @Test(
    "A restore over a lost main file, killed anywhere in its commit, loses no log",
    .timeLimit(.minutes(15)), arguments: ["emptied", "removed"], 1...8)
  func lostMainFile(how: String, call: Int) async throws {
    let (coach, snapshot, log) = try await withLog()
    if how == "removed" {
      try FileSystem.remove(coach.database)
    } else {
      try #require(truncate(coach.database, 0) == 0)
    }
    try await kill(
      coach, at: call, of: .commit,
      ["restore", snapshot, "--offline", "--yes"])
    let run = try await recover(coach)
    if run.outcome == .restored {
      #expect(try coach.fingerprint() == Sample.prints.get().old)
      let folder = try #require(run.setAside)
      #expect(try FileSystem.read(folder + "/damaged.sqlite-wal") == log)
    } else {
      #expect(run.outcome == .refused, "\(run)")
      #expect(run.setAside == nil)
      #expect(FileSystem.facts(coach.database)?.size ?? 0 == 0)
      #expect(try FileSystem.read(coach.database + "-wal") == log)
    }
  }

  @Test(
    "Where what was set aside is gone, a person is asked, and not told that nothing changed",
    .timeLimit(.minutes(15)), arguments: 1...5)
  func lostRescueFolder(call: Int) async throws {
    let (coach, snapshot, log) = try await withLog()
    try #require(truncate(coach.database, 0) == 0)
    try await kill(coach, at: call, of: .commit, ["restore", snapshot, "--offline", "--yes"])
    for run in try coach.names(in: "state/rescue") {
      try FileSystem.removeFolder(coach.folder("state/rescue/\(run)"))
    }
    let isReplaced = FileSystem.facts(coach.database)?.size != 0
    let run = try await recover(coach)
    if isReplaced {
      #expect(run.outcome == .restored, "\(run)")
    } else {
      #expect(run.outcome == .needsRecovery, "\(run)")
      #expect(run.error?.code == .needsPerson)
      if let left = try FileSystem.read(coach.database + "-wal") { #expect(left == log) }
    }
  }

  @Test("A snapshot that recovery needs cannot be removed", .timeLimit(.minutes(15)))
  func removedSnapshot() async throws {
    let coach = try Sample.coach()
    try await kill(coach, at: 1, of: .apply, ["update", "--offline"])
    let store = SnapshotStore(stateFolder: coach.state, chockVersion: "test")
    let id = try #require(try store.list().first?.id)
    let answer = try await coach.run("snapshots", "delete", id)
    #expect(answer.code == 77, "\(answer)")
    #expect(try store.list().map(\.id) == [id])
    #expect(try await recover(coach).outcome == .rolledBack)
  }
}
