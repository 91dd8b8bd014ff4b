public import Migrations
public import Storage

// What can be asked of the supervisor: nothing of it changes anything.
extension Updater {
  public func status() async -> StatusDocument {
    if let nextLook { return status(await nextLook.value) }
    let task = Task { [before = look] in
      _ = await before?.value
      // Who asks from now on wants to know what has happened since.
      look = nextLook
      nextLook = nil
      let runs = endedRuns
      return await reader.read { [settings, store, history] in
        Look(settings, store, history, endedRuns: runs)
      }
    }
    nextLook = task
    return status(await task.value)
  }

  /// What the files say at one time, for a status.
  struct Look: Sendable {
    var state: DatabaseState
    let latestBackup: SnapshotDocument?
    let integrityCheck: IntegrityCheck?
    let openers: [Opener]
    let undoSnapshot: String?
    /// How many runs had ended before it.
    let endedRuns: Int

    init(
      _ settings: UpdateSettings, _ store: SnapshotStore, _ history: StateStore, endedRuns: Int
    ) {
      self.endedRuns = endedRuns
      state = DatabaseState(settings)
      latestBackup = (try? store.list())?.first {
        $0.isComplete && (try? $0.checkBelongs(to: settings.databasePath)) != nil
      }
      integrityCheck = (try? history.integrityCheck(of: settings.databasePath)) ?? nil
      openers = Openers.programs(of: settings.databasePath, withLocks: false)
      undoSnapshot = Updater.undoSnapshot(history, store)
    }
  }

  func status(_ look: Look) -> StatusDocument {
    noteRecovered()
    noteTrigger()
    // Of before a run's end it is no news.
    let state = look.endedRuns == endedRuns ? remember(look.state) : look.state
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
    let check = look.integrityCheck
    if look.endedRuns == endedRuns { reviewDatabase(state.problem ?? check?.failure(settings)) }
    let problem = recoveryMode ?? interrupted ?? state.problem ?? check?.failure(settings)
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
      latestBackup: look.latestBackup, migrationInProgress: active != nil,
      currentJobId: active?.id, run: active ?? elsewhere?.run ?? lastRun, problem: problem,
      consentRequired: settings.requireExplicitConsent, integrityCheck: check,
      openers: look.openers, schedule: schedule, maintenanceWindow: settings.maintenanceWindow,
      approvals: access.approvals(), undoSnapshot: look.undoSnapshot,
      copies: copies(withSnapshots: false),
      errorWatch: errorWatch.document(settings.application))
  }

  /// What the files say; while somebody keeps the database locked, what they said before.
  func remember(_ state: DatabaseState) -> DatabaseState {
    if state.problem?.code == .databaseLocked, let lastState { return lastState }
    lastState = state
    reviewSchedule(state.plan)
    return state
  }

  /// A run of another process, by its journal: active, or interrupted when nobody holds the lock.
  ///
  /// - Throws: `.needsPerson` when the journal cannot be read.
  func runElsewhere() throws(Failure) -> (run: RunDocument, isActive: Bool)? {
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
  public func plan(_ goal: Goal) async throws(Failure) -> PlanDocument {
    // A run that is active is not to wait for a reader.
    let patience = current == nil ? DatabaseState.patience : 0
    return try await reader.read { [settings, history] in
      Result { () throws(Failure) in
        try Self.plan(goal, settings, history, busyTimeout: patience)
      }
    }.get()
  }

  static func plan(
    _ goal: Goal, _ settings: UpdateSettings, _ history: StateStore,
    busyTimeout patience: Int = DatabaseState.patience
  ) throws(Failure) -> PlanDocument {
    let state = DatabaseState(settings, goal: goal, busyTimeout: patience)
    guard let plan = state.plan else {
      throw state.problem ?? Failure(.notFound, "There is no plan.")
    }
    let breaks =
      goal.isRollback
      ? []
      : plan.breaks(
        in: try Database.open(
          settings.databasePath, busyTimeout: Int32(patience)))
    let tries = ((try? history.runs(ofPlan: plan.hash, limit: 50)) ?? []).compactMap(decode)
    let rehearsed = tries.first { $0.rehearsal != nil }
    let newest = tries.first { run in
      run.outcome != nil && run.error.map { !sayingNothing.contains($0.code) } ?? true
    }
    let estimate = rehearsed.flatMap {
      Self.estimate($0, application: applicationSeconds(settings.application, history))
    }
    // What their authors expect, where every one says it.
    let times = plan.steps.compactMap { $0.estimatedTime?.seconds }
    let authors = times.count == plan.steps.count && !times.isEmpty ? times.reduce(0, +) : nil
    return PlanDocument(
      plan, hash: Self.consentHash(of: plan, history), breaks: breaks,
      expectedSeconds: estimate?.expected ?? authors,
      worstCaseSeconds: estimate?.worst,
      databaseBytes: state.bytes, neededBytes: settings.estimatedBytes(database: state.bytes),
      availableBytes: (try? FileSystem.availableBytes(at: settings.stateDirectory)) ?? 0,
      timeoutSeconds: Double(settings.migrationTimeoutSeconds),
      failedTry: newest?.error == nil ? nil : newest)
  }

  /// How a run may end without that anything is known of its plan.
  private static let sayingNothing: [Failure.Code] = [
    .stopped, .gateClosed, .interrupted, .runActive, .noSpace,
  ]

  /// What a person consents to: this plan, after what was last done to the database. A consent is used up
  /// by what it starts: after an update that failed or was undone, the same plan has another hash, and after the
  /// history was lost, too.
  static func consentHash(of plan: Plan, _ history: StateStore) -> String {
    let newest = (try? history.newestWork()) ?? nil
    return newest.map { sha256(Array("\(plan.hash) after \($0)".utf8)) } ?? plan.hash
  }

  /// From a run that rehearsed: what it took, and the same statements once more; and besides what the
  /// application takes. At worst everything is copied back.
  private static func estimate(
    _ run: RunDocument, application: Double
  ) -> (expected: Double, worst: Double)? {
    guard let rehearsal = run.rehearsal else { return nil }
    let seconds = seconds(run)
    let snapshot = seconds[.snapshot] ?? 0
    let expected =
      (seconds[.plan] ?? 0) + snapshot + (seconds[.rehearse] ?? rehearsal.seconds)
      + rehearsal.seconds + application
    return (expected, expected + snapshot)
  }

  /// Seconds in which it is stopped, started, and has to show that it is well: its probation, and the rest as in
  /// the newest run that did both; nothing for them before there was one.
  private static func applicationSeconds(
    _ application: ApplicationSettings, _ history: StateStore
  ) -> Double {
    let probation = application.health.isEmpty ? 0 : Double(application.probationSeconds)
    guard application.isStopped else { return probation }
    for run in ((try? history.runs(limit: 20)) ?? []).compactMap(decode)
    where run.outcome == .committed {
      let seconds = seconds(run)
      if let stop = seconds[.quiesce], let start = seconds[.resume] {
        return stop + start + probation
      }
    }
    return probation
  }

  /// A phase may have been entered twice.
  private static func seconds(_ run: RunDocument) -> [Phase: Double] {
    Dictionary(run.phases.map { ($0.phase, $0.seconds) }, uniquingKeysWith: { $0 + $1 })
  }

  public func safety() -> SafetyDocument {
    judge()
    return safetyDocument()
  }

  /// - Throws: `.notFound`.
  public func run(_ id: String) throws(Failure) -> RunDocument {
    if let current, current.id == id { return current }
    if let lastRun, lastRun.id == id { return lastRun }
    if let errand = errands.first(where: { $0.id == id }) { return errand }
    guard let text = try history.run(id), let document = Self.decode(text) else {
      throw Failure(
        .notFound, "There is no run \(id).", howToClear: "`chock history` lists the runs.")
    }
    return document
  }

  /// The newest runs, newest first.
  ///
  /// - Parameter before: the id of a run; those that came before it.
  public nonisolated func history(
    limit: Int, before: String? = nil
  ) throws(Failure) -> [RunDocument] {
    try history.runs(limit: limit, before: before).compactMap(Self.decode)
  }

  /// A page of the audit, newest first.
  public nonisolated func audit(limit: Int, before: Int64?) throws(Failure) -> AuditPage {
    let page = try history.audit(limit: limit, before: before)
    return AuditPage(
      isWhole: page.isWhole, setAside: history.setAside, entries: page.entries,
      nextBefore: page.next)
  }

  /// How the runs of the whole history went.
  public nonisolated func figures() throws(Failure) -> StateStore.Figures {
    try history.figures()
  }

  static func decode(_ text: String) -> RunDocument? {
    try? JSON.decode(RunDocument.self, from: Array(text.utf8))
  }
}
