import ArgumentParser
import Coach
import FoundationEssentials
import Migrations
import Storage
import Updating

struct StatusCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract:
      "Versions, what is pending, conditions, newest snapshot, run. Works without the daemon.")

  @OptionGroup var globals: Globals

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let status = try await session.lookingEngine().status()
      try session.output.result(status, lines(status, session.output))
      return 0
    }
  }

  private func lines(_ status: StatusDocument, _ output: Output) -> [String] {
    var lines = ["Database   \(status.databasePath)"]
    if status.mode == .recovery { lines.append(output.bold("Recovery mode: a person is needed.")) }
    let current = status.currentVersion ?? "unknown"
    if status.needsUpdate {
      lines.append(
        output.bold(
          "Version    \(current); update available: \(current) -> \(status.targetVersion ?? "?")"))
      lines += status.pendingMigrations.map { "           \($0.version)  \($0.description)" }
    } else {
      lines.append("Version    \(current)" + (status.problem == nil ? " (up to date)" : ""))
    }
    if let problem = status.problem {
      lines += Output.words(problem).map { "Problem    \($0)" }
    }
    if let run = status.run {
      // A probation that the next daemon goes on with is not left over.
      let isLeft = run.outcome == nil && status.currentJobId == nil && run.phase != .prove
      let words =
        isLeft
        ? "Interrupted in its phase \(run.phase?.rawValue ?? "?"), and neither finished nor undone."
        : output.lines(run).first ?? ""
      lines.append("Run        \(run.id): \(words)")
      lines += (run.error.map(Output.words) ?? []).map { "           \($0)" }
      lines += Output.order(of: run).map { ["           \($0)"] } ?? []
      lines += (run.warnings ?? []).map { "           Warning: \($0.message)" }
    }
    lines += status.gates.map(output.line)
    if let snapshot = status.latestBackup {
      lines.append("Snapshot   \(snapshot.id), \(ByteCount.text(snapshot.sizeBytes))")
    } else {
      lines.append("Snapshot   none yet")
    }
    for copy in status.copies {
      let age = copy.lastCopyAgeSeconds.map { "last copy \(Int($0 / 86_400)) days ago" }
      lines.append(
        "Copies     \(copy.place): "
          + (copy.isCopying ? "copying now, " : "")
          + (age ?? copy.lastCopyAt.map { "last copy \($0)" } ?? "no copy yet"))
      lines += (copy.problem.map(Output.words) ?? []).map { "           \($0)" }
    }
    lines += errors(status)
    if let check = status.integrityCheck {
      let age = status.integrityCheckAgeSeconds.map { "\(Int($0 / 86_400)) days ago" }
      lines.append(
        "Checked    \(age ?? check.finishedAt): \(check.problem == nil ? "sound" : "damaged")")
    } else {
      lines.append("Checked    not in full yet, or something has happened since")
    }
    if !status.openers.isEmpty {
      lines.append("In use by  \(status.openers.map(\.description).joined(separator: ", "))")
    }
    return lines
  }

  private func errors(_ status: StatusDocument) -> [String] {
    guard let watch = status.errorWatch else { return [] }
    func words(_ number: Double?) -> String { number.map { String(Int($0.rounded())) } ?? "?" }
    return watch.counters.flatMap { counter in
      let level = counter.perHourBefore.map { "\(words($0)) an hour" } ?? "not known yet"
      let what =
        watch.run == nil
        ? level
        : "\(words(counter.errors)) since the update, \(words(counter.perHour)) an hour (before: \(level))"
      return ["Errors     \(counter.name): \(counter.problem ?? what)"]
        + (counter.warning.map(Output.words) ?? []).map { "           \($0)" }
    } + (watch.secondsLeft.map { ["           watched for \(Int($0 / 3600)) h more"] } ?? [])
  }
}

struct PlanCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "What an update would do, and its hash.")

  @OptionGroup var globals: Globals
  @OptionGroup var goal: GoalOptions

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let plan = try await session.lookingEngine().plan(goal.goal)
      try session.output.result(plan, Self.lines(plan, session.output))
      return 0
    }
  }

  static func lines(_ plan: PlanDocument, _ output: Output) -> [String] {
    guard !plan.migrations.isEmpty else {
      return ["Nothing to do: the database is at version \(plan.fromVersion)."]
    }
    let verb = plan.direction == .update ? "Update" : "Rollback"
    var lines = [output.bold("\(verb) \(plan.fromVersion) -> \(plan.toVersion)")]
    for step in plan.migrations {
      lines.append("  \(step.version)  \(step.description)  (\(step.file))")
      let notes = [
        step.purpose.map { "for \($0.rawValue)" }, step.isDestructive ? "removes something" : nil,
        step.needsTechnician ? "needs a technician" : nil,
        step.restart.isEmpty ? nil : "restart \(step.restart.joined(separator: ", ")) after it",
      ].compactMap { $0 }
      if !notes.isEmpty { lines.append("     \(notes.joined(separator: "; "))") }
      let breaks = step.incompatibleChanges ?? []
      if !breaks.isEmpty {
        lines.append("     not for an application that still runs with the old schema:")
        lines += breaks.map { "       \($0)" }
      }
    }
    lines += plan.skipped.map { "  \($0.version)  left out: it was rolled back (--out-of-order)" }
    lines += plan.inputs.map { input in
      "Asks       \(input.question) (--input \(input.name)=VALUE: \(input.domain)"
        + (input.defaultValue.map { "; else \($0))" } ?? ")")
    }
    lines.append("Hash       \(plan.hash)")
    lines.append(
      "Time       "
        + (plan.expectedSeconds.map { "about \(Output.seconds($0)) on this device" }
          ?? "not known yet: `chock rehearse` measures it"))
    lines.append(
      "Space      \(ByteCount.text(plan.neededBytes)) needed, \(ByteCount.text(plan.availableBytes)) free"
    )
    return lines
  }
}

struct HistoryCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "history", abstract: "The runs, newest first.")

  @OptionGroup var globals: Globals
  @Option(help: ArgumentHelp("How many.", valueName: "number")) var limit = 20

  func validate() throws {
    guard (1...1000).contains(limit) else { throw ValidationError("--limit is 1 to 1000.") }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let runs = try await session.lookingEngine().history(limit: limit)
      try session.output.result(
        HistoryOutput(runs: runs),
        runs.isEmpty ? ["No run yet."] : runs.flatMap { lines($0) })
      return 0
    }
  }

  private func lines(_ run: RunDocument) -> [String] {
    let versions = run.fromVersion.map { "\($0) -> \(run.toVersion ?? "?")" } ?? ""
    // A check that ended, and is not well.
    let hasFound = run.kind == .check && run.outcome == .refused && run.found != nil
    let outcome = hasFound ? "found problems" : run.outcome?.rawValue ?? "running"
    let first =
      "\(run.startedAt)  \(run.kind.rawValue) \(versions)  \(outcome)  by \(run.requestedBy ?? "?")"
    return [first] + (run.error.map(Output.words) ?? []).map { "    \($0)" }
  }

  private struct HistoryOutput: Encodable {
    var schema = "chock.HISTORY/1"
    var runs: [RunDocument]
  }
}

struct FingerprintCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "fingerprint",
    abstract: "A digest of the content of each table.",
    discussion:
      "Equal exactly when schema, number of rows and every value with its type are equal; the layout of the file does not count."
  )

  @OptionGroup var globals: Globals
  @Argument(help: "A database file or the id of a snapshot; else the database.") var file: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let fingerprint = try Fingerprint(try Database.open(try session.databaseFile(file)))
      try session.output.result(
        fingerprint,
        fingerprint.tables.map { "\($0.digest)  \($0.name)  (\($0.rows) rows)" }
          + ["\(fingerprint.total)  all tables and the schema"])
      return 0
    }
  }
}

extension Session {
  var history: StateStore {
    StateStore(stateFolder: config.settings.stateDirectory, chockVersion: Chock.version)
  }

  /// The file that a person means: one that is there, else a snapshot by its id; nil and `live`: the database.
  func databaseFile(_ name: String?) throws(Failure) -> String {
    guard let name, name != "live" else { return config.settings.databasePath }
    guard !name.contains("/"), FileSystem.target(name) == nil else { return name }
    return try SnapshotStore(
      stateFolder: config.settings.stateDirectory, chockVersion: Chock.version
    ).find(name).path
  }
}
