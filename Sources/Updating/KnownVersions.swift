import Migrations
import Storage

/// What chock's history says of the version that a damaged database was at.
struct KnownVersions {
  let context: RunContext

  /// Nil when no run has changed it, or how one ended is not known.
  func last() throws(Failure) -> String? {
    guard !isBesideInterruptedRun, let run = try changes().last else { return nil }
    switch run.outcome {
    case .committed: return run.toVersion
    case .restored: return run.kind == .restore ? run.toVersion : run.fromVersion
    default: return nil
    }
  }

  /// Those that it may have been at, the likeliest first: beside an interrupted run that before it, too.
  func likely() throws(Failure) -> [String] {
    guard isBesideInterruptedRun else { return try last().map { [$0] } ?? [] }
    let journal = JournalFile(stateDirectory: context.settings.stateDirectory)
    let run = (try? journal.read())?.run
    return [run?.toVersion, run?.fromVersion].compactMap(\.self)
  }

  /// The runs that have changed it, newest first.
  func runs() throws(Failure) -> [String] {
    let journal = JournalFile(stateDirectory: context.settings.stateDirectory)
    let open = isBesideInterruptedRun ? (try? journal.read())?.run.id : nil
    return [open].compactMap(\.self) + (try changes().reversed().map(\.id))
  }

  /// Whether the database may have been at another version after this snapshot: the history has a change since, or does
  /// not reach back to it.
  func isOutdated(_ snapshot: SnapshotDocument) throws(Failure) -> Bool {
    guard !isBesideInterruptedRun else { return true }
    if let last = try changes().last, last.outcome == .restored, last.snapshotId == snapshot.id {
      return false
    }
    guard let run = snapshot.run, try context.history.run(run) != nil else { return true }
    return try !changes(from: run).isEmpty
  }

  /// Of files that a restore has set aside only what came before it counts.
  private func changes(from run: String? = nil) throws(Failure) -> [RunDocument] {
    try context.history.versionChanges(from: run, before: context.order.setAsideBy).map {
      (text) throws(Failure) in
      do {
        return try JSON.decode(RunDocument.self, from: Array(text.utf8))
      } catch {
        throw Failure(.inputOutput, "The history has a run that cannot be read: \(error)")
      }
    }
  }

  /// Its change is not in the history.
  private var isBesideInterruptedRun: Bool {
    context.order.setAsideBy == nil
      && JournalFile(stateDirectory: context.settings.stateDirectory).exists
  }
}
