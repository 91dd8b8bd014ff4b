/// One row of the table `chock_migrations`: that a migration came into the database, and how.
public struct LedgerEntry: Codable, Hashable, Sendable {
  public var version: SchemaVersion
  public var name: String
  /// The checksum of the file as it was applied; "" for an adopted version whose file nobody can
  /// vouch for.
  public var checksum: String
  /// RFC 3339.
  public var appliedAt: String
  public var durationMs: Int64
  /// The id of the run.
  public var run: String
  public var chockVersion: String
  public var kind: Kind

  public enum Kind: String, Codable, Sendable {
    case applied, adopted
    case rolledBack = "rolled_back"
  }

  public init(
    version: SchemaVersion, name: String, checksum: String, appliedAt: String, durationMs: Int64,
    run: String, chockVersion: String, kind: Kind
  ) {
    self.version = version
    self.name = name
    self.checksum = checksum
    self.appliedAt = appliedAt
    self.durationMs = durationMs
    self.run = run
    self.chockVersion = chockVersion
    self.kind = kind
  }
}

/// Which migrations are in effect in a database.
public struct Ledger: Sendable, Hashable {
  /// One for each version in effect, sorted by version.
  public var entries: [LedgerEntry]
  /// One for each version that was in effect and is not any more.
  public var rolledBack: [LedgerEntry]
  /// The run that has committed a part of its plan, and neither the rest nor the way back.
  public var begun: String?

  /// The database holds nothing at all: neither a table nor a ledger.
  public var isBlank = false

  /// The runs that have imported what a rollback had exported.
  public var imports: Set<String>

  /// Takes the rows of the table: one for each version.
  public init(entries: [LedgerEntry], begun: String? = nil, imports: Set<String> = []) {
    self.begun = begun
    self.imports = imports
    // Version 0 is what an adoption "at 0" may leave behind: it stands for no file.
    let rows = entries.filter { $0.version != .zero }.sorted { $0.version < $1.version }
    self.entries = rows.filter { $0.kind != .rolledBack }
    rolledBack = rows.filter { $0.kind == .rolledBack }
  }

  /// Of a database that is still to be made.
  public static var blank: Ledger {
    var ledger = Ledger(entries: [])
    ledger.isBlank = true
    return ledger
  }

  /// The versions in effect, sorted.
  public var versions: [SchemaVersion] { entries.map(\.version) }

  /// True when this run has committed something, its last part included.
  public func isCompleted(by run: String) -> Bool {
    begun != run
      && (imports.contains(run) || (entries + rolledBack).contains { $0.run == run })
  }

  /// The newest version in effect, or `.zero`.
  public var current: SchemaVersion { entries.last?.version ?? .zero }
}
