public import Migrations
public import SQLite
public import Storage

/// Where a database's schema is not what its migrations make.
public enum Drift {
  /// Builds in memory what the versions in effect give, and compares.
  ///
  /// - Throws: `.unadopted`; `.migrationOrder` for a version in effect that no file has; `.statement` for a file
  ///   that cannot make its schema in an empty database; the stop that was requested.
  public static func find(
    in connection: Connection, _ catalog: MigrationCatalog, stop: StopSignal = StopSignal()
  ) throws(Failure) -> [Schema.Difference] {
    try find(in: connection, catalog, from: try expected(in: connection, catalog, stop: stop))
  }

  static func find(
    in connection: Connection, _ catalog: MigrationCatalog, from expected: Schema
  ) throws(Failure) -> [Schema.Difference] {
    // The tables in which other tools keep their own record are none of ours.
    let own = Set(try ToolFinding.all(in: connection, catalog).flatMap(\.ownTables))
    let found = try Schema(connection)
    return expected.differences(
      in: Schema(objects: found.objects.filter { !own.contains(SQLName.lowered($0.table)) }))
  }

  /// What the files of the versions in effect make in an empty database.
  static func expected(
    in connection: Connection, _ catalog: MigrationCatalog, stop: StopSignal = StopSignal()
  ) throws(Failure) -> Schema {
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
    let scratch = try Scratch(stop: stop)
    for file in files { try scratch.run(file) }
    return try scratch.schema()
  }
}
