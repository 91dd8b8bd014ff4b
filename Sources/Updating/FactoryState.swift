import Dispatch
public import Migrations
import Storage

/// The way back to the factory state, from the moment from which it is only finished: `factory.json` in the state
/// folder says that it has begun.
///
/// Before that file is there nothing has changed. Once it is there whoever comes first goes on, as often as it takes
/// (docs/decisions/0060).
public struct FactoryState: Sendable {
  static let fileName = "factory.json"

  let settings: UpdateSettings

  public init(settings: UpdateSettings) {
    self.settings = settings
  }

  private var path: String { "\(settings.stateDirectory)/\(Self.fileName)" }

  private struct Document: Codable {
    var schema = "chock.FACTORY/1"
    /// What becomes the journal when everything is erased.
    var journal: Journal
  }

  var isBegun: Bool { FileSystem.facts(path) != nil }

  /// What there is to erase, for a person; nothing is changed.
  public func whatThereIs() -> ErasedDocument {
    let folder = settings.stateDirectory
    let snapshots = (try? FileSystem.names(in: settings.snapshotsFolder)) ?? []
    let own = ((try? FileSystem.names(in: folder)) ?? []).filter { StateFiles.all.contains($0) }
    let database = ([""] + Restorer.sidecars).map { settings.databasePath + $0 }
    let known = settings.copies.map(\.name) + CopiesState.read(folder).names
    return ErasedDocument(
      snapshots: snapshots.count { $0.hasSuffix(".sqlite") },
      bytes: (own.map { "\(folder)/\($0)" } + database).reduce(0) { $0 + Self.bytes(of: $1) },
      copiesElsewhere: Set(known).sorted())
  }

  private static func bytes(of path: String) -> Int64 {
    guard let facts = FileSystem.facts(path) else { return 0 }
    guard facts.isDirectory else { return facts.isRegular ? facts.size : 0 }
    return ((try? FileSystem.names(in: path)) ?? []).reduce(0) {
      $0 + bytes(of: "\(path)/\($1)")
    }
  }

  // MARK: The point from which it is only finished

  /// - Returns: false when nobody can know whether it will be there after a power cut.
  /// - Throws: why it is not there, for certain.
  func begin(_ journal: Journal) throws(Failure) -> Bool {
    do throws(Failure) {
      try FileSystem.replace(path, with: try JSON.encode(Document(journal: journal), pretty: true))
      return true
    } catch {
      do throws(Failure) {
        try FileSystem.remove(path)
        try FileSystem.sync(settings.stateDirectory)
      } catch {
        return false
      }
      throw error
    }
  }

  /// What one that has not begun has left.
  func removeLeftovers() throws(Failure) { try FileSystem.remove(path + ".partial") }

  /// Goes on where one was interrupted; before anything else looks at the state folder.
  ///
  /// - Throws: `.runActive` while another process is about it, and what ``goOn()`` throws.
  public func finish() throws(Failure) {
    guard isBegun else { return }
    let deadline = ContinuousClock.now + .seconds(30)
    while isBegun {
      if let lock = try RunLock(folder: settings.stateDirectory) {
        defer { withExtendedLifetime(lock) {} }
        return try goOn()
      }
      guard .now < deadline else { throw Failure.runActive }
      // The kernel tells nobody when it releases an flock of another process.
      Self.pause()
    }
  }

  /// The same, for who holds the lock of a run. What is left then is the journal of a run that has to be ended.
  ///
  /// - Throws: what keeps it from being finished, and the way out; the next try goes on.
  func goOn() throws(Failure) {
    guard let bytes = try FileSystem.read(path) else { return }
    guard var document = try? JSON.decode(Document.self, from: bytes) else {
      throw Failure(
        .needsPerson, "What was noted of a return to the factory state cannot be read.", file: path,
        howToClear: "Remove it, and `chock recover --factory` once more.")
    }
    do throws(Failure) {
      guard document.journal.databasePath == settings.databasePath else {
        throw Failure(
          .needsPerson, "It was about another database, \(document.journal.databasePath).",
          file: path, howToClear: "Set database.path to it.")
      }
      try replaceDatabase(&document)
      try removeBesideDatabase()
      try eraseState()
      try beginState(document.journal)
      try FileSystem.remove(path)
      try FileSystem.sync(settings.stateDirectory)
    } catch {
      throw Failure(
        error.code, "The return to the factory state is not finished: \(error.message)",
        file: error.file,
        howToClear: "\(error.howToClear.map { "\($0) " } ?? "")`chock recover` goes on with it.")
    }
  }

  /// The new one takes the place of the old one, whose log and journal must not be read into it.
  private func replaceDatabase(_ document: inout Document) throws(Failure) {
    let database = settings.databasePath
    let new = Restorer.temporaryFile(beside: database, run: document.journal.run.id)
    guard FileSystem.facts(new) != nil else {
      guard isInPlace(document.journal) else {
        throw Failure(
          .needsPerson, "The new database is gone, and the old one is in its place.",
          file: new,
          howToClear: "Remove \(path), and `chock recover --factory` once more.")
      }
      return
    }
    try holdDown(&document)
    let patience = ContinuousClock.now + .seconds(5)
    // Somebody may just be looking.
    while !Openers.of(database).isEmpty, .now < patience { Self.pause() }
    try Restorer.checkCanBeReplaced(database)
    for suffix in Restorer.sidecars { try FileSystem.remove(database + suffix) }
    try FileSystem.sync(FileSystem.parent(database))
    try FileSystem.rename(new, to: database)
  }

  /// By its number, or, where somebody has copied the files, by its ledger.
  private func isInPlace(_ journal: Journal) -> Bool {
    let database = settings.databasePath
    if FileSystem.target(database)?.inode == journal.replacement { return true }
    let ledger = (try? Database.open(database)).flatMap { try? LedgerTable.read($0) }
    return ledger?.isCompleted(by: journal.run.id) ?? false
  }

  /// After a restart of the machine the application may run again, with the old database.
  private func holdDown(_ document: inout Document) throws(Failure) {
    guard settings.application.isStopped else { return }
    let control = ApplicationControl(settings: settings.application)
    let running = try control.running()
    guard !running.isEmpty else { return }
    let known = document.journal.application?.stopped ?? []
    document.journal.application = ApplicationJournal(
      stopped: settings.application.parts.filter { known.contains($0) || running.contains($0) })
    try FileSystem.replace(path, with: try JSON.encode(document, pretty: true))
    try control.stop(running, StopSignal())
  }

  /// Copies of the old database that an interruption has left.
  private func removeBesideDatabase() throws(Failure) {
    let folder = FileSystem.parent(settings.databasePath)
    let starts = [
      Restorer.temporaryFile(beside: settings.databasePath, run: ""),
      settings.databasePath + ".chock-init",
    ]
    for name in try FileSystem.names(in: folder)
    where starts.contains(where: "\(folder)/\(name)".hasPrefix) {
      try FileSystem.remove("\(folder)/\(name)")
    }
    try FileSystem.sync(folder)
  }

  private func eraseState() throws(Failure) {
    for name in StateFiles.folders {
      let folder = "\(settings.stateDirectory)/\(name)"
      // What may be mounted there is a stick of somebody.
      guard folder != settings.mountPoint else { continue }
      try FileSystem.removeAll(folder)
    }
    for name in try FileSystem.names(in: settings.stateDirectory)
    where name != Self.fileName && StateFiles.isFile(name) {
      try FileSystem.removeAll("\(settings.stateDirectory)/\(name)")
    }
    try FileSystem.sync(settings.stateDirectory)
  }

  /// A new history, whose audit says what was done, and the journal of the run that has to end.
  private func beginState(_ journal: Journal) throws(Failure) {
    let history = StateStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    try history.append(
      AuditEntry(
        .factoryState, of: settings.databasePath, accepted: journal.run.toVersion ?? "0",
        reason: "asked for twice", actor: journal.run.requestedBy ?? "unknown"))
    var journal = journal
    journal.phase = .resume
    journal.run.phase = .resume
    journal.application = ApplicationJournal(
      stopped: journal.application?.stopped ?? [],
      ending: Ending(outcome: .finished, failure: nil))
    try JournalFile(stateDirectory: settings.stateDirectory).write(journal)
  }

  private static func pause() {
    _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(50))
  }
}
