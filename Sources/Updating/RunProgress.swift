/// Which part of a whole run each phase takes on a progress bar.
enum RunProgress {
  private static func range(of phase: Phase, _ kind: RunKind) -> ClosedRange<Double> {
    switch (kind, phase) {
    case (_, .plan), (_, .safety): 0...0.02
    case (_, .quiesce): 0.02...0.02
    // Also after a run that failed: a bar that jumps to its end would say something else.
    case (_, .resume): 0...0
    case (_, .prove): 0.99...1
    case (.update, .snapshot), (.rollback, .snapshot): 0.02...0.25
    case (.update, .rehearse), (.rollback, .rehearse): 0.25...0.5
    case (.update, .apply), (.rollback, .apply): 0.5...0.9
    case (.update, .verify), (.rollback, .verify): 0.9...0.97
    case (.rehearse, .snapshot): 0.02...0.4
    case (.rehearse, .rehearse): 0.4...0.98
    case (_, .commit): 0.97...0.99
    case (_, .done): 1...1
    default: 0.02...0.98
    }
  }

  static func start(of phase: Phase, _ kind: RunKind) -> Double {
    range(of: phase, kind).lowerBound
  }

  static func overall(_ fraction: Double, of phase: Phase, _ kind: RunKind) -> Double {
    let range = range(of: phase, kind)
    return range.lowerBound + min(max(fraction, 0), 1) * (range.upperBound - range.lowerBound)
  }
}
