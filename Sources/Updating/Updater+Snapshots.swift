import Coach
public import Migrations
public import Storage

// Snapshots: taken, checked, kept, deleted, put back.
extension Updater {
  public nonisolated func snapshots() throws(Failure) -> [SnapshotDocument] { try store.list() }

  /// - Throws: `.notFound`.
  public func setPinned(_ pinned: Bool, snapshot id: String) throws(Failure) -> SnapshotDocument {
    try store.setPinned(pinned, id)
  }

  /// - Throws: `.notFound`, `.notAllowed` (it is pinned, or recovery needs it), `.runActive` (a run may be
  ///   using it).
  ///
  /// - Parameter person: for the audit.
  public func deleteSnapshot(
    _ id: String, by person: String
  ) throws(Failure) {
    try betweenRuns { () throws(Failure) in
      guard try !neededByRecovery().contains(id) else {
        throw Failure(
          .notAllowed, "Snapshot \(id) belongs to a run that was interrupted.",
          howToClear: "`chock recover` first.")
      }
      try store.delete(id) { (snapshot) throws(Failure) in
        try audit(
          .deleteSnapshot, id,
          "of version \(snapshot.version ?? "unknown"), taken \(snapshot.createdAt)", person)
      }
      try? FileSystem.removeAll(settings.rescueExportFolder(of: id))
    }
  }

  /// What the interrupted run, if there is one, may have to put back or to name.
  private func neededByRecovery() throws(Failure) -> Set<String> {
    guard let run = try journalFile.read()?.run else { return [] }
    let taken = try store.list().filter { $0.run == run.id }.map(\.id)
    return Set(taken + [run.snapshotId, run.rescueCopy].compactMap { $0 })
  }

  /// - Returns: the ids that retention removed.
  public func prune() throws(Failure) -> [String] {
    try betweenRuns { () throws(Failure) in
      try store.prune(
        settings.retention, of: settings.databasePath, inUse: try neededByRecovery())
    }
  }

  /// Does something that no run of any process may see half done.
  func betweenRuns<R>(_ body: () throws(Failure) -> R) throws(Failure) -> R {
    guard current == nil, let lock = try RunLock(folder: settings.stateDirectory) else {
      throw Failure.runActive
    }
    defer { withExtendedLifetime(lock) {} }
    return try body()
  }

  public func startSnapshot(requestedBy: String) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    guard !hasInterruptedRun() else { throw Failure.interruptedRun }
    return start(order(.snapshot, requestedBy: requestedBy))
  }

  /// - Throws: `.notFound`, `.gateClosed`, `.runActive`.
  public func startRestore(
    snapshot id: String, requestedBy: String, key: IdempotencyKey? = nil
  ) throws(Failure) -> RunDocument {
    if let run = try started(with: key) { return run }
    guard current == nil else { throw Failure.runActive }
    _ = try store.find(id)
    // What is pending is no matter of a restore.
    judge(forTechnician: true)
    guard verdict.isSafe else { throw Failure.gates(verdict) }
    return try start(
      order(.restore, requestedBy: requestedBy) { $0.snapshot = id }, with: key)
  }

  /// The snapshot whose restore undoes the newest update: an owner may put it back. Nil when something else has
  /// changed the database since, which would be undone with it, and when the snapshot is gone.
  static func undoSnapshot(_ history: StateStore, _ store: SnapshotStore) -> String? {
    guard let text = (try? history.newestChange()) ?? nil, let newest = decode(text),
      newest.kind == .update, newest.outcome == .committed, let id = newest.snapshotId,
      (try? store.find(id)) != nil
    else { return nil }
    return id
  }

  /// Whether putting this snapshot back undoes the newest update.
  public func undoesNewestUpdate(snapshot id: String) -> Bool {
    Self.undoSnapshot(history, store) == id
  }

  /// - Throws: `.notFound`, `.runActive`.
  ///
  /// - Parameter testsRestore: it is restored into a file of its own beside the database, too.
  public func startVerify(
    snapshot id: String, testsRestore: Bool = false, requestedBy: String
  ) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    _ = try store.find(id)
    return start(
      order(.verify, requestedBy: requestedBy) {
        $0.snapshot = id
        $0.testsRestore = testsRestore
      })
  }

  /// - Throws: `.runActive`.
  public func startCheck(_ kind: CheckKind, requestedBy: String) throws(Failure) -> RunDocument {
    guard current == nil else { throw Failure.runActive }
    return start(order(.check, requestedBy: requestedBy) { $0.check = kind })
  }
}
