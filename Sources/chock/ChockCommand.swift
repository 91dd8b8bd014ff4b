import ArgumentParser
import Updating

@main
struct ChockCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "chock",
    abstract: "Updates the schema of an RV controller's SQLite database, safely.",
    discussion: """
      Afterwards the database is exactly the old one or exactly the new one, nothing that the owner \
      recorded is lost, and the owner is told which it is.

      Exit codes: 0 done, or nothing to do; 1 the run failed and the old state is in place; 2 a \
      person is needed; 64 usage; 65 bad migration files or database content; 66 database or folder \
      missing; 69 no daemon; 74 input/output error; 75 refused for now; 77 not allowed; 78 bad config.
      """,
    version: Chock.version,
    subcommands: [
      StatusCommand.self, PlanCommand.self, RehearseCommand.self, ApproveCommand.self,
      UpdateCommand.self, ConfirmCommand.self, ScheduleCommand.self,
      RollbackCommand.self, ImportCommand.self, HistoryCommand.self, SnapshotsCommand.self,
      RestoreCommand.self, RescueCommand.self, RecoverCommand.self, LintCommand.self,
      NewCommand.self,
      CheckCommand.self, SquashCommand.self, DevCommand.self,
      SchemaCommand.self, DiffCommand.self, RepairCommand.self, AuditCommand.self,
      CoachCommand.self, PairCommand.self, DevicesCommand.self, TokenCommand.self,
      PinCommand.self,
      InitCommand.self, AdoptCommand.self, FingerprintCommand.self, DoctorCommand.self,
      DiagnoseCommand.self, ExplainCommand.self,
      ServeCommand.self, WorkerCommand.self,
    ])

  /// Options that every verb has may also stand before the verb.
  static func main() async {
    var leading: [String] = []
    var rest = Array(CommandLine.arguments.dropFirst())
    while let first = rest.first, first.hasPrefix("-"),
      !["--help", "-h", "--version"].contains(first),
      // Its value is no verb.
      !first.hasPrefix("--generate-completion-script")
    {
      leading.append(rest.removeFirst())
      if first == "--config", !rest.isEmpty { leading.append(rest.removeFirst()) }
    }
    let verbs = min(
      ["snapshots", "coach", "pin", "token", "devices", "schedule", "rescue"].contains(rest.first)
        ? 2 : 1,
      rest.count)
    let arguments = rest.isEmpty ? leading : rest.prefix(verbs) + leading + rest.dropFirst(verbs)
    do {
      var command = try parseAsRoot(Array(arguments))
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
    } catch {
      exit(withError: error)
    }
  }
}

struct WorkerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "worker", abstract: "One run, started by chock itself.", shouldDisplay: false)

  func run() throws {
    throw ExitCode(Worker.main())
  }
}
