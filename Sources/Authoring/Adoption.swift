public import Migrations
public import SQLite
public import Storage

/// What speaks for a version of a database that has no ledger: the tables of other tools, and its schema.
///
/// Looking changes nothing.
public struct Adoption: Sendable, Encodable {
  public var schema = "chock.ADOPTION/1"
  public var path: String
  public var findings: [ToolFinding]
  /// `PRAGMA user_version`. It belongs to the application: shown, and never gone by.
  public var userVersion: Int64
  /// How many objects differ from each version's schema, from 0 (nothing) to the newest.
  public var matches: [Match] = []
  /// The version that `differences` are to: the one that is asked for or proposed, else the nearest.
  public var comparedWith: SchemaVersion?
  public var differences: [Schema.Difference] = []
  /// The version that the database most likely is at; nil when nothing speaks for one.
  public var proposal: SchemaVersion?
  /// True when a tool and the schema agree on the proposal, or its schema is the only one that fits.
  public var isCertain = false
  /// What speaks for the proposal, or why there is none.
  public var reason = ""
  /// What speaks against it.
  public var warnings: [String] = []
  /// Of what was found and compared, for one version: two looks at the same version that have the same hash have
  /// found the same.
  public private(set) var hash = ""

  public struct Match: Sendable, Encodable {
    public var version: SchemaVersion
    /// 0: exactly this schema.
    public var differences: Int
  }

  /// Looks at a database.
  ///
  /// - Parameter version: what a person says; the warnings are about it.
  /// - Throws: `.databaseExists` when it is adopted already; what is wrong with the database; the stop that was
  ///   requested.
  public init(
    _ connection: Connection, _ catalog: MigrationCatalog, at version: SchemaVersion? = nil,
    stop: StopSignal = StopSignal()
  ) throws(Failure) {
    path = connection.fileName
    // All that is read is of one moment.
    try Database.catching(path) { () throws(SQLiteError) in try connection.execute("BEGIN") }
    defer { try? connection.execute("ROLLBACK") }
    let isAdopted = try Database.catching(path) { () throws(SQLiteError) in
      try LedgerTable.exists(connection)
    }
    guard !isAdopted else { throw Creation.adoptedAlready(path) }
    findings = try ToolFinding.all(in: connection, catalog)
    userVersion = try Database.catching(path) { () throws(SQLiteError) in
      try connection.integer("PRAGMA user_version") ?? 0
    }

    let own = Set(findings.flatMap(\.ownTables))
    func withoutTools(_ schema: Schema) -> Schema {
      Schema(objects: schema.objects.filter { !own.contains(SQLName.lowered($0.table)) })
    }
    let found = withoutTools(try Schema(connection))
    var schemas: [SchemaVersion: Schema] = [:]
    func compare(_ version: SchemaVersion, _ schema: Schema) {
      schemas[version] = schema
      matches.append(
        Match(version: version, differences: schema.differences(in: found).count))
    }
    compare(.zero, Schema(objects: []))
    do throws(Failure) {
      let scratch = try Scratch(stop: stop)
      for migration in catalog.migrations {
        try scratch.run(migration)
        compare(migration.version, withoutTools(try scratch.schema()))
      }
    } catch {
      try stop.check()
      warnings.append(
        "What comes behind version \(matches.last?.version ?? .zero) could not be compared: \(error.message)"
      )
    }

    let isComplete = matches.count == catalog.migrations.count + 1
    propose(isComplete: isComplete)
    // Of versions that are equally near the newest.
    let nearest = matches.reversed().min { $0.differences < $1.differences }?.version
    comparedWith = version ?? proposal ?? findings.compactMap(\.version).first ?? nearest
    if let comparedWith, let schema = schemas[comparedWith] {
      differences = schema.differences(in: found)
    }
    if let version { warn(at: version) }
    hash = try digest(catalog)
  }

  /// What is noted for a version follows from these alone.
  private func digest(_ catalog: MigrationCatalog) throws(Failure) -> String {
    struct Found: Encodable {
      var path: String
      var version: SchemaVersion?
      var findings: [ToolFinding]
      var userVersion: Int64
      var matches: [Match]
      var differences: [Schema.Difference]
      var files: [String]
    }
    return sha256(
      try JSON.encode(
        Found(
          path: path, version: comparedWith, findings: findings, userVersion: userVersion,
          matches: matches, differences: differences, files: catalog.migrations.map(\.checksum))))
  }

  /// The versions whose schema the database has.
  public var exact: [SchemaVersion] { matches.filter { $0.differences == 0 }.map(\.version) }

  private mutating func propose(isComplete: Bool) {
    let doubts = doubts
    let said = Set(findings.compactMap(\.version)).sorted()
    let tools = Self.list(findings.filter { $0.version != nil }.map(\.tool.rawValue))
    warnings += doubts
    if findings.contains(where: { $0.problem != nil }) {
      reason = "The table of another tool says that something is unfinished."
      return
    }
    guard said.count < 2 else {
      reason = "The tools' tables say different versions: \(Self.list(said))."
      return
    }
    guard let version = said.first else {
      switch exact.count {
      case 0: reason = "No version of the files has this schema."
      case 1:
        proposal = exact[0]
        isCertain = isComplete && doubts.isEmpty
        reason = "The schema is exactly that of version \(exact[0]), and of no other."
      default:
        reason =
          "The schema is exactly that of the versions \(Self.list(exact)): they differ in rows only, which cannot be compared."
      }
      return
    }
    guard let match = matches.first(where: { $0.version == version }) else {
      proposal = version
      reason = "\(tools) says version \(version); its schema could not be compared."
      return
    }
    if match.differences == 0 {
      proposal = version
      isCertain = doubts.isEmpty
      reason = "\(tools) says version \(version), and the schema is exactly that version's."
    } else if exact.isEmpty {
      proposal = version
      reason =
        "\(tools) says version \(version), but the schema differs from that version's in \(Self.places(match.differences))."
    } else {
      reason =
        "\(tools) says version \(version), but the schema is exactly that of \(exact.count == 1 ? "version" : "the versions") \(Self.list(exact))."
    }
  }

  /// What keeps a tool's word from being taken as it is.
  private var doubts: [String] {
    var doubts: [String] = []
    for finding in findings {
      let tool = finding.tool.rawValue
      if let problem = finding.problem { doubts.append("\(tool): \(problem)") }
      // The ids of Alembic, Django and yoyo need not occur in the files' names.
      let isByNumber = ![.alembic, .django, .yoyo].contains(finding.tool)
      if !finding.unknown.isEmpty, finding.version != nil || isByNumber {
        doubts.append("\(tool) has applied what no file has: \(Self.list(finding.unknown)).")
      }
      if !finding.missing.isEmpty {
        doubts.append(
          "\(tool) has not applied \(Self.list(finding.missing)), which are older than \(finding.version ?? .zero)."
        )
      }
    }
    return doubts
  }

  /// What speaks against a person's word. At 0 whatever is there is none of the files'.
  private mutating func warn(at version: SchemaVersion) {
    for finding in findings {
      if let said = finding.version, said != version {
        warnings.append("\(finding.tool.rawValue) says version \(said).")
      }
    }
    if !differences.isEmpty, version != .zero {
      warnings.append(
        "The schema differs from that of version \(version) in \(Self.places(differences.count)).")
    }
  }

  private static func places(_ count: Int) -> String { count == 1 ? "1 place" : "\(count) places" }

  /// The first of many, and how many more there are.
  private static func list(_ things: [some CustomStringConvertible], most: Int = 8) -> String {
    let more = things.count - most
    return things.prefix(most).map(\.description).joined(separator: ", ")
      + (more > 0 ? " and \(more) more" : "")
  }
}
