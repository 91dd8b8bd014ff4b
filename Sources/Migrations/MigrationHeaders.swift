/// The `-- Key: value` lines at the top of a migration file.
struct MigrationHeaders {
  static let known = [
    "Description", "Phase", "Purpose", "Requires", "Estimated-Time", "Timeout", "Transaction",
    "Foreign-Keys", "Destructive", "Technician", "Restart", "Input", "Expect",
  ]
  /// Only in a baseline file, which chock writes.
  private static let ofBaselines = "Squashes"
  /// Those that may be given more than once.
  private static let repeatable: Set = ["Expect", "Input"]

  var description: String?
  var requires: [SchemaVersion] = []
  var requiresLine: Int?
  var timeout: Duration?
  var expectations: [TableExpectation] = []
  var phase: Int?
  var estimatedTime: Duration?
  var isDestructive = false
  var needsTechnician = false
  var restart: [String] = []
  var purpose: Migration.Purpose?
  var inputs: [MigrationInput] = []
  var enforcesForeignKeys = false
  var runsInTransaction = true
  var squashes: String?
  private var seen: Set<String> = []

  /// Takes in the comment lines of the top.
  ///
  /// - Parameter isForeign: in files of other tools an unknown header is prose.
  init(
    _ comments: [ScriptScanner.LineComment], in source: MigrationSource, isForeign: Bool
  ) throws(Failure) {
    for comment in comments { try take(comment, in: source, isForeign: isForeign) }
  }

  /// Takes in a comment line of the file's top, when it looks like a header.
  ///
  /// It does when one word (letters and hyphens) stands before a colon, and is capitalised or a
  /// known key in other letters. "-- https://…" and "-- step 1: …" are prose; "-- Requries: 3" is a
  /// mistake that must not pass.
  private mutating func take(
    _ comment: ScriptScanner.LineComment, in source: MigrationSource, isForeign: Bool
  ) throws(Failure) {
    guard let colon = comment.text.firstIndex(of: ":") else { return }
    let key = comment.text[..<colon].trimmed()
    let value = comment.text[comment.text.index(after: colon)...].trimmed()
    let line = comment.line
    guard Self.known.contains(key) || key == Self.ofBaselines else {
      guard let first = key.first, key.allSatisfy({ $0.isLetter || $0 == "-" }) else { return }
      guard first.isUppercase || Self.known.contains(where: { $0.lowercased() == key.lowercased() })
      else { return }
      if isForeign { return }
      throw source.failure(
        "There is no header \(key).\(suggestion(for: key, among: Self.known))", line: line,
        howToClear: "Use one of \(Self.known.joined(separator: ", ")); "
          + "if the line is prose, do not begin it with one capitalised word and a colon.")
    }
    guard seen.insert(key).inserted || Self.repeatable.contains(key) else {
      throw source.failure(
        "The header \(key) is given twice.", line: line, howToClear: "Keep one of them.")
    }
    guard !value.isEmpty else {
      throw source.failure(
        "The header \(key) has no value.", line: line,
        howToClear: "Give it a value or remove the line.")
    }
    func misfit(_ howToClear: String) -> Failure {
      source.failure("\(key): \(value) is not understood.", line: line, howToClear: howToClear)
    }
    switch key {
    case "Description": description = value
    case "Phase":
      guard let number = Int(value), number > 0, value.allSatisfy(\.isNumber) else {
        throw misfit("Write a whole number from 1.")
      }
      phase = number
    case "Purpose":
      guard let found = Migration.Purpose(rawValue: value) else {
        let words = Migration.Purpose.allCases.map(\.rawValue)
        throw misfit("Write one of \(words.joined(separator: ", ")).")
      }
      purpose = found
    case "Requires":
      requires = try Self.versions(value, line: line, in: source)
      requiresLine = line
    case "Timeout": timeout = try Self.duration(key, value, line: line, in: source)
    case "Estimated-Time": estimatedTime = try Self.duration(key, value, line: line, in: source)
    case "Expect":
      guard let expectation = TableExpectation(parsing: value, line: line) else {
        throw misfit("Write \(TableExpectation.forms).")
      }
      expectations.append(expectation)
    case "Input":
      switch MigrationInput.parse(value, line: line) {
      case .success(let input):
        guard !inputs.contains(where: { $0.name == input.name }) else {
          throw source.failure(
            "The input \(input.name) is declared twice.", line: line,
            howToClear: "Keep one of them.")
        }
        inputs.append(input)
      case .failure(let misfit):
        throw source.failure(
          "Input: \(value) \(misfit.what).", line: line, howToClear: misfit.howToClear)
      }
    case "Restart":
      for unit in value.split(separator: ",", omittingEmptySubsequences: false).map({ $0.trimmed() }
      ) {
        guard Self.isUnit(unit) else {
          throw source.failure(
            "Restart: \"\(unit)\" is not the name of a unit.", line: line,
            howToClear: "Write systemd units with commas between them, such as coachiq.service.")
        }
        restart.append(unit)
      }
    case "Destructive", "Technician":
      guard value == "yes" else { throw misfit("Write yes, or remove the line.") }
      if key == "Destructive" { isDestructive = true } else { needsTechnician = true }
    case "Transaction":
      guard value == "none" else {
        throw misfit("Write none, or remove the line for the usual way: one transaction.")
      }
      runsInTransaction = false
    case Self.ofBaselines: squashes = value
    default:  // Foreign-Keys
      guard value == "enforced" else {
        throw misfit("Write enforced, or remove the line for the usual way: off, compared after.")
      }
      enforcesForeignKeys = true
    }
  }

  /// - Throws: `.migrationFile` for a baseline that does not say what it stands for, or another file that does.
  func checkSquashes(isBaseline: Bool, in source: MigrationSource) throws(Failure) {
    guard isBaseline != (squashes != nil) else { return }
    throw source.failure(
      isBaseline
        ? "\(source.fileName) is a baseline file, and has no Squashes header."
        : "Only a baseline file has a Squashes header.",
      line: 1, howToClear: "Let chock write it: `chock squash --to VERSION`.")
  }

  /// A name with a type behind its last dot: systemd.unit(5).
  private static func isUnit(_ name: String) -> Bool {
    let types = ["service", "socket", "target", "timer", "path", "mount"]
    guard let dot = name.lastIndex(of: "."), dot > name.startIndex else { return false }
    return types.contains(String(name[name.index(after: dot)...]))
      && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || ":-_.\\@".contains($0)) }
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

  private static func duration(
    _ key: String, _ value: String, line: Int, in source: MigrationSource
  ) throws(Failure) -> Duration {
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
        "\(key): \(value) is not a time.", line: line,
        howToClear: "Write a whole number and a unit, such as 500 ms, 60 s or 5 min; a day at most."
      )
    }
    return .milliseconds(count * milliseconds)
  }
}
