public import Coach
import FoundationEssentials
public import Logging
public import Migrations
public import Storage

/// What a client asks for when it starts an update.
public struct UpdateRequest: Sendable {
  /// The hash of the plan that the person saw.
  public var planHash: String?
  /// True when a person said yes to that plan.
  public var consent: Bool
  /// Nil: the newest version that the files hold.
  public var target: SchemaVersion?
  public var requestedBy: String

  public init(planHash: String?, consent: Bool, target: SchemaVersion?, requestedBy: String) {
    self.planHash = planHash
    self.consent = consent
    self.target = target
    self.requestedBy = requestedBy
  }
}

/// The supervisor: one run at a time in a worker process, its events, and all that can be asked about it.
///
/// It reads the application's database and never writes it.
public actor Updater {
  /// The events of this process, in order, with those of the recent past.
  public nonisolated let events: EventHub
  public nonisolated let settings: UpdateSettings

  private let executable: String
  private let logger: Logger
  private let history: StateStore
  private let store: SnapshotStore
  private let journalFile: JournalFile

  private var readings = Readings()
  private var verdict: SafetyVerdict
  private var expiry: Task<Void, Never>?
  private var gateEvent: Task<Void, Never>?

  private var worker: WorkerProcess?
  private var current: RunDocument?
  private var waiting: [String: [CheckedContinuation<RunDocument, Never>]] = [:]
  /// The last update or restore, until it is acknowledged.
  private var lastRun: RunDocument?
  /// Why chock does nothing on its own any more.
  private var recoveryMode: Failure?
  /// True when a person started chock in recovery mode.
  private var isRecoveryWanted = false
  private var isAutoMigrationDue = false
  private var lastState: DatabaseState?

  /// - Parameter executable: the path of the chock binary, which is started again as the worker.
  public init(settings: UpdateSettings, executable: String, logger: Logger) {
    self.settings = settings
    self.executable = executable
    self.logger = logger
    // Numbers of a later life are higher, so that a client never mistakes one for the other.
    events = EventHub(firstSeq: UInt64(max(1, Date().timeIntervalSince1970 * 1000)))
    history = StateStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    journalFile = JournalFile(stateDirectory: settings.stateDirectory)
    store = SnapshotStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    verdict = evaluate(readings, disk: nil, required: settings.requiredGates, now: .now)
  }

  // MARK: Life

  /// Recovers what an interrupted run left, before anything else; then offers what is pending.
  ///
  /// - Throws: `.inputOutput` when the state folder cannot be used.
  ///
  /// - Parameter recovery: do nothing that a person has not asked for, not even recovery.
  public func start(recovery: Bool = false) async throws(Failure) {
    try FileSystem.makeFolder(settings.stateDirectory)
    isRecoveryWanted = recovery
    if recovery {
      recoveryMode = Failure(
        .needsPerson, "chock was started in recovery mode.",
        howToClear: "Start it without --recovery when everything is well.")
    } else {
      _ = await recover()
    }
    lastRun = (try? history(limit: 20))?.first { Self.isShown($0) && !$0.acknowledged }
    judge()
    let state = DatabaseState(settings)
    if let problem = state.problem {
      logger.warning("\(problem.message)", metadata: ["code": "\(problem.code.rawValue)"])
    }
    guard let plan = state.plan, !plan.steps.isEmpty else { return }
    events.publish(.updateAvailable) {
      $0.message = "Update available: \(plan.from) -> \(plan.to)"
    }
    isAutoMigrationDue = settings.autoMigrate && settings.environment != .production
    autoMigrate()
  }

  /// Ends what an interrupted run left behind; also `chock recover`.
  public func recover() async -> RunDocument {
    let ended = await run(order(.recover, requestedBy: "recovery"))
    recoveryMode = ended.outcome == .needsRecovery ? ended.error : nil
    if Self.isShown(ended), ended.outcome != .nothingToDo { lastRun = ended }
    return ended
  }

  /// Lets recovery begin anew after it has failed three times.
  public func allowRecovery() throws(Failure) {
    try betweenRuns { () throws(Failure) in
      guard var journal = try journalFile.read() else { return }
      journal.recoveries = 0
      try journalFile.write(journal)
    }
  }

  /// Forgets an interrupted run; the database is left as it is.
  public func discardInterruptedRun() throws(Failure) {
    try betweenRuns { () throws(Failure) in if journalFile.exists { try journalFile.remove() } }
  }

  /// Stops the run in progress, if there is one, and waits until its worker has ended.
  public func shutDown() async {
    expiry?.cancel()
    gateEvent?.cancel()
    guard let current, let worker else { return }
    worker.stop(
      Failure(
        .interrupted, "The daemon was told to stop.", howToClear: "Start the update again."))
    _ = await ended(current.id)
  }

  private func autoMigrate() {
    guard isAutoMigrationDue, verdict.isSafe, current == nil, recoveryMode == nil else { return }
    isAutoMigrationDue = false
    let plan = DatabaseState(settings).plan
    do throws(Failure) {
      _ = try startUpdate(
        UpdateRequest(planHash: plan?.hash, consent: false, target: nil, requestedBy: "auto"))
    } catch {
      logger.warning("The automatic update did not start: \(error.message)")
    }
  }

  // MARK: Asking

  public func status() -> StatusDocument {
    leaveRecoveryMode()
    let state = state()
    judge()
    let safety = safetyDocument()
    var elsewhere: (run: RunDocument, isActive: Bool)?
    var interrupted: Failure?
    do throws(Failure) {
      elsewhere = current == nil ? try runElsewhere() : nil
      interrupted = elsewhere?.isActive == false ? Failure.interruptedRun : nil
    } catch {
      interrupted = error
    }
    let active = current ?? (elsewhere?.isActive == true ? elsewhere?.run : nil)
    let problem = recoveryMode ?? interrupted ?? state.problem
    return StatusDocument(
      chockVersion: Chock.version, mode: recoveryMode == nil ? .normal : .recovery,
      environment: settings.environment.rawValue, databasePath: settings.databasePath,
      adopted: state.adopted, currentVersion: state.current?.description,
      targetVersion: state.latest?.description,
      needsUpdate: state.plan.map { !$0.steps.isEmpty } ?? false,
      pendingMigrations: (state.plan?.steps ?? []).map {
        PendingMigration(
          version: $0.version.description, name: $0.name, description: $0.summary)
      },
      isSafeToMigrate: safety.isSafe && problem == nil,
      gates: safety.gates, safetyIssues: safety.blockingReasons,
      latestBackup: (try? store.list())?.first {
        (try? $0.checkBelongs(to: settings.databasePath)) != nil
      }, migrationInProgress: active != nil,
      currentJobId: active?.id, run: active ?? elsewhere?.run ?? lastRun, problem: problem,
      consentRequired: settings.requireExplicitConsent)
  }

  /// Another process (`chock recover`) may have finished what this one could not.
  private func leaveRecoveryMode() {
    guard !isRecoveryWanted, recoveryMode != nil, !journalFile.exists else { return }
    recoveryMode = nil
  }

  /// What the files say; while a run keeps the database locked, what they said before.
  private func state() -> DatabaseState {
    let state = DatabaseState(settings)
    if current != nil, state.problem?.code == .databaseLocked, let lastState { return lastState }
    lastState = state
    return state
  }

  /// A run of another process, by its journal: active, or interrupted when nobody holds the lock.
  ///
  /// - Throws: `.needsPerson` when the journal cannot be read.
  private func runElsewhere() throws(Failure) -> (run: RunDocument, isActive: Bool)? {
    guard let journal = try journalFile.read() else { return nil }
    guard let lock = try? RunLock(folder: settings.stateDirectory) else {
      return (journal.run, true)
    }
    return withExtendedLifetime(lock) { (journal.run, false) }
  }

  /// True when a run was interrupted and `recover()` has to come first.
  public func hasInterruptedRun() -> Bool {
    current == nil && journalFile.exists && (try? runElsewhere())??.isActive != true
  }

  /// - Throws: why there is no plan.
  public func plan(to target: SchemaVersion?) throws(Failure) -> PlanDocument {
    let state = DatabaseState(settings, target: target)
    guard let plan = state.plan else {
      throw state.problem ?? Failure(.notFound, "There is no plan.")
    }
    let rehearsed = (try? history(limit: 50))?.first { $0.rehearsal?.planHash == plan.hash }
    let estimate = rehearsed.flatMap(Self.estimate)
    return PlanDocument(
      fromVersion: plan.from.description, toVersion: plan.to.description, hash: plan.hash,
      migrations: plan.steps.map {
        PlanDocument.PlannedMigration(
          version: $0.version.description, name: $0.name, description: $0.summary,
          file: $0.fileName,
          checksum: $0.checksum)
      },
      expectedSeconds: estimate?.expected, worstCaseSeconds: estimate?.worst,
      databaseBytes: state.bytes, neededBytes: settings.estimatedBytes(database: state.bytes),
      availableBytes: (try? FileSystem.availableBytes(at: settings.stateDirectory)) ?? 0,
      timeoutSeconds: Double(settings.migrationTimeoutSeconds))
  }

  /// From a run that rehearsed: its snapshot, its rehearsal, and the same statements once more. At
  /// worst everything is copied back.
  private static func estimate(_ run: RunDocument) -> (expected: Double, worst: Double)? {
    guard let rehearsal = run.rehearsal else { return nil }
    let seconds = Dictionary(
      run.phases.map { ($0.phase, $0.seconds) }, uniquingKeysWith: { $0 + $1 })
    let snapshot = seconds[.snapshot] ?? 0
    let expected = snapshot + (seconds[.rehearse] ?? rehearsal.seconds) + rehearsal.seconds
    return (expected, expected + snapshot)
  }

  public func safety() -> SafetyDocument {
    judge()
    return safetyDocument()
  }

  /// - Throws: `.notFound`.
  public func run(_ id: String) throws(Failure) -> RunDocument {
    if let current, current.id == id { return current }
    if let lastRun, lastRun.id == id { return lastRun }
    guard let text = try history.run(id), let document = decode(text) else {
      throw Failure(
        .notFound, "There is no run \(id).", howToClear: "`chock history` lists the runs.")
    }
    return document
  }

  /// The newest runs, newest first.
  public func history(limit: Int) throws(Failure) -> [RunDocument] {
    try history.runs(limit: limit).compactMap(decode)
  }

  private nonisolated func decode(_ text: String) -> RunDocument? {
    try? JSON.decode(RunDocument.self, from: Array(text.utf8))
  }

  public func snapshots() throws(Failure) -> [SnapshotDocument] { try store.list() }

  /// - Throws: `.notFound`.
  public func setPinned(_ pinned: Bool, snapshot id: String) throws(Failure) -> SnapshotDocument {
    try store.setPinned(pinned, id)
  }

  /// - Throws: `.notFound`, `.notAllowed` (it is pinned), `.runActive` (a run may be using it).
  public func deleteSnapshot(_ id: String) throws(Failure) {
    try betweenRuns { () throws(Failure) in try store.delete(id) }
  }

  /// - Returns: the ids that retention removed.
  public func prune() throws(Failure) -> [String] {
    try betweenRuns { () throws(Failure) in try store.prune(settings.retention, inUse: []) }
  }

  /// Does something that no run of any process may see half done.
  private func betweenRuns<R>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
    guard current == nil, let lock = try RunLock(folder: settings.stateDirectory) else {
      throw Failure.runActive
    }
    defer { withExtendedLifetime(lock) {} }
    return try body()
  }

  // MARK: Doing

  /// Starts a run and returns at once; its progress is in `events` and `run(_:)`.
  ///
  /// - Throws: `.consentMissing`, `.planChanged`, `.gateClosed`, `.runActive`, or why there is no plan.
  public func startUpdate(_ request: UpdateRequest) throws(Failure) -> RunDocument {
    try checkIdle()
    let plan = try plan(to: request.target)
    if settings.requireExplicitConsent {
      guard request.consent else { throw Failure.consentMissing }
      guard request.planHash == plan.hash else { throw Failure.planChanged }
    }
    // With nothing pending the worker says so at once; the coach need not be parked for that.
    if !plan.migrations.isEmpty {
      judge()
      guard verdict.isSafe else { throw Failure.gates(verdict) }
    }
    return start(
      order(.update, requestedBy: request.requestedBy) {
        $0.target = request.target
        $0.consentedPlan = request.consent ? request.planHash : nil
      })
  }

  /// The plan on a copy; the live database is only read.
  public func startRehearsal(
    to target: SchemaVersion? = nil, requestedBy: String
  ) throws(Failure) -> RunDocument {
    try checkIdle()
    _ = try plan(to: target)
    return start(order(.rehearse, requestedBy: requestedBy) { $0.target = target })
  }

  public func startSnapshot(requestedBy: String) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    return start(order(.snapshot, requestedBy: requestedBy))
  }

  /// - Throws: `.notFound`, `.gateClosed`, `.runActive`.
  public func startRestore(
    snapshot id: String, requestedBy: String
  ) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    _ = try store.find(id)
    judge()
    guard verdict.isSafe else { throw Failure.gates(verdict) }
    return start(order(.restore, requestedBy: requestedBy) { $0.snapshot = id })
  }

  /// - Throws: `.notFound`, `.runActive`.
  public func startVerify(snapshot id: String, requestedBy: String) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    _ = try store.find(id)
    return start(order(.verify, requestedBy: requestedBy) { $0.snapshot = id })
  }

  /// Asks the run to stop and to put everything back.
  ///
  /// - Throws: `.notFound` when it is not in progress; `.notAllowed` from the commit on.
  public func cancel(_ id: String) throws(Failure) -> RunDocument {
    guard let current, current.id == id, let worker else {
      throw Failure(.notFound, "The run \(id) is not in progress.")
    }
    guard current.cancellable else {
      throw Failure(.notAllowed, "The new state is being written; it is too late to cancel.")
    }
    worker.stop(
      Failure(.stopped, "The run was cancelled.", howToClear: "Start it again when you like."))
    return current
  }

  /// A person has seen how the run ended.
  public func acknowledge(_ id: String) throws(Failure) -> RunDocument {
    var document = try run(id)
    guard document.outcome != nil else {
      throw Failure(.notAllowed, "The run \(id) has not ended.")
    }
    document.acknowledged = true
    try history.save(run: id, startedAt: document.startedAt, document: try JSON.text(document))
    if lastRun?.id == id { lastRun = nil }
    return document
  }

  /// Waits until a run that was started here has ended.
  public func ended(_ id: String) async -> RunDocument? {
    guard current?.id == id else { return try? run(id) }
    return await withCheckedContinuation { waiting[id, default: []].append($0) }
  }

  private func checkIdle() throws(Failure) {
    leaveRecoveryMode()
    if let recoveryMode { throw recoveryMode }
    guard current == nil else { throw Failure.runActive }
  }

  // MARK: Readings

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
  private func judge() {
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

  private func safetyDocument() -> SafetyDocument {
    SafetyDocument(
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

  // MARK: The worker

  private func order(
    _ kind: RunKind, requestedBy: String, fill: (inout WorkOrder) -> Void = { _ in }
  ) -> WorkOrder {
    let stamp = Timestamp.now().prefix(19).filter { $0 != "-" && $0 != ":" }
    let id = "\(stamp)Z-\(kind.rawValue)-\(String(UInt32.random(in: 0x1000...0xffff), radix: 16))"
    var order = WorkOrder(run: id, kind: kind, settings: settings, requestedBy: requestedBy)
    fill(&order)
    return order
  }

  private func start(_ order: WorkOrder) -> RunDocument {
    let document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    current = document
    Task { await supervise(order) }
    return document
  }

  private func supervise(_ order: WorkOrder) async {
    let document = await run(order)
    if Self.isShown(document) { lastRun = document }
    current = nil
    worker = nil
    if document.outcome == .needsRecovery { recoveryMode = document.error }
    for continuation in waiting.removeValue(forKey: order.run) ?? [] {
      continuation.resume(returning: document)
    }
    // The new state first: a result beside the old version would contradict itself.
    judge()
    let status = status()
    events.publish(.state) { $0.status = status }
    events.publish(.result) {
      $0.run = document.id
      $0.result = document
      $0.message = document.error?.message
    }
  }

  /// Which results stay on the panel until somebody has seen them.
  private static func isShown(_ document: RunDocument) -> Bool {
    [.update, .restore].contains(document.kind)
  }

  /// Runs a worker to its end; when it dies without a result, recovery says how the run ended.
  private func run(_ order: WorkOrder) async -> RunDocument {
    let process = WorkerProcess(order, executable: executable)
    worker = process
    let end = await process.run { [weak self] message in await self?.receive(message, process) }
    if let result = end.result { return result }
    logger.error("The worker ended without a result: \(end.words)")
    let cause =
      end.cause
      ?? Failure(
        .interrupted, "The worker process ended unexpectedly (\(end.words)).",
        howToClear: "Start it again; when it happens twice, `chock doctor` may know why.")
    if order.kind != .recover {
      var recovered = await run(
        self.order(.recover, requestedBy: order.requestedBy) { $0.cause = cause })
      if recovered.kind == .recover {
        // No journal told what was interrupted: those who wait, wait for this run.
        recovered.id = order.run
        recovered.kind = order.kind
      }
      if recovered.outcome != .nothingToDo { return recovered }
    }
    var document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    document.outcome = order.kind == .recover ? .needsRecovery : .refused
    document.error = cause
    document.endedAt = Timestamp.now()
    return document
  }

  private func receive(_ message: WorkerMessage, _ process: WorkerProcess) {
    switch message {
    case .phase(let phase): enter(phase, process)
    case .progress(let progress): show(progress)
    case .log(let text):
      logger.warning("\(text)")
      events.publish(.log) { $0.message = text }
    case .askSafety:
      judge()
      process.send(.safety(verdict))
    case .result: break
    }
  }

  private func enter(_ phase: Phase, _ process: WorkerProcess) {
    guard var document = current else { return }
    document.phase = phase
    document.message = nil
    document.done = nil
    document.total = nil
    document.cancellable = ![.commit, .done].contains(phase)
    document.fraction = max(document.fraction ?? 0, Progress.start(of: phase, document.kind))
    current = document
    logger.info("\(document.kind.rawValue) \(document.id): \(phase.rawValue)")
    events.publish(.phase) {
      $0.run = document.id
      $0.phase = phase
      $0.fraction = document.fraction
    }
    // The statements stop by themselves at the limit; this is for a step that does not.
    if [.rehearse, .apply].contains(phase) {
      process.limit(
        to: .seconds(settings.migrationTimeoutSeconds) + WorkerProcess.grace,
        because: Failure(
          .timeout, "The run did not end within update.migration_timeout_seconds.",
          howToClear: "Raise update.migration_timeout_seconds in the config."))
    }
  }

  private func show(_ progress: WorkerProgress) {
    guard var document = current, let phase = document.phase else { return }
    document.message = progress.message
    document.done = progress.done
    document.total = progress.total
    if let fraction = progress.fraction {
      document.fraction = max(
        document.fraction ?? 0, Progress.overall(fraction, of: phase, document.kind))
    }
    current = document
    events.publish(.progress) {
      $0.run = document.id
      $0.phase = phase
      $0.step = progress.step
      $0.message = progress.message
      $0.done = progress.done
      $0.total = progress.total
      $0.fraction = document.fraction
    }
  }
}

/// Which part of a whole run each phase takes on a progress bar.
private enum Progress {
  private static func range(of phase: Phase, _ kind: RunKind) -> ClosedRange<Double> {
    switch (kind, phase) {
    case (_, .plan), (_, .safety): 0...0.02
    case (.update, .snapshot): 0.02...0.25
    case (.update, .rehearse): 0.25...0.5
    case (.update, .apply): 0.5...0.9
    case (.update, .verify): 0.9...0.97
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
