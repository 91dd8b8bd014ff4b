import Glibc
import Migrations
import SQLite
import Storage
import Synchronization
import TestSupport
import Testing

/// Databases and migrations made by chance, through the engine and through the plain `sqlite3` shell:
/// what chock accepts gives what the same SQL gives there, and what it refuses leaves all as it was.
///
/// CHOCK_TORTURE=1 tries 5,000 of them, CHOCK_SEED says where to begin.
@Suite(.enabled(if: Oracle.isPossible, "Needs the sqlite3 shell."))
struct RandomProgramTests {
  private static func number(_ variable: String) -> UInt64? {
    getenv(variable).flatMap { UInt64(String(cString: $0)) }
  }

  @Test("A program is carried out as sqlite3 does it, or changes nothing") func programs()
    async throws
  {
    let isTorture = Self.number("CHOCK_TORTURE") == 1
    let first = Self.number("CHOCK_SEED") ?? 1
    let seeds = first..<first + (isTorture ? 5000 : 150)
    let tally = Tally(first)
    await withTaskGroup { group in
      for _ in 0..<max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) {
        group.addTask {
          while let seed = tally.next(below: seeds.upperBound) {
            let program = RandomProgram(seed: seed)
            // If the process itself dies, this is all that is left.
            if isTorture { print("seed \(seed)") }
            let found: (outcome: String, complaints: [String])
            do { found = try ProgramTrial(program)() } catch { found = ("none", ["\(error)"]) }
            tally.count(program, found.outcome, isBad: !found.complaints.isEmpty)
            for complaint in found.complaints {
              Issue.record("\(complaint)\n\(program.listing)")
            }
            // Each blocks its thread: the tests beside this one have their turn here.
            await Task.yield()
          }
        }
      }
    }
    // Programs of which all fail, or none, would prove little.
    let (codes, kinds) = tally.result
    print("random programs from seed \(first): \(codes.sorted { $0.key < $1.key })")
    let accepted = codes["accepted", default: 0]
    #expect(accepted > seeds.count / 3 && accepted < seeds.count * 4 / 5)
    for code: Failure.Code in [
      .statement, .forbiddenStatement, .timeout, .preflight, .validation, .foreignKeys, .rowsLost,
      .expectation,
    ] {
      #expect(codes[code.rawValue] != nil, "\(code)")
    }
    #expect(kinds.count >= 30, "\(kinds.sorted())")
  }

  /// The SQL that spoils a database which is right, and whether it is in the rows or the schema.
  static let tampers: [(sql: String, isContent: Bool)] = [
    ("UPDATE t SET v = 1 WHERE k = 1", true),
    ("UPDATE t SET v = -1e-300 * 1e-300 WHERE k = 2", true),
    ("UPDATE t SET v = 'a' || char(0) || 'c' WHERE k = 3", true),
    ("UPDATE t SET v = '' WHERE k = 4", true), ("UPDATE t SET v = x'' WHERE k = 5", true),
    ("UPDATE t SET v = 9007199254740992 WHERE k = 6", true),
    ("UPDATE t SET v = char(97, 776) WHERE k = 7", true), ("DELETE FROM t WHERE k = 4", true),
    ("UPDATE f SET body = 'Tire' WHERE rowid = 1", true),
    ("UPDATE sqlite_sequence SET seq = 99", true), ("DROP INDEX i", true),
    ("DROP INDEX i; CREATE INDEX i ON t (v) WHERE v > 2", true), ("DROP VIEW w", true),
    ("DROP TRIGGER g", true), ("ALTER TABLE t RENAME COLUMN v TO V", true),
    ("UPDATE p SET rowid = 8", false), ("PRAGMA user_version = 4", false),
    ("PRAGMA application_id = 4", false), ("PRAGMA journal_mode = DELETE", false),
  ]

  private static let sound = """
    PRAGMA journal_mode = WAL;
    CREATE TABLE t (k INTEGER PRIMARY KEY AUTOINCREMENT, v);
    CREATE TABLE p (a); INSERT INTO p VALUES (1);
    INSERT INTO t VALUES (1, '1'), (2, 0.0), (3, 'a' || char(0) || 'b'), (4, NULL), (5, ''),
      (6, 9007199254740993), (7, char(228));
    CREATE INDEX i ON t (v) WHERE v > 1; CREATE VIEW w AS SELECT v FROM t;
    CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;
    CREATE VIRTUAL TABLE f USING fts5(body); INSERT INTO f VALUES ('tire');
    CREATE TABLE chock_migrations (version TEXT);
    """

  @Test("The comparison notices one changed value, and so does the fingerprint", arguments: tampers)
  func tampered(sql: String, isContent: Bool) throws {
    let folder = try TemporaryFolder()
    let (oracle, path) = (Oracle(folder: folder), folder("a.db"))
    try #require(try oracle.run(Self.sound, on: path).code == 0)
    let (state, fingerprint) = (try oracle.state(of: path), try SampleDatabase.fingerprint(path))
    #expect(try oracle.state(of: path) == state)
    try #require(try oracle.run(sql + ";", on: path).code == 0)
    #expect(try oracle.state(of: path).content != state.content)
    if isContent { #expect(try SampleDatabase.fingerprint(path) != fingerprint) }
  }

  @Test(
    "A database that is not what the program makes of it is found",
    arguments: [
      "INSERT INTO t VALUES (1, 1);", "INSERT INTO t VALUES (1, '1'); DELETE FROM t;",
      "INSERT INTO t VALUES (1, '1'); PRAGMA user_version = 7;", "SELECT 1;",
    ])
  func wrongEngine(sql: String) throws {
    var program = RandomProgram(seed: 0, journalMode: "WAL", pageSize: 4096)
    program.setup = "CREATE TABLE t (k INTEGER PRIMARY KEY, v);"
    program.files = [ProgramFile(migrate: ["INSERT INTO t VALUES (1, '1');"])]
    #expect(try ProgramTrial(program)() == ("accepted", []))
    let (_, complaints) = try ProgramTrial(program)(migrations: [sql])
    #expect(complaints.contains { $0.contains("is not what sqlite3 made") })
  }

  @Test("A program that should have been refused, or accepted, is found") func wrongVerdict() throws
  {
    var program = RandomProgram(seed: 0, journalMode: "WAL", pageSize: 4096)
    program.setup = "CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1);"
    program.files = [ProgramFile(migrate: ["DELETE FROM t;"])]
    #expect(try ProgramTrial(program)() == ("CHK-ROWS-LOST", []))
    #expect(try !ProgramTrial(program)(migrations: ["SELECT 1;"]).complaints.isEmpty)
    #expect(try !ProgramTrial(program)(migrations: ["BAD;"]).complaints.isEmpty)
    program.files = [ProgramFile(migrate: ["SELECT 1;"])]
    #expect(try !ProgramTrial(program)(migrations: ["DELETE FROM t;"]).complaints.isEmpty)
  }

  @Test("A refused program that left something behind is found") func leftBehind() throws {
    var program = RandomProgram(seed: 0, journalMode: "WAL", pageSize: 4096)
    program.setup = "CREATE TABLE t (k INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 1);"
    program.files = [ProgramFile(migrate: ["BAD;"])]
    #expect(try ProgramTrial(program)() == ("CHK-STATEMENT", []))
    #expect(try !ProgramTrial(program)(tampering: "UPDATE t SET v = '1';").complaints.isEmpty)
  }
}

/// Which seed is next, and what has come of those before.
private final class Tally: Sendable {
  private let state: Mutex<(next: UInt64, codes: [String: Int], kinds: Set<String>, bad: Int)>

  init(_ first: UInt64) { state = Mutex((first, [:], [], 0)) }

  /// Nil at the end, or when so many are wrong that more would only hide them.
  func next(below end: UInt64) -> UInt64? {
    state.withLock {
      guard $0.next < end, $0.bad < 10 else { return nil }
      $0.next += 1
      return $0.next - 1
    }
  }

  func count(_ program: RandomProgram, _ outcome: String, isBad: Bool) {
    state.withLock {
      $0.codes[outcome, default: 0] += 1
      $0.kinds.formUnion(program.kinds)
      $0.bad += isBad ? 1 : 0
    }
  }

  var result: (codes: [String: Int], kinds: Set<String>) {
    state.withLock { ($0.codes, $0.kinds) }
  }
}

/// One program, through both.
private struct ProgramTrial {
  private let program: RandomProgram
  private let folder: TemporaryFolder
  private let oracle: Oracle
  private let engine: ProgramEngine
  private var database: String { engine.database }

  init(_ program: RandomProgram) throws {
    self.program = program
    folder = try TemporaryFolder()
    oracle = Oracle(folder: folder)
    engine = ProgramEngine(database: folder("coach.db"), stateFolder: folder("state"))
  }

  /// How it ended (`accepted` or the code of the failure), and what is wrong with that.
  ///
  /// - Parameters:
  ///   - migrations: what the engine gets instead, to see that this is noticed.
  ///   - tampering: SQL that is run behind the engine's back, to see that this is noticed.
  func callAsFunction(migrations: [String]? = nil, tampering: String? = nil) throws
    -> (outcome: String, complaints: [String])
  {
    let made = try oracle.run(
      "PRAGMA page_size = \(program.pageSize);\nPRAGMA synchronous = OFF;\n\(program.setup)\n.output /dev/null\nPRAGMA journal_mode = \(program.journalMode);\n",
      on: database)
    try #require(made.code == 0, "The database could not be made: \(made.output)")
    try engine.adopt()
    let before = try oracle.state(of: database)
    let fingerprint = try SampleDatabase.fingerprint(database)
    try copyFile(database, to: folder("oracle.db"))
    let verdict = try oracle.judge(program, on: folder("oracle.db"), before: before)
    let texts = migrations ?? program.files.map(\.text)

    var complaints: [String] = []
    func compare(_ state: Oracle.State, _ words: String) throws {
      let now = try oracle.state(of: database)
      if now != state {
        complaints.append("\(words): \(difference(state.content, now.content))")
      }
    }
    // With the rehearsal nothing wrong gets as far as the database; without, the rollback has to hold.
    for rehearsing in [true, false] {
      do throws(Failure) {
        let snapshot = try engine.update(texts, rehearsing: rehearsing)
        if !verdict.reasons.isEmpty {
          complaints.append("It was accepted, and has to fail with \(verdict.reasons).")
        }
        guard let after = verdict.after else { return ("accepted", complaints) }
        if let tampering { tamper(tampering) }
        do {
          try compare(after, "The result is not what sqlite3 made")
          try engine.restore(snapshot)
          try compare(before, "The restored database is not the old one")
        } catch {
          complaints.append("After the update: \(error)")
        }
        return ("accepted", complaints)
      } catch {
        if let tampering { tamper(tampering) }
        try compare(before, "\(error.code) left something behind")
        if try SampleDatabase.fingerprint(database) != fingerprint {
          complaints.append("\(error.code) changed the fingerprint.")
        }
        if !verdict.reasons.union(verdict.doubts).contains(error.code) {
          complaints.append(
            "It was refused (\(error)), and sqlite3 sees \(verdict.reasons): \(verdict.output)")
        }
        if !rehearsing { return (error.code.rawValue, complaints) }
      }
    }
    return ("none", complaints)
  }

  private func tamper(_ sql: String) {
    _ = try? oracle.run(sql, on: database)
  }

  /// The first line in which two texts differ.
  private func difference(_ wanted: [UInt8], _ found: [UInt8]) -> String {
    let newline = UInt8(ascii: "\n")
    let wanted = wanted.split(separator: newline, omittingEmptySubsequences: false)
    let found = found.split(separator: newline, omittingEmptySubsequences: false)
    for index in 0..<max(wanted.count, found.count) {
      let pair = [wanted, found].map { index < $0.count ? Array($0[index]) : [] }
      if pair[0] != pair[1] {
        let texts = pair.map { String(decoding: $0.prefix(300), as: UTF8.self) }
        return "line \(index + 1): \(texts[0]) / \(texts[1])"
      }
    }
    return "only in counts, orphans or quick_check"
  }
}

/// The calls of the engine, in the order in which `UpdateRun` makes them. All of them are here.
private struct ProgramEngine {
  let database: String
  let stateFolder: String
  private var store: SnapshotStore { SnapshotStore(stateFolder: stateFolder, chockVersion: "0") }

  func adopt() throws(Failure) {
    try Creation.adopt(
      database, at: .zero, catalog: try catalog(["SELECT 1;"]), run: "adopt", chockVersion: "0")
  }

  private func catalog(_ texts: [String]) throws(Failure) -> MigrationCatalog {
    var migrations: [Migration] = []
    for (index, text) in texts.enumerated() {
      let name = "000\(index + 1)_change.sql"
      migrations.append(try Migration(fileName: name, path: name, text: text))
    }
    return try MigrationCatalog(directory: "", migrations: migrations)
  }

  func update(_ texts: [String], rehearsing: Bool) throws(Failure) -> Snapshot {
    let stop = StopSignal()
    let live = try Database.openForWriting(database)
    let ledger = try LedgerTable.read(live) ?? Ledger(entries: [])
    let plan = try Plan(catalog: try catalog(texts), ledger: ledger)
    let snapshot = try store.take(
      of: live, version: plan.from, reason: .beforeUpdate, run: "run", stop: stop,
      progress: { _, _, _ in })
    let order = ApplyOrder(run: "run", chockVersion: "0", stop: stop)
    let rehearsal =
      rehearsing
      ? try snapshot.rehearse(plan, order, in: stateFolder + "/work", reserveBytes: 0) : nil
    let transaction = try Transaction.begin(live, plan: plan)
    guard try transaction.isUnchanged(since: snapshot) else { throw Failure(.planChanged, "!") }
    _ = try transaction.apply(
      plan, order, baseline: snapshot.baseline, rehearsal: rehearsal, .asRun)
    try transaction.commit()
    return snapshot
  }

  func restore(_ snapshot: Snapshot) throws(Failure) {
    try Restorer(
      databasePath: database, store: store, rescueFolder: stateFolder + "/rescue",
      stop: StopSignal(), progress: { _, _, _ in }
    ).restore(snapshot.document.id, run: "restore", commit: { _ in })
  }
}
