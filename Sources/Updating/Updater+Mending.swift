public import Authoring
public import Migrations
import Storage

// What only a person can judge, and chock then takes for right: a changed file, a schema that somebody else has
// changed, the version of a database that it does not know yet. The record of it is all that is written
// (docs/decisions/0071).
extension Updater {
  /// What does not fit between the database and its applied files.
  ///
  /// - Throws: what is wrong with one of them; `.timeout` for files whose statements do not end.
  public func repair() async throws(Failure) -> Repair {
    try await repair(within: Self.patience)
  }

  func repair(within limit: Duration) async throws(Failure) -> Repair {
    try await looking(within: limit) { settings, history, stop throws(Failure) in
      try Self.repair(settings, history, stop)
    }
  }

  private static let patience = Duration.seconds(60)

  /// Takes for right what ``repair()`` has found: changed files in the ledger, drift in the audit.
  ///
  /// - Parameters:
  ///   - seen: the ``Repair/hash`` of what the person has looked at.
  ///   - person: for the audit, with the reason.
  /// - Returns: what was accepted; nothing is where there was nothing.
  /// - Throws: `.planChanged` when it is no longer what was seen, `.runActive`, `.interrupted` behind a run that
  ///   was; what ``repair()`` throws.
  public func accept(
    seen: String, reason: String, by person: String
  ) async throws(Failure) -> Repair {
    try await mending { settings, history, stop throws(Failure) in
      let found = try Self.repair(settings, history, stop)
      guard found.hash == seen else { throw Self.foundOtherwise }
      if found.isNeeded { try found.accept(reason: reason, actor: person, history) }
      return found
    }
  }

  /// What speaks for a version of a database that has no ledger.
  ///
  /// - Parameter version: what a person says; the warnings are about it.
  /// - Throws: `.databaseExists` when it is adopted already, `.notFound` for a version that no file has; what is
  ///   wrong with the database or the files; `.timeout` for files whose statements do not end.
  public func adoption(at version: SchemaVersion?) async throws(Failure) -> Adoption {
    try await looking(within: Self.patience) { settings, _, stop throws(Failure) in
      try Self.adoption(at: version, settings, stop).found
    }
  }

  /// Notes that the database is at a version: a person's word counts, also against what was found.
  ///
  /// - Parameters:
  ///   - seen: the ``Adoption/hash`` of what the person has looked at, for this version.
  ///   - reason: why it is this one; nil: what was found.
  ///   - person: for the audit.
  /// - Throws: `.planChanged` when it is no longer what was seen, `.runActive`, `.interrupted` behind a run that
  ///   was; what ``adoption(at:)`` throws.
  public func adopt(
    at version: SchemaVersion, seen: String, reason: String?, by person: String
  ) async throws(Failure) -> AdoptedDocument {
    try await mending { settings, history, stop throws(Failure) in
      let (found, catalog) = try Self.adoption(at: version, settings, stop)
      guard found.hash == seen else { throw Self.foundOtherwise }
      let path = settings.databasePath
      try Creation.adopt(
        path, at: version, catalog: catalog, run: "adopt", chockVersion: Chock.version
      ) { () throws(Failure) in
        try history.append(
          AuditEntry(
            .adopt, of: path, accepted: version.description, reason: reason ?? found.reason,
            actor: person))
      }
      return AdoptedDocument(
        version: version, path: path, warnings: found.warnings, differences: found.differences)
    }
  }

  /// - Throws: `.runActive`, `.interrupted` while nothing of it is possible.
  public func checkCanMend() throws(Failure) {
    guard current == nil, !isMending, (try? runElsewhere())??.isActive != true else {
      throw Failure.runActive
    }
    guard !hasInterruptedRun() else { throw Failure.interruptedRun }
  }

  // MARK: Pieces

  private typealias Work<R> =
    @Sendable (UpdateSettings, StateStore, StopSignal) throws(Failure) -> R

  private static func repair(
    _ settings: UpdateSettings, _ history: StateStore, _ stop: StopSignal
  ) throws(Failure) -> Repair {
    try Repair(
      try Database.open(settings.databasePath),
      try MigrationCatalog(directory: settings.migrationsDirectory), history, stop: stop)
  }

  private static func adoption(
    at version: SchemaVersion?, _ settings: UpdateSettings, _ stop: StopSignal
  ) throws(Failure) -> (found: Adoption, catalog: MigrationCatalog) {
    let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
    let connection = try Database.open(settings.databasePath)
    let found = try Adoption(connection, catalog, at: version, stop: stop)
    if let version { _ = try catalog.upTo(version) }
    return (found, catalog)
  }

  /// Off this actor, one after another.
  private func looking<R: Sendable>(
    within limit: Duration, _ work: @escaping Work<R>
  ) async throws(Failure) -> R {
    guard !isShuttingDown else { throw Self.daemonStops }
    return try await limited(to: limit, Self.takesTooLong, on: mender) {
      [settings, history] stop throws(Failure) in try work(settings, history, stop)
    }
  }

  /// The same between two runs of any process. Afterwards everybody is told how it stands.
  private func mending<R: Sendable>(_ work: @escaping Work<R>) async throws(Failure) -> R {
    try checkCanMend()
    isMending = true
    defer {
      isMending = false
      // Held again at once, where it was let go.
      holdPause?.cancel()
    }
    await letGo()
    let done = try await looking(within: Self.patience) { settings, history, stop throws(Failure) in
      guard let lock = try RunLock(folder: settings.stateDirectory) else {
        throw Failure.runActive
      }
      return try withExtendedLifetime(lock) { () throws(Failure) in
        try work(settings, history, stop)
      }
    }
    guard isServed else { return done }
    publishState()
    if recoveryMode == nil, schedule == nil { offer() }
    return done
  }

  private static let foundOtherwise = Failure(
    .planChanged, "It is no longer what was looked at; nothing was accepted.",
    howToClear: "Look again, and accept what is there now.")

  private static let takesTooLong = Failure(
    .timeout, "The statements of the migration files do not come to an end.",
    howToClear: "`chock lint` looks at the files; `chock check` tries them.")
}

/// What an adoption has noted: `chock adopt`, `POST /api/database/adoption`.
public struct AdoptedDocument: Encodable, Sendable {
  public var schema = "chock.ADOPTED/1"
  public var version: SchemaVersion
  public var path: String
  /// What spoke against it.
  public var warnings: [String]
  /// Where the schema is not that of the version.
  public var differences: [Schema.Difference]
}
