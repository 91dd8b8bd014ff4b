import Migrations

/// The statements of the migrations.
extension ProgramMaker {
  mutating func makeFiles() {
    let enforced = dice.chance(25)
    let count = 1 + dice.below(3)
    for _ in 0..<count {
      var file = ProgramFile()
      file.enforcesForeignKeys = enforced
      if dice.chance(20) { file.timeout = dice.pick(["60 s", "5 min", "90000 ms"]) }
      if dice.chance(20) { file.preflight.append("SELECT 'never' WHERE 0;") }
      program.files.append(file)
      for _ in 0...dice.below(4) { addStep() }
      if dice.chance(25) {
        let table = dice.pick(tables)
        last.validate.append(
          "SELECT 'no table' WHERE NOT EXISTS (SELECT 1 FROM pragma_table_list WHERE name = '\(table.name.replacing("'", with: "''"))');"
        )
      }
    }
    if dice.chance(35) { addFault() }
    if last.migrate.isEmpty { last.migrate.append("SELECT 1;") }
    for index in program.files.indices where program.files[index].migrate.isEmpty {
      program.files[index].migrate.append("SELECT 1;")
    }
  }

  /// The file that is being written.
  private var last: ProgramFile {
    get { program.files[program.files.count - 1] }
    set { program.files[program.files.count - 1] = newValue }
  }

  private mutating func add(_ kind: String, _ statements: [String]) {
    let statements = statements.filter { !$0.isEmpty }
    guard !statements.isEmpty else { return }
    program.kinds.insert(kind)
    if dice.chance(15) { last.migrate.append("/* one; two */ -- three;") }
    last.migrate += statements
  }

  private mutating func pickTable(_ isRight: (Table) -> Bool = { _ in true }) -> Int? {
    dice.pickAny(tables.indices.filter { !tables[$0].isFullText && isRight(tables[$0]) })
  }

  private func isIndexed(_ column: Column, of table: Table) -> Bool {
    table.indexes.contains { $0.column == column.id }
      || table.columns.contains { $0.source == column.id }
      || views.contains { $0.table == table.id }
      || triggers.contains { $0.target == table.id }
  }

  private func hasChildren(_ table: Table) -> Bool {
    tables.contains { other in
      other.columns.contains { $0.parent == table.id } && other.id != table.id
    }
  }

  private mutating func addStep() {
    switch dice.below(26) {
    case 0, 1: addColumn()
    case 2: renameColumn()
    case 3: renameTable()
    case 4, 5: dropColumn()
    case 6, 7, 8: rebuild()
    case 9: createTable()
    case 10: dropTable()
    case 11, 12: createIndex()
    case 13: dropIndex()
    case 14: add("create view", [addView() ?? ""])
    case 15: add("create trigger", [addTrigger() ?? ""])
    case 16: dropViewOrTrigger()
    case 17, 18, 19: backfill()
    case 20: insert()
    case 21: insertSelect()
    case 22, 23: declaredDeletion()
    case 24: fullText()
    default:
      add(
        "own affairs",
        [
          dice.pick([
            "PRAGMA user_version = 9;", "ANALYZE;", "REINDEX;", "PRAGMA application_id = 77;",
            "SELECT ';' AS \"a;b\";",
          ])
        ])
    }
  }

  // MARK: Columns

  private mutating func addColumn() {
    guard let at = pickTable() else { return }
    var column =
      dice.chance(15) ? makeChild(of: tables[at]) : makeColumn(of: tables[at], canBeBare: false)
    if dice.chance(20), let source = tables[at].values.first {
      column = Column(id: column.id, name: column.name, type: "INTEGER", source: source.id)
    }
    tables[at].columns.append(column)
    add(
      "add column",
      [
        "ALTER TABLE \(q(tables[at].name)) ADD COLUMN \(definition(column, of: tables[at]));"
      ])
  }

  private mutating func renameColumn() {
    guard let at = pickTable({ !$0.columns.isEmpty }) else { return }
    let which = dice.below(tables[at].columns.count)
    let old = tables[at].columns[which].name
    let new = columnName(among: tables[at].columns)
    tables[at].columns[which].name = new
    add(
      "rename column",
      ["ALTER TABLE \(q(tables[at].name)) RENAME COLUMN \(q(old)) TO \(q(new));"])
  }

  private mutating func dropColumn() {
    guard let at = pickTable({ $0.values.count > 1 }) else { return }
    let table = tables[at]
    // Now and then one that SQLite does not let go.
    let free = table.values.filter { !isIndexed($0, of: table) && $0.parent == nil }
    guard let column = dice.chance(90) ? dice.pickAny(free) : dice.pick(table.values) else {
      return
    }
    tables[at].columns.removeAll { $0.id == column.id }
    add("drop column", ["ALTER TABLE \(q(table.name)) DROP COLUMN \(q(column.name));"])
  }

  // MARK: Tables

  private mutating func renameTable() {
    guard
      let at = dice.pickAny(
        tables.indices.filter { index in
          !program.files.contains { file in
            file.expectations.contains { $0.table.utf8.elementsEqual(tables[index].name.utf8) }
          }
        })
    else { return }
    let old = tables[at].name
    tables[at].name = freshName()
    tables[at].isRenamed = true
    program.renames.append((old, tables[at].name))
    add("rename table", ["ALTER TABLE \(q(old)) RENAME TO \(q(tables[at].name));"])
  }

  /// "The 12 steps" of <https://sqlite.org/lang_altertable.html>.
  private mutating func rebuild() {
    guard let at = pickTable() else { return }
    var table = tables[at]
    var statements: [String] = []
    // Who forgets these gets an error from RENAME.
    let isCareful = dice.chance(90)
    let hanging = triggers.filter { $0.target == table.id && $0.table != table.id }
    let above = views.filter { $0.table == table.id }
    if isCareful {
      statements += hanging.map { "DROP TRIGGER \(q($0.name));" }
      statements += above.map { "DROP VIEW \(q($0.name));" }
    }
    var copied = table.plain
    if dice.chance(40) {
      let column = makeColumn(of: table, canBeBare: false)
      table.columns.append(column)
    }
    if dice.chance(30), let gone = table.values.dropFirst().last, !isIndexed(gone, of: table) {
      table.columns.removeAll { $0.id == gone.id }
      copied.removeAll { $0.id == gone.id }
    }
    if dice.chance(8) { table.isStrict.toggle() }
    if table.isStrict {
      let allowed = ["INT", "INTEGER", "TEXT", "REAL", "BLOB", "ANY"]
      for index in table.columns.indices where !allowed.contains(table.columns[index].type) {
        table.columns[index].type = "ANY"
      }
    }
    tables[at] = table
    let names = copied.map { q($0.name) }.joined(separator: ", ")
    let old = q(table.name)
    let new = freshName()
    let order = dice.chance(20) ? " ORDER BY 1 DESC" : ""
    if dice.chance(88) {
      statements += [
        creation(of: table, as: new),
        "INSERT INTO \(q(new)) (\(names)) SELECT \(names) FROM \(old)\(order);",
        "DROP TABLE \(old);", "ALTER TABLE \(q(new)) RENAME TO \(old);",
      ]
      program.renames.append((new, table.name))
    } else {
      // "Rename the old table first" leaves children that refer to the old name.
      statements += [
        "ALTER TABLE \(old) RENAME TO \(q(new));", creation(of: table, as: table.name),
        "INSERT INTO \(old) (\(names)) SELECT \(names) FROM \(q(new));", "DROP TABLE \(q(new));",
      ]
      program.renames.append((table.name, new))
    }
    statements += table.indexes.map { creation(of: $0, on: table) }
    let own = triggers.filter { $0.table == table.id }
    if dice.chance(80) {
      statements += own.map { creation(of: $0) }
    } else {
      triggers.removeAll { $0.table == table.id }
    }
    if isCareful {
      statements += hanging.map { creation(of: $0) } + above.map { creation(of: $0) }
    }
    add("rebuild", statements)
  }

  private mutating func createTable() {
    let table = makeTable()
    tables.append(table)
    var statements = [
      creation(of: table, as: table.name),
      rows(table, dice.below(5), first: 1, verb: "INSERT OR IGNORE"),
    ]
    if let index = makeIndex(on: table) {
      tables[tables.count - 1].indexes.append(index)
      statements.append(creation(of: index, on: table))
    }
    add("create table", statements)
  }

  private mutating func dropTable() {
    let isDaring = dice.chance(10)
    guard
      let at = dice.pickAny(
        tables.indices.filter {
          tables[$0].id != log && !tables[$0].isRenamed && (isDaring || !hasChildren(tables[$0]))
        })
    else { return }
    let table = tables.remove(at: at)
    if table.isOld {
      last.expectations.append((table.name, ">= 0"))
      expectCascade(from: table)
    }
    var statements = views.filter { $0.table == table.id }.map { "DROP VIEW \(q($0.name));" }
    views.removeAll { $0.table == table.id }
    triggers.removeAll { $0.table == table.id }
    statements.append("DROP TABLE \(q(table.name));")
    add("drop table", statements)
  }

  private mutating func createIndex() {
    guard let at = pickTable(), let index = makeIndex(on: tables[at]) else { return }
    tables[at].indexes.append(index)
    add("create index", [creation(of: index, on: tables[at])])
  }

  private mutating func dropIndex() {
    guard let at = pickTable({ !$0.indexes.isEmpty }) else { return }
    let index = tables[at].indexes.removeLast()
    add("drop index", ["DROP INDEX \(q(index.name));"])
  }

  private mutating func dropViewOrTrigger() {
    if dice.chance(50), let view = views.popLast() {
      add("drop view", ["DROP VIEW \(q(view.name));"])
    } else if let trigger = triggers.popLast() {
      add("drop trigger", ["DROP TRIGGER \(q(trigger.name));"])
    }
  }

  // MARK: Rows

  private mutating func backfill() {
    guard let at = pickTable({ !$0.values.isEmpty }) else { return }
    let table = tables[at]
    let isDaring = dice.chance(10)
    let candidates = table.values.filter { isDaring || $0.parent == nil }
    guard let column = dice.pickAny(candidates) else { return }
    let other = dice.pick(table.columns)
    let value =
      column.parent == nil && dice.chance(40)
      ? dice.pick([
        "coalesce(\(q(other.name)), \(q(column.name)))", "hex(\(q(other.name)))",
        "length(\(q(other.name))) + 1", "CAST(\(q(other.name)) AS TEXT)", "-\(q(column.name))",
      ]) : self.value(of: column, in: table)
    let filter = dice.chance(40) ? " WHERE \(q(column.name)) IS NULL" : ""
    let verb = dice.pick(["UPDATE", "UPDATE", "UPDATE OR IGNORE", "UPDATE OR REPLACE"])
    add("backfill", ["\(verb) \(q(table.name)) SET \(q(column.name)) = \(value)\(filter);"])
  }

  private mutating func insert() {
    guard let at = pickTable({ !$0.plain.isEmpty }) else { return }
    let verb = dice.pick(["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "INSERT OR ROLLBACK"])
    add("insert", [rows(tables[at], 1 + dice.below(4), first: nil, verb: verb)])
  }

  private mutating func insertSelect() {
    guard let from = pickTable({ !$0.columns.isEmpty }), let to = pickTable({ !$0.values.isEmpty })
    else { return }
    let (source, target) = (tables[from], tables[to])
    var names: [String] = []
    var values: [String] = []
    if let key = target.keyColumn {
      let text = target.key == .text
      names.append(q(key.name))
      // A row number makes keys of any table's rows.
      values.append(
        text
          ? "'s\(self.key())-' || row_number() OVER ()"
          : "\(self.key() * 10_000) + row_number() OVER ()")
    }
    for column in target.values {
      names.append(q(column.name))
      if column.parent != nil || target.isStrict || column.isNotNull {
        values.append(value(of: column, in: target))
      } else {
        values.append(q(dice.pick(source.columns).name))
      }
    }
    guard !names.isEmpty else { return }
    add(
      "insert select",
      [
        "INSERT INTO \(q(target.name)) (\(names.joined(separator: ", "))) SELECT \(values.joined(separator: ", ")) FROM \(q(source.name)) LIMIT 20;"
      ])
  }

  private mutating func declaredDeletion() {
    let isDaring = last.enforcesForeignKeys || dice.chance(10)
    let here = self
    guard
      let at = pickTable({
        $0.id != here.log && !$0.isRenamed && $0.keyColumn != nil
          && (isDaring || !here.hasChildren($0))
      }), let key = tables[at].keyColumn
    else { return }
    let table = tables[at]
    let count = 1 + dice.below(2)
    if table.isOld {
      // With fewer rows than that, the first one does not come true.
      last.expectations.append((table.name, dice.pick([">= 0", "-\(count)", "-\(count)", ">= 1"])))
      expectCascade(from: table)
    }
    add(
      last.enforcesForeignKeys ? "declared cascade" : "declared deletion",
      [
        "DELETE FROM \(q(table.name)) WHERE \(q(key.name)) IN (SELECT \(q(key.name)) FROM \(q(table.name)) ORDER BY 1 LIMIT \(count));"
      ])
  }

  private mutating func expectCascade(from table: Table) {
    guard last.enforcesForeignKeys else { return }
    var reached = [table.id]
    for _ in tables {
      for other in tables where !reached.contains(other.id) && other.isOld && !other.isRenamed {
        guard other.columns.contains(where: { $0.parent.map(reached.contains) == true }) else {
          continue
        }
        reached.append(other.id)
        if dice.chance(90) { last.expectations.append((other.name, ">= 0")) }
      }
    }
  }

  private mutating func fullText() {
    guard let table = tables.first(where: \.isFullText) else {
      let table = Table(
        id: id(), name: freshName(), key: .none,
        columns: [Column(id: id(), name: "body", type: "TEXT")], isFullText: true)
      tables.append(table)
      return add(
        "create full text",
        [creation(of: table, as: table.name), rows(table, 2, first: nil, verb: "INSERT")])
    }
    let name = q(table.name)
    switch dice.below(4) {
    case 0: add("full text", ["INSERT INTO \(name) (\(name)) VALUES ('rebuild');"])
    case 1: add("full text", ["INSERT INTO \(name) (\(name)) VALUES ('optimize');"])
    case 2: add("full text", [rows(table, 3, first: nil, verb: "INSERT")])
    default:
      let body = q(table.columns[0].name)
      add("full text", ["UPDATE \(name) SET \(body) = 'tire pressure' || rowid;"])
    }
  }

  // MARK: What fails

  /// Puts something wrong into one of the files, before or behind its other statements.
  private mutating func addFault() {
    let file = dice.below(program.files.count)
    let end = program.files[file].migrate.count
    let old = tables.filter { $0.isOld && !$0.isFullText && !$0.isRenamed }
    let table = dice.pickAny(old)
    let name = table.map { q($0.name) } ?? "nothing"
    var sql = ""
    var kind = ""
    switch dice.below(14) {
    case 0:
      kind = "syntax error"
      sql = dice.pick(["SELEC 1;", "CREATE TABLE x (a,, b);", "INSERT INTO \(name);", "SELECT (1;"])
    case 1:
      kind = "no such thing"
      sql = dice.pick([
        "DROP TABLE \"not there\";", "UPDATE \(name) SET \"not there\" = 1;", "SELECT no_such();",
      ])
    case 2:
      kind = "constraint"
      guard let table, let key = table.keyColumn else { return }
      sql =
        "INSERT INTO \(name) SELECT * FROM \(name); INSERT INTO \(name) (\(q(key.name))) VALUES (NULL), ('x');"
    case 3, 4:
      kind = "undeclared loss"
      guard table != nil else { return }
      sql = dice.pick([
        "DELETE FROM \(name);", "DROP TABLE \(name);",
        "CREATE TABLE saved AS SELECT * FROM \(name); DELETE FROM \(name);",
      ])
    case 5:
      kind = "new orphan"
      guard let child = old.first(where: { table in table.columns.contains { $0.parent != nil } }),
        let column = child.columns.first(where: { $0.parent != nil })
      else { return }
      sql = "UPDATE \(q(child.name)) SET \(q(column.name)) = 4711;"
    case 6, 7:
      kind = "forbidden"
      sql = dice.pick([
        "ATTACH ':memory:' AS other;", "COMMIT;", "BEGIN;", "ROLLBACK;", "SAVEPOINT a;", "VACUUM;",
        "PRAGMA foreign_keys = ON;", "PRAGMA journal_mode = DELETE;",
        "PRAGMA writable_schema = ON;",
        "PRAGMA synchronous = OFF;", "DELETE FROM chock_migrations;",
        "DROP TABLE chock_migrations;",
        "CREATE TEMP TABLE x (a);", "SELECT load_extension('x');", "VACUUM INTO 'copy.db';",
        "PRAGMA locking_mode = EXCLUSIVE;", "INSERT INTO chock_migrations DEFAULT VALUES;",
      ])
      program.brokenRules.insert(.forbiddenStatement)
    case 8:
      kind = "schema table"
      sql = dice.pick(["DELETE FROM sqlite_schema;", "UPDATE sqlite_schema SET sql = NULL;"])
    case 9:
      kind = "validation"
      let query = dice.pick([
        "SELECT 'a problem';", "SELECT NULL;", "SELECT name FROM sqlite_schema;",
      ])
      program.files[file].validate.append(query)
    case 10:
      kind = "preflight"
      program.files[file].preflight.append("SELECT 'it rains' UNION ALL SELECT 'and snows';")
    case 11:
      kind = "endless"
      program.files[file].timeout = "30 ms"
      program.isEndless = true
      let endless = "WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c)"
      sql = dice.pick([
        "\(endless) SELECT count(*) FROM c;",
        "CREATE TABLE big AS \(endless) SELECT max(i) FROM c;",
        "\(endless) INSERT INTO \(q(tables[0].name)) SELECT max(i), 1 FROM c;",
      ])
    case 12:
      kind = "unmet expectation"
      guard let table else { return }
      let change = dice.pick(["+4711", ">= 4711"])
      program.files[file].expectations.append((table.name, change))
    default:
      kind = "check that writes"
      program.files[file].validate.append("DELETE FROM \(name);")
      program.brokenRules.insert(.statement)
    }
    program.kinds.insert(kind)
    let place = dice.chance(60) ? end : 0
    if !sql.isEmpty { program.files[file].migrate.insert(sql, at: place) }
  }
}
