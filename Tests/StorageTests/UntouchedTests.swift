import Migrations
import SQLite
import TestSupport
import Testing

@testable import Storage

@Suite("A table that no statement writes to is the same before and after")
struct UntouchedTests {
  private func transaction(
    _ workshop: Workshop, _ text: String
  ) throws -> (Connection, Plan, Transaction) {
    let plan = try workshop.plan(try workshop.catalog(text))
    let connection = try Database.openForWriting(workshop.database)
    return (connection, plan, try Transaction.begin(connection, plan: plan))
  }

  private func apply(
    _ plan: Plan, _ transaction: Transaction, _ baseline: Baseline?
  ) throws -> ApplyReport {
    try transaction.apply(
      plan, ApplyOrder(run: "r", chockVersion: "0"), baseline: baseline, rehearsal: nil, .asRun)
  }

  /// A change inside the transaction that SQLite's authorizer was not asked about: what a mistake in the
  /// guard, or in SQLite, would look like.
  @Test(
    "One that changed all the same takes everything back",
    arguments: ["WAL", "DELETE"],
    [
      "UPDATE trips SET name = 'Reno' WHERE id = 3", "DELETE FROM stops WHERE id = 1",
      "UPDATE settings SET value = NULL", "CREATE INDEX stops_by_place ON stops (place)",
      "INSERT INTO trips VALUES (9, '')",
    ])
  func changed(mode: String, change: String) throws {
    let workshop = try Workshop(journalMode: mode)
    let snapshot = try workshop.snapshot()
    let before = try workshop.fingerprint()
    let (connection, plan, transaction) = try transaction(
      workshop, "CREATE TABLE notes (text TEXT) STRICT;")
    try connection.execute(change)
    let failure = try #require(throws: Failure.self) {
      try apply(plan, transaction, snapshot.baseline)
    }
    #expect(failure.code == .integrity)
    #expect(failure.message.contains("no statement writes to it"))
    #expect(try workshop.fingerprint() == before)
  }

  @Test("The number that AUTOINCREMENT has reached belongs to its table") func sequence() throws {
    let workshop = try Workshop(
      "CREATE TABLE tickets (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO tickets VALUES (7);"
    )
    let snapshot = try workshop.snapshot()
    let (connection, plan, transaction) = try transaction(workshop, "CREATE TABLE notes (a);")
    try connection.execute("UPDATE sqlite_sequence SET seq = 3")
    let failure = try #require(throws: Failure.self) {
      try apply(plan, transaction, snapshot.baseline)
    }
    #expect(failure.message.contains("AUTOINCREMENT number of tickets"))
  }

  @Test(
    "The pages that were written prove it, without a look at the rows",
    arguments: [
      "ALTER TABLE readings ADD COLUMN note TEXT;", "INSERT INTO marks VALUES (1, 1);",
      "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('a');",
      "UPDATE readings SET value = zeroblob(901) WHERE id % 100 = 0;",
      "CREATE INDEX readings_by_value ON readings (value);",
    ])
  func proof(sql: String) throws {
    let workshop = try Workshop(Workshop.manyPages)
    let snapshot = try workshop.snapshot()
    let (connection, plan, transaction) = try transaction(workshop, sql)
    let report = try apply(plan, transaction, snapshot.baseline)
    let verifier = Verifier(
      connection: connection, plan: plan, report: report, before: snapshot.baseline, isAlone: true,
      thoroughness: .asRun, verdicts: Verdicts(), rehearsal: nil)
    #expect(try verifier.onlyWrote(to: report.touchedTables))
    // It notices that another table was written.
    try connection.execute("UPDATE marks SET n = 2; INSERT INTO marks VALUES (77, 77)")
    #expect(try verifier.onlyWrote(to: [TableKey("readings"), TableKey("notes")]) == false)
  }

  @Test("What was changed before the transaction began is not its doing") func earlier() throws {
    let workshop = try Workshop(Workshop.manyPages)
    try workshop.execute("INSERT INTO marks VALUES (5, 5)")
    let (connection, _, _) = try transaction(workshop, "SELECT 1;")
    #expect(try connection.changedPages() == [])
    try connection.execute("INSERT INTO marks VALUES (6, 6)")
    // One leaf; page 1 stays in memory as long as the transaction is open.
    #expect(try #require(try connection.changedPages()).count <= 2)
  }

  @Test("Without a write-ahead log nothing is known of the pages") func noLog() throws {
    let workshop = try Workshop(journalMode: "DELETE")
    let (connection, _, _) = try transaction(workshop, "SELECT 1;")
    try connection.execute("INSERT INTO trips VALUES (9, '')")
    #expect(try connection.changedPages() == nil)
    #expect(try FileSystem.names(in: workshop.folder.path).contains("coach.db-shm") == false)
  }

  @Test(
    "Names that Swift would take for the same are different tables",
    arguments: [
      ("\u{c9}t\u{e9}", "\u{e9}t\u{e9}"), ("caf\u{e9}", "cafe\u{301}"), ("\u{212b}", "\u{c5}"),
    ])
  func names(first: String, second: String) throws {
    let workshop = try Workshop(
      """
      CREATE TABLE "\(first)" (a); INSERT INTO "\(first)" VALUES (1), (2);
      CREATE TABLE "\(second)" (a); INSERT INTO "\(second)" VALUES (1);
      """)
    let failure = try workshop.failure(of: "DELETE FROM \"\(first)\" WHERE a = 2;")
    #expect(failure.code == .rowsLost)
    #expect(failure.message.contains("1 of its 2 rows"))
    try workshop.update("-- Expect: \"\(first)\" rows -1\nDELETE FROM \"\(first)\" WHERE a = 2;")
  }

  @Test("A foreign key that never fitted its parent does not stop an update") func mismatch() throws
  {
    let workshop = try Workshop(
      """
      CREATE TABLE parent (a); CREATE TABLE child (b REFERENCES parent (a));
      INSERT INTO child VALUES (1);
      """)
    try workshop.update("ALTER TABLE parent ADD COLUMN c; ALTER TABLE child ADD COLUMN d;")
    let failure = try Workshop().failure(
      of: "CREATE TABLE parent (a); CREATE TABLE child (b REFERENCES parent (a));")
    #expect(failure.code == .foreignKeys)
    #expect(failure.message.contains("would not fit"))
  }

  @Test(
    "A table is followed under its new name, also where another took the old one",
    arguments: [
      "ALTER TABLE trips RENAME TO old; CREATE TABLE trips (a); ALTER TABLE trips RENAME TO third;",
      "ALTER TABLE trips RENAME TO t; ALTER TABLE settings RENAME TO trips; ALTER TABLE t RENAME TO settings;",
      "ALTER TABLE trips RENAME TO a; ALTER TABLE a RENAME TO b; ALTER TABLE b RENAME TO trips;",
    ], [true, false])
  func followed(renames: String, loses: Bool) throws {
    let workshop = try Workshop(
      """
      CREATE TABLE trips (id INTEGER PRIMARY KEY); INSERT INTO trips VALUES (1), (2), (3);
      CREATE TABLE settings (key TEXT); INSERT INTO settings VALUES ('unit');
      """)
    guard loses else {
      try workshop.update(renames)
      return
    }
    let name = renames.contains("old") ? "old" : renames.contains("settings") ? "settings" : "trips"
    let failure = try workshop.failure(of: "\(renames) DELETE FROM \(name) WHERE id = 1;")
    #expect(failure.code == .rowsLost)
    #expect(failure.message.hasPrefix("trips would lose 1 of its 3 rows"))
  }
}
