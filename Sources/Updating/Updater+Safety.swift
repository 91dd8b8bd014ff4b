public import Coach
import FoundationEssentials
import Logging
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
    startWhatIsDue()
  }

  /// What the sources of chock's own say: buses, sensors, the controller's interface. It counts from the next
  /// ``judgeWhatWasHeard()`` on.
  ///
  /// - Parameter heardAt: when they said so; leases count from then.
  public func take(_ reports: [Report], heardAt: ContinuousClock.Instant) {
    note(ended: reports.flatMap { readings.take($0, now: heardAt) })
  }

  /// Evaluates the gates after ``take(_:heardAt:)`` and ``note(_:)``.
  public func judgeWhatWasHeard() {
    judge()
    startWhatIsDue()
  }

  /// Says that a source is there which reports these signals: until it does, they are unknown.
  public func expect(_ signals: [String], from source: String) {
    readings.expect(signals, from: source)
  }

  /// Says which buses tell of slides and commands: one that is not heard hides them.
  public func expect(buses: [String]) { self.buses = buses }

  /// How a source is.
  public func note(_ source: SourceDocument) {
    let before = sources.updateValue(source, forKey: source.source)
    guard before != source else { return }
    if before?.isWell != source.isWell {
      logger.notice("\(source.source): \(source.words)")
    }
    publishGatesSoon()
  }

  /// A person's word for a signal that no device reports; in the audit before it counts.
  ///
  /// - Parameter ttl: at most 15 minutes.
  /// - Throws: `.usage` naming what is wrong, `.notAllowed` for what nobody may attest now.
  public func attest(
    signal: String, value: ReadingValue, ttl: Duration = .seconds(900), person: String
  ) throws(Failure) {
    // Tried on a copy: an attestation that is not in the audit must not count.
    var after = readings
    do throws(CoachError) {
      try after.attest(
        signal: signal, value: value, ttl: ttl, by: person, policy: settings.safety, now: .now)
    } catch {
      throw Failure(error)
    }
    try history.append(
      AuditEntry(
        .attest, of: settings.databasePath, accepted: "\(signal)=\(value)",
        reason: "for \(ttl.components.seconds) s", actor: person))
    readings = after
    logger.notice("\(person) attests \(signal) = \(value).")
    judge()
    startWhatIsDue()
  }

  /// A control operation that goes on, such as a slide that moves.
  public func putActivity(id: String, description: String, ttl: Duration) throws(Failure) {
    try change { readings throws(CoachError) in
      try readings.putActivity(id: id, description: description, ttl: ttl, now: .now)
      return []
    }
  }

  /// Forgets what silent devices said of a signal; in the audit before it counts.
  ///
  /// - Throws: `.usage` when nothing is known of it, a device still reports it, or the last word is that the
  ///   coach moves.
  public func forget(_ signal: String, person: String) async throws(Failure) {
    var after = readings
    let forgotten: [Reading]
    do throws(CoachError) {
      forgotten = try after.forget(signal, now: .now)
    } catch {
      throw Failure(error)
    }
    try history.append(
      AuditEntry(
        .forget, of: settings.databasePath,
        accepted: forgotten.map { "\(signal)=\($0.value) (\($0.source))" }.joined(separator: ", "),
        reason: "The devices are silent.", actor: person))
    readings = after
    logger.notice("\(person) has what silent devices said of \(signal) forgotten.")
    judge()
    await saveLastWords()
  }

  public func endActivity(id: String) {
    readings.endActivity(id: id)
    judge()
  }

  // MARK: Locks

  /// Holds updates back until a time, or until `releaseLock`.
  ///
  /// - Throws: `.usage`, `.notAllowed` when somebody else holds one of that name.
  public func putLock(
    id: String, owner: String, reason: String, ttlSeconds: Double, by person: Requester
  ) throws(Failure) {
    try FileSystem.makeFolder(settings.stateDirectory)
    try locks.put(id: id, owner: owner, reason: reason, ttlSeconds: ttlSeconds, by: person)
    judge()
  }

  /// - Parameters:
  ///   - owner: whose lock it must be; nil breaks it, whoever holds it.
  ///   - person: who releases or breaks it; in the audit, unless it is the one who took it.
  /// - Throws: `.notFound`, `.notAllowed`; with `owner` also when a technician took it and another one, who is
  ///   none, wants to release it.
  public func releaseLock(id: String, owner: String?, by person: Requester) throws(Failure) {
    let lock = try locks.find(id: id, owner: owner, by: person)
    if owner == nil || lock.takenBy != person.id {
      logger.notice("\(person.actor) breaks the lock \(id) of \(lock.owner).")
      try audit(.breakLock, "\(id) of \(lock.owner)", lock.reason, person.actor)
    }
    try locks.remove(lock)
    judge()
    startWhatIsDue()
  }

  private func change(
    _ body: (inout Readings) throws(CoachError) -> [Reading]
  ) throws(Failure) {
    do throws(CoachError) {
      note(ended: try body(&readings))
    } catch {
      throw Failure(error)
    }
    judge()
  }

  /// A device has said otherwise than a person.
  private func note(ended attestations: [Reading]) {
    for reading in attestations {
      let words =
        "\(reading.signal) = \(reading.value) (\(reading.source)) ends: a device says otherwise."
      logger.notice("\(words)")
      do throws(Failure) {
        try history.append(
          AuditEntry(
            .endAttestation, of: settings.databasePath,
            accepted: "\(reading.signal)=\(reading.value)", reason: "A device says otherwise.",
            actor: reading.source))
      } catch {
        logger.error("The audit could not be written: \(error.message)")
      }
    }
  }

  // MARK: The verdict

  /// Evaluates the gates as they stand now; a gate that closes makes the run in progress wait or stop.
  ///
  /// - Parameter technician: true when one is about to start a run.
  func judge(forTechnician technician: Bool = false) {
    let before = verdict
    let now = ContinuousClock.now
    verdict = evaluate(readings, facts(technician), settings.safety, now: now)
    if verdict.gates.map(\.state) != before.gates.map(\.state) {
      publishGates()
    } else if verdict.gates.map(\.readings) != before.gates.map(\.readings) {
      publishGatesSoon()
    }
    watch()
    keepLastWords()
    let lockEnd = locks.secondsToNextEnd.map { now + .seconds(max(0.1, $0)) }
    lookAgain(
      at: [readings.nextChange(after: now, settings.safety), lockEnd].compactMap { $0 }.min())
  }

  /// Most readings only put it off: a look that is due before `instant` stays, finds that, and is due again
  /// then. A new timer for each reading would wake the device several times.
  private func lookAgain(at instant: ContinuousClock.Instant?) {
    if let instant, let expiry, expiry.at <= instant { return }
    expiry?.look.cancel()
    expiry = instant.map { instant in
      let look = Task {
        try? await Task.sleep(until: instant)
        guard !Task.isCancelled else { return }
        expiry = nil
        judge()
        startWhatIsDue()
      }
      return (instant, look)
    }
  }

  /// Writes down what speaks against an update, so that a restart does not forget it: at once, and then at
  /// most every ten seconds, for the card's sake. The watch does not wait for it.
  private func keepLastWords() {
    guard isServed, savedLastWords != readings.lastWordsVersion, saving == nil else { return }
    saving = Task {
      repeat {
        await writeLastWords()
        try? await Task.sleep(for: .seconds(10))
      } while !Task.isCancelled && savedLastWords != readings.lastWordsVersion
      saving = nil
    }
  }

  /// Now, without waiting for the next time.
  func saveLastWords() async {
    saving?.cancel()
    await saving?.value
    await writeLastWords()
  }

  private func writeLastWords() async {
    let version = readings.lastWordsVersion
    guard savedLastWords != version else { return }
    do throws(Failure) {
      try await lastWordsFile.write(readings.lastWords)
      savedLastWords = version
    } catch {
      logger.error("What the coach last said could not be written down: \(error.message)")
    }
  }

  private func facts(_ technician: Bool) -> SafetyFacts {
    let wanted = lastState?.plan?.steps.first { $0.needsTechnician }
    return SafetyFacts(
      disk: disk(), clock: ClockFacts(now: UpdateLocks.now, lastSeen: lastSeen),
      // Who may start a run was asked at its start.
      technician: technician || current != nil
        ? .present : wanted.map { .needed(by: $0.fileName) } ?? .notNeeded,
      locks: locks.held, silentBuses: buses.filter { sources[$0]?.isWell != true })
  }

  /// What the verdict means for the run in progress: before it changes anything it waits for a while, then
  /// it stops and puts everything back; from the commit on it is finished.
  private func watch() {
    if isAsked, let worker {
      worker.send(.safety(verdict))
      isAsked = !verdict.isSafe
    }
    guard let current, let worker, current.kind.isWatched, current.cancellable else {
      return stopWaiting()
    }
    if verdict.isSafe {
      if wait != nil {
        stopWaiting()
        show(waitingFor: nil, until: nil)
      }
    } else if current.kind.waitsForGates(in: current.phase) {
      startWaiting(current, worker)
    } else {
      stopWaiting()
      worker.stop(Failure.gates(verdict))
    }
  }

  private func startWaiting(_ run: RunDocument, _ worker: WorkerProcess) {
    let reason = verdict.blockers.map(\.reason).joined(separator: " ")
    if wait == nil {
      let patience = settings.waitForGatesSeconds
      waitingUntil = Timestamp.text(Date().addingTimeInterval(Double(patience)))
      wait = Task {
        try? await Task.sleep(for: .seconds(patience))
        guard !Task.isCancelled, self.current?.id == run.id else { return }
        worker.stop(Failure.gates(verdict))
      }
    }
    if run.waitingFor != reason { show(waitingFor: reason, until: waitingUntil) }
  }

  func stopWaiting() {
    wait?.cancel()
    wait = nil
    waitingUntil = nil
  }

  private func show(waitingFor reason: String?, until: String?) {
    guard var document = current else { return }
    document.waitingFor = reason
    document.waitingUntil = until
    current = document
    logger.notice("\(reason.map { "The run waits: \($0)" } ?? "The run goes on.")")
    events.publish(.progress) {
      $0.run = document.id
      $0.phase = document.phase
      $0.step = reason == nil ? "going on" : "waiting"
      $0.message = reason.map { "Waiting: \($0)" } ?? "Going on"
      $0.fraction = document.fraction
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

  func publishGates() {
    gateEvent?.cancel()
    gateEvent = nil
    // Everything that was heard would fill the memory of the event hub.
    var document = safetyDocument()
    document.readings = nil
    events.publish(.gate) { $0.safety = document }
  }

  /// Renewed readings change only ages: shown together, at most twice a second, to whoever looks. Who comes
  /// later begins with the state.
  private func publishGatesSoon() {
    guard gateEvent == nil, events.isHeard(.gate) else { return }
    gateEvent = Task {
      try? await Task.sleep(for: .milliseconds(500))
      if !Task.isCancelled { publishGates() }
    }
  }

  func safetyDocument() -> SafetyDocument {
    let now = ContinuousClock.now
    return SafetyDocument(
      verdict,
      updateInProgress: current.flatMap {
        $0.kind.isWatched && $0.phase != .prove ? UpdateInProgress($0) : nil
      },
      locks: locks.held.map(LockDocument.init),
      activities: readings.activities(at: now).map {
        ActivityDocument(id: $0.id, description: $0.description)
      },
      sources: sources.values.sorted { $0.source < $1.source },
      readings: readings.all.map { ReadingDocument(ReadingView($0, now: now)) })
  }
}
