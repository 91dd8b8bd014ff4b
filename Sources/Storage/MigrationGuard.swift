import Migrations
public import SQLite

/// What a migration's SQL may do, enforced by SQLite's authorizer, and what it did.
///
/// The runner owns the transaction, the foreign-key mode, the journal and the ledger; a script that
/// touched them could commit half of a run (reference: <https://sqlite.org/c3ref/set_authorizer.html>).
public final class MigrationGuard {
  /// Why the last statement was refused, and what to do instead.
  public private(set) var refusal: (message: String, howToClear: String)?
  /// Tables that statements write to, alter, create or drop.
  private(set) var touchedTables: Set<TableKey> = []
  /// Tables that any statement creates, drops, or puts rows into or takes them out of.
  private(set) var refilledTables: Set<TableKey> = []
  /// The columns that any statement writes in rows that are there; `rowid` for a rowid that no column is.
  private(set) var updatedColumns: [TableKey: Set<TableKey>] = [:]
  /// Tables that the statement being compiled deletes from or drops.
  private(set) var removals: Set<TableKey> = []
  /// Tables that the statement being compiled alters, as it spells them.
  private(set) var alterations: Set<String> = []
  /// True when any statement altered a table: RENAME rewrites what refers to it.
  private(set) var hasAlterations = false
  /// Tables that any statement dropped.
  private(set) var droppedTables: Set<TableKey> = []
  /// False in a migration that runs without a transaction, statement by statement.
  public var isInTransaction = true
  /// While VACUUM runs: it copies every table, the ledger included, and holds no SQL of the migration.
  private var isVacuum = false

  /// Pragmas that only read.
  private static let readingPragmas: Set<String> = [
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo",
    "foreign_key_list", "foreign_key_check", "integrity_check", "quick_check", "compile_options",
    "collation_list", "function_list", "module_list", "pragma_list", "database_list",
  ]

  /// Two numbers in the header that chock leaves to the application; they change with the transaction.
  private static let pragmasOfTheApplication: Set<String> = ["user_version", "application_id"]

  /// What belongs to VACUUM: it needs the space of the whole database once more.
  private static let pragmasOfVacuum: Set<String> = ["auto_vacuum", "incremental_vacuum"]

  public init() {}

  public func startStatement() {
    refusal = nil
    removals = []
    alterations = []
    isVacuum = false
  }

  /// The authorizer does not hear of VACUUM itself.
  ///
  /// - Returns: false when it cannot run here.
  public func startVacuum() -> Bool {
    isVacuum = !isInTransaction
    return isVacuum
      || refuse(
        "VACUUM",
        "Put it into a migration of its own that says \"-- Transaction: none\": it cannot run inside the transaction of a run."
      )
  }

  public func allow(_ request: AuthorizerRequest) -> Bool {
    if isVacuum {
      // Its own temporary file has no name; VACUUM INTO names one.
      guard request.action == .attach, request.first?.isEmpty == false else { return true }
      return refuse("VACUUM INTO", "chock takes the snapshots: `chock snapshots take`.")
    }
    switch request.action {
    case .createTable, .createIndex, .createTrigger, .createView, .createVirtualTable:
      if request.database == "temp" {
        return refuse(
          "A temporary table, view or trigger",
          "It could take the name of a table of the database. Use an ordinary table, and drop it.")
      }
    default: break
    }
    switch request.action {
    case .attach, .detach:
      return refuse("\(request.action)", "A migration works on this one database only.")
    case .transaction, .savepoint:
      return refuse(
        request.action == .savepoint ? "SAVEPOINT" : request.first ?? "BEGIN",
        "Remove it: all pending migrations run in one transaction that chock opens and commits.")
    case .pragma:
      let name = request.first?.lowercased() ?? ""
      guard
        Self.readingPragmas.contains(name) || Self.pragmasOfTheApplication.contains(name)
          // FTS5 asks for the data version itself, R-Tree for the page size.
          || (request.second == nil && (name == "data_version" || name == "page_size"))
          || (!isInTransaction && Self.pragmasOfVacuum.contains(name))
      else {
        return refuse(
          "PRAGMA \(name)",
          "Remove it: chock sets the pragmas. Foreign keys are off while a migration runs and are "
            + "checked before the commit; a script that relies on cascades says "
            + "\"-- Foreign-Keys: enforced\".")
      }
    case .function where request.second?.lowercased() == "load_extension":
      return refuse("load_extension()", "Extensions cannot be loaded by a migration.")
    case .insert, .update, .delete, .createTable, .dropTable, .createVirtualTable,
      .dropVirtualTable:
      if request.action == .dropTable, let table = request.first {
        droppedTables.insert(TableKey(table))
      }
      if let table = request.first.map(TableKey.init) {
        if request.action != .update {
          refilledTables.insert(table)
        } else if let column = request.second {
          updatedColumns[table, default: []].insert(TableKey(column))
        }
      }
      return touch(
        request.first, removes: request.action == .delete || request.action == .dropTable)
    case .alterTable:
      if let table = request.second { alterations.insert(table) }
      hasAlterations = true
      return touch(request.second, removes: false)
    case .createIndex, .dropIndex, .createTrigger, .dropTrigger:
      return touch(request.second, removes: false)
    default:
      break
    }
    return true
  }

  private func touch(_ table: String?, removes: Bool) -> Bool {
    guard let key = table.map(TableKey.init), !key.hasPrefix(TableKey("sqlite_")) else {
      return true
    }
    guard key != .ledger else {
      return refuse("A change of \(LedgerTable.name)", "Remove it: chock keeps the ledger.")
    }
    touchedTables.insert(key)
    if removes { removals.insert(key) }
    return true
  }

  private func refuse(_ what: String, _ howToClear: String) -> Bool {
    refusal = refusal ?? ("\(what) is not allowed in a migration.", howToClear)
    return false
  }
}
