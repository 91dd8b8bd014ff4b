import Migrations
import Storage

/// One statement of a script as its author wrote it. SQLite itself says whether it is right.
struct SQLStatement {
  /// Without what stands before it.
  var text: String
  /// The line of its first word.
  var line: Int
  var tokens: [SQLToken]

  /// The statements of a section: a `;` ends one, but inside a trigger only behind END.
  static func all(of section: SQLSection) -> [SQLStatement] {
    let bytes = Array(section.text.utf8)
    var found: [SQLStatement] = []
    var open: [SQLToken] = []
    func close() {
      defer { open = [] }
      guard let first = open.first, let last = open.last, first.text != ";" else { return }
      let text = String(
        decoding: bytes[first.range.lowerBound..<last.range.upperBound], as: UTF8.self)
      found.append(SQLStatement(text: text, line: first.line, tokens: open))
    }
    for token in SQLToken.all(of: section.text, firstLine: section.firstLine) {
      open.append(token)
      guard token.kind == .symbol, token.text == ";" else { continue }
      if isTrigger(open) {
        // ... ; END ;
        let tail = open.suffix(3)
        guard tail.count == 3, tail.first?.text == ";",
          tail.dropFirst().first?.isWord("end") == true
        else { continue }
      }
      close()
    }
    close()
    return found
  }

  private static func isTrigger(_ tokens: [SQLToken]) -> Bool {
    guard tokens.first?.isWord("create") == true else { return false }
    let second = tokens.dropFirst().first { !$0.isWord("temp") && !$0.isWord("temporary") }
    return second?.isWord("trigger") == true
  }

  /// Its first word in lower case.
  var verb: String { tokens.first.map(\.meaning) ?? "" }

  /// The line of the first place that names something.
  func line(naming name: String) -> Int? {
    let meaning = SQLName.lowered(name)
    return tokens.first { ($0.kind == .word || $0.kind == .name) && $0.meaning == meaning }?.line
  }

  /// All words and quoted names in it.
  var names: Set<TableKey> {
    Set(tokens.filter { $0.kind == .word || $0.kind == .name }.map { TableKey($0.text) })
  }

  /// Its words outside any parentheses, in lower case; an opening parenthesis stands for what is in it.
  var outerWords: [String] {
    var depth = 0
    var words: [String] = []
    for token in tokens {
      if token.kind == .symbol, token.text == ")" { depth -= 1 }
      if depth == 0 { words.append(token.meaning) }
      if token.kind == .symbol, token.text == "(" { depth += 1 }
    }
    return words
  }

  /// What an ALTER TABLE does.
  enum Alteration {
    case renameTable(to: String)
    case renameColumn(String, to: String)
    case addColumn(String)
    case dropColumn(String)
  }

  var alteration: Alteration? {
    guard verb == "alter" else { return nil }
    // ALTER TABLE name | ALTER TABLE schema.name
    let hasSchema = tokens.count > 3 && tokens[3].text == "." && tokens[3].kind == .symbol
    let rest = tokens.dropFirst(hasSchema ? 5 : 3).filter { $0.text != ";" }
    guard let first = rest.first else { return nil }
    let names = rest.dropFirst().filter { !$0.isWord("column") }
    guard let name = names.first else { return nil }
    if first.isWord("add") { return .addColumn(name.text) }
    if first.isWord("drop") { return .dropColumn(name.text) }
    guard first.isWord("rename"), let last = names.last else { return nil }
    return name.isWord("to") ? .renameTable(to: last.text) : .renameColumn(name.text, to: last.text)
  }

  /// The name of what a DROP INDEX, TRIGGER, VIEW or TABLE removes.
  var dropped: String? {
    guard verb == "drop" else { return nil }
    return tokens.last { $0.text != ";" }?.text
  }
}
