import Coach
import Migrations
import SQLite
import Storage

/// An update or a rollback, from top to bottom. Each step returns the evidence that the next one asks for.
struct UpdateRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  /// Never throws: whatever happens, the returned document says how it ended.
  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      try context.enter(.plan)
      try Openers.checkNames(of: settings.databasePath)
      // The snapshot of a damaged database is nothing to go back to.
      let check = try context.history.integrityCheck(of: settings.databasePath)
      if let problem = check?.failure(settings) { throw problem }
      let live = try Database.openForWriting(settings.databasePath, busyTimeout: 30_000)
      let plan = try agreedPlan(live)
      guard !plan.steps.isEmpty else { return context.end(.nothingToDo) }
      let isRehearsal = context.order.kind == .rehearse
      // What chock stops does not write any more when it matters.
      let isStopped = settings.application.isStopped && !isRehearsal
      if plan.isSegmentedRollback, !isStopped { try checkNobodyWrites() }

      if !isRehearsal {
        try context.enter(.safety)
        _ = try context.permit()
        try context.quiesce()
      }
      if plan.isSegmentedRollback, isStopped { try checkNobodyWrites() }
      // A plan in several segments has nothing but the snapshot to go back to, and what a rollback takes
      // out is found by comparing with it.
      let needsSnapshot =
        settings.backupBeforeMigrate || context.order.kind == .rehearse || plan.isSegmented
        || plan.direction == .rollback
      let snapshot = needsSnapshot ? try takeSnapshot(live, plan) : nil
      let rehearsal = try rehearse(plan, snapshot)
      if context.order.kind == .rehearse {
        context.discardSnapshot()
        return context.end(.finished)
      }
      try checkSpace(for: rehearsal)
      let permit = try context.permit()
      return apply(plan, to: live, snapshot, rehearsal, permit)
    } catch {
      // Nothing was changed, so nothing has to be brought back by the snapshot.
      context.discardSnapshot()
      return context.end(.refused, error)
    }
  }

  /// The plan, if it is the one that a person has said yes to.
  private func agreedPlan(_ live: Connection) throws(Failure) -> Plan {
    let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
    guard let ledger = try LedgerTable.read(live) else {
      throw Failure.unadopted(settings.databasePath)
    }
    let plan = try Plan(catalog: catalog, ledger: ledger, goal: context.order.goal)
    try context.set(plan: plan)
    let needsConsent =
      switch context.order.kind {
      case .update: settings.requireExplicitConsent
      case .rollback: true
      default: false
      }
    guard needsConsent else { return plan }
    guard let consented = context.order.consentedPlan else { throw Failure.consentMissing }
    guard consented == plan.hash else { throw Failure.planChanged }
    return plan
  }

  private func takeSnapshot(_ live: Connection, _ plan: Plan) throws(Failure) -> Snapshot {
    try context.enter(.snapshot)
    try Space.check([
      Space.Need(try Database.bytes(live), at: settings.stateDirectory, for: "the snapshot")
    ])
    let snapshot = try context.snapshots.take(
      of: live, version: plan.from, reason: .beforeUpdate, run: context.order.run,
      isSuspect: context.isSuspect, stop: context.stop, progress: context.copyProgress)
    context.set(snapshot: snapshot.document)
    return snapshot
  }

  private func rehearse(_ plan: Plan, _ snapshot: Snapshot?) throws(Failure) -> Rehearsal? {
    let isWanted =
      settings.rehearse || context.order.kind == .rehearse || plan.direction == .rollback
    guard let snapshot, isWanted else { return nil }
    try context.enter(.rehearse)
    let rehearsal = try snapshot.rehearse(
      plan, applyOrder(plan, expected: nil), in: settings.workFolder,
      exportTo: context.order.kind == .rollback ? context.exportFolder : nil,
      reserveBytes: UpdateSettings.reserveBytes)
    context.set(rehearsal: rehearsal)
    context.set(warnings: rehearsal.warnings)
    return rehearsal
  }

  private func applyOrder(_ plan: Plan, expected: Rehearsal?) -> ApplyOrder {
    var order = ApplyOrder(
      run: context.order.run, chockVersion: Chock.version, inputs: context.order.inputs,
      stop: context.stop,
      deadline: .now + .seconds(settings.migrationTimeoutSeconds),
      progress: { [context] in context.progress(of: $0, plan, expected: expected) })
    order.verdicts = settings.verdicts
    return order
  }

  /// What the rehearsal measured has to fit beside the live database.
  private func checkSpace(for rehearsal: Rehearsal?) throws(Failure) {
    guard let rehearsal else { return }
    try Space.check([
      Space.Need(rehearsal.peakBytes, at: settings.databasePath, for: "the update"),
      Space.Need(
        rehearsal.temporaryBytes, at: settings.temporaryFolder, for: "its temporary files"),
    ])
  }

  /// From here on the old state comes back by the transaction's rollback, and behind the first of
  /// several segments by the snapshot. The permit is demanded so that nobody gets here without having
  /// asked the coach again.
  private func apply(
    _ plan: Plan, to live: Connection, _ first: Snapshot?, _ rehearsal: Rehearsal?,
    _ permit: SafetyPermit
  ) -> RunDocument {
    var snapshot = first
    var isCommitted = false
    do throws(Failure) {
      try context.enter(.apply)
      let segments = plan.segments
      var reports: [ApplyReport] = []
      var order = applyOrder(plan, expected: rehearsal)
      var version: Int64?
      for (index, segment) in segments.enumerated() {
        let isLast = index == segments.count - 1
        let transaction = try Transaction.begin(live, plan: segment)
        if let taken = first, index == 0, try !transaction.isUnchanged(since: taken) {
          snapshot = try context.retakeSnapshot(at: plan.from)
          // That took its own time.
          order = applyOrder(plan, expected: rehearsal)
        }
        if plan.isSegmentedRollback {
          // Between the segments nobody is kept from writing, and what is written to a table that goes would
          // be in no export.
          try checkNobodyWrites()
          if version == nil { version = try dataVersion(live) }
          try checkNobodyHasWritten(since: version, to: live)
        }
        if !segment.isTransaction {
          try context.enter(.apply, committing: .statements)
          isCommitted = true
        }
        let report = try transaction.apply(
          segment, order, baseline: index == 0 ? snapshot?.baseline : nil, rehearsal: rehearsal,
          settings.integrityCheckInRun ? .full : .asRun, isLast: isLast,
          verifying: { [context] () throws(Failure) in
            if isLast { try context.enter(.verify) }
            context.progress("check", "Checking the new state")
          })
        if plan.isSegmentedRollback { try checkNobodyHasWritten(since: version, to: live) }
        reports.append(report)
        context.set(warnings: reports.flatMap(\.warnings))
        if let snapshot { try context.snapshots.checkPresence(of: snapshot) }
        if isLast, plan.direction == .rollback, let snapshot, let first,
          snapshot.document.id != first.document.id
        {
          // The application has written since the rehearsal: what goes is more than was exported.
          let lost = try snapshot.losses(
            of: plan, in: live, reports, order, exportTo: context.exportFolder)
          context.set(losses: lost.losses, exportFolder: lost.folder)
        }
        if isLast {
          // Asked once more: a supervisor that is suspended has watched nothing meanwhile.
          _ = try context.permit()
          try context.enter(.commit)
        } else if segment.isTransaction {
          try context.enter(.apply, committing: isCommitted ? .statements : .transactions)
        }
        try transaction.commit()
        isCommitted = true
      }
    } catch {
      if isCommitted, let snapshot { return undo(snapshot, error) }
      return context.end(error.code == .needsPerson ? .needsRecovery : .rolledBack, error)
    }
    return context.finish()
  }

  private func checkNobodyWrites() throws(Failure) {
    let programs = Openers.programs(of: settings.databasePath)
    guard programs.isEmpty else {
      throw Failure(
        .databaseLocked,
        "The rollback is carried out in parts, between which nobody is kept from writing, and \(programs.map(\.description).joined(separator: ", ")) has the database open.",
        file: settings.databasePath,
        howToClear: "Stop the application, and try again: what it writes meanwhile could be lost.")
    }
  }

  private func dataVersion(_ live: Connection) throws(Failure) -> Int64 {
    try Database.catching(settings.databasePath) { () throws(SQLiteError) in
      try live.dataVersion()
    }
  }

  private func checkNobodyHasWritten(since version: Int64?, to live: Connection) throws(Failure) {
    guard try dataVersion(live) == version else {
      throw Failure(
        .databaseLocked,
        "The rollback was carried out in parts, and a program has written to the database between them.",
        file: settings.databasePath, howToClear: "Stop the application, and try again.")
    }
  }

  /// A part of the plan is in the database: the snapshot is put back, whatever stopped the run.
  private func undo(_ snapshot: Snapshot, _ failure: Failure) -> RunDocument {
    do throws(Failure) {
      try context.putBack(snapshot.document.id)
      return context.end(.rolledBack, failure)
    } catch {
      context.link.send(.log("The run failed: \(failure.message)"))
      return context.end(.needsRecovery, error)
    }
  }
}

extension Plan {
  fileprivate var isSegmentedRollback: Bool { isSegmented && direction == .rollback }
}

extension RunContext {
  /// The application has written since the snapshot: while our transaction holds the write lock, so
  /// that nobody can again, it is taken once more through a second connection. What a restore brings
  /// back is then the state right before the run.
  func retakeSnapshot(at version: SchemaVersion) throws(Failure) -> Snapshot {
    let reader = try Database.open(settings.databasePath, busyTimeout: 30_000)
    let snapshot = try snapshots.take(
      of: reader, version: version, reason: .beforeUpdate, run: order.run,
      isSuspect: isSuspect, stop: stop, progress: copyProgress)
    discardSnapshot()
    set(snapshot: snapshot.document)
    // The journal names the snapshot; the phase is the same.
    try enter(.apply)
    return snapshot
  }

  /// The new state is committed: nothing that fails now may say otherwise.
  func finish() -> RunDocument {
    guard let ending = settle(Ending(outcome: .committed)) else { return document }
    if ending.outcome == .committed {
      do throws(Failure) {
        try enter(.done)
      } catch {
        link.send(.log("The journal could not be written: \(error.message)"))
      }
    }
    if ending.outcome != .needsRecovery { prune() }
    return close(ending)
  }

  /// Removes the snapshot that this run took and does not need; a failure is only logged.
  func discardSnapshot() {
    guard let id = document.snapshotId else { return }
    do throws(Failure) {
      try snapshots.delete(id)
      set(snapshot: nil)
    } catch {
      link.send(.log("A snapshot could not be removed: \(error.message)"))
    }
  }

  /// Removes the snapshots and rescue copies of a run that has changed nothing; a failure is only logged.
  func removeSnapshots(takenFor run: RunDocument, but kept: [String?] = []) {
    do throws(Failure) {
      for snapshot in try snapshots.list()
      where snapshot.run == run.id && snapshot.reason != .manual && !kept.contains(snapshot.id) {
        try snapshots.delete(snapshot.id)
        if document.snapshotId == snapshot.id { set(snapshot: nil) }
      }
    } catch {
      link.send(.log("A snapshot could not be removed: \(error.message)"))
    }
  }

  /// How far the statements are, weighed by what each took in the rehearsal.
  func progress(of now: ApplyProgress, _ plan: Plan, expected: Rehearsal?) {
    // Without measured times each migration counts the same, and its bar slows down as it runs.
    let running = now.running.seconds
    let fraction =
      expected?.fraction(at: now)
      ?? (Double(now.number - 1) + running / (running + 3)) / Double(plan.steps.count)
    let number = "\(now.number) of \(plan.steps.count)"
    progress(
      "migration \(number), line \(now.line)",
      "\(now.migration.summary) (\(number))", done: Int64(now.statement),
      total: (expected?.statements).map(Int64.init), fraction: fraction)
  }
}

/// Free space, asked for before it is needed.
enum Space {
  /// So many bytes, wherever `path` lies.
  struct Need {
    var bytes: Int64
    var path: String
    var purpose: String

    init(_ bytes: Int64, at path: String, for purpose: String) {
      self.bytes = bytes
      self.path = path
      self.purpose = purpose
    }
  }

  /// Adds up what is needed on each file system, and what has to stay free there.
  ///
  /// - Throws: `.noSpace` with what is needed for what, and what there is.
  static func check(_ needs: [Need]) throws(Failure) {
    var systems: [UInt64: [Need]] = [:]
    for need in needs { systems[FileSystem.device(of: need.path), default: []].append(need) }
    for needs in systems.values.sorted(by: { $0[0].path < $1[0].path }) {
      let path = needs[0].path
      let needed = needs.reduce(UpdateSettings.reserveBytes) { $0 + $1.bytes }
      let available = try FileSystem.availableBytes(at: path)
      guard available < needed else { continue }
      let list =
        needs.map { "\(ByteCount.text($0.bytes)) for \($0.purpose)" }
        + ["\(ByteCount.text(UpdateSettings.reserveBytes)) have to stay free"]
      throw Failure(
        .noSpace,
        "There is too little space: \(ByteCount.text(needed)) are needed (\(list.joined(separator: ", "))), \(ByteCount.text(available)) are free.",
        file: path,
        howToClear:
          "Free \(ByteCount.text(needed - available)) on the file system that holds \(path).")
    }
  }
}

extension Failure {
  static func unadopted(_ path: String) -> Failure {
    Failure(
      .unadopted, "The database has tables, and chock does not know at which version it is.",
      file: path,
      howToClear:
        "`chock adopt` finds out, or say it: `chock adopt --at VERSION` (0: none of the files is in it)."
    )
  }

  static var consentMissing: Failure {
    Failure(
      .consentMissing, "An update needs a person's yes to its plan.",
      howToClear: "Look at the plan (`chock plan`), then confirm it: in the panel, or with --yes.")
  }

  static var planChanged: Failure {
    Failure(
      .planChanged,
      "The plan is not the one that was confirmed: files or database have changed, or the consent was used.",
      howToClear: "Look at the new plan and confirm it.")
  }
}
