import FoundationEssentials
public import Migrations
public import SQLite

/// The folder of snapshots: `ID.sqlite`, described by `ID.json`.
///
/// A snapshot exists from the moment its `ID.sqlite` has its final name; whatever else lies in the
/// folder is a leftover of an interrupted run.
public struct SnapshotStore: Sendable {
  public let folder: String
  let chockVersion: String

  public init(stateFolder: String, chockVersion: String) {
    folder = stateFolder + "/snapshots"
    self.chockVersion = chockVersion
  }

  // MARK: Taking one

  /// Copies the database as `live` sees it now: backup API into a temporary file, fsync, check,
  /// fingerprint and digest, rename, fsync of the folder.
  ///
  /// A read transaction is held on `live` meanwhile, so that writes of others never restart the copy.
  /// It must not be inside a write transaction: the backup API then answers BUSY. While one is open, a
  /// second connection sees what was committed before it.
  ///
  /// - Parameter isSuspect: the last full check of the database has failed. The copy gets one, too, and its document
  ///   says what is found.
  /// - Throws: `.noSpace`, `.databaseCorrupt` (the copy failed its check), `.inputOutput`, or the
  ///   stop that was requested. No part of the copy is left then.
  public func take(
    of live: Connection, of databasePath: String? = nil, version: SchemaVersion?,
    reason: SnapshotDocument.Reason, run: String?, isSuspect: Bool = false, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> Snapshot {
    try FileSystem.makeFolder(folder)
    let id = newID(version: version)
    let partial = "\(folder)/\(id).sqlite.partial"
    do throws(Failure) {
      let (dataVersion, mode) = try copy(of: live, to: partial, stop: stop, progress: progress)
      // What is wrong with the copy is wrong with the database that it was made from.
      let checked = try check(
        partial, of: live.fileName, isSuspect: isSuspect, stop: stop, progress: progress)
      let document = SnapshotDocument(
        id: id, createdAt: try nextTime(), databasePath: databasePath ?? live.fileName,
        version: version?.description, sha256: checked.digest,
        sizeBytes: FileSystem.facts(partial)?.size ?? 0, fingerprint: checked.fingerprint.total,
        journalMode: mode, reason: reason, run: run, pinned: false,
        verifiedAt: Timestamp.now(), sqliteVersion: Connection.sqliteVersion,
        chockVersion: chockVersion, damage: checked.damage)
      try write(document)
      try FileSystem.rename(partial, to: path(id))
      return Snapshot(
        document: document, path: path(id),
        baseline: try Baseline(try Database.open(path(id)), checked.fingerprint, path: path(id)),
        dataVersion: dataVersion)
    } catch {
      Snapshot.removeDatabase(partial)
      // It may have its name already, when the folder could not be synced.
      try? FileSystem.remove(path(id))
      try? FileSystem.remove("\(folder)/\(id).json")
      throw error
    }
  }

  private func copy(
    of live: Connection, to partial: String, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> (dataVersion: Int64, journalMode: String?) {
    let source = live.fileName
    let copy = try Database.create(partial)
    // Durability comes from the fsync before the rename; until then the file is worth nothing.
    try Database.catching(partial) { () throws(SQLiteError) in
      try copy.execute("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF")
    }
    try Database.catching(source) { () throws(SQLiteError) in
      try live.execute("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")
    }
    defer { try? live.execute("ROLLBACK") }
    let facts = try Database.catching(source) { () throws(SQLiteError) in
      (try live.dataVersion(), try live.text("PRAGMA journal_mode"))
    }
    try backUp(from: live, to: copy, source: source, destination: partial, stop: stop) {
      progress("copy", $0, $1)
    }
    // The copy of a WAL database is in WAL mode itself; a snapshot is to be one file.
    try Database.catching(source) { () throws(SQLiteError) in
      try copy.execute("PRAGMA journal_mode = DELETE")
    }
    return facts
  }

  /// Syncs the copy and reads it twice at the same time: as a file, for its digest, and as a database.
  private func check(
    _ partial: String, of source: String, isSuspect: Bool, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> (fingerprint: Fingerprint, digest: String, damage: String?) {
    let ended = StopSignal()
    let digest = Background { () throws(Failure) in
      try FileSystem.sync(partial)
      return try FileSystem.sha256(of: partial) { () throws(Failure) in
        try stop.check()
        try ended.check()
      }
    }
    do throws(Failure) {
      let copy = try Database.open(partial)
      copy.interrupt { stop.requested != nil }
      progress("check", 0, 1)
      // By a connection that reads it from the file: the one that changed it says so also when it could not
      // be written.
      let mode = try Database.catching(source) { () throws(SQLiteError) in
        try copy.text("PRAGMA journal_mode")
      }
      guard mode == "delete" else {
        throw Failure(.inputOutput, "The copy could not leave WAL mode.", file: source)
      }
      try Database.check(copy, file: source, failingAs: .databaseCorrupt)
      let damage = isSuspect ? try self.damage(of: copy, stop: stop) : nil
      progress("fingerprint", 0, 1)
      let fingerprint = try Fingerprint(copy, stop: stop)
      progress("digest", 0, 1)
      let value = try digest.value()
      try stop.check()
      return (fingerprint, value, damage)
    } catch {
      ended.request(error)
      _ = try? digest.value()
      throw stop.requested ?? error
    }
  }

  private func damage(of copy: Connection, stop: StopSignal) throws(Failure) -> String? {
    do throws(Failure) {
      try Database.check(copy, .full, file: copy.fileName, failingAs: .databaseCorrupt)
      return nil
    } catch {
      try stop.check()
      guard error.code == .databaseCorrupt else { throw error }
      return error.message
    }
  }

  /// Now, but never before the newest snapshot: without a clock that runs on battery a device starts in
  /// the past, and the newest must stay the newest.
  private func nextTime() throws(Failure) -> String {
    let now = Timestamp.now()
    guard let newest = try list().first?.createdAt, newest >= now,
      let date = Timestamp.date(newest)
    else { return now }
    return Timestamp.text(date.addingTimeInterval(0.001))
  }

  /// The id says when and which version; the random end keeps two of one second apart.
  private func newID(version: SchemaVersion?) -> String {
    let stamp = Timestamp.now().prefix(19).filter { $0 != "-" && $0 != ":" }
    let version = version.map { "-v" + $0.description.map { $0 == "." ? "_" : $0 } } ?? ""
    let tail = String(UInt32.random(in: 0x1000...0xffff), radix: 16)
    return "\(stamp)Z\(version)-\(tail)"
  }

  private func path(_ id: String) -> String { "\(folder)/\(id).sqlite" }

  private func write(_ document: SnapshotDocument) throws(Failure) {
    try FileSystem.replace(
      "\(folder)/\(document.id).json", with: try JSON.encode(document, pretty: true))
  }

  // MARK: Looking at them

  /// All snapshots, newest first.
  public func list() throws(Failure) -> [SnapshotDocument] {
    var documents: [SnapshotDocument] = []
    for id in try ids() { documents.append(try document(id)) }
    return documents.sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
  }

  private func ids() throws(Failure) -> [String] {
    try FileSystem.names(in: folder)
      .filter { $0.hasSuffix(".sqlite") && FileSystem.facts("\(folder)/\($0)")?.isRegular == true }
      .map { String($0.dropLast(".sqlite".count)) }
  }

  /// The path and the description of one snapshot.
  ///
  /// - Throws: `.notFound` when no snapshot has this id; the id is looked up, never joined into a path.
  public func find(_ id: String) throws(Failure) -> (path: String, document: SnapshotDocument) {
    guard try ids().contains(id) else {
      throw Failure(
        .notFound, "There is no snapshot \(id).", file: folder,
        howToClear: "`chock snapshots list` shows the snapshots.")
    }
    return (path(id), try document(id))
  }

  /// A snapshot whose description is lost or damaged is described from what it holds.
  private func document(_ id: String) throws(Failure) -> SnapshotDocument {
    if let bytes = try FileSystem.read("\(folder)/\(id).json"),
      let document = try? JSON.decode(SnapshotDocument.self, from: bytes), document.id == id
    {
      return document
    }
    let ledger = try? LedgerTable.read(try Database.open(path(id)))
    let facts = FileSystem.facts(path(id))
    return SnapshotDocument(
      id: id, createdAt: facts?.modified ?? Timestamp.now(), databasePath: "",
      version: ledger?.current.description, sha256: nil, sizeBytes: facts?.size ?? 0,
      fingerprint: nil, journalMode: nil, reason: .manual, run: nil, pinned: false, verifiedAt: nil,
      sqliteVersion: nil, chockVersion: nil)
  }

  /// Reads the whole snapshot and compares it with its digest; where its description is lost, SQLite
  /// checks it instead.
  ///
  /// - Throws: `.snapshotDamaged` when it is not what was written.
  public func verify(_ id: String, stop: StopSignal = StopSignal()) throws(Failure)
    -> SnapshotDocument
  {
    var (path, document) = try find(id)
    let digest = try FileSystem.sha256(of: path, checking: stop.check)
    guard digest == document.sha256 ?? digest else {
      throw Failure(
        .snapshotDamaged, "Snapshot \(id) is not what was written: its digest differs.", file: path,
        howToClear: "Use another snapshot: `chock snapshots list`.")
    }
    // The same bytes as when they were checked; without a digest to compare with, checked now.
    if document.sha256 == nil {
      try Database.check(try Database.open(path), file: path, failingAs: .snapshotDamaged)
    }
    // Read again: it may have been pinned meanwhile.
    document = try find(id).document
    document.sha256 = digest
    document.verifiedAt = Timestamp.now()
    try write(document)
    return document
  }

  /// - Throws: `.snapshotDamaged` when somebody has removed it since it was taken.
  public func checkPresence(of snapshot: Snapshot) throws(Failure) {
    guard FileSystem.facts(snapshot.path)?.size == snapshot.document.sizeBytes else {
      throw Failure(
        .snapshotDamaged, "The snapshot of this run is no longer there.", file: snapshot.path)
    }
  }

  /// - Throws: `.notFound`.
  public func setPinned(_ pinned: Bool, _ id: String) throws(Failure) -> SnapshotDocument {
    var document = try find(id).document
    document.pinned = pinned
    try write(document)
    return document
  }

  // MARK: Removing

  /// - Throws: `.notAllowed` for a pinned snapshot, `.notFound`.
  ///
  /// - Parameter before: what has to come first, once nothing stands against it.
  public func delete(
    _ id: String, before: (SnapshotDocument) throws(Failure) -> Void = { _ in }
  ) throws(Failure) {
    let document = try find(id).document
    guard !document.pinned else {
      throw Failure(
        .notAllowed, "Snapshot \(id) is pinned.", howToClear: "`chock snapshots unpin \(id)` first."
      )
    }
    try before(document)
    try remove(id)
  }

  private func remove(_ id: String) throws(Failure) {
    try FileSystem.remove(path(id))
    try FileSystem.remove("\(folder)/\(id).json")
    try FileSystem.sync(folder)
  }

  /// What `prune` keeps.
  public struct Retention: Codable, Sendable, Equatable {
    public var days: Int
    /// So many of the newest are kept however old they are.
    public var keepAtLeast: Int
    /// 0: no limit. When it is exceeded the oldest go first, even those that `keepAtLeast` would keep.
    public var maxTotalBytes: Int64

    public init(days: Int, keepAtLeast: Int, maxTotalBytes: Int64) {
      self.days = days
      self.keepAtLeast = keepAtLeast
      self.maxTotalBytes = maxTotalBytes
    }
  }

  /// Removes what retention no longer wants; never the newest good snapshot, a pinned one, or `inUse`.
  ///
  /// - Returns: the ids that were removed.
  public func prune(
    _ retention: Retention, of database: String, inUse: Set<String>, now: String = Timestamp.now()
  ) throws(Failure) -> [String] {
    // Those of another database, or without a description, are nobody's to remove.
    var kept = try list().filter {
      !$0.databasePath.isEmpty && (try? $0.checkBelongs(to: database)) != nil
    }
    var removed: [String] = []
    var newestGood: String?
    func isProtected(_ document: SnapshotDocument) -> Bool {
      if document.pinned || inUse.contains(document.id) { return true }
      // Looked for by its digest, and only when something is about to go.
      newestGood = newestGood ?? kept.first { $0.isComplete && isWhole($0) }?.id
      return newestGood == nil || document.id == newestGood
    }
    let oldest = Timestamp.date(now)?.addingTimeInterval(-86_400 * Double(retention.days))
    for (index, document) in kept.enumerated().reversed() where index >= retention.keepAtLeast {
      guard let oldest, let created = Timestamp.date(document.createdAt), created < oldest,
        !isProtected(document)
      else { continue }
      try remove(document.id)
      removed.append(document.id)
      kept.remove(at: index)
    }
    while retention.maxTotalBytes > 0,
      kept.reduce(0, { $0 + $1.sizeBytes }) > retention.maxTotalBytes,
      let index = kept.lastIndex(where: { !isProtected($0) })
    {
      try remove(kept[index].id)
      removed.append(kept[index].id)
      kept.remove(at: index)
    }
    return removed
  }

  private func isWhole(_ document: SnapshotDocument) -> Bool {
    guard let sha256 = document.sha256 else { return false }
    return (try? FileSystem.sha256(of: path(document.id)) {}) == sha256
  }

  /// Removes what an interrupted run left: temporary files, and descriptions without their snapshot.
  public func removeLeftovers() throws(Failure) {
    let names = Set(try FileSystem.names(in: folder))
    for name in names {
      let isOrphan =
        name.hasSuffix(".json") && !names.contains(name.dropLast(".json".count) + ".sqlite")
      if name.contains(".partial") || name.hasSuffix("-journal") || isOrphan {
        try FileSystem.remove("\(folder)/\(name)")
      }
    }
  }
}

extension Database {
  /// Copies a database as it is now into another connection.
  public static func copy(_ path: String, into copy: Connection) throws(Failure) {
    try Database.copy(try open(path), into: copy)
  }

  /// The same, for a database that is open.
  public static func copy(_ source: Connection, into copy: Connection) throws(Failure) {
    let path = source.fileName
    try backUp(
      from: source, to: copy, source: path, destination: "a copy of \(path)", stop: StopSignal()
    ) { _, _ in }
  }
}

/// Copies all pages in steps small enough to stop in between.
///
/// - Throws: the stop that was requested, or what went wrong with either file.
func backUp(
  from source: Connection, to copy: Connection, source sourcePath: String,
  destination: String, stop: StopSignal, progress: (_ done: Int64, _ total: Int64) -> Void
) throws(Failure) {
  let backup = try Database.catching(destination) { () throws(SQLiteError) in
    try Backup(from: source, to: copy)
  }
  var waitingSince: ContinuousClock.Instant?
  while true {
    try stop.check()
    // 1,024 pages are 4 MB with the usual page size: a few hundredths of a second on an SD card.
    switch try Database.catching(
      destination,
      { () throws(SQLiteError) in
        try backup.step(pages: 1024)
      })
    {
    case .done:
      try Database.catching(destination) { () throws(SQLiteError) in try backup.finish() }
      progress(backup.total, backup.total)
      return
    case .more:
      waitingSince = nil
      progress(backup.total - backup.remaining, backup.total)
    case .busy:
      // The connection's own busy timeout has passed already; once more, then it is an error.
      guard waitingSince == nil else {
        throw Failure(
          .databaseLocked, "Another program holds a lock on \(sourcePath) or \(destination).",
          file: sourcePath, howToClear: "Stop the program that holds it, and try again.")
      }
      waitingSince = .now
    }
  }
}
