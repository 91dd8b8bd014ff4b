import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct SnapshotTests {
  @Test("A snapshot holds what is still in the write-ahead log") func copiesTheLog() throws {
    let workshop = try Workshop()
    let writer = try Connection(path: workshop.database, mode: .readWrite)
    try writer.execute("PRAGMA wal_autocheckpoint = 0; INSERT INTO trips VALUES (9, 'Ajo')")
    let snapshot = try workshop.snapshot()
    #expect(try SampleDatabase.value(snapshot.path, "SELECT name FROM trips WHERE id = 9") == "Ajo")
    #expect(try SampleDatabase.fingerprint(snapshot.path) == workshop.fingerprint())
  }

  @Test("A snapshot of a WAL database is one file that needs no other") func oneFile() throws {
    let workshop = try Workshop()
    let snapshot = try workshop.snapshot()
    let id = snapshot.document.id
    #expect(try workshop.names("state/snapshots") == ["\(id).json", "\(id).sqlite"])
    #expect(try SampleDatabase.value(snapshot.path, "PRAGMA journal_mode") == "delete")
    #expect(try workshop.names("state/snapshots") == ["\(id).json", "\(id).sqlite"])
  }

  @Test("A write between any two steps does not restart the copy") func neverRestarted() throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let writer = try Connection(path: workshop.database, mode: .readWrite)
    var steps: [Int64] = []
    var total: Int64 = 0
    let snapshot = try workshop.store.take(
      of: try Database.open(workshop.database), version: nil, reason: .manual, run: nil,
      stop: StopSignal()
    ) { step, done, all in
      guard step == "copy" else { return }
      steps.append(done)
      total = all
      try? writer.execute(
        "UPDATE readings SET value = zeroblob(901) WHERE id % 50 = \(steps.count)")
    }
    #expect(total > 4000)
    #expect(steps == [1024, 2048, 3072, 4096, total].filter { $0 <= total })
    let seen = "SELECT count(*) FROM readings WHERE length(value) > 900"
    #expect(try SampleDatabase.value(snapshot.path, seen) == "0")
    #expect(try workshop.value(seen) != "0")
  }

  @Test("A program that commits all the time neither restarts nor tears the copy")
  func busyWriter() throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let writer = Writer(workshop.database) {
      "INSERT INTO marks (n) VALUES (\($0)); UPDATE readings SET value = \($0) WHERE id = 4000"
    }
    try writer.waitForCommits(3)
    var steps: [Int64] = []
    let snapshot = try workshop.store.take(
      of: try Database.open(workshop.database), version: nil, reason: .manual, run: nil,
      stop: StopSignal()
    ) { step, done, _ in
      if step == "copy" { steps.append(done) }
      try? writer.waitForCommits(1)
    }
    #expect(writer.finish().errors == [])
    #expect(steps == steps.sorted() && steps.count <= 6)
    #expect(
      try SampleDatabase.value(
        snapshot.path,
        "SELECT (SELECT max(n) FROM marks) = (SELECT value FROM readings WHERE id = 4000)") == "1")
  }

  @Test(
    "A snapshot that is stopped is removed completely, and the stop is the error",
    arguments: ["copy", "check", "fingerprint", "digest"])
  func stopped(at step: String) throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let stop = StopSignal()
    let failure = try #require(throws: Failure.self) {
      try workshop.store.take(
        of: try Database.open(workshop.database), version: nil, reason: .manual, run: nil,
        stop: stop
      ) { at, _, _ in
        if at == step { stop.request(Failure(.stopped, "The owner said stop.")) }
      }
    }
    #expect(failure == Failure(.stopped, "The owner said stop."))
    #expect(try workshop.names("state/snapshots") == [])
  }

  @Test("A damaged database gives no snapshot") func damaged() throws {
    let workshop = try Workshop(Workshop.manyPages, journalMode: "DELETE", pageSize: 1024)
    try overwrite(workshop.database, at: 1024 * 2000, with: Array(repeating: 0xff, count: 1024))
    let failure = try #require(throws: Failure.self) { try workshop.snapshot() }
    #expect(failure.code == .databaseCorrupt)
    #expect(try workshop.names("state/snapshots") == [])
  }

  @Test(
    "A snapshot for which the space runs out is removed completely",
    .enabled(if: SmallFileSystem.isPossible, "Only root can make a small file system."),
    arguments: [200, 1200, 4000])
  func noSpace(kilobytes: Int) throws {
    let workshop = try Workshop(Workshop.manyPages, pageSize: 1024)
    let small = try #require(SmallFileSystem(in: workshop.folder, kilobytes: kilobytes))
    let store = SnapshotStore(stateFolder: small.path, chockVersion: "0.1.0")
    let before = try workshop.fingerprint()
    let failure = try #require(throws: Failure.self) {
      try store.take(
        of: try Database.open(workshop.database), version: nil, reason: .manual, run: nil,
        stop: StopSignal(), progress: { _, _, _ in })
    }
    #expect(failure.code == .noSpace)
    #expect(failure.howToClear != nil)
    #expect(try FileSystem.names(in: store.folder) == [])
    #expect(try workshop.fingerprint() == before)
  }

  @Test("A snapshot says what it is, and its digest is true") func description() throws {
    let workshop = try Workshop()
    let snapshot = try workshop.snapshot()
    let document = try #require(try workshop.store.list().first)
    #expect(document == snapshot.document)
    #expect(document.schema == "chock.SNAPSHOT/1")
    #expect(document.databasePath == workshop.database)
    #expect(document.version == "0")
    #expect(document.fingerprint == (try workshop.fingerprint()))
    #expect(document.sizeBytes == FileSystem.facts(snapshot.path)?.size)
    #expect(document.journalMode == "wal")
    #expect(document.reason == .manual && document.run == "run-1" && !document.pinned)
    #expect(document.sqliteVersion == Connection.sqliteVersion)
    #expect(document.chockVersion == "0.1.0")
    #expect(Timestamp.date(document.createdAt) != nil && document.verifiedAt != nil)
    #expect(try workshop.store.verify(document.id).sha256 == document.sha256)
    // Compared with another program's idea of SHA-256.
    let digest = try shell("sha256sum < '\(snapshot.path)'")
    #expect(digest.prefix(64) == document.sha256 ?? "")
  }

  @Test("One changed byte in a snapshot is found") func changedByte() throws {
    let workshop = try Workshop()
    let snapshot = try workshop.snapshot()
    // In the free space of a page, where SQLite's own check sees nothing.
    try overwrite(snapshot.path, at: 4096 + 100, with: [1])
    let failure = try #require(throws: Failure.self) {
      try workshop.store.verify(snapshot.document.id)
    }
    #expect(failure.code == .snapshotDamaged)
    #expect(failure.file == snapshot.path)
  }

  @Test("A snapshot whose description is lost or damaged is still listed", arguments: [nil, "{"])
  func lostDescription(left: String?) throws {
    let workshop = try Workshop()
    try workshop.update("INSERT INTO trips VALUES (4, 'Bend');")
    let snapshot = try workshop.snapshot()
    let id = snapshot.document.id
    try FileSystem.remove(workshop.folder("state/snapshots/\(id).json"))
    if let left { try workshop.folder.write(left, to: "state/snapshots/\(id).json") }
    let document = try #require(try workshop.store.list().first)
    #expect(document.id == id)
    #expect(document.version == "1")
    #expect(document.sizeBytes == snapshot.document.sizeBytes)
    #expect(try workshop.store.verify(id).sha256 == snapshot.document.sha256)
  }

  @Test(
    "An id is looked up and never joined into a path",
    arguments: [
      "../../coach", "/etc/passwd", "..", ".", "", "a/b", "../snapshots/SNAPSHOT",
      "SNAPSHOT.sqlite",
      "snapshot\u{0}",
    ])
  func hostileIds(id: String) throws {
    let workshop = try Workshop()
    try copyFile(workshop.database, to: workshop.folder("coach.sqlite"))
    try copyFile(
      try workshop.snapshot().path, to: workshop.folder("state/snapshots/SNAPSHOT.sqlite"))
    for action: (String) throws -> Void in [
      { _ = try workshop.store.find($0) }, { _ = try workshop.store.verify($0) },
      { try workshop.store.delete($0) }, { _ = try workshop.store.setPinned(true, $0) },
      { _ = try workshop.restore($0) },
    ] {
      let failure = try #require(throws: Failure.self) { try action(id) }
      #expect(failure.code == .notFound)
    }
    #expect(try workshop.store.list().count == 2)
  }

  @Test("A symbolic link in the folder is no snapshot") func link() throws {
    let workshop = try Workshop()
    let other = try workshop.snapshot()
    let link = workshop.folder("state/snapshots/LINK.sqlite")
    try #require(symlink(other.path, link) == 0)
    let failure = try #require(throws: Failure.self) { try workshop.restore("LINK") }
    #expect(failure.code == .notFound)
    #expect(try workshop.store.list().map(\.id) == [other.document.id])
  }

  @Test("Two snapshots of one moment are two") func twice() throws {
    let workshop = try Workshop()
    #expect(try workshop.snapshot().document.id != workshop.snapshot().document.id)
    #expect(try workshop.store.list().count == 2)
  }

  @Test("A commit after the snapshot is noticed before the update") func unchangedSince() throws {
    let workshop = try Workshop()
    let live = try Database.openForWriting(workshop.database)
    let plan = try workshop.plan(try workshop.catalog("SELECT 1;"))
    let snapshot = try workshop.store.take(
      of: live, version: .zero, reason: .beforeUpdate, run: nil, stop: StopSignal(),
      progress: { _, _, _ in })
    let transaction = try Transaction.begin(live, plan: plan)
    #expect(try transaction.isUnchanged(since: snapshot))
    transaction.rollBack()
    try workshop.execute("INSERT INTO trips VALUES (7, 'Bisbee')")
    #expect(try !Transaction.begin(live, plan: plan).isUnchanged(since: snapshot))
  }

  @Test("What an interrupted run left in the folder is removed, and nothing else")
  func leftovers() throws {
    let workshop = try Workshop()
    let id = try workshop.snapshot().document.id
    for name in [
      "x.sqlite.partial", "x.sqlite.partial-journal", "x.sqlite.partial-wal", "orphan.json",
      "\(id).json.partial",
    ] {
      try workshop.folder.write("{}", to: "state/snapshots/\(name)")
    }
    try workshop.store.removeLeftovers()
    #expect(try workshop.names("state/snapshots") == ["\(id).json", "\(id).sqlite"])
  }

  private func shell(_ command: String) throws -> String {
    let pipe = try #require(popen(command, "r"))
    defer { pclose(pipe) }
    var buffer = [UInt8](repeating: 0, count: 256)
    let count = fread(&buffer, 1, buffer.count, pipe)
    return String(decoding: buffer[..<count], as: UTF8.self)
  }
}
