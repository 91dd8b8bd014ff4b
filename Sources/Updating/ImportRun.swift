import Migrations
import SQLite
import Storage

/// Puts in again what a rollback took out, in one transaction.
struct ImportRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  func callAsFunction() -> RunDocument {
    let transaction: Transaction
    do throws(Failure) {
      try context.enter(.plan)
      try Openers.checkNames(of: settings.databasePath)
      guard let export = context.order.export else {
        throw Failure(.usage, "The order names no export.")
      }
      let folder = "\(settings.exportsFolder)/\(export)"
      let document = try Importer.document(in: folder)
      let live = try Database.openForWriting(settings.databasePath, busyTimeout: 30_000)
      guard let ledger = try LedgerTable.read(live) else {
        throw Failure.unadopted(settings.databasePath)
      }
      context.set(import: folder, at: ledger.current)
      try context.enter(.safety)
      _ = try context.permit()
      try context.quiesce()
      try context.enter(.snapshot)
      let bytes = document.tables.reduce(0 as Int64) {
        $0 + (FileSystem.facts("\(folder)/\($1.file)")?.size ?? 0)
      }
      try Space.check([
        Space.Need(try Database.bytes(live), at: settings.stateDirectory, for: "the snapshot"),
        // The rows with their indexes, in the log and in the file.
        Space.Need(bytes * 4, at: settings.databasePath, for: "the rows"),
      ])
      let snapshot = try context.snapshots.take(
        of: live, version: ledger.current, reason: .beforeUpdate, run: context.order.run,
        stop: context.stop, progress: context.copyProgress)
      context.set(snapshot: snapshot.document)
      _ = try context.permit()
      try context.enter(.apply)
      transaction = try Transaction.begin(live, importOf: context.order.run)
      if try !transaction.isUnchanged(since: snapshot) {
        _ = try context.retakeSnapshot(at: ledger.current)
      }
      let importer = Importer(
        live, folder: folder, replaces: context.order.replaces, stop: context.stop)
      context.progress("import", "Putting in what was exported")
      context.set(
        imported: try transaction.importRows(
          importer, from: export,
          ApplyOrder(
            run: context.order.run, chockVersion: Chock.version, stop: context.stop)))
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
