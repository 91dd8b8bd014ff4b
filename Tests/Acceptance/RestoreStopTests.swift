import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What wants a restore to stop.
enum RestoreStop: CaseIterable {
  case gate, cancel

  func ask(_ daemon: Daemon) throws {
    switch self {
    case .gate: try daemon.put("parking_brake", "\"released\"")
    case .cancel:
      let id = try #require(try daemon.status().currentJobId)
      // From the commit on the answer is no.
      _ = try daemon.ask("POST", "/api/database/update/\(id)/cancel")
    }
  }
}

@Suite("A restore can be stopped until its commit, and then it is finished", .serialized)
struct RestoreStopTests {
  /// A coach at version 2, and the command that puts version 1 back, as its worker enters `phase`.
  private func restoring(
    _ phase: Phase
  ) async throws -> (TestCoach, Daemon, TestCoach.Call, JournalWatch.Frozen, snapshots: [String]) {
    let coach = try Sample.coach(config: "environment = \"development\"")
    let daemon = try await coach.serve()
    try daemon.park()
    #expect(try await daemon.ended(try daemon.startUpdate()).outcome == .committed)
    let snapshot = try #require(try daemon.status().latestBackup?.id)
    let snapshots = try coach.names(in: "state/snapshots").sorted()
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["restore", snapshot, "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(phase, workerOf: daemon.process.pid))
    #expect(frozen.phase == phase)
    return (coach, daemon, call, frozen, snapshots)
  }

  @Test("Before it nothing is changed", .timeLimit(.minutes(15)), arguments: RestoreStop.allCases)
  func before(stop: RestoreStop) async throws {
    let (coach, daemon, call, frozen, snapshots) = try await restoring(.restore)
    try stop.ask(daemon)
    try await waitUntil("the worker is told to stop") { frozen.isTold || !frozen.isRunning }
    frozen.letGo()
    let answer = await call.answer()
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == (stop == .gate ? .gateClosed : .stopped))
    #expect(answer.code == (stop == .gate ? 75 : 1))
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    #expect(try coach.ledgerVersion() == "2")
    #expect(try coach.names(in: "state/snapshots").sorted() == snapshots)
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  @Test("From it on nothing stops it", .timeLimit(.minutes(15)), arguments: RestoreStop.allCases)
  func after(stop: RestoreStop) async throws {
    let (coach, daemon, call, frozen, _) = try await restoring(.commit)
    try stop.ask(daemon)
    frozen.letGo()
    let answer = await call.answer()
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .restored, "\(answer)")
    #expect(run.error == nil)
    #expect(answer.code == 0)
    #expect(await daemon.stop() == .exited(0))
    let (old, new) = try Sample.prints.get()
    #expect(try coach.fingerprint() == old)
    let rescue = try #require(run.rescueCopy)
    #expect(try SampleDatabase.fingerprint("\(coach.state)/snapshots/\(rescue).sqlite") == new)
    #expect(try !coach.names(in: "state").contains("run.json"))
  }
}
