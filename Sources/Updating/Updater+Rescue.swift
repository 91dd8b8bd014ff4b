import Coach
import Dispatch
public import Migrations
public import Storage

// What a restore takes out of the database, and how it comes in again.
extension Updater {
  /// What is in the database and not in a snapshot, counted row by row. Several who ask wait for one another, and
  /// nobody else does.
  ///
  /// - Throws: `.notFound`, `.notAllowed` for the snapshot of another database, `.runActive`, also when a run begins
  ///   meanwhile, `.timeout`, `.interrupted` when the daemon stops, and what is wrong with one of the two.
  public func losses(restoring id: String) async throws(Failure) -> LossDocument {
    try await losses(restoring: id, within: limitBesideApplication)
  }

  /// - Parameter limit: for the comparison itself; others before it are not counted.
  func losses(restoring id: String, within limit: Duration) async throws(Failure) -> LossDocument {
    guard !isShuttingDown else { throw Self.daemonStops }
    guard current == nil else { throw Failure.runActive }
    let (path, snapshot) = try store.find(id)
    try snapshot.checkBelongs(to: settings.databasePath)
    return try await limited(to: limit, Self.comparesTooLong, on: comparer) {
      [settings] stop throws(Failure) in
      try LossDocument(settings, path, snapshot, stop: stop)
    }
  }

  /// Works for somebody who asks, one after another; a run that begins, and the end of the daemon, end it.
  ///
  /// - Parameters:
  ///   - limit: for the work itself; others before it are not counted. Nil where nobody waits for it to end.
  ///   - reason: what is thrown then.
  func limited<R: Sendable>(
    to limit: Duration?, _ reason: Failure, on reader: Reader,
    _ work: @escaping @Sendable (StopSignal) throws(Failure) -> R
  ) async throws(Failure) -> R {
    let stop = StopSignal()
    comparing.append(stop)
    defer { comparing.removeAll { $0 === stop } }
    return try await reader.read {
      // On another thread: a daemon that is busy must not give it more time.
      let end = DispatchWorkItem { stop.request(reason) }
      if let limit {
        DispatchQueue(label: "limit").asyncAfter(deadline: .now() + limit.seconds, execute: end)
      }
      defer { end.cancel() }
      return Result { () throws(Failure) in try work(stop) }
    }.get()
  }

  // MARK: What rescue copies have

  public nonisolated func rescueCopies() throws(Failure) -> RescueCopiesDocument {
    try RescueCopies(settings: settings).list()
  }

  /// What a rescue copy has otherwise, and how much of it the database has not.
  ///
  /// - Throws: `.notFound`, `.notAllowed` for what is no rescue copy of this database, `.runActive`, also when a run
  ///   begins meanwhile, `.timeout`, `.interrupted` when the daemon stops, and what is wrong with a file.
  public func rescueCopy(_ id: String) async throws(Failure) -> RescueDocument {
    try checkCanCompare()
    let rescues = RescueCopies(settings: settings)
    let (_, rescue) = try rescues.find(id)
    // Beside the database it must not stand in the application's way.
    let limit = limitBesideApplication
    var document = try await limited(
      to: rescue.snapshot == nil ? limit : nil, Self.comparesTooLong, on: comparer
    ) { stop throws(Failure) in try rescues.compare(id, stop: stop) }
    do throws(Failure) {
      document.missing = try await limited(to: limit, Self.comparesTooLong, on: comparer) {
        stop throws(Failure) in try rescues.missing(of: id, stop: stop)
      }
    } catch  where error.code == .timeout {}
    return document
  }

  /// Writes what a rescue copy has otherwise as files, in a folder that the daemon keeps until the copy is deleted
  /// or another export of it is made.
  ///
  /// - Parameter person: for the audit.
  /// - Throws: as ``rescueCopy(_:)``; `.noSpace`.
  public func exportRescue(
    _ id: String, by person: String
  ) async throws(Failure) -> RescueExport.Document {
    try checkCanCompare()
    let rescues = RescueCopies(settings: settings)
    let (_, rescue) = try rescues.find(id)
    // Beside the database it must not stand in the application's way.
    let limit = rescue.snapshot == nil ? limitBesideApplication : nil
    return try await limited(to: limit, Self.comparesTooLong, on: comparer) {
      stop throws(Failure) in
      try rescues.exportForDownload(id, by: person, stop: stop)
    }
  }

  private func checkCanCompare() throws(Failure) {
    guard !isShuttingDown else { throw Self.daemonStops }
    guard current == nil else { throw Failure.runActive }
  }

  /// Outside WAL mode nobody can write while the database is read.
  private var limitBesideApplication: Duration {
    (try? Database.isInWALMode(settings.databasePath)) ?? false ? .seconds(60) : .seconds(2)
  }

  /// The path of one file of the newest export of a rescue copy.
  ///
  /// - Throws: `.notFound`; names are looked up, never joined into a path.
  public nonisolated func rescueFile(_ name: String, of id: String) throws(Failure) -> String {
    try RescueCopies(settings: settings).exportedFile(name, of: id)
  }

  private static let comparesTooLong = Failure(
    .timeout, "Comparing takes too long beside the application.",
    howToClear: "Stop the application first, or go back without the figures.")

  /// Ends the comparisons that go on, and those that wait for them.
  func endComparisons(_ reason: Failure) {
    for stop in comparing { stop.request(reason) }
  }

  /// Puts in what a rescue copy has, as far as the database can hold it.
  ///
  /// - Throws: `.consentMissing`, `.notFound`, `.notAllowed`, `.gateClosed`, `.runActive`.
  public func startRescue(
    of copy: String, _ request: Rescuer.Request, consent: Bool, isTechnician: Bool,
    requestedBy: String, key: IdempotencyKey? = nil
  ) throws(Failure) -> RunDocument {
    if let run = try started(with: key) { return run }
    try checkIdle()
    let (_, rescue) = try RescueCopies(settings: settings).find(copy)
    guard !rescue.copy.mayBeDamaged || !request.deletes else {
      throw Failure(
        .notAllowed, "What salvage has not found may be lost, not deleted.",
        howToClear: "Leave --deletions out.")
    }
    guard isTechnician else {
      throw Failure(
        .notAllowed, "Putting rows in again needs a technician.",
        howToClear: "Let a technician start it: `chock rescue apply \(copy)` on the device.")
    }
    guard consent else {
      throw Failure(
        .consentMissing, "Putting rows in again needs a person's yes.", howToClear: "Add --yes.")
    }
    judge(forTechnician: isTechnician)
    guard verdict.isSafe else { throw Failure.gates(verdict) }
    return try start(
      order(.rescue, requestedBy: requestedBy) {
        $0.snapshot = copy
        $0.rescue = request
      }, with: key)
  }

  /// Reads out of a damaged database what can still be read, into a snapshot.
  ///
  /// - Parameter run: the restore that set the damaged files aside; nil is the database itself.
  /// - Throws: `.notFound`, `.runActive`.
  public func startSalvage(
    ofFilesSetAsideBy run: String?, requestedBy: String
  ) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    if let run { _ = try RescueCopies(settings: settings).setAside(by: run) }
    return start(order(.salvage, requestedBy: requestedBy) { $0.setAsideBy = run })
  }
}
