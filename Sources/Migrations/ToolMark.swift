/// A comment line by which another tool tells the parts of its files apart, as that tool defines it.
struct ToolMark {
  enum Tool: String {
    case dbmate, goose, sqlx
  }

  enum Meaning: Equatable {
    case up(isTransaction: Bool)
    case down(isTransaction: Bool)
    /// Holds for both parts.
    case noTransaction
    /// What chock has no need of: SQLite's own parser finds the end of a statement.
    case nothing
  }

  var tool: Tool
  var meaning: Meaning

  /// Nil when the comment is no mark of another tool.
  ///
  /// - Throws: `.migrationFile` for a mark that chock cannot obey.
  init?(_ comment: ScriptScanner.LineComment, in source: MigrationSource) throws(Failure) {
    let text = comment.text
    if text.hasPrefix("migrate:"), text.dropFirst("migrate:".count).first?.isWhitespace == false {
      tool = .dbmate
      meaning = try Self.dbmate(comment, in: source)
    } else if text.hasPrefix("+"), SQLName.lowered(text).hasPrefix("+goose") {
      tool = .goose
      meaning = try Self.goose(comment, in: source)
    } else if comment.line == 1, text == "no-transaction" {
      tool = .sqlx
      meaning = .noTransaction
    } else if let other = Self.unreadable(text) {
      // Read as plain SQL, the part that undoes would run right behind the part that does.
      throw source.failure(
        "-- \(text) is a mark of \(other), whose files chock does not read.", line: comment.line,
        howToClear: "Move the part that undoes into a rollback file, and remove the marks.")
    } else {
      return nil
    }
  }

  /// `-- migrate:up transaction:false`
  private static func dbmate(
    _ comment: ScriptScanner.LineComment, in source: MigrationSource
  ) throws(Failure) -> Meaning {
    let words = comment.text.split(whereSeparator: \.isWhitespace)
    let marks = ["migrate:up", "migrate:down"]
    guard let mark = words.first, marks.contains(String(mark)) else {
      let found = words.first.map(String.init) ?? ""
      throw source.failure(
        "dbmate has no mark \(found).\(suggestion(for: found, among: marks))", line: comment.line,
        howToClear: "Write -- migrate:up or -- migrate:down.")
    }
    var isTransaction = true
    for option in words.dropFirst() {
      guard ["transaction:false", "transaction:true"].contains(option) else {
        throw source.failure(
          "The option \(option) of -- \(mark) is not understood.", line: comment.line,
          howToClear: "Write transaction:false or transaction:true, or remove it.")
      }
      isTransaction = option == "transaction:true"
    }
    return mark == "migrate:up"
      ? .up(isTransaction: isTransaction) : .down(isTransaction: isTransaction)
  }

  /// `-- +goose Up`; the case of letters does not count.
  private static func goose(
    _ comment: ScriptScanner.LineComment, in source: MigrationSource
  ) throws(Failure) -> Meaning {
    let words = SQLName.lowered(comment.text).split(whereSeparator: \.isWhitespace)
    switch words.dropFirst().joined(separator: " ") {
    case "up": return .up(isTransaction: true)
    case "down": return .down(isTransaction: true)
    case "no transaction": return .noTransaction
    case "statementbegin", "statementend", "envsub off", "envsubst off": return .nothing
    case "envsub on", "envsubst on":
      throw source.failure(
        "-- \(comment.text) asks for values of environment variables, which chock does not fill in.",
        line: comment.line,
        howToClear: "Write the values out, or ask the person for them with an Input header.")
    default:
      let marks = ["Up", "Down", "NO TRANSACTION", "StatementBegin", "StatementEnd"]
      throw source.failure(
        "goose has no mark \(comment.text)."
          + suggestion(for: comment.text, among: marks.map { "+goose \($0)" }),
        line: comment.line, howToClear: "Use one of \(marks.joined(separator: ", ")).")
    }
  }

  private static func unreadable(_ text: String) -> String? {
    if text.hasPrefix("+"), SQLName.lowered(text).hasPrefix("+migrate ") { return "sql-migrate" }
    // A search in text takes long, and most comments have no slash.
    if text.utf8.contains(UInt8(ascii: "/")), text.contains("create above / drop below") {
      return "tern"
    }
    return nil
  }
}

/// What the marks of other tools say about one file.
struct ToolMarks {
  private let source: MigrationSource
  /// Nil: a file in chock's own format, or plain SQL.
  private(set) var tool: ToolMark.Tool?
  private var hasOwnMarks = false
  private var hasUp = false
  private var hasDown = false
  private(set) var upIsTransaction = true
  private(set) var downIsTransaction = true

  init(_ source: MigrationSource) {
    self.source = source
  }

  /// True for files in which the tool's marks enclose all SQL.
  var hasParts: Bool { tool == .dbmate || tool == .goose }

  mutating func take(_ mark: ToolMark, line: Int) throws(Failure) {
    guard !hasOwnMarks, tool == nil || tool == mark.tool else {
      throw mixed(mark.tool.rawValue, hasOwnMarks ? "chock" : tool?.rawValue ?? "", line: line)
    }
    tool = mark.tool
    switch mark.meaning {
    case .up(let isTransaction):
      guard !hasUp else { throw twice("up", line: line) }
      guard !hasDown else { throw wrongOrder(line: line) }
      hasUp = true
      if !isTransaction { upIsTransaction = false }
    case .down(let isTransaction):
      guard !hasDown else { throw twice("down", line: line) }
      guard hasUp else { throw wrongOrder(line: line) }
      hasDown = true
      if !isTransaction { downIsTransaction = false }
    case .noTransaction:
      upIsTransaction = false
      downIsTransaction = false
    case .nothing: break
    }
  }

  /// Notes one of chock's own section marks.
  mutating func takeOwn(line: Int) throws(Failure) {
    if let tool { throw mixed("chock", tool.rawValue, line: line) }
    hasOwnMarks = true
  }

  /// Whether this is a file of plain SQL or of chock's sections, or one with an up part.
  func check() throws(Failure) {
    guard !hasParts || hasUp else {
      throw source.failure(
        "\(source.fileName) has marks of \(tool?.rawValue ?? ""), and no up part.", line: 1,
        howToClear: "Put the mark of the up part above the statements.")
    }
  }

  /// True when chock's own section marks were found.
  var isOwn: Bool { hasOwnMarks }

  private func mixed(_ one: String, _ other: String, line: Int) -> Failure {
    source.failure(
      "This is a mark of \(one), in a file with marks of \(other).", line: line,
      howToClear: "Keep the marks of one of them.")
  }

  private func twice(_ part: String, line: Int) -> Failure {
    source.failure(
      "The \(part) part begins twice.", line: line, howToClear: "Join the two parts.")
  }

  private func wrongOrder(line: Int) -> Failure {
    source.failure(
      "The down part begins before there is an up part.", line: line,
      howToClear: "Put the up part first.")
  }
}
