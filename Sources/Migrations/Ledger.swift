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
  /// The run that has committed a part of its plan, and neither the rest nor the way back.
  public var begun: String?

  /// Takes rows in the order in which they were written: the last one about a version decides, and
  /// a rolled-back version is not in effect.
  public init(entries: [LedgerEntry], begun: String? = nil) {
    self.begun = begun
    var inEffect: [SchemaVersion: LedgerEntry] = [:]
    for entry in entries {
      inEffect[entry.version] = entry.kind == .rolledBack ? nil : entry
    }
    self.entries = inEffect.values.sorted { $0.version < $1.version }
  }

  /// The newest version in effect, or `.zero`.
  public var current: SchemaVersion { entries.map(\.version).max() ?? .zero }
}
