/// What an update would do: the pending migrations, in order, complete and checked before the first
/// write.
public struct Plan: Sendable, Hashable {
  public let from: SchemaVersion
  public let to: SchemaVersion
  /// Empty when there is nothing to do; `from` then equals `to`.
  public let steps: [Migration]
  /// What people consent to: the SHA-256, in lowercase hexadecimal, over `from`, `to` and each
  /// step's version and checksum.
  public let hash: String

  /// Plans the way from what is in the ledger to `target` (nil: the newest version of the files).
  ///
  /// Throws `.databaseNewer` when the database is ahead of the files, `.drift` when an applied file
  /// changed, `.migrationOrder` when an applied file is gone or a pending one is older than the
  /// newest applied, `.notFound` for a target that no file has, and `.usage` for one that lies
  /// behind the database.
  public init(catalog: MigrationCatalog, ledger: Ledger, target: SchemaVersion?) throws(Failure) {
    if let run = ledger.begun {
      throw Failure(
        .needsPerson, "The database holds a part of the update \(run), which was interrupted.",
        howToClear:
          "`chock recover`; where its state folder is lost, restore a snapshot from before it.")
    }
    let current = ledger.current
    guard current <= catalog.latest else { throw Self.databaseNewer(catalog, ledger) }
    try Self.checkApplied(catalog, ledger)
    let applied = Set(ledger.entries.map(\.version))
    let pending = catalog.migrations.filter { !applied.contains($0.version) }
    if let late = pending.first, late.version < current {
      throw Failure(
        .migrationOrder,
        "\(late.fileName) is not applied, but the database is already at the newer version "
          + "\(current).",
        file: late.path, howToClear: "Give the file a version after \(catalog.latest).")
    }
    let goal = target ?? catalog.latest
    try Self.check(goal, in: catalog, current: current)

    from = current
    to = goal
    steps = pending.filter { $0.version <= goal }
    // Versions and checksums have no blanks or line ends, so no two plans share a text.
    let text = steps.reduce("chock.PLAN/1\nfrom \(from)\nto \(to)\n") {
      $0 + "step \($1.version) \($1.checksum)\n"
    }
    hash = sha256(Array(text.utf8))
  }

  /// The plan in parts that are committed one after the other: one, unless a migration runs without a
  /// transaction. When a part fails, what was committed before it is undone by restoring the snapshot.
  public var segments: [Plan] {
    var segments: [Plan] = []
    for step in steps {
      if let last = segments.last, last.isTransaction, step.runsInTransaction {
        segments[segments.count - 1] = Plan(from: last.from, steps: last.steps + [step], hash: hash)
      } else {
        segments.append(Plan(from: segments.last?.to ?? from, steps: [step], hash: hash))
      }
    }
    return segments
  }

  /// True when a part of it can be committed without the rest.
  public var isSegmented: Bool { !isTransaction }

  /// False for a segment that runs without a transaction around it.
  public var isTransaction: Bool { steps.allSatisfy(\.runsInTransaction) }

  private init(from: SchemaVersion, steps: [Migration], hash: String) {
    self.from = from
    self.steps = steps
    self.hash = hash
    to = steps.last?.version ?? from
  }

  private static func checkApplied(_ catalog: MigrationCatalog, _ ledger: Ledger) throws(Failure) {
    // Version 0 is what an adoption "at 0" may leave behind: it stands for no file.
    for entry in ledger.entries where entry.version != .zero {
      guard let file = catalog.migrations.first(where: { $0.version == entry.version }) else {
        throw Failure(
          .migrationOrder,
          "Version \(entry.version) (\(entry.name)) is in the database, but no file in "
            + "\(catalog.directory) has it.",
          file: catalog.directory,
          howToClear: "Put the file of version \(entry.version) back, as it was released.")
      }
      if entry.kind == .adopted, entry.checksum.isEmpty { continue }
      guard file.checksum == entry.checksum else {
        throw Failure(
          .drift,
          "\(file.fileName) changed after it was applied: SHA-256 was \(entry.checksum), "
            + "is \(file.checksum).",
          file: file.path,
          howToClear:
            "Put the file back as it was applied, and write the change as a new migration."
        )
      }
    }
  }

  private static func databaseNewer(_ catalog: MigrationCatalog, _ ledger: Ledger) -> Failure {
    let newest = ledger.entries.last.map { "\($0.version) (\($0.name))" } ?? "\(ledger.current)"
    return Failure(
      .databaseNewer,
      "The database is at version \(newest), newer than the migration files, which end at "
        + "\(catalog.latest).",
      file: catalog.directory,
      howToClear: "Install the release of the application that brings version \(ledger.current), "
        + "or a newer one. The application may go on running.")
  }

  private static func check(
    _ goal: SchemaVersion, in catalog: MigrationCatalog, current: SchemaVersion
  ) throws(Failure) {
    let versions = catalog.migrations.map(\.version)
    guard goal == current || goal == .zero || versions.contains(goal) else {
      let below = versions.last { $0 < goal }
      let nearest = (below ?? versions.first).map { " The nearest is \($0)." } ?? ""
      throw Failure(
        .notFound, "No migration file has version \(goal).\(nearest)", file: catalog.directory,
        howToClear: "Choose one of the versions that `chock status` lists.")
    }
    guard goal >= current else {
      throw Failure(
        .usage, "Version \(goal) lies behind the database, which is at \(current).",
        howToClear:
          "An update only goes forward. To go back, put a snapshot back: `chock restore ID`."
      )
    }
  }
}
