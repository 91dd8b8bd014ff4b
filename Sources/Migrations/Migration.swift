/// A stretch of SQL of a migration file, with its place in that file.
public struct SQLSection: Hashable, Sendable {
  public var text: String
  /// The line in the file of the first line of `text`, counted from 1.
  public var firstLine: Int

  public init(text: String, firstLine: Int) {
    self.text = text
    self.firstLine = firstLine
  }
}

/// One migration file, read and checked: the format of docs/migration-files.md.
public struct Migration: Hashable, Sendable {
  public var version: SchemaVersion
  /// What follows the version in the file name: `add_route_versions`.
  public var name: String
  public var fileName: String
  public var path: String
  /// The Description header, or the name with `_` as spaces.
  public var summary: String
  public var requires: [SchemaVersion]
  /// The line of the Requires header, for messages.
  var requiresLine: Int?
  /// The time limit of this file; nil when it gives none.
  public var timeout: Duration?
  public var expectations: [TableExpectation]
  /// The stage of the application's plan that it belongs to; shown to people.
  public var phase: Int?
  /// How long its author expects it to take.
  public var estimatedTime: Duration?
  /// True with `Destructive: yes`: what it removes is meant.
  public var isDestructive: Bool
  /// True with `Technician: yes`: an owner cannot start it.
  public var needsTechnician: Bool
  /// The units that have to be started again after it.
  public var restart: [String]
  public var purpose: Purpose?
  /// What it asks a person, in the order of the headers.
  public var inputs: [MigrationInput]
  /// True with `Foreign-Keys: enforced`: the script relies on cascades.
  public var enforcesForeignKeys: Bool
  /// False with `Transaction: none`: each statement is committed by itself (VACUUM).
  public var runsInTransaction: Bool
  /// Queries that return problems, asked before anything is changed.
  public var preflight: [SQLSection]
  /// The change itself; never empty.
  public var migrate: [SQLSection]
  /// Queries that return problems, asked after the change and before the commit.
  public var validate: [SQLSection]
  /// The SHA-256 of the text in lowercase hexadecimal; line ends count as LF, a byte order mark
  /// does not count.
  public var checksum: String
  /// The files for which it stands on a new database, oldest first; only of a baseline file.
  public internal(set) var squashed: [Migration] = []
  /// The digest that a baseline file gives.
  var squashes: String?
  /// All of a baseline file; else empty.
  var text = ""
  /// Its `-- lint:` comments; they mean nothing to a run.
  public var lintNotes: [LintNote]

  /// What follows `-- lint:` on a line.
  public struct LintNote: Hashable, Sendable {
    public var text: String
    public var line: Int
  }

  /// What it is for.
  public enum Purpose: String, Hashable, Sendable, Codable, CaseIterable {
    case feature, safety, security
  }

  /// Parses one file, a migration or a rollback file; of a file with both parts the migration.
  ///
  /// Throws `.migrationFile` with file and line for a name, header, mark or quote that does not fit
  /// the format.
  public init(fileName: String, path: String, text: String) throws(Failure) {
    self = try Self.read(MigrationFileName(fileName, path: path), path: path, text: text).migration
  }

  /// Parses one file, in chock's format or that of another tool.
  ///
  /// - Parameter isForeign: what looks like a header and is none is prose, as in every file with another
  ///   tool's marks.
  /// - Returns: the rollback too, where the file has a down part. Its checksum is that of the file.
  static func read(
    _ parsedName: MigrationFileName, path: String, text: String, isForeign: Bool = false
  ) throws(Failure) -> (migration: Migration, rollback: Migration?) {
    let fileName = parsedName.fileName
    let source = try MigrationSource(fileName: fileName, path: path, text: text)
    var scanner = ScriptScanner(source)
    var sections = SectionCollector(source)
    var marks = ToolMarks(source)
    var upTop: [ScriptScanner.LineComment] = []
    var downTop: [ScriptScanner.LineComment] = []
    var upNotes: [LintNote] = []
    var downNotes: [LintNote] = []
    while let element = try scanner.next() {
      if case .comment(let comment) = element, comment.text.hasPrefix("lint:") {
        let text = comment.text.dropFirst("lint:".count).trimmed()
        let note = LintNote(text: text, line: comment.line)
        if sections.isInDownPart { downNotes.append(note) } else { upNotes.append(note) }
      }
      switch element {
      case .sql(let line): sections.noteSQL(line: line)
      case .comment(let comment) where comment.opensLine:
        if let mark = try ToolMark(comment, in: source) {
          try marks.take(mark, line: comment.line)
          switch mark.meaning {
          case .up: try sections.open(.migrate, at: comment)
          case .down: try sections.open(.down, at: comment)
          case .noTransaction, .nothing: break
          }
        } else if let kind = try SectionKind(markedBy: comment, in: source) {
          try marks.takeOwn(line: comment.line)
          try sections.open(kind, at: comment)
        } else if sections.isAtTop || (marks.hasParts && sections.isAtTopOfPart) {
          if sections.isInDownPart { downTop.append(comment) } else { upTop.append(comment) }
        }
      case .comment: break
      }
    }
    try marks.check()
    guard !(marks.hasParts && parsedName.isRollback) else {
      throw source.failure(
        "\(fileName) is a rollback file, and has the marks of a file with both parts.", line: 1,
        howToClear: "Keep the down part in the file of its migration, and remove this one.")
    }
    let found = try sections.finish(marks.hasParts ? "up" : "@migrate")
    if parsedName.isFlyway, !marks.isOwn { try source.refusePlaceholders() }

    let isForeign = isForeign || marks.tool != nil
    var headers = try MigrationHeaders(upTop, in: source, isForeign: isForeign)
    if !marks.upIsTransaction { headers.runsInTransaction = false }
    try headers.checkSquashes(isBaseline: parsedName.isBaseline, in: source)
    let migration = Migration(parsedName, source, headers, found, upNotes)
    guard let down = found[.down] else { return (migration, nil) }
    var downHeaders = try MigrationHeaders(downTop, in: source, isForeign: isForeign)
    if !marks.downIsTransaction { downHeaders.runsInTransaction = false }
    downHeaders.description = downHeaders.description ?? headers.description
    return (migration, Migration(parsedName, source, downHeaders, [.migrate: down], downNotes))
  }

  private init(
    _ parsedName: MigrationFileName, _ source: MigrationSource, _ headers: MigrationHeaders,
    _ found: [SectionKind: [SQLSection]], _ notes: [LintNote]
  ) {
    lintNotes = notes
    version = parsedName.version
    name = parsedName.name
    fileName = source.fileName
    path = source.path
    summary = headers.description ?? String(name.map { $0 == "_" ? " " : $0 })
    requires = headers.requires
    requiresLine = headers.requiresLine
    timeout = headers.timeout
    expectations = headers.expectations
    phase = headers.phase
    estimatedTime = headers.estimatedTime
    isDestructive = headers.isDestructive
    needsTechnician = headers.needsTechnician
    restart = headers.restart
    purpose = headers.purpose
    inputs = headers.inputs
    squashes = headers.squashes
    if squashes != nil { text = source.text(0..<source.bytes.count) }
    enforcesForeignKeys = headers.enforcesForeignKeys
    runsInTransaction = headers.runsInTransaction
    preflight = found[.preflight] ?? []
    migrate = found[.migrate] ?? []
    validate = found[.validate] ?? []
    checksum = sha256(source.bytes)
  }
}

private enum SectionKind: String {
  case preflight, migrate, validate
  /// What takes the migration back, in a file of another tool.
  case down

  private static let marked: [SectionKind] = [.preflight, .migrate, .validate]

  /// The section that the comment opens; nil when the comment is no mark.
  init?(markedBy comment: ScriptScanner.LineComment, in source: MigrationSource) throws(Failure) {
    guard comment.text.hasPrefix("@") else { return nil }
    let word = comment.text.dropFirst().prefix { $0.isLetter || $0.isNumber || $0 == "-" }
    guard !word.isEmpty else { return nil }
    let marks = Self.marked.map { "@" + $0.rawValue }
    guard let kind = Self(rawValue: String(word)), Self.marked.contains(kind) else {
      throw source.failure(
        "There is no section @\(word).\(suggestion(for: "@" + word, among: marks))",
        line: comment.line, howToClear: "Use one of \(marks.joined(separator: ", ")).")
    }
    guard comment.text.count == word.count + 1 else {
      throw source.failure(
        "Something follows the mark @\(word) on its line.", line: comment.line,
        howToClear: "Put -- @\(word) alone on its line.")
    }
    self = kind
  }
}

/// Cuts the script at its marks.
private struct SectionCollector {
  private let source: MigrationSource
  private var found: [SectionKind: [SQLSection]] = [:]
  private var open: (kind: SectionKind, start: Int, firstLine: Int)?
  private var hasSQL = false
  private var firstUnmarkedLine: Int?

  init(_ source: MigrationSource) {
    self.source = source
  }

  /// True before the first SQL and the first mark, where headers may stand.
  var isAtTop: Bool { open == nil && firstUnmarkedLine == nil }

  /// True behind a mark, before the first SQL that belongs to it.
  var isAtTopOfPart: Bool { open != nil && !hasSQL }

  var isInDownPart: Bool { open?.kind == .down }

  mutating func noteSQL(line: Int) {
    hasSQL = true
    if open == nil, firstUnmarkedLine == nil { firstUnmarkedLine = line }
  }

  mutating func open(_ kind: SectionKind, at mark: ScriptScanner.LineComment) throws(Failure) {
    if let line = firstUnmarkedLine {
      throw source.failure(
        "There is SQL before the first mark, -- \(mark.text) (line \(mark.line)).", line: line,
        howToClear: "Put it below the mark that it belongs to.")
    }
    close(end: mark.lineStart)
    open = (kind, mark.nextLineStart, mark.line + 1)
    hasSQL = false
  }

  mutating func finish(_ part: String) throws(Failure) -> [SectionKind: [SQLSection]] {
    if firstUnmarkedLine != nil {
      return [.migrate: [SQLSection(text: source.text(0..<source.bytes.count), firstLine: 1)]]
    }
    close(end: source.bytes.count)
    guard found[.migrate] != nil else {
      throw Failure(
        .migrationFile,
        "\(source.fileName) changes nothing: there is no SQL in its \(part) part.",
        file: source.path, howToClear: "Write the statements, or remove the file.")
    }
    return found
  }

  /// A section of comments only is no section: nothing would run.
  private mutating func close(end: Int) {
    guard let open, hasSQL else { return }
    found[open.kind, default: []].append(
      SQLSection(text: source.text(open.start..<end), firstLine: open.firstLine))
  }
}
