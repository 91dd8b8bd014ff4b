/// A word, literal or symbol of SQL, with its place: enough to compare two statements and to see what one does.
/// SQLite itself says whether a statement is right.
public struct SQLToken: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// A keyword or a name that is not quoted.
    case word
    /// A name in double quotes, backquotes or brackets.
    case name
    /// `'text'`
    case string
    /// `x'00ff'`
    case blob
    case number
    /// `:name`, `?`, `@x`, `$x`
    case parameter
    case symbol
  }

  public var kind: Kind
  /// As it is written; of a name or string what is between the quotes, with doubled ones as one.
  public var text: String
  /// The line of its first byte, counted from the number that the caller gave.
  public var line: Int
  /// Where it stands in the text: byte offsets.
  public var range: Range<Int>

  /// What tokens that mean the same have in common: SQLite does not tell `Name`, `NAME` and `"name"` apart.
  public var meaning: String {
    switch kind {
    case .word, .name: SQLName.lowered(text)
    case .string: "'\(text)'"
    case .blob: SQLName.lowered("x'\(text)'")
    case .number, .parameter, .symbol: text
    }
  }

  /// True for an unquoted word, whatever its case.
  public func isWord(_ word: String) -> Bool { kind == .word && SQLName.lowered(text) == word }

  /// Every token of `sql`, without comments and white space. What is left open ends with the text.
  public static func all(of sql: String, firstLine: Int = 1) -> [SQLToken] {
    var reader = SQLTokenReader(bytes: Array(sql.utf8), line: firstLine)
    var tokens: [SQLToken] = []
    while let token = reader.next() { tokens.append(token) }
    return tokens
  }
}

/// Names as SQLite compares them.
public enum SQLName {
  /// With ASCII letters in lower case, and all others as they are.
  public static func lowered(_ text: String) -> String {
    String(decoding: text.utf8.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
  }
}

private struct SQLTokenReader {
  let bytes: [UInt8]
  var line: Int
  private var position = 0

  init(bytes: [UInt8], line: Int) {
    self.bytes = bytes
    self.line = line
  }

  mutating func next() -> SQLToken? {
    skipBlanksAndComments()
    guard position < bytes.count else { return nil }
    let start = position
    let line = line
    let byte = bytes[position]
    func token(_ kind: SQLToken.Kind, _ text: some Sequence<UInt8>) -> SQLToken {
      SQLToken(
        kind: kind, text: String(decoding: Array(text), as: UTF8.self), line: line,
        range: start..<position)
    }
    switch byte {
    case UInt8(ascii: "'"): return token(.string, quoted(by: byte))
    case UInt8(ascii: "\""), UInt8(ascii: "`"): return token(.name, quoted(by: byte))
    case UInt8(ascii: "["):
      let end = bytes[position...].firstIndex(of: UInt8(ascii: "]")) ?? bytes.count
      advance(to: min(end + 1, bytes.count))
      return token(.name, bytes[(start + 1)..<end])
    case UInt8(ascii: "x"), UInt8(ascii: "X"):
      guard position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "'") else { break }
      position += 1
      return token(.blob, quoted(by: UInt8(ascii: "'")))
    case UInt8(ascii: "?"), UInt8(ascii: ":"), UInt8(ascii: "@"), UInt8(ascii: "$"):
      position += 1
      while position < bytes.count, Self.isWord(bytes[position]) { position += 1 }
      return token(.parameter, bytes[start..<position])
    case UInt8(ascii: "."):
      guard position + 1 < bytes.count, Self.isDigit(bytes[position + 1]) else { break }
      return token(.number, number())
    default: break
    }
    if Self.isDigit(byte) { return token(.number, number()) }
    if Self.isWord(byte) {
      while position < bytes.count, Self.isWord(bytes[position]) { position += 1 }
      return token(.word, bytes[start..<position])
    }
    // `||` and `<=` are two symbols: that does not matter for what is asked here.
    position += 1
    return token(.symbol, [byte])
  }

  private mutating func number() -> ArraySlice<UInt8> {
    let start = position
    while position < bytes.count {
      let byte = bytes[position]
      let isSign = byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-")
      let afterExponent = position > start && bytes[position - 1] | 0x20 == UInt8(ascii: "e")
      guard Self.isWord(byte) || byte == UInt8(ascii: ".") || (isSign && afterExponent) else {
        break
      }
      position += 1
    }
    return bytes[start..<position]
  }

  private mutating func quoted(by quote: UInt8) -> [UInt8] {
    var text: [UInt8] = []
    position += 1
    while position < bytes.count {
      let byte = bytes[position]
      position += 1
      if byte == quote {
        guard position < bytes.count, bytes[position] == quote else { return text }
        position += 1
      }
      if byte == UInt8(ascii: "\n") { line += 1 }
      text.append(byte)
    }
    return text
  }

  private mutating func skipBlanksAndComments() {
    while position < bytes.count {
      let byte = bytes[position]
      if byte == 0x20 || (0x09...0x0d).contains(byte) {
        advance(to: position + 1)
      } else if byte == UInt8(ascii: "-"), follows(UInt8(ascii: "-")) {
        advance(to: bytes[position...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.count)
      } else if byte == UInt8(ascii: "/"), follows(UInt8(ascii: "*")) {
        var end = position + 2
        while end < bytes.count,
          !(bytes[end] == UInt8(ascii: "/") && bytes[end - 1] == UInt8(ascii: "*")
            && end > position + 2)
        {
          end += 1
        }
        advance(to: min(end + 1, bytes.count))
      } else {
        return
      }
    }
  }

  private func follows(_ byte: UInt8) -> Bool {
    position + 1 < bytes.count && bytes[position + 1] == byte
  }

  private mutating func advance(to end: Int) {
    line += bytes[position..<end].count { $0 == UInt8(ascii: "\n") }
    position = end
  }

  private static func isDigit(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
  }

  private static func isWord(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"), 0x80...:
      true
    default: false
    }
  }
}
