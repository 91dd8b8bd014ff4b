import Migrations
import Storage
import TestSupport
import Updating

/// A database of some megabytes at version 1, an update to 2 that takes a while, and what the database
/// must hold before and after, found out without chock's engine.
enum Sample {
  static let base = """
    CREATE TABLE item (
      id INTEGER PRIMARY KEY,
      body TEXT NOT NULL
    ) STRICT;
    """

  static let rows = """
    INSERT INTO item (body)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
    SELECT printf('%d ', i) || hex(zeroblob(2000)) FROM n;
    """

  static let change = """
    CREATE TABLE note (
      id INTEGER PRIMARY KEY,
      item_id INTEGER NOT NULL REFERENCES item (id) ON DELETE CASCADE,
      text TEXT NOT NULL
    ) STRICT;
    INSERT INTO note (item_id, text) SELECT id, substr(body, 1, 500) FROM item;
    ALTER TABLE item ADD COLUMN size INTEGER;
    UPDATE item SET size = length(body);
    CREATE INDEX item_by_size ON item (size, id);
    """

  static let update = "-- Description: Notes for each item\n\(change)"

  /// A statement that never ends by itself, after one that has changed something.
  static let endless = """
    -- Description: Never ends
    UPDATE item SET body = 'changed';
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n;
    """

  /// A coach with the database at version 1 and one pending file.
  static func coach(
    config: String = TestCoach.development, update: String = update, database: String? = nil,
    state: String? = nil
  ) throws -> TestCoach {
    let coach = try TestCoach(
      config: config, migrations: ["0001_items.sql": base, "0002_change.sql": update],
      database: database, state: state)
    try make(coach.database, coach.migrations)
    return coach
  }

  static func make(_ database: String, _ migrations: String) throws {
    try SampleDatabase.make(database, base + rows)
    try Creation.adopt(
      database, at: SchemaVersion("1") ?? .zero,
      catalog: try MigrationCatalog(directory: migrations),
      run: "test", chockVersion: "test")
  }

  /// Of the sample at version 1 and at version 2.
  static let prints = Result<(old: String, new: String), any Error> {
    let folder = try TemporaryFolder()
    try SampleDatabase.make(folder("old.db"), base + rows)
    try SampleDatabase.make(folder("new.db"), base + rows + change)
    return (
      try SampleDatabase.fingerprint(folder("old.db")),
      try SampleDatabase.fingerprint(folder("new.db"))
    )
  }
}

/// What the tests read of the documents that have no public type.
struct HistoryAnswer: Decodable { var runs: [RunDocument] }
struct SnapshotsAnswer: Decodable { var snapshots: [SnapshotDocument] }
struct ErrorAnswer: Decodable {
  var schema: String
  var error: Failure
}
struct SchemaAnswer: Decodable { var schema: String }
