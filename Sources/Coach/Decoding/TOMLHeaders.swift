/// Finds what stops TOMLKit 0.6: at a table's header whose name begins with what no name begins with (`[=`,
/// `[ä]`, `[[` at the end of a line) its parser ends the process by an assertion, in release builds too.
public enum TOMLHeaders {
  /// The first such line, counted from 1; nil when the parser can be given the text.
  ///
  /// A text of several lines or a list in a list is taken for a header, too, when a line of it begins so.
  public static func unreadableLine(of text: String) -> Int? {
    var line = 1
    var scalars = text.unicodeScalars[...]
    while !scalars.isEmpty {
      let end = scalars.firstIndex(where: isLineEnd) ?? scalars.endIndex
      if isUnreadable(scalars[..<end]) { return line }
      let ending = scalars[end...].first
      scalars = scalars[end...].dropFirst()
      // "\r\n" ends one line.
      if ending == "\r", scalars.first == "\n" { scalars = scalars.dropFirst() }
      if ending == "\r" || ending == "\n" { line += 1 }
    }
    return nil
  }

  private static func isUnreadable(_ line: Substring.UnicodeScalarView) -> Bool {
    var rest = line.drop(while: isBlank)
    guard rest.first == "[" else { return false }
    for _ in 1...2 where rest.first == "[" { rest = rest.dropFirst().drop(while: isBlank) }
    guard let first = rest.first else { return true }
    // "[]" and "[[]]" it refuses itself.
    return
      !(first.isASCII && first.properties.isAlphabetic || "0"..."9" ~= first
      || "_-\"']".unicodeScalars.contains(first))
  }

  private static func isBlank(_ scalar: Unicode.Scalar) -> Bool {
    scalar.properties.isWhitespace || scalar == "\u{FEFF}"
  }

  /// All that the parser takes for one.
  private static func isLineEnd(_ scalar: Unicode.Scalar) -> Bool {
    ["\n", "\u{B}", "\u{C}", "\r", "\u{85}", "\u{2028}", "\u{2029}"].contains(scalar)
  }
}
