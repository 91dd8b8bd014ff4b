import Migrations

/// One database and one set of migrations, made from a number: the same number gives the same ones.
///
/// Most of the migrations are right, some fail by accident and about a third on purpose. Which of them
/// fail is not said here: `Oracle` finds it out.
struct RandomProgram {
  let seed: UInt64
  let journalMode: String
  let pageSize: Int
  /// Makes the database.
  var setup = ""
  var files: [ProgramFile] = []
  /// What is wrong with it by rules that are chock's own and that `sqlite3` knows nothing of.
  var brokenRules: Set<Failure.Code> = []
  /// A statement does not end by itself.
  var isEndless = false
  /// In the order in which they happen.
  var renames: [(from: String, to: String)] = []
  /// The kinds of steps in it, for a look whether all of them occur.
  var kinds: Set<String> = []

  init(seed: UInt64) {
    var maker = ProgramMaker(seed: seed)
    self = maker.make()
  }

  init(seed: UInt64, journalMode: String, pageSize: Int) {
    self.seed = seed
    self.journalMode = journalMode
    self.pageSize = pageSize
  }

  /// For a person who has to find out what went wrong.
  var listing: String {
    "seed \(seed), \(journalMode), pages of \(pageSize)\n-- the database:\n\(setup)"
      + files.enumerated().map { "\n-- file \($0 + 1):\n\($1.text)" }.joined()
  }
}

/// One migration file.
struct ProgramFile {
  var timeout: String?
  var enforcesForeignKeys = false
  var expectations: [(table: String, change: String)] = []
  var preflight: [String] = []
  var migrate: [String] = []
  var validate: [String] = []

  var text: String {
    var lines = ["-- Description: made by chance"]
    if let timeout { lines.append("-- Timeout: \(timeout)") }
    if enforcesForeignKeys { lines.append("-- Foreign-Keys: enforced") }
    for (table, change) in expectations {
      lines.append("-- Expect: \(ProgramMaker.quoted(table)) rows \(change)")
    }
    if !preflight.isEmpty { lines += ["-- @preflight"] + preflight }
    if !preflight.isEmpty || !validate.isEmpty { lines.append("-- @migrate") }
    lines += migrate
    if !validate.isEmpty { lines += ["-- @validate"] + validate }
    return lines.joined(separator: "\n") + "\n"
  }
}

/// SplitMix64: the same numbers on every machine and with every version of Swift.
struct Dice {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 0x1234_5678_9abc_def1 }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }

  mutating func below(_ limit: Int) -> Int { Int(next() % UInt64(limit)) }
  mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
  mutating func pick<Element>(_ list: [Element]) -> Element { list[below(list.count)] }
  mutating func pickAny<Element>(_ list: [Element]) -> Element? { list.isEmpty ? nil : pick(list) }
}

/// What the database looks like at one point of a program, and the making of the next statement.
struct ProgramMaker {
  struct Column {
    var id: Int
    var name: String
    var type: String
    var isNotNull = false
    var hasDefault = false
    var hasCheck = false
    var collation = ""
    /// It is computed from the column with this id.
    var source: Int?
    var isStored = false
    /// It refers to the key of the table with this id.
    var parent: Int?
    var action = ""
  }

  enum Key: CaseIterable { case integer, autoincrement, none, text }
  enum IndexKind: CaseIterable {
    case plain, unique, partial, expression, descending, uniquePartial
  }

  struct Index {
    var name: String
    var kind: IndexKind
    var column: Int
  }

  struct Table {
    var id: Int
    var name: String
    var key: Key
    var columns: [Column]
    var isStrict = false
    var isFullText = false
    /// It was there before the migrations, so that its rows must not get lost.
    var isOld = false
    var isRenamed = false
    var indexes: [Index] = []

    var plain: [Column] { columns.filter { $0.source == nil } }
    var keyColumn: Column? { key == .none || isFullText ? nil : columns.first }
    /// Those that are neither key nor computed.
    var values: [Column] { Array(plain.dropFirst(keyColumn == nil ? 0 : 1)) }
  }

  struct Trigger {
    var name: String
    var table: Int
    var target: Int
    var event: String
  }

  struct View {
    var name: String
    var table: Int
  }

  var dice: Dice
  var program: RandomProgram
  var tables: [Table] = []
  var triggers: [Trigger] = []
  var views: [View] = []
  var log = 0
  private var usedNames: [[UInt8]] = [Array("chock_migrations".utf8)]
  private var lastID = 0
  private var nextKey = 100

  init(seed: UInt64) {
    dice = Dice(seed: seed)
    program = RandomProgram(
      seed: seed, journalMode: dice.chance(70) ? "WAL" : "DELETE",
      pageSize: dice.pick([512, 1024, 4096, 4096]))
  }

  static func quoted(_ name: String) -> String {
    "\"" + name.replacing("\"", with: "\"\"") + "\""
  }

  func q(_ name: String) -> String { Self.quoted(name) }
  func table(_ id: Int) -> Table? { tables.first { $0.id == id } }

  mutating func id() -> Int {
    lastID += 1
    return lastID
  }

  mutating func key() -> Int {
    nextKey += 1
    return nextKey
  }

  // MARK: Names

  /// Some differ only in letters that SQLite, unlike Swift, tells apart. None is a quote alone: as the
  /// child of a foreign key with RESTRICT it makes SQLite 3.40 read and write beyond its memory.
  private static let names = [
    "trips", "Stops", "my \"table\"", "it's here", "[x]", "🚐 log", "a;b", "select", "order",
    "100%_\\", "naïve", "Öl", "öl", "-- no comment", "/* x */", "create table", "main", "temp.x",
    "tab\there", "\u{e4}", "a\u{308}", "a`b", "rows", "unchanged", "İ", "ſ", "s", "K", "\u{212a}",
  ]

  mutating func freshName() -> String {
    var name = dice.pick(Self.names)
    while usedNames.contains(Self.folded(name)) { name += "\(dice.below(10))" }
    usedNames.append(Self.folded(name))
    return name
  }

  /// As SQLite compares names: by bytes, with the letters A to Z like a to z.
  static func folded(_ name: String) -> [UInt8] {
    name.utf8.map { (65...90).contains($0) ? $0 + 32 : $0 }
  }

  mutating func columnName(among columns: [Column]) -> String {
    var name =
      dice.chance(50) ? dice.pick(Self.names) : dice.pick(["a", "b", "note", "Value", "at"])
    while columns.contains(where: { Self.folded($0.name) == Self.folded(name) }) {
      name += "\(dice.below(10))"
    }
    return name
  }

  // MARK: Tables

  mutating func makeTable(parents: Bool = true) -> Table {
    var table = Table(
      id: id(), name: freshName(), key: dice.pick(Key.allCases), columns: [],
      isStrict: dice.chance(35))
    let keyType: String? =
      switch table.key {
      case .integer, .autoincrement: "INTEGER"
      case .text: "TEXT"
      case .none: nil
      }
    if let keyType {
      table.columns.append(Column(id: id(), name: columnName(among: []), type: keyType))
    }
    for _ in 0...dice.below(4) {
      table.columns.append(makeColumn(of: table, canBeBare: true))
    }
    if parents, dice.chance(55) { table.columns.append(makeChild(of: table)) }
    if dice.chance(35), let source = table.values.first(where: { $0.parent == nil }) {
      table.columns.append(
        Column(
          id: id(), name: columnName(among: table.columns), type: "INTEGER", source: source.id,
          isStored: dice.chance(50)))
    }
    return table
  }

  mutating func makeColumn(of table: Table, canBeBare: Bool) -> Column {
    let types =
      table.isStrict
      ? ["INT", "INTEGER", "TEXT", "REAL", "BLOB", "ANY"]
      : ["INTEGER", "TEXT", "REAL", "BLOB", "NUMERIC", "", "VARCHAR(20)", "DATETIME"]
    var column = Column(id: id(), name: columnName(among: table.columns), type: dice.pick(types))
    column.hasDefault = dice.chance(30)
    column.isNotNull = dice.chance(20) && (canBeBare || column.hasDefault)
    column.hasCheck = dice.chance(15)
    if column.type == "TEXT", dice.chance(20) { column.collation = dice.pick(["NOCASE", "RTRIM"]) }
    return column
  }

  mutating func makeChild(of table: Table) -> Column {
    let parents = tables.filter { $0.keyColumn != nil && !$0.isFullText }
    // Sometimes its own parent.
    let parent =
      (table.keyColumn != nil && dice.chance(15)) || parents.isEmpty ? table : dice.pick(parents)
    guard let key = parent.keyColumn else { return makeColumn(of: table, canBeBare: true) }
    return Column(
      id: id(), name: columnName(among: table.columns), type: key.type, parent: parent.id,
      action: dice.pick([
        "ON DELETE CASCADE", "ON DELETE CASCADE ON UPDATE CASCADE", "ON DELETE SET NULL", "",
        "ON DELETE RESTRICT", "DEFERRABLE INITIALLY DEFERRED",
        "ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
      ]))
  }

  func definition(_ column: Column, of table: Table) -> String {
    var words = [q(column.name), column.type]
    if column.id == table.keyColumn?.id {
      words.append(table.key == .text ? "NOT NULL PRIMARY KEY" : "PRIMARY KEY")
      if table.key == .autoincrement { words.append("AUTOINCREMENT") }
    }
    if !column.collation.isEmpty { words.append("COLLATE \(column.collation)") }
    if let source = table.columns.first(where: { $0.id == column.source }) {
      words.append("GENERATED ALWAYS AS (coalesce(length(\(q(source.name))), 0) + 1)")
      words.append(column.isStored ? "STORED" : "VIRTUAL")
    }
    if column.isNotNull { words.append("NOT NULL") }
    if column.hasDefault { words.append("DEFAULT \(constant(column.type))") }
    if column.hasCheck { words.append("CHECK (coalesce(length(\(q(column.name))), 0) < 90000)") }
    if let id = column.parent, let parent = id == table.id ? table : self.table(id),
      let key = parent.keyColumn
    {
      words.append("REFERENCES \(q(parent.name)) (\(q(key.name))) \(column.action)")
    }
    return words.filter { !$0.isEmpty }.joined(separator: " ")
  }

  private func constant(_ type: String) -> String {
    switch type {
    case "INT", "INTEGER", "NUMERIC": "7"
    case "REAL": "0.5"
    case "BLOB": "x'00ff'"
    default: "'1'"
    }
  }

  func creation(of table: Table, as name: String) -> String {
    if table.isFullText {
      return
        "CREATE VIRTUAL TABLE \(q(name)) USING fts5(\(table.columns.map { q($0.name) }.joined(separator: ", ")));"
    }
    let columns = table.columns.map { definition($0, of: table) }.joined(separator: ", ")
    var tail: [String] = []
    if table.isStrict { tail.append("STRICT") }
    if table.key == .text { tail.append("WITHOUT ROWID") }
    return "CREATE TABLE \(q(name)) (\(columns)) \(tail.joined(separator: ", "));"
  }

  func creation(of index: Index, on table: Table) -> String {
    guard let column = table.columns.first(where: { $0.id == index.column }) else { return "" }
    let name = q(column.name)
    let unique = index.kind == .unique || index.kind == .uniquePartial ? "UNIQUE " : ""
    let what =
      switch index.kind {
      // With the key in it, so that it is unique indeed.
      case .unique: (table.keyColumn.map { q($0.name) + ", " } ?? "") + name
      case .plain, .partial, .uniquePartial: name
      case .expression: "lower(\(name)), length(\(name))"
      case .descending: "\(name) DESC"
      }
    let filter =
      switch index.kind {
      case .partial: " WHERE \(name) IS NOT NULL"
      case .uniquePartial: " WHERE \(name) = 'never'"
      default: ""
      }
    return "CREATE \(unique)INDEX \(q(index.name)) ON \(q(table.name)) (\(what))\(filter);"
  }

  mutating func makeIndex(on table: Table) -> Index? {
    guard !table.isFullText, let column = dice.pickAny(table.columns) else { return nil }
    return Index(name: freshName(), kind: dice.pick(IndexKind.allCases), column: column.id)
  }

  func creation(of view: View) -> String {
    guard let table = table(view.table) else { return "" }
    let columns = table.columns.map { q($0.name) }.joined(separator: ", ")
    return "CREATE VIEW \(q(view.name)) AS SELECT \(columns) FROM \(q(table.name)) WHERE 1;"
  }

  func creation(of trigger: Trigger) -> String {
    guard let table = table(trigger.table), let target = self.table(trigger.target),
      let note = target.values.first
    else { return "" }
    let head = "CREATE TRIGGER \(q(trigger.name)) \(trigger.event) ON \(q(table.name))"
    return switch trigger.event {
    case "BEFORE DELETE":
      "\(head) WHEN (SELECT count(*) FROM \(q(target.name))) > 1000000 BEGIN SELECT RAISE(ABORT, 'too many; really'); END;"
    case "AFTER DELETE": "\(head) BEGIN DELETE FROM \(q(target.name)); END;"
    default:
      "\(head) BEGIN INSERT INTO \(q(target.name)) (\(q(note.name))) VALUES ('\(trigger.event.lowercased()); -- x'); SELECT 1; END;"
    }
  }

  // MARK: Rows

  mutating func value(of column: Column, in table: Table) -> String {
    if let parent = column.parent {
      // After the making of the database keys that exist are harder to guess.
      if dice.chance(program.setup.isEmpty ? 25 : 70), !column.isNotNull { return "NULL" }
      // A few lead nowhere, as in any old database.
      let number = dice.chance(3) ? 77 : dice.below(4) + 1
      return (self.table(parent) ?? table).key == .text ? "'k\(number)'" : "\(number)"
    }
    if !column.isNotNull, dice.chance(15) { return "NULL" }
    let type = table.isStrict || dice.chance(80) ? column.type : ""
    switch type {
    case "INT", "INTEGER": return integer()
    case "REAL": return dice.pick(["0.5", "-1e-300 * 1e-300", "1e300", "-1e400", "5e-324", "3"])
    case "TEXT", "VARCHAR(20)": return text()
    case "BLOB": return dice.pick(["x''", "x'00ff00'", "zeroblob(1500)", "x'31'"])
    default:
      return dice.chance(35)
        ? integer()
        : dice.chance(50)
          ? text() : dice.pick(["x''", "x'31'", "1e300", "1.0", "-1e-300 * 1e-300"])
    }
  }

  private mutating func integer() -> String {
    dice.pick([
      "0", "1", "-1", "42", "9223372036854775807", "-9223372036854775808", "9007199254740993",
    ])
  }

  private mutating func text() -> String {
    dice.pick([
      "''", "'1'", "'a'", "'A '", "'Ä🚐'", "'it''s; -- x'", "'a' || char(0) || 'b'", "'NULL'",
      "hex(zeroblob(1200))", "'line' || char(10) || 'two'", "'01'", "char(228)", "char(97, 776)",
    ])
  }

  mutating func rows(_ table: Table, _ count: Int, first: Int?, verb: String) -> String {
    let columns = table.plain
    guard !columns.isEmpty, count > 0 else { return "" }
    let names = columns.map { q($0.name) }.joined(separator: ", ")
    var tuples: [String] = []
    for number in 0..<count {
      var values: [String] = []
      for column in columns {
        guard column.id == table.keyColumn?.id else {
          values.append(value(of: column, in: table))
          continue
        }
        let key = first.map { $0 + number } ?? self.key()
        values.append(table.key == .text ? "'k\(key)'" : "\(key)")
      }
      tuples.append("(\(values.joined(separator: ", ")))")
    }
    return
      "\(verb) INTO \(q(table.name)) (\(names)) VALUES\n  \(tuples.joined(separator: ",\n  "));"
  }

  /// Some hundred rows, so that pages are split and freed.
  mutating func manyRows(_ table: Table) -> String {
    let columns = table.plain
    let names = columns.map { q($0.name) }.joined(separator: ", ")
    var values: [String] = []
    for column in columns {
      if column.id == table.keyColumn?.id {
        values.append(table.key == .text ? "'m' || i" : "1000 + i")
      } else {
        values.append(value(of: column, in: table))
      }
    }
    return
      "INSERT OR IGNORE INTO \(q(table.name)) (\(names)) WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < \(100 + dice.below(300))) SELECT \(values.joined(separator: ", ")) FROM c;"
  }

  // MARK: The whole

  mutating func make() -> RandomProgram {
    var sql: [String] = []
    let logTable = Table(
      id: id(), name: freshName(), key: .integer,
      columns: [
        Column(id: id(), name: "n", type: "INTEGER"), Column(id: id(), name: "what", type: "TEXT"),
      ])
    log = logTable.id
    tables.append(logTable)
    for _ in 0...(1 + dice.below(4)) { tables.append(makeTable()) }
    if dice.chance(30) {
      tables.append(
        Table(
          id: id(), name: freshName(), key: .none,
          columns: [
            Column(id: id(), name: "body", type: "TEXT"),
            Column(id: id(), name: "title 🚐", type: "TEXT"),
          ], isFullText: true))
    }
    for index in tables.indices {
      tables[index].isOld = true
      sql.append(creation(of: tables[index], as: tables[index].name))
      sql.append(
        rows(
          tables[index], dice.chance(10) ? 0 : 4 + dice.below(6), first: 1, verb: "INSERT OR IGNORE"
        ))
      if dice.chance(12) { sql.append(manyRows(tables[index])) }
      if dice.chance(50), let made = makeIndex(on: tables[index]), made.kind != .unique {
        tables[index].indexes.append(made)
        sql.append(creation(of: made, on: tables[index]))
      }
    }
    if dice.chance(40) { sql.append(addView() ?? "") }
    if dice.chance(40) { sql.append(addTrigger() ?? "") }
    if dice.chance(30) { sql.append("PRAGMA user_version = 3; PRAGMA application_id = 1234;") }
    program.setup = sql.filter { !$0.isEmpty }.joined(separator: "\n")

    makeFiles()
    return program
  }

  mutating func addView() -> String? {
    guard let table = dice.pickAny(tables.filter { !$0.isFullText }) else { return nil }
    let view = View(name: freshName(), table: table.id)
    views.append(view)
    return creation(of: view)
  }

  mutating func addTrigger() -> String? {
    let candidates = tables.filter { $0.id != log && !$0.isFullText }
    guard let table = dice.pickAny(candidates), self.table(log) != nil else { return nil }
    let trigger = Trigger(
      name: freshName(), table: table.id, target: log,
      event: dice.pick([
        "AFTER INSERT", "AFTER INSERT", "AFTER UPDATE", "BEFORE INSERT", "BEFORE DELETE",
        "AFTER DELETE",
      ]))
    triggers.append(trigger)
    return creation(of: trigger)
  }
}
