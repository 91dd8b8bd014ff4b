import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

/// The repository's migrations/ on databases of every version.
enum Shipped {
  static let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
  static let migrations = "\(top)/migrations"
  static let fixtures = "\(top)/Tests/Fixtures"
  static let head = 19

  /// The versions of which a database is kept that an older chock has made.
  static let kept = 1...3

  static func coach() throws -> TestCoach {
    try TestCoach(
      config: "\(TestCoach.development)\n[snapshots]\nkeep_at_least = 1",
      migrationsDirectory: migrations)
  }

  /// A coach with a database at this version, in each table of which something is recorded.
  static func coach(at version: Int) async throws -> TestCoach {
    let coach = try coach()
    let ladder = try await Ladder.shared.databases()
    try FileSystem.replace(coach.database, with: try #require(ladder[version]))
    return coach
  }

  /// Makes the databases that are not kept: each from the one before, with its own rows.
  private actor Ladder {
    static let shared = Ladder()
    private var making: Task<[Int: [UInt8]], any Error>?

    func databases() async throws -> [Int: [UInt8]] {
      if let making { return try await making.value }
      let making = Task { try await make() }
      self.making = making
      return try await making.value
    }

    private func make() async throws -> [Int: [UInt8]] {
      var made: [Int: [UInt8]] = [:]
      for version in kept { made[version] = try FileSystem.read("\(fixtures)/v\(version).db") }
      let coach = try coach()
      try FileSystem.replace(coach.database, with: try #require(made[kept.upperBound]))
      for version in (kept.upperBound + 1)...head {
        let answer = try await coach.run("update", "--to", "\(version)", "--offline", "--json")
        try #require(answer.code == 0, "\(answer)")
        let digits = String(repeating: "0", count: version < 10 ? 3 : 2) + "\(version)"
        let rows = try #require(try FileSystem.read("\(fixtures)/rows/\(digits).sql"))
        let connection = try Connection(path: coach.database, mode: .readWrite)
        try connection.execute("PRAGMA foreign_keys = ON")
        try connection.execute(String(decoding: rows, as: UTF8.self))
        try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        made[version] = try FileSystem.read(coach.database)
      }
      return made
    }
  }

  /// Each CREATE statement of a database, but for the ledger.
  static func schema(_ database: String) throws -> [String] {
    let connection = try Connection(path: database, mode: .readOnly)
    let list = try connection.prepare(
      """
      SELECT type || ' ' || name || ': ' || sql FROM sqlite_schema
      WHERE sql IS NOT NULL AND tbl_name <> 'chock_migrations' ORDER BY 1
      """)
    var lines: [String] = []
    while try list.step() { lines.append(list.text(0) ?? "") }
    return lines
  }
}

@Suite("The shipped schema is reached from every version, and left again")
struct ShippedSchemaTests {
  @Test(
    "Up to the newest like a new database, and back to what it was", .timeLimit(.minutes(15)),
    arguments: 1...Shipped.head)
  func upAndBack(version: Int) async throws {
    let coach = try await Shipped.coach(at: version)
    let old = try coach.fingerprint()
    #expect(try coach.ledgerVersion() == "\(version)")
    let up = try await coach.run("update", "--offline", "--json")
    #expect(up.code == 0, "\(up)")
    let fresh = try Shipped.coach()
    #expect(try await fresh.run("init").code == 0)
    #expect(try Shipped.schema(coach.database) == Shipped.schema(fresh.database))
    let back = try await coach.run("rollback", "--to", "\(version)", "--offline", "--yes", "--json")
    #expect(back.code == 0, "\(back)")
    #expect(try coach.fingerprint() == old)
  }

  @Test("Every file has its way back, says its phase and what it needs") func headers() throws {
    let catalog = try MigrationCatalog(directory: Shipped.migrations)
    #expect(catalog.migrations.count == Shipped.head)
    for migration in catalog.migrations {
      #expect(catalog.rollbacks[migration.version] != nil, "\(migration.fileName)")
      guard let number = Int(migration.version.description), number > 6 else { continue }
      #expect(migration.phase != nil && migration.estimatedTime != nil, "\(migration.fileName)")
      #expect(!migration.preflight.isEmpty && !migration.validate.isEmpty, "\(migration.fileName)")
    }
  }

  @Test("What an application of version 6 writes goes on working", .timeLimit(.minutes(15)))
  func oldWrites() async throws {
    let coach = try await Shipped.coach(at: 1)
    _ = try await coach.run("update", "--offline")
    let connection = try Connection(path: coach.database, mode: .readWrite)
    try connection.execute("PRAGMA foreign_keys = ON")
    for number in 2...6 {
      let rows = try #require(try FileSystem.read("\(Shipped.fixtures)/rows/000\(number).sql"))
      try connection.execute(String(decoding: rows, as: UTF8.self))
    }
    try connection.execute(
      "INSERT INTO profiles (name, created_at) SELECT 'Late', created_at FROM profiles LIMIT 1")
    #expect(
      try connection.text(
        "SELECT count(*) FROM planning_preferences JOIN profiles ON profiles.id = profile_id")
        == connection.text("SELECT count(*) FROM profiles"))
  }

  @Test("Gear is found by its beginning and without its accents", .timeLimit(.minutes(15)))
  func search() async throws {
    let coach = try await Shipped.coach(at: Shipped.head)
    let connection = try Connection(path: coach.database, mode: .readWrite)
    func found(_ words: String) throws -> String? {
      try connection.text(
        """
        SELECT group_concat(equipment.name) FROM equipment_search('\(words)') AS hit
        JOIN equipment ON equipment.id = hit.rowid
        """)
    }
    #expect(try found("fur zwei") == "Zelt für zwei Personen")
    #expect(try found("gen*") == "Generator")
    #expect(try found("tags: ete") == "Zelt für zwei Personen")
    try connection.execute("UPDATE equipment SET name = 'Stromerzeuger' WHERE name = 'Generator'")
    #expect(try found("gen*") == nil)
    #expect(try found("strom*") == "Stromerzeuger")
  }
}
