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

  /// Reads both; never throws, so that a status can always be given.
  init(_ settings: UpdateSettings, goal: Goal = .newest) {
    do throws(Failure) {
      let connection = try Database.open(settings.databasePath, busyTimeout: 20)
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
