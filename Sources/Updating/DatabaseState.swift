import Migrations
import Storage

/// What the files and the database say at one time.
struct DatabaseState: Sendable {
  var bytes: Int64 = 0
  var adopted = false
  var current: SchemaVersion?
  var latest: SchemaVersion?
  var plan: Plan?
  /// What keeps an update from being offered.
  var problem: Failure?

  /// How long a person waits for what decides about a run, in milliseconds: without WAL, a program that
  /// commits all the time shuts readers out for a moment again and again.
  static let patience = 5000

  /// Reads both; never throws, so that a status can always be given.
  ///
  /// - Parameter busyTimeout: in milliseconds; a status is asked for often, and is not to wait.
  init(_ settings: UpdateSettings, goal: Goal = .newest, busyTimeout: Int = 20) {
    do throws(Failure) {
      let connection = try Database.open(settings.databasePath, busyTimeout: Int32(busyTimeout))
      bytes = try Database.bytes(connection)
      let ledger = try LedgerTable.read(connection)
      adopted = ledger != nil
      current = ledger?.current
      let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
      latest = catalog.latest
      guard let ledger else { throw Failure.unadopted(settings.databasePath) }
      plan = try Plan(catalog: catalog, ledger: ledger, goal: goal)
    } catch {
      problem = error
    }
  }
}
