public import Migrations
public import SQLite
import Storage

/// Where a database's schema is not what its migrations make.
public enum Drift {
  /// Builds in memory what the versions in effect give, and compares.
  ///
  /// - Throws: `.unadopted`; `.migrationOrder` for a version in effect that no file has; what a migration's
  ///   failure on an empty database is.
  public static func find(
    in connection: Connection, _ catalog: MigrationCatalog
  ) throws(Failure) -> [Schema.Difference] {
    guard let ledger = try LedgerTable.read(connection) else {
      throw Failure(
        .unadopted, "chock does not know at which version the database is.",
        file: connection.fileName, howToClear: "`chock adopt` looks, and says it once.")
    }
    let inEffect = Set(ledger.versions)
    let files = catalog.migrations.filter { inEffect.contains($0.version) }
    if let missing = ledger.versions.first(where: { version in
      !files.contains { $0.version == version }
    }) {
      throw Failure(
        .migrationOrder,
        "No file in \(catalog.directory) has version \(missing), which is applied.",
        file: catalog.directory, howToClear: "Put the file back, as it was released.")
    }
    let scratch = try Scratch()
    if !files.isEmpty {
      try scratch.apply(
        try MigrationCatalog(directory: catalog.directory, migrations: files), .newest)
    }
    return try scratch.schema().differences(in: try Schema(connection))
  }
}
