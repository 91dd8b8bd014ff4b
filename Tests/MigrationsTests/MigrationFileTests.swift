import Migrations
import Testing

@Suite struct MigrationFileTests {
  @Test("The full format is read, each part with its line") func fullFormat() throws {
    let text = """
      -- Description: Keep a history of edited routes
      -- Requires: 0002, 0003

      -- A line of prose, with https://example.org: not a header.
      -- Timeout: 5 min
      -- Expect: trips rows unchanged
      -- Expect: "odd ""name" rows >= 3
      -- Foreign-Keys: enforced
      -- Phase: 2
      -- Purpose: safety
      -- Estimated-Time: 5 s
      -- Destructive: yes
      -- Technician: yes
      -- Restart: coachiq.service, panel@1.service
      -- Input: unit TEXT "Which ""unit""?" default 'kg' choices 'kg', 'lb'

      -- @preflight
      SELECT 'bad' WHERE 0;
      -- @migrate
      CREATE TABLE a (x);
      -- @validate
      SELECT 'worse' WHERE 0;
      -- @migrate
      CREATE TABLE b (x)
      """
    let file = try migration(text, "0004_add_route_versions.sql")
    #expect(file.version == (try version("4")))
    #expect(file.name == "add_route_versions")
    #expect(file.summary == "Keep a history of edited routes")
    #expect(file.requires == [try version("2"), try version("3")])
    #expect(file.timeout == .seconds(300))
    #expect(file.enforcesForeignKeys)
    #expect(
      file.expectations == [
        TableExpectation(table: "trips", subject: .rows(.unchanged), line: 6),
        TableExpectation(table: "odd \"name", subject: .rows(.atLeast(3)), line: 7),
      ])
    #expect(file.phase == 2)
    #expect(file.purpose == .safety)
    #expect(file.estimatedTime == .seconds(5))
    #expect(file.isDestructive && file.needsTechnician)
    #expect(file.restart == ["coachiq.service", "panel@1.service"])
    let input = try #require(file.inputs.first)
    #expect(input.name == "unit" && input.kind == .text && input.line == 15)
    #expect(input.question == "Which \"unit\"?")
    #expect(input.defaultValue == .text("kg") && input.choices == [.text("kg"), .text("lb")])
    #expect(file.preflight == [SQLSection(text: "SELECT 'bad' WHERE 0;\n", firstLine: 18)])
    #expect(
      file.migrate == [
        SQLSection(text: "CREATE TABLE a (x);\n", firstLine: 20),
        SQLSection(text: "CREATE TABLE b (x)", firstLine: 24),
      ])
    #expect(file.validate == [SQLSection(text: "SELECT 'worse' WHERE 0;\n", firstLine: 22)])
  }

  @Test("A file without marks is all migrate, and its name describes it") func unmarked() throws {
    let text = "-- Requires: 3\nCREATE TABLE a (x);\n"
    let file = try migration(text, "0004_add_a.sql")
    #expect(file.migrate == [SQLSection(text: text, firstLine: 1)])
    #expect(file.preflight.isEmpty && file.validate.isEmpty)
    #expect(file.summary == "add a")
    #expect(file.timeout == nil && !file.enforcesForeignKeys)
    #expect(file.phase == nil && file.purpose == nil && file.estimatedTime == nil)
    #expect(!file.isDestructive && !file.needsTechnician && file.inputs.isEmpty)
  }

  @Test(
    "Every accepted name is read",
    arguments: [
      ("0004_add_x.sql", "4", "add_x"), ("20250101120000_x.sql", "20250101120000", "x"),
      ("V4__x.sql", "4", "x"), ("V1_2__x.sql", "1.2", "x"), ("phase1_004_x.sql", "1.4", "x"),
      ("1.2_x.sql", "1.2", "x"), ("0004_2fa.sql", "4", "2fa"),
      ("0004_x.rollback.sql", "4", "x"), ("0004_x_rollback.sql", "4", "x"),
      ("0004_x.down.sql", "4", "x"), ("0004_x.up.sql", "4", "x"), ("U4__x.sql", "4", "x"),
    ])
  func names(fileName: String, number: String, name: String) throws {
    let file = try migration("SELECT 1;", fileName)
    #expect(file.version == (try version(number)))
    #expect(file.name == name)
  }

  @Test(
    "A name that fits nothing is refused with the accepted forms",
    arguments: [
      "x.sql", "0004.sql", "0004_.sql", "0004-x.sql", "1_2_x.sql", "1_2.sql", "V4_x.sql",
      "phase1_x.sql", "0004_x.SQL", "0004_x y.sql", "0004_x.down.up.sql", "U4_x.sql",
    ])
  func misfits(fileName: String) {
    let error = failure { try migration("SELECT 1;", fileName) }
    #expect(error.code == .migrationFile)
    #expect(error.message.contains(fileName))
    #expect(error.howToClear?.contains("0004_add_routes.sql") == true)
  }

  @Test("Version 0 is no file's") func zero() {
    #expect(failure { try migration("SELECT 1;", "0000_x.sql") }.message.contains("version 0"))
  }

  @Test("The checksum is that of sha256sum, whatever the line ends") func checksum() throws {
    let lf = try migration("SELECT 1;\nSELECT 2;\n")
    // printf 'SELECT 1;\nSELECT 2;\n' | sha256sum
    #expect(lf.checksum == "82efb67f3010c6eb7ead02e4f6d9550633dbc1407f99aa487468e7b2567aebbc")
    #expect(try migration("SELECT 1;\r\nSELECT 2;\r\n").checksum == lf.checksum)
    #expect(try migration("SELECT 1;\rSELECT 2;\r").checksum == lf.checksum)
    #expect(try migration("\u{FEFF}SELECT 1;\nSELECT 2;\n").checksum == lf.checksum)
    #expect(try migration("SELECT 1;\n\nSELECT 2;\n").checksum != lf.checksum)
  }

  @Test("Lines are counted in files with CRLF, and headers found behind a byte order mark")
  func windows() throws {
    let file = try migration("\u{FEFF}-- Description: d\r\n\r\n-- @migrate\r\nSELECT 1;\r\n")
    #expect(file.summary == "d")
    #expect(file.migrate == [SQLSection(text: "SELECT 1;\n", firstLine: 4)])
  }

  @Test("A NUL is refused with its line") func nul() {
    let error = failure { try migration("SELECT 1;\nSELECT\u{0} 2;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
    #expect(error.file == "/m/0004_x.sql")
  }

  @Test(
    "A file that changes nothing is refused",
    arguments: [
      "", "\n", "-- Description: d\n", ";;\n", "-- @migrate\n-- nothing\n;\n",
      "-- @validate\nSELECT 1;\n", "/* SELECT 1; */",
    ])
  func empty(text: String) {
    let error = failure { try migration(text) }
    #expect(error.code == .migrationFile)
    #expect(error.message.contains("0004_x.sql changes nothing"))
  }

  @Test("SQL above the first mark is refused with its line") func sqlBeforeMark() {
    let error = failure { try migration("-- Timeout: 1 s\nSELECT 1;\n-- @migrate\nSELECT 2;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
  }
}

@Suite struct SectionMarkTests {
  @Test(
    "A mark inside text, a comment or a trigger is no mark",
    arguments: [
      "INSERT INTO t VALUES ('\n-- @validate\n');",
      "INSERT INTO t VALUES ('it''s\n-- @validate\n');",
      "SELECT 1 AS \"\n-- @validate\n\";",
      "SELECT 1 AS `\n-- @validate\n`;",
      "SELECT 1 AS [\n-- @validate\n];",
      "SELECT 1 /* \n-- @validate\n */;",
      "SELECT 1; -- @validate\n",
      "CREATE TRIGGER r AFTER INSERT ON t BEGIN\n UPDATE t SET x = CASE x WHEN 1 THEN 2 END;\n"
        + "-- @validate\nEND;\n",
      "create temp trigger r after insert on t begin select 1;\n-- @validate\nselect 2; end;\n",
    ])
  func noMark(sql: String) throws {
    let text = "-- @migrate\n" + sql
    let file = try migration(text)
    #expect(file.validate.isEmpty)
    #expect(file.migrate == [SQLSection(text: sql, firstLine: 2)])
  }

  @Test(
    "A mark behind a whole statement is one, also when its semicolon is missing",
    arguments: [
      "SELECT 1", "SELECT 1 -- '", "SELECT 'a''b' /* ' */", "CREATE TABLE trigger_log (x);",
      "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END",
      "CREATE TRIGGER r AFTER INSERT ON t BEGIN SELECT 1; END;",
    ])
  func mark(sql: String) throws {
    let file = try migration("-- @migrate\n\(sql)\n  --@validate\nSELECT 2;")
    #expect(file.migrate.map(\.text) == [sql + "\n"])
    #expect(file.validate.map(\.text) == ["SELECT 2;"])
  }

  @Test("A section of comments only does not exist") func commentsOnly() throws {
    let file = try migration("-- @preflight\n-- nothing yet\n-- @migrate\nSELECT 1;")
    #expect(file.preflight.isEmpty)
  }

  @Test("An unknown mark is refused with line and the nearest one") func unknown() {
    let error = failure { try migration("-- @migrate\nSELECT 1;\n-- @valdate\nSELECT 2;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 3)
    #expect(error.message.contains("@valdate") && error.message.contains("Did you mean @validate?"))
  }

  @Test("A mark shares its line with nothing") func notAlone() {
    let error = failure { try migration("-- @migrate now\nSELECT 1;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 1)
  }

  @Test(
    "What is left open is refused where it begins",
    arguments: [
      "SELECT 1;\nSELECT 'x\n;\n", "SELECT 1;\nSELECT \"x\n", "SELECT 1;\n/* x\n",
      "SELECT 1;\nCREATE TRIGGER r AFTER INSERT ON t BEGIN\nSELECT 1;\n", "SELECT 1;\nSELECT [x\n",
    ])
  func open(text: String) {
    let error = failure { try migration(text) }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
  }
}

@Suite struct HeaderTests {
  @Test(
    "Every way to write Expect is read",
    arguments: [
      ("trips rows unchanged", TableExpectation.Subject.rows(.unchanged)),
      ("trips rows +0", .rows(.changesBy(0))), ("trips rows +12", .rows(.changesBy(12))),
      ("trips rows -3", .rows(.changesBy(-3))), ("trips rows - 3", .rows(.changesBy(-3))),
      ("trips  rows  >= 5", .rows(.atLeast(5))), ("\"trips\" rows >=5", .rows(.atLeast(5))),
      ("trips content unchanged", .values(columns: [])),
      ("trips columns (a) unchanged", .values(columns: ["a"])),
      (
        "trips columns(a,\"b (c), \"\"d\"\"\" ) unchanged", .values(columns: ["a", "b (c), \"d\""])
      ),
    ])
  func expect(value: String, subject: TableExpectation.Subject) throws {
    let file = try migration("-- Expect: \(value)\nSELECT 1;")
    #expect(file.expectations == [TableExpectation(table: "trips", subject: subject, line: 1)])
  }

  @Test(
    "Every way to write Input is read",
    arguments: [
      ("n INTEGER \"?\"", InputValue?.none, [InputValue](), "a whole number"),
      ("n INTEGER \"?\" default -3 range -5..5", .integer(-3), [], "a whole number from -5 to 5"),
      ("n REAL \"?\" range 0..2.5 default 1", .real(1), [], "a number from 0.0 to 2.5"),
      ("n REAL \"?\" choices 1, 2.5", nil, [.real(1), .real(2.5)], "one of 1.0, 2.5"),
      ("_n TEXT \"?\" choices 'it''s',''", nil, [.text("it's"), .text("")], "one of it's, "),
    ])
  func input(value: String, preset: InputValue?, choices: [InputValue], domain: String) throws {
    let input = try #require(try migration("-- Input: \(value)\nSELECT 1;").inputs.first)
    #expect(input.defaultValue == preset)
    #expect(input.choices == choices)
    #expect(input.domain == domain)
  }

  @Test(
    "A value of another type, or one that may not be chosen, is refused",
    arguments: [
      ("INTEGER", InputValue.text("x")), ("INTEGER", .real(1.5)), ("INTEGER", .text("1.0")),
      ("REAL", .text("much")), ("REAL", .text("inf")), ("REAL", .text("0x10")),
      ("TEXT", .text("c")), ("INTEGER", .integer(11)), ("REAL", .integer(-1)),
    ])
  func refusedInput(kind: String, value: InputValue) throws {
    let domain = kind == "TEXT" ? "choices 'a', 'b'" : "range 0..10"
    let file = try migration("-- Input: n \(kind) \"How many?\" \(domain)\nSELECT 1;")
    let error = failure { try file.inputs[0].accept(value) }
    #expect(error.code == .input)
    #expect(error.message.hasPrefix("How many?"))
    #expect(error.howToClear?.hasPrefix("Give n: ") == true)
  }

  @Test(
    "A value is taken as its type says",
    arguments: [
      ("INTEGER", InputValue.text("7"), InputValue.integer(7)), ("REAL", .integer(7), .real(7)),
      ("REAL", .text("7.5"), .real(7.5)), ("TEXT", .integer(7), .text("7")),
    ])
  func acceptedInput(kind: String, value: InputValue, expected: InputValue) throws {
    let file = try migration("-- Input: n \(kind) \"?\"\nSELECT 1;")
    #expect(try file.inputs[0].accept(value) == expected)
  }

  @Test(
    "A limit has a unit",
    arguments: [
      ("60 s", Duration.seconds(60)), ("500 ms", .milliseconds(500)), ("5 min", .seconds(300)),
      ("60s", .seconds(60)),
    ])
  func timeout(value: String, limit: Duration) throws {
    #expect(try migration("-- Timeout: \(value)\nSELECT 1;").timeout == limit)
  }

  @Test(
    "A value that is not understood is refused with its line",
    arguments: [
      "Timeout: 60", "Timeout: 0 s", "Timeout: -1 s", "Timeout: 2 weeks", "Timeout: 1441 min",
      "Timeout: 99999999999999999999 s", "Expect: trips unchanged", "Expect: trips rows",
      "Expect: trips rows 5", "Expect: trips rows +-5", "Expect: trips rows >= -5",
      "Expect: trips rows >= 1 2", "Expect: \"trips rows unchanged",
      "Expect: rows unchanged", "Expect: trips rows +99999999999999999999",
      "Expect: trips columns () unchanged", "Expect: trips columns (a unchanged",
      "Expect: trips columns (a)", "Expect: trips content changed",
      "Expect: trips rows unchanged or not", "Phase: one", "Phase: 0", "Phase: -1", "Phase: +1",
      "Purpose: fun", "Estimated-Time: soon", "Destructive: no", "Technician: true",
      "Restart: coachiq", "Restart: a.service,", "Restart: .service", "Restart: a b.service",
      "Input: n", "Input: n TEXT", "Input: n TEXT 'no'", "Input: n TEXT \"\"",
      "Input: n DATE \"?\"", "Input: 1n TEXT \"?\"", "Input: n TEXT \"?\" default 5",
      "Input: n INTEGER \"?\" default 1.5", "Input: n INTEGER \"?\" default '1'",
      "Input: n TEXT \"?\" range 1..2", "Input: n INTEGER \"?\" range 2..1",
      "Input: n INTEGER \"?\" range 1", "Input: n INTEGER \"?\" default 3 range 1..2",
      "Input: n TEXT \"?\" default 'c' choices 'a', 'b'", "Input: n TEXT \"?\" choices 'a', 'a'",
      "Input: n TEXT \"?\" default 'a' default 'b'", "Input: n TEXT \"?\" maybe",
      "Input: n TEXT \"?\" default 'a", "Foreign-Keys: off", "Requires: 3,", "Requires: three",
      "Requires:", "Description:",
    ])
  func badValue(header: String) {
    let error = failure { try migration("-- prose\n-- \(header)\nSELECT 1;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
    #expect(error.file == "/m/0004_x.sql")
    #expect(error.howToClear != nil)
  }

  @Test("An unknown header is refused with file, line and the nearest one") func unknown() {
    let error = failure { try migration("\n-- Requries: 3\nSELECT 1;") }
    #expect(error.code == .migrationFile)
    #expect(error.file == "/m/0004_x.sql")
    #expect(error.line == 2)
    #expect(error.message == "There is no header Requries. Did you mean Requires?")
  }

  @Test("A known header in other letters is a slip, not prose") func otherCase() {
    let error = failure { try migration("-- requires: 3\nSELECT 1;") }
    #expect(error.message.contains("Did you mean Requires?"))
  }

  @Test("An input is declared once") func twiceAsked() {
    let error = failure {
      try migration("-- Input: n TEXT \"?\"\n-- Input: n TEXT \"?\"\nSELECT 1;")
    }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
  }

  @Test("A header is given once") func twice() {
    let error = failure { try migration("-- Timeout: 1 s\n-- Timeout: 2 s\nSELECT 1;") }
    #expect(error.code == .migrationFile)
    #expect(error.line == 2)
  }

  @Test(
    "Prose is no header",
    arguments: [
      "-- see https://example.org", "-- step 1: copy", "-- Two words: text", "-- 12:30",
      "/*\n-- Nonsense: x\n*/", "SELECT 1;\n-- Nonsense: x", "-- @migrate\n-- Nonsense: x",
    ])
  func prose(text: String) throws {
    _ = try migration(text + "\nSELECT 1;")
  }
}
