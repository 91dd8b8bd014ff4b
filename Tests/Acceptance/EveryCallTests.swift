import Glibc
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

/// A spread of the calls in `make test`, another one each day, all of them in `make torture` (CHOCK_TORTURE=1); with
/// CHOCK_TORTURE=update all of that scenario, and with CHOCK_TORTURE=update/kill/17 that one point, as a
/// bad outcome names it.
@Suite(
  "Old or new at every system call", .serialized, Figures(),
  .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
struct EveryCallTests {
  @Test(
    "A kill at any call, and a second one in the recovery", .timeLimit(.minutes(60)),
    arguments: Scenario.allCases)
  func kill(_ scenario: Scenario) async throws {
    guard Selection.wants(scenario) else { return }
    let prepared = try await Cache.shared.prepared(scenario)
    let few = [.update, .updateDelete, .restore, .restoreReplace].contains(scenario) ? 14 : 7
    let points = Selection.points(prepared, "kill", few: few)
    try await forEach(points) { point in
      let trial = try Trial(prepared, Shim(.kill, at: [point]), "kill/\(point)")
      let again = try await trial.run()
      // The supervisor has recovered: in a copy, the recovery is killed too.
      for second in Selection.seconds(of: again, point) {
        _ = try await Trial(
          prepared, Shim(.kill, at: [point, point + second]), "kill/\(point)+\(second)"
        ).run()
      }
    }
  }

  @Test(
    "A call that fails once, or from then on, or a disk that is full from then on",
    .timeLimit(.minutes(60)), arguments: Scenario.allCases)
  func fault(_ scenario: Scenario) async throws {
    guard Selection.wants(scenario) else { return }
    let prepared = try await Cache.shared.prepared(scenario)
    for (name, deed, isSticky, few) in [
      ("eio", Shim.Deed.eio, false, 3), ("eio-from", .eio, true, 2),
      ("enospc-from", .enospc, true, 2),
    ] {
      try await forEach(Selection.points(prepared, name, few: few)) { point in
        _ = try await Trial(
          prepared, Shim(deed, at: [point], isSticky: isSticky), "\(name)/\(point)"
        ).run()
      }
    }
  }

  /// Whether it came to pass is not what SQLite answers then, but what the disk holds.
  @Test(
    "Each call of a commit that fails", .timeLimit(.minutes(10)),
    arguments: [Scenario.update, .updateDelete, .updateInUse, .segments])
  func commit(_ scenario: Scenario) async throws {
    guard Selection.wants(scenario) else { return }
    let prepared = try await Cache.shared.prepared(scenario)
    try await forEach(Selection.points(prepared, "commit", few: 12, of: 24)) { point in
      var shim = Shim(.eio, at: [point], phase: .commit)
      shim.role = "worker"
      _ = try await Trial(prepared, shim, "commit/\(point)").run()
    }
  }

  /// As many at a time as there are processors, and one that waits for its syncs.
  private func forEach(
    _ points: [Int], _ body: @escaping @Sendable (Int) async throws -> Void
  ) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for (index, point) in points.enumerated() {
        if index > Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))) { try await group.next() }
        group.addTask { try await body(point) }
      }
      try await group.waitForAll()
    }
  }
}

/// Which points are tried.
private enum Selection {
  private static let torture = getenv("CHOCK_TORTURE").map { String(cString: $0) }
  static var isAll: Bool { torture.map { !$0.contains("/") } ?? false }

  static func wants(_ scenario: Scenario) -> Bool {
    guard let torture, torture != "1" else { return true }
    return torture.prefix { $0 != "/" } == scenario.rawValue
  }

  static func points(
    _ prepared: Prepared, _ name: String, few: Int, of calls: Int? = nil
  ) -> [Int] {
    let calls = calls ?? prepared.calls
    if isAll { return Array(1...calls) }
    if let torture {
      // SCENARIO/NAME/N or SCENARIO/NAME/N+M
      let parts = torture.split(separator: "/")
      guard parts.count == 3, parts[1] == name else { return [] }
      return [Int(parts[2].prefix { $0 != "+" }) ?? 1]
    }
    let count = min(few, calls)
    let today = (time(nil) / 86400) * 7 % (calls / count)
    return (0..<count).map { 1 + ($0 * calls / count + today) % calls }
  }

  /// Where the recovery from a kill at `point` is killed itself, counted from there.
  static func seconds(of trial: Trial.Result, _ point: Int) -> [Int] {
    let calls = trial.calls - point
    guard calls > 0 else { return [] }
    // Others each time, so that all of them come up.
    if isAll { return Set((0..<3).map { 1 + (point * 7 + $0 * calls / 3) % calls }).sorted() }
    if let torture {
      return torture.split(separator: "+").dropFirst().compactMap { Int($0) }
    }
    return point % 3 == 0 ? [1 + point * 7 % calls] : []
  }
}

/// Makes each coach once for all tests.
private actor Cache {
  static let shared = Cache()
  private var tasks: [Scenario: Task<Prepared, any Error>] = [:]

  func prepared(_ scenario: Scenario) async throws -> Prepared {
    let task = tasks[scenario] ?? Task { try await scenario.prepared() }
    tasks[scenario] = task
    return try await task.value
  }
}

/// Counts, and says the figures when all is over.
struct Figures: SuiteTrait, TestScoping {
  struct Numbers { var kills = 0, faults = 0, bad = 0 }
  static let numbers = Mutex(Numbers())

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    try await function()
    let numbers = Self.numbers.withLock { $0 }
    print(
      "Old or new at every call: \(numbers.kills) kill points, \(numbers.faults) injected faults, \(numbers.bad) bad outcomes"
    )
  }
}
