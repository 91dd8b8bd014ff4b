public import Migrations
public import SQLite
import Storage

/// A database in memory, to which migrations are applied in order to see what they make.
public final class Scratch {
  public let connection: Connection

  /// An empty one.
  public init() throws(Failure) {
    connection = try Database.catching("a scratch database in memory") {
      () throws(SQLiteError) in try Connection(path: ":memory:", mode: .create)
    }
    connection.setDefensive()
  }

  /// Applies files up to `goal`, with all their checks. An input without a default gets a value that it accepts.
  ///
  /// - Throws: what the same would be on a new database.
  public func apply(_ catalog: MigrationCatalog, _ goal: Goal) throws(Failure) {
    let ledger = try LedgerTable.read(connection) ?? Ledger(entries: [])
    let plan = try Plan(catalog: catalog, ledger: ledger, goal: goal)
    let inputs = Dictionary(
      plan.inputs.map { ($0.name, $0.sample) }, uniquingKeysWith: { first, _ in first })
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
