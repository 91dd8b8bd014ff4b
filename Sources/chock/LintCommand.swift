import ArgumentParser
import Authoring
import Migrations
import Storage
import Updating

struct LintCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lint",
    abstract: "Looks for what is dangerous in migration files.",
    discussion: """
      Needs no database: the files are applied to one in memory. 0, or 65 when a finding is an error. \
      `-- lint: allow ID reason` in a file silences a rule for that file.
      """)

  @OptionGroup var globals: Globals
  @Argument(
    help: "Files, or folders of them; else migrations.directory. A file is looked at in its folder."
  )
  var paths: [String] = []
  @Flag(help: "A warning counts as an error.") var strict = false
  @Option(
    help: ArgumentHelp(
      "Leave out what older versions have: those that are released cannot change.",
      valueName: "version"))
  var after: SchemaVersion?
  @Flag(help: "List the rules.") var rules = false
  @Option(help: ArgumentHelp("Explain a rule.", valueName: "id")) var explain: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      if rules || explain != nil { return try explain(session.output) }
      let paths = paths.isEmpty ? [session.config.settings.migrationsDirectory] : paths
      var findings: [Finding] = []
      for path in paths { findings += try self.findings(path) }
      let document = LintDocument(findings)
      try session.output.result(document, lines(document, session.output))
      return document.errors > 0 || (strict && document.warnings > 0) ? 65 : 0
    }
  }

  private func findings(_ path: String) throws(Failure) -> [Finding] {
    var name: Substring?
    if FileSystem.facts(path)?.isRegular == true {
      guard path.lowercased().hasSuffix(".sql") else {
        throw Failure(
          .usage, "\(path) is not the name of a migration.",
          howToClear: "Name files that end in .sql, or a folder.")
      }
      name = path.split(separator: "/").last
    }
    return try Lint.findings(directory: name == nil ? path : FileSystem.parent(path)).filter {
      (name == nil || $0.file.split(separator: "/").last == name)
        && ($0.version.map { $0 > after ?? .zero } ?? true)
    }
  }

  // MARK: Words

  private func lines(_ document: LintDocument, _ output: Output) -> [String] {
    guard !document.findings.isEmpty else { return ["Nothing found."] }
    var lines: [String] = []
    for finding in document.findings { lines += output.lines(finding) }
    lines.append(
      "Errors: \(document.errors), warnings: \(document.warnings). `chock lint --explain ID` says more."
    )
    return lines
  }

  private func explain(_ output: Output) throws(Failure) -> Int32 {
    var chosen = LintRule.allCases
    if let explain {
      guard let rule = LintRule(rawValue: explain) else {
        let near = nearest(to: explain, among: chosen.map(\.id))
        throw Failure(
          .usage, "There is no rule \(explain)." + (near.map { " Did you mean \($0)?" } ?? ""),
          howToClear: "`chock lint --rules` lists them.")
      }
      chosen = [rule]
    }
    try output.result(
      RulesDocument(rules: chosen.map(RulesDocument.Rule.init)),
      explain == nil
        ? chosen.map { "\($0.id): \($0.title) (\($0.severity.rawValue))" }
        : chosen.flatMap { rule in
          [
            output.bold("\(rule.id) (\(rule.severity.rawValue))"), rule.title, "", rule.explanation,
            "", "Not:", rule.example.bad, "", "Safe: \(rule.safeWay)", rule.example.safe,
          ]
        })
    return 0
  }
}

extension Output {
  func lines(_ finding: Finding) -> [String] {
    let rule = bold("\(finding.severity.rawValue) \(finding.rule.id)")
    return [
      "\(finding.file):\(finding.line): \(rule): \(finding.message)", "  Safe: \(finding.safeWay)",
    ]
  }
}

private struct LintDocument: Encodable {
  var schema = "chock.LINT/1"
  var errors: Int
  var warnings: Int
  var findings: [Finding]

  init(_ findings: [Finding]) {
    self.findings = findings
    errors = findings.count { $0.severity == .error }
    warnings = findings.count - errors
  }
}

private struct RulesDocument: Encodable {
  var schema = "chock.LINT-RULES/1"
  var rules: [Rule]

  struct Rule: Encodable {
    var id: String
    var severity: LintRule.Severity
    var title: String
    var explanation: String
    var safeWay: String
    var bad: String
    var safe: String

    init(_ rule: LintRule) {
      id = rule.id
      severity = rule.severity
      title = rule.title
      explanation = rule.explanation
      safeWay = rule.safeWay
      bad = rule.example.bad
      safe = rule.example.safe
    }
  }
}
