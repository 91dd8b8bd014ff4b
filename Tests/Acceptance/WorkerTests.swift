import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("Whatever becomes of a worker, its supervisor says what is true", .serialized)
struct WorkerTests {
  @Test("A check whose worker is killed has not passed", .timeLimit(.minutes(15)))
  func verify() async throws {
    let coach = try Sample.coach()
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let id = try #require(try taken.document(RunDocument.self).snapshotId)
    let daemon = try await coach.serve()
    var caught: TestCoach.Call?
    try await waitUntil("a check is caught while it reads") {
      let watch = try JournalWatch(coach.state)
      let call = try coach.start(["snapshots", "verify", id, "--json"])
      let frozen = try await watch.freeze(.verify, workerOf: daemon.process.pid)
      frozen?.kill()
      // On a busy machine it may be over before it is stopped.
      if frozen?.phase == .verify { caught = call } else { _ = await call.answer() }
      return caught != nil
    }
    let call = try #require(caught)
    let answer = await call.answer()
    let run: RunDocument = try answer.document()
    #expect(run.kind == .verify)
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == .interrupted)
    #expect(answer.code == 1)
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(await daemon.stop() == .exited(0))
    #expect(try await coach.run("snapshots", "verify", id, "--offline").code == 0)
  }

  @Test(
    "One that does not stop at the time limit is killed, and the old state is there",
    .timeLimit(.minutes(15)))
  func stuck() async throws {
    let coach = try Sample.coach(
      config: """
        \(TestCoach.development)
        [update]
        rehearse = false
        migration_timeout_seconds = 10
        """, update: Sample.endless)
    let daemon = try await coach.serve()
    let id = try daemon.startUpdate()
    try await waitUntil("the endless statement runs") {
      try daemon.run(id).message != nil && daemon.run(id).phase == .apply
    }
    let worker = try #require(Processes.children(of: daemon.process.pid).first)
    #expect(kill(worker, SIGSTOP) == 0)
    // Without a supervisor it ends by itself, if the test fails.
    defer { kill(worker, SIGCONT) }
    // It cannot answer: only SIGKILL ends it, 10 s after the limit.
    let run = try await daemon.ended(id)
    #expect(!Processes.isRunning(worker))
    #expect(run.outcome == .rolledBack, "\(run)")
    #expect(run.error?.code == .timeout, "\(run)")
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(try coach.ledgerVersion() == "1")
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  @Test(
    "One whose supervisor is suspended gives the database back, and the rest is recovered",
    .timeLimit(.minutes(15)))
  func suspended() async throws {
    let coach = try Sample.coach(
      config: """
        \(TestCoach.development)
        [update]
        rehearse = false
        migration_timeout_seconds = 5
        """,
      update: String(repeating: "UPDATE item SET body = 'changed' WHERE id = 1;\n", count: 5000))
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--json"])
    let frozen = try #require(
      try await watch.freeze(.apply, workerOf: call.process.pid))
    try #require(kill(call.process.pid, SIGSTOP) == 0)
    defer { kill(call.process.pid, SIGCONT) }
    frozen.letGo()
    let application = try Connection(path: coach.database, mode: .readWrite, busyTimeout: 0)
    try await waitUntil("the worker has the lock") {
      (try? application.execute("BEGIN IMMEDIATE; ROLLBACK")) == nil
    }
    // Nobody answers when it asks whether the coach is still safe; until then it waits, with the lock.
    try application.execute(
      "PRAGMA busy_timeout = 90000; INSERT INTO item (body) VALUES ('recorded meanwhile')")
    #expect(kill(call.process.pid, SIGCONT) == 0)
    let answer = await call.answer()
    let run = try #require(try? answer.document(RunDocument.self), "\(answer)")
    #expect(run.outcome == .rolledBack, "\(run)")
    #expect(try application.text("SELECT body FROM item ORDER BY id DESC") == "recorded meanwhile")
    #expect(try application.integer("SELECT count(*) FROM item WHERE body = 'changed'") == 0)
    #expect(try coach.ledgerVersion() == "1")
  }

  @Test(
    "One that is gone when its supervisor says something to it is not the supervisor's end",
    .timeLimit(.minutes(15)))
  func gone() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[update]\nrehearse = false", update: Sample.endless)
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--json"])
    let frozen = try #require(try await watch.freeze(.apply, workerOf: call.process.pid))
    // Whether it hears first that the worker is gone, or speaks first, is a matter of luck: about one in
    // twenty died of SIGPIPE. So look at what it does with that signal.
    let ignored = TestCoach.text("/proc/\(call.process.pid)/status").split(separator: "\n")
      .first { $0.hasPrefix("SigIgn:") }?.split(separator: "\t").last
    let mask = try #require(ignored.flatMap { UInt64($0, radix: 16) })
    #expect(mask & (1 << (SIGPIPE - 1)) != 0)
    try #require(kill(call.process.pid, SIGSTOP) == 0)
    frozen.kill()
    call.process.signal(SIGINT)
    call.process.signal(SIGCONT)
    let answer = await call.answer()
    let run = try #require(try? answer.document(RunDocument.self), "\(answer)")
    #expect(run.outcome == .rolledBack, "\(run)")
  }

  @Test("A package upgrade under a running daemon does not stop updates", .timeLimit(.minutes(15)))
  func binaryRemoved() async throws {
    let coach = try Sample.coach()
    let copy = coach.folder("chock")
    let call = try ChildProcess(
      "cp", [TestCoach.binary, copy], output: coach.folder("cp"), error: coach.folder("cp"))
    #expect(await call.ended() == .exited(0))
    let daemon = try await coach.serve(binary: copy)
    try FileSystem.remove(copy)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().new)
  }
}
