import Coach
import Logging
import Migrations
import Storage
import TestSupport

@testable import Updating

/// A supervisor in this process, with a database at version 1 and an update to 2.
struct UpdaterSample {
  let folder: TemporaryFolder
  let settings: UpdateSettings

  /// - Parameter rows: how many the database holds.
  init(rows: Int = 10, journalMode: String = "WAL") throws {
    folder = try TemporaryFolder()
    let base = "CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;"
    try folder.write(base, to: "migrations/0001_items.sql")
    try folder.write(
      "-- Description: More\nALTER TABLE item ADD COLUMN size INTEGER;",
      to: "migrations/0002_size.sql")
    try SampleDatabase.make(
      folder("coach.db"),
      """
      \(base)
      INSERT INTO item (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
      WHERE i < \(rows)) SELECT i FROM n;
      """, journalMode: journalMode)
    try Creation.adopt(
      folder("coach.db"), at: SchemaVersion("1") ?? .zero,
      catalog: try MigrationCatalog(directory: folder("migrations")), run: "test",
      chockVersion: "test")
    var settings = UpdateSettings(
      environment: .development, databasePath: folder("coach.db"),
      migrationsDirectory: folder("migrations"), stateDirectory: folder("state"))
    settings.safety = SafetyPolicy(requiredGates: [])
    self.settings = settings
  }

  /// - Parameter executable: what is started as the worker.
  func updater(
    executable: String = TestCoach.binary,
    now: @escaping @Sendable () -> ContinuousClock.Instant = { .now }
  ) -> Updater {
    Updater(
      settings: settings, executable: executable,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, now: now)
  }

  /// Takes a snapshot, and returns its id.
  func snapshot() throws -> String {
    try SnapshotStore(stateFolder: settings.stateDirectory, chockVersion: "test").take(
      of: try Database.open(settings.databasePath), version: SchemaVersion("1"), reason: .manual,
      run: nil, stop: StopSignal()
    ) { _, _, _ in }.document.id
  }
}
