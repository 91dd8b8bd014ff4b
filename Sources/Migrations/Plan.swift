/// Where a plan leads.
public enum Goal: Hashable, Sendable, Codable {
  /// Forward to a version; nil: the newest of the files.
  ///
  /// - Parameter outOfOrder: also what is older than the newest version in the database.
  case update(to: SchemaVersion?, outOfOrder: Bool)
  /// Back to a version, by the rollback files of all that is newer.
  case rollback(to: SchemaVersion)
  /// Takes back one version, on which nothing in the database depends.
  case rollbackOnly(SchemaVersion)

  public static let newest = Goal.update(to: nil, outOfOrder: false)

  public var isRollback: Bool { if case .update = self { false } else { true } }
}

/// What an update or a rollback would do: the files, in the order in which they run, complete and checked
/// before the first write.
public struct Plan: Sendable, Hashable {
  public enum Direction: Sendable, Hashable { case update, rollback }

  public let direction: Direction
  /// The versions in effect before it, sorted.
  public let before: [SchemaVersion]
  /// Those in effect after it.
  public let after: [SchemaVersion]
  /// The migrations, or the rollback files; empty when there is nothing to do.
  public let steps: [Migration]
  /// Files that are older than the newest version in the database and were rolled back: left alone
  /// unless they are asked for.
  public let skipped: [Migration]
  /// What people consent to: the SHA-256, in lowercase hexadecimal, over `from`, `to` and each
  /// step's version and checksum. The checksum covers what the step asks and declares.
  public let hash: String
  /// What the steps ask a person, each once.
  public let inputs: [MigrationInput]
  /// Its number among the `segments` of a plan.
  public let segment: Int

  /// The newest version before it, or `.zero`.
  public var from: SchemaVersion { before.last ?? .zero }
  /// The newest version after it, or `.zero`.
  public var to: SchemaVersion { after.last ?? .zero }

  /// Plans the way from what is in the ledger to `goal`.
  ///
  /// Throws `.databaseNewer` when the database is ahead of the files, `.drift` when an applied file
  /// changed, `.migrationOrder` when an applied file is gone, a pending one is older than the newest applied
  /// or needs what is not there, `.notFound` for a version that no file has, `.rollbackMissing` for a way
  /// back without a file, `.usage` for a goal on the wrong side of the database, and `.needsPerson` when a
  /// part of another plan is in it.
  public init(catalog: MigrationCatalog, ledger: Ledger, goal: Goal = .newest) throws(Failure) {
    if let run = ledger.begun {
      throw Failure(
        .needsPerson, "The database holds a part of the update \(run), which was interrupted.",
        howToClear:
          "`chock recover`; where its state folder is lost, restore a snapshot from before it.")
    }
    guard ledger.current <= catalog.latest else { throw Self.databaseNewer(catalog, ledger) }
    try Self.checkApplied(catalog, ledger)
    var skipped: [Migration] = []
    let steps: [Migration]
    switch goal {
    case .update(let target, let outOfOrder):
      (steps, skipped) = try Self.forward(catalog, ledger, to: target, outOfOrder: outOfOrder)
    case .rollback(let target): steps = try Self.back(catalog, ledger, to: target)
    case .rollbackOnly(let version): steps = try Self.back(catalog, ledger, only: version)
    }
    try self.init(
      goal.isRollback ? .rollback : .update, before: ledger.versions, steps: steps,
      skipped: skipped)
  }

  private init(
    _ direction: Direction, before: [SchemaVersion], steps: [Migration], skipped: [Migration]
  ) throws(Failure) {
    self.direction = direction
    self.before = before
    self.steps = steps
    self.skipped = skipped
    segment = 0
    after = Self.effect(direction, of: steps, on: before)
    inputs = try Self.inputs(of: steps)
    // Versions and checksums have no blanks or line ends, so no two plans share a text.
    let verb = direction == .update ? "step" : "undo"
    let text = steps.reduce(
      "chock.PLAN/1\nfrom \(before.last ?? .zero)\nto \(after.last ?? .zero)\n"
    ) { $0 + "\(verb) \($1.version) \($1.checksum)\n" }
    hash = sha256(Array(text.utf8))
  }

  private static func effect(
    _ direction: Direction, of steps: [Migration], on before: [SchemaVersion]
  ) -> [SchemaVersion] {
    let versions = Set(steps.flatMap { [$0.version] + $0.squashed.map(\.version) })
    return direction == .update
      ? versions.union(before).sorted() : before.filter { !versions.contains($0) }
  }

  // MARK: Segments

  /// The plan in parts that are committed one after the other: one, unless a migration runs without a
  /// transaction, or a baseline comes first. When a part fails, what was committed before it is undone by restoring the snapshot.
  public var segments: [Plan] {
    var parts: [[Migration]] = []
    for step in steps {
      // What later files expect is counted from behind a baseline, and foreign keys may be on for them only.
      if let last = parts.last, last.allSatisfy({ $0.runsInTransaction && $0.squashed.isEmpty }),
        step.runsInTransaction
      {
        parts[parts.count - 1].append(step)
      } else {
        parts.append([step])
      }
    }
    var segments: [Plan] = []
    for part in parts {
      segments.append(
        Plan(segment: segments.count, of: self, from: segments.last?.after ?? before, part))
    }
    return segments
  }

  private init(segment: Int, of plan: Plan, from before: [SchemaVersion], _ steps: [Migration]) {
    direction = plan.direction
    self.before = before
    self.steps = steps
    skipped = []
    hash = plan.hash
    inputs = plan.inputs
    after = Self.effect(plan.direction, of: steps, on: before)
    self.segment = segment
  }

  /// True when a part of it can be committed without the rest.
  public var isSegmented: Bool { !isTransaction || segments.count > 1 }

  /// False for a segment that runs without a transaction around it.
  public var isTransaction: Bool { steps.allSatisfy(\.runsInTransaction) }

  // MARK: Forward

  private static func forward(
    _ catalog: MigrationCatalog, _ ledger: Ledger, to target: SchemaVersion?, outOfOrder: Bool
  ) throws(Failure) -> (steps: [Migration], skipped: [Migration]) {
    let current = ledger.current
    let applied = Set(ledger.versions)
    let rolledBack = Set(ledger.rolledBack.map(\.version))
    let goal = target ?? catalog.latest
    try check(goal, in: catalog, current: current)
    if ledger.isBlank, let void = catalog.voidBaselines.first { throw void }
    if ledger.isBlank, let baseline = catalog.baselines.last(where: { $0.version <= goal }) {
      return (
        [baseline]
          + catalog.migrations.filter { baseline.version < $0.version && $0.version <= goal },
        []
      )
    }
    var steps: [Migration] = []
    var skipped: [Migration] = []
    for migration in catalog.migrations
    where !applied.contains(migration.version) && migration.version <= max(goal, current) {
      if migration.version > current || outOfOrder {
        steps.append(migration)
      } else if rolledBack.contains(migration.version) {
        skipped.append(migration)
      } else {
        throw Failure(
          .migrationOrder,
          "\(migration.fileName) is not applied, but the database is already at the newer version "
            + "\(current).",
          file: migration.path,
          howToClear:
            "Give the file a version after \(catalog.latest), or add --out-of-order if it fits what is there."
        )
      }
    }
    let left = Set(skipped.map(\.version))
    for step in steps {
      guard let missing = step.requires.first(where: left.contains) else { continue }
      throw Failure(
        .migrationOrder,
        "\(step.fileName) requires version \(missing), which was rolled back.", file: step.path,
        line: step.requiresLine, howToClear: "Add --out-of-order to apply \(missing) again.")
    }
    return (steps, skipped)
  }

  private static func check(
    _ goal: SchemaVersion, in catalog: MigrationCatalog, current: SchemaVersion
  ) throws(Failure) {
    try checkKnown(goal, in: catalog, current: current)
    guard goal >= current else {
      throw Failure(
        .usage, "Version \(goal) lies behind the database, which is at \(current).",
        howToClear:
          "An update only goes forward. To go back: `chock rollback --to \(goal)`, or put a snapshot back: `chock restore ID`."
      )
    }
  }

  private static func checkKnown(
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
  }

  // MARK: Back

  private static func back(
    _ catalog: MigrationCatalog, _ ledger: Ledger, to goal: SchemaVersion
  ) throws(Failure) -> [Migration] {
    try checkKnown(goal, in: catalog, current: ledger.current)
    guard goal <= ledger.current else {
      throw Failure(
        .usage, "Version \(goal) lies ahead of the database, which is at \(ledger.current).",
        howToClear: "A rollback only goes back. To go forward: `chock update --to \(goal)`.")
    }
    var steps: [Migration] = []
    for version in ledger.versions.reversed() where version > goal {
      steps.append(try rollback(of: version, catalog))
    }
    return steps
  }

  private static func back(
    _ catalog: MigrationCatalog, _ ledger: Ledger, only version: SchemaVersion
  ) throws(Failure) -> [Migration] {
    try checkKnown(version, in: catalog, current: version == .zero ? .zero : ledger.current)
    guard version != .zero else {
      throw Failure(.usage, "No file has version 0.", howToClear: "Choose a version to take back.")
    }
    guard ledger.versions.contains(version) else { return [] }
    let inEffect = Set(ledger.versions)
    for migration in catalog.migrations
    where inEffect.contains(migration.version) && migration.requires.contains(version) {
      throw Failure(
        .migrationOrder,
        "\(migration.fileName) requires version \(version), and is in the database.",
        file: migration.path, line: migration.requiresLine,
        howToClear:
          "Take \(migration.version) back first, or everything behind \(version): `chock rollback --to VERSION`."
      )
    }
    return [try rollback(of: version, catalog)]
  }

  private static func rollback(
    of version: SchemaVersion, _ catalog: MigrationCatalog
  ) throws(Failure) -> Migration {
    if let file = catalog.rollbacks[version] { return file }
    let name = catalog.migrations.first { $0.version == version }?.fileName ?? "version \(version)"
    throw Failure(
      .rollbackMissing, "\(name) has no rollback file.", file: catalog.directory,
      howToClear: "Put a snapshot from before it back: `chock snapshots list`, `chock restore ID`.")
  }

  // MARK: Checks

  private static func checkApplied(_ catalog: MigrationCatalog, _ ledger: Ledger) throws(Failure) {
    let files = catalog.migrations
    let places = Dictionary(
      zip(files.map(\.version), files.indices), uniquingKeysWith: { first, _ in first })
    for entry in ledger.entries {
      guard let file = places[entry.version].map({ files[$0] }) else {
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
            "Put the file back as it was applied, and write the change as a new migration. If both do the same, `chock repair` accepts the file."
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

  // MARK: Inputs

  private static func inputs(of steps: [Migration]) throws(Failure) -> [MigrationInput] {
    var inputs: [MigrationInput] = []
    for step in steps {
      for input in step.inputs {
        guard let known = inputs.first(where: { $0.name == input.name }) else {
          inputs.append(input)
          continue
        }
        var same = input
        same.line = known.line
        guard same == known else {
          throw Failure(
            .migrationFile,
            "\(step.fileName) asks for \(input.name) in another way than a file before it.",
            file: step.path, line: input.line,
            howToClear: "Give the input another name, or the same words.")
        }
      }
    }
    return inputs
  }

  /// The value of each input: what was given, or its default.
  ///
  /// - Throws: `.input` for what is missing, unknown or may not be chosen.
  public func values(_ given: [String: InputValue]) throws(Failure) -> [String: InputValue] {
    if let unknown = given.keys.sorted().first(where: { name in
      !inputs.contains { $0.name == name }
    }) {
      throw Failure(
        .input,
        "The plan asks for no \(unknown).\(suggestion(for: unknown, among: inputs.map(\.name)))",
        howToClear: "`chock plan` lists what it asks for.", pointer: "/inputs")
    }
    var values: [String: InputValue] = [:]
    for input in inputs {
      guard let value = given[input.name] ?? input.defaultValue else {
        throw Failure(
          .input, "The plan asks: \(input.question)",
          howToClear: "Answer it with --input \(input.name)=VALUE: \(input.domain).",
          pointer: "/inputs/\(input.name)")
      }
      values[input.name] = try input.accept(value)
    }
    return values
  }
}
