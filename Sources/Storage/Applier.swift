public import Migrations
import SQLite

/// How far the statements of a plan have got.
public struct ApplyProgress: Sendable {
  /// The migration that runs, and its number from 1.
  public var migration: Migration
  public var number: Int
  /// The statement, counted from 0 over the whole plan.
  public var statement: Int
  /// The line on which the statement starts.
  public var line: Int
  /// How long this statement has been running.
  public var running: Duration
}

/// What applying a plan goes by, besides the plan.
public struct ApplyOrder {
  /// The id of the run.
  public var run: String
  public var chockVersion: String
  /// What a person gave to the plan's inputs.
  public var inputs: [String: InputValue]
  /// What is done with what the verification finds.
  public var verdicts = Verdicts()
  public var stop: StopSignal
  /// When statements and checks must be over; nil: no limit.
  public var deadline: ContinuousClock.Instant?
  /// Told at least five times a second, as far as SQLite lets us.
  public var progress: (ApplyProgress) -> Void

  public init(
    run: String, chockVersion: String, inputs: [String: InputValue] = [:],
    stop: StopSignal = StopSignal(),
    deadline: ContinuousClock.Instant? = nil, progress: @escaping (ApplyProgress) -> Void = { _ in }
  ) {
    self.run = run
    self.chockVersion = chockVersion
    self.inputs = inputs
    self.stop = stop
    self.deadline = deadline
    self.progress = progress
  }
}

/// What the statements of a plan did, before it is committed.
public struct ApplyReport: Sendable {
  public struct Place: Sendable, Equatable {
    public var file: String
    public var line: Int
    public var statement: String
  }

  /// How long each statement took, in the order of the plan.
  public var statementSeconds: [Double] = []
  /// How long each migration took.
  var seconds: [Double] = []
  /// Tables written, altered, created or dropped.
  var touchedTables: Set<TableKey> = []
  /// Tables that were created or dropped, or that rows came into or went out of.
  var refilledTables: Set<TableKey> = []
  /// The columns that were written in rows that are there.
  var updatedColumns: [TableKey: Set<TableKey>] = [:]
  /// The first statement that deleted rows of a table or dropped it.
  var removals: [TableKey: Place] = [:]
  /// What a table of before is called now.
  var renames: [TableKey: TableKey] = [:]
  var droppedTables: Set<TableKey> = []
  /// True when any table was altered: RENAME rewrites what refers to it.
  var hasAlterations = false
  /// What was found and does not stop the run.
  public internal(set) var warnings: [Failure] = []
}

/// Runs the statements of a plan: inside the transaction that its caller has opened, or one by one.
struct Applier {
  let connection: Connection
  let order: ApplyOrder
  /// The value of each input.
  private let inputs: [String: InputValue]

  /// - Throws: `.input` when one is missing.
  init(connection: Connection, order: ApplyOrder, of plan: Plan) throws(Failure) {
    self.connection = connection
    self.order = order
    inputs = try plan.values(order.inputs)
  }

  /// The longest value, row and statement that a migration may make, in bytes: one call such as
  /// `zeroblob(1e9)` is not interrupted, and the worker has to stay small.
  static let longestValue: Int32 = 64 << 20

  /// Runs every section of every step, and writes the ledger rows, but for a migration that runs without a
  /// transaction: its row is written when its result is verified.
  ///
  /// - Throws: a failure that names file, line and statement. The transaction is then to be rolled back.
  func apply(_ plan: Plan) throws(Failure) -> ApplyReport {
    var result = ApplyReport()
    let guardian = MigrationGuard()
    guardian.isInTransaction = plan.isTransaction
    connection.limit(bytes: Self.longestValue)
    defer {
      connection.authorize(nil)
      connection.interrupt(when: nil)
      connection.limit(bytes: nil)
    }
    for (index, migration) in plan.steps.enumerated() {
      let started = ContinuousClock.now
      let limit = Limit(
        stop: order.stop, runDeadline: order.deadline, timeout: migration.timeout, started: started)
      var context = Context(
        migration: migration, number: index + 1, limit: limit, guardian: guardian, result: result)
      func authorized(_ body: () throws(Failure) -> Void) throws(Failure) {
        connection.authorize { guardian.allow($0) }
        try body()
        connection.authorize(nil)
        connection.interrupt { limit.reached() != nil }
      }
      try authorized { () throws(Failure) in
        try problems(of: migration.preflight, failingAs: .preflight, &context)
      }
      let expectations = try Expectations(migration, plan.direction, connection)
      try authorized { () throws(Failure) in try statements(of: migration.migrate, &context) }
      do throws(Failure) {
        try expectations.check(connection)
      } catch {
        guard error.code == .expectation, order.verdicts.expectations == .warn else { throw error }
        context.result.warnings.append(error)
      }
      try authorized { () throws(Failure) in
        try problems(of: migration.validate, failingAs: .validation, &context)
      }
      connection.interrupt(when: nil)
      result = context.result
      result.seconds.append((ContinuousClock.now - started).seconds)
      if plan.isTransaction { try note(migration, of: plan, seconds: result.seconds[index]) }
    }
    result.touchedTables = guardian.touchedTables
    result.droppedTables = guardian.droppedTables
    result.refilledTables = guardian.refilledTables
    result.updatedColumns = guardian.updatedColumns
    result.hasAlterations = guardian.hasAlterations
    return result
  }

  /// Writes the ledger row of a step; of a baseline one for each file that it stands for.
  func note(_ step: Migration, of plan: Plan, seconds: Double) throws(Failure) {
    for migration in step.squashed.isEmpty ? [step] : step.squashed {
      try note(migration, plan.direction, seconds: seconds)
    }
  }

  private func note(
    _ migration: Migration, _ direction: Plan.Direction, seconds: Double
  ) throws(Failure) {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try LedgerTable.insert(
        LedgerEntry(
          version: migration.version, name: migration.name, checksum: migration.checksum,
          appliedAt: Timestamp.now(), durationMs: Int64(seconds * 1000), run: order.run,
          chockVersion: order.chockVersion,
          kind: direction == .update ? .applied : .rolledBack), connection)
    }
  }

  /// What the work on one migration carries along.
  private struct Context {
    let migration: Migration
    let number: Int
    let limit: Limit
    let guardian: MigrationGuard
    var result: ApplyReport
  }

  /// When a statement has to end.
  private struct Limit {
    let stop: StopSignal
    let runDeadline: ContinuousClock.Instant?
    let timeout: Duration?
    let started: ContinuousClock.Instant

    func reached(_ now: ContinuousClock.Instant = .now) -> Failure? {
      if let requested = stop.requested { return requested }
      if let timeout, now - started > timeout {
        return Failure(
          .timeout, "It ran longer than its Timeout of \(timeout.seconds) s.",
          howToClear: "Make the statement faster, or raise the file's Timeout header.")
      }
      if let runDeadline, now > runDeadline {
        return Failure.runTimeout
      }
      return nil
    }
  }

  private func statements(of sections: [SQLSection], _ context: inout Context) throws(Failure) {
    for section in sections {
      try eachStatement(of: section, &context) {
        (statement, place, context) throws(SQLiteError) in
        for table in context.guardian.removals where context.result.removals[table] == nil {
          context.result.removals[table] = place
        }
        let altered = try schemaRows(of: context.guardian.alterations)
        let started = ContinuousClock.now
        try statement.run()
        try noteRenames(altered, &context.result)
        context.result.statementSeconds.append((ContinuousClock.now - started).seconds)
      }
    }
  }

  /// RENAME keeps the row of a table, or virtual table, in the schema. Asked around each statement: once a
  /// table is dropped, its row may be that of another.
  private func schemaRows(of tables: Set<String>) throws(SQLiteError) -> [String: Int64] {
    var rows: [String: Int64] = [:]
    for table in tables {
      let statement = try connection.prepare(
        "SELECT rowid FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE")
      try statement.bind(table, at: 1)
      if try statement.step() { rows[table] = statement.integer(0) }
    }
    return rows
  }

  private func noteRenames(
    _ altered: [String: Int64], _ result: inout ApplyReport
  ) throws(SQLiteError) {
    for (table, row) in altered {
      let statement = try connection.prepare("SELECT name FROM sqlite_schema WHERE rowid = ?1")
      try statement.bind(row, at: 1)
      let old = TableKey(table)
      guard try statement.step(), let new = statement.text(0).map(TableKey.init), new != old else {
        continue
      }
      for (first, last) in result.renames where last == old { result.renames[first] = new }
      // The table of before that has this name, or was rebuilt under it; not one that took the name of a
      // table that lives on under another.
      if let elsewhere = result.renames[old], elsewhere != new, try exists(elsewhere) { continue }
      result.renames[old] = new
    }
  }

  private func exists(_ table: TableKey) throws(SQLiteError) -> Bool {
    let all = try Database.tables(connection) + Database.tables(connection, type: "virtual")
    return all.contains { TableKey($0) == table }
  }

  /// Runs queries that return problems: no row is a pass.
  private func problems(
    of sections: [SQLSection], failingAs code: Failure.Code, _ context: inout Context
  ) throws(Failure) {
    for section in sections {
      var found: [String] = []
      var first: ApplyReport.Place?
      try eachStatement(of: section, &context) { (statement, place, _) throws(SQLiteError) in
        guard statement.isReadOnly else {
          throw SQLiteError(code: 23, message: "A section of checks can only read.")
        }
        while try statement.step() {
          first = first ?? place
          if found.count < 10 { found.append(statement.text(0) ?? "(a row without text)") }
        }
      }
      guard let first else { continue }
      let what = code == .preflight ? "cannot start" : "did not give what it promises"
      throw Failure(
        code, "\(context.migration.name) \(what): \(found.joined(separator: "; "))",
        file: first.file, line: first.line, statement: first.statement,
        howToClear: code == .preflight ? "Clear this in the application, and try again." : nil)
    }
  }

  private func eachStatement(
    of section: SQLSection, _ context: inout Context,
    _ body: (Statement, ApplyReport.Place, inout Context) throws(SQLiteError) -> Void
  ) throws(Failure) {
    var script = Script(section.text)
    let guardian = context.guardian
    while true {
      let limit = context.limit
      let migration = context.migration
      let number = context.number
      let index = context.result.statementSeconds.count
      let started = ContinuousClock.now
      var place = ApplyReport.Place(file: migration.path, line: section.firstLine, statement: "")
      var unbound: Failure?
      func tick() {
        order.progress(
          ApplyProgress(
            migration: migration, number: number, statement: index, line: place.line,
            running: ContinuousClock.now - started))
      }
      do throws(SQLiteError) {
        if limit.reached() != nil { throw SQLiteError(code: 9, message: "interrupted") }
        guardian.startStatement()
        guard let statement = try connection.prepareNext(&script) else { return }
        place.line = section.firstLine + script.linesBefore(statement.start)
        place.statement = shortened(script.text(from: statement.start, to: statement.end))
        if place.statement.prefix(6).lowercased() == "vacuum" {
          guard guardian.startVacuum() else {
            throw SQLiteError(code: 23, message: "not authorized")
          }
        }
        do throws(Failure) {
          try bind(statement, of: migration)
        } catch {
          unbound = error
          throw SQLiteError(code: 1, message: "")
        }
        tick()
        var lastTick = started
        connection.interrupt {
          let now = ContinuousClock.now
          if now - lastTick > .milliseconds(200) {
            lastTick = now
            tick()
          }
          return limit.reached(now) != nil
        }
        try body(statement, place, &context)
      } catch {
        if place.statement.isEmpty {
          // It did not compile: the script stands at its start, and SQLite may know the very byte.
          let start = script.offset
          place.line = section.firstLine + script.linesBefore(start + (error.offset ?? 0))
          place.statement = shortened(firstStatement(script.text(from: start, to: script.count)))
        }
        throw failure(error, place, limit: limit, guardian: guardian, unbound)
      }
    }
  }

  /// Binds what a person gave; SQLite alone would take a parameter without a value for NULL.
  private func bind(_ statement: Statement, of migration: Migration) throws(Failure) {
    for (index, parameter) in statement.parameters {
      let name = parameter.dropFirst()
      guard parameter.hasPrefix(":"), migration.inputs.contains(where: { $0.name == name }),
        let value = inputs[String(name)]
      else {
        throw Failure(
          .statement,
          "The statement has the parameter \(parameter), and no Input header of its file declares it.",
          howToClear:
            "Declare it: -- Input: \(name.isEmpty ? "name" : name) TEXT \"question\"; write it as :name in the SQL."
        )
      }
      try Database.catching(connection.fileName) { () throws(SQLiteError) in
        switch value {
        case .text(let text): try statement.bind(text, at: index)
        case .integer(let number): try statement.bind(number, at: index)
        case .real(let number): try statement.bind(number, at: index)
        }
      }
    }
  }

  private func failure(
    _ error: SQLiteError, _ place: ApplyReport.Place, limit: Limit, guardian: MigrationGuard,
    _ unbound: Failure?
  ) -> Failure {
    // A person or a gate has stopped it: no statement is to blame.
    if let requested = limit.stop.requested { return requested }
    var failure: Failure
    if error.kind == .interrupted, let reason = limit.reached() {
      failure = reason
    } else if let unbound {
      failure = unbound
    } else if let refusal = guardian.refusal {
      failure = Failure(.forbiddenStatement, refusal.message, howToClear: refusal.howToClear)
    } else {
      switch error.kind {
      case .full, .inputOutput, .corrupt, .readOnly, .busy:
        failure = Database.failure(error, connection.fileName)
      case .tooBig:
        failure = Failure(
          .statement,
          "The statement makes a value of more than \(ByteCount.text(Int64(Self.longestValue))).",
          howToClear: "Keep such data in a file beside the database, or write it in parts.")
      default:
        failure = Failure(.statement, "SQLite refused the statement: \(error.message).")
      }
    }
    // The place in the script says more than the name of the database.
    failure.file = place.file
    failure.line = place.line
    failure.statement = place.statement
    return failure
  }

  private func firstStatement(_ text: String) -> String {
    text.split(separator: ";", maxSplits: 1).first.map { String($0) + ";" } ?? text
  }

  private func shortened(_ statement: String) -> String {
    statement.count <= 300 ? statement : statement.prefix(297) + "..."
  }
}

extension Duration {
  /// In seconds, with fractions.
  public var seconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }

  /// In whole milliseconds.
  public var milliseconds: Int64 {
    components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000
  }
}

extension Failure {
  /// The statements and checks of a run have one limit together.
  static var runTimeout: Failure {
    Failure(
      .timeout, "The run took longer than update.migration_timeout_seconds allows.",
      howToClear: "Raise update.migration_timeout_seconds in the config.")
  }
}
