import Storage
import TestSupport
import Testing

@Suite(
  "Whatever goes wrong in whatever phase, the run ends as the table says",
  .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
struct FaultTableTests {
  @Test("Fault table", .timeLimit(.minutes(15)), arguments: FaultTable.rows)
  func row(_ row: FaultTable.Row) async throws {
    // One that waits for the time limit takes nothing from the others meanwhile.
    if row.fault == .hang { return try await FaultTrial(row).run() }
    try await Turns.shared.take { try await FaultTrial(row).run() }
  }
}

/// As many at a time as keep the processors busy.
private actor Turns {
  static let shared = Turns()
  private var free = 4
  private var waiting: [CheckedContinuation<Void, Never>] = []

  func take(_ body: @Sendable () async throws -> Void) async throws {
    if free > 0 { free -= 1 } else { await withCheckedContinuation { waiting.append($0) } }
    defer { if waiting.isEmpty { free += 1 } else { waiting.removeFirst().resume() } }
    try await body()
  }
}
