import Glibc
import Migrations
import SQLite
import Storage
import Synchronization
import TestSupport
import Testing

/// A small database under chock's care, its migrations and its folder of snapshots.
struct Workshop {
  let folder: TemporaryFolder
  let database: String
  let store: SnapshotStore

  /// Makes the database from `sql`, at version 0.
  init(
    _ sql: String = Self.coach, journalMode: String = "WAL", pageSize: Int = 4096,
    ledger: Bool = true
  ) throws {
    folder = try TemporaryFolder()
    database = folder("coach.db")
    store = SnapshotStore(stateFolder: folder("state"), chockVersion: "0.1.0")
    let key = "\(sql)|\(journalMode)|\(pageSize)|\(ledger)"
    // Made once and copied: the many syncs of making one would be most of the tests' time.
    let content = try Self.templates.withLock { templates in
      if let known = templates[key] { return known }
      let made = try Self.make(
        sql, journalMode: journalMode, pageSize: pageSize, ledger: ledger)
      templates[key] = made
      return made
    }
    try write(content, to: database)
  }

  private static let templates = Mutex<[String: [UInt8]]>([:])

  private static func make(_ sql: String, journalMode: String, pageSize: Int, ledger: Bool) throws
    -> [UInt8]
  {
    let folder = try TemporaryFolder()
    let path = folder("template.db")
    try Connection(path: path, mode: .create).execute(
      "PRAGMA page_size = \(pageSize); PRAGMA synchronous = OFF; VACUUM; \(sql)")
    if ledger {
      let first = try Migration(fileName: "1_x.sql", path: "1_x.sql", text: "SELECT 1;")
      try Creation.adopt(
        path, at: .zero, catalog: try MigrationCatalog(directory: "", migrations: [first]),
        run: "adopt", chockVersion: "0.1.0")
    }
    try Connection(path: path, mode: .readWrite).execute("PRAGMA journal_mode = \(journalMode)")
    return try #require(try FileSystem.read(path))
  }

  /// Two tables with a foreign key that cascades, and one without any.
  static let coach = """
    CREATE TABLE trips (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT;
    CREATE TABLE stops (
      id INTEGER PRIMARY KEY, trip_id INTEGER NOT NULL REFERENCES trips (id) ON DELETE CASCADE,
      place TEXT NOT NULL
    ) STRICT;
    CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT) STRICT, WITHOUT ROWID;
    INSERT INTO trips VALUES (1, 'Moab'), (2, 'Yuma'), (3, 'Taos');
    INSERT INTO stops VALUES (1, 1, 'Green River'), (2, 1, 'Arches'), (3, 2, 'Gila Bend');
    INSERT INTO settings VALUES ('unit', 'mi');
    """

  /// Enough pages for several steps of a copy.
  static let manyPages = """
    CREATE TABLE readings (id INTEGER PRIMARY KEY, value BLOB);
    CREATE TABLE marks (id INTEGER PRIMARY KEY, n INTEGER);
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000)
    INSERT INTO readings SELECT i, zeroblob(900) FROM c;
    """

  func execute(_ sql: String) throws {
    try Connection(path: database, mode: .readWrite).execute(sql)
  }

  func value(_ sql: String) throws -> String? { try SampleDatabase.value(database, sql) }

  func fingerprint() throws -> String { try SampleDatabase.fingerprint(database) }

  /// Migrations 0001, 0002 and so on.
  func catalog(_ texts: String...) throws(Failure) -> MigrationCatalog {
    var migrations: [Migration] = []
    for (index, text) in texts.enumerated() {
      migrations.append(
        try Migration(
          fileName: "000\(index + 1)_change.sql", path: "migrations/000\(index + 1)_change.sql",
          text: text))
    }
    return try MigrationCatalog(directory: "migrations", migrations: migrations)
  }

  func plan(_ catalog: MigrationCatalog) throws -> Plan {
    let ledger = try LedgerTable.read(try Database.open(database))
    return try Plan(catalog: catalog, ledger: try #require(ledger))
  }

  /// Applies one migration to the database, as a run does.
  @discardableResult
  func update(
    _ text: String, stop: StopSignal = StopSignal(), deadline: ContinuousClock.Instant? = nil,
    progress: @escaping (ApplyProgress) -> Void = { _ in }
  ) throws -> ApplyReport {
    try update(try catalog(text), stop: stop, deadline: deadline, progress: progress)
  }

  @discardableResult
  func update(
    _ catalog: MigrationCatalog, stop: StopSignal = StopSignal(),
    deadline: ContinuousClock.Instant? = nil, progress: @escaping (ApplyProgress) -> Void = { _ in }
  ) throws -> ApplyReport {
    let plan = try plan(catalog)
    let connection = try Database.openForWriting(database)
    let transaction = try Transaction.begin(connection, plan: plan)
    let report = try transaction.apply(
      plan,
      ApplyOrder(
        run: "run-1", chockVersion: "0.1.0", stop: stop, deadline: deadline, progress: progress),
      baseline: nil, rehearsal: nil, .asRun)
    try transaction.commit()
    return report
  }

  /// The failure of a migration, after a look whether it left anything behind.
  func failure(
    of text: String, stop: StopSignal = StopSignal(), deadline: ContinuousClock.Instant? = nil,
    progress: @escaping (ApplyProgress) -> Void = { _ in },
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> Failure {
    let before = try fingerprint()
    let versions = "SELECT count(*) FROM chock_migrations WHERE kind <> 'begun'"
    let ledger = try value(versions)
    let failure = try #require(throws: Failure.self, sourceLocation: sourceLocation) {
      try update(text, stop: stop, deadline: deadline, progress: progress)
    }
    #expect(try fingerprint() == before, "The content changed.", sourceLocation: sourceLocation)
    #expect(try value(versions) == ledger, sourceLocation: sourceLocation)
    return failure
  }

  @discardableResult
  func snapshot(stop: StopSignal = StopSignal()) throws -> Snapshot {
    try store.take(
      of: try Database.open(database), version: .zero, reason: .manual, run: "run-1", stop: stop,
      progress: { _, _, _ in })
  }

  func restore(_ id: String, run: String = "run-2", stop: StopSignal = StopSignal()) throws
    -> Restorer.Report
  {
    try restorer(stop: stop).restore(id, run: run, commit: { _ in })
  }

  func restorer(
    stop: StopSignal = StopSignal(),
    progress: @escaping (String, Int64, Int64) -> Void = { _, _, _ in }
  ) -> Restorer {
    Restorer(
      databasePath: database, store: store, rescueFolder: folder("state/rescue"), stop: stop,
      progress: progress)
  }

  /// The names in a folder of the workshop.
  func names(_ name: String) throws -> [String] { try FileSystem.names(in: folder(name)) }
}

extension Restorer.Report {
  var isNothing: Bool { rescueCopy == nil && setAside == nil }
}

/// Writes bytes into the middle of a file that nobody has open.
func overwrite(_ path: String, at offset: Int, with bytes: [UInt8]) throws {
  let file = open(path, O_WRONLY | O_CLOEXEC)
  try #require(file >= 0)
  defer { close(file) }
  try #require(pwrite(file, bytes, bytes.count, off_t(offset)) == bytes.count)
}

/// Copies a file byte by byte.
func copyFile(_ from: String, to path: String) throws {
  try write(try #require(try FileSystem.read(from)), to: path)
}

/// Writes a file without the syncs that a file of value needs.
func write(_ bytes: [UInt8], to path: String) throws {
  let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
  try #require(file >= 0)
  defer { close(file) }
  try #require(Glibc.write(file, bytes, bytes.count) == bytes.count)
}

/// A program that commits all the time, on a thread and a connection of its own.
final class Writer: Sendable {
  private let path: String
  private let sql: @Sendable (Int) -> String
  private let state = Mutex((acknowledged: [Int](), errors: [String](), thread: pthread_t?.none))
  private let shouldStop = Atomic(false)

  /// Each number is committed in a transaction of its own.
  init(_ path: String, _ sql: @escaping @Sendable (Int) -> String) {
    self.path = path
    self.sql = sql
    var thread = pthread_t()
    let context = Unmanaged.passRetained(self).toOpaque()
    let code = pthread_create(
      &thread, nil,
      { context in
        guard let context else { return nil }
        Unmanaged<Writer>.fromOpaque(context).takeRetainedValue().run()
        return nil
      }, context)
    if code == 0 { state.withLock { $0.thread = thread } }
  }

  private func run() {
    do {
      let connection = try Connection(path: path, mode: .readWrite, busyTimeout: 20_000)
      var number = 0
      while !shouldStop.load(ordering: .acquiring) {
        number += 1
        try connection.execute("BEGIN IMMEDIATE; \(sql(number)); COMMIT")
        state.withLock { $0.acknowledged.append(number) }
      }
    } catch {
      state.withLock { $0.errors.append("\(error)") }
    }
  }

  /// Goes on when it has committed `count` times more.
  func waitForCommits(_ count: Int) throws {
    let (start, limit) = (
      state.withLock { $0.acknowledged.count }, ContinuousClock.now + .seconds(20)
    )
    while state.withLock({ $0.acknowledged.count }) < start + count {
      try #require(state.withLock { $0.errors } == [])
      try #require(ContinuousClock.now < limit)
      sched_yield()
    }
  }

  /// Ends it; what it got an OK for, and what went wrong.
  func finish() -> (acknowledged: [Int], errors: [String]) {
    shouldStop.store(true, ordering: .releasing)
    if let thread = state.withLock({ $0.thread.take() }) { pthread_join(thread, nil) }
    return state.withLock { ($0.acknowledged, $0.errors) }
  }
}

/// A file system of a fixed size, for what happens when it is full. Only root can make one.
final class SmallFileSystem {
  let path: String
  // Kept, so that the folder is removed after the file system in it.
  private let folder: TemporaryFolder

  /// Nil where the machine does not allow it.
  init?(in folder: TemporaryFolder, kilobytes: Int) {
    self.folder = folder
    path = folder("small")
    guard mkdir(path, 0o700) == 0,
      mount("tmpfs", path, "tmpfs", 0, "size=\(kilobytes)k") == 0
    else { return nil }
  }

  deinit {
    umount2(path, Int32(MNT_DETACH))
  }

  static let isPossible: Bool = {
    guard let folder = try? TemporaryFolder() else { return false }
    return SmallFileSystem(in: folder, kilobytes: 64) != nil
  }()
}
