import Migrations
import SQLite
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A snapshot on demand.
struct SnapshotRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      try Openers.checkNames(of: context.settings.databasePath)
      try context.enter(.snapshot)
      let live = try Database.open(context.settings.databasePath, busyTimeout: 30_000)
      try Space.check([
        Space.Need(
          try Database.bytes(live), at: context.settings.stateDirectory, for: "the snapshot")
      ])
      let version = try LedgerTable.read(live)?.current
      context.set(
        snapshot: try context.snapshots.take(
          of: live, version: version, reason: .manual, run: context.order.run,
          isSuspect: context.isSuspect, stop: context.stop, progress: context.copyProgress
        ).document)
      context.prune()
      return context.end(.finished)
    } catch {
      return context.end(.refused, error)
    }
  }
}

/// The full check of the database, at the lowest priority.
struct CheckRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    // The disk's priority follows from it.
    _ = nice(19)
    let started = ContinuousClock.now
    func save(_ problem: String?) throws(Failure) {
      try context.history.save(
        IntegrityCheck(
          finishedAt: Timestamp.now(), seconds: (ContinuousClock.now - started).seconds,
          problem: problem), of: context.settings.databasePath)
    }
    do throws(Failure) {
      let live = try Database.open(context.settings.databasePath, busyTimeout: 1000)
      do throws(Failure) {
        try Database.checkIntegrity(live, stop: context.stop)
      } catch {
        if error.code == .databaseCorrupt { try save(error.message) }
        throw error
      }
      try save(nil)
      return context.answer(.finished)
    } catch {
      return context.answer(.refused, error)
    }
  }
}

/// A check that a person waits for, with all that it finds.
struct AskedCheckRun {
  let context: RunContext
  let kind: CheckKind

  func callAsFunction() -> RunDocument {
    context.set(kind)
    do throws(Failure) {
      try context.show(.verify)
      let started = ContinuousClock.now
      let path = context.settings.databasePath
      let live = try Database.open(path, busyTimeout: 10_000)
      let found = try Database.findings(kind, live, stop: context.stop) { table, done, total in
        context.progress(
          "check", table.map { "Checking table \($0)" } ?? "Checking the whole file", done: done,
          total: total, fraction: total.map { Double(done) / Double(max(1, $0)) })
      }
      context.set(found: found.lines)
      var failure: Failure?
      if found.problems > 0 {
        failure = Failure(
          kind == .foreignKeys ? .foreignKeys : .databaseCorrupt,
          kind == .foreignKeys
            ? "\(found.problems) rows point to nothing."
            : "The check found \(found.problems) problems: \(found.lines.first ?? "")", file: path,
          howToClear: kind == .foreignKeys
            ? "Add the rows that they point to, or remove those that point there."
            : "`chock rescue salvage` reads what can still be read; `chock restore ID` puts a snapshot back."
        )
      }
      if kind == .full {
        try context.history.save(
          IntegrityCheck(
            finishedAt: Timestamp.now(), seconds: (ContinuousClock.now - started).seconds,
            problem: failure?.message), of: path)
      }
      return context.conclude(failure == nil ? .finished : .refused, failure)
    } catch {
      return context.conclude(.refused, error)
    }
  }
}

/// Reads a snapshot and compares it with its digest; where it is asked for, restores it into a file of its own.
struct VerifyRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      try context.enter(.verify)
      let id = try context.wantedSnapshot()
      let document = try context.snapshots.find(id).document
      context.set(snapshot: document)
      try document.checkIsSound()
      let settings = context.settings
      if context.order.testsRestore {
        try Space.check([
          Space.Need(
            document.sizeBytes, at: settings.databasePath,
            for: "a copy that is restored for a test")
        ])
      }
      _ = try context.snapshots.verify(id, stop: context.stop)
      if context.order.testsRestore {
        try context.snapshots.testRestore(
          id,
          into: Restorer.temporaryFile(
            beside: FileSystem.canonical(settings.databasePath), run: context.order.run),
          stop: context.stop, progress: context.copyProgress)
        context.setTestRestored()
      }
      return context.end(.finished)
    } catch {
      return context.end(.refused, error)
    }
  }
}

/// Puts a snapshot back.
struct RestoreRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      try context.enter(.plan)
      try Openers.checkNames(of: context.settings.databasePath)
      let snapshot = try context.snapshots.find(try context.wantedSnapshot()).document
      try snapshot.checkBelongs(to: context.settings.databasePath)
      try snapshot.checkIsSound()
      let live = try? Database.open(context.settings.databasePath)
      let version = live.flatMap { live in
        (try? LedgerTable.read(live)).flatMap { $0 }?.current
      }
      try context.setRestore(snapshot, from: version)
      try context.enter(.safety)
      _ = try context.permit()
      // The newer state is kept as a snapshot; what is put back goes through the log.
      let size = FileSystem.target(context.settings.databasePath)?.size ?? 0
      try Space.check([
        Space.Need(
          size, at: context.settings.stateDirectory, for: "the copy of the newer state"),
        Space.Need(
          snapshot.sizeBytes, at: context.settings.databasePath, for: "what is put back"),
      ])
      try context.quiesce()
    } catch {
      return context.end(.refused, error)
    }
    return restore()
  }

  private func restore() -> RunDocument {
    var isCommitting = false
    do throws(Failure) {
      try context.enter(.restore)
      let id = try context.wantedSnapshot()
      let report = try context.restorer(stop: context.stop).restore(id, run: context.document.id) {
        [context] report throws(Failure) in
        context.set(report)
        try context.enter(.commit)
        isCommitting = true
      }
      context.set(warnings: report.warnings)
      // Of a database that was damaged, older copies are all that is known to be good.
      let isSuspect = context.isSuspect
      context.forgetIntegrityCheck()
      if !isSuspect, report.setAside == nil { context.prune() }
      return context.end(.restored)
    } catch {
      // Through SQLite it is one transaction, and before the rename nothing has changed. From the
      // commit on the database is what recovery says, unless it was taken back.
      guard !isCommitting || context.document.phase == .restore,
        (try? context.bringBackJournalMode()) != nil
      else {
        return context.end(.needsRecovery, error)
      }
      context.discardNewerState()
      return context.end(.refused, error)
    }
  }
}

extension RunContext {
  func restorer(stop: StopSignal) -> Restorer {
    Restorer(
      databasePath: settings.databasePath, store: snapshots,
      rescueFolder: settings.rescueFolder(of: document.id), isSuspect: isSuspect,
      stop: stop, progress: copyProgress,
      willReplace: { [self] mode throws(Failure) in try willReplace(mode) },
      didNotReplace: { [self] mode throws(Failure) in try takeBackCommit(keeping: mode) })
  }

  /// Undoes an update of which a part is committed. Nothing stops it: what is there now is neither
  /// old nor new.
  func putBack(_ snapshot: String) throws(Failure) {
    // What tells later, also after a kill, whether it was done.
    try markRestore()
    try enterRestore()
    try restorer(stop: StopSignal()).restore(snapshot, run: document.id) {
      [self] report throws(Failure) in
      set(report)
      try enterRestore()
    }
  }

  /// Removes what was kept of the newer state by a restore that has changed nothing; a failure is only logged.
  func discardNewerState() {
    set(Restorer.Report())
    removeSnapshots(takenFor: document)
    do throws(Failure) {
      try FileSystem.removeFolder(settings.rescueFolder(of: document.id))
    } catch {
      link.send(.log("A copy of the damaged files could not be removed: \(error.message)"))
    }
  }

  func wantedSnapshot() throws(Failure) -> String {
    guard let id = order.snapshot else {
      throw Failure(.usage, "No snapshot is named.")
    }
    return id
  }
}
