import TOMLKit

/// A table of a profile's TOML: takes typed values out, and says where they stand.
struct ProfileTable {
  private let table: TOMLTable
  /// For messages: `[[signal]]`.
  private let name: String
  private let lines: ProfileLines.Section
  private let file: String

  init(_ table: TOMLTable, name: String, lines: ProfileLines.Section, file: String) {
    self.table = table
    self.name = name
    self.lines = lines
    self.file = file
  }

  /// An error at the key, or at the beginning of the table.
  func wrong(_ key: String?, _ message: String, _ howToClear: String) -> ProfileError {
    ProfileError(
      message, file: file, line: key.flatMap { lines.keys[$0] } ?? lines.header,
      howToClear: howToClear)
  }

  func has(_ key: String) -> Bool { table[key] != nil }

  /// Throws for a key that is none of these.
  func allow(_ keys: [String]) throws(ProfileError) {
    for key in table.keys where !keys.contains(key) {
      throw wrong(
        key, "\(name) has no key \(key).", "Its keys are \(keys.sorted().joined(separator: ", ")).")
    }
  }

  func required<T>(_ value: T?, _ key: String, _ example: String) throws(ProfileError) -> T {
    guard let value else {
      throw wrong(nil, "\(name) needs \(key).", "Such as \(example).")
    }
    return value
  }

  func text(_ key: String) throws(ProfileError) -> String? {
    guard let value = table[key] else { return nil }
    guard let text = value.string else { throw wrongKind(key, "text in quotes") }
    return text
  }

  func flag(_ key: String) throws(ProfileError) -> Bool? {
    guard let value = table[key] else { return nil }
    guard let flag = value.bool else { throw wrongKind(key, "true or false") }
    return flag
  }

  func number(_ key: String) throws(ProfileError) -> Double? {
    guard let value = table[key] else { return nil }
    guard let number = value.double ?? value.int.map(Double.init), number.isFinite else {
      throw wrongKind(key, "a number")
    }
    return number
  }

  func whole(_ key: String, _ range: ClosedRange<Int>) throws(ProfileError) -> Int? {
    guard let value = table[key] else { return nil }
    guard let number = value.int else { throw wrongKind(key, "a whole number") }
    guard range.contains(number) else {
      throw wrong(
        key, "\(key) cannot be \(number).",
        "It is at least \(range.lowerBound)"
          + (range.upperBound == .max ? "." : " and at most \(range.upperBound)."))
    }
    return number
  }

  /// The table's keys with what they stand for; empty without the key.
  func entries(_ key: String) throws(ProfileError) -> [(text: String, value: ReadingValue)] {
    guard let value = table[key] else { return [] }
    guard let entries = value.table, !entries.isEmpty else {
      throw wrongKind(key, "a table, such as { 0 = \"off\", 1 = \"on\" }")
    }
    var pairs: [(text: String, value: ReadingValue)] = []
    for name in entries.keys {
      let value = entries[name]
      if let text = value?.string {
        pairs.append((name, .text(text)))
      } else if let flag = value?.bool {
        pairs.append((name, .flag(flag)))
      } else if let number = value?.double ?? value?.int.map(Double.init) {
        pairs.append((name, .number(number)))
      } else {
        throw wrongKind(key, "made of texts, numbers, true and false")
      }
    }
    return pairs
  }

  /// `{ ... }` or `[{ ... }, { ... }]`; empty without the key.
  func conditions(_ key: String) throws(ProfileError) -> [ProfileTable] {
    guard let value = table[key] else { return [] }
    let tables = value.table.map { [$0] } ?? value.array?.map(\.table) ?? []
    let found = tables.compactMap { $0 }
    guard !found.isEmpty, found.count == tables.count else {
      throw wrongKind(key, "a table, such as { at = \"0\", is = 0xF1 }, or a list of them")
    }
    let line = ProfileLines.Section(header: lines.keys[key] ?? lines.header)
    return found.map { ProfileTable($0, name: key, lines: line, file: file) }
  }

  /// The tables `[[key]]`; empty without the key.
  func tables(_ key: String, lines: [ProfileLines.Section]) throws(ProfileError) -> [ProfileTable] {
    guard let value = table[key] else { return [] }
    let found = value.array?.map(\.table) ?? []
    let tables = found.compactMap { $0 }
    guard !tables.isEmpty, tables.count == found.count else {
      throw wrongKind(key, "written [[\(key)]] above the keys of each row")
    }
    return tables.enumerated().map { index, table in
      // Rows that are written in another way than under headers have no line.
      let line = lines.count == tables.count ? lines[index] : ProfileLines.Section()
      return ProfileTable(table, name: "[[\(key)]]", lines: line, file: file)
    }
  }

  private func wrongKind(_ key: String, _ wanted: String) -> ProfileError {
    wrong(key, "\(key) has a value of the wrong kind.", "It is \(wanted).")
  }
}

/// On which lines the rows of a profile and their keys stand. The parser does not say; the text has passed
/// it already.
struct ProfileLines {
  struct Section {
    /// Counted from 1.
    var header: Int?
    var keys: [String: Int] = [:]

    mutating func note(_ key: String, _ line: Int) { keys[key] = keys[key] ?? line }
  }

  private(set) var head = Section()
  private(set) var signals: [Section] = []
  private(set) var commands: [Section] = []

  init(_ text: String) {
    enum Place { case head, signal, command }
    var place = Place.head
    func note(_ key: String, _ line: Int) {
      switch place {
      case .head: head.note(key, line)
      case .signal: signals[signals.endIndex - 1].note(key, line)
      case .command: commands[commands.endIndex - 1].note(key, line)
      }
    }
    // "\r\n" is one character.
    let lines = text.split(omittingEmptySubsequences: false) { $0 == "\n" || $0 == "\r\n" }
    for (line, content) in zip(1..., lines) {
      let word = content.filter { !$0.isWhitespace && $0 != "\"" }
      if word.hasPrefix("[[signal]]") {
        place = .signal
        signals.append(Section(header: line))
      } else if word.hasPrefix("[[command]]") {
        place = .command
        commands.append(Section(header: line))
      } else if word.hasPrefix("[signal.") || word.hasPrefix("[command.") {
        // `[signal.map]`, a table of the row.
        note(String(word.drop { $0 != "." }.dropFirst().prefix { $0 != "]" }), line)
      } else if word.hasPrefix("[") {
        head.note(String(word.drop { $0 == "[" }.prefix { $0 != "]" && $0 != "." }), line)
      } else if let end = word.firstIndex(of: "="), !word.hasPrefix("#"), !word.hasPrefix("{") {
        note(String(word[..<end]), line)
      }
    }
  }
}
