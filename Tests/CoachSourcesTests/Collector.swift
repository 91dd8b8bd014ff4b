import Coach
import CoachSources
import Synchronization

/// What came out of the sources so far.
final class Collector: Sendable {
  private let content = Mutex<(messages: [SourceMessage], hasEnded: Bool)>(([], false))

  init(_ stream: some AsyncSequence<[SourceMessage], Never> & Sendable) {
    Task {
      for await messages in stream { content.withLock { $0.messages += messages } }
      content.withLock { $0.hasEnded = true }
    }
  }

  var hasEnded: Bool { content.withLock { $0.hasEnded } }
  private var messages: [SourceMessage] { content.withLock { $0.messages } }

  var states: [SourceState] {
    messages.compactMap { if case .state(let state) = $0 { state } else { nil } }
  }
  var batches: [(reports: [Report], heardAt: ContinuousClock.Instant)] {
    messages.compactMap {
      if case .reports(let reports, heardAt: let at) = $0 { (reports, at) } else { nil }
    }
  }
  var reports: [Report] { batches.flatMap(\.reports) }

  /// The values of a signal in the order in which they came; nil is "no value".
  func values(of signal: String) -> [ReadingValue?] {
    reports.compactMap {
      switch $0.content {
      case .value(let value, of: signal, lasting: _): .some(value)
      case .noValue(of: signal), .error(of: signal): .some(nil)
      default: nil
      }
    }
  }
}
