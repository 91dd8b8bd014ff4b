import Coach
import FoundationEssentials
import Logging
import Migrations
import Storage

// The supervisor's work on one run: starting its worker, listening, and what its end means.
extension Updater {
  func order(
    _ kind: RunKind, requestedBy: String, fill: (inout WorkOrder) -> Void = { _ in }
  ) -> WorkOrder {
    let stamp = Timestamp.now().prefix(19).filter { $0 != "-" && $0 != ":" }
    let id = "\(stamp)Z-\(kind.rawValue)-\(String(UInt32.random(in: 0x1000...0xffff), radix: 16))"
    var order = WorkOrder(run: id, kind: kind, settings: settings, requestedBy: requestedBy)
    order.isInRecovery = recoveryMode != nil
    fill(&order)
    return order
  }

  func start(_ order: WorkOrder) -> RunDocument {
    let document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    current = document
    isAsked = false
    toldCoachIQ = nil
    if order.kind.isWatched { publishGates() }
    idleCheck?.cancel()
    checker?.stop(Failure(.stopped, "Another run begins."))
    interruptCopies()
    endComparisons(Failure.runActive)
    Task { await supervise(order) }
    return document
  }

  private func supervise(_ order: WorkOrder) async {
    await letGo()
    let document = await run(order)
    // A result that the start of the daemon waits for is told by it.
    let isTold = start == nil
    if Self.isShown(document) { lastRun = document }
    stopTelling()
    current = nil
    worker = nil
    // Held again at once, where it was let go.
    holdPause?.cancel()
    endedRuns += 1
    stopWaiting()
    if let ended = document.endedAt.flatMap(Timestamp.date)?.timeIntervalSince1970 {
      lastSeen = max(lastSeen ?? ended, ended)
    }
    if document.outcome == .needsRecovery {
      if recoveryMode == nil { isLeftByHand = false }
      recoveryMode = document.error
    }
    reviewScheduledRun(document)
    scheduleIdleCheck()
    for id in Set([order.run, document.id]) {
      for continuation in waiting.removeValue(forKey: id) ?? [] {
        continuation.resume(returning: document)
      }
    }
    databaseIsSettled()
    // The next daemon goes on with it.
    guard document.outcome != nil else { return }
    // The new state first: a result beside the old version would contradict itself.
    if isServed {
      judge()
      if order.kind.isWatched { publishGates() }
      publishState()
    }
    noteForErrorWatch(document)
    tellCoachIQ(document)
    if isTold { publishResult(document) }
    copyWhatIsMissing()
  }

  /// Recovers at the daemon's start. An application that is being started or watched after it keeps the daemon
  /// from nothing.
  func recoverAtStart() async {
    while !isShuttingDown, let other = try? runElsewhere(), other.isActive {
      if !Self.isChanging(other.run) {
        // systemd may start this daemon for an application that is ordered behind it, and that run waits for.
        Task { await recoverWhenFree() }
        return
      }
      // Nobody opens meanwhile what it may be about to replace. The kernel tells nobody of an flock that has gone.
      try? await Task.sleep(for: .milliseconds(100))
    }
    guard !isShuttingDown else { return }
    guard let journal = (try? journalFile.read()) ?? nil, journal.application != nil else {
      _ = await recover()
      return
    }
    current = journal.run
    current?.cancellable = false
    await withCheckedContinuation { continuation in
      start = continuation
      Task { await supervise(order(.recover, requestedBy: "recovery")) }
    }
  }

  /// The database may be another one, or its application be stopped, when the run has ended.
  private static func isChanging(_ run: RunDocument) -> Bool {
    RunKind.changing.contains(run.kind) && ![.resume, .prove].contains(run.phase)
  }

  /// Another process has a run that keeps the daemon from nothing: when it is over, what it may have left is
  /// recovered.
  private func recoverWhenFree() async {
    while !isShuttingDown, let other = try? runElsewhere(), other.isActive {
      try? await Task.sleep(for: .seconds(1))
    }
    guard !isShuttingDown, current == nil else { return }
    if hasInterruptedRun() {
      await supervise(order(.recover, requestedBy: "recovery"))
    } else {
      noteLastRun((try? history(limit: 20)) ?? [])
      publishState()
    }
  }

  /// What the database holds will not change by the run in progress, unless the application is not well with it.
  private func databaseIsSettled() {
    start?.resume()
    start = nil
  }

  /// Publishes how a run ended, and writes down under which number: whoever was away gets it from the
  /// daemon's next life, too.
  private func publishResult(_ document: RunDocument) {
    if isServed { logger.tell(document) }
    var document = document
    document.resultSeq = events.publish(.result) {
      $0.run = document.id
      $0.result = document
      $0.message = document.error?.message
    }
    // A run that was refused before it began is not in the history.
    guard isServed, let text = (try? history.run(document.id)) ?? nil, Self.decode(text) != nil
    else {
      return
    }
    if lastRun?.id == document.id { lastRun = document }
    do throws(Failure) {
      try history.save(
        run: document.id, startedAt: document.startedAt, document: try JSON.text(document))
    } catch {
      logger.warning("The number of a result could not be written: \(error.message)")
    }
  }

  /// Takes up the results of the daemon's life before, and publishes those that nobody has been told of: of
  /// runs that recovery has ended, and of runs without a daemon.
  ///
  /// - Parameter recent: newest first.
  func resumeResults(_ recent: [RunDocument]) {
    guard isServed else { return }
    let ended = recent.reversed().filter { $0.endedAt != nil }
    events.remember(
      ended.compactMap { document in
        document.resultSeq.map { seq in
          var event = Event(seq: seq, at: document.endedAt ?? "", type: .result)
          event.run = document.id
          event.result = document
          event.message = document.error?.message
          return event
        }
      }.sorted { $0.seq < $1.seq })
    for document in ended where document.resultSeq == nil && document.id != current?.id {
      publishResult(document)
    }
  }

  /// Tells everybody who listens how it stands now.
  public func publishState() {
    let status = status(Look(settings, store, history, endedRuns: endedRuns))
    events.publish(.state) { $0.status = status }
  }

  /// Which results stay on the panel until somebody has seen them.
  static func isShown(_ document: RunDocument) -> Bool {
    RunKind.changing.contains(document.kind)
  }

  /// Runs a worker to its end; when it dies without a result, recovery says how the run ended.
  func run(_ order: WorkOrder) async -> RunDocument {
    let process = WorkerProcess(order, executable: executable)
    worker = process
    limitSilence(of: process)
    let end = await process.run { [weak self] message in await self?.receive(message, process) }
    if let result = end.result { return result }
    logger.error("The worker ended without a result: \(end.words)")
    let cause =
      end.cause
      ?? Failure(
        .interrupted, "The worker process ended unexpectedly (\(end.words)).",
        howToClear: "Start it again; when it happens twice, `chock doctor` may know why.")
    // Those leave the journal of another run to the person for whom it waits.
    let isBesideAnother = [.check, .salvage].contains(order.kind) && journalFile.exists
    if order.kind != .recover, !isBesideAnother {
      // Nothing stops recovery, nor what follows it.
      current?.cancellable = false
      var recovered = await run(
        self.order(.recover, requestedBy: order.requestedBy) { $0.cause = cause })
      if recovered.kind == .recover {
        // No journal told what was interrupted: those who wait, wait for this run.
        recovered.id = order.run
        recovered.kind = order.kind
      }
      if recovered.outcome != .nothingToDo { return recovered }
      // It had ended, and died before it could say so.
      if let text = (try? history.run(order.run)) ?? nil, let ended = Self.decode(text) {
        return ended
      }
    }
    var document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    document.outcome = order.kind == .recover ? .needsRecovery : .refused
    document.error = cause
    document.endedAt = Timestamp.now()
    // Nobody else writes it down: they have no journal.
    if [.check, .salvage].contains(order.kind), let text = try? JSON.text(document) {
      try? history.save(run: document.id, startedAt: document.startedAt, document: text)
    }
    return document
  }

  private func tellCoachIQ(_ run: RunDocument) {
    let progress = CoachIQProgress(run)
    guard run.kind.isWatched, progress != toldCoachIQ else { return }
    toldCoachIQ = progress
    events.publish(progress, of: run.id)
  }

  private func receive(_ message: WorkerMessage, _ process: WorkerProcess) async {
    switch message {
    case .phase(let phase):
      switch (phase, current?.kind) {
      // The limit of apply is theirs too.
      case (.verify, .update), (.commit, .update), (.verify, .rollback), (.commit, .rollback): break
      // What stopped the run must not stop its way back.
      case (.restore, .update), (.restore, .rollback):
        limitSilence(of: process, evenWhenStopped: true)
      case (.quiesce, _):
        process.limit(
          to: .seconds(settings.application.stopTimeoutSeconds) + limitOfSilence,
          evenWhenStopped: false, because: Self.tookTooLong)
      // The application is started whatever stopped the run.
      case (.resume, _):
        process.limit(
          to: .seconds(settings.application.startTimeoutSeconds) + limitOfSilence,
          evenWhenStopped: true, because: Self.tookTooLong)
      default: limitSilence(of: process)
      }
      enter(phase)
      if phase == .prove, isShuttingDown { process.stop(Self.daemonStops) }
      if [.resume, .prove].contains(phase) { databaseIsSettled() }
      await letGo()
    case .progress(let progress):
      // The statements of a run have one limit for all of them, however much they report.
      if ![.quiesce, .rehearse, .apply, .verify, .commit, .resume].contains(current?.phase) {
        limitSilence(of: process)
      }
      show(progress)
    case .log(let text):
      logger.warning("\(text)")
      events.publish(.log) { $0.message = text }
    case .askSafety:
      // It may have to wait for its answer.
      process.limit(
        to: .seconds(settings.waitForGatesSeconds + settings.migrationTimeoutSeconds)
          + WorkerProcess.grace,
        evenWhenStopped: false, because: Self.tookTooLong)
      isAsked = true
      judge()
    case .askHold: process.send(.hold(await holdForApplication()))
    case .result, .place: break
    }
  }

  private func enter(_ phase: Phase) {
    guard var document = current else { return }
    stopTelling()
    let former = document.phase
    document.phase = phase
    document.message = nil
    document.done = nil
    document.total = nil
    document.cancellable = document.kind.isCancellable(in: phase)
    document.fraction = max(document.fraction ?? 0, RunProgress.start(of: phase, document.kind))
    current = document
    logger.tell(
      "\(document.kind.rawValue) \(document.id): \(phase.rawValue)",
      former == nil ? .runStarted : nil, of: document, at: .info)
    events.publish(.phase) {
      $0.run = document.id
      $0.phase = phase
      $0.fraction = document.fraction
    }
    tellCoachIQ(document)
    // While the application is only watched, the coach may be used.
    if document.kind.isWatched, phase != former, [phase, former].contains(.prove) {
      publishGates()
    }
    // A gate that closed a moment ago means something else in this phase.
    if !verdict.isSafe { judge() }
  }

  /// Kills a worker from which nothing has come for the time limit and the grace. The statements stop
  /// by themselves at the limit; this is for a step that does not, and for a worker that hangs.
  private func limitSilence(of process: WorkerProcess, evenWhenStopped: Bool = false) {
    process.limit(
      to: limitOfSilence, evenWhenStopped: evenWhenStopped, because: Self.tookTooLong)
  }

  private var limitOfSilence: Duration {
    .seconds(settings.migrationTimeoutSeconds) + WorkerProcess.grace
  }

  static let daemonStops = Failure(
    .interrupted, "The daemon was told to stop.", howToClear: "Start the update again.")

  private static let tookTooLong = Failure(
    .timeout, "The run did not end within update.migration_timeout_seconds.",
    howToClear: "Raise update.migration_timeout_seconds in the config.")

  private func show(_ progress: WorkerProgress) {
    guard var document = current, let phase = document.phase else { return }
    document.message = progress.message
    document.done = progress.done
    document.total = progress.total
    if let fraction = progress.fraction {
      document.fraction = max(
        document.fraction ?? 0, RunProgress.overall(fraction, of: phase, document.kind))
    }
    current = document
    untoldStep = progress.step
    guard telling == nil else { return }
    telling = Task {
      try? await Task.sleep(for: Self.progressInterval)
      if !Task.isCancelled { tellProgress() }
    }
  }

  /// Progress is told at most so often: a small database passes through its phases faster than hundreds of
  /// listeners can be told of each step, and what they wait for are the phases.
  private static let progressInterval = Duration.milliseconds(100)

  private func tellProgress() {
    telling = nil
    guard let document = current, let phase = document.phase else { return }
    events.publish(.progress) {
      $0.run = document.id
      $0.phase = phase
      $0.step = untoldStep
      $0.message = document.message
      $0.done = document.done
      $0.total = document.total
      $0.fraction = document.fraction
    }
    tellCoachIQ(document)
  }

  private func stopTelling() {
    telling?.cancel()
    telling = nil
  }
}
