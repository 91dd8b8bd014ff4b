import Migrations
import SQLite

/// The checks inside the transaction, before COMMIT: what a clean `integrity_check` does not see.
struct Verifier {
  let connection: Connection
  let plan: Plan
  let report: ApplyReport
  let before: Baseline

  /// - Throws: `.rowsLost`, `.expectation`, `.foreignKeys` or `.integrity`, naming the statement
  ///   that did it where one can be named. The transaction is then to be rolled back.
  func verify() throws(Failure) {
    let after = try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try Baseline(connection)
    }
    try checkForeignKeys(after)
    try checkRows(after)
    try Database.check(connection, file: connection.fileName, failingAs: .integrity)
  }

  /// Old violations are reported elsewhere and never stop a run; new ones do.
  private func checkForeignKeys(_ after: Baseline) throws(Failure) {
    let new = after.violations.new(since: before.violations) { table in
      after.tables[table] == nil ? report.renames[table] ?? table : table
    } rebuilt: { table in
      report.droppedTables.contains(table)
        || report.droppedTables.contains(report.renames[table] ?? table)
    }
    guard let first = new.first else { return }
    let row = first.rowid.map { "row \($0) of \(first.table)" } ?? "a row of \(first.table)"
    throw located(
      Failure(
        .foreignKeys,
        "\(new.count) rows would point to nothing: \(row) refers to a row of \(first.parent) that is not there.",
        howToClear:
          "Keep the rows of \(first.parent), or remove those that refer to them and declare it with Expect."
      ),
      table: first.parent, orElse: first.table)
  }

  private func checkRows(_ after: Baseline) throws(Failure) {
    let expectations = plan.steps.flatMap { step in
      step.expectations.map { (path: step.path, value: $0) }
    }
    let declared = Dictionary(grouping: expectations) { $0.value.table.lowercased() }
    for (key, table) in before.tables.sorted(by: { $0.key < $1.key }) where declared[key] == nil {
      let now = rows(of: key, in: after)
      guard now < table.rows else { continue }
      throw located(
        Failure(
          .rowsLost,
          "\(table.name) would lose \(table.rows - now) of its \(table.rows) rows, and no migration says so.",
          howToClear:
            "If that is meant, declare it: -- Expect: \(table.name) rows >= 0. If not, mend the migration."
        ),
        table: key, orElse: key)
    }
    for (key, list) in declared.sorted(by: { $0.key < $1.key }) {
      try check(
        list, key: key, had: before.tables[key]?.rows ?? 0, has: after.tables[key]?.rows ?? 0)
    }
  }

  /// Several migrations may declare something for one table: their changes add up.
  private func check(
    _ list: [(path: String, value: RowExpectation)], key: String, had: Int64, has: Int64
  ) throws(Failure) {
    var change: Int64? = 0
    for (path, expectation) in list {
      switch expectation.change {
      case .unchanged: break
      case .changesBy(let count): change = change.map { $0 + count }
      case .atLeast(let least):
        change = nil
        guard has >= least else {
          throw unmet(expectation, path, "it has \(has) rows, not at least \(least)")
        }
      }
    }
    if let change, has != had + change, let (path, expectation) = list.last {
      throw unmet(expectation, path, "it had \(had) rows and would have \(has)")
    }
  }

  private func unmet(_ expectation: RowExpectation, _ path: String, _ what: String) -> Failure {
    Failure(
      .expectation,
      "What the migration expects of \(expectation.table) did not come true: \(what).",
      file: path, line: expectation.line,
      howToClear: "Correct the Expect header, or the migration.")
  }

  /// The rows that a table of before has now, also under another name.
  private func rows(of key: String, in after: Baseline) -> Int64 {
    if let same = after.tables[key] { return same.rows }
    return report.renames[key].flatMap { after.tables[$0] }?.rows ?? 0
  }

  private func located(_ failure: Failure, table: String, orElse other: String) -> Failure {
    var failure = failure
    let names = [table, other].flatMap { [$0, report.renames[$0] ?? $0] }
    let place = names.lazy.compactMap { report.removals[$0] }.first
    // A wrong file is worse than none.
    failure.file = place?.file ?? (plan.steps.count == 1 ? plan.steps.last?.path : nil)
    failure.line = place?.line
    failure.statement = place?.statement
    return failure
  }
}
