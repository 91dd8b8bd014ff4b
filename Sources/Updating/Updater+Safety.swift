public import Coach
public import Migrations
import Storage

// What the coach tells, and what follows from it for the run in progress.
extension Updater {
  /// A value that the controller reports, good for `ttl`.
  ///
  /// - Throws: `.usage` naming the field that is wrong.
  public func putReading(
    signal: String, value: ReadingValue, ttl: Duration, source: String
  ) throws(Failure) {
    try change { readings throws(CoachError) in
      try readings.put(signal: signal, value: value, ttl: ttl, source: source, now: .now)
    }
    autoMigrate()
  }

  /// A person's word for a signal that no device reports.
  public func attest(signal: String, value: ReadingValue, person: String) throws(Failure) {
    try change { readings throws(CoachError) in
      try readings.attest(
        signal: signal, value: value, ttl: .seconds(900), by: person, now: .now)
    }
  }

  /// A control operation that goes on, such as a slide that moves.
  public func putActivity(id: String, description: String, ttl: Duration) throws(Failure) {
    try change { readings throws(CoachError) in
      try readings.putActivity(id: id, description: description, ttl: ttl, now: .now)
    }
  }

  public func endActivity(id: String) {
    readings.endActivity(id: id)
    judge()
  }

  private func change(_ body: (inout Readings) throws(CoachError) -> Void) throws(Failure) {
    do throws(CoachError) {
      try body(&readings)
    } catch {
      throw Failure(.usage, "\(error.field): \(error.message)", howToClear: error.howToClear)
    }
    judge()
  }

  /// Evaluates the gates as they stand now; a gate that closes stops the run in progress.
  func judge() {
    let before = verdict
    verdict = evaluate(readings, disk: disk(), required: settings.requiredGates, now: .now)
    if verdict.gates.map(\.state) != before.gates.map(\.state) {
      publishGates()
    } else if verdict.gates.map(\.readings) != before.gates.map(\.readings) {
      publishGatesSoon()
    }
    if !verdict.isSafe, let current, let worker, current.cancellable,
      [.update, .restore].contains(current.kind)
    {
      worker.stop(Failure.gates(verdict))
    }
    expiry?.cancel()
    expiry = readings.nextExpiry(after: .now).map { instant in
      Task {
        try? await Task.sleep(until: instant)
        if !Task.isCancelled { judge() }
      }
    }
  }

  /// While a run is active it checks its own needs, with what it has measured.
  private func disk() -> DiskSpace? {
    guard let available = try? FileSystem.availableBytes(at: settings.stateDirectory) else {
      return nil
    }
    guard current == nil else { return DiskSpace(neededBytes: 0, availableBytes: available) }
    let database = FileSystem.target(settings.databasePath)?.size ?? 0
    return DiskSpace(
      neededBytes: settings.estimatedBytes(database: database), availableBytes: available)
  }

  private func publishGates() {
    gateEvent?.cancel()
    gateEvent = nil
    let document = safetyDocument()
    events.publish(.gate) { $0.safety = document }
  }

  /// Renewed readings change only ages: shown together, at most twice a second.
  private func publishGatesSoon() {
    guard gateEvent == nil else { return }
    gateEvent = Task {
      try? await Task.sleep(for: .milliseconds(500))
      if !Task.isCancelled { publishGates() }
    }
  }

  func safetyDocument() -> SafetyDocument { SafetyDocument(verdict) }
}

extension SafetyDocument {
  init(_ verdict: SafetyVerdict) {
    self.init(
      isSafe: verdict.isSafe,
      gates: verdict.gates.map { gate in
        GateDocument(
          id: gate.gate.rawValue, title: gate.title, state: gate.state, required: gate.required,
          reason: gate.reason, howToClear: gate.howToClear,
          readings: gate.readings.map {
            ReadingDocument(
              signal: $0.signal, value: $0.value?.description, source: $0.source,
              ageSeconds: $0.age?.seconds, stale: $0.stale)
          })
      },
      blockingReasons: verdict.blockers.map(\.reason))
  }
}
