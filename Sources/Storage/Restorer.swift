public import Migrations
import SQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Puts a snapshot back in place of the database. Running it twice, or again after a kill, gives the
/// same result.
public struct Restorer {
  public let databasePath: String
  public let store: SnapshotStore
  /// Under which name the file of a damaged database is kept; its log and its journal are beside it.
  public static let damagedFile = "damaged.sqlite"
  /// Where the files of a damaged database are kept: a folder for each run.
  public let rescueFolder: String
  /// The last full check of the database has failed.
  let isSuspect: Bool
  let stop: StopSignal
  let progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  /// Called before the file is replaced, for which it has to leave WAL mode, with the mode to bring back.
  let willReplace: (_ journalMode: String?) throws(Failure) -> Void
  /// Called when the file is not replaced after all, although `commit` was called: a program has it open.
  let didNotReplace: (_ journalMode: String?) throws(Failure) -> Void

  public init(
    databasePath: String, store: SnapshotStore, rescueFolder: String, isSuspect: Bool = false,
    stop: StopSignal,
    progress: @escaping (_ step: String, _ done: Int64, _ total: Int64) -> Void,
    willReplace: @escaping (_ journalMode: String?) throws(Failure) -> Void = { _ in },
    didNotReplace: @escaping (_ journalMode: String?) throws(Failure) -> Void = { _ in }
  ) {
    self.databasePath = databasePath
    self.store = store
    self.rescueFolder = rescueFolder
    self.isSuspect = isSuspect
    self.stop = stop
    self.progress = progress
    self.willReplace = willReplace
    self.didNotReplace = didNotReplace
  }

  /// The file that is to take a place beside the database. By its run: another chock, with a state folder of its
  /// own, may be restoring the same database.
  public static func temporaryFile(beside database: String, run: String) -> String {
    "\(database).chock-restore-\(run)"
  }

  /// What a restore changes when it is committed, and rows that the application writes do not: the schema
  /// cookie, which SQLite's backup counts up, or the file itself, where it is replaced. The application
  /// counts the cookie up too when it changes its schema.
  public struct Mark: Codable, Sendable, Equatable {
    public private(set) var inode: UInt64?
    var schemaVersion: Int64?

    /// - Throws: what keeps the database from being asked, such as `.databaseLocked`; one that is missing or
    ///   damaged has no cookie.
    public init(of path: String) throws(Failure) {
      inode = FileSystem.target(path)?.inode
      do throws(Failure) {
        let live = try Database.openForWriting(path, busyTimeout: 30_000)
        // What is in the log of a damaged database stays there.
        live.keepLogOnClose()
        schemaVersion = try Database.catching(path) { () throws(SQLiteError) in
          try live.integer("PRAGMA schema_version")
        }
      } catch {
        guard error.code.isUnreadableDatabase else { throw error }
      }
    }
  }

  /// Puts back the log and the journal of a database that was set aside and then not replaced.
  ///
  /// - Parameter files: the names of what was set aside, as the report gave them.
  /// - Returns: false when the database is no longer the one that was set aside.
  /// - Throws: `.needsPerson` when what was set aside is no longer there, so that it cannot be told.
  public func bringBackSidecars(_ files: [String], run: String) throws(Failure) -> Bool {
    let main = Self.damagedFile
    let kept = "\(rescueFolder)/\(main)"
    if files.contains(main) {
      guard FileSystem.facts(kept) != nil else { throw lost(kept) }
      guard let now = FileSystem.target(databasePath), now.isRegular,
        try FileSystem.sha256(of: kept, checking: {})
          == FileSystem.sha256(of: databasePath, checking: {})
      else { return false }
    } else if FileSystem.facts(databasePath) != nil {
      // There was none.
      return false
    }
    // SQLite makes the index of the log anew. Whoever looks at the database makes an empty log.
    for suffix in ["-wal", "-journal"]
    where files.contains(main + suffix) && FileSystem.facts(databasePath + suffix)?.size ?? 0 == 0 {
      guard FileSystem.facts(kept + suffix) != nil else { throw lost(kept + suffix) }
      try checkNobodyHasItOpen()
      let temporary = Self.temporaryFile(beside: databasePath, run: run)
      try FileSystem.copy(kept + suffix, to: temporary, stop: StopSignal())
      try FileSystem.sync(temporary)
      try FileSystem.rename(temporary, to: databasePath + suffix)
    }
    return true
  }

  private func lost(_ path: String) -> Failure {
    Failure(
      .needsPerson,
      "The restore was interrupted in its commit, and what it had set aside is gone: it cannot be told whether the database is the snapshot or what was there before.",
      file: path,
      howToClear:
        "Look at the database; `chock recover --discard` leaves it as it is, `chock restore` puts a snapshot back."
    )
  }

  /// Brings back how the application keeps its journal: replacing the file has to leave WAL mode first.
  ///
  /// - Parameter mode: what `willReplace` was told; nil: it never left its mode.
  public static func bringBack(mode: String?, of path: String) throws(Failure) {
    guard mode == "wal" else { return }
    let live = try Database.openForWriting(path, busyTimeout: 30_000)
    let now = try Database.catching(path) { () throws(SQLiteError) in
      // Run to its end: the pragma answers before it commits.
      try live.execute("PRAGMA journal_mode = WAL")
      return try live.text("PRAGMA journal_mode")
    }
    guard now == "wal" else {
      throw Failure(
        .databaseLocked, "The database could not be brought back into WAL mode.", file: path,
        howToClear: "Stop the programs that have it open, and `chock recover`.")
    }
    // What leaving WAL mode may have left, and nobody reads: if it had to be played back, opening did.
    if Openers.of(path).isEmpty { try FileSystem.remove(path + "-journal") }
  }

  /// What a restore did.
  public struct Report: Sendable, Equatable {
    /// The snapshot of the newer state, kept before it was overwritten; nil when the database held
    /// the same content already or could not be read.
    public var rescueCopy: String?
    /// Where the files of a database that could not be read were moved.
    public var setAside: String?
    /// The names of the files in it; where the main file was missing, those beside it.
    public var setAsideFiles: [String]?
    /// The number of the file that takes the database's place, where it is replaced.
    public var replacement: UInt64?
    /// What went wrong all the same.
    public var warnings: [Failure] = []

    public init() {}
  }

  /// Restores, and compares the result with the snapshot.
  ///
  /// - Parameter commit: called right before the change becomes durable, with what was kept of the
  ///   newer state. When it throws, nothing is changed; after it, nothing is stopped any more.
  /// - Throws: `.needsPerson` when the result differs from the snapshot; `.snapshotDamaged` before anything is touched; `.databaseLocked` when a program that
  ///   has the database open stands in the way; `.noSpace`.
  @discardableResult
  public func restore(
    _ id: String, run: String, commit: (Report) throws(Failure) -> Void
  ) throws(Failure) -> Report {
    progress("check the snapshot", 0, 1)
    _ = try store.verify(id, stop: stop)
    let (path, document) = try store.find(id)
    var report = Report()
    var witness: Witness?
    // Without WAL it holds all locks until it is compared: nobody can write in between.
    var holder: Connection?
    do throws(Failure) {
      let live = try Database.openForWriting(databasePath, busyTimeout: 30_000)
      // If it turns out to be damaged, its files are kept as they are, the log included.
      live.keepLogOnClose()
      if try pageSize(live) == pageSize(try Database.open(path)) {
        witness = try copyInto(live, from: path) { reader throws(Failure) in
          report.rescueCopy = try rescue(reader, unlike: document, run: run)
        } commit: { () throws(Failure) in
          try commit(report)
        }
        if witness == nil { holder = live }
      } else {
        try checkCanBeReplaced()
        let mode = try Database.catching(databasePath) { () throws(SQLiteError) in
          try live.text("PRAGMA journal_mode")
        }
        try willReplace(mode)
        if mode == "wal" { try leaveWAL(live) }
        do throws(Failure) {
          try holdAlone(live)
          report.rescueCopy = try rescue(live, unlike: document, run: run)
          report.warnings = try replace(place(), keeping: mode, with: path, run: run) {
            inode throws(Failure) in
            report.replacement = inode
            try commit(report)
          }
          try Self.bringBack(mode: mode, of: databasePath)
        } catch {
          try? live.execute("PRAGMA locking_mode = NORMAL")
          throw error
        }
      }
    } catch {
      guard error.code.isUnreadableDatabase else { throw error }
      try checkCanBeReplaced()
      let before = place()
      let files = try setAside()
      report.setAside = files.isEmpty ? nil : rescueFolder
      report.setAsideFiles = files.isEmpty ? nil : files
      report.warnings = try replace(before, keeping: nil, with: path, run: run) {
        inode throws(Failure) in
        try willReplace(document.journalMode)
        report.replacement = inode
        do throws(Failure) {
          try commit(report)
        } catch {
          // There is no mode to bring back in a database that is damaged.
          try didNotReplace(nil)
          throw error
        }
      }
      try Self.bringBack(mode: document.journalMode, of: databasePath)
    }
    progress("compare with the snapshot", 0, 1)
    let restored = if let holder { holder } else { try Database.open(databasePath) }
    try compare(restored, with: path, document, witness)
    return report
  }

  /// Tells whether anybody else has committed since the restore began to write.
  private struct Witness {
    var connection: Connection
    var dataVersion: Int64

    func sawOthers() throws(Failure) -> Bool {
      try Database.catching(connection.fileName) { () throws(SQLiteError) in
        try connection.dataVersion() != dataVersion
      }
    }
  }

  private func pageSize(_ connection: Connection) throws(Failure) -> Int64? {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.integer("PRAGMA page_size")
    }
  }

  // MARK: Into the live file

  private static let pagesPerStep: Int64 = 1024

  /// Writes the snapshot through SQLite into the live file, as one transaction: readers stay
  /// connected and see it at their next transaction, and a kill leaves the newer content.
  private func copyInto(
    _ live: Connection, from path: String, rescue: (Connection) throws(Failure) -> Void,
    commit: () throws(Failure) -> Void
  ) throws(Failure) -> Witness? {
    let source = try Database.open(path)
    let isWAL = try Database.catching(databasePath) { () throws(SQLiteError) in
      try live.text("PRAGMA journal_mode") == "wal"
    }
    // With a rollback journal a lock against writers shuts out readers too, also the one that makes
    // the rescue copy.
    if !isWAL {
      try holdAlone(live)
      try rescue(live)
    }
    let dataVersion = try Database.catching(databasePath) { () throws(SQLiteError) in
      try live.dataVersion()
    }
    let backup = try Database.catching(databasePath) { () throws(SQLiteError) in
      try Backup(from: source, to: live)
    }
    // A step of no pages takes the write lock. From then on nobody can commit what the rescue copy,
    // made through a second connection, would not hold.
    guard
      try Database.catching(databasePath, { () throws(SQLiteError) in try backup.step(pages: 0) })
        != .busy
    else {
      throw Failure(
        .databaseLocked, "Another program holds a lock on \(databasePath).", file: databasePath,
        howToClear: "Stop the program that holds it, and try again.")
    }
    if isWAL { try rescue(try Database.open(databasePath)) }
    while true {
      try stop.check()
      // The step that copies the last page also commits.
      if backup.remaining <= Self.pagesPerStep { try commit() }
      let step = try Database.catching(databasePath) { () throws(SQLiteError) in
        try backup.step(pages: Int32(Self.pagesPerStep))
      }
      progress("put back", backup.total - backup.remaining, backup.total)
      guard step == .more else {
        guard step == .done else {
          throw Failure(.databaseLocked, "\(databasePath) became locked.", file: databasePath)
        }
        break
      }
    }
    try Database.catching(databasePath) { () throws(SQLiteError) in try backup.finish() }
    // Without WAL the connection keeps its locks until it closes.
    return isWAL ? Witness(connection: live, dataVersion: dataVersion) : nil
  }

  /// Keeps a copy of the newer state, unless it is the state that the snapshot holds.
  private func rescue(
    _ reader: Connection, unlike document: SnapshotDocument, run: String
  ) throws(Failure) -> String? {
    let version = try LedgerTable.read(reader)?.current
    // A database that is damaged fails its check here.
    let copy = try store.take(
      of: reader, version: version, reason: .beforeRestore, run: run, isSuspect: isSuspect,
      stop: stop,
      progress: { step, done, total in progress("keep the newer state: \(step)", done, total) }
    ).document
    // The ledger is no part of the fingerprint.
    guard copy.version == document.version, copy.fingerprint == document.knownFingerprint else {
      return copy.id
    }
    try store.delete(copy.id)
    return nil
  }

  // MARK: In place of the file

  public static let sidecars = ["-wal", "-shm", "-journal"]

  private func checkCanBeReplaced() throws(Failure) { try Self.checkCanBeReplaced(databasePath) }

  private func checkNobodyHasItOpen() throws(Failure) { try Self.checkNobodyHasOpen(databasePath) }

  /// Whether another file can take a database's place.
  ///
  /// - Throws: `.notAllowed` for a mount of its own, `.databaseLocked` while a program has it open.
  public static func checkCanBeReplaced(_ path: String) throws(Failure) {
    guard !FileSystem.isMountPoint(path) else {
      throw Failure(
        .notAllowed,
        "The database file has to be replaced, and it is a mount of its own, which nothing can take the place of.",
        file: path,
        howToClear: "Mount the folder that holds the database, not the file alone, and try again.")
    }
    try checkNobodyHasOpen(path)
  }

  /// Replacing the file under a program that has it open would leave that program writing to a file
  /// that no longer exists.
  private static func checkNobodyHasOpen(_ path: String) throws(Failure) {
    let others = Openers.of(path)
    guard others.isEmpty else {
      throw Failure(
        .databaseLocked,
        "The database file has to be replaced, and \(others.map(\.description).joined(separator: ", ")) has it open.",
        file: path, howToClear: "Stop that program, and try again.")
    }
  }

  /// Gives a file the owner and the rights of the database whose place it takes, or of the folder.
  public static func takeRights(of path: String, for temporary: String) {
    var owner = stat()
    guard stat(path, &owner) == 0 || stat(FileSystem.parent(path), &owner) == 0 else { return }
    let isFile = owner.st_mode & S_IFMT == S_IFREG
    _ = chown(temporary, owner.st_uid, owner.st_gid)
    _ = chmod(temporary, isFile ? owner.st_mode & 0o7777 : 0o640)
  }

  /// Keeps the files of a database that cannot be read. The main file stays until it is replaced.
  ///
  /// - Returns: their names in the rescue folder.
  private func setAside() throws(Failure) -> [String] {
    let there = ([""] + Self.sidecars).filter { FileSystem.facts(databasePath + $0) != nil }
    guard !there.isEmpty else { return [] }
    try FileSystem.makeFolder(rescueFolder)
    for suffix in there {
      let copy = "\(rescueFolder)/\(Self.damagedFile)\(suffix)"
      try FileSystem.copy(databasePath + suffix, to: copy, stop: stop)
      try FileSystem.sync(copy)
    }
    try FileSystem.sync(rescueFolder)
    return there.map { Self.damagedFile + $0 }
  }

  /// What is in the place of the database: its file, its log and its journal. Whoever looks at it makes an
  /// empty log.
  private func place() -> [FileSystem.Facts?] {
    [FileSystem.target(databasePath)]
      + ["-wal", "-journal"].map { suffix in
        FileSystem.facts(databasePath + suffix).flatMap { $0.size == 0 ? nil : $0 }
      }
  }

  /// A program that opened the database after it was first looked for would lose what it writes.
  private func check(isStill before: [FileSystem.Facts?]) throws(Failure) {
    let programs = Openers.programs(of: databasePath)
    guard programs.isEmpty, place() == before else { throw inUse(programs) }
  }

  private func inUse(_ programs: [Opener]) -> Failure {
    Failure(
      .databaseLocked,
      programs.isEmpty
        ? "The database file has to be replaced, and a program has written to it meanwhile."
        : "The database file has to be replaced, and \(programs.map(\.description).joined(separator: ", ")) has opened it meanwhile.",
      file: databasePath, howToClear: "Stop that program, and try again.")
  }

  /// - Parameters:
  ///   - before: what has to be in the place until the file is replaced.
  ///   - mode: how the application keeps its journal, if the database has left that mode.
  /// - Returns: what a person has to know.
  private func replace(
    _ before: [FileSystem.Facts?], keeping mode: String?, with path: String, run: String,
    commit: (_ inode: UInt64?) throws(Failure) -> Void
  ) throws(Failure) -> [Failure] {
    let temporary = Self.temporaryFile(beside: databasePath, run: run)
    try FileSystem.copy(path, to: temporary, stop: stop)
    do throws(Failure) {
      // The application keeps its rights on the file.
      Self.takeRights(of: databasePath, for: temporary)
      try FileSystem.sync(temporary)
      try check(isStill: before)
      try commit(FileSystem.facts(temporary)?.inode)
      do throws(Failure) {
        try check(isStill: before)
      } catch {
        try didNotReplace(mode)
        throw error
      }
    } catch {
      try? FileSystem.remove(temporary)
      throw error
    }
    // A log that stayed behind would be read into the new file.
    for suffix in Self.sidecars { try FileSystem.remove(databasePath + suffix) }
    try FileSystem.sync(FileSystem.parent(databasePath))
    guard let old = before[0] else {
      do throws(Failure) {
        try FileSystem.rename(temporary, toFree: databasePath)
      } catch {
        // One that is ours is what recovery makes of it; and what was set aside is in nobody's place.
        guard before.allSatisfy({ $0 == nil }), let there = FileSystem.target(databasePath),
          let ours = FileSystem.facts(temporary), ours.inode != there.inode
        else { throw error }
        try didNotReplace(nil)
        try? FileSystem.remove(temporary)
        throw inUse(Openers.programs(of: databasePath))
      }
      return []
    }
    try FileSystem.rename(temporary, to: databasePath)
    // Between the last look and the rename.
    return Openers.programs(holding: old).map {
      Failure(
        .databaseLocked,
        "\($0) has opened the database while it was replaced: what it writes goes to a file that is gone.",
        file: databasePath, howToClear: "Stop it, and start it again.")
    }
  }

  /// Takes all locks of a database that is not in WAL mode, and keeps them until the connection closes.
  private func holdAlone(_ live: Connection) throws(Failure) {
    try Database.catching(databasePath) { () throws(SQLiteError) in
      try live.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; COMMIT")
    }
  }

  /// Moves what the log holds into the file and removes the log; only the last user of a file can.
  private func leaveWAL(_ live: Connection) throws(Failure) {
    try Database.catching(databasePath) { () throws(SQLiteError) in
      try live.execute("PRAGMA journal_mode = DELETE")
    }
  }

  private func compare(
    _ live: Connection, with path: String, _ document: SnapshotDocument, _ witness: Witness?
  ) throws(Failure) {
    let wanted =
      if let known = document.knownFingerprint { known } else {
        try Fingerprint(try Database.open(path)).total
      }
    if try Fingerprint(live).total == wanted { return }
    // A program that stayed connected may write again from the commit on: then only SQLite's own
    // check is left.
    if let witness, try witness.sawOthers() {
      try Database.check(live, file: databasePath, failingAs: .needsPerson)
    } else {
      throw Failure(
        .needsPerson, "The database differs from the snapshot after the restore.",
        file: databasePath,
        howToClear: "Stop the programs that write to it, and restore \(document.id) again.")
    }
  }
}
