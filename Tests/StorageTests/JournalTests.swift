import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("A journal is played back whole, or left as it is")
struct JournalTests {
  /// A database whose program was killed in the middle of a transaction that had changed it already.
  ///
  /// - Parameter cache: in pages; a small one makes many parts.
  private func killed(
    cache: Int = 5, _ sql: String = "UPDATE readings SET value = 'half'; DELETE FROM marks"
  ) throws -> Workshop {
    let workshop = try Workshop(
      """
      CREATE TABLE readings (id INTEGER PRIMARY KEY, value BLOB);
      CREATE TABLE marks (id INTEGER PRIMARY KEY, n TEXT);
      WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
      INSERT INTO readings SELECT i, zeroblob(300) FROM c;
      INSERT INTO marks SELECT id, 'mark ' || id FROM readings;
      """, journalMode: "DELETE")
    try workshop.snapshot()
    let program = try Connection(path: workshop.database, mode: .readWrite)
    try program.execute(
      "PRAGMA cache_size = \(cache); PRAGMA cache_spill = \(cache); BEGIN; \(sql)")
    let files = try ["", "-journal"].map {
      try #require(try FileSystem.read(workshop.database + $0))
    }
    try program.execute("ROLLBACK")
    for (suffix, bytes) in zip(["", "-journal"], files) {
      try write(bytes, to: workshop.database + suffix)
    }
    return workshop
  }

  private func files(_ workshop: Workshop) throws -> [[UInt8]?] {
    try ["", "-journal", "-wal"].map { try FileSystem.read(workshop.database + $0) }
  }

  /// Where the header of a part of a journal stands; the first is at 0.
  private func header(_ number: Int, _ workshop: Workshop) throws -> Int {
    let bytes = try #require(try FileSystem.read(workshop.database + "-journal"))
    let magic: [UInt8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]
    let places = stride(from: 0, to: bytes.count - 8, by: 512).filter {
      bytes[$0..<$0 + 8].elementsEqual(magic)
    }
    return try #require(places.dropFirst(number).first)
  }

  @Test(
    "Damaged anywhere nobody who looks consumes it, and a restore keeps it",
    arguments: ["page", "header", "first header", "cut"])
  func damaged(_ what: String) throws {
    let workshop = try killed()
    let journal = workshop.database + "-journal"
    switch what {
    case "page": try overwrite(journal, at: 5000, with: Array(repeating: 0x5a, count: 3000))
    case "header":
      try overwrite(journal, at: try header(2, workshop), with: Array(repeating: 0x5a, count: 512))
    case "first header": try overwrite(journal, at: 0, with: Array(repeating: 0x5a, count: 512))
    default:
      // The last part but one: its end, and all behind it.
      try write(
        Array(try #require(try FileSystem.read(journal)).prefix(try header(4, workshop) - 3000)),
        to: journal)
    }
    let before = try files(workshop)
    for mode in [Connection.Mode.readOnly, .readWrite] {
      let failure = try #require(throws: Failure.self) {
        try Database.open(workshop.database, mode: mode)
      }
      #expect(failure.code == .databaseCorrupt)
      #expect(failure.message.contains("-journal"), "\(failure)")
    }
    #expect(try files(workshop) == before)
    let snapshot = try #require(try workshop.store.list().first)
    let report = try workshop.restore(snapshot.id)
    #expect(report.setAsideFiles?.contains("damaged.sqlite-journal") == true)
    let kept = workshop.folder("state/rescue/damaged.sqlite")
    #expect(try FileSystem.read(kept) == before[0])
    #expect(try FileSystem.read(kept + "-journal") == before[1])
    #expect(try workshop.value("SELECT count(*) FROM marks") == "1000")
  }

  @Test(
    "What was being written when the power was cut, before the database was touched, is no damage")
  func unfinished() throws {
    // So much cache that nothing is written into the database before the commit; SQLite gives the journal its first bytes when it syncs it.
    for what in ["as it is", "cut", "zeros"] {
      let workshop = try killed(cache: 10_000)
      let journal = workshop.database + "-journal"
      let bytes = try #require(try FileSystem.read(journal))
      switch what {
      case "cut": try write(Array(bytes.dropLast(6000)), to: journal)
      case "zeros": try overwrite(journal, at: 8192, with: Array(repeating: 0, count: 4096))
      default: break
      }
      #expect(
        try Database.open(workshop.database).integer("SELECT count(*) FROM marks") == 1000,
        "\(what)")
    }
    // The same behind parts for which it was touched.
    let workshop = try killed()
    let journal = workshop.database + "-journal"
    let bytes = try #require(try FileSystem.read(journal))
    try write(bytes + [UInt8](repeating: 0, count: 3000), to: journal)
    #expect(try Database.open(workshop.database).integer("SELECT count(*) FROM marks") == 1000)
  }

  @Test("Salvage gets out of a damaged one all pages but those that are damaged")
  func salvage() throws {
    let workshop = try killed(
      cache: 5, "UPDATE readings SET value = 'half'; DELETE FROM marks WHERE true")
    let journal = workshop.database + "-journal"
    try overwrite(journal, at: 5000, with: Array(repeating: 0x5a, count: 3000))
    let good = try #require(try workshop.store.list().first)
    let copy = workshop.folder("private.db")
    for suffix in ["", "-journal"] {
      try copyFile(workshop.database + suffix, to: copy + suffix)
    }
    let report = try Salvager(
      of: copy, into: workshop.folder("result.db"),
      good: [Salvager.Good(good, path: workshop.folder("state/snapshots/\(good.id).sqlite"))],
      stop: StopSignal()
    ).run()
    #expect(report.problems.contains { $0.contains("journal is damaged") }, "\(report.problems)")
    let result = try Database.open(workshop.folder("result.db"))
    #expect(try result.integer("SELECT count(*) FROM marks") == 1000)
    let readings = try #require(
      try result.integer("SELECT count(*) FROM readings WHERE value IS zeroblob(300)"))
    #expect(readings > 900 && readings < 1000)
  }
}
