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
    // Outside WAL mode nobody can write meanwhile.
    let isWAL = (try? Database.isInWALMode(settings.databasePath)) ?? false
    return try await losses(restoring: id, within: isWAL ? .seconds(60) : .seconds(2))
  }

  /// - Parameter limit: for the comparison itself; others before it are not counted.
  func losses(restoring id: String, within limit: Duration) async throws(Failure) -> LossDocument {
    guard !isShuttingDown else { throw Self.daemonStops }
    guard current == nil else { throw Failure.runActive }
    let (path, snapshot) = try store.find(id)
    try snapshot.checkBelongs(to: settings.databasePath)
    let stop = StopSignal()
    comparing.append(stop)
    defer { comparing.removeAll { $0 === stop } }
    return try await comparer.read { [settings] in
      // On a thread of its own: a daemon that is busy must not give it more time.
      let end = DispatchWorkItem { stop.request(Self.comparesTooLong) }
      DispatchQueue(label: "limit").asyncAfter(deadline: .now() + limit.seconds, execute: end)
      defer { end.cancel() }
      return Result { () throws(Failure) in
        try LossDocument(settings, path, snapshot, stop: stop)
      }
    }.get()
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
    guard rescue.copy.reason != .salvage || !request.deletes else {
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
