import Migrations
import SQLite
import Storage

/// Rows that are to be put in again, once they have been found and looked at.
struct Rows {
  /// What they may need, in the log and in the file.
  var bytes: Int64
  var enforcesForeignKeys = false
  /// Gets the snapshot of the database as it was before.
  var putIn: (_ transaction: Transaction, _ before: String) throws(Failure) -> Void
}

/// Puts in again what another run took out: in one transaction, with the snapshot and the permits of an update.
struct RowsRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  /// - Parameter find: gets the database and its version; nothing has been changed by then.
  func callAsFunction(
    _ find: (Connection, SchemaVersion) throws(Failure) -> Rows
  ) -> RunDocument {
    let transaction: Transaction
    do throws(Failure) {
      transaction = try filled(find)
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

  /// With the rows in it, ready for its commit; what fails before is rolled back here.
  private func filled(
    _ find: (Connection, SchemaVersion) throws(Failure) -> Rows
  ) throws(Failure) -> Transaction {
    try context.enter(.plan)
    try Openers.checkNames(of: settings.databasePath)
    let live = try Database.openForWriting(settings.databasePath, busyTimeout: 30_000)
    guard let ledger = try LedgerTable.read(live) else {
      throw Failure.unadopted(settings.databasePath)
    }
    let rows = try find(live, ledger.current)
    try context.enter(.safety)
    _ = try context.permit()
    try context.quiesce()
    try context.enter(.snapshot)
    try Space.check([
      Space.Need(try Database.bytes(live), at: settings.stateDirectory, for: "the snapshot"),
      Space.Need(rows.bytes, at: settings.databasePath, for: "the rows"),
    ])
    let snapshot = try context.snapshots.take(
      of: live, version: ledger.current, reason: .beforeUpdate, run: context.order.run,
      isSuspect: context.isSuspect, stop: context.stop, progress: context.copyProgress)
    context.set(snapshot: snapshot.document)
    _ = try context.permit()
    try context.enter(.apply)
    let transaction = try Transaction.begin(
      live, importOf: context.order.run, enforcingForeignKeys: rows.enforcesForeignKeys)
    let before =
      try transaction.isUnchanged(since: snapshot)
      ? snapshot.path : try context.retakeSnapshot(at: ledger.current).path
    try rows.putIn(transaction, before)
    try context.enter(.commit)
    return transaction
  }
}

extension RunContext {
  /// What the ledger says of rows that are put in.
  var applyOrder: ApplyOrder {
    ApplyOrder(run: order.run, chockVersion: Chock.version, stop: stop)
  }
}
