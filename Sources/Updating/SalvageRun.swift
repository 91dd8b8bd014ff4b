import Migrations
import SQLite
import Storage

/// Reads out of a damaged database what can still be read, into a snapshot.
///
/// The reading is done by the shell of SQLite (`.recover`, <https://sqlite.org/recovery.html>), on a copy: it may
/// write into what it reads. What it makes is checked and kept like any other snapshot.
struct SalvageRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  /// Nobody waits longer than this for what can still be read.
  private static let limit = Duration.seconds(6 * 3600)

  func callAsFunction() -> RunDocument {
    // Leftovers with these names are removed before the next run.
    let copy = "\(settings.snapshotsFolder)/salvage.partial"
    let read = "\(settings.snapshotsFolder)/salvage-read.partial"
    defer { for path in [copy, read] { Snapshot.removeDatabase(path) } }
    do throws(Failure) {
      try context.enter(.snapshot)
      let damaged = try context.order.setAsideBy.map { (run) throws(Failure) in
        try RescueCopies(settings: settings).setAside(by: run)
      }
      try copyFiles(of: damaged ?? settings.databasePath, to: copy)
      try recover(copy, into: read)
      let recovered = try Database.open(read)
      let ledger = try LedgerTable.read(recovered)
      guard ledger?.isBlank != true else {
        throw Failure(
          .databaseCorrupt, "Nothing could be read out of it.",
          file: damaged ?? settings.databasePath,
          howToClear: "Restore a snapshot: `chock snapshots list`.")
      }
      context.set(
        snapshot: try context.snapshots.take(
          of: recovered, of: settings.databasePath,
          version: ledger?.current, reason: .salvage,
          run: context.order.setAsideBy ?? context.order.run, stop: context.stop,
          progress: context.copyProgress
        ).document)
      return context.end(.finished)
    } catch {
      return context.end(.refused, error)
    }
  }

  /// The file with its log and its journal, as they are.
  private func copyFiles(of path: String, to copy: String) throws(Failure) {
    try FileSystem.makeFolder(settings.snapshotsFolder)
    Snapshot.removeDatabase(copy)
    let files = ["", "-wal", "-journal"].filter { FileSystem.target(path + $0) != nil }
    guard files.contains("") else {
      throw Failure(
        .databaseMissing, "There is no database at \(path).", file: path,
        howToClear: "Check database.path in the config.")
    }
    let bytes = files.reduce(0) { $0 + (FileSystem.target(path + $1)?.size ?? 0) }
    try Space.check([
      Space.Need(
        bytes * 3, at: settings.snapshotsFolder,
        for: "a copy, what is read out of it, and its snapshot")
    ])
    context.progress("copy", "Copying what is damaged")
    for file in files {
      try FileSystem.copy(FileSystem.canonical(path) + file, to: copy + file, stop: context.stop)
    }
  }

  private func recover(_ copy: String, into read: String) throws(Failure) {
    Snapshot.removeDatabase(read)
    let total = FileSystem.facts(copy)?.size ?? 0
    func tell() {
      let done = FileSystem.facts(read)?.size ?? 0
      context.progress(
        "recover", "Reading what can still be read", done: min(done, total), total: total)
    }
    // The first one's end is the other's error.
    let end = try Program(
      command: [
        "/bin/sh", "-c",
        #"{ sqlite3 -batch "$0" .recover || echo "SELECT 'reading failed' FROM unread;"; } | sqlite3 -batch "$1""#,
        copy, read,
      ], output: .kept
    ).run(within: Self.limit, stop: context.stop, waiting: tell)
    guard end.code == 0 else {
      let isMissing = end.output.contains("sqlite3: not found")
      throw Failure(
        isMissing ? .notFound : .databaseCorrupt,
        isMissing
          ? "Salvage needs the sqlite3 shell, and it is not installed."
          : "The sqlite3 shell could not read it: \(end.output.suffix(300))",
        howToClear: isMissing
          ? "Install it: `apt install sqlite3`." : "Restore a snapshot: `chock snapshots list`.")
    }
  }
}
