import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "A program that opens the database while a restore prepares to replace it loses nothing",
  .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
struct RestoreInUseTests {
  /// What the database is when the restore begins.
  enum Place: CaseIterable { case missing, damaged }

  @Test("The restore is refused, and names it", .timeLimit(.minutes(15)), arguments: Place.allCases)
  func refused(place: Place) async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let snapshot = try #require(updated.snapshotId)
    try SampleDatabase.change(coach.database, "CREATE TABLE log (a)")
    switch place {
    case .missing:
      for suffix in ["", "-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    case .damaged:
      try Connection(path: coach.database, mode: .readWrite).execute(
        "PRAGMA wal_checkpoint (TRUNCATE)")
      let file = open(coach.database, O_WRONLY | O_CLOEXEC)
      let garbage = [UInt8](repeating: 0xff, count: 64)
      try #require(pwrite(file, garbage, garbage.count, 300 * 4096) == garbage.count)
      close(file)
    }
    // It stops when it makes the file that is to take the database's place.
    var shim = Shim(.stop, at: [1])
    shim.file = "coach.db.chock-restore*"
    let call = try coach.start(
      ["restore", snapshot, "--offline", "--yes", "--json"],
      environment: shim.environment(of: coach))
    try await waitUntil("it has stopped") { shim.faults(of: coach) > 0 }
    let worker = try #require(Processes.children(of: call.process.pid).first)
    try await waitUntil("the worker has stopped") { Processes.state(of: worker) == "T" }
    let application = try Connection(
      path: coach.database, mode: place == .missing ? .create : .readWrite)
    try application.execute("CREATE TABLE IF NOT EXISTS log (a); INSERT INTO log VALUES ('kept')")
    kill(worker, SIGCONT)
    let run: RunDocument = try await call.answer().document()
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.code == .databaseLocked)
    #expect(run.error?.message.contains("pid \(getpid())") == true, "\(run)")
    #expect(run.setAside == nil)
    try application.execute("INSERT INTO log VALUES ('kept too')")
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM log") == "2")
    #expect(try coach.names(in: "state/rescue") == [])
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(try coach.names(in: "").filter { $0.contains("chock-restore") } == [])
  }

  @Test("Another chock's file beside the database stays, and ours goes", .timeLimit(.minutes(15)))
  func files() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let others = "coach.db.chock-restore-20250601T000000Z-restore-abcd"
    try coach.folder.write("what another chock is just writing", to: others)
    let shim = Shim(.kill, at: [1], isSticky: true, phase: .commit)
    try coach.folder.write("This is not a database", to: "coach.db")
    _ = try await coach.run(
      ["restore", try #require(updated.snapshotId), "--offline", "--yes"],
      environment: shim.environment(of: coach))
    let both = try coach.names(in: "").filter { $0.contains("chock-restore") }
    #expect(both.count == 2)
    // A chock with a state folder of its own takes nothing from ours.
    let config = TestCoach.text(coach.configFile)
    try coach.folder.write(
      config.split(separator: coach.state).joined(separator: coach.folder("elsewhere")),
      to: "other.toml")
    let other = try await coach.run("recover", "--json", config: coach.folder("other.toml"))
    #expect(try other.document(RunDocument.self).outcome == .nothingToDo, "\(other)")
    #expect(try coach.names(in: "").filter { $0.contains("chock-restore") } == both)
    #expect(try await coach.run("recover", "--json").document(RunDocument.self).outcome == .refused)
    #expect(try coach.names(in: "").filter { $0.contains("chock-restore") } == [others])
  }
}
