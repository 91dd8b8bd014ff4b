import Coach
import FoundationEssentials
public import Logging
public import Migrations
public import Storage

/// What a client asks for when it starts an update or a rollback.
public struct UpdateRequest: Sendable {
  /// What the person saw as ``PlanDocument/hash``.
  public var planHash: String?
  /// True when a person said yes to that plan.
  public var consent: Bool
  public var goal: Goal
  /// What a person gave to the plan's inputs.
  public var inputs: [String: InputValue]
  public var requestedBy: String
  /// False for somebody who may only do what an owner may.
  public var isTechnician: Bool
  /// The id of the device or token that it comes from: a consent for later ends with it.
  public var credential: String?
  /// The id of the device of the person who approved it: a consent for later ends with it, too.
  public var approver: String?
  /// Makes a request that comes again the same run.
  public var key: IdempotencyKey?

  public init(
    planHash: String?, consent: Bool, goal: Goal = .newest, inputs: [String: InputValue] = [:],
    requestedBy: String, isTechnician: Bool, credential: String? = nil, approver: String? = nil,
    key: IdempotencyKey? = nil
  ) {
    self.credential = credential
    self.approver = approver
    self.planHash = planHash
    self.consent = consent
    self.goal = goal
    self.inputs = inputs
    self.requestedBy = requestedBy
    self.isTechnician = isTechnician
    self.key = key
  }
}

/// What a client calls a request that it may have to send again, and what the request was.
public struct IdempotencyKey: Sendable, Equatable {
  public var key: String
  /// A digest of everything that makes two requests the same one, and of nothing secret.
  public var request: String

  public init(key: String, request: String) {
    self.key = key
    self.request = request
  }
}

/// The supervisor: one run at a time in a worker process, its events, and all that can be asked about it.
///
/// It reads the application's database, and writes nothing into it but its own record of what a technician accepts.
public actor Updater {
  let isServed: Bool
  /// The events of this process, in order, with those of the recent past.
  public nonisolated let events: EventHub
  public nonisolated let settings: UpdateSettings
  /// Who may ask.
  public nonisolated let access: Access

  // The rest is seen by this actor's extensions in Updater+Worker.swift and Updater+Safety.swift.
  let executable: String
  let logger: Logger
  let history: StateStore
  let store: SnapshotStore
  let journalFile: JournalFile

  var readings = Readings()
  var sources: [String: SourceDocument] = [:]
  var buses: [String] = []
  var locks: UpdateLocks
  var verdict: SafetyVerdict
  /// The latest time that chock has written down, in seconds since 1970.
  var lastSeen: Double?
  /// The end of the time that the run in progress waits for a gate.
  var wait: Task<Void, Never>?
  var waitingUntil: String?
  /// The worker waits for a verdict that lets it go on.
  var isAsked = false
  /// When time alone may change the verdict next, and who looks again then.
  var expiry: (at: ContinuousClock.Instant, look: Task<Void, Never>)?
  let lastWordsFile: LastWordsFile
  var savedLastWords = 0
  /// Runs until the next time that progress may be told, and the step that it is about.
  var telling: Task<Void, Never>?
  var untoldStep: String?
  /// What CoachIQ's panel was last told of the run in progress.
  var toldCoachIQ: CoachIQProgress?
  /// Runs until the next time that last words may be written.
  var saving: Task<Void, Never>?
  var gateEvent: Task<Void, Never>?

  var worker: WorkerProcess?
  var current: RunDocument?
  var waiting: [String: [CheckedContinuation<RunDocument, Never>]] = [:]
  /// The last update or restore, until it is acknowledged.
  var lastRun: RunDocument?
  /// Why chock does nothing on its own any more.
  public internal(set) var recoveryMode: Failure? {
    didSet { if (oldValue == nil) != (recoveryMode == nil) { recoveryModeChanged() } }
  }
  /// With the policy `read_only`: while it is recovery mode.
  let readOnlyHold = ReadOnlyHold()
  var holding: Task<Void, Never>?
  var holdPause: Task<Void, Never>?
  /// True when nothing but a person's word ends it.
  var isLeftByHand = false
  /// True when it is that the daemon died again and again.
  var isCrashLoop = false
  let starts: StartCounter
  var settled: Task<Void, Never>?
  private var isAutoMigrationDue = false
  /// The start of the daemon, while it waits for recovery.
  var start: CheckedContinuation<Void, Never>?
  public internal(set) var isShuttingDown = false
  var scheduled: ScheduleFile.Document?
  var scheduleWatch: Task<Void, Never>?
  /// What has kept the scheduled update from starting so far, and from when on it may be tried again.
  var inTheWay: String?
  var tryAgainAt: ContinuousClock.Instant?
  let now: @Sendable () -> ContinuousClock.Instant
  /// The run that a consent for later has started.
  var scheduledRun: (id: String, document: ScheduleFile.Document)?
  /// Of the reminder that came due last, in this process: when it was asked for.
  public internal(set) var lastReminder: String?
  var lastState: DatabaseState?
  /// What a status is being made of, and what those wait for who have asked since.
  var look: Task<Look, Never>?
  var nextLook: Task<Look, Never>?
  /// How many runs have ended since the start.
  var endedRuns = 0
  let reader = Reader()
  /// Of its own: comparing two databases may take long.
  let comparer = Reader()
  /// And so may the migration files, on a scratch database.
  let mender = Reader()
  /// What a technician accepts is being written down.
  var isMending = false
  /// End what goes on for those who asked: a run may need the database for itself.
  var comparing: [StopSignal] = []
  /// The full check in idle time: when it is due, and the worker that does it.
  var idleCheck: Task<Void, Never>?
  var checker: WorkerProcess?
  var checksWhenIdle = false
  /// The application's errors, against before the update.
  var errorWatch: ErrorWatch
  let isErrorWatchKnown: Bool
  var errorTask: Task<Void, Never>?
  /// Until the next look, and whether one is wanted at once.
  var errorPause: Task<Void, Never>?
  var wantsErrorLook = false
  var errorSaved: ContinuousClock.Instant?
  /// How many runs had ended at the last look.
  var countedRuns = 0
  /// The newest run that has changed the database.
  var lastChange: RunDocument?
  /// Copies of snapshots elsewhere: what is known of them, what is done at the moment, and what is in line.
  var copiesState: CopiesState
  var errand: Errand?
  var copying: Task<Void, Never>?
  var copyAgain: Task<Void, Never>?
  var copiesByItself = false
  /// A run has ended while something was still copied.
  var isCopyWanted = false
  /// Places at which a worker hangs.
  var stuck: Set<String> = []
  /// What somebody has asked for, and what was found at places.
  var errands: [RunDocument] = []
  var finds: [String: [SnapshotDocument]] = [:]

  /// - Parameter executable: the path of the chock binary, which is started again as the worker.
  /// - Parameter isServed: false in a call of the command line: nobody follows the state between runs.
  public init(
    settings: UpdateSettings, executable: String, logger: Logger, isServed: Bool = true
  ) {
    self.init(
      settings: settings, executable: executable, logger: logger, isServed: isServed, now: { .now })
  }

  /// - Parameter now: when a scheduled update may be tried again is judged by it.
  init(
    settings: UpdateSettings, executable: String, logger: Logger, isServed: Bool = true,
    now: @escaping @Sendable () -> ContinuousClock.Instant
  ) {
    self.isServed = isServed
    self.now = now
    self.settings = settings
    self.executable = executable
    self.logger = logger
    events = EventHub(
      numbers: isServed
        ? EventNumbers(stateDirectory: settings.stateDirectory) : EventNumbers(first: 1))
    history = StateStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    access = Access(settings: settings, history: history, logger: logger)
    journalFile = JournalFile(stateDirectory: settings.stateDirectory)
    copiesState = CopiesState.read(settings.stateDirectory)
    let errors = isServed ? ErrorWatch.read(settings.stateDirectory) : nil
    isErrorWatchKnown = errors != nil
    errorWatch = errors ?? ErrorWatch()
    starts = StartCounter(stateDirectory: settings.stateDirectory)
    store = SnapshotStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    locks = UpdateLocks(stateDirectory: settings.stateDirectory)
    lastWordsFile = LastWordsFile(stateDirectory: settings.stateDirectory)
    do throws(Failure) {
      readings.takeOver(try lastWordsFile.read(), now: .now)
    } catch {
      // It may have been that it moves: then nobody may vouch that it stands.
      logger.error("What the coach last said is not known: \(error.message)")
      readings.takeOver([lastWordsFile.unknown], now: .now)
    }
    savedLastWords = readings.lastWordsVersion
    verdict = evaluate(
      readings, SafetyFacts(disk: nil, clock: ClockFacts(now: 0, lastSeen: nil)),
      settings.safety, now: .now)
  }

  // MARK: Life

  /// Recovers what an interrupted run left, before anything else; then offers what is pending.
  ///
  /// - Throws: `.inputOutput` when the state folder cannot be used.
  ///
  /// - Parameter recovery: do nothing that a person has not asked for, not even recovery; also where files or
  ///   earlier starts ask for that.
  public func start(recovery: Bool = false) async throws(Failure) {
    try FileSystem.makeFolder(settings.stateDirectory)
    do throws(Failure) {
      // Before anybody consents: what a consent was for must not come again when the history is lost.
      if isServed { try history.begin() }
    } catch {
      logger.warning("The history could not be begun: \(error.message)")
    }
    if let reason = reasonForRecoveryMode(isAsked: recovery) {
      enterRecoveryMode(reason)
      startApplicationWhenUnsure()
    } else {
      await recoverAtStart()
    }
    let recent = (try? history(limit: 20)) ?? []
    noteLastRun(recent)
    let written =
      recent.map { $0.endedAt ?? $0.startedAt } + ((try? store.list()) ?? []).map(\.createdAt)
    lastSeen = written.compactMap { Timestamp.date($0)?.timeIntervalSince1970 }.max()
    resumeResults(recent)
    resumeErrorWatch(recent)
    let state = remember(DatabaseState(settings))
    reviewDatabase(state.problem, atStart: true)
    judge()
    if let problem = state.problem {
      logger.warning("\(problem.message)", metadata: ["code": "\(problem.code.rawValue)"])
    }
    loadSchedule()
    reviewSchedule(state.plan)
    guard let plan = state.plan, !plan.steps.isEmpty else { return }
    if schedule == nil { offer() }
    isAutoMigrationDue = settings.autoMigrate && settings.environment != .production
    startWhatIsDue()
  }

  func offer() {
    guard let plan = lastState?.plan, !plan.steps.isEmpty else { return }
    events.publish(.updateAvailable) {
      $0.message = "Update available: \(plan.from) -> \(plan.to)"
    }
  }

  /// The daemon is about to stop: who waits for a long answer gets it now, while there is somebody to give it.
  public func endQuestions() {
    isShuttingDown = true
    endComparisons(Self.daemonStops)
  }

  /// Returns as soon as the supervisor has time: a heartbeat.
  public func answer() {}

  /// Stops the run in progress, if there is one, and waits until its worker has ended.
  public func shutDown() async {
    endQuestions()
    expiry?.look.cancel()
    gateEvent?.cancel()
    scheduleWatch?.cancel()
    settled?.cancel()
    if isServed, !isCrashLoop { starts.reset() }
    await saveLastWords()
    await endIdleCheck()
    await endCopies()
    await endErrorWatch()
    await endHold()
    guard let current, let worker else { return }
    worker.stop(Self.daemonStops)
    _ = await ended(current.id)
  }

  /// Starts what nobody has to ask for any more.
  func startWhatIsDue() {
    autoMigrate()
    keepSchedule()
  }

  private func autoMigrate() {
    guard isAutoMigrationDue, current == nil, !isMending, recoveryMode == nil else { return }
    judge(forTechnician: true)
    guard verdict.isSafe else { return }
    isAutoMigrationDue = false
    do throws(Failure) {
      _ = try startUpdate(
        UpdateRequest(planHash: nil, consent: false, requestedBy: "auto", isTechnician: true))
    } catch {
      logger.warning("The automatic update did not start: \(error.message)")
    }
  }

  // MARK: Doing

  /// Starts a run and returns at once; its progress is in `events` and `run(_:)`.
  ///
  /// - Throws: `.consentMissing`, `.planChanged`, `.gateClosed`, `.runActive`, or why there is no plan.
  public func startUpdate(_ request: UpdateRequest) throws(Failure) -> RunDocument {
    if let run = try started(with: request.key) { return run }
    try checkIdle()
    let plan = try checkedPlan(request)
    // With nothing pending the worker says so at once; the coach need not be parked for that.
    if !plan.steps.isEmpty {
      judge(forTechnician: request.isTechnician)
      guard verdict.isSafe else { throw Failure.gates(verdict) }
    }
    return try start(
      order(
        plan.direction == .rollback ? .rollback : .update, requestedBy: request.requestedBy
      ) {
        $0.goal = request.goal
        $0.inputs = request.inputs
        // What it is about has just been compared.
        $0.consentedPlan = request.consent && request.planHash != nil ? plan.hash : nil
      }, with: request.key)
  }

  /// The plan that a request is about, once this person may have it done.
  ///
  /// - Throws: `.consentMissing`, `.planChanged`, `.notAllowed`, `.input`, or why there is no plan.
  func checkedPlan(_ request: UpdateRequest) throws(Failure) -> Plan {
    let state = DatabaseState(
      settings, goal: request.goal, busyTimeout: DatabaseState.patience)
    guard let plan = state.plan else {
      throw state.problem ?? Failure(.notFound, "There is no plan.")
    }
    let isRollback = plan.direction == .rollback
    if isRollback || settings.requireExplicitConsent {
      guard request.consent else { throw Failure.consentMissing }
      guard request.planHash != nil else { throw Failure.planChanged }
    }
    // Who names a plan means it, also where nobody has to.
    guard request.planHash == nil || request.planHash == Self.consentHash(of: plan, history)
    else {
      throw Failure.planChanged
    }
    if !request.isTechnician,
      let step = plan.steps.first(where: { isRollback || $0.needsTechnician })
    {
      throw Failure(
        .notAllowed, "\(step.fileName) needs a technician.", file: step.path,
        howToClear:
          "Let a technician start it: `chock \(isRollback ? "rollback" : "update")` on the device."
      )
    }
    if !plan.steps.isEmpty { _ = try plan.values(request.inputs) }
    return plan
  }

  /// The run that a request with this key has started.
  ///
  /// - Throws: `.keyReused` when it was another request.
  public func started(with key: IdempotencyKey?) throws(Failure) -> RunDocument? {
    // The power may have gone before it was begun: then nobody knows it.
    try known(key).flatMap { try? run($0) }
  }

  /// What was begun for this key.
  ///
  /// - Throws: `.keyReused` when it was another request.
  func known(_ key: IdempotencyKey?) throws(Failure) -> String? {
    guard let key, let known = try history.idempotent(key.key) else { return nil }
    guard known.request == key.request else {
      throw Failure(
        .keyReused, "This Idempotency-Key was used for another request.",
        howToClear: "Use a new key for every new request.")
    }
    return known.run
  }

  /// The key is written down before the run begins: a power cut in between must not make it two.
  func start(
    _ order: WorkOrder, with key: IdempotencyKey?
  ) throws(Failure) -> RunDocument {
    if let key {
      try history.save(idempotencyKey: key.key, request: key.request, run: order.run)
    }
    return start(order)
  }

  /// Puts in what a rollback took out.
  ///
  /// - Throws: `.consentMissing`, `.notFound`, `.notAllowed`, `.gateClosed`, `.runActive`.
  public func startImport(
    of export: String, replaces: Bool, consent: Bool, isTechnician: Bool, requestedBy: String,
    key: IdempotencyKey? = nil
  ) throws(Failure) -> RunDocument {
    if let run = try started(with: key) { return run }
    try checkIdle()
    _ = try exported(by: export)
    guard isTechnician else {
      throw Failure(
        .notAllowed, "An import needs a technician.",
        howToClear: "Let a technician start it: `chock import \(export)` on the device.")
    }
    guard consent else {
      throw Failure(
        .consentMissing, "An import needs a person's yes.", howToClear: "Add --yes.")
    }
    judge(forTechnician: isTechnician)
    guard verdict.isSafe else { throw Failure.gates(verdict) }
    return try start(
      order(.import, requestedBy: requestedBy) {
        $0.export = export
        $0.replaces = replaces
      }, with: key)
  }

  /// What a rollback has written.
  ///
  /// - Throws: `.notFound`.
  public func exported(by run: String) throws(Failure) -> Export.Document {
    let all = try FileSystem.names(in: settings.exportsFolder).filter { !$0.hasPrefix("rescue-") }
    guard all.contains(run) else {
      throw Failure(
        .notFound, "There is no export of a run \(run).",
        howToClear: all.isEmpty
          ? "No rollback has written one." : "There are: \(all.joined(separator: ", ")).")
    }
    return try Importer.document(in: "\(settings.exportsFolder)/\(run)")
  }

  /// The plan on a copy; the live database is only read.
  public func startRehearsal(
    _ goal: Goal = .newest, inputs: [String: InputValue] = [:], requestedBy: String
  ) throws(Failure) -> RunDocument {
    try checkIdle()
    _ = try Self.plan(goal, settings, history)
    return start(
      order(.rehearse, requestedBy: requestedBy) {
        $0.goal = goal
        $0.inputs = inputs
      })
  }

  /// Whether there is something to agree to: a run that changes nothing needs nobody's word.
  public func needsApproval(of goal: Goal) -> Bool {
    DatabaseState(settings, goal: goal, busyTimeout: DatabaseState.patience).plan
      .map { !$0.steps.isEmpty } ?? true
  }

  /// Asks the run to stop and to put everything back.
  ///
  /// - Throws: `.notFound` when it is not in progress; `.notAllowed` from the commit on.
  ///
  /// - Parameter person: for the audit.
  public func cancel(
    _ id: String, by person: String
  ) throws(Failure) -> RunDocument {
    guard let current, current.id == id, let worker else {
      throw Failure(.notFound, "The run \(id) is not in progress.")
    }
    guard current.cancellable else {
      throw Failure(.notAllowed, "The new state is being written; it is too late to cancel.")
    }
    // Before the audit: a run must not go on because the audit cannot be written.
    worker.stop(
      Failure(.stopped, "The run was cancelled.", howToClear: "Start it again when you like."))
    do throws(Failure) {
      try audit(.cancel, id, "in the phase \(current.phase?.rawValue ?? "plan")", person)
    } catch {
      logger.error("The audit could not be written: \(error.message)")
    }
    return current
  }

  /// Ends the probation of the application: somebody says that it is well.
  ///
  /// - Throws: `.notFound` when the run is not in progress, `.notAllowed` when it is not in its probation.
  ///
  /// - Parameter person: for the audit.
  public func confirm(_ id: String, by person: String) throws(Failure) -> RunDocument {
    guard let current, current.id == id, let worker else {
      throw Failure(.notFound, "The run \(id) is not in progress.")
    }
    guard current.phase == .prove else {
      throw Failure(
        .notAllowed, "There is nothing to confirm: the application is not on probation.",
        howToClear: "Confirm it when the run is in its phase `prove`.")
    }
    try audit(.confirm, id, "in its probation", person)
    worker.send(.confirm(person))
    return current
  }

  /// A person has seen how the run ended.
  ///
  /// - Parameter person: for the audit.
  public func acknowledge(
    _ id: String, by person: String
  ) throws(Failure) -> RunDocument {
    var document = try run(id)
    guard let outcome = document.outcome else {
      throw Failure(.notAllowed, "The run \(id) has not ended.")
    }
    if !document.acknowledged { try audit(.acknowledge, id, outcome.rawValue, person) }
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

  /// In the audit before it counts.
  func audit(
    _ action: AuditEntry.Action, _ what: String, _ reason: String, _ person: String
  ) throws(Failure) {
    try history.append(
      AuditEntry(
        action, of: settings.databasePath, accepted: what, reason: reason, actor: person))
  }

  /// - Parameter recent: newest first.
  func noteLastRun(_ recent: [RunDocument]) {
    lastRun = recent.first { Self.isShown($0) && !$0.acknowledged }
  }

  func checkIdle() throws(Failure) {
    noteRecovered()
    noteTrigger()
    if !isServed, let asked = askedByTrigger { throw asked }
    if let recoveryMode { throw recoveryMode }
    guard current == nil, !isMending else { throw Failure.runActive }
  }
}
