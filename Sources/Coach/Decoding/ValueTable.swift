/// What raw values mean: the `map`, `scale` and `offset` of a row.
struct ValueTable {
  struct Entry {
    /// Texts (of JSON, of a file) are compared with it without case.
    let text: String
    /// Nil for a text that is no number.
    let numbers: ClosedRange<Double>?
    let value: ReadingValue
  }

  /// In no order: their ranges do not overlap.
  var entries: [Entry] = []
  /// Per unit of the raw value; nil when only the entries count.
  var scale: Double?
  var offset: Double = 0
  /// The raw values that `scale` is for; nil for all.
  var valid: ClosedRange<Double>?
  /// What the signal may say.
  var domain: Signal.Domain

  /// Nil for what neither the map nor the scale covers, and for what the signal cannot say.
  func value(of number: Double) -> ReadingValue? {
    if let entry = entries.first(where: { $0.numbers?.contains(number) == true }) {
      return entry.value
    }
    guard let scale, valid?.contains(number) ?? true else { return nil }
    let value = ReadingValue.number(number * scale + offset)
    return domain.contains(value) ? value : nil
  }

  func value(of text: String) -> ReadingValue? {
    let text = text.lowercased()
    return entries.first { $0.text == text }?.value
  }

  /// Whole numbers below this are exact as `Double`.
  static let limit: UInt64 = 1 << 53

  /// `61440` or `0xF000`.
  static func number(_ text: some StringProtocol) -> UInt64? {
    let isHexadecimal = text.hasPrefix("0x")
    let digits = isHexadecimal ? text.dropFirst(2) : text[...]
    guard digits.allSatisfy({ $0.isASCII && $0.isHexDigit }),
      let number = UInt64(digits, radix: isHexadecimal ? 16 : 10), number < limit
    else { return nil }
    return number
  }

  /// `3`, `0xF1` or `126-250`.
  static func range(_ text: some StringProtocol) -> ClosedRange<UInt64>? {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    let numbers = ends.compactMap { number($0.trimmingSpaces()) }
    guard numbers.count == ends.count, let first = numbers.first, let last = numbers.last,
      numbers.count <= 2, first <= last
    else { return nil }
    return first...last
  }
}

extension StringProtocol {
  func trimmingSpaces() -> SubSequence {
    var text = self[...]
    while text.first?.isWhitespace == true { text.removeFirst() }
    while text.last?.isWhitespace == true { text.removeLast() }
    return text
  }
}
