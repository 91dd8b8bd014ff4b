import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("The rig that cuts the power sees what a careless program loses")
struct PowerCutImageTests {
  private static let old = [UInt8](repeating: 1, count: 5000)
  private static let new = [UInt8](repeating: 2, count: 6000)

  private enum Step {
    case create, write, sync, rename, syncFolder
  }

  /// The contents that `file` may have after a power cut at any instant of a program that replaces it.
  ///
  /// - Parameter atEnd: only after its last step.
  private func contents(_ steps: [Step], atEnd: Bool = false) throws -> Set<[UInt8]> {
    let folder = try TemporaryFolder()
    try FileSystem.replace(folder("file"), with: Self.old)
    let operations = steps.map { step -> DiskOperation in
      switch step {
      case .create: .create(id: "new", path: folder("new"))
      case .write: .write(id: "new", offset: 0, bytes: Self.new)
      case .sync: .sync(id: "new", path: folder("new"))
      case .rename: .rename(from: folder("new"), to: folder("file"))
      case .syncFolder: .syncFolder(path: folder.path)
      }
    }
    return try images(of: folder, operations, atEnd: atEnd)
      .reduce(into: []) { $0.insert($1.content(of: folder("file")) ?? []) }
  }

  /// Images after each of the operations, for each kind of loss and many seeds.
  private func images(
    of folder: TemporaryFolder, _ operations: [DiskOperation], atEnd: Bool = false
  ) throws -> [DiskImage] {
    var images: [DiskImage] = []
    for count in (atEnd ? operations.count : 0)...operations.count {
      var disk = try Disk(folder.path)
      for operation in operations.prefix(count) { try disk.apply(operation) }
      for loss in Loss.allCases {
        for seed in 0..<(loss == .random ? 120 : 4) {
          var generator = SeededGenerator(seed: UInt64(seed))
          images.append(disk.image(after: loss, using: &generator))
        }
      }
    }
    return images
  }

  @Test("A rename without fsync of the file may give an empty one, or zeros")
  func withoutSync() throws {
    let contents = try contents([.create, .write, .rename, .syncFolder])
    #expect(contents.contains([]))
    #expect(contents.contains([UInt8](repeating: 0, count: Self.new.count)))
    #expect(contents.contains(Self.new) && contents.contains(Self.old))
  }

  @Test("A rename without fsync of the folder may be undone, and is nothing else")
  func withoutFolderSync() throws {
    let contents = try contents([.create, .write, .sync, .rename], atEnd: true)
    #expect(contents == [Self.old, Self.new])
  }

  @Test("fsync, rename, fsync of the folder gives the old or the new, and at the end the new")
  func careful() throws {
    let steps: [Step] = [.create, .write, .sync, .rename, .syncFolder]
    #expect(try contents(steps) == [Self.old, Self.new])
    #expect(try contents(steps, atEnd: true) == [Self.new])
  }

  @Test("Blocks reach the disk in any order, in any state since the last sync, and torn")
  func blocks() throws {
    let folder = try TemporaryFolder()
    try FileSystem.replace(folder("file"), with: [UInt8](repeating: 1, count: 8192))
    let facts = try #require(FileSystem.facts(folder("file")))
    let id = "\(facts.device):\(facts.inode)"
    let writes = [2, 3].map {
      DiskOperation.write(id: id, offset: 0, bytes: [UInt8](repeating: $0, count: 8192))
    }
    let contents = Set(
      try images(of: folder, writes).map { $0.content(of: folder("file")) ?? [] })
    let pairs = Set(contents.map { [$0[0], $0[8191]] })
    for first: UInt8 in 1...3 {
      for second: UInt8 in 1...3 { #expect(pairs.contains([first, second])) }
    }
    #expect(contents.contains { Set($0[0..<4096]).count > 1 })
    #expect(contents.allSatisfy { Set($0[0..<512]).count == 1 })
    let synced = writes + [.sync(id: id, path: folder("file"))]
    let after = try images(of: folder, synced, atEnd: true)
    let newest = [UInt8](repeating: 3, count: 8192)
    #expect(after.allSatisfy { $0.content(of: folder("file")) == newest })
  }

  @Test("What a truncation has removed does not come back under what is written behind it")
  func truncation() throws {
    let folder = try TemporaryFolder()
    try FileSystem.replace(folder("file"), with: [UInt8](repeating: 1, count: 8192))
    let facts = try #require(FileSystem.facts(folder("file")))
    let id = "\(facts.device):\(facts.inode)"
    let found = try images(
      of: folder,
      [
        .truncate(id: id, length: 0),
        .write(id: id, offset: 0, bytes: [UInt8](repeating: 2, count: 12_288)),
      ]
    ).reduce(into: Set<[UInt8]>()) { $0.insert($1.content(of: folder("file")) ?? [9]) }
    #expect(found.contains([]))
    for content in found {
      #expect(content == [UInt8](repeating: 1, count: 8192) || !content.contains(1))
    }
  }

  @Test("Names reach the disk in the order of their folder, and a folder's own name is one too")
  func names() throws {
    let folder = try TemporaryFolder()
    let operations: [DiskOperation] = [
      .makeFolder(path: folder("inner")),
      .create(id: "a", path: folder("inner/a")), .create(id: "b", path: folder("inner/b")),
      .write(id: "a", offset: 0, bytes: [1]), .sync(id: "a", path: folder("inner/a")),
      .syncFolder(path: folder("inner")),
    ]
    let images = try images(of: folder, operations)
    #expect(
      images.allSatisfy {
        $0.content(of: folder("inner/b")) == nil || $0.content(of: folder("inner/a")) != nil
      })
    let after = try self.images(of: folder, operations, atEnd: true)
    #expect(Set(after.map { $0.content(of: folder("inner/a")) }) == [nil, [1]])
    let durable = try self.images(
      of: folder, operations + [.syncFolder(path: folder.path)], atEnd: true)
    #expect(Set(durable.map { $0.content(of: folder("inner/a")) }) == [[1]])
  }

  @Test("A file whose removal is lost has its own bytes, though its inode's number went on")
  func reused() throws {
    let folder = try TemporaryFolder()
    let operations: [DiskOperation] = [
      .create(id: "x", path: folder("a")), .write(id: "x", offset: 0, bytes: [1]),
      .sync(id: "x", path: folder("a")), .syncFolder(path: folder.path),
      .unlink(path: folder("a")), .create(id: "x", path: folder("b")),
      .write(id: "x", offset: 0, bytes: [2]), .sync(id: "x", path: folder("b")),
    ]
    let images = try images(of: folder, operations, atEnd: true)
    #expect(Set(images.map { $0.content(of: folder("a")) }) == [nil, [1]])
    #expect(Set(images.map { $0.content(of: folder("b")) }) == [nil, [2]])
  }

  @Test("A log that does not fit to the disk is an error")
  func unknown() throws {
    let folder = try TemporaryFolder()
    var disk = try Disk(folder.path)
    #expect(throws: Failure.self) { try disk.apply(.sync(id: "x", path: folder("x"))) }
    #expect(throws: Failure.self) { try disk.apply(.unlink(path: folder("x"))) }
    #expect(throws: Failure.self) { try disk.apply(.create(id: "x", path: folder("y/x"))) }
  }

  // MARK: SQLite's own promise

  private struct Found {
    var damaged = 0
    /// Power cuts in the middle that left the old rows, and the new ones.
    var (old, new) = (0, 0)
    /// The program had ended, and its commit is not there.
    var lost = 0
  }

  /// Cuts the power in a commit that the `sqlite3` shell makes.
  private func commit(_ mode: String, synchronous: String) async throws -> Found {
    let folder = try TemporaryFolder()
    let (root, log) = (folder("disk"), folder("log"))
    let path = root + "/a.db"
    try FileSystem.makeFolder(root)
    try SampleDatabase.make(
      path,
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);
      INSERT INTO t (a) WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
      SELECT hex(zeroblob(1000)) FROM n;
      """, journalMode: mode)
    let start = try Disk(root)
    let shell = try ChildProcess(
      "sqlite3",
      [
        path,
        "PRAGMA synchronous = \(synchronous);"
          + "BEGIN; UPDATE t SET a = 'new' || a; CREATE INDEX i ON t (a); COMMIT;",
      ],
      environment: DiskOperation.logging(to: log, under: folder.path), output: folder("out"),
      error: folder("err"))
    #expect(await shell.ended() == .exited(0), "\(TestCoach.text(folder("err")))")
    let operations = try DiskOperation.read(log, below: root)
    var found = Found()
    var disk = start
    for position in 0...operations.count {
      let isLooked = position % 6 == 0 || position == operations.count
      for (number, loss) in (isLooked ? Loss.allCases + [.random] : []).enumerated() {
        var generator = SeededGenerator(seed: UInt64(position * 100 + number))
        let image = disk.image(after: loss, using: &generator)
        try image.write(to: root, kept: [:])
        let isNew = rowsAreNew(path)
        switch isNew {
        case nil: found.damaged += 1
        case false?: found.old += 1
        case true?: found.new += 1
        }
        if position == operations.count, isNew == false { found.lost += 1 }
      }
      if position < operations.count { try disk.apply(operations[position]) }
    }
    return found
  }

  /// Nil when the database is damaged, or the rows are neither the old nor the new ones.
  private func rowsAreNew(_ path: String) -> Bool? {
    guard let connection = try? Connection(path: path, mode: .readWrite),
      (try? connection.text("PRAGMA integrity_check")) == "ok",
      let count = try? connection.integer("SELECT count(*) FROM t WHERE a LIKE 'new%'"),
      (try? connection.integer("SELECT count(*) FROM t")) == 20
    else { return nil }
    return count == 20 ? true : count == 0 ? false : nil
  }

  private static let canRecord =
    FileSystem.facts(TestCoach.shim) != nil && FileSystem.facts("/usr/bin/sqlite3") != nil

  @Test(
    "SQLite without syncs is seen to damage and to lose",
    .enabled(if: canRecord, "libIOShim.so or sqlite3 is missing"), arguments: ["DELETE", "WAL"])
  func off(mode: String) async throws {
    let found = try await commit(mode, synchronous: "OFF")
    #expect(found.damaged > 0 && found.lost > 0, "\(found)")
  }

  @Test(
    "synchronous = FULL is seen to lose a finished commit with a rollback journal, EXTRA is not",
    .enabled(if: canRecord, "libIOShim.so or sqlite3 is missing"))
  func extra() async throws {
    let full = try await commit("DELETE", synchronous: "FULL")
    #expect(full.damaged == 0 && full.lost > 0, "\(full)")
    let extra = try await commit("DELETE", synchronous: "EXTRA")
    #expect(extra.damaged == 0 && extra.lost == 0 && extra.old > 0 && extra.new > 0, "\(extra)")
    let wal = try await commit("WAL", synchronous: "FULL")
    #expect(wal.damaged == 0 && wal.lost == 0 && wal.old > 0 && wal.new > 0, "\(wal)")
  }
}
