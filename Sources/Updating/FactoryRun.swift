import Coach
public import Migrations
import Storage

/// Makes a new database beside the old one, and then erases everything that was the owner's.
struct FactoryRun {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }
  private var state: FactoryState { FactoryState(settings: settings) }
  private var new: String {
    Restorer.temporaryFile(beside: settings.databasePath, run: context.order.run)
  }

  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      // A daemon has devices and readings in its memory, and would write them again.
      guard let hold = try FolderHold(folder: settings.stateDirectory, isShared: false) else {
        throw Failure.daemonRuns
      }
      return withExtendedLifetime(hold) { run() }
    } catch {
      return context.answer(.refused, error)
    }
  }

  private func run() -> RunDocument {
    do throws(Failure) {
      try prepare()
      try context.enter(.commit)
      guard try state.begin(context.journaled(.commit, replacement: FileSystem.facts(new)?.inode))
      else {
        return context.answer(
          .needsRecovery,
          Failure(
            .needsPerson, "It is not known whether the return to the factory state has begun.",
            howToClear: "`chock recover` finishes it, or says that nothing has changed."))
      }
    } catch {
      Snapshot.removeDatabase(new)
      return context.end(.refused, error)
    }
    do throws(Failure) {
      try state.goOn()
    } catch {
      // The application stays down: the old database is not to be used any more.
      return context.answer(.needsRecovery, error)
    }
    return context.end(.finished)
  }

  /// Everything that can go wrong, as long as nothing has changed.
  private func prepare() throws(Failure) {
    let database = settings.databasePath
    try context.enter(.plan)
    // Under another name the old one would stay.
    try Openers.checkNames(of: database)
    let plan = try Plan(
      catalog: try MigrationCatalog(directory: settings.migrationsDirectory), ledger: .blank,
      goal: .update(to: nil, outOfOrder: false))
    let version = (try? Database.open(database)).flatMap { live in
      (try? LedgerTable.read(live)).flatMap { $0 }?.current
    }
    context.set(state.whatThereIs(), from: version, to: plan.to)
    try context.enter(.safety)
    _ = try context.permit()
    try context.enter(.rehearse)
    context.progress("make", "Making the new database")
    try Creation.make(
      new, plan,
      ApplyOrder(
        run: context.order.run, chockVersion: Chock.version, inputs: context.order.inputs,
        stop: context.stop,
        deadline: .now + .seconds(settings.migrationTimeoutSeconds)))
    try checkTables()
    Restorer.takeRights(of: database, for: new)
    try FileSystem.sync(new)
    try FileSystem.sync(FileSystem.parent(new))
    try context.quiesce()
    try Restorer.checkCanBeReplaced(database)
    _ = try context.permit()
  }

  /// What an application, or a person, has made by hand would not be there again.
  private func checkTables() throws(Failure) {
    let missing: [String]
    do throws(Failure) {
      missing = try Creation.tables(of: settings.databasePath, missingIn: new)
    } catch  where error.code.isUnreadableDatabase {
      guard error.code != .databaseMissing else { return }
      context.add(
        warning: Failure(
          error.code, "Which tables the old database had is not known: \(error.message)"))
      return
    }
    guard missing.isEmpty else {
      throw Failure(
        .drift,
        "The new database would lack tables that the old one has: \(missing.joined(separator: ", ")). No migration file creates them.",
        file: settings.databasePath,
        howToClear:
          "Add a migration that creates them, or drop them when nothing needs them; then try again."
      )
    }
  }
}

extension Failure {
  /// For what is done without a daemon.
  public static var daemonRuns: Failure {
    Failure(
      .runActive, "The daemon runs, and holds in its memory what is to be erased.",
      howToClear: "Stop it (`systemctl stop chock`), try again, and start it afterwards.")
  }
}

extension Updater {
  /// Erases everything of the owner's, and begins with a new database. Without a daemon only.
  ///
  /// - Throws: `.gateClosed`, `.runActive`.
  public func startFactoryState(
    inputs: [String: InputValue], requestedBy: String
  ) throws(Failure) -> RunDocument {
    guard !isServed else { throw Failure.daemonRuns }
    guard current == nil else { throw Failure.runActive }
    judge(forTechnician: true)
    guard verdict.isSafe else { throw Failure.gates(verdict) }
    return start(order(.factory, requestedBy: requestedBy) { $0.inputs = inputs })
  }
}
