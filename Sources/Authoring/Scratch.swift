public import Migrations
public import SQLite
import Storage

/// A database of our own, to which migrations are applied in order to see what they make.
public final class Scratch {
  public let connection: Connection

  /// An empty one in memory.
  public init() throws(Failure) {
    connection = try Self.open(":memory:")
  }

  /// A copy of a database, in a temporary file without a name: it is gone with the connection, also after a kill
  /// (<https://sqlite.org/inmemorydb.html#temp_db>).
  public init(copyOf path: String) throws(Failure) {
    connection = try Self.open("")
    try Database.copy(path, into: connection)
  }

  /// A copy of another one.
  public init(copyOf other: Scratch) throws(Failure) {
    connection = try Self.open("")
    try Database.copy(other.connection, into: connection)
  }

  private static func open(_ path: String) throws(Failure) -> Connection {
    let connection = try Database.catching("a scratch database") {
      () throws(SQLiteError) in try Connection(path: path, mode: .create)
    }
    connection.setDefensive()
    return connection
  }

  /// Applies files up to `goal`, with all their checks.
  ///
  /// - Parameter answer: what an input gets: its default, or a value that it accepts.
  /// - Throws: what the same would be on a new database.
  public func apply(
    _ catalog: MigrationCatalog, _ goal: Goal,
    _ answer: (MigrationInput) -> InputValue = { $0.sample }
  ) throws(Failure) {
    let ledger = try LedgerTable.read(connection) ?? .blank
    let plan = try Plan(catalog: catalog, ledger: ledger, goal: goal)
    let inputs = Dictionary(
      plan.inputs.map { ($0.name, answer($0)) }, uniquingKeysWith: { first, _ in first })
    let order = ApplyOrder(run: "scratch", chockVersion: "", inputs: inputs)
    let segments = plan.segments
    for segment in segments {
      let transaction = try Transaction.begin(connection, plan: segment, durable: false)
      try transaction.apply(
        segment, order, baseline: nil, rehearsal: nil, .asRehearsal,
        isLast: segment.segment == segments.count - 1)
      try transaction.commit()
    }
  }

  public func schema() throws(Failure) -> Schema { try Schema(connection) }
}
