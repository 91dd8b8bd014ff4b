public import Migrations
import SQLite
import Storage

/// What the table of another tool says about a database, and which of the files that is.
public struct ToolFinding: Sendable, Equatable, Codable {
  public enum Tool: String, Sendable, Codable {
    case alembic = "Alembic"
    case dbmate
    case django = "Django"
    case flyway = "Flyway"
    case golangMigrate = "golang-migrate"
    case goose
    case rails = "Rails"
    case sqlx
    case yoyo
  }

  public var tool: Tool
  public var table: String
  public var rows: Int
  /// What is in effect by the tool's word, as the tool writes it.
  public var applied: [String]
  /// The newest version of the files that this comes to; 0: none of them. Nil when it cannot be said.
  public var version: SchemaVersion?
  /// What is in effect, and is none of the files.
  public var unknown: [String]
  /// Files that are older than `version`, and not in effect.
  public var missing: [SchemaVersion]
  /// Why nobody should go by it: a migration that failed, or two at a time.
  public var problem: String?
  /// How `version` was found, or why not.
  public var reason: String

  /// The tool's own tables, which are no part of the application's schema.
  var ownTables: Set<String> {
    switch tool {
    case .rails: [table, "ar_internal_metadata"]
    case .yoyo: [table, "_yoyo_log", "_yoyo_version", "yoyo_lock"]
    default: [table]
    }
  }

  /// Looks for the tables of every tool that is known.
  ///
  /// A table that has the name of one and other columns is the application's.
  ///
  /// - Throws: what is wrong with the database.
  static func all(
    in connection: Connection, _ catalog: MigrationCatalog
  ) throws(Failure) -> [ToolFinding] {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      let reader = ToolReader(connection: connection, catalog: catalog)
      return [
        try reader.alembic(), try reader.schemaMigrations(), try reader.goose(),
        try reader.flyway(), try reader.sqlx(), try reader.django(), try reader.yoyo(),
      ].compactMap { $0 }
    }
  }
}

/// Reads the tables of the tools.
private struct ToolReader {
  let connection: Connection
  let catalog: MigrationCatalog

  // MARK: Each tool

  /// One row with the id of the newest revision; none at the base, several at branches.
  /// (<https://alembic.sqlalchemy.org/en/latest/branches.html>)
  func alembic() throws(SQLiteError) -> ToolFinding? {
    guard try has("alembic_version", ["version_num"]) else { return nil }
    let rows = try rows("SELECT version_num FROM main.alembic_version ORDER BY 1")
    let ids = rows.map { $0[0] }
    var finding = finding(.alembic, "alembic_version", rows, ids)
    guard ids.count < 2 else {
      finding.problem =
        "It is at \(ids.count) revisions at a time (\(ids.joined(separator: ", "))): branches of its history that were not merged."
      finding.reason = "Several revisions are none of the files."
      return finding
    }
    guard let id = ids.first else { return atBase(finding) }
    let named = catalog.migrations.filter { "_\($0.name)_".contains("_\(id)_") }
    let numbered = catalog.migrations.filter { isNumber(id) && $0.version == SchemaVersion(id) }
    let files = named.isEmpty ? numbered : named
    if let file = files.first, files.count == 1 {
      finding.version = file.version
      finding.reason = "Revision \(id) is \(file.fileName)."
    } else {
      finding.unknown = [id]
      finding.reason =
        files.isEmpty
        ? "No file has revision \(id) in its name."
        : "Several files have revision \(id) in their names: \(files.map(\.fileName).joined(separator: ", "))."
    }
    return finding
  }

  /// The name that dbmate, Rails and golang-migrate share: the last has one row, with a flag.
  func schemaMigrations() throws(SQLiteError) -> ToolFinding? {
    let table = "schema_migrations"
    if try has(table, ["version", "dirty"]) {
      let rows = try rows("SELECT version, dirty FROM main.schema_migrations", columns: 2)
      var finding = finding(.golangMigrate, table, rows, rows.map { $0[0] })
      if let dirty = rows.first(where: { isTrue($0[1]) }) {
        finding.problem = "It is dirty: version \(dirty[0]) began, and did not end."
        finding.reason = "A version that did not end is none of the files."
        return finding
      }
      return byNumber(finding, includesOlder: true)
    }
    guard try has(table, ["version"]) else { return nil }
    let rows = try rows("SELECT version FROM main.schema_migrations ORDER BY 1")
    let isRails = try has("ar_internal_metadata", ["key", "value"])
    return byNumber(finding(isRails ? .rails : .dbmate, table, rows, rows.map { $0[0] }))
  }

  /// The last row of a version counts: going down used to add one with `is_applied` 0.
  func goose() throws(SQLiteError) -> ToolFinding? {
    guard try has("goose_db_version", ["id", "version_id", "is_applied"]) else { return nil }
    let rows = try rows(
      "SELECT version_id, is_applied FROM main.goose_db_version ORDER BY id", columns: 2)
    var applied: [String] = []
    for row in rows where row[0] != "0" {
      applied.removeAll { $0 == row[0] }
      if isTrue(row[1]) { applied.append(row[0]) }
    }
    return byNumber(finding(.goose, "goose_db_version", rows, applied))
  }

  func flyway() throws(SQLiteError) -> ToolFinding? {
    let table = "flyway_schema_history"
    guard try has(table, ["installed_rank", "version", "type", "script", "success"]) else {
      return nil
    }
    let rows = try rows(
      "SELECT version, type, script, success FROM main.flyway_schema_history ORDER BY installed_rank",
      columns: 4)
    var applied: [String] = []
    var baseline: SchemaVersion?
    var repeatable = 0
    for row in rows where isTrue(row[3]) {
      let version = row[0]
      guard !version.isEmpty else {
        // Flyway notes the schema that it made in a row of its own.
        if row[1] != "SCHEMA" { repeatable += 1 }
        continue
      }
      applied.removeAll { $0 == version }
      if row[1].hasPrefix("UNDO") || row[1] == "DELETE" { continue }
      if row[1].hasSuffix("BASELINE") {
        baseline = SchemaVersion(version)
      } else {
        applied.append(version)
      }
    }
    var finding = finding(.flyway, table, rows, applied)
    if let failed = rows.first(where: { !isTrue($0[3]) }) {
      finding.problem = "\(failed[2]) failed, and Flyway has not been told that it was repaired."
      finding.reason = "A migration that failed is none of the files."
      return finding
    }
    finding = byNumber(finding, baseline: baseline)
    if repeatable > 0 {
      finding.reason += " \(repeatable) repeatable migrations are not counted."
    }
    return finding
  }

  func sqlx() throws(SQLiteError) -> ToolFinding? {
    guard try has("_sqlx_migrations", ["version", "success"]) else { return nil }
    let rows = try rows(
      "SELECT version, success FROM main._sqlx_migrations ORDER BY version", columns: 2)
    var finding = finding(.sqlx, "_sqlx_migrations", rows, rows.map { $0[0] })
    if let failed = rows.first(where: { !isTrue($0[1]) }) {
      finding.problem = "Version \(failed[0]) began, and did not succeed."
      finding.reason = "A version that did not succeed is none of the files."
      return finding
    }
    return byNumber(finding)
  }

  /// Numbers are counted anew in each app: a file is meant when its number and its name are the same.
  func django() throws(SQLiteError) -> ToolFinding? {
    guard try has("django_migrations", ["app", "name", "applied"]) else { return nil }
    let rows = try rows("SELECT app, name FROM main.django_migrations ORDER BY id", columns: 2)
    var finding = finding(
      .django, "django_migrations", rows, rows.map { "\($0[0]).\($0[1])" })
    let itsOwn: Set = [
      "admin", "auth", "contenttypes", "flatpages", "redirects", "sessions", "sites",
    ]
    let apps = Dictionary(grouping: rows.filter { !itsOwn.contains($0[0]) }) { $0[0] }
      .mapValues { $0.map { $0[1] } }
    let known = apps.filter { $0.value.allSatisfy { file(named: $0) != nil } }
    guard let app = known.first, known.count == 1 else {
      finding.unknown = finding.applied
      finding.reason =
        known.isEmpty
        ? "No app has the names of the files."
        : "The names of the files fit several apps: \(known.keys.sorted().joined(separator: ", "))."
      return finding
    }
    let versions = Set(app.value.compactMap { file(named: $0)?.version })
    finding.applied = app.value
    note(versions, in: &finding)
    finding.reason = "The files have the names of the app \(app.key)."
    return finding
  }

  /// Its ids are the names of its files.
  func yoyo() throws(SQLiteError) -> ToolFinding? {
    for table in ["_yoyo_migration", "yoyo_migrations"] {
      guard try has(table, ["migration_id"]) else { continue }
      let rows = try rows("SELECT migration_id FROM main.\(table) ORDER BY 1")
      var finding = finding(.yoyo, table, rows, rows.map { $0[0] })
      guard !rows.isEmpty else { return atBase(finding) }
      let versions = Set(finding.applied.compactMap { file(named: $0)?.version })
      finding.unknown = finding.applied.filter { file(named: $0) == nil }
      guard !versions.isEmpty else {
        finding.reason = "No file has the name of one of its migrations."
        return finding
      }
      note(versions, in: &finding)
      finding.reason = "The files have the names of its migrations."
      return finding
    }
    return nil
  }

  // MARK: From what is applied to a version

  private func finding(
    _ tool: ToolFinding.Tool, _ table: String, _ rows: [[String]], _ applied: [String]
  ) -> ToolFinding {
    ToolFinding(
      tool: tool, table: table, rows: rows.count, applied: applied, version: nil, unknown: [],
      missing: [], problem: nil, reason: "")
  }

  private func atBase(_ finding: ToolFinding) -> ToolFinding {
    var finding = finding
    finding.version = .zero
    finding.reason = "It says that nothing is applied."
    return finding
  }

  /// - Parameters:
  ///   - includesOlder: the tool notes the newest version only.
  ///   - baseline: what is not newer was there before the tool came.
  private func byNumber(
    _ finding: ToolFinding, includesOlder: Bool = false, baseline: SchemaVersion? = nil
  ) -> ToolFinding {
    var finding = finding
    let files = Set(catalog.migrations.map(\.version))
    var versions = Set(
      finding.applied.filter(isNumber).compactMap { SchemaVersion($0) }.filter(files.contains))
    finding.unknown = finding.applied.filter { applied in
      !isNumber(applied) || SchemaVersion(applied).map(versions.contains) != true
    }
    if includesOlder, finding.unknown.isEmpty, let newest = versions.max() {
      versions = files.filter { $0 <= newest }
    }
    if let baseline { versions.formUnion(files.filter { $0 <= baseline }) }
    guard !finding.applied.isEmpty || baseline != nil else { return atBase(finding) }
    guard !versions.isEmpty else {
      finding.reason = "No file has one of its versions."
      return finding
    }
    note(versions, in: &finding)
    finding.reason = "Its versions are the numbers of the files."
    return finding
  }

  private func note(_ versions: Set<SchemaVersion>, in finding: inout ToolFinding) {
    finding.version = versions.max() ?? .zero
    finding.missing = catalog.migrations.map(\.version).filter { version in
      finding.version.map { version < $0 } == true && !versions.contains(version)
    }
  }

  private func file(named name: String) -> Migration? {
    catalog.migrations.first { migration in
      if migration.fileName == name + ".sql" || migration.fileName == name + ".up.sql" {
        return true
      }
      let parts = name.split(separator: "_", maxSplits: 1)
      return parts.count == 2 && isNumber(String(parts[0])) && parts[1] == migration.name
        && SchemaVersion(String(parts[0])) == migration.version
    }
  }

  private func isNumber(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == 0x2e }
  }

  private func isTrue(_ text: String) -> Bool { !["", "0", "false"].contains(text.lowercased()) }

  // MARK: Reading

  /// Every row as text, NULL as "".
  private func rows(_ sql: String, columns: Int32 = 1) throws(SQLiteError) -> [[String]] {
    let statement = try connection.prepare(sql)
    var rows: [[String]] = []
    while try statement.step() {
      rows.append((0..<columns).map { statement.text($0) ?? "" })
    }
    return rows
  }

  private func has(_ table: String, _ columns: Set<String>) throws(SQLiteError) -> Bool {
    let statement = try connection.prepare(
      """
      SELECT lower(c.name) FROM main.sqlite_schema AS t, pragma_table_info(t.name, 'main') AS c
      WHERE t.type = 'table' AND t.name = ?1 COLLATE NOCASE
      """)
    try statement.bind(table, at: 1)
    var found: Set<String> = []
    while try statement.step() { found.insert(statement.text(0) ?? "") }
    return found.isSuperset(of: columns)
  }
}
