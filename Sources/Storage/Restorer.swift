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
  /// Where the files of a damaged database are kept.
  public let rescueFolder: String
  let stop: StopSignal
  let progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void

  public init(
    databasePath: String, store: SnapshotStore, rescueFolder: String, stop: StopSignal,
    progress: @escaping (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) {
    self.databasePath = databasePath
    self.store = store
    self.rescueFolder = rescueFolder
    self.stop = stop
    self.progress = progress
  }

  /// What a restore did.
  public struct Report: Sendable, Equatable {
    /// The snapshot of the newer state, kept before it was overwritten; nil when the database held
    /// the same content already or could not be read.
    public var rescueCopy: String?
    /// Where the files of a database that could not be read were moved.
    public var setAside: String?
  }

  /// Restores, and compares the result with the snapshot.
  ///
  /// - Throws: `.snapshotDamaged` before anything is touched; `.databaseLocked` when a program that
  ///   has the database open stands in the way; `.noSpace`.
  public func restore(_ id: String, run: String) throws(Failure) -> Report {
    progress("check the snapshot", 0, 1)
    _ = try store.verify(id, stop: stop)
    let (path, document) = try store.find(id)
    var report = Report()
    do throws(Failure) {
      let live = try Database.openForWriting(databasePath, busyTimeout: 30_000)
      try Database.check(live, file: databasePath, failingAs: .databaseCorrupt)
      if try pageSize(live) == pageSize(try Database.open(path)) {
        report.rescueCopy = try copyInto(live, from: path, document: document, run: run)
      } else {
        report.rescueCopy = try rescue(live, unlike: document, run: run)
        try checkNobodyHasItOpen()
        try replace(live, with: path, document: document)
      }
    } catch {
      switch error.code {
      case .databaseMissing, .databaseEmpty, .databaseCorrupt, .notADatabase:
        try checkNobodyHasItOpen()
        report.setAside = try setAside(run: run)
        try replace(nil, with: path, document: document)
      default: throw error
      }
    }
    progress("compare with the snapshot", 0, 1)
    try compare(with: path, document)
    return report
  }

  private func pageSize(_ connection: Connection) throws(Failure) -> Int64? {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.integer("PRAGMA page_size")
    }
  }

  // MARK: Into the live file

  /// Writes the snapshot through SQLite into the live file, as one transaction: readers stay
  /// connected and see it at their next transaction, and a kill leaves the newer content.
  private func copyInto(
    _ live: Connection, from path: String, document: SnapshotDocument, run: String
  ) throws(Failure) -> String? {
    let source = try Database.open(path)
    let reader = try Database.open(databasePath)
    let backup = try Database.catching(databasePath) { () throws(SQLiteError) in
      try Backup(from: source, to: live)
    }
    // The first step takes the write lock. From then on nobody can commit what the rescue copy,
    // made through a second connection, would not hold.
    guard
      try Database.catching(databasePath, { () throws(SQLiteError) in try backup.step(pages: 1) })
        != .busy
    else {
      throw Failure(
        .databaseLocked, "Another program holds a lock on \(databasePath).", file: databasePath,
        howToClear: "Stop the program that holds it, and try again.")
    }
    let rescued = try rescue(reader, unlike: document, run: run)
    while true {
      try stop.check()
      let step = try Database.catching(databasePath) { () throws(SQLiteError) in
        try backup.step(pages: 1024)
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
    return rescued
  }

  /// Keeps a copy of the newer state, unless it is the state that the snapshot holds.
  private func rescue(
    _ reader: Connection, unlike document: SnapshotDocument, run: String
  ) throws(Failure) -> String? {
    let version = try LedgerTable.read(reader)?.current
    if version?.description == document.version,
      try Fingerprint(reader, stop: stop).total == document.fingerprint
    {
      return nil
    }
    return try store.take(
      of: reader, version: version, reason: .beforeRestore, run: run, stop: stop,
      progress: { step, done, total in progress("keep the newer state: \(step)", done, total) }
    ).document.id
  }

  // MARK: In place of the file

  private static let sidecars = ["-wal", "-shm", "-journal"]

  /// Replacing the file under a program that has it open would leave that program writing to a file
  /// that no longer exists.
  private func checkNobodyHasItOpen() throws(Failure) {
    let others = Openers.of(databasePath)
    guard others.isEmpty else {
      throw Failure(
        .databaseLocked,
        "The database file has to be replaced, and \(others.joined(separator: ", ")) has it open.",
        file: databasePath, howToClear: "Stop that program, and try again.")
    }
  }

  /// Keeps the files of a database that cannot be read. The main file stays until it is replaced.
  private func setAside(run: String) throws(Failure) -> String? {
    let there = ([""] + Self.sidecars).filter { FileSystem.facts(databasePath + $0) != nil }
    guard !there.isEmpty else { return nil }
    let folder = "\(rescueFolder)/\(run)"
    try FileSystem.makeFolder(folder)
    for suffix in there {
      let copy = folder + "/damaged.sqlite" + suffix
      try FileSystem.copy(databasePath + suffix, to: copy, stop: stop)
      try FileSystem.sync(copy)
    }
    try FileSystem.sync(folder)
    return folder
  }

  private func replace(
    _ live: Connection?, with path: String, document: SnapshotDocument
  ) throws(Failure) {
    let mode = try live.map { live throws(Failure) in try leaveWAL(live) } ?? document.journalMode
    let temporary = databasePath + ".chock-restore"
    try FileSystem.copy(path, to: temporary, stop: stop)
    // The application keeps its rights on the file.
    var owner = stat()
    if stat(databasePath, &owner) == 0 || stat(FileSystem.parent(databasePath), &owner) == 0 {
      let isFile = owner.st_mode & S_IFMT == S_IFREG
      _ = chown(temporary, owner.st_uid, owner.st_gid)
      _ = chmod(temporary, isFile ? owner.st_mode & 0o7777 : 0o640)
    }
    try FileSystem.sync(temporary)
    // A log that stayed behind would be read into the new file.
    for suffix in Self.sidecars { try FileSystem.remove(databasePath + suffix) }
    try FileSystem.sync(FileSystem.parent(databasePath))
    try FileSystem.rename(temporary, to: databasePath)
    if mode == "wal" {
      let restored = try Database.openForWriting(databasePath)
      try Database.catching(databasePath) { () throws(SQLiteError) in
        try restored.execute("PRAGMA journal_mode = WAL")
      }
    }
  }

  /// Moves what the log holds into the file and removes the log; only the last user of a file can.
  private func leaveWAL(_ live: Connection) throws(Failure) -> String? {
    try Database.catching(databasePath) { () throws(SQLiteError) in
      let mode = try live.text("PRAGMA journal_mode")
      if mode == "wal" { try live.execute("PRAGMA journal_mode = DELETE") }
      return mode
    }
  }

  private func compare(with path: String, _ document: SnapshotDocument) throws(Failure) {
    let live = try Database.open(databasePath)
    let wanted =
      if let known = document.fingerprint { known } else {
        try Fingerprint(try Database.open(path), stop: stop).total
      }
    guard try Fingerprint(live, stop: stop).total == wanted else {
      throw Failure(
        .needsPerson, "The database differs from the snapshot after the restore.",
        file: databasePath,
        howToClear: "Stop the programs that write to it, and restore \(document.id) again.")
    }
  }
}
