import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("Of a damaged database every row that can be read is read", .timeLimit(.minutes(5)))
struct SalvageTests {
  static let schema = """
    CREATE TABLE trips (
      id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, note TEXT,
      length AS (length(name)), CHECK (id > 0));
    CREATE INDEX trips_note ON trips (note);
    CREATE TABLE plain (body TEXT, n REAL);
    CREATE TABLE pairs (a TEXT COLLATE NOCASE, b INTEGER, v BLOB, PRIMARY KEY (a, b DESC)) WITHOUT ROWID;
    CREATE INDEX pairs_v ON pairs (v);
    CREATE TABLE small (x);
    CREATE TABLE photos (id INTEGER PRIMARY KEY, picture BLOB);
    CREATE VIEW names AS SELECT name FROM trips;
    CREATE TRIGGER log AFTER INSERT ON trips BEGIN INSERT INTO small VALUES (new.id); END;
    CREATE VIRTUAL TABLE words USING fts5 (body, note UNINDEXED);
    CREATE VIRTUAL TABLE found USING fts5 (body, content = 'plain');
    CREATE VIRTUAL TABLE places USING rtree (id, x0, x1, y0, y1);
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 4000)
    INSERT INTO trips (id, name, note) SELECT i * 3, 'trip ' || i, hex(randomblob(20)) FROM c;
    DELETE FROM small;
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
    INSERT INTO plain (rowid, body, n) SELECT i, 'body ' || i, i / 7.0 FROM c;
    INSERT INTO plain (rowid, body) VALUES (-9000000000, 'low'), (9000000000000, 'high');
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 3000)
    INSERT INTO pairs SELECT 'A' || (i % 50), i, randomblob(30) FROM c;
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 20)
    INSERT INTO photos SELECT i, randomblob(20000) FROM c;
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 1000)
    INSERT INTO words (rowid, body, note) SELECT i, 'word ' || i, 'note ' || i FROM c;
    INSERT INTO found (found) VALUES ('rebuild');
    WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 500)
    INSERT INTO places SELECT i, i, i + 1, i, i + 2 FROM c;
    INSERT INTO small VALUES (1), ('two'), (3.5), (x'04'), (NULL);
    DELETE FROM trips WHERE id = 12000;
    PRAGMA user_version = 7; PRAGMA application_id = 4711;
    """
  static let tables = ["trips", "plain", "pairs", "small", "photos", "words", "places"]

  private func workshop(journalMode: String = "DELETE") throws -> (Workshop, Salvager.Good) {
    let workshop = try Workshop(Self.schema, journalMode: journalMode)
    let snapshot = try workshop.snapshot()
    return (workshop, Salvager.Good(snapshot.document, path: snapshot.path))
  }

  private func salvage(
    _ workshop: Workshop, good: [Salvager.Good]
  ) throws -> (report: Salvage, path: String) {
    let (copy, result) = (workshop.folder("private.db"), workshop.folder("result.db"))
    for suffix in ["", "-wal", "-shm", "-journal"] {
      try FileSystem.remove(copy + suffix)
      try FileSystem.remove(result + suffix)
      if suffix != "-shm", FileSystem.facts(workshop.database + suffix) != nil {
        try copyFile(workshop.database + suffix, to: copy + suffix)
      }
    }
    let report = try Salvager(of: copy, into: result, good: good, stop: StopSignal()).run()
    #expect(try SampleDatabase.value(result, "PRAGMA integrity_check") == "ok")
    return (report, result)
  }

  /// The pages of a table or an index, in their order.
  private func pages(_ path: String, _ name: String, _ type: String) throws -> [Int] {
    let list = try Connection(path: path, mode: .readOnly).prepare(
      "SELECT pageno FROM dbstat WHERE name = '\(name)' AND pagetype = '\(type)' ORDER BY path")
    var pages: [Int] = []
    while try list.step() { pages.append(Int(list.integer(0))) }
    return pages
  }

  private func smash(_ path: String, page: Int, with byte: UInt8 = 0xa5, bytes: Int = 4096) throws {
    try overwrite(
      path, at: (page - 1) * 4096, with: [UInt8](repeating: byte, count: bytes))
  }

  /// Every row that a look for its very key gets, as text.
  private func readable(_ path: String, _ table: String) throws -> Set<String> {
    let connection = try Connection(path: path, mode: .damaged)
    try connection.execute("PRAGMA cell_size_check = OFF")
    let keys: [Int64] =
      switch table {
      case "trips": Array(1...12100)
      case "plain": Array(0...3001) + [-9_000_000_000, 9_000_000_000_000]
      default: Array(0...1001)
      }
    var found: Set<String> = []
    guard
      let look = try? connection.prepare(
        "SELECT rowid, * FROM \(table) NOT INDEXED WHERE rowid = ?1")
    else { return [] }
    for key in keys {
      look.reset()
      try look.bind(key, at: 1)
      if (try? look.step()) == true { found.insert(Self.text(look)) }
    }
    return found
  }

  private static func text(_ row: Statement) -> String {
    var words: [String] = []
    for column in Int32(0)..<6 {
      words.append("\(row.type(column)):\(row.bytes(column).hashValue):\(row.integer(column))")
    }
    return words.joined(separator: "|")
  }

  private func all(_ path: String, _ table: String) throws -> Set<String> {
    let rows = try Connection(path: path, mode: .readOnly).prepare(
      "SELECT \(table == "pairs" ? "" : "rowid, ")* FROM \(table)")
    var found: Set<String> = []
    while try rows.step() { found.insert(Self.text(rows)) }
    return found
  }

  /// Nothing that a plain reading gets is missing, and nothing is there that was not.
  private func expectAllReadable(
    _ workshop: Workshop, _ result: String, good: Salvager.Good,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    for table in Self.tables {
      let (there, before) = (try all(result, table), try all(good.path, table))
      #expect(there.isSubset(of: before), "\(table)", sourceLocation: sourceLocation)
      guard !["pairs", "words", "places"].contains(table) else { continue }
      let wanted = try readable(workshop.database, table).intersection(before)
      #expect(
        wanted.isSubset(of: there), "\(table): \(wanted.subtracting(there).count) missing",
        sourceLocation: sourceLocation)
    }
  }

  @Test("A sound one comes out with the same content", arguments: ["DELETE", "WAL"])
  func sound(_ journalMode: String) throws {
    let (workshop, good) = try workshop(journalMode: journalMode)
    try workshop.execute("INSERT INTO small VALUES ('later')")
    let writer = try Connection(path: workshop.database, mode: .readWrite)
    try writer.execute("INSERT INTO small VALUES ('in the log')")
    let (report, result) = try salvage(workshop, good: [good])
    #expect(report.problems == [] && report.schemaFrom == nil)
    #expect(report.tables.allSatisfy { $0.isWhole }, "\(report.tables)")
    for table in Self.tables { #expect(try all(result, table) == all(workshop.database, table)) }
    #expect(try SampleDatabase.value(result, "SELECT count(*) FROM found('body')") == "3000")
    #expect(try SampleDatabase.value(result, "SELECT count(*) FROM words('word')") == "1000")
    for pragma in ["user_version", "application_id", "page_size", "encoding", "journal_mode"] {
      #expect(
        try SampleDatabase.value(result, "PRAGMA \(pragma)")
          == workshop.value("PRAGMA \(pragma)"), "\(pragma)")
    }
    let objects =
      "SELECT group_concat(type || name || coalesce(sql, '')) FROM (SELECT * FROM sqlite_schema WHERE name NOT LIKE 'sqlite%' ORDER BY name)"
    #expect(try SampleDatabase.value(result, objects) == workshop.value(objects))
    // A number that was given is not given again, also when its row is gone.
    let number = "SELECT seq FROM sqlite_sequence WHERE name = 'trips'"
    #expect(try SampleDatabase.value(result, number) == "12000")
    let ledger = "SELECT sql FROM sqlite_schema WHERE name = 'chock_migrations'"
    #expect(try SampleDatabase.value(result, ledger) != nil)
  }

  @Test("Without the leaves that are gone everything else is read, in every table")
  func leaves() throws {
    let (workshop, good) = try workshop()
    for (table, spread) in [("trips", 7), ("plain", 5), ("pairs", 9), ("words_content", 3)] {
      let leaves = try pages(workshop.database, table, "leaf")
      try #require(leaves.count > spread)
      // The first, the last, two beside one another, and some with good ones between them.
      for (index, page) in leaves.enumerated()
      where index == 0 || index == leaves.count - 1 || index % spread < 2 {
        if table == "pairs", index == 0 || index == leaves.count - 1 { continue }
        try smash(workshop.database, page: page, with: UInt8(truncatingIfNeeded: index))
      }
    }
    let (report, result) = try salvage(workshop, good: [good])
    try expectAllReadable(workshop, result, good: good)
    let trips = try #require(report.tables.first { $0.table == "trips" })
    #expect(trips.unreadablePlaces > 1 && trips.read > 0)
    // Its indexes are whole: they say how many rows there were.
    #expect(trips.lost == 3999 - trips.read, "\(trips)")
    let plain = try #require(report.tables.first { $0.table == "plain" })
    #expect(plain.lost == nil && plain.unreadablePlaces > 1 && plain.read > 1000, "\(plain)")
    let pairs = try #require(report.tables.first { $0.table == "pairs" })
    #expect(pairs.read > 0 && pairs.unreadablePlaces == 1, "\(pairs)")
    let words = try #require(report.tables.first { $0.table == "words" })
    #expect(words.read > 300 && words.unreadablePlaces > 0, "\(words)")
  }

  @Test("Of a page with bad cells the good ones are read")
  func cells() throws {
    let (workshop, good) = try workshop()
    let leaves = try pages(workshop.database, "plain", "leaf")
    for (index, page) in leaves.enumerated() where index % 4 == 1 {
      // Where each cell begins stands behind the header of 8 bytes.
      for cell in [3, 10, 11, 40] {
        try overwrite(workshop.database, at: (page - 1) * 4096 + 8 + 2 * cell, with: [0xff, 0xf0])
      }
    }
    let (report, result) = try salvage(workshop, good: [good])
    try expectAllReadable(workshop, result, good: good)
    let plain = try #require(report.tables.first { $0.table == "plain" })
    #expect(plain.unreadablePlaces > 0 && plain.read > 2700, "\(plain)")
  }

  @Test("A row whose overflow pages are gone is lost alone")
  func overflow() throws {
    let (workshop, good) = try workshop()
    let lost = try #require(try pages(workshop.database, "photos", "overflow").dropFirst(6).first)
    // The number of the next page in the chain.
    try overwrite(workshop.database, at: (lost - 1) * 4096, with: [0xff, 0xff, 0xff, 0xff])
    let (report, result) = try salvage(workshop, good: [good])
    try expectAllReadable(workshop, result, good: good)
    let photos = try #require(report.tables.first { $0.table == "photos" })
    #expect(photos.read == 19 && photos.unreadablePlaces == 1, "\(photos)")
  }

  @Test("An inner page: what does not lie below it is read")
  func inner() throws {
    let (workshop, good) = try workshop()
    let root = try #require(try pages(workshop.database, "plain", "internal").first)
    try smash(workshop.database, page: root)
    let (report, result) = try salvage(workshop, good: [good])
    try expectAllReadable(workshop, result, good: good)
    let plain = try #require(report.tables.first { $0.table == "plain" })
    #expect(plain.read == 0 && plain.unreadablePlaces == 1, "\(plain)")
    #expect(try SampleDatabase.value(result, "SELECT count(*) FROM trips") == "3999")
  }

  @Test("Where only indexes are damaged nothing is lost, and they are made anew")
  func indexes() throws {
    let (workshop, good) = try workshop()
    for index in ["trips_note", "sqlite_autoindex_trips_1", "pairs_v"] {
      for page in try pages(workshop.database, index, "leaf") {
        try smash(workshop.database, page: page)
      }
    }
    let (report, result) = try salvage(workshop, good: [good])
    #expect(report.tables.allSatisfy { $0.isWhole }, "\(report.tables)")
    for table in Self.tables { #expect(try all(result, table) == all(good.path, table)) }
  }

  @Test("A file that was cut off: what is in front of the cut is read", arguments: [2, 3])
  func truncated(_ part: Int) throws {
    let (workshop, good) = try workshop()
    let size = try #require(FileSystem.facts(workshop.database)?.size)
    let bytes = try #require(try FileSystem.read(workshop.database))
    // In the middle of a page.
    try write(Array(bytes[..<(Int(size) / part + 100)]), to: workshop.database)
    let (report, result) = try salvage(workshop, good: [good])
    #expect(report.tables.contains { $0.read > 0 } && report.tables.contains { !$0.isWhole })
    for table in Self.tables {
      #expect(try all(result, table).isSubset(of: all(good.path, table)), "\(table)")
    }
    // SQLite refuses all of a file that is too short; the private copy says how long it is.
    for table in ["trips", "plain"] {
      let wanted = try readable(workshop.folder("private.db"), table)
      #expect(wanted.isSubset(of: try all(result, table)), "\(table)")
    }
  }

  /// A database of which a log of its own holds later rows, as a killed program leaves it.
  private func withLog(_ workshop: Workshop) throws -> (database: [UInt8], log: [UInt8]) {
    let program = try Connection(path: workshop.database, mode: .readWrite)
    try program.execute("PRAGMA wal_autocheckpoint = 0")
    for number in 0..<100 {
      try program.execute("INSERT INTO plain (body) VALUES ('in the log \(number)')")
    }
    return (
      try #require(try FileSystem.read(workshop.database)),
      try #require(try FileSystem.read(workshop.database + "-wal"))
    )
  }

  @Test("Of a file that was cut off, what its log holds is read", arguments: [10, 3, 2])
  func cutWithLog(part: Int) throws {
    let (workshop, good) = try workshop(journalMode: "WAL")
    let (database, log) = try withLog(workshop)
    try write(Array(database.prefix(database.count / 4096 / part * 4096)), to: workshop.database)
    try write(log, to: workshop.database + "-wal")
    let (report, path) = try salvage(workshop, good: [good])
    #expect(!report.problems.contains { $0.contains("log") }, "\(report.problems)")
    #expect(
      try SampleDatabase.value(path, "SELECT count(*) FROM plain WHERE body LIKE 'in the log %'")
        == "100")
  }

  @Test("What a damaged log lacks is told", arguments: [0, 20_000])
  func damagedLog(at offset: Int) throws {
    let (workshop, good) = try workshop(journalMode: "WAL")
    let (database, whole) = try withLog(workshop)
    var log = whole
    log.replaceSubrange(offset..<offset + 32, with: Array(repeating: 0x99, count: 32))
    try write(database, to: workshop.database)
    try write(log, to: workshop.database + "-wal")
    let (report, path) = try salvage(workshop, good: [good])
    #expect(
      report.problems.contains { $0.contains(offset == 0 ? "log's header" : "log is damaged") },
      "\(report.problems)")
    let rows = try #require(
      Int(
        try SampleDatabase.value(
          path, "SELECT count(*) FROM plain WHERE body LIKE 'in the log %'") ?? ""))
    #expect(rows < 100)
  }

  @Test("Without its first page the schema of the newest good snapshot leads to the rows")
  func firstPage() throws {
    let (workshop, good) = try workshop()
    try workshop.execute("INSERT INTO trips (name) VALUES ('recorded since')")
    let now = try Self.tables.map { try all(workshop.database, $0) }
    try smash(workshop.database, page: 1, with: 0)
    let (report, result) = try salvage(workshop, good: [good])
    #expect(report.schemaFrom == good.id, "\(report.problems)")
    #expect(try Self.tables.map { try all(result, $0) } == now)
    // One of another version may have another schema: it is told, and no row is thrown away.
    var other = good
    other.version = "7"
    let (unlike, read) = try salvage(workshop, good: [other])
    #expect(unlike.problems.contains { $0.contains("of version 7, and the ledger says") })
    #expect(try Self.tables.map { try all(read, $0) } == now)
    // Without one nobody knows what is where, and the rows are kept.
    let (alone, kept) = try salvage(workshop, good: [])
    #expect(alone.schemaFrom == nil && alone.lost?.isEmpty == false, "\(alone)")
    #expect(
      try SampleDatabase.value(kept, "SELECT count(*) FROM lost_and_found WHERE c1 LIKE 'trip %'")
        == "3999")
  }

  @Test(
    "Of a file with other pages, with a map of its pages or in UTF-16, too, each table is found again",
    arguments: [
      (512, ""), (1024, "PRAGMA auto_vacuum = FULL"), (4096, "PRAGMA auto_vacuum = INCREMENTAL"),
      (65536, "PRAGMA encoding = 'UTF-16le'"),
    ])
  func otherPages(pageSize: Int, pragma: String) throws {
    let workshop = try Workshop(
      "\(pragma); VACUUM; \(Self.schema); CREATE TABLE gone AS SELECT * FROM plain; DROP TABLE gone",
      journalMode: "DELETE", pageSize: pageSize)
    let snapshot = try workshop.snapshot()
    try workshop.execute(
      "INSERT INTO trips (name) VALUES ('recorded since'); DELETE FROM plain WHERE rowid < 2500")
    let now = try Self.tables.map { try all(workshop.database, $0) }
    try overwrite(workshop.database, at: 0, with: [UInt8](repeating: 0, count: pageSize))
    let (report, result) = try salvage(
      workshop, good: [Salvager.Good(snapshot.document, path: snapshot.path)])
    #expect(try Self.tables.map { try all(result, $0) } == now, "\(report)")
    #expect(report.lost == nil && report.tables.allSatisfy { $0.isWhole }, "\(report)")
  }

  // MARK: The header

  @Test(
    "What is lost of the header alone loses no row, also after an update, and without any snapshot",
    arguments: [512, 4096, 65536])
  func header(pageSize: Int) throws {
    let workshop = try Workshop(Self.schema, journalMode: "DELETE", pageSize: pageSize)
    let snapshot = try workshop.snapshot()
    var good = Salvager.Good(snapshot.document, path: snapshot.path)
    good.version = "an older one"
    try workshop.execute("CREATE TABLE made (x); INSERT INTO made VALUES ('since')")
    let tables = Self.tables + ["made"]
    let now = try tables.map { try all(workshop.database, $0) }
    try overwrite(workshop.database, at: 0, with: [UInt8](repeating: 0, count: 100))
    for good in [[good], []] {
      let (report, result) = try salvage(workshop, good: good)
      #expect(report.schemaFrom == nil && !report.problems.isEmpty, "\(report)")
      #expect(try tables.map { try all(result, $0) } == now)
      #expect(try SampleDatabase.value(result, "PRAGMA page_size") == "\(pageSize)")
      #expect(
        try SampleDatabase.value(result, "PRAGMA user_version") == (good.isEmpty ? "0" : "7"))
    }
  }

  @Test(
    "A header with a value that cannot be right is mended, and what is right of it stays",
    arguments: [
      (0, Array("XXXXXXXXXXXXXXXX".utf8)), (16, [4, 0]), (16, [0x20, 0]), (16, [0, 3]),
      (18, [9, 9]), (20, [200]), (21, [0, 0, 0]), (28, [0, 0, 0, 1]), (44, [0, 0, 0, 9]),
      (56, [0, 0, 0, 9]), (56, [0, 0, 0, 2]), (72, [7]),
    ] as [(Int, [UInt8])])
  func headerValue(offset: Int, bytes: [UInt8]) throws {
    let (workshop, good) = try workshop()
    try workshop.execute("PRAGMA user_version = 9")
    let now = try Self.tables.map { try all(workshop.database, $0) }
    try overwrite(workshop.database, at: offset, with: bytes)
    for good in [[good], []] {
      // Without a snapshot nobody knows that a text is not in UTF-16.
      if good.isEmpty, bytes == [0, 0, 0, 2] { continue }
      let (report, result) = try salvage(workshop, good: good)
      #expect(try Self.tables.map { try all(result, $0) } == now, "\(report)")
      #expect(try SampleDatabase.value(result, "PRAGMA user_version") == "9")
      #expect(try SampleDatabase.value(result, "PRAGMA application_id") == "4711")
    }
  }

  @Test("A lost header of a file in UTF-16 is that of its snapshot; a sound one needs none")
  func utf16() throws {
    let workshop = try Workshop(
      "PRAGMA encoding = 'UTF-16le'; \(Self.schema)", journalMode: "WAL")
    let snapshot = try workshop.snapshot()
    let good = Salvager.Good(snapshot.document, path: snapshot.path)
    let writer = try Connection(path: workshop.database, mode: .readWrite)
    try writer.execute("INSERT INTO plain (body) VALUES ('größer')")
    let now = try all(workshop.database, "plain")
    #expect(try salvage(workshop, good: []).report.problems == [])
    try overwrite(workshop.database, at: 0, with: [UInt8](repeating: 0xff, count: 100))
    let (_, result) = try salvage(workshop, good: [good])
    #expect(try all(result, "plain") == now)
    #expect(try SampleDatabase.value(result, "PRAGMA encoding") == "UTF-16le")
  }

  // MARK: The ledger

  private static func applied(_ version: Int) -> String {
    "INSERT INTO chock_migrations VALUES ('\(version)', 'x', 'abc', '2026-01-01T00:00:00Z', 1, 'run', '0.1.0', 'applied')"
  }

  /// A database at version 1 with its snapshot; then `later`; then its ledger goes, with or without its index.
  private func withoutLedger(
    later: String = "", index: Bool
  ) throws -> (report: Salvage, path: String, good: String, workshop: Workshop) {
    let (workshop, _) = try workshop()
    try workshop.execute(Self.applied(1))
    let snapshot = try workshop.snapshot()
    try workshop.execute(later)
    for name in ["chock_migrations"] + (index ? ["sqlite_autoindex_chock_migrations_1"] : []) {
      for page in try pages(workshop.database, name, "leaf") {
        try smash(workshop.database, page: page)
      }
    }
    let good = Salvager.Good(snapshot.document, path: snapshot.path)
    let (report, result) = try salvage(workshop, good: [good])
    // With it its folder would go.
    return (report, result, good.id, workshop)
  }

  private func version(_ path: String) throws -> SchemaVersion? {
    try LedgerTable.read(try Database.open(path))?.current
  }

  @Test(
    "A ledger that is lost is that of a good snapshot with the same schema",
    arguments: [true, false])
  func ledger(index: Bool) throws {
    let (report, path, good, workshop) = try withoutLedger(later: "DELETE FROM small", index: index)
    defer { withExtendedLifetime(workshop) {} }
    #expect(try version(path) == SchemaVersion("1"))
    #expect(report.problems.contains { $0.contains("that of snapshot \(good)") }, "\(report)")
    #expect(
      try SampleDatabase.value(path, "SELECT checksum FROM chock_migrations WHERE version = '1'")
        == "abc")
  }

  @Test("Where no snapshot has the same schema there is no ledger: a person says the version")
  func otherSchema() throws {
    let later = "CREATE TABLE made (x); \(Self.applied(2))"
    let (report, path, _, workshop) = try withoutLedger(later: later, index: true)
    defer { withExtendedLifetime(workshop) {} }
    #expect(try version(path) == nil)
    #expect(report.problems.contains { $0.contains("chock adopt --at") }, "\(report)")
  }

  @Test("A version that only the ledger's index still knows is never taken back")
  func newerVersion() throws {
    let (report, path, _, workshop) = try withoutLedger(later: Self.applied(2), index: false)
    defer { withExtendedLifetime(workshop) {} }
    #expect(try version(path) == nil, "\(report)")
  }

  @Test("A ledger that says nonsense is no ledger")
  func nonsense() throws {
    let (workshop, good) = try workshop()
    try workshop.execute(Self.applied(1))
    var bytes = try #require(try FileSystem.read(workshop.database))
    let word = Array("2026-01-01T00:00:00Z".utf8)
    let place = try #require(
      bytes.indices.dropLast(word.count).first { bytes[$0...].starts(with: word) })
    // Version, name and checksum stand before it.
    bytes[place - 5] = UInt8(ascii: "?")
    try write(bytes, to: workshop.database)
    let (report, path) = try salvage(workshop, good: [])
    #expect(try version(path) == nil, "\(report)")
    // What the snapshot's index says is another version.
    #expect(try version(try salvage(workshop, good: [good]).path) == nil)
  }

  @Test("What is in the log counts, and the damage may be in the log's own first page")
  func log() throws {
    let (workshop, good) = try workshop(journalMode: "WAL")
    let writer = try Connection(path: workshop.database, mode: .readWrite)
    try writer.execute("PRAGMA wal_autocheckpoint = 0; INSERT INTO trips (name) VALUES ('logged')")
    let leaf = try #require(try pages(workshop.database, "photos", "leaf").first)
    try smash(workshop.database, page: leaf)
    let (report, result) = try salvage(workshop, good: [good])
    #expect(try SampleDatabase.value(result, "SELECT count(*) FROM trips") == "4000")
    #expect(report.tables.first { $0.table == "photos" }?.isWhole == false)
    // The main file's first page goes too; the log has a newer one.
    try writer.execute("PRAGMA user_version = 8")
    try smash(workshop.database, page: 1, with: 0)
    let (again, second) = try salvage(workshop, good: [good])
    #expect(try SampleDatabase.value(second, "PRAGMA user_version") == "8", "\(again.problems)")
    #expect(try SampleDatabase.value(second, "SELECT count(*) FROM trips") == "4000")
  }

  @Test("Rows that a UNIQUE refuses are listed, and the rest is there")
  func refused() throws {
    let (workshop, good) = try workshop()
    // Two leaves become one and the same: its keys come twice.
    let leaves = try pages(workshop.database, "plain", "leaf")
    try workshop.execute("CREATE UNIQUE INDEX plain_body ON plain (body)")
    let bytes = try #require(try FileSystem.read(workshop.database))
    let page = Array(bytes[((leaves[4] - 1) * 4096)..<(leaves[4] * 4096)])
    try overwrite(workshop.database, at: (leaves[9] - 1) * 4096, with: page)
    let (report, result) = try salvage(workshop, good: [good])
    let plain = try #require(report.tables.first { $0.table == "plain" })
    #expect(!plain.isWhole && plain.read > 2700, "\(plain)")
    #expect(try all(result, "plain").isSubset(of: all(good.path, "plain")))
    // An index that has lost an entry let its application write the same once more.
    try workshop.execute("CREATE UNIQUE INDEX small_x ON small (x)")
    let root = try #require(
      try workshop.value("SELECT rootpage FROM sqlite_schema WHERE name = 'small_x'"))
    try workshop.execute(
      "PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'small_x'")
    try workshop.execute("INSERT INTO small VALUES ('two'), ('four')")
    try workshop.execute(
      """
      PRAGMA writable_schema = ON;
      INSERT INTO sqlite_schema VALUES (
        'index', 'small_x', 'small', \(root), 'CREATE UNIQUE INDEX small_x ON small (x)')
      """)
    let (second, again) = try salvage(workshop, good: [good])
    let small = try #require(second.tables.first { $0.table == "small" })
    #expect(small.refused == 1 && small.read == 6 && small.unreadablePlaces == 0, "\(small)")
    #expect(
      small.examples == ["rowid 6: UNIQUE constraint failed: small.x"], "\(small.examples)")
    #expect(try SampleDatabase.value(again, "SELECT count(*) FROM small") == "6")
  }

  @Test("Whatever is overwritten, no more is lost than what cannot be read", arguments: 1...12)
  func anyDamage(_ seed: UInt64) throws {
    let (workshop, good) = try workshop()
    var random = Seeded(seed)
    let count = Int(try #require(FileSystem.facts(workshop.database)?.size)) / 4096
    for _ in 0..<6 {
      let page = Int.random(in: 2...count, using: &random)
      let length = Int.random(in: 1...4096, using: &random)
      let start = Int.random(in: 0...(4096 - length), using: &random)
      let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
      try overwrite(workshop.database, at: (page - 1) * 4096 + start, with: bytes)
    }
    let (report, result) = try salvage(workshop, good: [good])
    for table in ["trips", "plain", "small", "photos"] {
      // What was made up by the damage is nobody's.
      let wanted = try readable(workshop.folder("private.db"), table)
        .intersection(try all(good.path, table))
      let missing = wanted.subtracting(try all(result, table))
      let refused = report.tables.first { $0.table == table }?.refused ?? 0
      #expect(missing.count <= refused, "\(table): \(missing.count) missing; \(report)")
    }
  }

  @Test("Retention never takes a salvage for the newest good snapshot")
  func retention() throws {
    let workshop = try Workshop()
    let good = try workshop.snapshot()
    let salvaged = try workshop.store.take(
      of: try Database.open(workshop.database), version: .zero, reason: .salvage, run: "run-2",
      stop: StopSignal(), progress: { _, _, _ in })
    let removed = try workshop.store.prune(
      SnapshotStore.Retention(days: 0, keepAtLeast: 0, maxTotalBytes: 1), of: workshop.database,
      inUse: [], now: "2099-01-01T00:00:00Z")
    #expect(removed == [salvaged.document.id])
    #expect(try workshop.store.list().map(\.id) == [good.document.id])
  }

  private struct Seeded: RandomNumberGenerator {
    var state: UInt64
    init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 }
    mutating func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
  }
}
