public import Migrations
import SQLite
import Storage

/// Something in a migration file that breaks a rule.
public struct Finding: Sendable, Equatable, Codable {
  public var rule: LintRule
  public var severity: LintRule.Severity
  /// Nil when the file could not be read.
  public var version: SchemaVersion?
  /// The path of the file.
  public var file: String
  public var line: Int
  /// What was found, in one sentence.
  public var message: String
  /// The SQL statement, shortened to a few hundred characters.
  public var statement: String?
  public var explanation: String
  public var safeWay: String

  init(
    rule: LintRule, version: SchemaVersion?, file: String, line: Int, _ message: String,
    statement: String? = nil
  ) {
    self.rule = rule
    severity = rule.severity
    self.version = version
    self.file = file
    self.line = line
    self.message = message
    self.statement = statement
    explanation = rule.explanation
    safeWay = rule.safeWay
  }
}

/// Looks for what is allowed in a migration file, and is dangerous on a coach all the same.
public enum Lint {
  /// Looks at all files of a folder: applies them one after the other to a database in memory, and compares the
  /// schema before and after each.
  ///
  /// - Returns: the findings in the order of the files, each with its rollback file behind it; what cannot be
  ///   read first.
  /// - Throws: `.migrationsMissing` or `.inputOutput` for the folder; what is wrong inside the files is a
  ///   finding.
  public static func findings(directory: String) throws(Failure) -> [Finding] {
    let (catalog, problems) = try MigrationCatalog.read(directory: directory)
    let unread = (problems + catalog.voidBaselines).map { problem in
      Finding(
        rule: .file, version: nil, file: problem.file ?? directory, line: problem.line ?? 1,
        problem.message + (problem.howToClear.map { " \($0)" } ?? ""))
    }
    return unread + (try findings(in: catalog))
  }

  /// The same for files that have been read.
  public static func findings(in catalog: MigrationCatalog) throws(Failure) -> [Finding] {
    let scratch = try Scratch()
    let connection = scratch.connection
    var findings: [Finding] = []
    var unindexed: Set<String> = []
    func execute(_ sql: String) throws(Failure) {
      try Database.catching("the scratch database") { () throws(SQLiteError) in
        try connection.execute(sql)
      }
    }
    func enforceForeignKeys(for file: Migration) throws(Failure) {
      try execute("PRAGMA foreign_keys = \(file.enforcesForeignKeys ? "ON" : "OFF")")
    }
    try Database.catching("the scratch database") { () throws(SQLiteError) in
      try LedgerTable.create(connection)
    }
    var shape = try Shape(connection)
    for migration in catalog.migrations {
      let rollback = catalog.rollbacks[migration.version]
      try enforceForeignKeys(for: migration)
      var file = try LintedFile(
        migration, on: scratch, before: shape)
      try file.check(hasRollback: rollback != nil, unindexed: &unindexed, on: connection)
      findings += allowed(file.findings, in: migration)
      if let rollback {
        try enforceForeignKeys(for: rollback)
        try execute("SAVEPOINT before")
        // What was there before the migration has to be there again.
        var back = try LintedFile(
          rollback, on: scratch, before: file.after, earlier: shape)
        var unindexedBefore = unindexed
        try back.check(hasRollback: true, unindexed: &unindexedBefore, on: connection)
        if !connection.isAutocommit { try execute("ROLLBACK TO before; RELEASE before") }
        findings += allowed(back.findings, in: rollback)
      }
      shape = file.after
    }
    return findings
  }

  /// Leaves out what the file allows, and adds what is wrong with its allowances.
  private static func allowed(_ findings: [Finding], in file: Migration) -> [Finding] {
    var left = findings
    func note(_ line: Int, _ message: String) {
      left.append(
        Finding(rule: .allow, version: file.version, file: file.path, line: line, message))
    }
    for comment in file.lintNotes {
      let words = comment.text.split(separator: " ", maxSplits: 2).map(String.init)
      guard words.first == "allow", words.count > 1 else {
        note(comment.line, "\"\(comment.text)\" is not understood.")
        continue
      }
      let id = words[1]
      guard let rule = LintRule(rawValue: id), rule.canBeAllowed else {
        let ids = LintRule.allCases.filter(\.canBeAllowed).map(\.id)
        let what =
          LintRule(rawValue: id) == nil ? "There is no rule \(id)." : "\(id) cannot be allowed."
        note(
          comment.line,
          what + (LintRule(rawValue: id) == nil ? suggestion(for: id, among: ids) : ""))
        continue
      }
      guard words.count == 3 else {
        note(comment.line, "The allowance of \(id) gives no reason.")
        continue
      }
      guard findings.contains(where: { $0.rule == rule }) else {
        note(comment.line, "The file has nothing that \(id) would find.")
        continue
      }
      left.removeAll { $0.rule == rule }
    }
    return left.sorted { ($0.line, $0.rule.id, $0.message) < ($1.line, $1.rule.id, $1.message) }
  }

  /// " Did you mean X?" when there is a near candidate, else nothing.
  static func suggestion(for text: String, among candidates: [String]) -> String {
    nearest(to: text, among: candidates).map { " Did you mean \($0)?" } ?? ""
  }
}
