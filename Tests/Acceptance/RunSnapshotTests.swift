import Dispatch
import Migrations
import SQLite
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

/// What an application that inserts rows has got an OK for, and whether it is to go on.
private final class Application: Sendable {
  private let state = Mutex<(newest: Int64, isWanted: Bool)>((0, true))

  /// The number of the last row.
  var newest: Int64 { state.withLock { $0.newest } }

  func stop() { state.withLock { $0.isWanted = false } }

  /// In a thread of its own: it waits for the update's lock.
  func write(_ database: String) async throws {
    try await withCheckedThrowingContinuation { continuation in
      DispatchQueue(label: "application").async { [self] in
        continuation.resume(with: Result { try insert(into: database) })
      }
    }
  }

  private func insert(into database: String) throws {
    let connection = try Connection(path: database, mode: .readWrite, busyTimeout: 30_000)
    while state.withLock({ $0.isWanted }) {
      try connection.execute("INSERT INTO item (body) VALUES ('from the application')")
      let id = try connection.integer("SELECT last_insert_rowid()") ?? 0
      state.withLock { $0.newest = id }
    }
  }
}

@Suite("A run keeps the snapshot that it needs, and no other", .serialized)
struct RunSnapshotTests {
  private func list(_ coach: TestCoach) async throws -> [SnapshotDocument] {
    try await coach.run("snapshots", "list", "--json").document(SnapshotsAnswer.self).snapshots
  }

  @Test(
    "A gate that closes before apply leaves none", .timeLimit(.minutes(15)),
    arguments: [Phase.snapshot, .rehearse])
  func gate(phase: Phase) async throws {
    // Else it waits for as long as this test does.
    let coach = try Sample.coach(
      config: "environment = \"development\"\n[update]\nwait_for_gates_seconds = 1")
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let daemon = try await coach.serve()
    try daemon.park()
    let before = try await list(coach)
    #expect(before.count == 1)
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startUpdate()
    let frozen = try #require(try await watch.freeze(phase, workerOf: daemon.process.pid))
    #expect(frozen.phase == phase)
    try daemon.put("parking_brake", "\"released\"")
    try await waitUntil("the worker is told to stop") { frozen.isTold || !frozen.isRunning }
    frozen.letGo()
    let run = try await daemon.ended(id)
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.code == .gateClosed)
    #expect(run.phases.last?.phase == phase)
    #expect(run.snapshotId == nil)
    #expect(try await list(coach) == before)
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.names(in: "state/snapshots").count == 2)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("A preflight that finds a problem leaves none", .timeLimit(.minutes(15)))
  func preflight() async throws {
    let coach = try Sample.coach(
      update: """
        -- Description: Wants what is not there
        -- @preflight
        SELECT 'There are items.' FROM item LIMIT 1;
        -- @migrate
        UPDATE item SET body = 'changed';
        """)
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let before = try await list(coach)
    #expect(before.count == 1)
    let answer = try await coach.run("update", "--offline", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == .preflight)
    #expect(answer.code == 65)
    #expect(run.snapshotId == nil)
    #expect(try await list(coach) == before)
    #expect(try coach.names(in: "state/snapshots").count == 2)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("The one that an update keeps holds every row from before it", .timeLimit(.minutes(15)))
  func writer() async throws {
    let coach = try Sample.coach()
    let database = coach.database
    let application = Application()
    let daemon = try await coach.serve()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await application.write(database) }
      defer { application.stop() }
      let watch = try JournalWatch(coach.state)
      let id = try daemon.startUpdate()
      let frozen = try #require(try await watch.freeze(.rehearse, workerOf: daemon.process.pid))
      // The snapshot is taken: what the application writes now is not in it.
      #expect(frozen.phase == .rehearse)
      let then = application.newest
      try await waitUntil("the application writes") { application.newest > then + 5 }
      frozen.letGo()
      let run = try await daemon.ended(id)
      #expect(run.outcome == .committed, "\(run)")
      let after = application.newest
      try await waitUntil("the application goes on") { application.newest > after + 5 }
      application.stop()
      try await group.waitForAll()

      // The update makes a note for each item that is there when it begins.
      let ids = "SELECT group_concat(id) FROM (SELECT id FROM item ORDER BY id)"
      let noted = try SampleDatabase.value(
        database, "SELECT group_concat(item_id) FROM (SELECT item_id FROM note ORDER BY item_id)")
      let snapshot = "\(coach.state)/snapshots/\(try #require(run.snapshotId)).sqlite"
      #expect(try SampleDatabase.value(snapshot, ids) == noted)
      #expect(try SampleDatabase.value(database, "SELECT max(item_id) > \(then) FROM note") == "1")
      // Each number was acknowledged.
      #expect(
        try SampleDatabase.value(database, "SELECT count(*) || ' ' || max(id) FROM item")
          == "\(application.newest) \(application.newest)")
      // The first, which was rehearsed, is gone.
      #expect(try coach.names(in: "state/snapshots").count == 2)
    }
    #expect(await daemon.stop() == .exited(0))
  }
}
