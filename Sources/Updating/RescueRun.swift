import Migrations
import SQLite
import Storage

/// Puts in again what a restore took out, in one transaction.
struct RescueRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  func callAsFunction() -> RunDocument {
    let transaction: Transaction
    do throws(Failure) {
      try context.enter(.plan)
      try Openers.checkNames(of: settings.databasePath)
      let id = try context.wantedSnapshot()
      let rescues = RescueCopies(settings: settings)
      let (path, rescue) = try rescues.find(id)
      let live = try Database.openForWriting(settings.databasePath, busyTimeout: 30_000)
      guard let ledger = try LedgerTable.read(live) else {
        throw Failure.unadopted(settings.databasePath)
      }
      context.set(rescueOf: rescue.copy, at: ledger.current)
      // What is put in has to be what was kept.
      _ = try context.snapshots.verify(id, stop: context.stop)
      if let snapshot = rescue.snapshot {
        _ = try context.snapshots.verify(snapshot, stop: context.stop)
      }
      try context.enter(.safety)
      _ = try context.permit()
      try context.quiesce()
      try context.enter(.snapshot)
      try Space.check([
        Space.Need(try Database.bytes(live), at: settings.stateDirectory, for: "the snapshot"),
        // At most all that the copy holds, in the log and in the file.
        Space.Need(rescue.copy.sizeBytes * 2, at: settings.databasePath, for: "the rows"),
      ])
      let snapshot = try context.snapshots.take(
        of: live, version: ledger.current, reason: .beforeUpdate, run: context.order.run,
        stop: context.stop, progress: context.copyProgress)
      context.set(snapshot: snapshot.document)
      _ = try context.permit()
      try context.enter(.apply)
      transaction = try Transaction.begin(
        live, importOf: context.order.run, enforcingForeignKeys: true)
      var before = snapshot.path
      if try !transaction.isUnchanged(since: snapshot) {
        before = try context.retakeSnapshot(at: ledger.current).path
      }
      let base = try rescue.snapshot == nil ? before : rescues.base(of: rescue)
      let rescuer = Rescuer(
        live, copy: path, base: base, knowsBase: rescue.snapshot != nil,
        context.order.rescue ?? Rescuer.Request(), stop: context.stop
      ) { [context] table, rows in
        context.progress("rescue", "Putting in what was kept of \(table)", done: rows)
      }
      context.progress("rescue", "Putting in what was kept")
      context.set(
        rescued: try transaction.rescueRows(
          rescuer, from: id,
          ApplyOrder(run: context.order.run, chockVersion: Chock.version, stop: context.stop)))
      try context.enter(.commit)
    } catch {
      context.discardSnapshot()
      return context.end(.refused, error)
    }
    do throws(Failure) {
      try transaction.commit()
    } catch {
      return context.end(error.code == .needsPerson ? .needsRecovery : .rolledBack, error)
    }
    return context.finish()
  }
}
