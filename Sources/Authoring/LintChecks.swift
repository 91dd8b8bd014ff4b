import Migrations
import SQLite
import Storage

/// The rules that look at the whole file: what was there before it, what it did, and what is there after it.
extension LintedFile {
  private var isRollback: Bool { earlier != nil }

  mutating func check(
    hasRollback: Bool, unindexed: inout Set<String>, on connection: Connection
  ) throws(Failure) {
    checkRenameFirst()
    checkLostObjects()
    try checkForeignKeys(&unindexed, connection)
    checkHeaders()
    try checkVacuum(connection)
    // The way back removes what its migration brought.
    guard !isRollback else { return }
    checkDestructive()
    checkDefaults()
    for found in before.breaks(in: after) {
      let table = TableKey(found.table)
      report(.incompatible, line: line(of: table, naming: found.column), found.message)
    }
    if !hasRollback {
      report(
        .missingRollback, line: 1,
        "There is no rollback file for \(migration.fileName).")
    }
  }

  // MARK: Places

  /// The line of the last statement that made or changed a table and names something in it; else of the last
  /// one that made or changed it; else the first.
  private func line(of table: TableKey, naming name: String? = nil) -> Int {
    // A table that was rebuilt was made under another name.
    var names: Set<TableKey> = [table]
    for ran in statements.reversed() {
      guard let alters = ran.alters, case .renameTable(let new) = ran.statement.alteration else {
        continue
      }
      if names.contains(TableKey(new)) { names.insert(alters) }
    }
    let touching = statements.filter { !$0.tables.isDisjoint(with: names) }
    if let name {
      for ran in touching.reversed() where ran.decorates.isEmpty {
        guard let line = ran.statement.line(naming: name) else { continue }
        return ran.alters == nil ? line : ran.statement.line
      }
    }
    return touching.last { $0.decorates.isEmpty }?.statement.line ?? touching.last?.statement.line
      ?? 1
  }

  /// The tables that were there before, and are there again under their name without being the same.
  private var rebuilt: Set<TableKey> {
    Set(
      ways.filter { old, way in
        after.tables[old] != nil && (way.droppedAt != nil || way.name != old)
      }
      .keys)
  }

  private func name(_ table: TableKey) -> String {
    (before.tables[table] ?? after.tables[table])?.name ?? table.text
  }

  // MARK: Rows and columns

  private mutating func checkDestructive() {
    guard !migration.isDestructive else { return }
    for (old, way) in ways {
      guard let line = way.droppedAt else { continue }
      if after.tables[old] == nil {
        report(.destructive, line: line, "The table \(name(old)) is dropped.")
      } else if !way.isCopied {
        report(
          .destructive, line: line,
          "The table \(name(old)) is dropped and made again, and no statement has copied its rows.")
      }
    }
    let rebuilt = rebuilt
    for (old, way) in ways {
      guard let columns = before.tables[old]?.columns,
        let new = after.tables[rebuilt.contains(old) ? old : way.name], new != before.tables[old]
      else { continue }
      for column in columns where column.generated == nil {
        let now = way.columns[TableKey(column.name)]?.text ?? column.name
        guard new.column(now) == nil else { continue }
        report(
          .destructive, line: line(of: old, naming: column.name),
          "The column \(column.name) of \(name(old)) goes.")
      }
    }
    for (old, way) in ways {
      for line in way.deletedAt {
        report(.destructive, line: line, "Rows of \(name(old)) are deleted.")
      }
    }
  }

  // MARK: Rebuilds

  private mutating func checkRenameFirst() {
    for old in rebuilt {
      guard let way = ways[old], way.name != old, let line = way.renamedAt else { continue }
      report(
        .renameFirst, line: line,
        "\(name(old)) is renamed to \(way.name.text) before the new table of its name is made.")
    }
  }

  private mutating func checkLostObjects() {
    let rebuilt = rebuilt
    func key(_ object: Shape.Object) -> TableKey { TableKey("\(object.kind) \(object.name)") }
    let there = Set(after.objects.map(key))
    let dropped = Set(statements.compactMap { $0.statement.dropped.map(TableKey.init) })
    for object in (earlier ?? before).objects {
      let table = TableKey(object.table)
      guard !there.contains(key(object)) else {
        if object.kind == .view, before.tables[table]?.columns != nil,
          after.tables[table]?.columns == nil
        {
          report(
            .lostObject, line: statements.last?.statement.line ?? 1,
            "The view \(object.name) can be read before the file, and not after it.")
        }
        continue
      }
      let isNamed = dropped.contains(TableKey(object.name))
      let line = isNamed ? line(dropping: object.name) : line(of: table)
      guard !isRollback else {
        report(
          .lostObject, line: line,
          "The \(object.kind) \(object.name) was there before the migration, and is not there after its rollback."
        )
        continue
      }
      // What belongs to the table goes with it, and nobody has said so.
      let isTaken = object.kind != .view && rebuilt.contains(table) && !isNamed
      // What only names the table has to step aside for RENAME.
      let names = Set(SQLToken.all(of: object.sql).map { TableKey($0.text) })
      let isAside =
        (object.kind == .view || after.tables[table] != nil) && !rebuilt.contains(table)
        && !names.isDisjoint(with: rebuilt)
      guard isTaken || isAside else { continue }
      report(
        .lostObject, line: isTaken ? ways[table]?.droppedAt ?? line : line,
        "The \(object.kind) \(object.name) was there before the rebuild, and is not there after it."
      )
    }
  }

  private func line(dropping name: String) -> Int {
    statements.first { $0.statement.dropped.map(TableKey.init) == TableKey(name) }?.statement.line
      ?? 1
  }

  // MARK: Foreign keys

  private mutating func checkForeignKeys(
    _ unindexed: inout Set<String>, _ connection: Connection
  ) throws(Failure) {
    let changed = Set(statements.flatMap(\.tables))
    for (child, table) in after.tables.sorted(by: { $0.key < $1.key }) {
      let old = before.tables[child]
      var isFitting = true
      for key in table.foreignKeys {
        let parent = TableKey(key.parent)
        var line: Int { self.line(of: child, naming: key.columns.first) }
        if after.tables[parent]?.kind != .table {
          isFitting = false
          let wasBroken =
            old?.foreignKeys.contains(key) == true && before.tables[parent]?.kind != .table
          guard !wasBroken else { continue }
          report(
            .brokenForeignKey,
            line: ways.values.first { $0.name == parent }?.droppedAt ?? line,
            "\(table.name) (\(key.columns.joined(separator: ", "))) refers to \(key.parent), which is not there after the file."
          )
        } else if let was = old?.foreignKeys.first(where: { $0.columns == key.columns }),
          TableKey(was.parent) != parent, ways[TableKey(was.parent)]?.name == parent,
          after.tables[TableKey(was.parent)] != nil
        {
          report(
            .brokenForeignKey, line: ways[TableKey(was.parent)]?.renamedAt ?? line,
            "\(table.name) (\(key.columns.joined(separator: ", "))) has followed \(was.parent) to \(key.parent)."
          )
        }
      }
      guard isFitting,
        changed.contains(child)
          || table.foreignKeys.contains(where: { changed.contains(TableKey($0.parent)) })
      else { continue }
      if let misfit = try misfit(of: table, connection) {
        report(.brokenForeignKey, line: line(of: child), "\(misfit).")
      } else if changed.contains(child) {
        try checkIndexes(of: table, &unindexed, connection)
      }
    }
  }

  /// A foreign key has to refer to a primary key or to columns with a UNIQUE index.
  private func misfit(of table: Shape.Table, _ connection: Connection) throws(Failure) -> String? {
    do throws(SQLiteError) {
      try connection.prepare("PRAGMA foreign_key_check(\(Database.quoted(table.name)))").run()
      return nil
    } catch {
      return error.message
    }
  }

  /// Asks SQLite how it would look for the rows that refer to one of the parent's.
  private mutating func checkIndexes(
    of table: Shape.Table, _ unindexed: inout Set<String>, _ connection: Connection
  ) throws(Failure) {
    for key in table.foreignKeys {
      let columns = key.columns.joined(separator: ", ")
      let condition = key.columns.map { "\(Database.quoted($0)) = ?" }.joined(separator: " AND ")
      let plan = try Database.catching(connection.fileName) { () throws(SQLiteError) in
        let plan = try connection.prepare(
          "EXPLAIN QUERY PLAN SELECT 1 FROM main.\(Database.quoted(table.name)) WHERE \(condition)")
        return try plan.step() ? plan.text(3) ?? "" : ""
      }
      let id = "\(SQLName.lowered(table.name)) (\(SQLName.lowered(columns)))"
      guard plan.hasPrefix("SCAN") else {
        unindexed.remove(id)
        continue
      }
      guard unindexed.insert(id).inserted, !isRollback else { continue }
      report(
        .foreignKeyIndex, line: line(of: TableKey(table.name), naming: key.columns.first),
        "No index helps to find the rows of \(table.name) by (\(columns)), which refers to \(key.parent)."
      )
    }
  }

  // MARK: Columns

  private mutating func checkDefaults() {
    for (key, table) in after.tables {
      for column in table.columns ?? [] where before.tables[key] != table {
        guard let value = column.defaultValue, Self.changesEachTime(value) else { continue }
        let old = before.tables[ways.first { $0.value.name == key }?.key ?? key]
        guard old?.column(column.name)?.defaultValue != value else { continue }
        report(
          .nonDeterministicDefault, line: line(of: key, naming: column.name),
          "The default of \(column.name) of \(table.name) is \(value).")
      }
    }
  }

  private static func changesEachTime(_ expression: String) -> Bool {
    let tokens = SQLToken.all(of: expression)
    return tokens.indices.contains { index in
      guard tokens[index].kind == .word else { return false }
      let arguments = tokens[(index + 1)...].prefix { $0.text != ")" }.dropFirst()
      switch tokens[index].meaning {
      case "current_timestamp", "current_date", "current_time", "random", "randomblob",
        "last_insert_rowid", "changes", "total_changes", "sqlite_version", "sqlite_source_id":
        return true
      case "date", "time", "datetime", "julianday", "unixepoch":
        return arguments.isEmpty || arguments.contains { $0.meaning.lowercased() == "'now'" }
      case "strftime":
        return arguments.count < 2 || arguments.contains { $0.meaning.lowercased() == "'now'" }
      default: return false
      }
    }
  }

  // MARK: Headers

  private mutating func checkHeaders() {
    let sections = migration.preflight + migration.migrate + migration.validate
    let parameters = Set(
      sections.flatMap { SQLToken.all(of: $0.text) }.filter { $0.kind == .parameter }.map(\.text))
    for input in migration.inputs where !parameters.contains(":\(input.name)") {
      report(.unusedInput, line: input.line, "The answer to \(input.name) is not used.")
    }
    guard !migration.expectations.isEmpty else { return }
    let tables = before.tables.merging(after.tables) { old, _ in old }.filter {
      $0.value.kind != .view
    }
    for expectation in migration.expectations {
      guard let table = tables[TableKey(expectation.table)] else {
        report(
          .unknownExpect, line: expectation.line,
          "There is no table \(expectation.table), neither before the file nor after it."
            + Lint.suggestion(for: expectation.table, among: tables.values.map(\.name).sorted()))
        continue
      }
      guard case .values(let columns) = expectation.subject else { continue }
      for column in columns where table.column(column) == nil {
        let names = (table.columns ?? []).map(\.name)
        report(
          .unknownExpect, line: expectation.line,
          "\(table.name) has no column \(column)." + Lint.suggestion(for: column, among: names))
      }
    }
  }

  // MARK: VACUUM

  private mutating func checkVacuum(_ connection: Connection) throws(Failure) {
    guard let vacuum = statements.first(where: { $0.statement.verb == "vacuum" }) else { return }
    let names = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let list = try connection.prepare(
        """
        SELECT name FROM pragma_table_list AS list
        WHERE schema = 'main' AND type = 'table' AND NOT wr
          AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
          AND NOT EXISTS (SELECT 1 FROM pragma_index_list(list.name) WHERE "unique")
        ORDER BY name
        """)
      var names: [String] = []
      while try list.step() { names.append(list.text(0) ?? "") }
      return names
    }
    let keyless = names.filter { name in
      after.tables[TableKey(name)]?.columns?.contains { $0.isRowid } == false
    }
    guard !keyless.isEmpty else { return }
    report(
      .vacuumRowids, line: vacuum.statement.line,
      "Rows have no key but their rowid in \(keyless.joined(separator: ", ")).")
  }
}
