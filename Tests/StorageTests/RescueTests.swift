import Migrations
import SQLite
import Storage
import TestSupport
import Testing

@Suite("What a restore took out is put in again, as far as the database can hold it")
struct RescueTests {
  /// The snapshot that was put back, the copy of the newer state, and the database, each a file of its own.
  private struct Three {
    let workshop: Workshop
    var base: String { workshop.folder("base.db") }
    var copy: String { workshop.folder("copy.db") }

    /// All begin with `schema`; then each goes on by itself.
    init(_ schema: String, newer: String, live: String = "") throws {
      workshop = try Workshop(schema)
      for (path, sql) in [(base, ""), (copy, newer)] {
        try SampleDatabase.make(path, schema + sql, journalMode: "DELETE")
      }
      try workshop.execute(live)
    }

    @discardableResult
    func put(
      _ request: Rescuer.Request = Rescuer.Request(), knowsBase: Bool = true,
      run: String = "run-7"
    ) throws -> [String: RescuedTable] {
      let live = try Database.openForWriting(workshop.database)
      let transaction = try Transaction.begin(live, importOf: run, enforcingForeignKeys: true)
      let rescuer = Rescuer(live, copy: copy, base: base, knowsBase: knowsBase, request)
      let tables = try transaction.rescueRows(
        rescuer, from: "copy", ApplyOrder(run: run, chockVersion: "0.1.0", stop: StopSignal()))
      try transaction.commit()
      return Dictionary(uniqueKeysWithValues: tables.map { ($0.table, $0) })
    }

    func value(_ sql: String) throws -> String? { try workshop.value(sql) }
  }

  @Test(
    "Rows added and changed come in, deleted ones stay unless asked for, and twice changes nothing")
  func whole() throws {
    let three = try Three(
      Workshop.coach,
      newer: """
        INSERT INTO trips VALUES (4, 'Bend'); UPDATE trips SET name = 'Moab again' WHERE id = 1;
        INSERT INTO stops VALUES (4, 4, 'Sisters'); DELETE FROM stops WHERE id = 3; DELETE FROM trips WHERE id = 2;
        INSERT INTO settings VALUES ('theme', 'dark');
        """)
    let first = try three.put()
    #expect(first["trips"]?.added == 1 && first["trips"]?.changed == 1)
    #expect(first["trips"]?.keptDeletions == 1 && first["stops"]?.keptDeletions == 1)
    #expect(first["settings"]?.added == 1)
    #expect(try three.value("SELECT count(*) FROM stops") == "4")
    // The parent's row comes before its children's in one of two passes.
    let second = try three.put(Rescuer.Request(deletes: true), run: "run-8")
    #expect(second["trips"]?.deleted == 1 && second["stops"]?.deleted == 1, "\(second)")
    #expect(second.values.allSatisfy { $0.conflicts == 0 })
    #expect(
      try Comparer(before: three.copy, after: three.workshop.database).run().tables == [])
    let third = try three.put(Rescuer.Request(deletes: true), run: "run-9")
    #expect(third.values.allSatisfy { $0.added + $0.changed + $0.deleted + $0.conflicts == 0 })
  }

  @Test("What has changed in the database as well stays, and is listed")
  func conflicts() throws {
    let three = try Three(
      Workshop.coach,
      newer: """
        INSERT INTO trips VALUES (4, 'Bend'), (5, 'Reno'); UPDATE trips SET name = 'newer' WHERE id IN (1, 2, 3);
        DELETE FROM settings;
        """,
      live: """
        INSERT INTO trips VALUES (4, 'Elko'), (6, 'Ely'); UPDATE trips SET name = 'live' WHERE id = 1;
        DELETE FROM trips WHERE id = 2; UPDATE settings SET value = 'km';
        """)
    let tables = try three.put(Rescuer.Request(deletes: true))
    let trips = try #require(tables["trips"])
    #expect(trips.added == 1 && trips.changed == 1 && trips.conflicts == 3)
    #expect(
      trips.examples.map { "\($0.row): \($0.reason)" } == [
        "id = 1: the row has changed in the database as well",
        "id = 2: the row is no longer in the database", "id = 4: another row has its key",
      ])
    #expect(tables["settings"]?.conflicts == 1 && tables["settings"]?.deleted == 0)
    #expect(
      try three.value("SELECT group_concat(id || name) FROM trips")
        == "1live,3newer,4Elko,5Reno,6Ely")
    #expect(try three.value("SELECT value FROM settings") == "km")
  }

  @Test("Nothing is put in when everything has to be")
  func strict() throws {
    let three = try Three(
      Workshop.coach, newer: "INSERT INTO trips VALUES (4, 'Bend'), (5, 'Reno')",
      live: "INSERT INTO trips VALUES (4, 'Elko')")
    let before = try three.workshop.fingerprint()
    let failure = #expect(throws: Failure.self) {
      try three.put(Rescuer.Request(isStrict: true))
    }
    #expect(failure?.code == .conflict)
    #expect(failure?.message.contains("id = 4: another row has its key") == true)
    #expect(try three.workshop.fingerprint() == before)
  }

  @Test("A constraint leaves out its row alone, and never another one's")
  func constraints() throws {
    let three = try Three(
      """
      CREATE TABLE u (id INTEGER PRIMARY KEY, name TEXT UNIQUE ON CONFLICT REPLACE, n CHECK (n > 0) NOT NULL);
      INSERT INTO u VALUES (1, 'a', 1);
      CREATE TRIGGER t AFTER INSERT ON u WHEN new.id = 5 BEGIN DELETE FROM u WHERE id = 1; END;
      """,
      newer: """
        INSERT INTO u VALUES (2, 'b', 2), (3, 'c', 3); DROP TABLE u;
        CREATE TABLE u (id INTEGER PRIMARY KEY, name TEXT, n);
        INSERT INTO u VALUES (1, 'a', 1), (2, 'taken', 2), (3, 'c', -3), (4, 'd', NULL), (5, 'e', 5);
        """,
      live: "INSERT INTO u VALUES (9, 'taken', 9)")
    let u = try #require(try three.put()["u"])
    #expect(u.added == 1 && u.conflicts == 3, "\(u)")
    #expect(u.examples.map(\.reason).contains { $0.contains("UNIQUE") })
    #expect(try three.value("SELECT group_concat(id || name) FROM u") == "1a,5e,9taken")
  }

  @Test("A row whose parent is not there is left out; one whose parent comes later is not")
  func foreignKeys() throws {
    let schema = """
      CREATE TABLE a_child (id INTEGER PRIMARY KEY, parent_id REFERENCES b_parent (id), up REFERENCES a_child (id));
      CREATE TABLE b_parent (id INTEGER PRIMARY KEY, name UNIQUE);
      INSERT INTO b_parent VALUES (1, 'one');
      """
    let three = try Three(
      schema,
      newer: """
        INSERT INTO b_parent VALUES (2, 'two'), (3, 'three');
        INSERT INTO a_child VALUES (1, 2, 4), (2, 3, NULL), (3, NULL, 2), (4, 1, NULL);
        """,
      live: "INSERT INTO b_parent VALUES (8, 'three')")
    let tables = try three.put()
    #expect(tables["b_parent"]?.added == 1 && tables["b_parent"]?.conflicts == 1, "\(tables)")
    #expect(tables["a_child"]?.added == 2 && tables["a_child"]?.conflicts == 2, "\(tables)")
    #expect(
      tables["a_child"]?.examples.first
        == .init(row: "id = 2", reason: "a row that it refers to is not there"))
    #expect(try three.value("SELECT group_concat(id) FROM a_child") == "1,4")
  }

  @Test("A deletion takes no rows with it that nobody has compared")
  func cascades() throws {
    let three = try Three(
      Workshop.coach, newer: "DELETE FROM stops WHERE trip_id = 1; DELETE FROM trips WHERE id = 1",
      live: "INSERT INTO stops VALUES (9, 1, 'recorded since')")
    let tables = try three.put(Rescuer.Request(deletes: true))
    #expect(tables["stops"]?.deleted == 2)
    #expect(tables["trips"]?.deleted == 0 && tables["trips"]?.conflicts == 1, "\(tables)")
    #expect(tables["trips"]?.examples.first?.reason == "other rows refer to it")
    #expect(try three.value("SELECT place FROM stops WHERE id = 9") == "recorded since")
  }

  @Test("The older schema takes what it has columns for, and says what has no place")
  func olderSchema() throws {
    let three = try Three(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, a); INSERT INTO t VALUES (1, 'x'), (2, 'y');",
      newer: """
        ALTER TABLE t ADD COLUMN more; UPDATE t SET more = 'kept' WHERE id = 1; UPDATE t SET a = 'z' WHERE id = 2;
        INSERT INTO t VALUES (3, 'w', 'also kept'), (4, 'v', NULL);
        CREATE TABLE made (id INTEGER PRIMARY KEY); INSERT INTO made VALUES (1), (2);
        """)
    let tables = try three.put()
    let t = try #require(tables["t"])
    #expect(t.added == 2 && t.changed == 1 && t.same == 1 && t.withoutPlace == 2, "\(t)")
    #expect(tables["made"]?.withoutPlace == 2)
    #expect(tables["made"]?.examples.first?.reason == "the table is not there")
    #expect(try three.value("SELECT group_concat(a) FROM t") == "x,z,w,v")
    // At the newer version again, the rest finds its place.
    try three.workshop.execute(
      "ALTER TABLE t ADD COLUMN more; CREATE TABLE made (id INTEGER PRIMARY KEY)")
    let again = try three.put(run: "run-8")
    #expect(again["made"]?.added == 2)
    #expect(again["t"]?.changed == 2 && again["t"]?.conflicts == 0, "\(again)")
    #expect(
      try three.value("SELECT group_concat(more) FROM t ORDER BY id") == "kept,also kept")
  }

  @Test("Without the snapshot only rows come in that are not there")
  func noBase() throws {
    let three = try Three(
      Workshop.coach,
      newer:
        "INSERT INTO trips VALUES (4, 'Bend'); UPDATE trips SET name = 'x' WHERE id = 1; DELETE FROM settings"
    )
    let tables = try three.put(Rescuer.Request(deletes: true), knowsBase: false)
    #expect(tables["trips"]?.added == 1 && tables["trips"]?.changed == 0)
    #expect(tables["trips"]?.conflicts == 1 && tables["settings"]?.conflicts == 1)
    #expect(try three.value("SELECT name FROM trips WHERE id = 1") == "Moab")
  }

  @Test("Full-text tables get their rows, and indexes of other tables are rebuilt")
  func fullText() throws {
    let three = try Three(
      """
      CREATE VIRTUAL TABLE words USING fts5 (text);
      CREATE TABLE item (id INTEGER PRIMARY KEY, body);
      CREATE VIRTUAL TABLE found USING fts5 (body, content = 'item', content_rowid = 'id');
      INSERT INTO words (rowid, text) VALUES (1, 'one');
      """,
      newer: """
        INSERT INTO words (rowid, text) VALUES (2, 'two'); UPDATE words SET text = 'eins' WHERE rowid = 1;
        INSERT INTO item VALUES (1, 'quick fox');
        """)
    let tables = try three.put()
    #expect(tables["words"]?.added == 1 && tables["words"]?.changed == 1, "\(tables)")
    #expect(try three.value("SELECT rowid FROM words('eins')") == "1")
    #expect(try three.value("SELECT rowid FROM found('fox')") == "1")
  }

  @Test("One table alone; a value that would become another one is left out")
  func exact() throws {
    let three = try Three(
      "CREATE TABLE a (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE b (id INTEGER PRIMARY KEY);",
      newer: """
        DROP TABLE a; CREATE TABLE a (id INTEGER PRIMARY KEY, n);
        INSERT INTO a VALUES (1, '12'), (2, 12), (3, x'00'); INSERT INTO b VALUES (1);
        """)
    let tables = try three.put(Rescuer.Request(tables: ["a"]))
    #expect(tables.keys.sorted() == ["a"])
    #expect(tables["a"]?.added == 2 && tables["a"]?.conflicts == 1, "\(tables)")
    #expect(try three.value("SELECT group_concat(id) FROM a") == "2,3")
  }

  @Test("Real numbers come back to the last bit, whatever the shell makes of long ones")
  func literals() throws {
    let folder = try TemporaryFolder()
    let (before, after) = (folder("before.db"), folder("after.db"))
    try SampleDatabase.make(before, "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    try SampleDatabase.make(after, "CREATE TABLE t (id INTEGER PRIMARY KEY, x)")
    let connection = try Connection(path: after, mode: .readWrite)
    let insert = try connection.prepare("INSERT INTO t (x) VALUES (?1)")
    var numbers = [
      0.1 + 0.2, .leastNonzeroMagnitude, -.greatestFiniteMagnitude, .pi,
      Double(bitPattern: 0x000f_ffff_ffff_ffff),
      -0.0, .infinity,
    ]
    for _ in 0..<2000 {
      let number = Double(bitPattern: UInt64.random(in: 0...(.max)))
      if number.isFinite { numbers.append(number) }
    }
    try connection.execute("BEGIN")
    for number in numbers {
      try insert.bind(number, at: 1)
      try insert.run()
    }
    try connection.execute("COMMIT")
    _ = try RescueExport.write(
      before: before, after: after, to: folder("out"), copy: "x", snapshot: nil)
    try SampleDatabase.change(before, TestCoach.text(folder("out/rescue.sql")))
    #expect(try Comparer(before: before, after: after).run().tables == [])
    let failure = #expect(throws: Failure.self) {
      try RescueExport.write(
        before: before, after: after, to: folder("out"), copy: "x", snapshot: nil)
    }
    #expect(failure?.code == .notAllowed)
  }
}
