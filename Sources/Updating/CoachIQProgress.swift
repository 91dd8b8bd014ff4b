/// A run as CoachIQ's panel follows it: one of its words, and a percentage.
public struct CoachIQProgress: Sendable, Equatable {
  public enum Status: String, Codable, Sendable {
    case initializing, planning, migrating, verifying, completed, failed
    case backingUp = "backing_up"
    case rollingBack = "rolling_back"
  }

  public var status: Status
  /// 0...100; never goes back.
  public var progress: Int

  public init(_ run: RunDocument) {
    let percent = Int((min(max(run.fraction ?? 0, 0), 1) * 100).rounded(.down))
    switch run.outcome {
    case nil:
      status = run.phase.map { Self.status(in: $0, of: run.kind) } ?? .initializing
      progress = min(percent, 99)
    case .restored where run.kind == .restore, .committed?, .finished?, .nothingToDo?:
      status = .completed
      progress = 100
    case .restored, .refused, .rolledBack, .needsRecovery:
      status = .failed
      progress = percent
    }
  }

  public static func status(in phase: Phase, of kind: RunKind) -> Status {
    switch phase {
    case .plan, .safety, .quiesce: .initializing
    case .snapshot: .backingUp
    case .rehearse: .planning
    case .apply: .migrating
    case .verify, .commit, .resume, .prove, .done: .verifying
    // A run that is a restore does what it was asked for.
    case .restore: kind == .restore ? .migrating : .rollingBack
    }
  }
}
