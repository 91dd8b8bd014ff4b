import Coach
import Migrations
import Storage
import TOMLKit
import Updating

// Where the config's values come from, and how they are taken out.
extension Config {
  /// A value and where it was set, for error messages.
  struct Value {
    enum Content {
      case text(String)
      case number(Int)
      case decimal(Double)
      case flag(Bool)
      case list([String])
      case other(String)
    }
    var content: Content
    var place: Failure
  }

  static func parse(
    _ text: String, file: String, into coach: inout CoachConfig, _ health: inout [HealthCheck],
    _ metrics: inout [WatchedMetrics], _ copies: inout [CopiesConfig.Place]
  ) throws(Failure) -> [Key: Value] {
    if let line = TOMLHeaders.unreadableLine(of: text) {
      throw Failure(
        .badConfig, "No section has such a name.", file: file, line: line,
        howToClear: "Sections are written [coach] or [[coach.can]].")
    }
    let table: TOMLTable
    do {
      table = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      throw Failure(
        .badConfig, "The config is not valid TOML: \(error.description)", file: file,
        line: error.source.begin.line)
    } catch {
      throw Failure(.badConfig, "The config is not valid TOML: \(error)", file: file)
    }
    let lines = KeyLines(text)
    var values: [Key: Value] = [:]
    func read(_ name: String, _ value: any TOMLValueConvertible) throws(Failure) {
      let place = Failure(.badConfig, name, file: file, line: lines.line(of: name))
      guard let key = Key(rawValue: name) else { throw unknown(name, place) }
      values[key] = Value(content: content(value), place: place)
    }
    for name in table.keys {
      guard let value = table[name] else { continue }
      guard let section = value.table, value.type == .table else {
        try read(name, value)
        continue
      }
      let known = Set(
        Key.allCases.compactMap { $0.rawValue.split(separator: ".").first.map(String.init) })
      guard known.contains(name), name != Key.environment.rawValue else {
        let place = Failure(.badConfig, name, file: file, line: lines.line(of: name))
        throw place.saying(
          "There is no section [\(name)].",
          nearest(to: name, among: known.sorted()).map { "Did you mean [\($0)]?" } ?? "Remove it.")
      }
      for inner in section.keys {
        guard let value = section[inner] else { continue }
        switch List(rawValue: "\(name).\(inner)") {
        case .can: try coach.readBuses(value, in: text, file: file)
        case .http: try coach.readControllers(value, in: text, file: file)
        case .file: try coach.readFiles(value, in: text, file: file)
        case .health: health = try HealthConfig.read(value, in: text, file: file)
        case .metrics: metrics = try WatchConfig.read(value, in: text, file: file)
        case .copies: copies = try CopiesConfig.read(value, in: text, file: file)
        case nil:
          try read("\(name).\(inner)", value)
        }
      }
    }
    return values
  }

  private static func unknown(_ name: String, _ place: Failure) -> Failure {
    place.saying(
      "There is no key \(name).",
      nearest(to: name, among: Key.allCases.map(\.rawValue)).map { "Did you mean \($0)?" }
        ?? "Remove it.")
  }

  private static func content(_ value: any TOMLValueConvertible) -> Value.Content {
    switch value.type {
    case .string: value.string.map(Value.Content.text) ?? .other("a string")
    case .int: value.int.map(Value.Content.number) ?? .other("a number")
    case .double: value.double.map(Value.Content.decimal) ?? .other("a number")
    case .bool: value.bool.map(Value.Content.flag) ?? .other("true or false")
    case .array:
      value.array.flatMap { array in
        let texts = array.compactMap(\.string)
        return texts.count == array.count ? .list(texts) : nil
      } ?? .other("an array of mixed values")
    default: .other("\(value.type)")
    }
  }

  static func readVariables(
    _ variables: [String: String], into values: inout [Key: Value]
  ) throws(Failure) {
    let known = Dictionary(uniqueKeysWithValues: Key.allCases.map { ($0.variable, $0) })
    // $CHOCK_CONFIG names the file.
    for (name, text) in variables where name.hasPrefix("CHOCK_") && name != "CHOCK_CONFIG" {
      let place = Failure(.badConfig, name, file: "environment variable \(name)")
      guard let key = known[name] else {
        throw place.saying(
          "There is no setting \(name).",
          nearest(to: name, among: known.keys.sorted()).map { "Did you mean \($0)?" } ?? "Unset it."
        )
      }
      values[key] = Value(content: .text(text), place: place)
    }
  }

  /// Takes typed values out; a text from a variable is converted.
  struct Reader {
    let values: [Key: Value]

    func place(_ key: Key) -> Failure? { values[key]?.place }

    func text(_ key: Key) throws(Failure) -> (String, Failure)? {
      guard let value = values[key] else { return nil }
      guard case .text(let text) = value.content, !text.isEmpty else {
        throw wrong(key, value, "text in quotes")
      }
      return (text, value.place)
    }

    func path(_ key: Key) throws(Failure) -> String? {
      guard let (text, place) = try text(key) else { return nil }
      guard text.hasPrefix("/") else {
        throw place.saying("\(key.rawValue) is not an absolute path: \(text)", "Begin it with /.")
      }
      return text
    }

    func choice(_ key: Key, of choices: [String]) throws(Failure) -> String? {
      guard let (text, place) = try text(key) else { return nil }
      guard choices.contains(text) else {
        throw place.saying(
          "\(key.rawValue) cannot be \(text).",
          nearest(to: text, among: choices).map { "Did you mean \($0)?" }
            ?? "It is one of \(choices.joined(separator: ", ")).")
      }
      return text
    }

    func flag(_ key: Key, into flag: inout Bool) throws(Failure) {
      guard let value = values[key] else { return }
      switch value.content {
      case .flag(let given): flag = given
      case .text("true") where value.place.line == nil: flag = true
      case .text("false") where value.place.line == nil: flag = false
      default: throw wrong(key, value, "true or false")
      }
    }

    func number(_ key: Key, _ range: ClosedRange<Int>, into number: inout Int) throws(Failure) {
      guard let value = values[key] else { return }
      let given: Int? =
        switch value.content {
        case .number(let given): given
        case .text(let text) where value.place.line == nil: Int(text)
        default: nil
        }
      guard let given else { throw wrong(key, value, "a whole number") }
      guard range.contains(given) else {
        throw value.place.saying(
          "\(key.rawValue) is \(given).",
          "It is at least \(range.lowerBound)"
            + (range.upperBound == .max ? "." : " and at most \(range.upperBound)."))
      }
      number = given
    }

    func decimal(_ key: Key) throws(Failure) -> (Double, Failure)? {
      guard let value = values[key] else { return nil }
      switch value.content {
      case .number(let number): return (Double(number), value.place)
      case .decimal(let number): return (number, value.place)
      case .text(let text) where value.place.line == nil && Double(text) != nil:
        return (Double(text) ?? 0, value.place)
      default: throw wrong(key, value, "a number")
      }
    }

    func list(_ key: Key) throws(Failure) -> ([String], Failure)? {
      guard let value = values[key] else { return nil }
      switch value.content {
      case .list(let list): return (list, value.place)
      case .text(let text) where value.place.line == nil:
        return (
          text.split(separator: ",").map { String($0.filter { $0 != " " }) }, value.place
        )
      default: throw wrong(key, value, "a list of texts, such as [\"parked\"]")
      }
    }

    /// A list of NAME=ROLE.
    func roles(_ key: Key) throws(Failure) -> [String: Role] {
      guard let (list, place) = try list(key) else { return [:] }
      var roles: [String: Role] = [:]
      for entry in list {
        let parts = entry.split(separator: "=", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, let role = Role(rawValue: String(parts[1]))
        else {
          let known = Role.allCases.map(\.rawValue).joined(separator: ", ")
          throw place.saying(
            "\(key.rawValue) has no role in \"\(entry)\".",
            "Write NAME=ROLE; the roles are \(known).")
        }
        roles[String(parts[0])] = role
      }
      return roles
    }

    private func wrong(_ key: Key, _ value: Value, _ wanted: String) -> Failure {
      value.place.saying("\(key.rawValue) has a value of the wrong kind.", "It is \(wanted).")
    }
  }
}

extension Failure {
  /// The same place, with what is wrong there and what would be right.
  func saying(_ message: String, _ howToClear: String) -> Failure {
    var failure = self
    failure.message = message
    failure.howToClear = howToClear
    return failure
  }
}

/// On which line of a TOML text a key stands. The parser does not say; the text has passed it already.
private struct KeyLines {
  private var lines: [String: Int] = [:]

  init(_ text: String) {
    var section = ""
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
    {
      let word = line.drop { $0 == " " || $0 == "\t" }
      if word.hasPrefix("[") {
        section = String(word.dropFirst().prefix { $0 != "]" })
        lines[section] = lines[section] ?? index + 1
      } else {
        let key = word.prefix { $0.isLetter || $0.isNumber || "_-.".contains($0) }
        guard !key.isEmpty else { continue }
        let name = section.isEmpty ? String(key) : "\(section).\(key)"
        lines[name] = lines[name] ?? index + 1
      }
    }
  }

  func line(of name: String) -> Int? { lines[name] }
}
