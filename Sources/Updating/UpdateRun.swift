import Coach
import Migrations
import SQLite
import Storage

/// An update, from top to bottom. Each step returns the evidence that the next one asks for.
struct UpdateRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  /// Never throws: whatever happens, the returned document says how it ended.
  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      try context.enter(.plan)
      let live = try Database.openForWriting(settings.databasePath, busyTimeout: 30_000)
      let plan = try agreedPlan(live)
      guard !plan.steps.isEmpty else { return context.end(.nothingToDo) }

      if context.order.kind == .update {
        try context.enter(.safety)
        _ = try context.link.permit()
      }
      let snapshot =
        try settings.backupBeforeMigrate || context.order.kind == .rehearse
        ? takeSnapshot(live, plan) : nil
      let rehearsal = try rehearse(plan, snapshot)
      if context.order.kind == .rehearse {
        context.discardSnapshot()
        return context.end(.finished)
      }
      try checkSpace(for: rehearsal)
      let permit = try context.link.permit()
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
    let plan = try Plan(catalog: catalog, ledger: ledger, target: context.order.target)
    context.set(plan: plan)
    guard context.order.kind == .update, settings.requireExplicitConsent else { return plan }
    guard let consented = context.order.consentedPlan else { throw Failure.consentMissing }
    guard consented == plan.hash else { throw Failure.planChanged }
    return plan
  }

  private func takeSnapshot(_ live: Connection, _ plan: Plan) throws(Failure) -> Snapshot {
    try context.enter(.snapshot)
    let needed = try Database.bytes(live) + UpdateSettings.reserveBytes
    try Space.check(needed, at: settings.stateDirectory, for: "the snapshot")
    let snapshot = try context.snapshots.take(
      of: live, version: plan.from, reason: .beforeUpdate, run: context.order.run,
      stop: context.stop, progress: context.copyProgress)
    context.set(snapshot: snapshot.document)
    return snapshot
  }

  private func rehearse(_ plan: Plan, _ snapshot: Snapshot?) throws(Failure) -> Rehearsal? {
    guard let snapshot, settings.rehearse || context.order.kind == .rehearse else { return nil }
    try context.enter(.rehearse)
    try Space.check(
      snapshot.document.sizeBytes + UpdateSettings.reserveBytes, at: settings.workFolder,
      for: "the rehearsal")
    let rehearsal = try snapshot.rehearse(
      plan, in: settings.workFolder, run: context.order.run, chockVersion: Chock.version,
      stop: context.stop, deadline: deadline(),
      progress: { [context] in context.progress(of: $0, plan, expected: nil) })
    context.set(rehearsal: rehearsal)
    return rehearsal
  }

  private func deadline() -> ContinuousClock.Instant {
    .now + .seconds(settings.migrationTimeoutSeconds)
  }

  /// What the rehearsal measured has to fit beside the live database, with a reserve.
  private func checkSpace(for rehearsal: Rehearsal?) throws(Failure) {
    guard let rehearsal else { return }
    try Space.check(
      rehearsal.peakBytes + UpdateSettings.reserveBytes, at: settings.databasePath,
      for: "the update")
  }

  /// From here on the old state comes back by the transaction's rollback. The permit is demanded so
  /// that nobody gets here without having asked the coach again.
  private func apply(
    _ plan: Plan, to live: Connection, _ first: Snapshot?, _ rehearsal: Rehearsal?,
    _ permit: SafetyPermit
  ) -> RunDocument {
    do throws(Failure) {
      try context.enter(.apply)
      let transaction = try Transaction.begin(live, plan: plan)
      var snapshot = first
      if let first, try !transaction.isUnchanged(since: first) {
        snapshot = try retake(plan)
      }
      _ = try transaction.apply(
        plan, baseline: snapshot?.baseline, stop: context.stop, deadline: deadline(),
        run: context.order.run, chockVersion: Chock.version,
        progress: { [context] in context.progress(of: $0, plan, expected: rehearsal) },
        verifying: { [context] () throws(Failure) in
          try context.enter(.verify)
          context.progress("check", "Checking the new state")
        })
      if let snapshot { try context.snapshots.checkPresence(of: snapshot) }
      try context.enter(.commit)
      try transaction.commit()
    } catch {
      return context.end(.rolledBack, error)
    }
    return finish()
  }

  /// The application has written since the snapshot: while our transaction holds the write lock, so
  /// that nobody can again, it is taken once more through a second connection. What a restore brings
  /// back is then the state right before the update.
  private func retake(_ plan: Plan) throws(Failure) -> Snapshot {
    let reader = try Database.open(settings.databasePath, busyTimeout: 30_000)
    let snapshot = try context.snapshots.take(
      of: reader, version: plan.from, reason: .beforeUpdate, run: context.order.run,
      stop: context.stop, progress: context.copyProgress)
    context.discardSnapshot()
    context.set(snapshot: snapshot.document)
    // The journal names the snapshot; the phase is the same.
    try context.enter(.apply)
    return snapshot
  }

  /// The new state is committed: nothing that fails now may say otherwise.
  private func finish() -> RunDocument {
    do throws(Failure) {
      try context.enter(.done)
    } catch {
      context.link.send(.log("The journal could not be written: \(error.message)"))
    }
    context.prune()
    return context.end(.committed)
  }
}

extension RunContext {
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
  /// - Throws: `.noSpace` with what is needed and what there is.
  static func check(_ needed: Int64, at path: String, for what: String) throws(Failure) {
    let available = try FileSystem.availableBytes(at: path)
    guard available >= needed else {
      throw Failure(
        .noSpace,
        "There is too little space for \(what): \(ByteCount.text(needed)) are needed, \(ByteCount.text(available)) are free.",
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
      howToClear: "Say it once: `chock adopt --at VERSION` (0: none of the files is in it).")
  }

  static var consentMissing: Failure {
    Failure(
      .consentMissing, "An update needs a person's yes to its plan.",
      howToClear: "Look at the plan (`chock plan`), then confirm it: in the panel, or with --yes.")
  }

  static var planChanged: Failure {
    Failure(
      .planChanged, "The plan is not the one that was confirmed: files or database have changed.",
      howToClear: "Look at the new plan and confirm it.")
  }
}
