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

  // MARK: Values that only one row may have

  /// Eight stops of a trip, each with a photo, and two trips beside it.
  private static let stops = """
    CREATE TABLE trip (id INTEGER PRIMARY KEY);
    CREATE TABLE stop (
      id INTEGER PRIMARY KEY, trip_id INTEGER NOT NULL REFERENCES trip (id),
      position INTEGER NOT NULL CHECK (position > 0), code TEXT UNIQUE COLLATE NOCASE,
      UNIQUE (trip_id, position)) STRICT;
    CREATE TABLE photo (id INTEGER PRIMARY KEY, stop_id INTEGER REFERENCES stop (id) ON DELETE CASCADE);
    INSERT INTO trip VALUES (1), (2);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8)
    INSERT INTO stop SELECT i, 1, i, 'c' || i FROM n;
    INSERT INTO stop VALUES (21, 2, 1, 'x'), (22, 2, 2, 'y');
    INSERT INTO photo SELECT id, id FROM stop;
    """

  /// A stop at the front: each of the others is one further on.
  private static let inserted = """
    UPDATE stop SET position = position + 1000 WHERE trip_id = 1;
    UPDATE stop SET position = position - 999 WHERE trip_id = 1;
    INSERT INTO stop VALUES (9, 1, 1, 'front');
    """

  /// Two take each other's place and code.
  private static let swapped = """
    UPDATE stop SET position = position + 100, code = NULL WHERE trip_id = 2;
    UPDATE stop SET position = 2, code = 'Y' WHERE id = 21;
    UPDATE stop SET position = 1, code = 'X' WHERE id = 22;
    """

  @Test("Rows that take one another's place come in together: a shift, a swap, and both")
  func moving() throws {
    for newer in [Self.inserted, Self.swapped, Self.inserted + Self.swapped] {
      let three = try Three(Self.stops, newer: newer)
      let tables = try three.put(Rescuer.Request(isStrict: true))
      #expect(tables["stop"]?.conflicts == 0, "\(tables)")
      #expect(try Comparer(before: three.copy, after: three.workshop.database).run().tables == [])
      #expect(try three.value("SELECT count(*) FROM photo") == "10")
      #expect(try three.put(run: "run-8")["stop"]?.changed == 0)
    }
    let three = try Three(Self.stops, newer: Self.inserted + Self.swapped)
    let stop = try #require(try three.put()["stop"])
    #expect(stop.added == 1 && stop.changed == 10 && stop.same == 0, "\(stop)")
  }

  @Test("What stands in the way of a row that stays is left out with it, and has its own values")
  func standing() throws {
    let three = try Three(
      Self.stops, newer: Self.inserted + Self.swapped,
      live: "INSERT INTO stop VALUES (40, 1, 9, 'since')")
    let stop = try #require(try three.put()["stop"])
    #expect(stop.added == 0 && stop.changed == 2 && stop.conflicts == 9, "\(stop)")
    #expect(stop.examples.allSatisfy { $0.reason.contains("UNIQUE") }, "\(stop)")
    #expect(
      try three.value(
        "SELECT group_concat(position || code) FROM (SELECT * FROM stop WHERE trip_id = 1 ORDER BY id)"
      ) == "1c1,2c2,3c3,4c4,5c5,6c6,7c7,8c8,9since")
    #expect(
      try three.value(
        "SELECT group_concat(position || code) FROM (SELECT * FROM stop WHERE trip_id = 2 ORDER BY id)"
      ) == "2Y,1X")
    #expect(try three.value("SELECT count(*) FROM photo") == "10")
  }

  @Test("A row that another one follows is not moved out of the way")
  func followed() throws {
    let three = try Three(
      """
      CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
      CREATE TABLE level (id INTEGER PRIMARY KEY, tank TEXT REFERENCES tank (name) ON UPDATE CASCADE);
      INSERT INTO tank VALUES (1, 'fresh'), (2, 'grey'), (3, 'a'), (4, 'b');
      INSERT INTO level VALUES (1, 'fresh');
      """,
      newer: """
        UPDATE tank SET name = 'z' || name; UPDATE tank SET name = 'grey' WHERE id = 1;
        UPDATE tank SET name = 'fresh' WHERE id = 2; UPDATE tank SET name = 'b' WHERE id = 3;
        UPDATE tank SET name = 'a' WHERE id = 4;
        """)
    let tank = try #require(try three.put(Rescuer.Request(tables: ["tank"]))["tank"])
    #expect(tank.changed == 2 && tank.conflicts == 2, "\(tank)")
    #expect(
      try three.value("SELECT group_concat(name) FROM (SELECT * FROM tank ORDER BY id)")
        == "fresh,grey,b,a")
    #expect(try three.value("SELECT tank FROM level") == "fresh")
  }

  @Test("Thousands that move do so at once", .timeLimit(.minutes(5)))
  func manyMoving() throws {
    let three = try Three(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY, place INTEGER NOT NULL UNIQUE);
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
      INSERT INTO t SELECT i, i FROM n;
      """,
      newer:
        "UPDATE t SET place = -place; UPDATE t SET place = 1 - place; INSERT INTO t VALUES (0, 1);")
    let t = try #require(try three.put()["t"])
    #expect(t.changed == 5000 && t.added == 1 && t.conflicts == 0, "\(t)")
    #expect(try Comparer(before: three.copy, after: three.workshop.database).run().tables == [])
  }

  @Test("The exported SQL moves them, too, whether foreign keys are enforced or not")
  func exportedMoves() throws {
    for enforced in ["ON", "OFF"] {
      let three = try Three(
        Self.stops,
        newer:
          "\(Self.inserted)\(Self.swapped) INSERT INTO photo VALUES (90, 9); INSERT INTO trip VALUES (3);"
      )
      _ = try RescueExport.write(
        before: three.base, after: three.copy, to: three.workshop.folder("out"), copy: "x",
        snapshot: "y")
      try three.workshop.execute(
        "PRAGMA foreign_keys = \(enforced); "
          + TestCoach.text(three.workshop.folder("out/rescue.sql")))
      #expect(try Comparer(before: three.copy, after: three.workshop.database).run().tables == [])
    }
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

  @Test("A number that was given to a row which is gone is not given again")
  func sequences() throws {
    let three = try Three(
      """
      CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x); INSERT INTO t (x) VALUES ('one');
      CREATE TABLE empty (id INTEGER PRIMARY KEY AUTOINCREMENT, x); CREATE TABLE other (id INTEGER PRIMARY KEY AUTOINCREMENT, x);
      """,
      newer: """
        INSERT INTO t (x) VALUES ('two'), ('three'); DELETE FROM t WHERE id > 1;
        INSERT INTO empty (id) VALUES (7); DELETE FROM empty; INSERT INTO other (id) VALUES (5); DELETE FROM other;
        """)
    try three.put(Rescuer.Request(tables: ["t", "empty"]))
    try three.workshop.execute(
      "INSERT INTO t (x) VALUES ('next'); INSERT INTO empty (x) VALUES (1); INSERT INTO other (x) VALUES (1)"
    )
    #expect(try three.value("SELECT max(id) FROM t") == "4")
    #expect(try three.value("SELECT id FROM empty") == "8")
    #expect(try three.value("SELECT id FROM other") == "1")
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
