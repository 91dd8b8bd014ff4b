import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What is killed with `kill -9`.
enum Victim: CaseIterable {
  case worker, daemon, both
}

@Suite("kill -9 in any phase ends in exactly the old or exactly the new state")
struct KillTests {
  static let updatePhases: [Phase] = [
    .plan, .safety, .snapshot, .rehearse, .apply, .verify, .commit, .done,
  ]

  @Test(
    "An update whose worker is killed", .serialized, .timeLimit(.minutes(15)),
    arguments: updatePhases)
  func updateWorker(phase: Phase) async throws { try await update(phase, .worker) }

  @Test(
    "An update whose daemon is killed", .serialized, .timeLimit(.minutes(15)),
    arguments: updatePhases)
  func updateDaemon(phase: Phase) async throws { try await update(phase, .daemon) }

  @Test(
    "An update of which both are killed", .serialized, .timeLimit(.minutes(15)),
    arguments: updatePhases)
  func updateBoth(phase: Phase) async throws { try await update(phase, .both) }

  private func update(_ phase: Phase, _ victim: Victim) async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startUpdate()
    let frozen = try await watch.freeze(phase, workerOf: daemon.process.pid)
    try await end(victim, frozen, daemon, coach, run: id)

    let (old, new) = try Sample.prints.get()
    let print = try coach.fingerprint()
    let run = try #require(try await lastRun(coach, id))
    switch run.outcome {
    case .committed:
      #expect(print == new)
      #expect(try coach.ledgerVersion() == "2")
    case .rolledBack, .refused:
      #expect(print == old)
      #expect(try coach.ledgerVersion() == "1")
      #expect(run.error != nil)
    default: Issue.record("\(phase), \(victim): \(String(describing: run.outcome))")
    }
    // Before the commit nothing can have become new, and after it nothing can be old.
    switch frozen?.phase {
    case .plan, .safety, .snapshot, .rehearse, .apply: #expect(print == old)
    case .done, nil: #expect(print == new)
    default: break
    }
    try await isTidy(coach, print)
  }

  @Test(
    "A restore that is killed is finished, or has changed nothing", .serialized,
    .timeLimit(.minutes(15)), arguments: [Phase.plan, .safety, .restore, .commit], Victim.allCases)
  func restore(phase: Phase, victim: Victim) async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    _ = try await daemon.ended(try daemon.startUpdate())
    let snapshot = try #require(try daemon.status().latestBackup?.id)
    let (old, new) = try Sample.prints.get()
    #expect(try coach.fingerprint() == new)

    let watch = try JournalWatch(coach.state)
    let id = try daemon.startRestore(snapshot)
    let frozen = try await watch.freeze(phase, workerOf: daemon.process.pid)
    try await end(victim, frozen, daemon, coach, run: id)

    let print = try coach.fingerprint()
    let run = try #require(try await lastRun(coach, id))
    switch run.outcome {
    case .restored: #expect(print == old)
    case .rolledBack, .refused: #expect(print == new)
    default: Issue.record("\(phase), \(victim): \(String(describing: run.outcome))")
    }
    #expect(try coach.ledgerVersion() == (print == old ? "1" : "2"))
    try await isTidy(coach, print)
  }

  /// Kills, and brings chock back in the way that goes with it.
  private func end(
    _ victim: Victim, _ frozen: JournalWatch.Frozen?, _ daemon: Daemon, _ coach: TestCoach,
    run id: String
  ) async throws {
    switch victim {
    case .worker:
      // The daemon notices by itself.
      frozen?.kill()
      _ = try await daemon.ended(id)
      #expect(await daemon.stop() == .exited(0))
    case .daemon:
      daemon.process.signal(SIGKILL)
      _ = await daemon.process.ended()
      // The worker finds itself without a supervisor.
      frozen?.letGo()
      try await waitUntil("the worker has gone") { frozen?.isRunning != true }
      let next = try await coach.serve()
      #expect(try next.status().mode == .normal)
      #expect(await next.stop() == .exited(0))
    case .both:
      daemon.process.signal(SIGKILL)
      frozen?.kill()
      _ = await daemon.process.ended()
      try await waitUntil("the worker has gone") { frozen?.isRunning != true }
      let answer = try await coach.run("recover", "--json")
      let recovered: RunDocument = try answer.document()
      // A run that was killed after its journal was removed has nothing left to recover.
      #expect(recovered.id == id || recovered.outcome == .nothingToDo, "\(answer)")
      let isUndone = [.rolledBack, .refused].contains(recovered.outcome)
      #expect(answer.code == (isUndone ? 1 : 0), "\(answer)")
    }
  }

  private func lastRun(_ coach: TestCoach, _ id: String) async throws -> RunDocument? {
    let history: HistoryAnswer = try await coach.run("history", "--json").document()
    return history.runs.first { $0.id == id }
  }

  private func isTidy(_ coach: TestCoach, _ print: String) async throws {
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(try coach.names(in: "state/work") == [])
    let names = try coach.names(in: "state/snapshots")
    for name in names {
      let partner =
        name.hasSuffix(".json")
        ? name.dropLast(".json".count) + ".sqlite" : name.dropLast(".sqlite".count) + ".json"
      #expect(names.contains(String(partner)), "\(name) is a leftover")
    }
    let leftovers = try coach.names(in: "").filter { $0.hasPrefix("coach.db.") }
    #expect(leftovers == [])

    let status: StatusDocument = try await coach.run("status", "--json").document()
    #expect(status.mode == .normal)
    #expect(!status.migrationInProgress)
    #expect(status.currentVersion == (try coach.ledgerVersion()))

    let again = try await coach.run("recover", "--json")
    #expect(again.code == 0)
    #expect(try again.document(RunDocument.self).outcome == .nothingToDo)
    #expect(try coach.fingerprint() == print)
  }
}
