import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("Recovery that fails leaves everything as it is, and after three times asks a person")
struct RecoveryFailureTests {
  @Test(
    "A temporary file of SQLite that a power cut has brought back goes", .timeLimit(.minutes(15)))
  func temporaryFile() async throws {
    let coach = try Sample.coach()
    try coach.folder.write("rows that were sorted", to: "etilqs_bea272296b4c6201")
    try coach.folder.write("the owner's", to: "etilqs")
    #expect(try await coach.run("recover").code == 0)
    #expect(try coach.names(in: "").filter { $0.hasPrefix("etilqs") } == ["etilqs"])
  }

  @Test(
    "Where the database can only be read, and nothing was interrupted, there is nothing to do",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"), .timeLimit(.minutes(15)))
  func readOnly() async throws {
    let place = try TemporaryFolder()
    let coach = try Sample.coach(database: place("coach.db"))
    let mount = try Mount(readOnly: place.path)
    defer { mount.detach() }
    let answer = try await coach.run("recover", "--json")
    #expect(try answer.document(RunDocument.self).outcome == .nothingToDo, "\(answer)")
  }

  @Test(
    "A full disk is no recovery that failed: it goes on when there is space",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."),
    .timeLimit(.minutes(15)))
  func noSpace() async throws {
    let coach = try Sample.coach()
    let kill = Shim(.kill, at: [1], isSticky: true, phase: .commit)
    _ = try await coach.run(["update", "--offline"], environment: kill.environment(of: coach))
    for _ in 0...Int(3) {
      try FileSystem.remove(coach.folder(Shim.counter))
      var shim = Shim(.enospc, at: [1], isSticky: true)
      shim.file = "coach.db*"
      let answer = try await coach.run(
        ["recover", "--json"], environment: shim.environment(of: coach))
      #expect(try answer.document(RunDocument.self).error?.code == .noSpace, "\(answer)")
    }
    #expect(
      try await coach.run("recover", "--json").document(RunDocument.self).outcome == .rolledBack)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("The database is not there when the update is to be recovered", .timeLimit(.minutes(15)))
  func databaseMissing() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[update]\nrehearse = false", update: Sample.endless)
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--json"])
    let frozen = try #require(try await watch.freeze(.apply, workerOf: call.process.pid))
    call.process.signal(SIGKILL)
    frozen.kill()
    _ = await call.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    // As when the disk that holds it is not mounted.
    let files = try coach.names(in: "").filter { $0.hasPrefix("coach.db") }
    try FileSystem.makeFolder(coach.folder("unmounted"))
    for name in files {
      try FileSystem.rename(coach.folder(name), to: coach.folder("unmounted/\(name)"))
    }

    for _ in 1...3 {
      let failed = try await recover(coach)
      #expect(failed.outcome == .needsRecovery)
      #expect(failed.error?.code == .databaseMissing)
    }
    for name in files {
      try FileSystem.rename(coach.folder("unmounted/\(name)"), to: coach.folder(name))
    }
    // It could succeed now, but three times are enough: a person has to look.
    let refused = try await recover(coach)
    #expect(refused.outcome == .needsRecovery)
    #expect(refused.error?.code == .needsPerson)
    #expect(refused.error?.message.contains("3 times") == true)

    let daemon = try await coach.serve()
    let status = try daemon.status()
    #expect(status.mode == .recovery)
    #expect(status.problem?.code == .needsPerson)
    #expect(!status.isSafeToMigrate)
    #expect(try daemon.ask("GET", "/readyz").status == 503)
    #expect(try daemon.ask("POST", "/api/database/update", #"{"consent": true}"#).status == 409)

    let copy = try await coach.run("snapshots", "take")
    #expect(copy.error.contains("CHK-INTERRUPTED"), "\(copy)")

    let retried = try await coach.run("recover", "--retry", "--json")
    let run: RunDocument = try retried.document()
    #expect(run.outcome == .rolledBack, "\(retried)")
    #expect(run.id == refused.id)
    #expect(try daemon.status().mode == .normal)
    // What another process has ended is told, too.
    #expect(try daemon.status().run?.outcome == .rolledBack)
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(try coach.ledgerVersion() == "1")
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  private func recover(_ coach: TestCoach) async throws -> RunDocument {
    let answer = try await coach.run("recover", "--json")
    #expect(answer.code == 2, "\(answer)")
    #expect(try coach.names(in: "state").contains("run.json"))
    return try answer.document()
  }

  @Test(
    "A restore that was killed and whose snapshot was damaged meanwhile is refused",
    .timeLimit(.minutes(15)))
  func snapshotDamaged() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let snapshot = try #require(updated.snapshotId)
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["restore", snapshot, "--offline", "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(.restore, workerOf: call.process.pid))
    #expect(frozen.phase == .restore)
    call.process.signal(SIGKILL)
    frozen.kill()
    _ = await call.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }

    let file = "\(coach.state)/snapshots/\(snapshot).sqlite"
    var bytes = try #require(try FileSystem.read(file))
    bytes[bytes.count / 2] ^= 1
    try FileSystem.replace(file, with: bytes)
    let answer = try await coach.run("recover", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.kind == .restore)
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == .interrupted)
    #expect(answer.code == 1)
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(try coach.ledgerVersion() == "2")
  }
}
