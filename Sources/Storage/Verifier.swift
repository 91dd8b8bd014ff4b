import Migrations
import SQLite

/// The checks inside the transaction, before COMMIT: what a clean `integrity_check` does not see.
struct Verifier {
  let connection: Connection
  let plan: Plan
  let report: ApplyReport
  let before: Baseline
  /// Nobody else has committed since `before`: without a transaction the application may.
  let isAlone: Bool
  let thoroughness: Transaction.Thoroughness
  let verdicts: Verdicts
  /// What the plan did to the copy, if it was rehearsed.
  let rehearsal: Rehearsal?

  /// - Returns: what was found and does not stop the run.
  /// - Throws: `.rowsLost`, `.expectation`, `.foreignKeys` or `.integrity`, naming the statement
  ///   that did it where one can be named. The transaction is then to be rolled back.
  func verify() throws(Failure) -> [Failure] {
    var warnings: [Failure] = []
    // Such as ADD COLUMN: the rows are those of before.
    let isSchemaAlone = try onlyWrote(to: [])
    let hasSameReferences = isSchemaAlone ? try hasSameForeignKeys() : false
    if !hasSameReferences { try checkForeignKeys(&warnings) }
    try checkRows(isSchemaAlone: isSchemaAlone, &warnings)
    try checkSchema()
    try checkObjects()
    try checkFullTextIndexes(&warnings)
    // A rehearsal only finds out what is touched.
    let isProven = thoroughness == .asRehearsal ? false : try onlyWrote(to: touched)
    try checkUntouched(isProven: isProven)
    try checkIntegrity(isProven: isProven, isSchemaAlone: isSchemaAlone, &warnings)
    return warnings
  }

  private func judge(
    _ finding: Failure, _ verdict: Verdicts.Verdict, _ warnings: inout [Failure]
  ) throws(Failure) {
    guard verdict == .warn else { throw finding }
    warnings.append(finding)
  }

  /// The tables that the plan writes to: the rehearsal finds them out.
  private var touched: Set<TableKey> {
    rehearsal?.part(of: plan)?.touched ?? report.touchedTables
  }

  // MARK: Foreign keys

  private func hasSameForeignKeys() throws(Failure) -> Bool {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try ForeignKeyViolations.keys(connection) == before.foreignKeys
    }
  }

  /// Old violations never stop a run; new ones do.
  private func checkForeignKeys(_ warnings: inout [Failure]) throws(Failure) {
    let changed = report.touchedTables.union(report.renames.values)
    let after = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try ForeignKeyViolations(connection, affectedBy: changed)
    }
    guard after.count > 0 else { return }
    let tables = try names()
    let old = try before.violations(affectedBy: changed)
    if old.count > 0 {
      try judge(
        Failure(
          .foreignKeys,
          "\(old.count) rows of the tables that are changed point to nothing, and did so before.",
          howToClear: "Mend them in the application, or with a migration."),
        verdicts.oldForeignKeys, &warnings)
    }
    let new = after.new(since: old) { table in
      tables[table] == nil ? report.renames[table] ?? table : table
    } rebuilt: { table in
      report.droppedTables.contains(table)
        || report.droppedTables.contains(report.renames[table] ?? table)
    }
    guard let first = new.first else { return }
    let child = tables[first.table] ?? first.table.text
    guard let parent = first.parent else {
      return try judge(
        located(
          Failure(
            .foreignKeys, "The foreign keys of \(child) would not fit the tables they refer to.",
            howToClear:
              "A foreign key has to refer to a primary key or to columns with a UNIQUE index."
          ),
          tables: [first.table]), verdicts.foreignKeys, &warnings)
    }
    let row = first.rowid.map { "row \($0) of \(child)" } ?? "a row of \(child)"
    let target = tables[parent] ?? parent.text
    try judge(
      located(
        Failure(
          .foreignKeys,
          "\(new.count) rows would point to nothing: \(row) refers to a row of \(target) that is not there.",
          howToClear:
            "Keep the rows of \(target), or remove those that refer to them and declare it with Expect."
        ),
        tables: [parent, first.table]), verdicts.foreignKeys, &warnings)
  }

  /// The tables that there are now, ordinary and virtual.
  private func names() throws(Failure) -> [TableKey: String] {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let all = try Database.tables(connection) + Database.tables(connection, type: "virtual")
      return Dictionary(all.map { (TableKey($0), $0) }, uniquingKeysWith: { first, _ in first })
    }
  }

  // MARK: Rows

  private func checkRows(isSchemaAlone: Bool, _ warnings: inout [Failure]) throws(Failure) {
    let now = try names()
    func rows(_ key: TableKey) throws(Failure) -> Int64? {
      guard let name = now[key] else { return nil }
      if isSchemaAlone, let table = before.tables[key], report.renames.isEmpty { return table.rows }
      return try Database.catching(connection.fileName) { () throws(SQLiteError) in
        try Database.count(name, connection)
      }
    }
    // Each file's own declaration was looked at right behind its statements.
    let declared = Set(
      plan.steps.flatMap { step in
        step.expectations.filter(\.isAboutRows).map { TableKey($0.table) }
      })
    for (key, table) in before.tables.sorted(by: { $0.key < $1.key })
    where !declared.contains(key) && !table.isShadow && report.touchedTables.contains(key) {
      // Under the name that it has now.
      let renamed = report.renames[key].flatMap { now[$0] == nil ? nil : $0 }
      // What a rollback drops was counted, shown and exported before.
      if plan.direction == .rollback, now[renamed ?? key] == nil { continue }
      let left = try rows(renamed ?? key) ?? 0
      guard left < table.rows else { continue }
      try judge(
        located(
          Failure(
            .rowsLost,
            "\(table.name) would lose \(table.rows - left) of its \(table.rows) rows, and no migration says so.",
            howToClear:
              "If that is meant, declare it: -- Expect: \(table.name) rows >= 0. If not, mend the migration."
          ),
          tables: [key]), verdicts.rowsLost, &warnings)
    }
  }

  // MARK: Everything else

  /// What was rehearsed and what was done have to be the same.
  private func checkSchema() throws(Failure) {
    guard let rehearsal else { return }
    let digest = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Fingerprint.schema(connection)
    }
    guard digest == rehearsal.part(of: plan)?.schemaDigest else {
      throw Failure(
        .integrity, "The schema would not be the one that the rehearsal gave.",
        howToClear: "Rehearse again; the migration has to do the same each time.")
    }
  }

  /// Views, and statements on tables with triggers, that worked before have to work.
  private func checkObjects() throws(Failure) {
    guard report.hasAlterations || !report.droppedTables.isEmpty else { return }
    let failing = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Database.failingObjects(connection)
    }
    for (key, object) in failing.sorted(by: { $0.key < $1.key }) where before.working.contains(key)
    {
      throw located(
        Failure(
          .integrity, "\(object.name) would not work any more: \(object.message).",
          howToClear: "Drop or make anew the view or trigger that names what is gone."),
        tables: [key])
    }
  }

  /// A full-text index over a table that was written to has to find what is there.
  private func checkFullTextIndexes(_ warnings: inout [Failure]) throws(Failure) {
    let broken = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Database.brokenFullTextIndexes(connection, of: report.touchedTables)
    }
    for name in broken {
      warnings.append(
        Failure(
          .integrity, "The full-text index \(name) does not fit the rows that it indexes.",
          howToClear:
            "Let the migration rebuild it: INSERT INTO \(name) (\(name)) VALUES ('rebuild');"))
    }
  }

  /// No table may have changed that no statement writes to, as far as SQLite's authorizer knows.
  ///
  /// - Parameter isProven: the pages that were written say so.
  private func checkUntouched(isProven: Bool) throws(Failure) {
    guard thoroughness != .asRehearsal else { return }
    let others = before.tables.filter { key, table in
      table.fingerprint != nil && !touched.contains(key)
        // A virtual table writes to its own.
        && !(table.isShadow && touched.contains { key.isShadow(of: $0) })
    }
    for (_, table) in others.sorted(by: { $0.key < $1.key }) {
      guard let expected = table.fingerprint else { continue }
      let isSame = try Database.catching(connection.fileName) { () throws(SQLiteError) in
        // RENAME rewrites the foreign keys, triggers and views of others.
        let schema = try Fingerprint.schemaDigest(table.name, connection)
        guard schema == expected.schemaDigest || report.hasAlterations else { return false }
        if isProven || !isAlone { return true }
        let (rows, digest) = try Fingerprint.content(table.name, connection)
        return rows == expected.rows && digest == expected.digest
      }
      guard isSame else {
        throw Failure(
          .integrity, "\(table.name) would be changed, although no statement writes to it.",
          howToClear: "Restore a snapshot if the database is damaged: `chock doctor`.")
      }
    }
    let sequences = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Database.sequences(connection)
    }
    for (key, number) in before.sequences
    where isAlone && others[key] != nil && sequences[key] != number {
      throw Failure(
        .integrity,
        "The AUTOINCREMENT number of \(others[key]?.name ?? key.text) would be changed, although no statement writes to it."
      )
    }
  }

  /// True when every page that the transaction wrote belongs to the schema, the ledger or one of the
  /// tables that were touched. Then the pages of all others are those of before.
  func onlyWrote(to touched: Set<TableKey>) throws(Failure) -> Bool {
    // Without a transaction around it all, nobody knows which pages were written.
    guard plan.isTransaction else { return false }
    return try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try explainsPages(touched)
    }
  }

  private func explainsPages(_ touched: Set<TableKey>) throws(SQLiteError) -> Bool {
    guard var pages = try connection.changedPages() else { return false }
    // `dbstat` is an option of SQLite's; without it every row is read.
    guard let trees = try? connection.prepare("SELECT pageno FROM dbstat WHERE name = ?1") else {
      return false
    }
    func explain(_ tree: String) throws(SQLiteError) {
      guard !pages.isEmpty else { return }
      try trees.bind(tree, at: 1)
      while try trees.step() { pages.remove(UInt32(truncatingIfNeeded: trees.integer(0))) }
      trees.reset()
    }
    let list = try connection.prepare(
      "SELECT name, tbl_name, rootpage FROM sqlite_schema WHERE rootpage > 0")
    var names: [String] = []
    while try list.step() {
      let table = TableKey(list.text(1) ?? "")
      guard let name = list.text(0) else { continue }
      // The ledger is written by every plan, and small.
      let isFirst = table == .ledger || table.hasPrefix(TableKey("sqlite_"))
      guard isFirst || touched.contains(table) else { continue }
      names.insert(name, at: isFirst ? 0 : names.endIndex)
      // A small table has no other page than this, and need not be looked up.
      pages.remove(UInt32(truncatingIfNeeded: list.integer(2)))
    }
    for name in ["sqlite_schema"] + names { try explain(name) }
    return pages.isEmpty
  }

  /// The whole database with `quick_check`; or, where the snapshot was checked and no other page has been
  /// written since, the tables that the plan wrote to.
  private func checkIntegrity(
    isProven: Bool, isSchemaAlone: Bool, _ warnings: inout [Failure]
  ) throws(Failure) {
    let file = connection.fileName
    var drifted = 0
    switch thoroughness {
    case .full: drifted = try Database.check(connection, .full, file: file, failingAs: .integrity)
    case .asRun where !(isProven && before.isChecked):
      drifted = try Database.check(connection, file: file, failingAs: .integrity)
    case .asRun, .asRehearsal:
      guard !isSchemaAlone else { return }
      let written = touched.union(report.touchedTables).union(report.renames.values)
      for (key, name) in try names() where written.contains(key) {
        drifted += try Database.check(
          connection, .quickTable(name), file: file, failingAs: .integrity)
      }
    }
    guard drifted > 0 else { return }
    try judge(
      Failure(
        .integrity, "\(drifted) rows do not keep a constraint of their table.", file: file,
        howToClear: "`chock doctor` counts them; mend them in the application, or with a migration."
      ),
      verdicts.constraints, &warnings)
  }

  private func located(_ failure: Failure, tables: [TableKey]) -> Failure {
    var failure = failure
    let names = tables.flatMap { [$0, report.renames[$0] ?? $0] }
    let place = names.lazy.compactMap { report.removals[$0] }.first
    // A wrong file is worse than none.
    failure.file = place?.file ?? (plan.steps.count == 1 ? plan.steps.last?.path : nil)
    failure.line = place?.line
    failure.statement = place?.statement
    return failure
  }
}
