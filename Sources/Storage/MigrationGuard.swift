import Migrations
import SQLite

/// What a migration's SQL may do, enforced by SQLite's authorizer, and what it did.
///
/// The runner owns the transaction, the foreign-key mode, the journal and the ledger; a script that
/// touched them could commit half of a run (reference: <https://sqlite.org/c3ref/set_authorizer.html>).
final class MigrationGuard {
  /// Why the last statement was refused, and what to do instead.
  private(set) var refusal: (message: String, howToClear: String)?
  /// Tables that statements write to, alter, create or drop, in lower case.
  private(set) var touchedTables: Set<String> = []
  /// Tables that the statement being compiled deletes from or drops, in lower case.
  private(set) var removals: Set<String> = []

  /// Pragmas that only read.
  private static let readingPragmas: Set<String> = [
    "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo",
    "foreign_key_list", "foreign_key_check", "integrity_check", "quick_check", "compile_options",
    "collation_list", "function_list", "module_list", "pragma_list", "database_list",
  ]

  func startStatement() {
    refusal = nil
    removals = []
  }

  func allow(_ request: AuthorizerRequest) -> Bool {
    switch request.action {
    case .attach, .detach:
      return refuse("\(request.action)", "A migration works on this one database only.")
    case .transaction, .savepoint:
      return refuse(
        "\(request.first ?? "transaction")",
        "Remove it: all pending migrations run in one transaction that chock opens and commits.")
    case .pragma:
      let name = request.first?.lowercased() ?? ""
      // SQLite reads these two itself while it compiles an ALTER TABLE or a virtual table.
      guard Self.readingPragmas.contains(name) || request.second == nil && name == "user_version"
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
      return touch(
        request.first, removes: request.action == .delete || request.action == .dropTable)
    case .alterTable:
      return touch(request.second, removes: false)
    case .createIndex, .dropIndex, .createTrigger, .dropTrigger:
      return touch(request.second, removes: false)
    default:
      break
    }
    return true
  }

  private func touch(_ table: String?, removes: Bool) -> Bool {
    guard let table = table?.lowercased(), !table.hasPrefix("sqlite_") else { return true }
    guard table != LedgerTable.name else {
      return refuse("a change of \(table)", "Remove it: chock keeps the ledger.")
    }
    touchedTables.insert(table)
    if removes { removals.insert(table) }
    return true
  }

  private func refuse(_ what: String, _ howToClear: String) -> Bool {
    refusal = refusal ?? ("\(what) is not allowed in a migration.", howToClear)
    return false
  }
}
