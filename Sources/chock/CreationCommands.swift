import ArgumentParser
import Migrations
import Storage
import Updating

struct InitCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "init",
    abstract: "Creates a new database; refuses where a file exists. Nothing else ever creates one.")

  @OptionGroup var globals: Globals
  @OptionGroup var inputs: InputOptions
  @Option(help: ArgumentHelp("The version to create; else the newest.", valueName: "version"))
  var to: SchemaVersion?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let settings = session.config.settings
      let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
      let plan = try Plan(
        catalog: catalog, ledger: .blank, goal: .update(to: to, outOfOrder: false))
      let version = try Creation.create(
        settings.databasePath, plan,
        ApplyOrder(
          run: "init", chockVersion: Chock.version,
          inputs: try inputs.values(for: plan.inputs, session)))
      try session.output.result(
        CreatedDocument(schema: "chock.CREATED/1", version: version, path: settings.databasePath),
        ["Created \(settings.databasePath) at version \(version)."])
      return 0
    }
  }
}

private struct CreatedDocument: Encodable {
  var schema: String
  var version: SchemaVersion
  var path: String
}
