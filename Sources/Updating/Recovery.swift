import Migrations
import SQLite
import Storage

/// Ends what an interrupted run left behind. It runs before anything else, and may itself be
/// interrupted at any instant and run again.
struct RecoveryRun {
  let context: RunContext
  let journalFile: JournalFile

  init(_ context: RunContext) {
    self.context = context
    journalFile = JournalFile(stateDirectory: context.settings.stateDirectory)
  }

  /// Nil when there was nothing to recover.
  func callAsFunction() -> RunDocument? {
    do throws(Failure) {
      // Its journal says how that run ends.
      try FactoryState(settings: context.settings).goOn()
    } catch {
      return context.answer(.needsRecovery, error)
    }
    do throws(Failure) {
      try removeLeftovers()
      guard var journal = try journalFile.read() else { return nil }
      guard journal.databasePath == context.settings.databasePath else {
        throw Failure(
          .needsPerson, "The interrupted run was about another database, \(journal.databasePath).",
          file: journalFile.path,
          howToClear: "Set database.path to it, or look at it, and then `chock recover --discard`.")
      }
      context.resume(journal)
      // The database is well: what is left is the application's start and its probation, as often as it takes.
      if let ending = journal.application?.ending {
        return context.end(ending.outcome, ending.failure)
      }
      guard journal.recoveries < Journal.attempts else {
        throw Failure(
          .needsPerson,
          "Recovery has failed \(Journal.attempts) times; the database is left as it is.",
          file: journal.databasePath,
          howToClear: "`chock doctor` says what is wrong; `chock recover --retry` tries again.")
      }
      context.forgetIntegrityCheck()
      journal.recoveries += 1
      context.resume(journal)
      try journalFile.write(journal)
      do throws(Failure) {
        return try recover(journal)
      } catch {
        guard [.databaseLocked, .noSpace].contains(error.code) else { throw error }
        // It is not recovery that failed. A full disk may not take the journal either.
        journal.recoveries -= 1
        try? journalFile.write(journal)
        throw error
      }
    } catch {
      return context.end(.needsRecovery, error)
    }
  }

  /// Decides by the journaled phase; from apply on, by what the database itself says.
  private func recover(_ journal: Journal) throws(Failure) -> RunDocument {
    if let unhealthy = journal.application?.unhealthy { return try giveUp(journal, unhealthy) }
    switch journal.run.kind {
    case .restore where [.restore, .commit].contains(journal.phase): return try byMark(journal)
    case .update, .rollback, .import, .rescue: break
    default:
      context.removeSnapshots(takenFor: journal.run)
      return context.end(.refused, interruption(journal, "nothing had been changed"))
    }
    switch journal.phase {
    case .plan, .safety, .quiesce, .snapshot, .rehearse:
      context.removeSnapshots(takenFor: journal.run)
      return context.end(.rolledBack, interruption(journal, "nothing had been changed"))
    case .apply, .verify, .commit, .resume, .prove, .done, .restore:
      // One that was taken again, and not named yet. What the rescue copy holds may be nowhere else.
      context.removeSnapshots(
        takenFor: journal.run, but: [journal.run.snapshotId, journal.run.rescueCopy])
      return try journal.partialCommit == nil ? byLedger(journal) : bySnapshot(journal)
    }
  }

  /// An application that was not well with the new state: what was begun is finished. It was judged, and the
  /// run has not ended; what was written since is kept.
  private func giveUp(_ journal: Journal, _ unhealthy: Failure) throws(Failure) -> RunDocument {
    // The rescue copy of an attempt that was not committed: a newer one holds the same and more.
    context.removeSnapshots(
      takenFor: journal.run, but: [journal.run.snapshotId, journal.run.rescueCopy])
    let ledger = try LedgerTable.read(try Database.openSettled(journal.databasePath))
    return context.endUnhealthy(unhealthy, isDone: isOld(ledger, journal))
  }

  /// Whether the ledger is the one from before the run. The newest version does not tell it: that of an update out of
  /// order is the same before and after.
  private func isOld(_ ledger: Ledger?, _ journal: Journal) -> Bool {
    guard let ledger else { return false }
    return ledger.begun == nil && !ledger.isCompleted(by: journal.run.id)
      && ledger.current.description == journal.run.fromVersion
  }

  /// A restore is committed or not; it is never begun again, since the application may have written
  /// and the coach may be driving.
  private func byMark(_ journal: Journal) throws(Failure) -> RunDocument {
    let isSetAside = journal.phase == .commit && journal.run.setAside != nil
    // Before SQLite opens it: without its log the database would be another one.
    if isSetAside, !isReplaced(journal),
      try context.restorer(stop: StopSignal()).bringBackSidecars(
        journal.setAsideFiles ?? [], run: journal.run.id)
    {
      // From here on the rescue folder is not needed; without this it would be, by the journal.
      try context.takeBackCommit(keeping: nil)
      context.discardNewerState()
      return context.end(.refused, interruption(journal, "nothing had been changed"))
    }
    let isReadable = try settle(journal.databasePath)
    if isReadable { try context.bringBackJournalMode() }
    switch journal.phase == .commit ? try isPutBack(journal, isReadable) : false {
    case true?:
      guard isReadable else {
        throw Failure(
          .needsPerson, "After the interrupted restore the database cannot be opened.",
          file: journal.databasePath,
          howToClear: "`chock recover --discard`, then restore a snapshot again.")
      }
      return context.end(.restored)
    case false?:
      guard !isSetAside else {
        throw Failure(
          .needsPerson,
          "The restore was interrupted in its commit, and somebody else has changed or made the database since. What was set aside of the one before, its log too, is kept in \(journal.run.setAside ?? "?").",
          file: journal.databasePath,
          howToClear:
            "`chock recover --discard` leaves it as it is, `chock restore` puts a snapshot back.")
      }
      context.discardNewerState()
      return context.end(.refused, interruption(journal, "nothing had been changed"))
    case nil:
      throw Failure(
        .needsPerson,
        "The restore was interrupted in its commit, and the application has changed its schema since: it cannot be told whether the database is the snapshot or what was there before. Snapshot \(journal.run.snapshotId ?? "?") and rescue copy \(journal.run.rescueCopy ?? "?") hold the two.",
        file: journal.databasePath,
        howToClear:
          "Look at the database; `chock recover --discard` leaves it as it is, `chock restore` puts one of the two back."
      )
    }
  }

  /// True when the file that the restore made has taken the database's place.
  private func isReplaced(_ journal: Journal) -> Bool {
    guard let inode = journal.replacement, inode != journal.restoreMark?.inode else { return false }
    return FileSystem.target(journal.databasePath)?.inode == inode
  }

  /// False when the database is missing or damaged.
  private func settle(_ path: String) throws(Failure) -> Bool {
    do throws(Failure) {
      _ = try Database.openSettled(path)
      return true
    } catch {
      guard error.code.isUnreadableDatabase else { throw error }
      return false
    }
  }

  /// Whether a snapshot was put back before the interruption; nil when it cannot be told, because the
  /// application has changed both its schema and its rows since.
  private func isPutBack(_ journal: Journal, _ isReadable: Bool) throws(Failure) -> Bool? {
    guard try Restorer.Mark(of: journal.databasePath) != journal.restoreMark else { return false }
    // Another file is not always ours: somebody may have put a copy in the place of the database.
    if isReplaced(journal) || !isReadable { return true }
    let live = try Database.open(journal.databasePath)
    let version = try LedgerTable.read(live)?.current.description
    if journal.run.fromVersion != journal.run.toVersion {
      // Only chock writes the ledger.
      if version == journal.run.toVersion { return true }
      if version == journal.run.fromVersion { return false }
    }
    let now = try Fingerprint(live).total
    for (id, isPutBack) in [(journal.run.snapshotId, true), (journal.run.rescueCopy, false)] {
      guard let id, let snapshot = try? context.snapshots.find(id).document else { continue }
      if snapshot.fingerprint == now, snapshot.version == version { return isPutBack }
    }
    return nil
  }

  /// SQLite has rolled the transaction back, or it was committed with its ledger rows: never in between.
  private func byLedger(_ journal: Journal) throws(Failure) -> RunDocument {
    let live = try Database.openSettled(journal.databasePath)
    let ledger = try LedgerTable.read(live)
    if let ledger, ledger.isCompleted(by: journal.run.id) { return context.end(.committed) }
    let current = ledger?.current.description
    switch current {
    case journal.run.fromVersion:
      return context.end(.rolledBack, interruption(journal, "the change was rolled back"))
    default:
      throw Failure(
        .needsPerson,
        "After the interruption the database is at version \(current ?? "unknown"), not \(journal.run.fromVersion ?? "?"), and the run is not in its ledger.",
        file: journal.databasePath,
        howToClear:
          "Look at the database: `chock recover --discard` leaves it as it is. Then `chock restore \(journal.run.snapshotId ?? "ID")` puts the snapshot from before back."
      )
    }
  }

  /// A part of the plan may be committed: the ledger's last row is written with the last of them, and without
  /// it the snapshot is put back. Its content may be there already.
  private func bySnapshot(_ journal: Journal) throws(Failure) -> RunDocument {
    func ledger() throws(Failure) -> Ledger? {
      try LedgerTable.read(try Database.openSettled(journal.databasePath))
    }
    let isBeingPutBack = journal.phase == .restore
    if !isBeingPutBack {
      let ledger = try ledger()
      if let ledger, ledger.isCompleted(by: journal.run.id) { return context.end(.committed) }
      // The first segment was not committed: SQLite has rolled it back.
      if isOld(ledger, journal) {
        return context.end(.rolledBack, interruption(journal, "the change was rolled back"))
      }
    }
    let undone = interruption(journal, "the snapshot from before was put back")
    // What is put back does not say that the run has begun.
    if isBeingPutBack, isOld((try? ledger()) ?? nil, journal) {
      try context.bringBackJournalMode()
      return context.end(.rolledBack, undone)
    }
    guard let snapshot = journal.run.snapshotId else {
      throw Failure(
        .needsPerson, "The journal of the interrupted run names no snapshot.",
        file: journalFile.path,
        howToClear:
          "`chock recover --discard`, then restore one: `chock snapshots list`, `chock restore ID`."
      )
    }
    try context.putBack(snapshot)
    // The rescue copy of an attempt that was not committed: a newer one holds the same and more.
    context.removeSnapshots(
      takenFor: journal.run, but: [snapshot, context.document.rescueCopy])
    return context.end(.rolledBack, undone)
  }

  private func interruption(_ journal: Journal, _ what: String) -> Failure {
    var failure =
      context.order.cause
      ?? Failure(
        .interrupted, "The run was interrupted in its phase \(journal.phase.rawValue); \(what).",
        howToClear: "Start it again when you like.")
    if context.order.cause != nil { failure.message += " It was ended from outside; \(what)." }
    return failure
  }

  /// What a restore of ours left beside the database: by our journal, or by our history where a power cut has
  /// brought it back. What another chock is just making stays.
  private func removeRestoreFiles() throws(Failure) {
    let database = context.settings.databasePath
    let start = Restorer.temporaryFile(beside: database, run: "")
    let folder = FileSystem.parent(database)
    for name in (try? FileSystem.names(in: folder)) ?? [] where "\(folder)/\(name)".hasPrefix(start)
    {
      var run = String("\(folder)/\(name)".dropFirst(start.count))
      // Of a database that was just being made.
      for suffix in Restorer.sidecars where run.hasSuffix(suffix) {
        run.removeLast(suffix.utf8.count)
      }
      let isInterrupted = ((try? journalFile.read()) ?? nil)?.run.id == run
      guard isInterrupted || ((try? context.history.run(run)) ?? nil) != nil else { continue }
      try FileSystem.remove("\(folder)/\(name)")
      try FileSystem.sync(folder)
    }
  }

  /// Temporary files of runs that are over; nobody else is running, we hold the lock.
  private func removeLeftovers() throws(Failure) {
    try context.snapshots.removeLeftovers()
    for name in try FileSystem.names(in: context.settings.workFolder)
    where name.hasPrefix("rehearsal-") {
      try FileSystem.remove("\(context.settings.workFolder)/\(name)")
    }
    try removeRestoreFiles()
    try FileSystem.remove(journalFile.path + ".partial")
    try FactoryState(settings: context.settings).removeLeftovers()
    // SQLite takes the name of a temporary file away as soon as it is open; a power cut can bring it back. To
    // take it from a program that is just opening one does no harm.
    let temporary = context.settings.temporaryFolder
    for name in (try? FileSystem.names(in: temporary)) ?? [] where name.hasPrefix("etilqs_") {
      try? FileSystem.remove("\(temporary)/\(name)")
    }
  }
}
