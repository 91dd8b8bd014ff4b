import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct StateStoreTests {
  private let folder: TemporaryFolder
  private var store: StateStore { StateStore(stateFolder: folder("state"), chockVersion: "0.1.0") }

  init() throws {
    folder = try TemporaryFolder()
  }

  @Test("How a run ended is found again by another process") func survives() throws {
    try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{\"a\":1}")
    try store.save(run: "r2", startedAt: "2025-06-02T00:00:00Z", document: "{\"a\":2}")
    #expect(try store.run("r1") == "{\"a\":1}")
    #expect(try store.runs(limit: 10) == ["{\"a\":2}", "{\"a\":1}"])
    #expect(try store.runs(limit: 1) == ["{\"a\":2}"])
    #expect(try store.run("r3") == nil)
  }

  @Test("With a clock that went back, the newest run is still the newest") func clock() throws {
    try store.save(run: "r2", startedAt: "2025-06-02T00:00:00Z", document: "{\"a\":1}")
    try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{\"a\":2}")
    try store.save(run: "r2", startedAt: "2025-06-02T00:00:00Z", document: "{\"a\":3}")
    #expect(try store.runs(limit: 10) == ["{\"a\":2}", "{\"a\":3}"])
  }

  @Test("The same run again replaces what it said before") func replaces() throws {
    try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{\"a\":1}")
    try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{\"a\":2}")
    #expect(try store.runs(limit: 10) == ["{\"a\":2}"])
  }

  @Test("Looking for runs does not make a file") func noFile() throws {
    #expect(try store.runs(limit: 10) == [])
    #expect(try store.run("r1") == nil)
    #expect(try FileSystem.names(in: folder.path) == [])
  }

  @Test("Its schema is kept by chock's own engine, ledger and all") func ownLedger() throws {
    try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{}")
    try store.save(run: "r2", startedAt: "2025-06-01T00:00:00Z", document: "{}")
    let path = folder("state/state.db")
    #expect(
      try SampleDatabase.value(
        path, "SELECT group_concat(version || name || run) FROM chock_migrations")
        == "1runsstate,2integrity_checksstate,3auditstate,5idempotency_keysstate,6epochstate")
    #expect(try FileSystem.names(in: folder("state")) == ["state.db"])
  }

  @Test("A history that was lost and begun anew is another one") func lost() throws {
    #expect(try store.newestWork() == nil)
    try store.begin()
    let first = try #require(try store.newestWork())
    try store.begin()
    #expect(try store.newestWork() == first)
    try store.save(
      run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{\"kind\":\"update\"}")
    let second = try #require(try store.newestWork())
    #expect(second != first)
    try FileSystem.removeFolder(folder("state"))
    try store.begin()
    #expect(![first, second, nil].contains(try store.newestWork()))
  }

  @Test("A document that is no JSON is refused") func notJSON() throws {
    #expect(throws: Failure.self) {
      try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{")
    }
    #expect(try store.runs(limit: 10) == [])
  }

  @Test("A file that is not chock's is an error, and stays as it is") func foreign() throws {
    try FileSystem.makeFolder(folder("state"))
    try SampleDatabase.make(
      folder("state/state.db"), "CREATE TABLE mine (a)", journalMode: "DELETE")
    let before = try FileSystem.read(folder("state/state.db"))
    let failure = try #require(throws: Failure.self) {
      try store.save(run: "r1", startedAt: "2025-06-01T00:00:00Z", document: "{}")
    }
    #expect(failure.file == folder("state/state.db"))
    #expect(failure.howToClear != nil)
    #expect(try FileSystem.read(folder("state/state.db")) == before)
  }
}
