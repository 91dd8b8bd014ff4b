import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite struct RetentionTests {
  private let workshop: Workshop
  private let now = "2025-06-30T12:00:00.000Z"

  init() throws {
    workshop = try Workshop()
  }

  /// A snapshot that was made so many days before `now`.
  private func add(_ id: String, daysOld: Int, pinned: Bool = false) throws {
    let made = try workshop.snapshot()
    try copyFile(made.path, to: workshop.folder("state/snapshots/\(id).sqlite"))
    try workshop.store.delete(made.document.id)
    var document = made.document
    document.id = id
    document.createdAt = "2025-06-\(30 - daysOld < 10 ? "0" : "")\(30 - daysOld)T12:00:00.000Z"
    document.pinned = pinned
    try workshop.folder.write(try JSON.text(document), to: "state/snapshots/\(id).json")
  }

  private func prune(
    days: Int = 7, keepAtLeast: Int = 0, maxTotalBytes: Int64 = 0, inUse: Set<String> = []
  ) throws -> [String] {
    try workshop.store.prune(
      .init(days: days, keepAtLeast: keepAtLeast, maxTotalBytes: maxTotalBytes),
      of: workshop.database, inUse: inUse, now: now)
  }

  private func left() throws -> [String] { try workshop.store.list().map(\.id) }

  @Test("Snapshots older than the days go, the oldest first, with their descriptions")
  func age() throws {
    for (id, days) in [("a", 1), ("b", 6), ("c", 8), ("d", 20)] { try add(id, daysOld: days) }
    #expect(try prune() == ["d", "c"])
    #expect(try left() == ["a", "b"])
    #expect(try workshop.names("state/snapshots") == ["a.json", "a.sqlite", "b.json", "b.sqlite"])
    #expect(try prune() == [])
  }

  @Test("A copy of a damaged database never counts as the newest good one")
  func copyOfDamage() throws {
    for (id, days) in [("a", 10), ("b", 11), ("c", 12)] { try add(id, daysOld: days) }
    var document = try workshop.store.find("a").document
    document.damage = "row 77 missing from index ib"
    try workshop.folder.write(try JSON.text(document), to: "state/snapshots/a.json")
    #expect(try prune() == ["c", "a"])
    #expect(try prune(maxTotalBytes: 1) == [])
    #expect(try left() == ["b"])
  }

  @Test("So many of the newest stay, however old") func count() throws {
    for (id, days) in [("a", 10), ("b", 11), ("c", 12), ("d", 13)] { try add(id, daysOld: days) }
    #expect(try prune(keepAtLeast: 3) == ["d"])
    #expect(try left() == ["a", "b", "c"])
  }

  @Test("Beyond the total size the oldest go, however young") func size() throws {
    for (id, days) in [("a", 1), ("b", 2), ("c", 3)] { try add(id, daysOld: days) }
    let one = try #require(try workshop.store.list().first).sizeBytes
    #expect(try prune(keepAtLeast: 3, maxTotalBytes: one * 3) == [])
    #expect(try prune(keepAtLeast: 3, maxTotalBytes: one * 2) == ["c"])
    #expect(try prune(keepAtLeast: 3, maxTotalBytes: 1) == ["b"])
    #expect(try left() == ["a"])
  }

  @Test("The newest good snapshot stays, whatever retention says") func newestGood() throws {
    try add("a", daysOld: 20)
    #expect(try prune(days: 0, maxTotalBytes: 1) == [])
    #expect(try left() == ["a"])
  }

  @Test("A newer snapshot that is cut short does not count as good") func cutShort() throws {
    try add("good", daysOld: 20)
    try add("short", daysOld: 10)
    try workshop.folder.write("SQLite format 3", to: "state/snapshots/short.sqlite")
    #expect(try prune(days: 0, maxTotalBytes: 1) == ["short"])
    #expect(try left() == ["good"])
  }

  @Test("A newer snapshot that is damaged inside does not count as good") func damaged() throws {
    try add("good", daysOld: 20)
    try add("damaged", daysOld: 10)
    let path = workshop.folder("state/snapshots/damaged.sqlite")
    var bytes = try #require(try FileSystem.read(path))
    bytes[bytes.count / 2] ^= 1
    try FileSystem.replace(path, with: bytes)
    #expect(try prune(days: 0, maxTotalBytes: 1) == ["damaged"])
    #expect(try left() == ["good"])
  }

  @Test("Snapshots of another database in the same folder are not touched") func another() throws {
    try add("a", daysOld: 20)
    let removed = try workshop.store.prune(
      .init(days: 0, keepAtLeast: 0, maxTotalBytes: 1), of: workshop.folder("other.db"), inUse: [],
      now: now)
    #expect(removed == [])
    #expect(try left() == ["a"])
  }

  @Test("With a clock that went back, the newest snapshot is still the newest") func clock() throws
  {
    try add("future", daysOld: 0)
    let path = workshop.folder("state/snapshots/future.json")
    let text = String(decoding: try #require(try FileSystem.read(path)), as: UTF8.self)
    try workshop.folder.write(
      text.split(separator: "2025-06-30T12", omittingEmptySubsequences: false)
        .joined(separator: "2199-06-30T12"), to: "state/snapshots/future.json")
    let made = try workshop.snapshot().document
    #expect(try left() == [made.id, "future"])
  }

  @Test("A newer file that nothing vouches for does not count as good either")
  func unknown() throws {
    try add("good", daysOld: 20)
    // Its description is lost; it counts as made now.
    try workshop.folder.write("SQLite format 3", to: "state/snapshots/unknown.sqlite")
    #expect(try !prune(days: 0, maxTotalBytes: 1).contains("good"))
  }

  @Test("A pinned snapshot and one in use stay") func pinnedOrInUse() throws {
    try add("new", daysOld: 0)
    try add("pinned", daysOld: 20, pinned: true)
    try add("used", daysOld: 25)
    try add("old", daysOld: 27)
    #expect(try prune(maxTotalBytes: 1, inUse: ["used"]) == ["old"])
    #expect(try left() == ["new", "pinned", "used"])
  }

  @Test("A pinned snapshot is deleted only when it is unpinned") func pin() throws {
    try add("a", daysOld: 1)
    #expect(try workshop.store.setPinned(true, "a").pinned)
    let failure = try #require(throws: Failure.self) { try workshop.store.delete("a") }
    #expect(failure.code == .notAllowed)
    #expect(failure.howToClear == "`chock snapshots unpin a` first.")
    _ = try workshop.store.setPinned(false, "a")
    try workshop.store.delete("a")
    #expect(try left() == [])
  }
}
