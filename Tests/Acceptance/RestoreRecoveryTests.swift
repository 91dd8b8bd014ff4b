import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("A restore is recovered by what the database holds, and never begun again", .serialized)
struct RestoreRecoveryTests {
  /// A coach whose restore died after its transaction was committed, and before it could say so.
  private func committed() async throws -> (TestCoach, snapshot: String) {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let snapshot = try #require(updated.snapshotId)
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["restore", snapshot, "--offline", "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(.commit, workerOf: call.process.pid))
    #expect(frozen.phase == .commit)
    let journal = TestCoach.text("\(coach.state)/run.json")
    frozen.letGo()
    #expect(await call.answer().code == 0)
    // Exactly what a kill after SQLite's commit leaves.
    try coach.folder.write(journal, to: "state/run.json")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    return (coach, "\(coach.state)/snapshots/\(snapshot).sqlite")
  }

  @Test(
    "What the application wrote since stays, and the rescue copy is named", .timeLimit(.minutes(15))
  )
  func rowsSince() async throws {
    let (coach, _) = try await committed()
    try Connection(path: coach.database, mode: .readWrite).execute(
      "CREATE TABLE since (a); INSERT INTO since VALUES ('recorded after the restore')")
    let before = try coach.fingerprint()
    let run: RunDocument = try await coach.run("recover", "--json").document()
    #expect(run.outcome == .restored)
    #expect(run.rescueCopy != nil)
    #expect(try coach.fingerprint() == before)
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  @Test("It is not called refused, whatever became of the snapshot", .timeLimit(.minutes(15)))
  func damaged() async throws {
    let (coach, snapshot) = try await committed()
    var bytes = try #require(try FileSystem.read(snapshot))
    bytes[bytes.count / 2] ^= 1
    try FileSystem.replace(snapshot, with: bytes)
    let answer = try await coach.run("recover", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .restored, "\(answer)")
    #expect(answer.code == 0)
  }

  @Test("One that was stopped, and had to be killed, is not carried out", .timeLimit(.minutes(15)))
  func stopped() async throws {
    // The daemon does not know yet that it has begun, and would wait for the gate.
    let coach = try Sample.coach(
      config: "environment = \"development\"\n[update]\nwait_for_gates_seconds = 0")
    let daemon = try await coach.serve()
    try daemon.park()
    let updated = try await daemon.ended(try daemon.startUpdate())
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startRestore(try #require(updated.snapshotId))
    let frozen = try #require(try await watch.freeze(.restore, workerOf: daemon.process.pid))
    #expect(frozen.phase == .restore)
    try daemon.put("parking_brake", "\"released\"")
    // It does not react, and is killed when the grace is over.
    let run = try await daemon.ended(id)
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.code == .gateClosed)
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A damaged history keeps nobody from anything: a new one is begun", .timeLimit(.minutes(15)))
  func history() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--json").code == 0)
    try coach.folder.write(
      "this is no database, but it is long enough to be read as one "
        + String(repeating: "x", count: 5000), to: "state/state.db")
    let answer = try await coach.run("snapshots", "take", "--offline", "--json")
    #expect(answer.code == 0, "\(answer)")
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(try coach.names(in: "state").contains("state.db.damaged"))
  }
}
