import Migrations
import Storage

/// Copies of states of the database that are brought to a later version with the migration files.
struct LaterStates {
  let context: RunContext
  private var settings: UpdateSettings { context.settings }

  /// - Parameters:
  ///   - ledger: of the state.
  ///   - number: tells copies that are there at the same time apart.
  ///   - runs: looks at the plan, and says which runs have applied it, the likeliest first: what a person answered then
  ///     is answered again.
  /// - Throws: what is wrong with the files, what a migration's failure is, what `runs` throws, `.noSpace`, the stop
  ///   that was requested.
  func make(
    of path: String, _ ledger: Ledger, to version: SchemaVersion, number: Int,
    runs: (Plan) throws(Failure) -> [String]
  ) throws(Failure) -> LaterState {
    let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
    let plan = try Plan(
      catalog: catalog, ledger: ledger, goal: .update(to: version, outOfOrder: true))
    let runs = try runs(plan)
    let state = try Database.open(path)
    try Space.check([
      Space.Need(
        try Database.bytes(state) * 2, at: settings.snapshotsFolder,
        for: "a copy that is brought to version \(version)")
    ])
    var order = context.applyOrder
    order.verdicts = settings.verdicts
    order.deadline = .now + .seconds(settings.migrationTimeoutSeconds)
    order.inputs = try answers(plan, runs)
    context.progress("version", "Looking at what the update to \(version) changes")
    return try LaterState.make(
      of: state, plan, order, in: "\(settings.snapshotsFolder)/version-\(number).partial")
  }

  private func answers(
    _ plan: Plan, _ runs: [String]
  ) throws(Failure) -> [String: InputValue] {
    guard !plan.inputs.isEmpty else { return [:] }
    var answers: [String: InputValue] = [:]
    for run in runs {
      guard let text = try context.history.run(run),
        let document = try? JSON.decode(RunDocument.self, from: Array(text.utf8))
      else { continue }
      answers.merge(document.inputs ?? [:]) { first, _ in first }
    }
    return answers.filter { answer in plan.inputs.contains { $0.name == answer.key } }
  }
}
