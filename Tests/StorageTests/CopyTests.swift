import Glibc
import Migrations
import SQLite
import TestSupport
import Testing

@testable import Storage

@Suite struct CopyTests {
  private let workshop: Workshop
  private let place: String
  private let now = "2025-06-30T12:00:00.000Z"

  init() throws {
    workshop = try Workshop()
    place = workshop.folder("place")
    try FileSystem.makeFolder(place)
  }

  private func copies(owner: String = "me", isMade: Bool = true) throws -> SnapshotCopies {
    let kind = CopyPlace(
      .path(place), requiresMount: false,
      retention: .init(days: 7, keepAtLeast: 3, maxTotalBytes: 0))
    let opened = try kind.open(mountPoint: workshop.folder("mount"), isReadOnly: false)
    return SnapshotCopies(
      in: try opened.folder(isMade: isMade), owner: owner, store: workshop.store,
      database: workshop.database)
  }

  private func copy(_ id: String, owner: String = "me") throws -> SnapshotDocument {
    try copies(owner: owner).copy(id, stop: StopSignal()) { _, _, _ in }
  }

  private func names() throws -> [String] { try workshop.names("place/chock-snapshots") }

  private func path(_ name: String) -> String { "\(place)/chock-snapshots/\(name)" }

  private func takeIn(_ id: String, applicationID: Int64? = 0) throws -> SnapshotDocument {
    try workshop.store.takeIn(
      id, from: try copies(),
      catalog: try MigrationCatalog(directory: "", migrations: []), applicationID: applicationID,
      differences: { _, _ in [] }, stop: StopSignal(), progress: { _, _, _ in })
  }

  // MARK: Copying

  @Test("A copy is the snapshot byte for byte, has only its two files, and says who made it")
  func copying() throws {
    let snapshot = try workshop.snapshot()
    let id = snapshot.document.id
    let copied = try copy(id)
    #expect(copied.copiedBy == "me" && copied.sha256 == snapshot.document.sha256)
    #expect(try names() == ["\(id).json", "\(id).sqlite"])
    #expect(try FileSystem.read(path("\(id).sqlite")) == FileSystem.read(snapshot.path))
    #expect(try copies().list() == [copied])
    #expect(try copies().missing(retention(), beside: try copies().list()) == [])
  }

  @Test("A snapshot that is damaged here is not copied, and a stop leaves nothing")
  func damagedHere() throws {
    let snapshot = try workshop.snapshot()
    let stop = StopSignal()
    let stopped = try #require(throws: Failure.self) {
      try copies().copy(snapshot.document.id, stop: stop) { _, _, _ in
        stop.request(Failure(.stopped, "enough"))
      }
    }
    #expect(stopped.code == .stopped)
    #expect(try names() == [])
    try overwrite(snapshot.path, at: 5000, with: [1, 2, 3])
    let damaged = try #require(throws: Failure.self) { try copy(snapshot.document.id) }
    #expect(damaged.code == .snapshotDamaged)
    #expect(try names() == [])
  }

  @Test("What an interrupted copying left is removed there, and nothing of others")
  func leftovers() throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try FileSystem.remove(path("\(id).sqlite"))
    let others = ["a.sqlite.other.partial", "holiday.jpg", "notes.json", "x.json"]
    for name in others + ["b.sqlite.me.partial"] {
      try write(Array("{}".utf8), to: path(name))
    }
    try copies().removeLeftovers()
    #expect(try names() == others.sorted())
  }

  // MARK: Retention

  private func retention(
    days: Int = 7, keepAtLeast: Int = 1, maxTotalBytes: Int64 = 0
  ) -> SnapshotStore.Retention {
    .init(days: days, keepAtLeast: keepAtLeast, maxTotalBytes: maxTotalBytes)
  }

  /// A copy at the place that was made so many days before `now`.
  private func add(_ id: String, daysOld: Int, owner: String = "me") throws {
    let made = try workshop.snapshot()
    var document = try copy(made.document.id, owner: owner)
    for ending in [".sqlite", ".json"] {
      try FileSystem.rename(path(made.document.id + ending), to: path(id + ending))
    }
    try workshop.store.delete(made.document.id)
    document.id = id
    document.createdAt = "2025-06-\(30 - daysOld < 10 ? "0" : "")\(30 - daysOld)T12:00:00.000Z"
    try workshop.folder.write(try JSON.text(document), to: "place/chock-snapshots/\(id).json")
  }

  private func prune(_ retention: SnapshotStore.Retention) throws -> [String] {
    try copies().prune(
      retention, of: try copies().list(), knownGood: [], stop: StopSignal(), now: now)
  }

  @Test("Retention there removes what is too old or too much, and nothing that another put there")
  func pruning() throws {
    try add("a", daysOld: 1)
    try add("b", daysOld: 9)
    try add("c", daysOld: 12)
    try add("d", daysOld: 20, owner: "another")
    try write([1], to: path("e.sqlite"))
    #expect(try prune(retention(keepAtLeast: 2)) == ["c"])
    #expect(
      try names() == ["a.json", "a.sqlite", "b.json", "b.sqlite", "d.json", "d.sqlite", "e.sqlite"])
    #expect(try prune(retention(days: 100, maxTotalBytes: 1)) == ["b"])
    #expect(try prune(retention(days: 0, maxTotalBytes: 1)) == [])
    #expect(try copies().list().map(\.id) == ["a", "d"])
  }

  @Test("The newest good copy stays: a newer one that is damaged does not count")
  func newestGood() throws {
    try add("good", daysOld: 20)
    try add("damaged", daysOld: 10)
    try overwrite(path("damaged.sqlite"), at: 5000, with: [1, 2, 3])
    #expect(try prune(retention()) == [])
    #expect(try copies().list().map(\.id) == ["damaged", "good"])
  }

  @Test("What retention would remove there at once is not copied")
  func notInVain() throws {
    let first = try workshop.snapshot().document
    let second = try workshop.snapshot().document
    let missing = { (retention: SnapshotStore.Retention) in
      try copies().missing(retention, beside: []).map(\.id)
    }
    #expect(try missing(retention()) == [second.id, first.id])
    #expect(try missing(retention(maxTotalBytes: 1)) == [second.id])
    _ = try workshop.store.setPinned(true, first.id)
    #expect(try missing(retention(maxTotalBytes: 1)) == [second.id, first.id])
  }

  // MARK: What comes from elsewhere

  @Test("A copy is taken in as it was, with nothing of its description that was not checked")
  func takingIn() throws {
    let original = try workshop.snapshot().document
    var told = try copy(original.id)
    try workshop.store.delete(original.id)
    told.run = "../../../etc"
    told.pinned = true
    try workshop.folder.write(
      try JSON.text(told), to: "place/chock-snapshots/\(original.id).json")
    let taken = try takeIn(original.id)
    #expect(taken.sha256 == original.sha256 && taken.fingerprint == original.fingerprint)
    #expect(taken.run == nil && !taken.pinned && taken.copiedBy == nil)
    #expect(
      try workshop.names("state/snapshots") == ["\(original.id).json", "\(original.id).sqlite"])
    try workshop.execute("DELETE FROM trips")
    let before = try workshop.fingerprint()
    _ = try workshop.restore(original.id)
    #expect(try workshop.fingerprint() != before)
    // Once more: it is there already.
    #expect(try takeIn(original.id).id == original.id)
  }

  /// Fields that chock would not have written, as JSON.
  @Test(
    "A description that chock would not have written is an error that names the field",
    arguments: [
      ("id", #""../../state/run""#), ("id", "7"), ("schema", #""chock.SNAPSHOT/9""#),
      ("created_at", #""yesterday""#), ("created_at", "17"), ("size_bytes", "-1"),
      ("size_bytes", "1e300"), ("size_bytes", "99999999999999999999999"), ("size_bytes", #""9""#),
      ("sha256", #""abc""#), ("sha256", "null"), ("version", #""one; DROP TABLE x""#),
      ("journal_mode", #""wal; ATTACH 'x' AS y""#), ("reason", #""because""#), ("pinned", "3"),
      ("run", #""a\u001b[2Jb""#), ("database_path", "[]"),
      ("chock_version", "\"\(String(repeating: "x", count: 100))\""),
    ])
  func crafted(_ field: String, _ value: String) throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try workshop.store.delete(id)
    let text = String(
      decoding: try #require(try FileSystem.read(path("\(id).json"))), as: UTF8.self)
    let lines = text.split(separator: "\n").map { line in
      line.contains("\"\(field)\" :")
        ? "\"\(field)\" : \(value)\(line.hasSuffix(",") ? "," : "")" : String(line)
    }
    try workshop.folder.write(
      lines.joined(separator: "\n"), to: "place/chock-snapshots/\(id).json")
    let failure = try #require(throws: Failure.self) { try takeIn(id) }
    #expect(failure.code == .foreignSnapshot, "\(failure)")
    // The decoder knows the field by its name in Swift.
    let words = failure.message.lowercased()
    let name = field.split(separator: "_").joined()
    #expect([field, name, "no json"].contains { words.contains($0) }, "\(failure.message)")
    #expect(try copies().list() == [])
    #expect(try workshop.names("state/snapshots") == [])
  }

  @Test("A description without end, or that is none, is an error, too")
  func noDescription() throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try workshop.store.delete(id)
    for text in ["", "{", "[]", "null", String(repeating: "[", count: 60_000)] {
      try workshop.folder.write(text, to: "place/chock-snapshots/\(id).json")
      #expect(try #require(throws: Failure.self) { try takeIn(id) }.code == .foreignSnapshot)
    }
    try write([UInt8](repeating: 32, count: 70_000), to: path("\(id).json"))
    #expect(try #require(throws: Failure.self) { try takeIn(id) }.code == .notFound)
    #expect(try #require(throws: Failure.self) { try takeIn("../\(id)") }.code == .notFound)
  }

  /// Rewrites the copy, with a description that fits its bytes.
  private func forge(_ id: String, _ sql: String, version: String? = nil) throws {
    let connection = try Connection(path: path("\(id).sqlite"), mode: .readWrite)
    try connection.execute(sql)
    try redescribe(id, version: version)
  }

  private func redescribe(_ id: String, version: String? = nil) throws {
    var document = try copies().description(id)
    document.sha256 = try FileSystem.sha256(of: path("\(id).sqlite")) {}
    document.sizeBytes = try #require(FileSystem.facts(path("\(id).sqlite"))).size
    document.fingerprint = nil
    if let version { document.version = version }
    try workshop.folder.write(try JSON.text(document), to: "place/chock-snapshots/\(id).json")
  }

  @Test(
    "What differs from its description, is damaged or is not of this controller is not taken in",
    arguments: [
      "bytes", "size", "content", "application", "ledger", "version", "newer", "path", "damaged",
      "none", "wal",
    ])
  func unfit(_ what: String) throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try workshop.store.delete(id)
    var code = Failure.Code.foreignSnapshot
    switch what {
    case "bytes": try overwrite(path("\(id).sqlite"), at: 5000, with: [1, 2, 3])
    case "size": try workshop.folder.write("short", to: "place/chock-snapshots/\(id).sqlite")
    case "content":
      let told = try copies().description(id)
      try forge(id, "UPDATE trips SET name = 'Elsewhere'")
      var document = try copies().description(id)
      document.fingerprint = told.fingerprint
      try workshop.folder.write(try JSON.text(document), to: "place/chock-snapshots/\(id).json")
    case "application": try forge(id, "PRAGMA application_id = 77")
    case "ledger": try forge(id, "DROP TABLE chock_migrations")
    case "version": try redescribe(id, version: "5")
    case "newer":
      try forge(
        id,
        """
        INSERT INTO chock_migrations (version, name, checksum, applied_at, duration_ms, run, chock_version, kind)
        VALUES ('9', 'x', 'y', '2025-01-01T00:00:00Z', 1, 'r', '0.1.0', 'applied')
        """, version: "9")
    case "path":
      var document = try copies().description(id)
      document.databasePath = "/another.db"
      try workshop.folder.write(try JSON.text(document), to: "place/chock-snapshots/\(id).json")
      code = .notAllowed
    case "damaged":
      try overwrite(path("\(id).sqlite"), at: 4096 + 3, with: [0xff, 0xff, 0xff, 0xff])
      try redescribe(id)
    case "none":
      try write([UInt8](repeating: 7, count: 8192), to: path("\(id).sqlite"))
      try redescribe(id)
    default:
      try overwrite(path("\(id).sqlite"), at: 18, with: [2, 2])
      try redescribe(id)
    }
    let failure = try #require(throws: Failure.self) { try takeIn(id) }
    #expect(failure.code == code, "\(failure)")
    #expect(try workshop.names("state/snapshots") == [])
  }

  @Test("A snapshot here is not replaced by one from elsewhere")
  func sameName() throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try forge(id, "UPDATE trips SET name = 'Elsewhere'")
    #expect(try #require(throws: Failure.self) { try takeIn(id) }.code == .foreignSnapshot)
    #expect(try workshop.store.verify(id).id == id)
  }

  // MARK: Links

  @Test("Links, pipes and folders there are not followed, read or waited for")
  func links() throws {
    let id = try workshop.snapshot().document.id
    _ = try copy(id)
    try workshop.store.delete(id)
    try FileSystem.rename(path("\(id).sqlite"), to: workshop.folder("away.sqlite"))
    try #require(symlink(workshop.folder("away.sqlite"), path("\(id).sqlite")) == 0)
    #expect(try #require(throws: Failure.self) { try takeIn(id) }.code == .foreignSnapshot)
    try FileSystem.remove(path("\(id).json"))
    try #require(mkfifo(path("\(id).json"), 0o600) == 0)
    #expect(try #require(throws: Failure.self) { try takeIn(id) }.code == .notFound)
    #expect(try copies().list() == [])
    // A new copy takes the place of the link, and what it led to stays.
    let other = try workshop.snapshot().document.id
    try #require(symlink(workshop.folder("away.sqlite"), path("\(other).sqlite.me.partial")) == 0)
    _ = try copy(other)
    #expect(FileSystem.facts(path("\(other).sqlite"))?.isRegular == true)
    #expect(FileSystem.facts(workshop.folder("away.sqlite"))?.isRegular == true)

    try #require(rename(place + "/chock-snapshots", workshop.folder("moved")) == 0)
    try #require(symlink(workshop.folder("moved"), place + "/chock-snapshots") == 0)
    #expect(try #require(throws: Failure.self) { try copies() }.code == .copyPlace)
  }

  @Test("A folder that nothing is mounted at is not filled where a mount is asked for")
  func unmounted() throws {
    let kind = CopyPlace(.path(place), retention: retention())
    let failure = try #require(throws: Failure.self) {
      _ = try kind.open(mountPoint: workshop.folder("mount"), isReadOnly: false)
    }
    #expect(failure.code == .copyPlace)
    #expect(failure.message.contains("Nothing is mounted at \(place)"))
    #expect(try FileSystem.names(in: place) == [])
  }

  @Test("Labels are looked for as udev names them")
  func labels() {
    #expect(CopyPlace.linkName("COACH-1") == "COACH-1")
    #expect(CopyPlace.linkName("My stick/2") == "My\\x20stick\\x2f2")
    #expect(CopyPlace.linkName("Käse") == "Käse")
    #expect(CopyPlace.kind(named: "..") == nil && CopyPlace.kind(named: "a/b") == nil)
  }
}
