import Glibc
import Migrations
import SQLite
import Storage
import Synchronization
import TestSupport
import Testing

/// What SQLite does not do by itself, or does otherwise than one would think, and what chock does about
/// it. Traps that belong to one type are tested beside it.
@Suite struct TrapTests {
  private static let rebuild = """
    CREATE TABLE new_trips (id INTEGER PRIMARY KEY, name TEXT NOT NULL, note TEXT) STRICT;
    INSERT INTO new_trips (id, name) SELECT id, name FROM trips;
    DROP TABLE trips;
    ALTER TABLE new_trips RENAME TO trips;
    """

  /// Applies one migration on a connection of the test's; not committed yet.
  private func applied(
    _ text: String, _ workshop: Workshop, on connection: Connection
  ) throws -> Transaction {
    let plan = try workshop.plan(try workshop.catalog(text))
    let transaction = try Transaction.begin(connection, plan: plan)
    _ = try transaction.apply(
      plan, ApplyOrder(run: "run-1", chockVersion: "0.1.0"), baseline: nil, rehearsal: nil, .asRun)
    return transaction
  }

  // MARK: Foreign keys

  /// Inside the transaction the pragma would do nothing, and the rebuild would empty the child.
  @Test("Foreign keys are off before the transaction begins, whatever the connection had")
  func foreignKeysOffInTime() throws {
    let workshop = try Workshop()
    let connection = try Database.openForWriting(workshop.database)
    try connection.execute("PRAGMA foreign_keys = ON")
    try applied(Self.rebuild, workshop, on: connection).commit()
    #expect(try workshop.value("SELECT count(*) FROM stops") == "3")
  }

  @Test("An orphan in the place of an old one is a new one: rows are compared, not their number")
  func orphanForOrphan() throws {
    let workshop = try Workshop(
      """
      CREATE TABLE trips (id INTEGER PRIMARY KEY);
      CREATE TABLE stops (id INTEGER PRIMARY KEY, trip_id INTEGER REFERENCES trips (id));
      INSERT INTO trips VALUES (1);
      INSERT INTO stops VALUES (1, 1), (2, 77);
      """)
    let failure = try workshop.failure(
      of: "UPDATE stops SET trip_id = CASE id WHEN 1 THEN 78 ELSE 1 END;")
    #expect(failure.code == .foreignKeys)
    #expect(failure.message.contains("row 1 of stops"))
  }

  // MARK: Interrupts and the commit

  /// An interrupted SELECT leaves the transaction open, an interrupted INSERT does not.
  @Test(
    "After an interrupted statement no transaction is left, and the old content is there",
    arguments: ["SELECT max(i) FROM c;", "INSERT INTO settings SELECT i, i FROM c;"])
  func interrupted(end: String) throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let connection = try Database.openForWriting(workshop.database)
    let failure = try #require(throws: Failure.self) {
      try applied(
        """
        -- Timeout: 30 ms
        UPDATE trips SET name = 'gone';
        WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) \(end)
        """, workshop, on: connection)
    }
    #expect(failure.code == .timeout)
    #expect(connection.isAutocommit)
    #expect(try workshop.fingerprint() == before)
    // The lock is free again.
    try workshop.execute("UPDATE trips SET name = 'free' WHERE id = 1")
  }

  @Test("Nothing interrupts a commit") func commitIsNotInterrupted() throws {
    let workshop = try Workshop()
    let connection = try Database.openForWriting(workshop.database)
    let transaction = try applied("UPDATE trips SET name = 'new';", workshop, on: connection)
    connection.interrupt(every: 1) { true }
    try transaction.commit()
    #expect(connection.isAutocommit)
    #expect(try workshop.value("SELECT name FROM trips WHERE id = 1") == "new")
  }

  @Test("A commit whose transaction is gone is no success") func commitOfNothing() throws {
    let workshop = try Workshop()
    let connection = try Database.openForWriting(workshop.database)
    let transaction = try applied("UPDATE trips SET name = 'new';", workshop, on: connection)
    try connection.execute("ROLLBACK")
    #expect(throws: Failure.self) { try transaction.commit() }
    #expect(try workshop.value("SELECT name FROM trips WHERE id = 1") == "Moab")
  }

  @Test("A commit that a reader stands in the way of is rolled back, and its lock is free")
  func commitBusy() throws {
    let workshop = try Workshop(journalMode: "DELETE")
    let before = try workshop.fingerprint()
    let connection = try Database.openForWriting(workshop.database, busyTimeout: 20)
    let transaction = try applied("UPDATE trips SET name = 'new';", workshop, on: connection)
    do {
      let reader = try Connection(path: workshop.database, mode: .readOnly)
      try reader.execute("BEGIN; SELECT count(*) FROM trips")
      let failure = try #require(throws: Failure.self) { try transaction.commit() }
      #expect(failure.code == .databaseLocked)
      #expect(connection.isAutocommit)
    }
    #expect(try workshop.fingerprint() == before)
    try workshop.execute("UPDATE trips SET name = 'free' WHERE id = 1")
  }

  // MARK: What lasts

  @Test("A snapshot gets its name when its content is on the disk, and then the folder is synced")
  func snapshotLasts() throws {
    let workshop = try Workshop()
    let trace = FileTrace(of: workshop.folder.path)
    let id = try workshop.snapshot().document.id
    let calls = trace.end()
    let partial = "state/snapshots/\(id).sqlite.partial"
    let rename = try #require(
      calls.lastIndex(of: "rename \(partial) state/snapshots/\(id).sqlite"))
    #expect(calls[..<rename].contains("sync \(partial)"))
    #expect(calls[rename...].contains("sync state/snapshots"))
    // The description is there before the snapshot is.
    let description = "state/snapshots/\(id).json"
    #expect(calls[..<rename].contains("rename \(description).partial \(description)"))
  }

  /// Reading every row, as the fingerprint does, reads no index.
  @Test("Damage that only SQLite's check sees gives no snapshot") func damagedIndex() throws {
    let workshop = try Workshop(
      Workshop.manyPages
        + "CREATE INDEX by_number ON marks (n) WHERE n > 0; INSERT INTO marks VALUES (1, 1);",
      journalMode: "DELETE", pageSize: 1024)
    let page = try #require(
      try workshop.value("SELECT rootpage FROM sqlite_schema WHERE name = 'by_number'").flatMap {
        Int($0)
      })
    try overwrite(workshop.database, at: (page - 1) * 1024, with: Array(repeating: 0xff, count: 64))
    let failure = try #require(throws: Failure.self) { try workshop.snapshot() }
    #expect(failure.code == .databaseCorrupt)
    #expect(try workshop.names("state/snapshots") == [])
  }

  @Test("A sync that fails is an error, also that of a folder", arguments: ["/dev/null", "/proc"])
  func syncFails(path: String) throws {
    #expect(throws: Failure.self) { try FileSystem.sync(path) }
  }

  /// FULL (2) syncs the log, and EXTRA (3) also the folder that lost the journal: one that comes back
  /// after a power cut would take the commit back (<https://sqlite.org/pragma.html#pragma_synchronous>).
  @Test(
    "A commit that is reported outlasts a power cut, whatever the connection had",
    arguments: [("WAL", 2), ("DELETE", 3)])
  func commitLasts(journalMode: String, least: Int64) throws {
    let workshop = try Workshop(journalMode: journalMode)
    let connection = try Database.openForWriting(workshop.database)
    try connection.execute("PRAGMA synchronous = OFF")
    let transaction = try applied("UPDATE trips SET name = 'new';", workshop, on: connection)
    #expect(try #require(try connection.integer("PRAGMA synchronous")) >= least)
    try transaction.commit()
  }

  /// With the old log beside it the new file would show the old rows.
  @Test("A file takes the database's place when it is on the disk and the old log is gone for good")
  func replacementLasts() throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    try workshop.folder.write("not a database, but longer than a header", to: "coach.db")
    try workshop.folder.write("a log", to: "coach.db-wal")
    let trace = FileTrace(of: workshop.folder.path)
    _ = try workshop.restore(id)
    let calls = trace.end()
    let rename = try #require(calls.firstIndex(of: "rename coach.db.chock-restore-run-2 coach.db"))
    let unlink = try #require(calls[..<rename].firstIndex(of: "unlink coach.db-wal"))
    #expect(calls[unlink..<rename].contains("sync ."))
    #expect(calls[..<rename].contains("sync coach.db.chock-restore-run-2"))
    #expect(calls[rename...].contains("sync ."))
  }

  @Test("Content is compared, not files: the header of a copy is another one") func header() throws
  {
    let workshop = try Workshop(journalMode: "DELETE")
    try workshop.execute("UPDATE trips SET name = name || '.'")
    let snapshot = try workshop.snapshot()
    let live = try #require(try FileSystem.read(workshop.database))
    let copy = try #require(try FileSystem.read(snapshot.path))
    try #require(live.count == copy.count)
    #expect(live != copy)
    #expect(Array(live[100...]) == Array(copy[100...]))
    #expect(snapshot.document.fingerprint == (try workshop.fingerprint()))
    #expect(try workshop.restore(snapshot.document.id).isNothing)
  }

  // MARK: Locks and other programs

  /// "POSIX advisory locks canceled by a separate thread doing close()": for that it takes no more than
  /// one program that reads the file by itself (<https://sqlite.org/howtocorrupt.html>).
  @Test(
    "While the write lock is held, nothing that chock does lets go of it",
    .enabled(if: Oracle.isPossible, "Needs the sqlite3 shell."), arguments: ["WAL", "DELETE"])
  func locksStay(journalMode: String) throws {
    let workshop = try Workshop(journalMode: journalMode)
    let connection = try Database.openForWriting(workshop.database)
    let transaction = try applied("UPDATE trips SET name = 'new';", workshop, on: connection)
    let oracle = Oracle(folder: workshop.folder)
    let attempt = ".timeout 0\nBEGIN IMMEDIATE;\n"
    #expect(try oracle.run(attempt, on: workshop.database).output.contains("locked"))
    let reader = try Database.open(workshop.database)
    let snapshot = try workshop.store.take(
      of: reader, version: .zero, reason: .beforeUpdate, run: nil, stop: StopSignal(),
      progress: { _, _, _ in })
    _ = try workshop.store.verify(snapshot.document.id)
    _ = try Fingerprint(reader)
    _ = try LedgerTable.read(reader)
    _ = try Database.bytes(reader)
    _ = try FileSystem.availableBytes(at: workshop.database)
    _ = Openers.of(workshop.database)
    _ = try Restorer.Mark(of: workshop.database)
    #expect(try oracle.run(attempt, on: workshop.database).output.contains("locked"))
    try transaction.commit()
    #expect(try oracle.run(attempt, on: workshop.database).code == 0)
  }

  /// WAL-reset bug of SQLite up to 3.51.2: two processes that write and checkpoint at one moment can
  /// damage the database (<https://sqlite.org/wal.html#walresetbug>).
  @Test(
    "While another program has the database open, chock leaves the log for it to move",
    .enabled(if: Oracle.isPossible, "Needs the sqlite3 shell."), arguments: ["update", "restore"])
  func noCheckpoint(during what: String) throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let id = try workshop.snapshot().document.id
    if what == "restore" {
      try workshop.execute("UPDATE readings SET value = zeroblob(800)")
    }
    let application = try Application(of: workshop.database, in: workshop.folder)
    defer { application.quit() }
    let before = try content(workshop)
    if what == "update" {
      try workshop.update("UPDATE readings SET value = zeroblob(800);")
    } else {
      _ = try workshop.restore(id)
    }
    // More than the 1,000 pages at which SQLite begins by itself.
    #expect(try #require(FileSystem.facts(workshop.database + "-wal")).size > 1100 * 1024)
    #expect(try content(workshop) == before)
  }

  /// Of the main file alone; read by another process, for the sake of the locks in this one.
  private func content(_ workshop: Workshop) throws -> String {
    let pipe = try #require(popen("sha256sum < '\(workshop.database)'", "r"))
    defer { pclose(pipe) }
    var buffer = [UInt8](repeating: 0, count: 100)
    let count = fread(&buffer, 1, buffer.count, pipe)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }

  @Test(
    "A file that another program has open is not replaced under it, and the program is named",
    .enabled(if: Oracle.isPossible, "Needs the sqlite3 shell."),
    arguments: ["damaged", "page size"])
  func openElsewhere(why: String) throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    if why == "page size" {
      try workshop.execute("PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM")
    }
    let application = try Application(of: workshop.database, in: workshop.folder)
    if why == "damaged" {
      try overwrite(workshop.database, at: 0, with: Array(repeating: 0x78, count: 4096))
    }
    let inode = FileSystem.facts(workshop.database)?.inode
    let failure = try #require(throws: Failure.self) { try workshop.restore(id) }
    #expect(failure.code == .databaseLocked)
    #expect(failure.message.contains("sqlite3 (pid "))
    #expect(FileSystem.facts(workshop.database)?.inode == inode)
    application.quit()
    _ = try workshop.restore(id)
    #expect(try workshop.value("SELECT count(*) FROM trips") == "3")
  }

  /// A restore waits half a minute for a lock.
  @Test(
    "Without WAL a reader that stays makes the restore give up, with nothing changed",
    .enabled(if: getenv("CHOCK_TORTURE") != nil, "Takes half a minute: CHOCK_TORTURE=1."))
  func readerWithoutLog() throws {
    let workshop = try Workshop(journalMode: "DELETE")
    let id = try workshop.snapshot().document.id
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer')")
    let newer = try workshop.fingerprint()
    do {
      let reader = try Connection(path: workshop.database, mode: .readOnly)
      try reader.execute("BEGIN; SELECT count(*) FROM trips")
      let failure = try #require(throws: Failure.self) { try workshop.restore(id) }
      #expect(failure.code == .databaseLocked)
    }
    #expect(try workshop.fingerprint() == newer)
    #expect(try workshop.restore(id).rescueCopy != nil)
  }

  /// A connection that crosses a fork is broken on both sides (<https://sqlite.org/howtocorrupt.html>).
  @Test("No source of chock forks: a process is spawned, and inherits no connection")
  func noFork() throws {
    let root = FileSystem.parent(FileSystem.parent(FileSystem.parent(#filePath)))
    var count = 0
    for target in try FileSystem.names(in: "\(root)/Sources") {
      for file in try FileSystem.names(in: "\(root)/Sources/\(target)")
      where file.hasSuffix(".swift") || file.hasSuffix(".c") {
        let bytes = try #require(try FileSystem.read("\(root)/Sources/\(target)/\(file)"))
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(!text.contains("fork("), "\(target)/\(file)")
        count += 1
      }
    }
    #expect(count > 20)
    #expect(FileSystem.facts("\(root)/Sources/CSQLite/rehearsal_vfs.c") != nil)
  }

  // MARK: What migration SQL may do

  @Test(
    "What lies behind a virtual table cannot be written past it",
    arguments: ["DELETE FROM notes_content;", "UPDATE notes_data SET block = x'00';"])
  func shadowTables(sql: String) throws {
    let workshop = try Workshop(
      "CREATE VIRTUAL TABLE notes USING fts5(a); INSERT INTO notes VALUES ('x');")
    #expect(try workshop.failure(of: sql).code == .statement)
  }

  // MARK: Names

  /// SQLite folds A to Z only, and compares bytes; Swift folds all letters, and compares what they mean.
  @Test(
    "Two tables whose names only Swift takes for one are two",
    arguments: [("K", "\u{212a}"), ("Öl", "öl"), ("\u{e4}", "a\u{308}")])
  func names(first: String, second: String) throws {
    for (kept, lost) in [(first, second), (second, first)] {
      let sql = [kept, lost].map { "CREATE TABLE \"\($0)\" (a); INSERT INTO \"\($0)\" VALUES (1);" }
      let failure = try Workshop(sql.joined()).failure(of: "DELETE FROM \"\(lost)\";")
      #expect(failure.code == .rowsLost)
      let workshop = try Workshop(sql.joined())
      try workshop.update("-- Expect: \"\(lost)\" rows -1\nDELETE FROM \"\(lost)\";")
      #expect(try workshop.value("SELECT count(*) FROM \"\(kept)\"") == "1")
    }
  }

  @Test(
    "An orphan is found in each of two tables whose names only Swift takes for one",
    arguments: [("K", "\u{212a}"), ("\u{e4}", "a\u{308}")])
  func namesOfChildren(first: String, second: String) throws {
    for (kept, spoiled) in [(first, second), (second, first)] {
      let sql = [kept, spoiled].map {
        "CREATE TABLE \"\($0)\" (a REFERENCES p (id)); INSERT INTO \"\($0)\" VALUES (1);"
      }
      let workshop = try Workshop(
        "CREATE TABLE p (id INTEGER PRIMARY KEY); INSERT INTO p VALUES (1);" + sql.joined())
      let failure = try workshop.failure(
        of: "UPDATE \"\(kept)\" SET a = 1; UPDATE \"\(spoiled)\" SET a = 99;")
      #expect(failure.code == .foreignKeys)
    }
  }

  @Test(
    "A table that gets another name after it was rebuilt, or that is virtual, has lost nothing",
    arguments: [
      "\(rebuild)\nALTER TABLE trips RENAME TO journeys;",
      "CREATE TABLE copy AS SELECT * FROM settings; DROP TABLE settings; ALTER TABLE copy RENAME TO settings; ALTER TABLE settings RENAME TO preferences;",
      "ALTER TABLE notes RENAME TO remarks;",
    ])
  func renamed(sql: String) throws {
    let workshop = try Workshop(
      Workshop.coach
        + "INSERT INTO stops VALUES (9, 77, 'an old orphan'); CREATE VIRTUAL TABLE notes USING fts5(a); INSERT INTO notes VALUES ('x');"
    )
    try workshop.update(sql)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "1")
  }
}

/// Another program that has a database open, with a read behind it.
private final class Application {
  private var pipe: UnsafeMutablePointer<FILE>?

  init(of path: String, in folder: TemporaryFolder) throws {
    let output = folder("application.txt")
    try FileSystem.remove(output)
    let pipe = try #require(popen("exec sqlite3 '\(path)' > '\(output)' 2>&1", "w"))
    self.pipe = pipe
    fputs("SELECT count(*) FROM sqlite_schema;\n.print ready\n", pipe)
    fflush(pipe)
    let limit = ContinuousClock.now + .seconds(20)
    while true {
      let text = String(decoding: try FileSystem.read(output) ?? [], as: UTF8.self)
      if text.contains("ready") { return }
      try #require(ContinuousClock.now < limit)
      sched_yield()
    }
  }

  func quit() {
    if let pipe { pclose(pipe) }
    pipe = nil
  }

  deinit { quit() }
}

/// What chock itself syncs, renames and removes below a folder, in order.
private final class FileTrace: Sendable {
  private static let active = Mutex<[FileTrace]>([])
  private let folder: String
  private let calls = Mutex<[String]>([])

  init(of folder: String) {
    self.folder = folder
    Self.active.withLock { $0.append(self) }
  }

  /// Paths are below the folder; the folder itself is a dot.
  func end() -> [String] {
    Self.active.withLock { $0.removeAll { $0 === self } }
    return calls.withLock { $0 }
  }

  static func note(_ call: String, _ paths: () -> [String]) {
    let traces = active.withLock { $0 }
    guard !traces.isEmpty else { return }
    let paths = paths()
    for trace in traces where paths.allSatisfy({ $0.hasPrefix(trace.folder) }) {
      let names = paths.map {
        $0 == trace.folder ? "." : String($0.dropFirst(trace.folder.count + 1))
      }
      trace.calls.withLock { $0.append(([call] + names).joined(separator: " ")) }
    }
  }

  static func path(_ descriptor: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/fd/\(descriptor)", &buffer, buffer.count)
    return String(
      decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// The function of the C library that one of those below stands in front of.
  static func original<Function>(_ name: String, as: Function.Type) -> Function? {
    // RTLD_NEXT.
    dlsym(UnsafeMutableRawPointer(bitPattern: -1), name).map {
      unsafeBitCast($0, to: Function.self)
    }
  }
}

private typealias OnDescriptor = @convention(c) (Int32) -> Int32
private typealias OnPath = @convention(c) (UnsafePointer<CChar>) -> Int32
private typealias OnPaths = @convention(c) (UnsafePointer<CChar>, UnsafePointer<CChar>) -> Int32
private let originalSync = FileTrace.original("fsync", as: OnDescriptor.self)
private let originalUnlink = FileTrace.original("unlink", as: OnPath.self)
private let originalRename = FileTrace.original("rename", as: OnPaths.self)

// The test program's own functions come before those of the C library.

@_cdecl("fsync") func tracedSync(_ file: Int32) -> Int32 {
  FileTrace.note("sync") { [FileTrace.path(file)] }
  return originalSync?(file) ?? -1
}

@_cdecl("unlink") func tracedUnlink(_ path: UnsafePointer<CChar>) -> Int32 {
  FileTrace.note("unlink") { [String(cString: path)] }
  return originalUnlink?(path) ?? -1
}

@_cdecl("rename") func tracedRename(
  _ from: UnsafePointer<CChar>, _ to: UnsafePointer<CChar>
) -> Int32 {
  FileTrace.note("rename") { [String(cString: from), String(cString: to)] }
  return originalRename?(from, to) ?? -1
}
