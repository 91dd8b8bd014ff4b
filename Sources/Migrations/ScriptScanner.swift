/// Walks over a script and tells line comments from SQL: the little of SQLite's grammar that finds
/// section marks.
///
/// Statements are not split here; the runner does that with the tail of `sqlite3_prepare_v3`.
struct ScriptScanner {
  enum Element {
    case comment(LineComment)
    /// A word, literal or symbol of a statement; a lone `;` is none.
    case sql(line: Int)
  }

  struct LineComment {
    /// What follows `--`, without blanks around it.
    var text: String
    var line: Int
    /// Where its line begins, and where the next line begins, as offsets in bytes.
    var lineStart: Int
    var nextLineStart: Int
    /// True when nothing but blanks stands before it on its line, and it is not inside a trigger's
    /// body.
    var opensLine: Bool
  }

  private let source: MigrationSource
  private var position = 0
  private var line = 1
  private var lineStart = 0
  private var lineIsBlank = true
  private var statement = Statement.start

  /// How far the statement is read, after the state machine of `sqlite3_complete`: only in a
  /// trigger does a `;` not end the statement.
  private enum Statement {
    case start
    case create(line: Int)
    case plain
    case trigger(line: Int, afterSemicolon: Bool)
  }

  init(_ source: MigrationSource) {
    self.source = source
  }

  /// The next element, nil at the end; throws `.migrationFile` when a quote, a comment or a trigger
  /// is left open, since it has swallowed whatever marks came after it.
  mutating func next() throws(Failure) -> Element? {
    let bytes = source.bytes
    while position < bytes.count {
      let byte = bytes[position]
      switch byte {
      case UInt8(ascii: "\n"):
        position += 1
        startLine()
      case UInt8(ascii: " "), UInt8(ascii: "\t"), 0x0B, 0x0C:
        position += 1
      case UInt8(ascii: "-") where followed(by: UInt8(ascii: "-")):
        return .comment(readComment())
      case UInt8(ascii: "/") where followed(by: UInt8(ascii: "*")):
        try skipBlockComment()
      case UInt8(ascii: ";"):
        position += 1
        lineIsBlank = false
        if case .trigger(let start, _) = statement {
          statement = .trigger(line: start, afterSemicolon: true)
        } else {
          statement = .start
        }
      default:
        lineIsBlank = false
        let start = line
        if let closing = Self.closing(of: byte) {
          try skipQuoted(until: closing)
          advance(word: nil)
        } else if Self.isWord(byte) {
          advance(word: readWord())
        } else {
          position += 1
          advance(word: nil)
        }
        return .sql(line: start)
      }
    }
    if case .trigger(let start, _) = statement {
      throw source.failure(
        "The CREATE TRIGGER that starts here never reaches its END.", line: start,
        howToClear: "End the trigger's body with END;")
    }
    return nil
  }

  /// - Parameter range: of the word; nil for what is none.
  private mutating func advance(word range: Range<Int>?) {
    // Most words are in plain statements, where they do not matter.
    if case .plain = statement { return }
    let word = range.map { source.text($0).lowercased() }
    switch statement {
    case .start: statement = word == "create" ? .create(line: line) : .plain
    case .create(let start):
      switch word {
      case "temp", "temporary": break
      case "trigger": statement = .trigger(line: start, afterSemicolon: false)
      default: statement = .plain
      }
    case .plain: break
    // The END of a CASE never follows a semicolon; that of the body always does.
    case .trigger(_, afterSemicolon: true) where word == "end": statement = .plain
    case .trigger(let start, _): statement = .trigger(line: start, afterSemicolon: false)
    }
  }

  private mutating func startLine() {
    line += 1
    lineStart = position
    lineIsBlank = true
  }

  private mutating func readComment() -> LineComment {
    let bytes = source.bytes
    let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count
    var opensLine = lineIsBlank
    if case .trigger = statement { opensLine = false }
    let comment = LineComment(
      text: source.text(position + 2..<end).trimmed(), line: line, lineStart: lineStart,
      nextLineStart: min(end + 1, bytes.count), opensLine: opensLine)
    position = end
    lineIsBlank = false
    return comment
  }

  private mutating func skipBlockComment() throws(Failure) {
    let bytes = source.bytes
    let start = line
    position += 2
    while position < bytes.count {
      if bytes[position] == UInt8(ascii: "*"), followed(by: UInt8(ascii: "/")) {
        position += 2
        lineIsBlank = false
        return
      }
      position += 1
      if bytes[position - 1] == UInt8(ascii: "\n") { startLine() }
    }
    throw source.failure(
      "The comment that starts here is never closed.", line: start, howToClear: "Close it with */.")
  }

  /// A doubled quote inside needs no case of its own: it closes the text and opens it again.
  private mutating func skipQuoted(until closing: UInt8) throws(Failure) {
    let bytes = source.bytes
    let start = line
    position += 1
    while position < bytes.count {
      position += 1
      if bytes[position - 1] == closing {
        lineIsBlank = false
        return
      }
      if bytes[position - 1] == UInt8(ascii: "\n") { startLine() }
    }
    let quote = String(UnicodeScalar(closing))
    throw source.failure(
      "The quoted text that starts here is never closed.", line: start,
      howToClear: "Close it with \(quote).")
  }

  private mutating func readWord() -> Range<Int> {
    let start = position
    while position < source.bytes.count, Self.isWord(source.bytes[position]) { position += 1 }
    return start..<position
  }

  private func followed(by byte: UInt8) -> Bool {
    position + 1 < source.bytes.count && source.bytes[position + 1] == byte
  }

  private static func closing(of byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "'"), UInt8(ascii: "\""), UInt8(ascii: "`"): byte
    case UInt8(ascii: "["): UInt8(ascii: "]")
    default: nil
    }
  }

  static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...:
      true
    default: false
    }
  }
}

extension StringProtocol {
  /// Without blanks at both ends.
  func trimmed() -> String {
    guard let first = firstIndex(where: { !$0.isWhitespace }),
      let last = lastIndex(where: { !$0.isWhitespace })
    else { return "" }
    return String(self[first...last])
  }
}
