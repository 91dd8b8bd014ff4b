import Glibc
import Migrations
import SQLite
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

@Suite(
  "An application goes on, and loses nothing, whatever is done to its database", .serialized,
  WriterFigures(),
  .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
struct WriterTests {
  @Test(
    "What it got an OK for is in the database, or in the rescue copy that is named",
    .timeLimit(.minutes(15)), arguments: Disturbance.all)
  func wal(_ disturbance: Disturbance) async throws {
    try await WriterTrial(disturbance, "WAL").run()
  }

  @Test(
    "So it is with a rollback journal", .timeLimit(.minutes(15)),
    arguments: Disturbance.withRollbackJournal)
  func rollbackJournal(_ disturbance: Disturbance) async throws {
    try await WriterTrial(disturbance, "DELETE").run()
  }

  @Test(
    "Without WAL a run waits for a program that holds the database, before it is refused",
    .timeLimit(.minutes(15)))
  func patience() async throws {
    let coach = try Sample.coach()
    let application = try Connection(path: coach.database, mode: .readWrite)
    try application.execute("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
    let call = try coach.start(["update", "--offline", "--json"])
    // Longer than a status would wait; in this thread, so that no other test makes it longer still.
    let files = "/proc/\(call.process.pid)/fd"
    let database = FileSystem.target(coach.database)?.inode
    var seen: ContinuousClock.Instant?
    while call.process.end == nil, seen.map({ .now - $0 < .milliseconds(200) }) ?? true {
      let isOpen = ((try? FileSystem.names(in: files)) ?? []).contains {
        FileSystem.target("\(files)/\($0)")?.inode == database
      }
      if isOpen, seen == nil { seen = .now }
      poll(nil, 0, 1)
    }
    try application.execute("ROLLBACK")
    let answer = await call.answer()
    #expect(answer.code == 0, "\(answer)")
    #expect(try coach.ledgerVersion() == "2")
  }
}

/// One disturbance, on a coach of its own whose application runs all the time.
private struct WriterTrial {
  let disturbance: Disturbance
  let journalMode: String
  let coach: TestCoach

  init(_ disturbance: Disturbance, _ journalMode: String) async throws {
    self.disturbance = disturbance
    self.journalMode = journalMode
    coach = try await disturbance.coach(journalMode)
  }

  func run() async throws {
    let application = try await SampleApplication(coach, isPatient: journalMode != "WAL")
    let run = try await disturb(application)
    // Before the application stops: it has to be able to.
    try await application.goesOn()
    let report = try await application.stopped()
    #expect(run?.outcome == disturbance.outcome, "\(String(describing: run?.error))")
    #expect(try coach.ledgerVersion() == disturbance.versionAfter)
    #expect(
      try SampleDatabase.value(coach.database, "PRAGMA journal_mode") == journalMode.lowercased())

    #expect(report.readErrors == [])
    #expect(report.writeErrors == [])
    // Old or new and nothing in between, and each version with one schema.
    let ends = [disturbance.versionBefore, disturbance.versionAfter]
    #expect(report.schemas.values.allSatisfy { $0 == 1 }, "\(report.schemas)")
    #expect(Set(report.schemas.keys).isSuperset(of: ends), "\(report.schemas)")
    #expect(Set(report.schemas.keys).isSubset(of: ends + disturbance.versionsBetween))

    #expect((run?.rescueCopy != nil) == disturbance.isRescued)
    let check = try await application.check(rescueCopy: run?.rescueCopy)
    #expect(check.missing == [])
    #expect(check.acknowledged == report.acknowledged)
    #expect((check.inCopies > 0) == disturbance.isRescued)
    WriterFigures.numbers.withLock {
      $0.disturbances += 1
      $0.acknowledged += check.acknowledged
      $0.inCopies += check.inCopies
      $0.missing += check.missing.count
    }
  }

  /// The document of the run, or of the recovery that ended it.
  private func disturb(_ application: SampleApplication) async throws -> RunDocument? {
    let arguments: [String]
    switch disturbance.verb {
    case .update, .rollBack, .segments, .undo: arguments = ["update", "--offline", "--yes"]
    case .restore:
      let list: SnapshotsAnswer = try await coach.run("snapshots", "list", "--json").document()
      arguments = ["restore", try #require(list.snapshots.first?.id), "--offline", "--yes"]
    case .snapshots: return try await takeSnapshots()
    case .check: return try await check()
    }
    let shim = disturbance.shim(journalMode)
    let call = try coach.start(
      arguments + ["--json"], environment: shim.environment(of: coach))
    if disturbance.point != nil { try await kill(call.process, shim, application) }
    let answer = await call.answer()
    guard disturbance.point != nil, disturbance.victim == .both else {
      return try answer.document()
    }
    return try await coach.run("recover", "--json").document()
  }

  private func kill(
    _ supervisor: ChildProcess, _ shim: Shim, _ application: SampleApplication
  ) async throws {
    var found: pid_t?
    try await waitUntil("the worker stands still") {
      guard supervisor.end == nil else {
        throw Failure(
          .inputOutput, "It never came to \(disturbance): \(shim.calls(of: coach)) calls")
      }
      found = Processes.children(of: supervisor.pid).first { Processes.state(of: $0) == "T" }
      return found != nil && shim.faults(of: coach) > 0
    }
    let worker = try #require(found)
    // Without WAL they may have to wait.
    let readsOn = journalMode == "WAL" ? await application.readsOn() : true
    // A supervisor that stands still cannot recover what it is about to leave.
    if disturbance.victim == .both { supervisor.signal(SIGSTOP) }
    _ = Glibc.kill(worker, SIGKILL)
    if disturbance.victim == .both { supervisor.signal(SIGKILL) }
    #expect(readsOn)
  }

  private func takeSnapshots() async throws -> RunDocument? {
    var last: RunDocument?
    for _ in 1...3 {
      let answer = try await coach.run("snapshots", "take", "--offline", "--json")
      #expect(answer.code == 0, "\(answer)")
      last = try answer.document()
    }
    #expect(try coach.names(in: "state/snapshots").count == 2)
    return last
  }

  private func check() async throws -> RunDocument? {
    let daemon = try await coach.serve()
    try await waitUntil("the check has ended") { try daemon.status().integrityCheck != nil }
    #expect(try daemon.status().integrityCheck?.problem == nil)
    #expect(await daemon.stop() == .exited(0))
    #expect(try await coach.run("doctor", "--integrity").code == 0)
    return nil
  }
}

/// Counts, and says the figures when all is over.
struct WriterFigures: SuiteTrait, TestScoping {
  struct Numbers { var disturbances = 0, acknowledged = 0, inCopies = 0, missing = 0 }
  static let numbers = Mutex(Numbers())

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await function()
    let numbers = Self.numbers.withLock { $0 }
    print(
      "A writer and three readers: \(numbers.disturbances) disturbances, \(numbers.acknowledged) acknowledged writes, \(numbers.inCopies) of them in rescue copies, \(numbers.missing) lost"
    )
  }
}
