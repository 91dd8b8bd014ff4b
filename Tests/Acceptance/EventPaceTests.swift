import FoundationEssentials
import Storage
import TestSupport
import Testing
import Updating

@Suite("What listeners hear of a run")
struct EventPaceTests {
  @Test("Every phase, and progress at most ten times a second", .timeLimit(.minutes(15)))
  func pace() async throws {
    let coach = try Sample.coach()
    // Large enough that a phase has more to tell than is told.
    try SampleDatabase.change(
      coach.database,
      """
      INSERT INTO item (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
      WHERE i < 20000) SELECT printf('%d ', i) || hex(zeroblob(2000)) FROM n;
      """)
    let daemon = try await coach.serve()
    let listener = try await EventListener(daemon)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    try await waitUntil("its end is told") {
      listener.events.contains { $0.type == .result && $0.run == run.id }
    }
    let events = listener.events.filter { $0.run == run.id }
    #expect(events.filter { $0.type == .phase }.map(\.phase) == run.phases.map(\.phase))
    let times = events.filter { $0.type == .progress }.compactMap { Timestamp.date($0.at) }
    #expect(times.count > 1)
    for (one, next) in zip(times, times.dropFirst()) {
      // The times are those of the device's clock, in milliseconds.
      #expect(next.timeIntervalSince(one) > 0.095)
    }
    #expect(await daemon.stop() == .exited(0))
  }
}
