import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct RestoreTests {
  @Test(
    "A restore brings the content back, and keeps the newer state in a rescue copy",
    arguments: ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
  func newerState(journalMode: String) throws {
    let workshop = try Workshop(journalMode: journalMode)
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer')")
    let newer = try workshop.fingerprint()
    let report = try workshop.restore(id)
    #expect(try workshop.fingerprint() == before)
    let rescue = try workshop.store.find(try #require(report.rescueCopy))
    #expect(try SampleDatabase.fingerprint(rescue.path) == newer)
    #expect(rescue.document.reason == .beforeRestore)
    #expect(report.setAside == nil)
    // Only WAL and "not WAL" are kept in the file.
    #expect(
      try workshop.value("PRAGMA journal_mode") == (journalMode == "WAL" ? "wal" : "delete"))
    #expect(try workshop.restore(try #require(report.rescueCopy)).rescueCopy != nil)
    #expect(try workshop.fingerprint() == newer)
  }

  @Test("A reader stays connected, and sees the old content at its next transaction")
  func reader() throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer'); CREATE TABLE extra (a)")
    let reader = try Connection(path: workshop.database, mode: .readOnly)
    try reader.execute("BEGIN")
    #expect(try reader.integer("SELECT count(*) FROM trips") == 4)
    _ = try workshop.restore(id)
    #expect(try reader.integer("SELECT count(*) FROM trips") == 4)
    try reader.execute("COMMIT")
    #expect(try reader.integer("SELECT count(*) FROM trips") == 3)
    #expect(throws: SQLiteError.self) { try reader.integer("SELECT count(*) FROM extra") }
    #expect(FileSystem.facts(workshop.database)?.inode != nil)
  }

  @Test("Restored twice gives the same, and no second rescue copy") func twice() throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    try workshop.execute("DELETE FROM stops")
    #expect(try workshop.restore(id).rescueCopy != nil)
    let once = try workshop.fingerprint()
    #expect(try workshop.restore(id, run: "run-3").isNothing)
    #expect(try workshop.fingerprint() == once)
    #expect(try workshop.store.list().count == 2)
  }

  @Test("The ledger goes back with the data that it describes") func ledger() throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    try workshop.update("INSERT INTO trips VALUES (4, 'Bend');")
    // The content alone is as before; the ledger is not.
    try workshop.execute("DELETE FROM trips WHERE id = 4")
    let report = try workshop.restore(id)
    #expect(try workshop.value("SELECT count(*) FROM chock_migrations") == "0")
    let rescue = try workshop.store.find(try #require(report.rescueCopy))
    #expect(rescue.document.version == "1")
  }

  private static let garbage = String(repeating: "This is not a database. ", count: 400)

  @Test(
    "A damaged database is set aside and replaced",
    arguments: ["missing", "empty", "garbage", "truncated", "corrupt"])
  func damaged(how: String) throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    switch how {
    case "missing": try FileSystem.remove(workshop.database)
    case "empty": try workshop.folder.write("", to: "coach.db")
    case "garbage": try workshop.folder.write(Self.garbage, to: "coach.db")
    case "truncated": try #require(truncate(workshop.database, 6000) == 0)
    default: try overwrite(workshop.database, at: 4096, with: Array(repeating: 0xff, count: 8192))
    }
    let damaged = try FileSystem.read(workshop.database)
    let report = try workshop.restore(id)
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.value("PRAGMA journal_mode") == "wal")
    #expect(report.rescueCopy == nil)
    if let damaged {
      let folder = try #require(report.setAside)
      #expect(folder == workshop.folder("state/rescue"))
      #expect(try FileSystem.read(folder + "/damaged.sqlite") == damaged)
    }
    #expect(try workshop.names(".").filter { $0.contains("chock-restore") } == [])
    #expect(try workshop.restore(id, run: "run-3").isNothing)
  }

  @Test("The log of a file that is no database any more is set aside as it was") func keptLog()
    throws
  {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    do {
      let writer = try Connection(path: workshop.database, mode: .readWrite)
      writer.keepLogOnClose()
      try writer.execute(
        "PRAGMA wal_autocheckpoint = 0; INSERT INTO trips VALUES (66, 'only in the log')")
    }
    let log = try #require(try FileSystem.read(workshop.database + "-wal"))
    try overwrite(workshop.database, at: 0, with: Array("This is not a database".utf8))
    #expect(throws: Failure.self) { try Database.openForWriting(workshop.database) }
    #expect(try FileSystem.read(workshop.database + "-wal") == log)
    let folder = try #require(try workshop.restore(id).setAside)
    #expect(try FileSystem.read(folder + "/damaged.sqlite-wal") == log)
  }

  @Test("A log that stayed behind does not bring old rows back") func staleLog() throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    do {
      // The files as a crash leaves them: rows in the log, and a main file that is damaged.
      let writer = try Connection(path: workshop.database, mode: .readWrite)
      try writer.execute("PRAGMA wal_autocheckpoint = 0; INSERT INTO trips VALUES (66, 'stale')")
      try copyFile(workshop.database + "-wal", to: workshop.folder("log"))
    }
    try workshop.folder.write(Self.garbage, to: "coach.db")
    try copyFile(workshop.folder("log"), to: workshop.database + "-wal")
    let report = try workshop.restore(id)
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.value("SELECT count(*) FROM trips WHERE id = 66") == "0")
    let kept = try FileSystem.names(in: try #require(report.setAside))
    #expect(kept.contains("damaged.sqlite"))
  }

  @Test("A log without its database does not bring old rows back") func logAlone() throws {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    do {
      let writer = try Connection(path: workshop.database, mode: .readWrite)
      try writer.execute("PRAGMA wal_autocheckpoint = 0; INSERT INTO trips VALUES (66, 'stale')")
      try copyFile(workshop.database + "-wal", to: workshop.folder("log"))
    }
    try FileSystem.remove(workshop.database)
    try copyFile(workshop.folder("log"), to: workshop.database + "-wal")
    #expect(try workshop.restore(id).setAside != nil)
    #expect(try workshop.fingerprint() == before)
  }

  @Test(
    "A database with another page size is replaced, in its journal mode",
    arguments: ["WAL", "DELETE"])
  func pageSize(journalMode: String) throws {
    let workshop = try Workshop(journalMode: journalMode)
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    try workshop.execute(
      "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; INSERT INTO trips VALUES (4, 'x')"
    )
    try workshop.execute("PRAGMA journal_mode = \(journalMode)")
    try #require(try workshop.value("PRAGMA page_size") == "1024")
    try #require(chmod(workshop.database, 0o640) == 0)
    let report = try workshop.restore(id)
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.value("PRAGMA journal_mode") == journalMode.lowercased())
    let rescue = try workshop.store.find(try #require(report.rescueCopy))
    #expect(try SampleDatabase.value(rescue.path, "SELECT count(*) FROM trips") == "4")
    var info = stat()
    #expect(stat(workshop.database, &info) == 0 && info.st_mode & 0o777 == 0o640)
    #expect(try workshop.restore(id, run: "run-3").isNothing)
  }

  @Test(
    "What is newer is kept, be it only a trigger or a number in the header",
    arguments: [
      "CREATE TRIGGER r AFTER INSERT ON TRIPS BEGIN SELECT 1; END", "PRAGMA user_version = 7",
    ])
  func smallDifference(change: String) throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    try workshop.execute(change)
    let newer = try workshop.fingerprint()
    let rescue = try workshop.store.find(try #require(try workshop.restore(id).rescueCopy))
    #expect(try SampleDatabase.fingerprint(rescue.path) == newer)
  }

  @Test("A damaged snapshot is refused before anything is touched") func damagedSnapshot() throws {
    let workshop = try Workshop()
    let snapshot = try workshop.snapshot()
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer')")
    let before = try workshop.fingerprint()
    try overwrite(snapshot.path, at: 5000, with: [1, 2, 3])
    let failure = try #require(throws: Failure.self) {
      try workshop.restore(snapshot.document.id)
    }
    #expect(failure.code == .snapshotDamaged)
    #expect(try workshop.fingerprint() == before)
    #expect(try workshop.store.list().count == 1)
    #expect(try workshop.names("state") == ["snapshots"])
  }

  @Test("A snapshot that lost its description is restored all the same") func withoutDescription()
    throws
  {
    let workshop = try Workshop()
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer')")
    try FileSystem.remove(workshop.folder("state/snapshots/\(id).json"))
    #expect(try workshop.restore(id).rescueCopy != nil)
    #expect(try workshop.fingerprint() == before)
  }

  @Test(
    "A restore that is stopped leaves the newer content as it was", arguments: ["keep", "put back"])
  func stopped(at step: String) throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let id = try workshop.snapshot().document.id
    try workshop.execute("UPDATE readings SET value = 1 WHERE id = 7")
    let newer = try workshop.fingerprint()
    let stop = StopSignal()
    let restorer = workshop.restorer(stop: stop) { at, _, _ in
      if at.hasPrefix(step) { stop.request(Failure(.stopped, "Enough.")) }
    }
    #expect(throws: Failure(.stopped, "Enough.")) {
      try restorer.restore(id, run: "run-2", commit: { _ in })
    }
    #expect(try workshop.fingerprint() == newer)
    #expect(try workshop.value("PRAGMA journal_mode") == "wal")
    #expect(try workshop.restore(id).rescueCopy != nil)
  }

  @Test(
    "What a program that commits all the time got an OK for is in the rescue copy or the database")
  func busyWriter() throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let id = try workshop.snapshot().document.id
    let writer = Writer(workshop.database) { "INSERT INTO marks (n) VALUES (\($0))" }
    try writer.waitForCommits(3)
    let restorer = workshop.restorer { step, _, _ in
      // Others may write again as soon as the content is back.
      if step.hasPrefix("compare") { try? writer.waitForCommits(1) }
    }
    let result = Result { try restorer.restore(id, run: "run-2", commit: { _ in }) }
    try writer.waitForCommits(3)
    let (acknowledged, errors) = writer.finish()
    #expect(errors == [])
    let report = try result.get()
    let rescue = try workshop.store.find(try #require(report.rescueCopy))
    let kept = try numbers(rescue.path).union(try numbers(workshop.database))
    #expect(Set(acknowledged).subtracting(kept).isEmpty)
    // It is the snapshot's content, and what was written since.
    #expect(try workshop.value("SELECT min(n) > 1 FROM marks") == "1")
  }

  @Test("Without WAL nobody writes before it is compared", arguments: ["DELETE", "TRUNCATE"])
  func comparedUnderLock(journalMode: String) throws {
    let workshop = try Workshop(journalMode: journalMode)
    let before = try workshop.fingerprint()
    let id = try workshop.snapshot().document.id
    try workshop.execute("INSERT INTO trips VALUES (4, 'newer')")
    var isCompared = false
    let restorer = workshop.restorer { step, _, _ in
      guard step.hasPrefix("compare") else { return }
      isCompared = true
      let other = try? Connection(path: workshop.database, mode: .readWrite, busyTimeout: 0)
      try? other?.execute("INSERT INTO trips VALUES (5, 'too early')")
    }
    _ = try restorer.restore(id, run: "run-2") { _ in }
    #expect(isCompared)
    #expect(try workshop.fingerprint() == before)
    try workshop.execute("INSERT INTO trips VALUES (5, 'after it')")
  }

  private func numbers(_ path: String) throws -> Set<Int> {
    let statement = try Database.open(path).prepare("SELECT n FROM marks")
    var found: Set<Int> = []
    while try statement.step() { found.insert(Int(statement.integer(0))) }
    return found
  }

  @Test(
    "A restore for which the space runs out leaves the newer content as it was",
    .enabled(if: SmallFileSystem.isPossible, "Only root can make a small file system."))
  func noSpace() throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let small = try #require(SmallFileSystem(in: workshop.folder, kilobytes: 6500))
    let id = try workshop.snapshot().document.id
    let path = small.path + "/coach.db"
    try copyFile(workshop.database, to: path)
    try Connection(path: path, mode: .readWrite).execute(
      "UPDATE readings SET value = zeroblob(901) WHERE id < 100")
    let newer = try SampleDatabase.fingerprint(path)
    let restorer = Restorer(
      databasePath: path, store: workshop.store, rescueFolder: workshop.folder("state/rescue"),
      stop: StopSignal(), progress: { _, _, _ in })
    let failure = try #require(throws: Failure.self) {
      try restorer.restore(id, run: "run-2", commit: { _ in })
    }
    #expect(failure.code == .noSpace)
    #expect(try SampleDatabase.fingerprint(path) == newer)
  }
}
