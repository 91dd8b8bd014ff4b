import FoundationEssentials
import Glibc
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Updating

@Suite("A scheduled update that could not start is tried again", .timeLimit(.minutes(5)))
struct ScheduledRunTests {
  /// Time that passes when the test says so.
  private final class Time: Sendable {
    private let passed = Mutex(Duration.zero)
    private let start = ContinuousClock.now

    func pass(_ time: Duration) { passed.withLock { $0 += time } }
    var now: ContinuousClock.Instant { start + passed.withLock { $0 } }
  }

  @Test("After five minutes, not before, and then it is done once")
  func again() async throws {
    let sample = try UpdaterSample()
    let (folder, time) = (sample.folder, Time())
    // Another process takes the lock right before the worker does.
    try folder.write(
      """
      #!/bin/sh
      echo start >> '\(folder("workers"))'
      if [ -e '\(folder("busy"))' ]; then exec 9>> '\(folder("state/lock"))'; flock 9; fi
      exec '\(TestCoach.binary)' "$@"
      """, to: "worker")
    try #require(chmod(folder("worker"), 0o700) == 0)
    try folder.write("", to: "busy")
    var tries: Int {
      TestCoach.text(folder("workers")).split(separator: "\n").count
    }
    let updater = sample.updater(executable: folder("worker"), now: { time.now })
    try await updater.start()
    let before = tries
    let hash = try await updater.plan(.newest).hash
    // Far enough for a busy machine to be asked before it.
    let at = Date().addingTimeInterval(5)
    let schedule = try await updater.scheduleUpdate(
      UpdateRequest(planHash: hash, consent: true, requestedBy: "Anna", isTechnician: true),
      at: Timestamp.text(at))
    try await waitUntil("it was tried") {
      await updater.keepSchedule()
      return tries > before
    }
    try await waitUntil("it is kept") {
      let current = await updater.current
      let kept = await updater.schedule
      return current == nil && kept == schedule
    }
    try FileSystem.remove(folder("busy"))
    for pause in [Duration.zero, .seconds(299)] {
      time.pass(pause)
      await updater.keepSchedule()
      #expect(await updater.current == nil)
    }
    #expect(tries == before + 1)
    time.pass(.seconds(1))
    await updater.keepSchedule()
    let id = try #require(await updater.current?.id)
    let run = try #require(await updater.ended(id))
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.requestedBy == "Anna, scheduled")
    #expect(await updater.schedule == nil)
    time.pass(.seconds(3600))
    await updater.keepSchedule()
    #expect(await updater.current == nil)
    await updater.shutDown()
    #expect(tries == before + 2)
  }
}
