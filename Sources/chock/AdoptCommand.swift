import ArgumentParser
import Authoring
import Migrations
import Storage
import Updating

struct AdoptCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "adopt",
    abstract: "Finds out at which version an existing database is, and notes it.",
    discussion: """
      Looks at the tables of Alembic, dbmate, Django, Flyway, golang-migrate, goose, Rails, sqlx and yoyo, \
      and compares the schema with that of each version. Writes the ledger and nothing else, on a person's \
      yes.
      """)

  @OptionGroup var globals: Globals
  @Option(
    help: ArgumentHelp(
      "The version that the database is at; 0: none of the files is in it.", valueName: "version"))
  var at: SchemaVersion?
  @Option(
    help: ArgumentHelp(
      "Why it is this one, for `chock audit`; else what was found.", valueName: "words"))
  var reason: String?
  @Flag(name: .shortAndLong, help: "Do not ask, where what was found leaves no doubt.")
  var yes = false
  @Flag(name: .shortAndLong, help: "Show each difference of the schema.") var verbose = false

  func validate() throws { try reason.map(checkReason) }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let updater = session.localUpdater()
      try await updater.checkCanMend()
      let found = try await updater.adoption(at: at)
      if let at { return try await adopt(at, found, updater, session) }
      return try await propose(found, updater, session)
    }
  }

  /// A person's word counts, also against what was found; at the terminal it is then asked for once more.
  private func adopt(
    _ version: SchemaVersion, _ found: Adoption, _ updater: Updater, _ session: Session
  ) async throws(Failure) -> Int32 {
    if !found.warnings.isEmpty {
      for line in warnings(found) { session.output.complain(line) }
      guard yes || !session.hasPerson || session.confirm("Adopt at version \(version)?") else {
        throw session.noYes("An adoption")
      }
    }
    try await write(version, found, updater, session)
    return 0
  }

  private func propose(
    _ found: Adoption, _ updater: Updater, _ session: Session
  ) async throws(Failure) -> Int32 {
    guard found.isCertain, let version = found.proposal else {
      let choices = try MigrationCatalog(
        directory: session.config.settings.migrationsDirectory
      ).migrations.map(\.version.description).joined(separator: ", ")
      return try refuse(
        Failure(
          .unadopted, "Nothing says for certain at which version the database is.",
          file: found.path,
          howToClear:
            "Say it: `chock adopt --at VERSION`, with one of \(choices); 0 means that none of the files is in it."
        ), found, session)
    }
    if yes {
      try await write(version, found, updater, session)
      return 0
    }
    guard session.hasPerson else { return try refuse(session.noYes("An adoption"), found, session) }
    for line in lines(found, session.output) { session.output.complain(line) }
    guard session.confirm("Adopt at version \(version)?") else {
      throw session.noYes("An adoption")
    }
    try await write(version, found, updater, session)
    return 0
  }

  private func write(
    _ version: SchemaVersion, _ found: Adoption, _ updater: Updater, _ session: Session
  ) async throws(Failure) {
    // Where nobody has said for which version it is, the proposal is what was compared.
    let adopted = try await updater.adopt(
      at: version, seen: found.hash, reason: reason, by: Session.user)
    try session.output.result(adopted, ["Adopted \(adopted.path) at version \(version)."])
  }

  private func refuse(
    _ failure: Failure, _ found: Adoption, _ session: Session
  ) throws(Failure) -> Int32 {
    try session.output.result(
      FoundDocument(found: found, error: failure), lines(found, session.output))
    session.output.complain("chock: " + Output.words(failure).joined(separator: "\n  "))
    return failure.exitCode
  }

  // MARK: Words

  private func lines(_ found: Adoption, _ output: Output) -> [String] {
    var lines = ["Database   \(found.path)"]
    for finding in found.findings {
      let version = finding.version.map { "version \($0). " } ?? ""
      lines.append(
        "Found      \(finding.table) of \(finding.tool.rawValue), \(finding.rows) \(finding.rows == 1 ? "row" : "rows"): \(version)\(finding.reason)"
      )
    }
    if found.findings.isEmpty {
      lines.append("Found      no table of another tool that chock knows")
    }
    if found.userVersion != 0 {
      lines.append(
        "Found      user_version \(found.userVersion): the application's own, not gone by")
    }
    if found.exact.isEmpty, let version = found.comparedWith {
      let count = found.matches.first { $0.version == version }?.differences
      lines.append(
        "Schema     like that of no version"
          + (count.map { "; \($0) \($0 == 1 ? "difference" : "differences") to version \(version)" }
            ?? ""))
    } else {
      let versions = found.exact.map(\.description).joined(separator: ", ")
      lines.append("Schema     exactly that of version \(versions)")
    }
    lines += warnings(found)
    let proposal = found.proposal.map { "version \($0)" } ?? "none"
    lines.append(output.bold("Proposal   \(proposal)\(found.isCertain ? "" : ", not certain")"))
    lines.append("           \(found.reason)")
    return lines
  }

  /// With the differences that they speak of.
  private func warnings(_ found: Adoption) -> [String] {
    var lines = found.warnings.map { "Warning    \($0)" }
    let most = verbose ? found.differences.count : 5
    for difference in found.differences.prefix(most) {
      lines.append("           \(difference.kind) \(difference.object) \(difference.name)")
      guard verbose else { continue }
      lines += [("expected", difference.expected), ("found", difference.found)].compactMap {
        what, sql in sql.map { "             \(what): \($0)" }
      }
    }
    if found.differences.count > most {
      lines.append("           and \(found.differences.count - most) more: --verbose lists all")
    }
    return lines
  }
}

/// What was found, and why nothing was written.
private struct FoundDocument: Encodable {
  var found: Adoption
  var error: Failure

  private enum Keys: CodingKey { case error }

  func encode(to encoder: any Encoder) throws {
    try found.encode(to: encoder)
    var container = encoder.container(keyedBy: Keys.self)
    try container.encode(error, forKey: .error)
  }
}
