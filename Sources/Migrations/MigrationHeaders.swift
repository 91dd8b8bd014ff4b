/// The `-- Key: value` lines at the top of a migration file.
struct MigrationHeaders {
  /// The keys that this version obeys.
  static let known = [
    "Description", "Requires", "Timeout", "Expect", "Foreign-Keys", "Transaction",
  ]
  /// The keys that the format has and this version does not obey: to ignore one would break its
  /// promise.
  static let unsupported = [
    "Phase", "Estimated-Time", "Destructive", "Technician", "Restart", "Input",
    "Purpose",
  ]

  var description: String?
  var requires: [SchemaVersion] = []
  var requiresLine: Int?
  var timeout: Duration?
  var expectations: [RowExpectation] = []
  var enforcesForeignKeys = false
  var runsInTransaction = true
  private var seen: Set<String> = []

  /// Takes in a comment line of the file's top, when it looks like a header.
  ///
  /// It does when one word (letters and hyphens) stands before a colon, and is capitalised or a
  /// known key in other letters. "-- https://…" and "-- step 1: …" are prose; "-- Requries: 3" is a
  /// mistake that must not pass.
  mutating func take(_ comment: ScriptScanner.LineComment, in source: MigrationSource)
    throws(Failure)
  {
    guard let colon = comment.text.firstIndex(of: ":") else { return }
    let key = comment.text[..<colon].trimmed()
    let value = comment.text[comment.text.index(after: colon)...].trimmed()
    guard let first = key.first, key.allSatisfy({ $0.isLetter || $0 == "-" }) else { return }
    let line = comment.line
    let keys = Self.known + Self.unsupported
    guard first.isUppercase || keys.contains(where: { $0.lowercased() == key.lowercased() })
    else { return }

    if Self.unsupported.contains(key) {
      throw source.failure(
        "The header \(key) belongs to the format, but this version of chock does not support it.",
        line: line,
        howToClear: "Install a chock that supports it, or remove the line if nothing depends on it."
      )
    }
    guard Self.known.contains(key) else {
      throw source.failure(
        "There is no header \(key).\(suggestion(for: key, among: keys))", line: line,
        howToClear: "Use one of \(Self.known.joined(separator: ", ")); "
          + "if the line is prose, do not begin it with one capitalised word and a colon.")
    }
    guard seen.insert(key).inserted || key == "Expect" else {
      throw source.failure(
        "The header \(key) is given twice.", line: line, howToClear: "Keep one of them.")
    }
    guard !value.isEmpty else {
      throw source.failure(
        "The header \(key) has no value.", line: line,
        howToClear: "Give it a value or remove the line.")
    }
    switch key {
    case "Description": description = value
    case "Requires":
      requires = try Self.versions(value, line: line, in: source)
      requiresLine = line
    case "Timeout": timeout = try Self.timeout(value, line: line, in: source)
    case "Expect":
      guard let expectation = RowExpectation(parsing: value, line: line) else {
        throw source.failure(
          "Expect: \(value) is not understood.", line: line,
          howToClear: "Write TABLE rows unchanged, TABLE rows +N, TABLE rows -N or TABLE rows >= N."
        )
      }
      expectations.append(expectation)
    case "Transaction":
      guard value == "none" else {
        throw source.failure(
          "Transaction: \(value) is not understood.", line: line,
          howToClear: "Write none, or remove the line for the usual way: one transaction.")
      }
      runsInTransaction = false
    default:  // Foreign-Keys
      guard value == "enforced" else {
        throw source.failure(
          "Foreign-Keys: \(value) is not understood.", line: line,
          howToClear: "Write enforced, or remove the line for the usual way: off, compared after.")
      }
      enforcesForeignKeys = true
    }
  }

  private static func versions(_ value: String, line: Int, in source: MigrationSource)
    throws(Failure) -> [SchemaVersion]
  {
    var versions: [SchemaVersion] = []
    for part in value.split(separator: ",", omittingEmptySubsequences: false) {
      guard let version = SchemaVersion(part.trimmed()) else {
        throw source.failure(
          "Requires: \"\(part.trimmed())\" is not a version.", line: line,
          howToClear: "Write versions with commas between them, such as 0003, 0004.")
      }
      versions.append(version)
    }
    return versions
  }

  private static func timeout(_ value: String, line: Int, in source: MigrationSource)
    throws(Failure) -> Duration
  {
    let digits = value.prefix { $0.isASCII && $0.isNumber }
    let unit = value[digits.endIndex...].trimmed()
    let milliseconds: Int64? =
      switch unit {
      case "ms": 1
      case "s": 1000
      case "min": 60_000
      default: nil
      }
    // A day: beyond it the number is a slip, and arithmetic with it would have to fear overflow.
    guard let milliseconds, let count = Int64(digits), count > 0,
      count <= 86_400_000 / milliseconds
    else {
      throw source.failure(
        "Timeout: \(value) is not a time limit.", line: line,
        howToClear: "Write a whole number and a unit, such as 500 ms, 60 s or 5 min; a day at most."
      )
    }
    return .milliseconds(count * milliseconds)
  }
}

extension RowExpectation {
  /// Reads `TABLE rows unchanged`, `TABLE rows +N`, `-N` or `>= N`; TABLE may be in double quotes.
  init?(parsing text: String, line: Int) {
    var table = ""
    var rest: Substring
    if text.hasPrefix("\"") {
      rest = text.dropFirst()
      while let quote = rest.firstIndex(of: "\"") {
        table += rest[..<quote]
        rest = rest[rest.index(after: quote)...]
        guard rest.hasPrefix("\"") else { break }
        // A doubled quote stands for one.
        table += "\""
        rest = rest.dropFirst()
      }
      guard rest.first?.isWhitespace ?? false else { return nil }
    } else {
      let name = text.prefix { !$0.isWhitespace && $0 != "\"" }
      table = String(name)
      rest = text[name.endIndex...]
    }
    let words = rest.split(whereSeparator: \.isWhitespace)
    guard !table.isEmpty, words.first == "rows" else { return nil }
    // Only ">= 5" may be written in two words.
    guard words.count == 2 || (words.count == 3 && words[1] == ">=") else { return nil }
    let change = words[1...].joined()
    // Signs are looked at here, since Int64 would take "+-3" as no number but ">= -3" as one.
    let digits = change.drop { "+->=".contains($0) }
    guard digits.allSatisfy({ $0.isASCII && $0.isNumber }) || change == "unchanged" else {
      return nil
    }
    switch change.prefix(change.count - digits.count) {
    case "" where change == "unchanged": self.init(table: table, change: .unchanged, line: line)
    case "+", "-":
      guard let count = Int64(change) else { return nil }
      self.init(table: table, change: .changesBy(count), line: line)
    case ">=":
      guard let count = Int64(digits) else { return nil }
      self.init(table: table, change: .atLeast(count), line: line)
    default: return nil
    }
  }
}
