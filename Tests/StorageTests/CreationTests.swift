import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct CreationTests {
  private let folder: TemporaryFolder
  private var path: String { folder("coach.db") }

  init() throws {
    folder = try TemporaryFolder()
  }

  private func catalog(_ texts: [String]) throws -> MigrationCatalog {
    var migrations: [Migration] = []
    for (index, text) in texts.enumerated() {
      let name = "000\(index + 1)_change.sql"
      migrations.append(try Migration(fileName: name, path: name, text: text))
    }
    return try MigrationCatalog(directory: "migrations", migrations: migrations)
  }

  private func create(
    _ texts: String..., target: SchemaVersion? = nil, stop: StopSignal = StopSignal()
  )
    throws -> SchemaVersion
  {
    try Creation.create(
      path,
      try Plan(
        catalog: try catalog(texts), ledger: Ledger(entries: []),
        goal: .update(to: target, outOfOrder: false)),
      ApplyOrder(run: "run-1", chockVersion: "0.1.0", stop: stop))
  }

  @Test("A new database is complete, in WAL mode, with a row for each file") func create() throws {
    let version = try create("CREATE TABLE a (x) ;", "CREATE TABLE b (x);")
    #expect(version == SchemaVersion("2"))
    #expect(try FileSystem.names(in: folder.path) == ["coach.db"])
    #expect(try SampleDatabase.value(path, "PRAGMA journal_mode") == "wal")
    #expect(
      try SampleDatabase.value(path, "SELECT group_concat(version || kind) FROM chock_migrations")
        == "1applied,2applied")
  }

  @Test("A new database can stop at an older version") func target() throws {
    let version = try create(
      "CREATE TABLE a (x);", "CREATE TABLE b (x);", target: SchemaVersion("1"))
    #expect(version == SchemaVersion("1"))
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'b'") == "0")
  }

  @Test(
    "Where anything is, nothing is created",
    arguments: ["coach.db", "coach.db-wal", "coach.db-journal"])
  func exists(name: String) throws {
    try folder.write("the owner's", to: name)
    let failure = try #require(throws: Failure.self) { try create("CREATE TABLE a (x);") }
    #expect(failure.code == .databaseExists)
    #expect(failure.message.contains(folder(name)))
    #expect(try FileSystem.names(in: folder.path) == [name])
    #expect(try FileSystem.read(folder(name)) == Array("the owner's".utf8))
  }

  @Test("A migration that fails leaves no database, whole or half") func failing() throws {
    let failure = try #require(throws: Failure.self) {
      try create("CREATE TABLE a (x);", "SELECT 1;\nBAD;")
    }
    #expect(failure.code == .statement)
    #expect(failure.file == "0002_change.sql")
    #expect(failure.line == 2)
    #expect(try FileSystem.names(in: folder.path) == [])
  }

  @Test("A creation that is stopped leaves nothing") func stopped() throws {
    let stop = StopSignal()
    stop.request(Failure(.stopped, "Enough."))
    let failure = try #require(throws: Failure.self) {
      try create("CREATE TABLE a (x);", stop: stop)
    }
    #expect(failure.message == "Enough.")
    #expect(try FileSystem.names(in: folder.path) == [])
  }

  @Test("What an earlier attempt left does not get into the new database") func leftover() throws {
    try SampleDatabase.make(folder("coach.db.chock-init"), "CREATE TABLE old (x)")
    try folder.write("a log", to: "coach.db.chock-init-wal")
    _ = try create("CREATE TABLE a (x);")
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'old'") == "0"
    )
    #expect(try FileSystem.names(in: folder.path).filter { $0.contains("init") } == [])
  }

  private let three = ["CREATE TABLE a (x);", "CREATE TABLE b (x);", "CREATE TABLE c (x);"]

  private func adopt(at version: String) throws {
    try Creation.adopt(
      path, at: try #require(SchemaVersion(version)), catalog: try catalog(three), run: "run-1",
      chockVersion: "0.1.0")
  }

  @Test("Adoption writes one row for each file up to the version, and changes nothing else")
  func adopt() throws {
    try SampleDatabase.make(
      path, "CREATE TABLE a (x); CREATE TABLE b (x); INSERT INTO a VALUES (1)")
    let before = try SampleDatabase.fingerprint(path)
    #expect(try LedgerTable.read(try Database.open(path)) == nil)
    try adopt(at: "2")
    #expect(try SampleDatabase.fingerprint(path) == before)
    let ledger = try #require(try LedgerTable.read(try Database.open(path)))
    #expect(ledger.current == SchemaVersion("2"))
    #expect(ledger.entries.map(\.kind) == [.adopted, .adopted])
    #expect(
      ledger.entries.map(\.checksum) == (try catalog(three)).migrations.prefix(2).map(\.checksum))
    let plan = try Plan(catalog: try catalog(three), ledger: ledger)
    #expect(plan.steps.map(\.fileName) == ["0003_change.sql"])
  }

  @Test("Adopted twice is refused, and changes nothing") func adoptTwice() throws {
    try SampleDatabase.make(path, "CREATE TABLE a (x)")
    try adopt(at: "1")
    let failure = try #require(throws: Failure.self) { try adopt(at: "2") }
    #expect(failure.code == .databaseExists)
    #expect(try LedgerTable.read(try Database.open(path))?.current == SchemaVersion("1"))
  }

  @Test("A database that is adopted at 0 has none of the files") func adoptAtZero() throws {
    try SampleDatabase.make(path, "CREATE TABLE legacy (x)")
    try adopt(at: "0")
    #expect(try LedgerTable.read(try Database.open(path)) == Ledger(entries: []))
  }

  @Test("A version that no file has is refused, with those that there are") func unknownVersion()
    throws
  {
    try SampleDatabase.make(path, "CREATE TABLE a (x)")
    let failure = try #require(throws: Failure.self) { try adopt(at: "7") }
    #expect(failure.code == .notFound)
    #expect(failure.howToClear?.contains("1, 2, 3") == true)
    #expect(try LedgerTable.read(try Database.open(path)) == nil)
  }

  @Test("A database that is not there is not created by adoption") func adoptMissing() throws {
    let failure = try #require(throws: Failure.self) { try adopt(at: "1") }
    #expect(failure.code == .databaseMissing)
    #expect(try FileSystem.names(in: folder.path) == [])
  }
}
