import Coach

/// A source that is asked, again and again.
protocol PollingSource {
  mutating func poll() async -> Poll
}

/// What came of asking once.
struct Poll {
  var reports: [Report]
  var state: SourceState
}

extension PollingSource {
  /// Asks every `interval`, until the task is cancelled. What takes longer than that is not hurried after.
  consuming func run(every interval: Duration, _ lane: Lane) async {
    var state: SourceState?
    while !Task.isCancelled {
      // What it says may be as old as the question.
      let began = ContinuousClock.now
      let poll = await poll()
      // An answer to a question that was given up is none.
      guard !Task.isCancelled else { return }
      do {
        if !poll.reports.isEmpty {
          try await lane.send(.reports(poll.reports, heardAt: began))
        }
        if poll.state != state { try await lane.send(.state(poll.state)) }
        state = poll.state
        try await Task.sleep(until: began + interval)
      } catch {
        return
      }
    }
  }
}

/// Remembers of which signals a source has spoken, so that it can be told when it does no more.
struct Spoken {
  private let always: Set<String>
  private var last: Set<String> = []

  /// - Parameter always: the signals that it should speak of each time.
  init(_ always: [String] = []) {
    self.always = Set(always)
  }

  /// `reports`, and that there is no value of the signals that should be there or were there last time.
  mutating func complete(
    _ reports: [Report], source: String, vetoOnly: Bool = false
  ) -> [Report] {
    let now = Set(reports.compactMap(\.content.signal))
    let missing = always.union(last).subtracting(now).sorted()
    last = now
    return reports
      + missing.map { Report(.noValue(of: $0), source: source, vetoOnly: vetoOnly) }
  }
}
