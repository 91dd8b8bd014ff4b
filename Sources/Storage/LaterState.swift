public import Migrations
public import SQLite

/// A state of the database as it is at a later version: a copy that the migrations were carried out on, in a file of
/// its own, which goes with this.
public final class LaterState {
  public let path: String
  /// Tables whose rows mean something else at the later version, or may: the migrations write into a column that the
  /// earlier one has, put rows in, take rows out, or make the table anew. The statements tell it, so that it also holds
  /// for rows that are not in this state.
  public let changedTables: Set<TableKey>

  private init(path: String, changedTables: Set<TableKey>) {
    (self.path, self.changedTables) = (path, changedTables)
  }

  deinit { Snapshot.removeDatabase(path) }

  /// Copies `state`, and carries the plan out on the copy.
  ///
  /// - Parameter path: the file; whatever has this name is removed.
  /// - Throws: what a migration's failure is, `.noSpace`, the stop that was requested. Nothing is left then.
  public static func make(
    of state: Connection, _ plan: Plan, _ order: ApplyOrder, in path: String
  ) throws(Failure) -> LaterState {
    Snapshot.removeDatabase(path)
    do throws(Failure) {
      var changed = try carryOut(plan, order, of: state, in: path)
      // What the statements do not say, as where VACUUM gives other rowids.
      let comparison = try Comparer(before: state.fileName, after: path, stop: order.stop).run()
      for table in comparison.tables
      where table.only == nil
        && (table.added + table.changed + table.deleted > 0 || table.isByCount == true)
      {
        changed.insert(TableKey(table.table))
      }
      return LaterState(path: path, changedTables: changed)
    } catch {
      Snapshot.removeDatabase(path)
      throw order.stop.requested ?? error
    }
  }

  /// - Returns: the tables whose rows the statements may have changed.
  private static func carryOut(
    _ plan: Plan, _ order: ApplyOrder, of state: Connection, in path: String
  ) throws(Failure) -> Set<TableKey> {
    try backUp(
      from: state, to: try Database.create(path), source: state.fileName, destination: path,
      stop: order.stop
    ) { _, _ in }
    let connection = try Database.openForWriting(path)
    let before = try ComparedTable.all(in: connection).mapValues { $0.columns.map(TableKey.init) }
    let columns = before.mapValues { Set($0 + [TableKey("rowid")]) }
    var changed: Set<TableKey> = []
    let segments = plan.segments
    for segment in segments {
      let transaction = try Transaction.begin(connection, plan: segment, durable: false)
      let report = try transaction.apply(
        segment, order, baseline: nil, rehearsal: nil, .asRehearsal,
        isLast: segment.segment == segments.count - 1)
      try transaction.commit()
      changed.formUnion(report.refilledTables)
      for (table, name) in report.renames { changed.formUnion([table, name]) }
      for (table, written) in report.updatedColumns
      where columns[table].map({ !$0.isDisjoint(with: written) }) ?? true {
        changed.insert(table)
      }
    }
    // One that was renamed or dropped: its name may mean another column now. New ones come behind the others.
    let after = try ComparedTable.all(in: connection)
    for (table, names) in before {
      guard let now = after[table], !now.columns.map(TableKey.init).starts(with: names) else {
        continue
      }
      changed.insert(table)
    }
    return changed
  }
}
