import Glibc
import Migrations
import Storage
import TestSupport
import Testing

@Suite(
  "A power cut at any instant leaves the old or the new content, and what was reported",
  .enabled(
    if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so was not built beside the tests"))
struct PowerCutTests {
  private typealias Scenario = PowerCutCoach.Scenario

  private static func variable(_ name: String) -> String? {
    getenv(name).map { String(cString: $0) }
  }

  /// What is cut, and how often each: all kinds and modes with CHOCK_TORTURE=1.
  private static var program: (scenarios: [Scenario], cutsEach: Int) {
    guard variable("CHOCK_TORTURE") != nil else {
      return (
        [
          Scenario(kind: .update, mode: .wal), Scenario(kind: .update, mode: .delete),
          Scenario(kind: .restore, mode: .connected), Scenario(kind: .snapshot, mode: .delete),
          Scenario(kind: .prune, mode: .wal), Scenario(kind: .killed, mode: .wal),
          Scenario(kind: .killed, mode: .delete), Scenario(kind: .unhealthy, mode: .wal),
          Scenario(kind: .rescue, mode: .delete),
        ], 2
      )
    }
    let all = PowerCutCoach.Kind.allCases.flatMap { kind in
      PowerCutCoach.Mode.allCases.map { Scenario(kind: kind, mode: $0) }
    }
    // A file that an application has open is not replaced: the restore refuses.
    return (
      all.filter { $0.kind != .replace || $0.mode != .connected },
      variable("CHOCK_POWER_CUTS").flatMap(Int.init) ?? 40
    )
  }

  @Test(
    "Power cuts in updates, restores, snapshots, retention and recovery", .timeLimit(.minutes(60)))
  func cuts() async throws {
    let seed = Self.variable("CHOCK_SEED").flatMap(UInt64.init) ?? 1
    let (scenarios, each) = Self.program
    let results = try await withThrowingTaskGroup(of: (Int, [String]).self) { group in
      for scenario in scenarios {
        group.addTask { try await Self.cut(scenario, each, seed: seed) }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    let bad = results.flatMap(\.1)
    for words in bad { Issue.record("\(words)") }
    print("\(results.reduce(0) { $0 + $1.0 }) power cuts, \(bad.count) bad outcomes")
  }

  @Test(
    "A card that lies about fsync loses what was reported, and that is seen",
    .timeLimit(.minutes(15)),
    arguments: [PowerCutCoach.Mode.wal, .delete])
  func lying(mode: PowerCutCoach.Mode) async throws {
    let coach = try await PowerCutCoach(Scenario(kind: .update, mode: mode), seed: 1)
    let cut = PowerCut(position: coach.operations.count, loss: .all, seed: 1)
    #expect(try await !coach.problems(after: cut, lying: true).isEmpty)
  }

  /// Cuts again what a report names: CHOCK_POWER_CUT=update/wal/123/random/77
  @Test(
    "One power cut again", .enabled(if: variable("CHOCK_POWER_CUT") != nil, "no cut is named"))
  func again() async throws {
    let fields = (Self.variable("CHOCK_POWER_CUT") ?? "").split(separator: "/").map(String.init)
    try #require(fields.count == 5)
    let seed = Self.variable("CHOCK_SEED").flatMap(UInt64.init) ?? 1
    let coach = try await PowerCutCoach(
      Scenario(
        kind: try #require(.init(rawValue: fields[0])),
        mode: try #require(.init(rawValue: fields[1]))), seed: seed)
    let cut = PowerCut(
      position: try #require(Int(fields[2])), loss: try #require(.init(rawValue: fields[3])),
      seed: try #require(UInt64(fields[4])))
    let problems = try await coach.problems(after: cut)
    #expect(problems.isEmpty, "\(coach.name(cut)): \(problems.joined(separator: "\n"))")
  }

  private static func cut(
    _ scenario: PowerCutCoach.Scenario, _ count: Int, seed: UInt64
  ) async throws -> (Int, [String]) {
    let coach = try await PowerCutCoach(scenario, seed: seed)
    var bad: [String] = []
    let cuts = coach.cuts(count, seed: seed)
    for cut in cuts {
      let problems = try await coach.problems(after: cut)
      if !problems.isEmpty {
        bad.append(
          "\(coach.name(cut)), CHOCK_SEED=\(seed):\n  \(problems.joined(separator: "\n  "))")
      }
    }
    return (cuts.count, bad)
  }
}
