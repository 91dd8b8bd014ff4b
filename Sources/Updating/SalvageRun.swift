import Migrations
import SQLite
import Storage

/// Reads out of a damaged database what can still be read, into a snapshot.
///
/// What is read is a copy: the damaged files stay as they are. What is made of it is checked and kept like any other
/// snapshot.
struct SalvageRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  func callAsFunction() -> RunDocument {
    // Leftovers with these names are removed before the next run.
    let copy = "\(settings.snapshotsFolder)/salvage.partial"
    let read = "\(settings.snapshotsFolder)/salvage-read.partial"
    defer { for path in [copy, read] { Snapshot.removeDatabase(path) } }
    var source = settings.databasePath
    do throws(Failure) {
      try context.show(.snapshot)
      if let run = context.order.setAsideBy {
        source = try RescueCopies(settings: settings).setAside(by: run)
      }
      let lost = try copyFiles(of: source, to: copy)
      Snapshot.removeDatabase(read)
      let versions = KnownVersions(context: context)
      let good = try goodSnapshots(versions)
      var number = 0
      var salvage = try Salvager(
        of: copy, into: read, good: good, lastVersion: try versions.last(),
        versions: try versions.likely(), stop: context.stop,
        bring: { (good, version) throws(Failure) in
          number += 1
          return try bring(good, to: version, versions, number)
        },
        progress: { context.progress("salvage", "Reading table \($0)", done: $1) }
      ).run()
      if lost > 0 {
        salvage.problems.insert(
          "The storage could not read \(ByteCount.text(lost)) of its file.", at: 0)
      }
      try compare(read, with: good.first, &salvage)
      let recovered = try Database.open(read)
      context.set(
        snapshot: try context.snapshots.take(
          of: recovered, of: settings.databasePath,
          version: try LedgerTable.read(recovered)?.current, reason: .salvage,
          run: context.order.run, stop: context.stop, progress: context.copyProgress
        ).document, salvage)
      return context.conclude(.finished)
    } catch {
      var error = error
      // What is copied and made is gone then; it is about the damaged file.
      if error.file == copy || error.file == read {
        error.message = error.message.replacing(error.file ?? "", with: source)
        error.file = source
      }
      return context.conclude(.refused, error)
    }
  }

  private func bring(
    _ good: Salvager.Good, to version: String, _ versions: KnownVersions, _ number: Int
  ) throws(Failure) -> LaterState {
    guard let ledger = try LedgerTable.read(try Database.open(good.path)),
      let goal = SchemaVersion(version)
    else { throw Failure.unadopted(good.path) }
    return try LaterStates(context: context).make(
      of: good.path, ledger, to: goal, number: number
    ) { (plan) throws(Failure) in
      guard plan.to == goal, ledger.current < goal else {
        throw Failure(
          .notFound, "No files lead from version \(ledger.current) to \(goal).",
          file: settings.migrationsDirectory)
      }
      return try versions.runs()
    }
  }

  /// What the result has otherwise than the newest good snapshot, table by table.
  private func compare(
    _ read: String, with good: Salvager.Good?, _ salvage: inout Salvage
  ) throws(Failure) {
    guard let good else { return }
    let comparison = try Comparer(before: good.path, after: read, stop: context.stop) {
      context.progress(
        "compare", "Comparing table \($0) with snapshot \(good.id)", done: $1)
    }.run()
    salvage.comparedWith = good.id
    salvage.comparedVersion = good.version
    salvage.differences = comparison.tables
    salvage.sameTables = comparison.sameTables
  }

  /// Newest first, of the time before the damaged files were set aside; nothing that was itself salvaged, or is damaged.
  private func goodSnapshots(_ versions: KnownVersions) throws(Failure) -> [Salvager.Good] {
    var before = "~"
    if let run = context.order.setAsideBy, let text = try context.history.run(run),
      let document = try? JSON.decode(RunDocument.self, from: Array(text.utf8))
    {
      before = document.startedAt
    }
    var good: [Salvager.Good] = []
    for document in try context.snapshots.list()
    where document.isComplete && document.createdAt < before
      && (try? document.checkBelongs(to: settings.databasePath)) != nil
    {
      context.progress("snapshots", "Looking for a good snapshot")
      do throws(Failure) {
        _ = try context.snapshots.verify(document.id, stop: context.stop)
      } catch  where error.code == .snapshotDamaged {
        continue
      }
      good.append(
        Salvager.Good(
          document, path: try context.snapshots.find(document.id).path,
          isOutdated: try versions.isOutdated(document)))
      // Older ones say no more of a schema.
      if good.count == 3 { break }
    }
    return good
  }

  // MARK: The copy

  /// The file with its log and its journal, as they are.
  ///
  /// - Returns: how many bytes the storage could not read; they are zeros in the copy.
  private func copyFiles(of path: String, to copy: String) throws(Failure) -> Int64 {
    try FileSystem.makeFolder(settings.snapshotsFolder)
    let main = FileSystem.canonical(path)
    let suffixes = ["", "-wal", "-journal"]
    func facts() -> [FileSystem.Facts?] { suffixes.map { FileSystem.target(main + $0) } }
    guard facts()[0]?.isRegular == true else {
      throw Failure(
        .databaseMissing, "There is no database at \(path).", file: path,
        howToClear: "Check database.path in the config.")
    }
    guard facts()[0]?.size ?? 0 > 0 || facts()[1]?.size ?? 0 > 0 else {
      throw Failure(
        .databaseEmpty, "\(path) is empty (0 bytes): there is nothing to read in it.", file: path,
        howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    let bytes = facts().reduce(0) { $0 + ($1?.size ?? 0) }
    try Space.check([
      Space.Need(
        bytes * 3, at: settings.snapshotsFolder,
        for: "a copy, what is read out of it, and its snapshot")
    ])
    // Its application may be writing. A lock would be a change in the file's folder.
    for _ in 0..<3 {
      Snapshot.removeDatabase(copy)
      let before = facts()
      var lost: Int64 = 0
      for (suffix, found) in zip(suffixes, before) where found != nil {
        lost += try FileSystem.copyReadable(main + suffix, to: copy + suffix, stop: context.stop) {
          context.progress("copy", "Copying what is damaged", done: $0, total: bytes)
        }
      }
      if facts() == before { return lost }
    }
    throw Failure(
      .databaseLocked, "A program writes to the database while it is copied.", file: path,
      howToClear:
        "Stop it: \(Openers.programs(of: path).map(\.description).joined(separator: ", "))")
  }
}
