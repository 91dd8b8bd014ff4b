import Authoring
import Migrations
import Storage
import TestSupport
import Testing

@Suite("Lint finds what is dangerous in migration files")
struct LintTests {
  /// The findings in a folder with these files.
  private func findings(_ files: [String: String]) throws -> [Finding] {
    let folder = try TemporaryFolder()
    for (name, text) in files { try folder.write(text, to: name) }
    return try Lint.findings(directory: folder.path)
  }

  /// The findings in the second of two migrations, both with a rollback file.
  private func findings(
    before: String = "CREATE TABLE filler (id INTEGER PRIMARY KEY);", _ text: String
  )
    throws -> [Finding]
  {
    try findings([
      "0001_before.sql": before, "0001_before.rollback.sql": "SELECT 1;",
      "0002_change.sql": text, "0002_change.rollback.sql": "SELECT 1;",
    ]).filter { $0.file.hasSuffix("/0002_change.sql") }
  }

  private func words(_ findings: [Finding]) -> [String] {
    findings.map { "\($0.line) \($0.rule.id)" }
  }

  // MARK: Rules

  @Test("Each rule finds its bad example, on the right line", arguments: LintRule.allCases)
  func bad(rule: LintRule) throws {
    let example = rule.example
    var files = ["0002_change.sql": example.bad, "0002_change.rollback.sql": "SELECT 1;"]
    if !example.before.isEmpty { files["0001_before.sql"] = example.before }
    if rule == .missingRollback { files["0002_change.rollback.sql"] = nil }
    let found = try findings(files).filter {
      $0.rule == rule && $0.file.hasSuffix("0002_change.sql")
    }
    #expect(found.map(\.line) == [example.line], "\(found)")
    #expect(found.first?.severity == rule.severity)
  }

  @Test("A safe example does not break its rule, and has no error", arguments: LintRule.allCases)
  func safe(rule: LintRule) throws {
    let example = rule.example
    let before = example.before.isEmpty ? "SELECT 1;" : example.before
    let found = try findings(before: before, example.safe)
    #expect(found.filter { $0.rule == rule || $0.severity == .error } == [])
  }

  @Test("The shipped migrations have no finding") func shipped() throws {
    let repository = FileSystem.parent(FileSystem.parent(FileSystem.parent(#filePath)))
    #expect(try Lint.findings(directory: repository + "/migrations") == [])
  }

  // MARK: What each rule sees

  @Test("What is destructive, and what is not")
  func destructive() throws {
    let before = """
      CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT, y TEXT);
      CREATE TABLE b (id INTEGER PRIMARY KEY, x2 AS (id * 2));
      CREATE VIEW v AS SELECT 1 AS one;
      """
    func lines(_ text: String) throws -> [Int] {
      try findings(before: before, text).filter { $0.rule == .destructive }.map(\.line)
    }
    #expect(try lines("\nDROP TABLE b;") == [2])
    #expect(try lines("DROP TABLE b;\nCREATE TABLE b (id INTEGER PRIMARY KEY);") == [1])
    #expect(try lines("SELECT 1;\nDELETE FROM a WHERE id > 3;") == [2])
    #expect(try lines("WITH n (i) AS (SELECT 1)\nDELETE FROM a WHERE id IN n;") == [1])
    #expect(try lines("DELETE FROM a;\nALTER TABLE a RENAME TO c;") == [1])
    let rebuild = """
      CREATE TABLE n (id INTEGER PRIMARY KEY, x TEXT);
      INSERT INTO n SELECT id, x FROM a;
      DROP TABLE a;
      ALTER TABLE n RENAME TO a;
      """
    #expect(try lines(rebuild) == [4], "y goes")
    // Not: what is computed, what is only renamed, tables of this very file, views.
    #expect(try lines("ALTER TABLE b DROP COLUMN x2;") == [])
    #expect(try lines("ALTER TABLE a RENAME COLUMN x TO z; ALTER TABLE a RENAME TO c;") == [])
    #expect(try lines("CREATE TABLE t AS SELECT 1 AS i; DELETE FROM t; DROP TABLE t;") == [])
    #expect(try lines("DROP VIEW v;") == [])
    #expect(
      try lines("CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; END;") == [])
    #expect(
      try lines(
        """
        CREATE TABLE aside AS SELECT * FROM a; DROP TABLE a;
        CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT, y TEXT);
        INSERT INTO a SELECT * FROM aside; DROP TABLE aside;
        """) == [])
  }

  @Test("ADD COLUMN is tried on a table with a row")
  func addColumn() throws {
    func rules(_ column: String) throws -> [String] {
      words(
        try findings(
          before: "CREATE TABLE a (id INTEGER PRIMARY KEY, \"b c\" TEXT);",
          "ALTER TABLE a ADD COLUMN \(column);")
      ).filter { !$0.hasSuffix("incompatible") }
    }
    #expect(try rules("n INTEGER NOT NULL") == ["1 not-null-without-default"])
    #expect(try rules("n INTEGER DEFAULT NULL NOT NULL") == ["1 not-null-without-default"])
    #expect(try rules("n INTEGER AS (id) STORED") == ["1 fails"])
    #expect(try rules("n TEXT DEFAULT CURRENT_DATE").contains("1 fails"))
    #expect(try rules("n INTEGER NOT NULL DEFAULT 0 CHECK (n >= 0)") == [])
    #expect(try rules("n INTEGER NOT NULL AS (id + 1)") == [])
    #expect(try rules("n INTEGER CHECK (CAST(n AS TEXT) <> \"b c\")") == [])
  }

  @Test("Rebuilds that lose something, or lead foreign keys astray")
  func rebuilds() throws {
    let before = """
      CREATE TABLE p (id INTEGER PRIMARY KEY, x TEXT);
      CREATE TABLE c (id INTEGER PRIMARY KEY, p_id INTEGER REFERENCES p (id));
      CREATE INDEX c_by_p ON c (p_id);
      CREATE INDEX p_by_x ON p (x);
      CREATE TRIGGER p_t AFTER INSERT ON p BEGIN SELECT 1; END;
      CREATE TRIGGER c_t AFTER INSERT ON c BEGIN UPDATE p SET x = ''; END;
      CREATE VIEW v AS SELECT x FROM p;
      CREATE VIEW other AS SELECT p_id FROM c;
      """
    let first = try findings(
      before: before,
      """
      ALTER TABLE p RENAME TO old;
      CREATE TABLE p (id INTEGER PRIMARY KEY, x TEXT);
      INSERT INTO p SELECT * FROM old;
      DROP TABLE old;
      """)
    #expect(
      words(first) == [
        "1 rename-first", "4 broken-foreign-key", "4 lost-object", "4 lost-object", "4 lost-object",
      ], "\(first)")
    let safe = """
      DROP VIEW v; DROP VIEW other; DROP TRIGGER c_t;
      CREATE TABLE n (id INTEGER PRIMARY KEY, x TEXT);
      INSERT INTO n SELECT * FROM p;
      DROP TABLE p;
      ALTER TABLE n RENAME TO p;
      """
    let lost = try findings(before: before, safe).filter { $0.rule == .lostObject }
    #expect(lost.map { $0.message.split(separator: " ")[2] } == ["c_t", "v", "p_by_x", "p_t"])
    #expect(lost.map(\.line) == [1, 1, 4, 4])
    let complete =
      safe + """

        CREATE TRIGGER p_t AFTER INSERT ON p BEGIN SELECT 1; END;
        CREATE TRIGGER c_t AFTER INSERT ON c BEGIN UPDATE p SET x = ''; END;
        CREATE VIEW v AS SELECT x FROM p;
        DROP INDEX IF EXISTS p_by_x;
        """
    #expect(words(try findings(before: before, complete)) == ["1 incompatible"], "the view other")
  }

  @Test("Foreign keys to nothing, to what is no key, and with every kind of index")
  func foreignKeys() throws {
    let before = "CREATE TABLE p (id INTEGER PRIMARY KEY, a TEXT, b TEXT, UNIQUE (a, b));"
    func rules(_ text: String) throws -> [String] { words(try findings(before: before, text)) }
    #expect(try rules("CREATE TABLE c (x REFERENCES q);") == ["1 broken-foreign-key"])
    #expect(try rules("CREATE TABLE c (x REFERENCES p (a));") == ["1 broken-foreign-key"])
    #expect(
      try rules(
        "CREATE TABLE c (\nx REFERENCES p);\nCREATE INDEX i ON c (x) WHERE x > 3;")
        == ["2 foreign-key-index"])
    #expect(
      try rules("ALTER TABLE p\nADD COLUMN self INTEGER REFERENCES p;") == ["1 foreign-key-index"])
    for good in [
      "CREATE TABLE c (x INTEGER PRIMARY KEY REFERENCES p);",
      "CREATE TABLE c (x REFERENCES p, y, PRIMARY KEY (x, y)) WITHOUT ROWID;",
      "CREATE TABLE c (x REFERENCES p); CREATE INDEX i ON c (x) WHERE x IS NOT NULL;",
      "CREATE TABLE c (a, b, FOREIGN KEY (a, b) REFERENCES p (a, b)); CREATE INDEX i ON c (b, a);",
      "CREATE TABLE c (x REFERENCES later UNIQUE); CREATE TABLE later (id INTEGER PRIMARY KEY);",
    ] {
      #expect(try rules(good) == [], "\(good)")
    }
  }

  @Test("What breaks an application that runs with the old schema")
  func incompatible() throws {
    let before = """
      CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT, y TEXT NOT NULL DEFAULT '', z TEXT);
      CREATE TABLE b (id INTEGER PRIMARY KEY);
      CREATE VIEW v AS SELECT x, y FROM a;
      """
    let text = """
      -- Destructive: yes
      DROP VIEW v;
      DROP TABLE b;
      CREATE TABLE n (id INTEGER PRIMARY KEY, x TEXT NOT NULL, y TEXT NOT NULL, w TEXT NOT NULL);
      INSERT INTO n SELECT id, x, y, z FROM a;
      DROP TABLE a;
      ALTER TABLE n RENAME TO a;
      CREATE VIEW v AS SELECT x FROM a;
      """
    let found = try findings(before: before, text).filter { $0.rule == .incompatible }
    #expect(
      Set(found.map(\.message)) == [
        "The column w of a is new and has to be given in every INSERT.",
        "The column x of a refuses NULL.", "The column y of a has lost its default.",
        "The column y of v is gone.", "The column z of a is gone.", "The table b is gone.",
      ])
    #expect(found.first { $0.message.contains("column w") }?.line == 4)
    #expect(
      words(try findings(before: before, "ALTER TABLE a ADD COLUMN w TEXT NOT NULL DEFAULT '';"))
        == [])
  }

  @Test(
    "Defaults that are another one each time",
    arguments: [
      ("CURRENT_TIME", true), ("(datetime())", true), ("(strftime('%s', 'NOW'))", true),
      ("(strftime('%s'))", true), ("(abs(random()) % 10)", true), ("(unixepoch('now'))", true),
      ("(date('2020-01-01'))", false), ("'CURRENT_TIME'", false), ("(1 + 1)", false),
    ])
  func defaults(value: String, changes: Bool) throws {
    let found = try findings("CREATE TABLE t (\nid INTEGER PRIMARY KEY,\nx DEFAULT \(value));")
    #expect(words(found) == (changes ? ["3 non-deterministic-default"] : []))
  }

  @Test("A rollback file is looked at too, and what it leaves out is found")
  func rollback() throws {
    let files = [
      "1_a.sql": "CREATE TABLE a (x TEXT); CREATE INDEX a_x ON a (x);",
      "1_a.rollback.sql": "DROP TABLE a;",
      "2_b.sql": "DROP INDEX a_x; ALTER TABLE a ADD COLUMN y TEXT;",
      "2_b.rollback.sql":
        "ALTER TABLE a DROP COLUMN y;\nPRAGMA synchronous = OFF;\nSELECT z FROM a;",
      "3_c.sql": "ALTER TABLE a ADD COLUMN z TEXT;",
      "3_c.rollback.sql": "-- Transaction: none\nALTER TABLE a DROP COLUMN z;\nVACUUM;",
    ]
    let found = try findings(files)
    #expect(
      found.map { "\($0.file.split(separator: "/").last ?? "") \($0.line) \($0.rule.id)" } == [
        "2_b.rollback.sql 1 lost-object", "2_b.rollback.sql 2 runner-owned",
        "2_b.rollback.sql 3 fails", "3_c.rollback.sql 3 vacuum-rowids",
      ], "\(found)")
  }

  // MARK: Allowances

  @Test("An allowance silences one rule for its file, and nothing else")
  func allow() throws {
    let before = "CREATE TABLE a (id INTEGER PRIMARY KEY, x TEXT);"
    let drop = "ALTER TABLE a DROP COLUMN x;"
    #expect(words(try findings(before: before, drop)) == ["1 destructive", "1 incompatible"])
    #expect(
      words(
        try findings(
          before: before,
          "-- lint: allow incompatible no released application reads it\n-- Destructive: yes\n\(drop)"
        ))
        == [])
    #expect(
      words(try findings(before: before, "\(drop) -- lint: allow destructive it was always empty"))
        == ["1 incompatible"])
  }

  @Test(
    "An allowance that is wrong is a finding, and silences nothing",
    arguments: [
      ("allow foreign-key-index", "gives no reason"),
      ("allow foreign-key-indx it is small", "Did you mean foreign-key-index?"),
      ("allow file it is mine", "cannot be allowed"), ("allow", "is not understood"),
      ("permit foreign-key-index it is small", "is not understood"),
      ("allow destructive it is small", "nothing that destructive would find"),
    ])
  func wrongAllowance(text: String, message: String) throws {
    let found = try findings(
      "-- lint: \(text)\nCREATE TABLE c (x REFERENCES filler);")
    #expect(words(found) == ["1 allow", "2 foreign-key-index"])
    #expect(found.first?.message.contains(message) == true, "\(found)")
  }

  @Test("A lint comment is prose to everybody else, and counts only as a comment")
  func comment() throws {
    let text = "-- Description: x\n-- lint: allow fails why\nSELECT '-- lint: allow fails no';"
    let file = try Migration(fileName: "1_a.sql", path: "/1_a.sql", text: text)
    #expect(file.summary == "x")
    #expect(file.lintNotes.map(\.text) == ["allow fails why"])
    #expect(file.lintNotes.map(\.line) == [2])
  }

  // MARK: Garbage

  @Test("What cannot be read or run is a finding, and the rest is looked at")
  func garbage() throws {
    let found = try findings([
      "0001_a.sql": "CREATE TABEL a (x);\nCREATE TABLE b (x);\nINSERT INTO b VALUES (:y);",
      "0001_a.rollback.sql": "SELECT raise(ROLLBACK, 'x'); DROP TABLE nothing;",
      "0002_b.sql": "-- Requires: 1\nCREATE TABLE c (x",
      "0003_c.sql": "'", "notes.sql": "x", "0004_d.sql": "-- Requires: 2, 3\nDROP TABLE b;",
      "0005_e.sql": "WITH RECURSIVE n (i) AS (SELECT 1) SELECT\n ((((", "4_d.sql": "SELECT 1;",
      "0006_\u{E9}.sql":
        ";;; -- nothing\n/* */ CREATE TRIGGER t AFTER INSERT ON x BEGIN SELECT 1; END;",
    ])
    let seen = Set(
      found.map { "\($0.file.split(separator: "/").last ?? "") \($0.line) \($0.rule.id)" })
    for wanted in [
      "0001_a.sql 1 fails", "0001_a.sql 3 fails", "0001_a.rollback.sql 1 fails",
      "0002_b.sql 2 fails",
      "0003_c.sql 1 file", "notes.sql 1 file", "4_d.sql 1 file", "0004_d.sql 2 destructive",
      "0005_e.sql 1 fails", "0006_\u{E9}.sql 2 fails",
    ] {
      #expect(seen.contains(wanted), "\(wanted): \(seen.sorted())")
    }
    #expect(throws: Failure.self) { try Lint.findings(directory: "/nowhere") }
  }

  @Test("Bytes in any order give findings, not a crash", .timeLimit(.minutes(15)))
  func noise() throws {
    var generator = SystemRandomNumberGenerator()
    let words = [
      "CREATE", "TABLE", "TRIGGER", "BEGIN", "END", "ALTER", "a", "b", "RENAME", "TO", "ADD",
      "COLUMN",
      "(", ")", ",", ";", "x", "DROP", "INDEX", "VIEW", "ON", "AS", "SELECT", "1", "'", "\"", "--",
      "\n",
      "/*", "*/", "lint: allow", ":n", "REFERENCES", "DELETE FROM", "VACUUM", "PRAGMA", "NOT NULL",
      "é", ".",
      "INSERT INTO a VALUES (1)", "[", "]", "DEFAULT", "x'", "WITH",
    ]
    for _ in 0..<200 {
      let text = (0..<Int.random(in: 1...40, using: &generator)).map { _ in
        words.randomElement(using: &generator) ?? ""
      }.joined(separator: " ")
      _ = try findings([
        "1_a.sql": "CREATE TABLE a (x); CREATE VIEW b AS SELECT x FROM a;", "2_b.sql": text,
      ])
    }
  }

  // MARK: Documentation

  @Test("docs/lint.md says what the rules say") func documentation() throws {
    let repository = FileSystem.parent(FileSystem.parent(FileSystem.parent(#filePath)))
    let page = String(
      decoding: try #require(try FileSystem.read(repository + "/docs/lint.md")), as: UTF8.self)
    let rules = LintRule.allCases.map { rule in
      """
      ## \(rule.id)

      *\(rule.severity.rawValue)* · \(rule.title).

      \(rule.explanation)

      ```sql
      \(rule.example.bad)
      ```

      \(rule.safeWay)

      ```sql
      \(rule.example.safe)
      ```

      """
    }
    let start = try #require(page.firstRange(of: "## "))
    #expect(page[start.lowerBound...] == rules.joined(separator: "\n"))
  }
}
