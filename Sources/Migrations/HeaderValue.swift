/// Reads the value of a header piece by piece, past the blanks between the pieces.
struct HeaderValue {
  private var rest: Substring

  init(_ text: String) {
    rest = text[...]
  }

  var isAtEnd: Bool {
    mutating get {
      skipBlanks()
      return rest.isEmpty
    }
  }

  /// Takes `text` when it is next; a word only as a whole.
  mutating func take(_ text: String) -> Bool {
    skipBlanks()
    guard rest.hasPrefix(text) else { return false }
    let behind = rest.dropFirst(text.count)
    if text.last?.isLetter == true, let next = behind.first, Self.isPart(next) { return false }
    rest = behind
    return true
  }

  /// Letters, digits and what else stands in names and numbers; nil when something else is next.
  mutating func word() -> String? {
    skipBlanks()
    let word = rest.prefix(while: Self.isPart)
    guard !word.isEmpty else { return nil }
    rest = rest[word.endIndex...]
    return String(word)
  }

  /// A name up to the next blank, comma or bracket, or one in double quotes.
  mutating func name() -> String? {
    if let quoted = quoted("\"") { return quoted.isEmpty ? nil : quoted }
    let name = rest.prefix { !$0.isWhitespace && !"\",()".contains($0) }
    guard !name.isEmpty else { return nil }
    rest = rest[name.endIndex...]
    return String(name)
  }

  /// A text between two of `quote`, in which a doubled one stands for one; nil, and nothing is taken, when
  /// there is none.
  mutating func quoted(_ quote: Character) -> String? {
    skipBlanks()
    guard rest.first == quote else { return nil }
    var text = ""
    var behind = rest.dropFirst()
    while let end = behind.firstIndex(of: quote) {
      text += behind[..<end]
      behind = behind[behind.index(after: end)...]
      guard behind.first == quote else {
        rest = behind
        return text
      }
      text.append(quote)
      behind = behind.dropFirst()
    }
    return nil
  }

  /// `'text'`, a whole number, or one with a fraction.
  mutating func literal() -> InputValue? {
    if let text = quoted("'") { return .text(text) }
    var behind = rest
    if let sign = behind.first, "+-".contains(sign) { behind = behind.dropFirst() }
    // A range is written 1..5.
    let whole = behind.prefix { $0.isASCII && $0.isNumber }
    guard !whole.isEmpty else { return nil }
    behind = behind[whole.endIndex...]
    if behind.first == ".", let digit = behind.dropFirst().first, digit.isASCII, digit.isNumber {
      let fraction = behind.dropFirst().prefix { $0.isASCII && $0.isNumber }
      behind = behind[fraction.endIndex...]
    }
    guard let value = InputValue(number: String(rest[..<behind.startIndex])) else { return nil }
    rest = behind
    return value
  }

  private mutating func skipBlanks() {
    rest = rest.drop(while: \.isWhitespace)
  }

  private static func isPart(_ letter: Character) -> Bool {
    letter.isLetter || letter.isNumber || "_-.".contains(letter)
  }
}
