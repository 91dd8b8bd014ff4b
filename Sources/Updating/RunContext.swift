import Coach
import Migrations
import Storage

/// What every run in a worker carries along: its order, its document, its journal and its supervisor.
final class RunContext {
  let order: WorkOrder
  let link: WorkerLink
  let snapshots: SnapshotStore
  let history: StateStore
  private let journalFile: JournalFile
  private let clock = ContinuousClock()
  private var phaseStarted: ContinuousClock.Instant
  private(set) var document: RunDocument
  private var plan: Plan?
  private var partialCommit: PartialCommit?
  private var restoreMark: Restorer.Mark?
  private var journalMode: String?
  private var setAsideFiles: [String]?
  private var replacement: UInt64?
  private var recoveries = 0
  /// What of the application has to be started again; nil: a run does not stop it.
  var application: ApplicationJournal?
  /// So often somebody has started it in the middle of the run.
  var comebacks = 0
  private var published: Phase?

  var settings: UpdateSettings { order.settings }
  var stop: StopSignal { link.stop }

  init(_ order: WorkOrder, _ link: WorkerLink) {
    self.order = order
    self.link = link
    let version = Chock.version
    snapshots = SnapshotStore(stateFolder: order.settings.stateDirectory, chockVersion: version)
    history = StateStore(stateFolder: order.settings.stateDirectory, chockVersion: version)
    journalFile = JournalFile(stateDirectory: order.settings.stateDirectory)
    document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    phaseStarted = clock.now
  }

  /// Journals the phase, publishes it, and only then returns for the work: the one place where a
  /// run's phase changes.
  ///
  /// - Throws: the stop that was requested (until the commit), or why the journal cannot be written.
  func enter(_ phase: Phase) throws(Failure) {
    if phase != .done { try stop.check() }
    switch phase {
    case .snapshot, .rehearse, .apply, .verify, .commit, .restore: try holdDown()
    case .plan, .safety, .quiesce, .resume, .prove, .done: break
    }
    try journal(phase)
  }

  /// The way back: a stop no longer matters.
  func enterRestore() throws(Failure) {
    try journal(.restore)
  }

  /// The phase is the same; something else that recovery needs has changed.
  func journalAgain() throws(Failure) {
    if let phase = document.phase { try journal(phase) }
  }

  /// Without a look at a stop: for the way out.
  func journal(_ phase: Phase) throws(Failure) {
    note(phase)
    try journalFile.write(journaled(phase, replacement: replacement))
    if published != phase { link.send(.phase(phase)) }
    published = phase
  }

  /// What the journal says in this phase.
  func journaled(_ phase: Phase, replacement: UInt64?) -> Journal {
    Journal(
      run: document, phase: phase, databasePath: settings.databasePath,
      partialCommit: partialCommit, restoreMark: restoreMark, journalMode: journalMode,
      setAsideFiles: setAsideFiles, replacement: replacement, application: application,
      recoveries: recoveries)
  }

  private func note(_ phase: Phase?) {
    // Journaled again, because something else has changed.
    guard phase != document.phase else { return }
    let now = clock.now
    if let former = document.phase {
      document.phases.append(
        RunDocument.PhaseSeconds(phase: former, seconds: (now - phaseStarted).seconds))
    }
    document.phase = phase
    document.cancellable = document.kind.isCancellable(in: phase)
    phaseStarted = now
  }

  /// - Throws: `.input` when the plan asks for something that nobody has answered.
  func set(plan: Plan) throws(Failure) {
    document.fromVersion = plan.from.description
    document.toVersion = plan.to.description
    document.planHash = plan.hash
    self.plan = plan
    let inputs = try plan.values(order.inputs)
    document.inputs = inputs.isEmpty ? nil : inputs
  }

  func set(snapshot: SnapshotDocument?) { document.snapshotId = snapshot?.id }

  func set(snapshot: SnapshotDocument, _ salvage: Salvage) {
    document.snapshotId = snapshot.id
    document.fromVersion = snapshot.version
    document.salvage = salvage
  }

  /// Journals that from now on a part of the plan may be committed.
  func enter(_ phase: Phase, committing partialCommit: PartialCommit) throws(Failure) {
    self.partialCommit = partialCommit
    try enter(phase)
  }

  func markRestore() throws(Failure) { restoreMark = try Restorer.Mark(of: settings.databasePath) }

  /// Journals the mode that a restore has to bring back.
  func willReplace(_ journalMode: String?) throws(Failure) {
    self.journalMode = journalMode
    try enterRestore()
  }

  /// After a restore that failed or was interrupted.
  func bringBackJournalMode() throws(Failure) {
    try Restorer.bringBack(mode: journalMode, of: settings.databasePath)
  }

  /// Notes what a restore puts back, and what tells later whether it did.
  func setRestore(_ snapshot: SnapshotDocument, from version: SchemaVersion?) throws(Failure) {
    try markRestore()
    document.snapshotId = snapshot.id
    document.fromVersion = version?.description
    document.toVersion = snapshot.version
  }

  /// Asks for the gates as they stand now, and notes what a person's word stands for.
  ///
  /// As long as nothing is changed, a gate that has closed may open again.
  ///
  /// - Throws: `.gateClosed`, or the stop that was requested meanwhile.
  func permit() throws(Failure) -> SafetyPermit {
    let wait = document.kind.waitsForGates(in: document.phase) ? settings.waitForGatesSeconds : 0
    let permit = try link.permit(waiting: .seconds(wait))
    let attested = permit.verdict.gates.flatMap(\.readings).filter { $0.isAttested && !$0.stale }
    for reading in attested {
      let attestation = AttestationDocument(
        signal: reading.signal, value: reading.value?.description ?? "",
        source: reading.source ?? "")
      if document.attestations?.contains(attestation) != true {
        document.attestations = (document.attestations ?? []) + [attestation]
      }
    }
    return permit
  }

  func set(rehearsal: Rehearsal) {
    document.rehearsal = RehearsalDocument(
      planHash: rehearsal.planHash, seconds: rehearsal.seconds,
      statements: rehearsal.statements, peakBytes: rehearsal.peakBytes,
      temporaryBytes: rehearsal.temporaryBytes,
      touchedTables: rehearsal.touchedTables, losses: rehearsal.losses)
    document.exportFolder = rehearsal.exportFolder
  }

  func set(_ erased: ErasedDocument, from version: SchemaVersion?, to target: SchemaVersion) {
    document.erased = erased
    document.fromVersion = version?.description
    document.toVersion = target.description
  }

  func set(import folder: String, at version: SchemaVersion) {
    document.exportFolder = folder
    document.fromVersion = version.description
    document.toVersion = version.description
  }

  func set(imported: [ImportedTable]) { document.imported = imported }

  func set(rescueOf copy: SnapshotDocument, at version: SchemaVersion) {
    document.rescueCopy = copy.id
    document.fromVersion = version.description
    document.toVersion = version.description
  }

  func set(rescued: [RescuedTable]) { document.rescued = rescued }

  func set(warnings: [Failure]) { document.warnings = warnings.isEmpty ? nil : warnings }

  func add(warning: Failure) { document.warnings = (document.warnings ?? []) + [warning] }

  func set(confirmedBy person: String) { document.confirmedBy = person }

  func set(losses: [Loss], exportFolder: String?) {
    document.rehearsal?.losses = losses
    document.exportFolder = exportFolder
  }

  func set(_ report: Restorer.Report) {
    document.rescueCopy = report.rescueCopy
    document.setAside = report.setAside
    setAsideFiles = report.setAsideFiles
    replacement = report.replacement
  }

  /// Journals that the database was not replaced, and that what was set aside is in its place: the rescue
  /// folder may go.
  ///
  /// - Parameter mode: the journal mode that is still to be brought back.
  func takeBackCommit(keeping mode: String?) throws(Failure) {
    document.setAside = nil
    setAsideFiles = nil
    replacement = nil
    journalMode = mode
    try enterRestore()
  }

  func progress(
    _ step: String, _ message: String, done: Int64? = nil, total: Int64? = nil,
    fraction: Double? = nil
  ) {
    link.send(
      .progress(
        WorkerProgress(step: step, message: message, done: done, total: total, fraction: fraction)))
  }

  /// Progress of a snapshot's or a restore's steps.
  func copyProgress(_ step: String, _ done: Int64, _ total: Int64) {
    let message =
      switch step {
      case "copy": "Copying the database"
      case "check": "Checking the copy"
      case "fingerprint": "Reading every row of the copy"
      case "digest": "Writing down what the copy holds"
      default: step.prefix(1).uppercased() + step.dropFirst()
      }
    // What each step takes of the whole, roughly: the copy can be measured, the others move the bar
    // when they begin.
    let begin = ["copy": 0, "check": 0.5, "fingerprint": 0.65, "digest": 0.9][step]
    let part = total > 1 ? Double(done) / Double(total) : nil
    progress(
      step, message, done: total > 1 ? done : nil, total: total > 1 ? total : nil,
      fraction: begin.map { $0 + (step == "copy" ? 0.5 * (part ?? 0) : 0) } ?? part)
  }

  /// Every way out of a run: the application is put back, and then it is written down how the run ended.
  ///
  /// - Returns: without an outcome when the application is still to be watched, by another process.
  func end(_ outcome: Outcome, _ failure: Failure? = nil) -> RunDocument {
    guard let ending = settle(Ending(outcome: outcome, failure: failure)) else { return document }
    return close(ending)
  }

  /// Writes how the run ended into the history, and then removes the journal: whoever dies in
  /// between leaves a journal from which the same result follows.
  ///
  /// What cannot be written any more is logged: it does not change how the run ended.
  func close(_ ending: Ending) -> RunDocument {
    let outcome = ending.outcome
    let failure = ending.failure
    note(nil)
    if document.kind == .rollback, [.refused, .rolledBack].contains(outcome) { discardExport() }
    document.outcome = outcome
    if document.kind == .update, outcome == .committed {
      document.migrations = plan?.steps.map { PlanDocument.PlannedMigration($0) }
    }
    document.error = failure
    document.endedAt = Timestamp.now()
    do throws(Failure) {
      try history.save(
        run: document.id, startedAt: document.startedAt, document: try JSON.text(document))
    } catch {
      link.send(.log("The run could not be written into the history: \(error.message)"))
    }
    // Also when the history is lost: a journal that stays would be recovered again and again.
    guard outcome != .needsRecovery else { return document }
    do throws(Failure) {
      try journalFile.remove()
    } catch {
      link.send(.log("The journal could not be removed: \(error.message)"))
    }
    return document
  }

  /// What a rollback would take out is still in the database.
  private func discardExport() {
    document.exportFolder = nil
    do throws(Failure) {
      try FileSystem.removeFolder(exportFolder)
    } catch {
      link.send(.log("The export could not be removed: \(error.message)"))
    }
  }

  /// Where this run writes what it takes out of the database.
  var exportFolder: String { settings.exportsFolder + "/" + document.id }

  /// The answer of a run that is neither journaled nor remembered: it was not begun, or changes nothing.
  func answer(_ outcome: Outcome, _ failure: Failure? = nil) -> RunDocument {
    document.outcome = outcome
    document.cancellable = false
    document.error = failure
    document.endedAt = Timestamp.now()
    return document
  }

  /// Something has happened to the database: what a full check found is no longer true.
  func forgetIntegrityCheck() {
    do throws(Failure) {
      try history.save(nil, of: settings.databasePath)
    } catch {
      link.send(.log("The full check could not be forgotten: \(error.message)"))
    }
  }

  /// Publishes the phase of a run that changes nothing and is not journaled: another run's journal may be there.
  ///
  /// - Throws: the stop that was requested.
  func show(_ phase: Phase) throws(Failure) {
    try stop.check()
    note(phase)
    link.send(.phase(phase))
  }

  /// How such a run ended, also for the history.
  func conclude(_ outcome: Outcome, _ failure: Failure? = nil) -> RunDocument {
    note(nil)
    let document = answer(outcome, failure)
    do throws(Failure) {
      try history.save(
        run: document.id, startedAt: document.startedAt, document: try JSON.text(document))
    } catch {
      link.send(.log("The run could not be written into the history: \(error.message)"))
    }
    return document
  }

  func setTestRestored() { document.isTestRestored = true }

  func set(_ check: CheckKind) { document.check = check }

  func set(found: [String]) { document.found = found.isEmpty ? nil : found }

  /// Continues the document of an interrupted run.
  func resume(_ journal: Journal) {
    document = journal.run
    partialCommit = journal.partialCommit
    restoreMark = journal.restoreMark
    journalMode = journal.journalMode
    setAsideFiles = journal.setAsideFiles
    replacement = journal.replacement
    recoveries = journal.recoveries
    application = journal.application
  }

  /// Whether the last full check of the database has failed, or nobody can say.
  var isSuspect: Bool {
    do throws(Failure) {
      return try history.integrityCheck(of: settings.databasePath)?.problem != nil
    } catch {
      return true
    }
  }

  /// Removes what retention no longer wants; a failure is only logged.
  ///
  /// Nothing while the database is known to be damaged, or in recovery mode: any older snapshot may be the one that
  /// is needed then.
  func prune() {
    guard !order.isInRecovery, !isSuspect else { return }
    do throws(Failure) {
      let inUse = Set([document.snapshotId, document.rescueCopy].compactMap { $0 })
      for id in try snapshots.prune(
        settings.retention, of: settings.databasePath, inUse: inUse)
      {
        link.send(.log("Snapshot \(id) was removed: retention."))
      }
    } catch {
      link.send(.log("Retention could not be carried out: \(error.message)"))
    }
  }
}

/// What this program is.
public enum Chock {
  public static let version = "0.1.0"
}
