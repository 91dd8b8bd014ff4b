public import Migrations
public import SQLite
public import Storage

/// A database of our own, to which migrations are applied in order to see what they make.
public final class Scratch {
  public let connection: Connection
  private let stop: StopSignal

  /// An empty one in memory.
  ///
  /// - Parameter stop: ends a statement that takes too long.
  public init(stop: StopSignal = StopSignal()) throws(Failure) {
    connection = try Self.open(":memory:")
    self.stop = stop
    connection.interrupt { stop.requested != nil }
  }

  /// A copy of a database, in a temporary file without a name: it is gone with the connection, also after a kill
  /// (<https://sqlite.org/inmemorydb.html#temp_db>).
  public init(copyOf path: String) throws(Failure) {
    connection = try Self.open("")
    stop = StopSignal()
    try Database.copy(path, into: connection)
  }

  /// A copy of another one.
  public init(copyOf other: Scratch) throws(Failure) {
    connection = try Self.open("")
    stop = StopSignal()
    try Database.copy(other.connection, into: connection)
  }

  private static func open(_ path: String) throws(Failure) -> Connection {
    let connection = try Database.catching("a scratch database") {
      () throws(SQLiteError) in try Connection(path: path, mode: .create)
    }
    connection.setDefensive()
    return connection
  }

  /// Applies files up to `goal`, with all their checks. Inputs get their default, or a value that they accept.
  ///
  /// - Throws: what the same would be on a new database.
  public func apply(_ catalog: MigrationCatalog, _ goal: Goal) throws(Failure) {
    let ledger = try LedgerTable.read(connection) ?? .blank
    let plan = try Plan(catalog: catalog, ledger: ledger, goal: goal)
    let inputs = Dictionary(
      plan.inputs.map { ($0.name, $0.sample) }, uniquingKeysWith: { first, _ in first })
    let order = ApplyOrder(run: "scratch", chockVersion: "", inputs: inputs)
    try Transaction.carryOut(plan, order, on: connection, .asRehearsal)
  }

  /// Runs the statements of a file for the schema that they make, without any check. A statement that fails on
  /// rows, which this database does not have, or on an input's value is left out.
  ///
  /// - Throws: `.statement` for one that makes, alters or drops something; the stop that was requested.
  public func run(_ file: Migration) throws(Failure) {
    for section in file.migrate {
      for statement in SQLStatement.all(of: section) where statement.verb != "vacuum" {
        do throws(SQLiteError) {
          let guardian = MigrationGuard()
          connection.authorize { guardian.allow($0) }
          defer { connection.authorize(nil) }
          let prepared = try connection.prepare(statement.text)
          try prepared.bindSamples(of: file)
          try prepared.run()
        } catch {
          try stop.check()
          guard ["create", "drop", "alter"].contains(statement.verb) else { continue }
          throw Failure(
            .statement, "SQLite refused the statement: \(error.message).", file: file.path,
            line: statement.line, statement: String(statement.text.prefix(300)))
        }
      }
    }
  }

  public func schema() throws(Failure) -> Schema { try Schema(connection) }
}

extension Statement {
  /// Gives each parameter a value that its input accepts.
  func bindSamples(of file: Migration) throws(SQLiteError) {
    for (index, parameter) in parameters {
      guard let input = file.inputs.first(where: { ":\($0.name)" == parameter }) else {
        throw SQLiteError(
          code: 1, message: "no Input header of the file declares the parameter \(parameter)")
      }
      switch input.sample {
      case .text(let text): try bind(text, at: index)
      case .integer(let number): try bind(number, at: index)
      case .real(let number): try bind(number, at: index)
      }
    }
  }
}
