import ArgumentParser
import Authoring
import Migrations
import SQLite
import Storage
import Updating

struct SchemaCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schema",
    abstract: "The CREATE statements of the database, sorted and stable: fit for review.",
    discussion: "Without chock's ledger, SQLite's own tables and the shadow tables of virtual ones."
  )

  @OptionGroup var globals: Globals
  @Argument(help: "A database file or the id of a snapshot; else the database.") var file: String?
  @Option(help: "Not of a database: what the migration files make up to this version.")
  var at: SchemaVersion?

  func validate() throws {
    guard file == nil || at == nil else {
      throw ValidationError("Give a database or --at VERSION, not both.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let schema: Schema
      if let at {
        let scratch = try Scratch()
        let catalog = try MigrationCatalog(
          directory: session.config.settings.migrationsDirectory, hasBaselines: false)
        for file in try catalog.upTo(at) { try scratch.run(file) }
        schema = try scratch.schema()
      } else {
        schema = try Schema(try Database.open(try session.databaseFile(file)))
      }
      try session.output.result(
        SchemaOutput(objects: schema.objects),
        schema.text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init))
      return 0
    }
  }

  private struct SchemaOutput: Encodable {
    var schema = "chock.SCHEMA/1"
    var objects: [Schema.Object]
  }
}

struct DiffCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diff",
    abstract: "Where the schema is not what the applied migrations make.",
    discussion:
      "Builds that schema in memory. Blanks, comments, quotes around names and their case do not count. 0: no difference, or one that `chock repair` has accepted; 65: there is one."
  )

  @OptionGroup var globals: Globals
  @Argument(help: "A database file or the id of a snapshot; else the database.") var file: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let catalog = try MigrationCatalog(
        directory: session.config.settings.migrationsDirectory)
      let path = try session.databaseFile(file)
      let found = try Drift.find(in: try Database.open(path), catalog)
      let accepted = try session.history.acceptance(
        of: found, in: [path, session.config.settings.databasePath])
      var lines =
        found.isEmpty
        ? ["The schema is what the applied migrations make."] : found.flatMap(Self.lines)
      if let accepted {
        lines.append("Accepted by \(accepted.actor) at \(accepted.at): \(accepted.reason)")
      }
      try session.output.result(DiffOutput(differences: found, accepted: accepted), lines)
      return found.isEmpty || accepted != nil ? 0 : 65
    }
  }

  private static func lines(_ difference: Schema.Difference) -> [String] {
    func lines(_ sql: String?) -> [String] {
      (sql ?? "").split(separator: "\n").map(String.init)
    }
    let (old, new) = (lines(difference.expected), lines(difference.found))
    var removed: Set<Int> = []
    var inserted: [Int: String] = [:]
    for change in new.difference(from: old) {
      switch change {
      case .remove(let offset, _, _): removed.insert(offset)
      case .insert(let offset, let line, _): inserted[offset] = line
      }
    }
    var lines = ["\(difference.kind.rawValue) \(difference.object.rawValue) \(difference.name)"]
    var position = 0
    func takeInserted() {
      while let line = inserted[position] {
        lines.append("  + \(line)")
        position += 1
      }
    }
    for (index, line) in old.enumerated() {
      takeInserted()
      if removed.contains(index) {
        lines.append("  - \(line)")
      } else {
        lines.append("    \(line)")
        position += 1
      }
    }
    takeInserted()
    return lines
  }

  private struct DiffOutput: Encodable {
    var schema = "chock.DIFF/1"
    var differences: [Schema.Difference]
    var accepted: AuditEntry?
  }
}
