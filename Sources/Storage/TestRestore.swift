public import Migrations
import SQLite

extension SnapshotStore {
  /// Restores a snapshot into a file of its own beside the database, looks whether that is what was kept, and removes
  /// it. The database is not touched.
  ///
  /// - Parameter temporary: the file; whatever has this name is removed.
  /// - Throws: `.snapshotDamaged`, `.noSpace`, the stop that was requested.
  public func testRestore(
    _ id: String, into temporary: String, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) {
    let (path, document) = try find(id)
    defer { Snapshot.removeDatabase(temporary) }
    Snapshot.removeDatabase(temporary)
    do throws(Failure) {
      progress("put back", 0, 1)
      try FileSystem.copy(path, to: temporary, stop: stop)
      try FileSystem.sync(temporary)
      // As the application had it.
      try Restorer.bringBack(mode: document.journalMode, of: temporary)
      progress("check", 0, 1)
      let restored = try Database.openForWriting(temporary)
      try Database.checkIntegrity(restored, stop: stop)
      progress("fingerprint", 0, 1)
      let version = try LedgerTable.read(restored)?.current.description
      guard version == document.version || document.fingerprint == nil else {
        throw unlike("it is at version \(version ?? "none")", document)
      }
      if let known = document.knownFingerprint,
        try Fingerprint(restored, stop: stop).total != known
      {
        throw unlike("its content differs", document)
      }
    } catch {
      if let requested = stop.requested { throw requested }
      guard error.code.isUnreadableDatabase || error.code == .needsPerson else { throw error }
      throw unlike(error.message, document)
    }
  }

  private func unlike(_ words: String, _ document: SnapshotDocument) -> Failure {
    Failure(
      .snapshotDamaged,
      "Snapshot \(document.id) does not restore to what was kept: \(words).",
      file: "\(folder)/\(document.id).sqlite",
      howToClear: "Use another snapshot: `chock snapshots list`.")
  }
}
