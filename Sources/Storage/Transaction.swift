public import Migrations
public import SQLite

/// The one transaction that holds all pending migrations and their ledger rows.
///
/// It ends with `commit()`; in every other case it is rolled back.
public final class Transaction {
  private let connection: Connection
  /// Whether a ledger is the one that the commit leaves.
  private let isDone: (Ledger) -> Bool
  private let isDurable: Bool
  private var isOpen = false

  private init(
    _ connection: Connection, isDurable: Bool, isDone: @escaping (Ledger) -> Bool
  ) {
    self.connection = connection
    self.isDone = isDone
    self.isDurable = isDurable
  }

  deinit {
    rollBack()
  }

  /// Takes the write lock, with the settings that the whole plan runs under.
  ///
  /// "If foreign key constraints are enabled, disable them using PRAGMA foreign_keys=OFF" before the
  /// transaction, in which the pragma would do nothing (<https://sqlite.org/lang_altertable.html>, the 12 steps).
  ///
  /// - Parameter durable: false for a copy that is thrown away.
  /// - Throws: `.databaseLocked` when another writer does not let go within the connection's busy timeout.
  public static func begin(
    _ connection: Connection, plan: Plan, durable: Bool = true
  ) throws(Failure) -> Transaction {
    let enforced = plan.steps.filter(\.enforcesForeignKeys)
    if let first = enforced.first, enforced.count != plan.steps.count {
      throw Failure(
        .migrationOrder,
        "\(first.fileName) runs with foreign keys enforced and other pending files do not; one transaction cannot do both.",
        file: first.path,
        howToClear:
          "Update in steps: chock update --to VERSION, up to and then including \(first.version).")
    }
    let transaction = Transaction(connection, isDurable: durable) { $0.versions == plan.after }
    try transaction.begin(enforcingForeignKeys: !enforced.isEmpty)
    return transaction
  }

  /// Applies and commits a whole plan to a database that is worth nothing until it is complete.
  ///
  /// - Throws: what a migration's failure is; a part of the plan may be in the database then.
  public static func carryOut(
    _ plan: Plan, _ order: ApplyOrder, on connection: Connection, _ thoroughness: Thoroughness
  ) throws(Failure) {
    let segments = plan.segments
    for segment in segments {
      let transaction = try begin(connection, plan: segment, durable: false)
      try transaction.apply(
        segment, order, baseline: nil, rehearsal: nil, thoroughness,
        isLast: segment.segment == segments.count - 1)
      try transaction.commit()
    }
  }

  /// Takes the write lock for rows that are put in.
  public static func begin(
    _ connection: Connection, importOf run: String, enforcingForeignKeys: Bool = false
  ) throws(Failure) -> Transaction {
    let transaction = Transaction(connection, isDurable: true) { $0.isCompleted(by: run) }
    try transaction.begin(enforcingForeignKeys: enforcingForeignKeys)
    return transaction
  }

  private func begin(enforcingForeignKeys: Bool) throws(Failure) {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.execute("PRAGMA foreign_keys = \(enforcingForeignKeys ? "ON" : "OFF")")
      // FULL, SQLite's default, does not sync the folder after a rollback journal is unlinked: after a power
      // cut the journal could be there again and undo what was reported as done. EXTRA does.
      try connection.execute("PRAGMA synchronous = \(isDurable ? "EXTRA" : "OFF")")
      // Sorting and statement journals go to files beside the database, not to memory: the worker
      // has to stay small however large the table is.
      try connection.execute("PRAGMA temp_store = FILE; PRAGMA cache_size = -8000")
    }
    try lock()
  }

  /// Whether nobody has committed to the database since the snapshot was taken from this connection.
  public func isUnchanged(since snapshot: Snapshot) throws(Failure) -> Bool {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.dataVersion() == snapshot.dataVersion
    }
  }

  /// How much the result is looked at.
  public enum Thoroughness: Sendable {
    /// A rehearsal: what was touched, and that it is sound.
    case asRehearsal
    /// A run: the whole database, and that nothing else was touched.
    case asRun
    /// The same, and what the indexes hold: `PRAGMA integrity_check`, which takes long.
    case full
  }

  /// Runs the plan and its verification; nothing is committed yet, unless the plan runs without a
  /// transaction: then all but the ledger's row is.
  ///
  /// - Parameters:
  ///   - baseline: what the database held before; nil to read it here, under the lock.
  ///   - rehearsal: what the plan did to a copy; the same has to come out.
  ///   - isLast: false when more segments of the plan follow.
  ///   - verifying: called between the statements and the checks.
  /// - Throws: why the plan cannot be committed. The transaction is rolled back then.
  @discardableResult
  public func apply(
    _ plan: Plan, _ order: ApplyOrder, baseline: Baseline?, rehearsal: Rehearsal?,
    _ thoroughness: Thoroughness, isLast: Bool = true,
    verifying: () throws(Failure) -> Void = {}
  ) throws(Failure) -> ApplyReport {
    do throws(Failure) {
      guard try LedgerTable.read(connection)?.versions == plan.before else {
        throw Failure(
          .planChanged, "The database is no longer at version \(plan.from).",
          howToClear: "Look at the new plan and confirm it.")
      }
      let before =
        if let baseline { baseline } else { try Baseline(connection, stop: order.stop) }
      try Database.catching(connection.fileName) { () throws(SQLiteError) in
        try LedgerTable.create(connection)
        let isPart = !isLast || !plan.isTransaction
        try LedgerTable.setBegun(
          isPart ? order.run : nil, chockVersion: order.chockVersion, connection)
      }
      let applier = try Applier(connection: connection, order: order, of: plan)
      let version = try dataVersion()
      if !plan.isTransaction { try commit() }
      var report = try applier.apply(plan)
      if !plan.isTransaction { try lock() }
      let isAlone = try dataVersion() == version
      try verifying()
      connection.interrupt {
        order.stop.requested != nil || order.deadline.map { .now > $0 } == true
      }
      defer { connection.interrupt(when: nil) }
      report.warnings += try Verifier(
        connection: connection, plan: plan, report: report, before: before, isAlone: isAlone,
        thoroughness: thoroughness, verdicts: order.verdicts, rehearsal: rehearsal
      ).verify()
      if !plan.isTransaction {
        for (step, seconds) in zip(plan.steps, report.seconds) {
          try applier.note(step, of: plan, seconds: seconds)
        }
      }
      if isLast {
        try Database.catching(connection.fileName) { () throws(SQLiteError) in
          try LedgerTable.setBegun(nil, chockVersion: order.chockVersion, connection)
        }
      }
      guard try LedgerTable.read(connection)?.versions == plan.after else {
        throw Failure(.integrity, "The ledger does not say version \(plan.to) after the update.")
      }
      return report
    } catch {
      rollBack()
      if let requested = order.stop.requested { throw requested }
      if let deadline = order.deadline, error.code == .stopped, .now > deadline {
        throw Failure.runTimeout
      }
      throw error
    }
  }

  /// Puts in what an export holds, and checks what came of it; nothing is committed yet.
  ///
  /// - Throws: why it cannot be. The transaction is rolled back then.
  public func importRows(
    _ importer: Importer, from export: String, _ order: ApplyOrder
  ) throws(Failure) -> [ImportedTable] {
    try putIn(from: export, order) { () throws(Failure) in
      let tables = try importer.run()
      return (tables, Set(tables.map { TableKey($0.table) }))
    }
  }

  /// Puts in what a rescue copy has and the database has not, and checks what came of it; nothing is committed yet.
  ///
  /// - Throws: why it cannot be. The transaction is rolled back then.
  public func rescueRows(
    _ rescuer: Rescuer, from copy: String, _ order: ApplyOrder
  ) throws(Failure) -> [RescuedTable] {
    try putIn(from: copy, order) { () throws(Failure) in
      let tables = try rescuer.run()
      return (tables, Set(tables.filter { $0.written > 0 }.map { TableKey($0.table) }))
    }
  }

  /// - Parameter body: gives its result, and the tables that it has changed.
  private func putIn<R>(
    from source: String, _ order: ApplyOrder, _ body: () throws(Failure) -> (R, Set<TableKey>)
  ) throws(Failure) -> R {
    do throws(Failure) {
      let file = connection.fileName
      let before = try Database.catching(file) { () throws(SQLiteError) in
        try ForeignKeyViolations(connection, affectedBy: nil)
      }
      let (result, changed) = try body()
      let after = try Database.catching(file) { () throws(SQLiteError) in
        try ForeignKeyViolations(connection, affectedBy: changed)
      }
      if let first = after.new(since: before, name: { $0 }, rebuilt: { _ in false }).first {
        throw Failure(
          .foreignKeys,
          "Rows of \(first.table.text) would refer to rows\(first.parent.map { " of \($0.text)" } ?? "") that are not there.",
          file: file,
          howToClear: "Bring those back first, or leave these rows out.")
      }
      let ordinary = try Database.catching(file) { () throws(SQLiteError) in
        try Database.tables(connection)
      }
      for table in ordinary where changed.contains(TableKey(table)) {
        try Database.check(connection, .quickTable(table), file: file, failingAs: .integrity)
      }
      try Database.catching(file) { () throws(SQLiteError) in
        try LedgerTable.noteImport(
          order.run, of: source, chockVersion: order.chockVersion, connection)
      }
      return result
    } catch {
      rollBack()
      throw order.stop.requested ?? error
    }
  }

  private func dataVersion() throws(Failure) -> Int64 {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.dataVersion()
    }
  }

  private func lock() throws(Failure) {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.execute("BEGIN IMMEDIATE")
    }
    isOpen = true
  }

  /// Makes it durable. The progress handler is disarmed: an interrupted COMMIT leaves the
  /// transaction open.
  ///
  /// - Throws: when SQLite could not commit; the transaction is rolled back then. `.needsPerson` when it
  ///   cannot be told whether it is.
  public func commit() throws(Failure) {
    connection.interrupt(when: nil)
    // An interrupted statement can end the whole transaction: what ran after it would be half a plan.
    guard !connection.isAutocommit else {
      isOpen = false
      throw Failure(
        .integrity, "SQLite has ended the transaction by itself; nothing was committed.")
    }
    do throws(SQLiteError) {
      try connection.execute("COMMIT")
      isOpen = false
    } catch {
      rollBack()
      let failure = Database.failure(error, connection.fileName)
      // Locks are taken, and room is found, before the last write that a commit needs.
      guard isDurable, error.kind != .busy, error.code != SQLiteError.full else { throw failure }
      guard try isCommitted(although: failure) else { throw failure }
    }
  }

  /// A COMMIT that returned an error may have come to pass: SQLite syncs the folder after the journal is
  /// gone, and the log after the last frame is in it.
  private func isCommitted(although failure: Failure) throws(Failure) -> Bool {
    do throws(Failure) {
      let live = try Database.openSettled(connection.fileName)
      return try LedgerTable.read(live).map(isDone) ?? false
    } catch {
      throw Failure(
        .needsPerson,
        "The commit failed, and whether it came to pass cannot be told: \(failure.message) \(error.message)",
        file: connection.fileName,
        howToClear: "Look after the disk (`dmesg`), then start chock again: it finds out.")
    }
  }

  public func rollBack() {
    guard isOpen else { return }
    isOpen = false
    connection.interrupt(when: nil)
    // Nothing can be done when it fails: the next open finds the old state in any case.
    if !connection.isAutocommit { try? connection.execute("ROLLBACK") }
  }
}
