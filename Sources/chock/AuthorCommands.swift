import ArgumentParser
import Authoring
import Migrations
import Storage
import Updating

struct NewCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "new",
    abstract: "Writes the two files of a new migration, numbered like the newest one.")

  @OptionGroup var globals: Globals
  @Argument(help: "What it does, in a few words: \"Add route versions\".")
  var description: [String]
  @Option(help: ArgumentHelp("The folder, else migrations.directory.", valueName: "folder"))
  var directory: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let new = try NewMigration(
        description.joined(separator: " "),
        in: directory ?? session.config.settings.migrationsDirectory)
      try session.output.result(new, [new.migration, new.rollback])
      return 0
    }
  }
}

struct CheckCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Applies each migration to a copy, takes it back, and applies it again.",
    discussion: """
      After the way back, schema and rows have to be what they were. Done on an empty database for all \
      files, and on a copy of the database for those that are pending there. Inputs get their default, or \
      a value that they accept. 0, or 65 when something is wrong.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "A database file or the id of a snapshot; else the database.") var file: String?
  @Flag(help: "Only on an empty database.") var empty = false

  func validate() throws {
    guard file == nil || !empty else {
      throw ValidationError("Give a database or --empty, not both.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let catalog = try MigrationCatalog(
        directory: session.config.settings.migrationsDirectory)
      let path = empty ? nil : try session.databaseFile(file)
      var report = CheckReport(
        empty: try check(catalog, on: try Scratch(), "an empty database", session))
      if let path, file != nil || FileSystem.target(path) != nil {
        report.copyOf = path
        report.copy = try check(
          catalog, on: try Scratch(copyOf: path), "a copy of \(path)", session)
      }
      let problems = (report.empty + (report.copy ?? [])).reduce(0) { $0 + $1.problems.count }
      try session.output.result(
        report, [problems == 0 ? "Every way back leads back." : "Problems: \(problems)."])
      return problems == 0 ? 0 : 65
    }
  }

  private func check(
    _ catalog: MigrationCatalog, on scratch: Scratch, _ what: String, _ session: Session
  ) throws(Failure) -> [RoundTrip] {
    let output = session.output
    if !output.json { print(output.bold("On \(what):")) }
    let trips = try RoundTrip.all(catalog, on: scratch) { trip in
      guard !output.json else { return }
      for line in output.lines(trip) { print(line) }
    }
    if trips.isEmpty, !output.json { print("  nothing is pending") }
    return trips
  }

  private struct CheckReport: Encodable {
    var schema = "chock.CHECK/1"
    var empty: [RoundTrip]
    var copyOf: String?
    var copy: [RoundTrip]?
  }
}

struct SquashCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "squash",
    abstract: "Writes one file that makes of a new database what all files up to a version make.",
    discussion: """
      It is written when it is proven that schema and rows are the same. It takes effect where nothing is \
      yet: at `chock init`. Databases that exist go on through the old files, which stay where they are.
      """)

  @OptionGroup var globals: Globals
  @Option(help: ArgumentHelp("The last version that is in it.", valueName: "version"))
  var to: SchemaVersion

  func run() async throws {
    try await globals.session { session throws(Failure) in
      // One that does not fit any more is what this replaces.
      let catalog = try MigrationCatalog(
        directory: session.config.settings.migrationsDirectory, hasBaselines: false)
      let squash = try Squash(catalog, to: to)
      try session.output.result(
        squash,
        [
          "\(squash.file): in place of \(squash.files) files on a new database; the same schema and the same \(squash.rows) rows."
        ] + squash.warnings.map { "Warning: \($0)" })
      return 0
    }
  }
}

struct DevCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dev",
    abstract: "Watches the migration files, and tries them at each save.",
    discussion: """
      Lints what is pending, applies it to a copy of the database as it was at the start (or to an empty one \
      where there is none), takes it back and applies it again, and says how long each took. The database \
      itself is only read. Ends with Control-C.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "A database file or the id of a snapshot; else the database.") var file: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let directory = session.config.settings.migrationsDirectory
      let path = try session.databaseFile(file)
      let database =
        file != nil || FileSystem.target(path) != nil ? try Scratch(copyOf: path) : try Scratch()
      // Before the first look, so that nothing that is saved meanwhile is missed.
      let watch = try FolderWatch(directory)
      if !session.output.json {
        print("Watching \(directory); Control-C ends it.")
      }
      var saved: [String] = []
      while true {
        try show(try attempt(directory, on: database, saved), session.output)
        saved = try watch.next()
      }
    }
  }

  private func attempt(
    _ directory: String, on database: Scratch, _ saved: [String]
  ) throws(Failure) -> DevDocument {
    var document = DevDocument(at: Timestamp.now(), saved: saved)
    do throws(Failure) {
      let current = try LedgerTable.read(database.connection)?.current ?? .zero
      document.fromVersion = current
      document.findings = try Lint.findings(directory: directory).filter {
        $0.version.map { $0 > current } ?? true
      }
      let catalog = try MigrationCatalog(directory: directory)
      document.toVersion = catalog.latest
      document.migrations = try RoundTrip.all(catalog, on: try Scratch(copyOf: database))
    } catch {
      // Said by lint already, when it is about a file that cannot be read.
      if document.findings.isEmpty || error.code != .migrationFile { document.error = error }
    }
    return document
  }

  private func show(_ document: DevDocument, _ output: Output) throws(Failure) {
    var lines = ["", output.bold("\(document.at)  \(document.saved.joined(separator: ", "))")]
    if let to = document.toVersion {
      lines.append(
        document.migrations.isEmpty
          ? "Nothing is pending at \(document.fromVersion)."
          : "Plan \(document.fromVersion) -> \(to)")
    }
    for trip in document.migrations { lines += output.lines(trip) }
    for finding in document.findings { lines += output.lines(finding) }
    if let error = document.error { lines += Output.words(error) }
    lines.append(document.isGood ? "Good." : "Not yet.")
    try output.result(document, lines)
    output.flush()
  }

  private struct DevDocument: Encodable {
    var schema = "chock.DEV/1"
    var at: String
    /// The files whose saving led to it; none at the start.
    var saved: [String]
    var fromVersion: SchemaVersion = .zero
    var toVersion: SchemaVersion?
    var migrations: [RoundTrip] = []
    var findings: [Finding] = []
    var error: Failure?

    var isGood: Bool {
      error == nil && migrations.allSatisfy(\.problems.isEmpty)
        && !findings.contains { $0.severity == .error }
    }

    init(at: String, saved: [String]) {
      self.at = at
      self.saved = saved
    }
  }
}

extension Output {
  func lines(_ trip: RoundTrip) -> [String] {
    func milliseconds(_ seconds: Double) -> String { "\(Int((seconds * 1000).rounded())) ms" }
    var ways: [String] = []
    if let seconds = trip.upSeconds { ways.append("up \(milliseconds(seconds))") }
    if let seconds = trip.downSeconds { ways.append("down \(milliseconds(seconds))") }
    if trip.rollbackFile == nil { ways.append("no rollback file") }
    let name = trip.file.split(separator: "/").last.map(String.init) ?? trip.file
    var lines = ["  \(mark(trip.problems.isEmpty)) \(name): \(ways.joined(separator: ", "))"]
    for problem in trip.problems {
      lines += Output.words(problem).map { "      \($0)" }
    }
    lines += trip.warnings.map { "      Warning: \($0)" }
    return lines
  }
}
