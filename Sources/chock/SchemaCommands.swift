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
  @Option(
    help: ArgumentHelp(
      "Not of a database: what the migration files make up to this version.", valueName: "version"))
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
    abstract:
      "How two states of a database differ; of one, where it is not what its migrations make.",
    discussion: """
      With two: schema and rows of `live` (the database), snapshots and rescue copies by their id, or files. Rows \
      are told apart by their primary key, else by their rowid, and compared value by value. 0: they hold the same; \
      1: they differ.

      With one, or none for the database: its schema beside the one that the applied migrations make, built in \
      memory. Blanks, comments, quotes around names and their case do not count. 0: no difference, or one that \
      `chock repair` has accepted; 65: there is one.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "`live`, the id of a snapshot, or a database file.") var files: [String] = []
  @Flag(help: "Of two: also each row that differs. With --json a line each, before the document.")
  var rows = false
  @Option(
    name: .customLong("table"), help: "Of two: only the rows of this table. May be repeated.")
  var tables: [String] = []

  func validate() throws {
    guard files.count <= 2 else { throw ValidationError("Give two states at most.") }
    guard files.count == 2 || (!rows && tables.isEmpty) else {
      throw ValidationError("--rows and --table compare two states: name both.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      if files.count == 2 { return try compare(session) }
      let file = files.first
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

  private func compare(_ session: Session) throws(Failure) -> Int32 {
    func side(_ name: String) throws(Failure) -> (path: String, side: ComparisonOutput.Side) {
      let path = try session.databaseFile(name)
      let connection = try Database.open(path)
      connection.keepLogOnClose()
      let version = try LedgerTable.read(connection)?.current.description
      return (path, ComparisonOutput.Side(name: name, version: version))
    }
    let (before, after) = (try side(files[0]), try side(files[1]))
    let differences = tables.isEmpty ? try schemas(before.path, after.path) : []
    let comparer = try Comparer(
      before: before.path, after: after.path, tables: tables.isEmpty ? nil : tables)
    let comparison = try comparer.run(
      rows
        ? { row throws(Failure) in print(session.output.json ? row.json() : Self.line(row)) } : nil
    )
    let isEqual = comparison.isEqual && differences.isEmpty
    var lines = differences.flatMap(Self.lines)
    lines += comparison.numbers.map {
      "\($0.name): \($0.before.map(String.init) ?? "none") -> \($0.after.map(String.init) ?? "none")"
    }
    lines += comparison.tables.map {
      Output.line($0, "in \(files[1])", "in \(files[0])")
    }
    let same = comparison.sameTables
    lines.append("\(same) \(same == 1 ? "table holds" : "tables hold") the same rows.")
    try session.output.result(
      ComparisonOutput(
        before: before.side, after: after.side, equal: isEqual, differences: differences,
        numbers: comparison.numbers, tables: comparison.tables, sameTables: same),
      lines)
    return isEqual ? 0 : 1
  }

  private func schemas(
    _ before: String, _ after: String
  ) throws(Failure) -> [Schema.Difference] {
    func schema(_ path: String) throws(Failure) -> Schema {
      let connection = try Database.open(path)
      connection.keepLogOnClose()
      return try Schema(connection)
    }
    return try schema(before).differences(in: try schema(after))
  }

  /// `+` added, `-` deleted, `~` changed, and the row as JSON.
  private static func line(_ row: RowDifference) -> String {
    let mark =
      switch row.change {
      case .added: "+"
      case .deleted: "-"
      case .changed, .values: "~"
      }
    return "\(mark) \(row.json())"
  }

  private struct ComparisonOutput: Encodable {
    struct Side: Encodable {
      var name: String
      /// Of the schema, if chock's ledger is there.
      var version: String?
    }

    var schema = "chock.COMPARISON/1"
    var before: Side
    var after: Side
    var equal: Bool
    var differences: [Schema.Difference]
    var numbers: [NumberDifference]
    var tables: [TableDifference]
    var sameTables: Int
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
