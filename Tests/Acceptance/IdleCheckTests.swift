import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("The full check is done in idle time, and what it finds is told", .serialized)
struct IdleCheckTests {
  private static let config = """
    \(TestCoach.development)
    [integrity]
    idle_minutes = 0
    """

  /// Takes a row out of the index that it belongs in, as a program with a bug could.
  private func damageIndex(_ database: String) throws {
    let connection = try Connection(path: database, mode: .readWrite)
    try connection.execute("CREATE INDEX item_by_body ON item (body)")
    let root = try #require(
      try connection.integer("SELECT rootpage FROM sqlite_schema WHERE name = 'item_by_body'"))
    try connection.execute(
      "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'item_by_body'")
    let without = try Connection(path: database, mode: .readWrite)
    try without.execute("INSERT INTO item (body) VALUES ('not in the index')")
    try without.execute(
      """
      PRAGMA writable_schema = ON;
      INSERT INTO sqlite_schema VALUES
        ('index', 'item_by_body', 'item', \(root), 'CREATE INDEX item_by_body ON item (body)')
      """)
  }

  @Test("A sound database is checked once, and its age is shown", .timeLimit(.minutes(15)))
  func sound() async throws {
    let coach = try Sample.coach(config: Self.config)
    let daemon = try await coach.serve()
    try await waitUntil("the check has ended") { try daemon.status().integrityCheck != nil }
    let status = try daemon.status()
    #expect(status.integrityCheck?.problem == nil)
    #expect(try #require(status.integrityCheckAgeSeconds) < 60)
    #expect(status.problem == nil)
    // It is no run: nothing of it is in the history, and an update may begin.
    let history: HistoryAnswer = try await coach.run("history", "--json").document()
    #expect(history.runs.isEmpty)
    #expect(try await daemon.ended(try daemon.startUpdate()).outcome == .committed)
    #expect(await daemon.stop() == .exited(0))
    #expect(try await coach.run("status").output.contains("Checked    0 days ago: sound"))
  }

  @Test(
    "An index that disagrees with its table is found, and keeps updates away",
    .timeLimit(.minutes(15)))
  func damaged() async throws {
    let coach = try Sample.coach(config: Self.config)
    try damageIndex(coach.database)
    let daemon = try await coach.serve()
    try await waitUntil("the check has ended") { try daemon.status().integrityCheck != nil }
    let status = try daemon.status()
    #expect(status.integrityCheck?.problem?.contains("missing from index") == true)
    #expect(status.problem?.code == .databaseCorrupt)
    #expect(status.problem?.howToClear?.contains("REINDEX") == true)
    #expect(!status.isSafeToMigrate)
    #expect(await daemon.stop() == .exited(0))

    try Connection(path: coach.database, mode: .readWrite).execute("REINDEX")
    let doctor = try await coach.run("doctor", "--integrity")
    #expect(doctor.output.contains("sound"), "\(doctor)")
    #expect(try await coach.run("status").output.contains("Checked    0 days ago: sound"))
  }

  @Test(
    "A copy of a damaged database says so, takes no good one's place and is not put back",
    .timeLimit(.minutes(15)))
  func copyOfDamaged() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[snapshots]\nmax_total_bytes = 1")
    func take() async throws -> String {
      let run: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
        .document()
      return try #require(run.snapshotId)
    }
    let good = try await take()
    try damageIndex(coach.database)
    let check = try await coach.run("recover", "--check", "full", "--offline")
    #expect(check.code == 65, "\(check)")
    let copies = [try await take(), try await take()]
    let listed: SnapshotsAnswer = try await coach.run("snapshots", "list", "--json").document()
    #expect(Set(listed.snapshots.map(\.id)) == Set(copies + [good]))
    for snapshot in listed.snapshots {
      let says = snapshot.damage?.contains("missing from index") == true
      #expect(says == (snapshot.id != good), "\(snapshot)")
    }
    #expect(try await coach.run("status").output.contains("Snapshot   \(good)"))
    let content = try FileSystem.read(coach.database)
    let refused = try await coach.run("restore", copies[1], "--offline", "--yes")
    #expect(refused.code == 65 && refused.error.contains("was damaged"), "\(refused)")
    #expect(refused.error.contains("chock rescue salvage"), "\(refused)")
    #expect(try FileSystem.read(coach.database) == content)
    let salvaged: RunDocument = try await coach.run("rescue", "salvage", "--offline", "--json")
      .document()
    #expect(salvaged.salvage?.comparedWith == good, "\(salvaged)")
    // Asked for, too, retention leaves the newest good one.
    #expect(try await coach.run("snapshots", "prune").code == 0)
    #expect(try await coach.run("restore", good, "--offline", "--yes").code == 0)
    let left: SnapshotsAnswer = try await coach.run("snapshots", "list", "--json").document()
    #expect(left.snapshots.first { $0.reason == .beforeRestore }?.damage != nil, "\(left)")
  }

  @Test("A config can demand it in every run", .timeLimit(.minutes(15))) func inRun() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[integrity]\nin_run = true\n[update]\nrehearse = false")
    try damageIndex(coach.database)
    let before = try coach.fingerprint()
    let answer = try await coach.run("update", "--offline", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .rolledBack, "\(answer)")
    #expect(run.error?.message.contains("missing from index") == true)
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "Programs that have the database open are named, with their SQLite", .timeLimit(.minutes(15)))
  func openers() async throws {
    let coach = try Sample.coach(config: TestCoach.development)
    let holder = try Connection(path: coach.database, mode: .readWrite)
    try holder.execute("BEGIN IMMEDIATE")
    let status: StatusDocument = try await coach.run("status", "--json").document()
    #expect(status.openers.map(\.pid) == [Int(getpid())])
    try holder.execute("ROLLBACK")
    let library = try #require(SQLiteLibrary.loaded(by: Int(getpid())).first)
    #expect(library.version == Connection.sqliteVersion)
    let doctor = try await coach.run("doctor")
    #expect(doctor.output.contains("\(library.path), version \(library.version)"), "\(doctor)")
  }

  @Test(
    "A library that has the WAL-reset bug is told from one that has not",
    arguments: [
      ("3.6.23", false), ("3.7.0", true), ("3.40.1", true), ("3.51.2", true), ("3.51.3", false),
    ])
  func walResetBug(version: String, isThere: Bool) {
    #expect(SQLiteLibrary(path: "", version: version).hasWALResetBug == isThere)
  }
}
