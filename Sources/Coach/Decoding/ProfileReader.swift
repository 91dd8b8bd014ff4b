import TOMLKit

/// What is wrong in a profile's file.
public struct ProfileError: Error, Sendable, Hashable {
  public var message: String
  public var file: String
  /// Counted from 1; nil when it is not known.
  public var line: Int?
  public var howToClear: String?

  init(_ message: String, file: String, line: Int?, howToClear: String?) {
    self.message = message
    self.file = file
    self.line = line
    self.howToClear = howToClear
  }
}

extension Profile {
  /// Reads a profile.
  ///
  /// - Parameters:
  ///   - text: TOML.
  ///   - file: Its name, for errors.
  /// - Throws: the first thing that is wrong in it.
  public init(text: String, file: String) throws(ProfileError) {
    // The parser would end there and take the half for all.
    guard !text.utf8.contains(0) else {
      throw ProfileError(
        "The profile is not plain text.", file: file, line: nil,
        howToClear: "Save it as UTF-8 text.")
    }
    if let line = TOMLHeaders.unreadableLine(of: text) {
      throw ProfileError(
        "No table has such a name.", file: file, line: line,
        howToClear: "A row begins with [[signal]] or [[command]].")
    }
    let document: TOMLTable
    do {
      document = try TOMLTable(string: text)
    } catch let error as TOMLParseError {
      throw ProfileError(
        "The profile is not valid TOML: \(error.description)", file: file,
        line: error.source.begin.line, howToClear: nil)
    } catch {
      throw ProfileError(
        "The profile is not valid TOML: \(error)", file: file, line: nil, howToClear: nil)
    }
    let lines = ProfileLines(text)
    let head = ProfileTable(document, name: "the profile", lines: lines.head, file: file)
    try head.allow(["name", "extends", "signal", "command"])
    let name = try head.required(try head.text("name"), "name", "name = \"Our coach\"")
    guard isPlain(name) else {
      throw head.wrong("name", "The name is empty or not plain.", "Give one line of text.")
    }

    var rows: [ProfileRow] = []
    if let base = try head.text("extends") {
      guard let profile = Profile.builtIn(base) else {
        throw head.wrong(
          "extends", "There is no built-in profile \(base).",
          "Use one of \(Profile.builtInNames.joined(separator: ", ")).")
      }
      rows = profile.rows
    }
    var own: [(row: ProfileRow, table: ProfileTable)] = []
    for table in try head.tables("signal", lines: lines.signals) {
      own.append((try table.signalRow(), table))
    }
    for table in try head.tables("command", lines: lines.commands) {
      own.append((try table.commandRow(), table))
    }
    try checkDuplicates(own)
    let replaced = Set(own.map(\.row.subject))
    rows = rows.filter { !replaced.contains($0.subject) } + own.map(\.row)
    guard !rows.isEmpty else {
      throw ProfileError(
        "The profile has no rows.", file: file, line: nil,
        howToClear: "Add a [[signal]], or name a built-in profile with extends.")
    }
    self.init(name: name, rows: rows)
  }
}

/// Two rows that read the same signal from the same frames would contradict each other for ever.
private func checkDuplicates(
  _ rows: [(row: ProfileRow, table: ProfileTable)]
) throws(ProfileError) {
  struct Kind: Hashable {
    var subject: ProfileRow.Subject
    var condition: FrameCondition?
  }
  var seen: Set<Kind> = []
  for (row, table) in rows {
    let condition: FrameCondition? =
      if case .frame(_, let condition) = row.place { condition } else { nil }
    guard seen.insert(Kind(subject: row.subject, condition: condition)).inserted else {
      throw table.wrong(
        nil, "A row before this one reads the same.",
        "Keep one of them, or tell their frames apart with when or sources.")
    }
  }
}

/// One line of text that people read.
private func isPlain(_ text: String) -> Bool {
  (1...64).contains(text.count)
    && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
}

// MARK: - Rows

extension ProfileTable {
  private static let frameKeys = ["dgn", "when", "sources"]
  private static let signalKeys =
    ["signal", "map", "scale", "offset", "valid", "expires_after_seconds", "veto_only", "note"]

  fileprivate func signalRow() throws(ProfileError) -> ProfileRow {
    let places = ["dgn", "pointer", "file"].filter(has)
    guard places.count == 1, let place = places.first else {
      throw wrong(
        places.last, "A [[signal]] has exactly one of dgn, pointer and file.",
        "Say where the signal is read: dgn and at, path and pointer, or file.")
    }
    switch place {
    case "dgn": try allow(Self.signalKeys + Self.frameKeys + ["at", "instance"])
    case "pointer": try allow(Self.signalKeys + ["path", "pointer"])
    default: try allow(Self.signalKeys + ["file", "bit"])
    }
    _ = try text("note")

    let name = SignalName(
      try required(try text("signal"), "signal", "signal = \"parking_brake\""))
    let domain = try domain(of: name)
    let field = place == "dgn" ? try frameField("at") : nil
    let instance = has("instance") ? try frameField("instance") : nil
    let bit = has("bit") ? try whole("bit", 0...63) : nil
    let seconds = try required(
      try number("expires_after_seconds"), "expires_after_seconds", "expires_after_seconds = 5.5")
    guard seconds > 0, seconds <= 86_400 else {
      throw wrong(
        "expires_after_seconds", "A value cannot last \(ReadingValue.number(seconds)) seconds.",
        "Give more than 0 and at most 86400 seconds.")
    }
    let content = ProfileRow.Content.signal(
      SignalContent(
        name: name, field: field, instance: instance,
        values: try values(domain, name, upTo: bit == nil ? field?.highestValue : 1),
        lasting: .milliseconds(Int64(max(1, seconds * 1000)))))

    let rowPlace: ProfileRow.Place
    switch place {
    case "dgn":
      rowPlace = .frame(dgn: try dgn(), try condition())
      try checkPlaceholder(of: name, .instance, isThere: instance != nil, key: "instance")
    case "pointer":
      let pointer = try pointer()
      rowPlace = .json(path: try path(), pointer)
      try checkPlaceholder(of: name, .key, isThere: pointer.hasWildcard, key: "pointer")
    default:
      rowPlace = .file(pattern: try pattern(), bit: bit)
      try checkPlaceholder(of: name, nil, isThere: false, key: "file")
    }
    return ProfileRow(place: rowPlace, content: content, vetoOnly: try flag("veto_only") ?? false)
  }

  fileprivate func commandRow() throws(ProfileError) -> ProfileRow {
    try allow(Self.frameKeys + ["name", "lasts_seconds", "note"])
    _ = try text("note")
    let name = try required(try text("name"), "name", "name = \"slide\"")
    guard isPlain(name), !name.contains("/") else {
      throw wrong(
        "name", "A command cannot be called that.", "Give 1 to 64 characters without a slash.")
    }
    let seconds = try required(try number("lasts_seconds"), "lasts_seconds", "lasts_seconds = 3")
    guard seconds > 0, seconds <= 3600 else {
      throw wrong(
        "lasts_seconds", "A command cannot last \(ReadingValue.number(seconds)) seconds.",
        "Give more than 0 and at most 3600 seconds.")
    }
    return ProfileRow(
      place: .frame(dgn: try dgn(), try condition()),
      content: .command(
        CommandContent(name: name, lasting: .milliseconds(Int64(max(1, seconds * 1000))))))
  }

  /// What the signal may say, with any instance or key.
  private func domain(of name: SignalName) throws(ProfileError) -> Signal.Domain {
    let longest =
      switch name.placeholder {
      case .instance: name.filled(with: .max)
      case .key: name.filled(with: String(repeating: "x", count: SignalName.keyLimit))
      case nil: name.text
      }
    guard let domain = Signal.domain(of: longest) else {
      throw wrong(
        "signal", "There is no signal \(name.text).",
        "Use one of \(Signal.names.joined(separator: ", ")).")
    }
    return domain
  }

  private func checkPlaceholder(
    of name: SignalName, _ wanted: SignalName.Placeholder?, isThere: Bool, key: String
  ) throws(ProfileError) {
    if let placeholder = name.placeholder, placeholder != wanted || !isThere {
      throw wrong(
        "signal", "Nothing says what \(placeholder.rawValue) is.",
        "{instance} needs the key instance, and {key} a * in the pointer.")
    }
    if isThere, name.placeholder == nil {
      throw wrong(
        key, "All that it stands for would become the same signal.",
        "Put \(wanted?.rawValue ?? "it") into the signal's name.")
    }
  }

  // MARK: Values

  private func values(
    _ domain: Signal.Domain, _ name: SignalName, upTo highest: UInt64?
  ) throws(ProfileError) -> ValueTable {
    var values = ValueTable(domain: domain)
    guard has("map") || has("scale") else {
      throw wrong(
        nil, "Nothing says what the values of \(name.text) mean.",
        "Add map = { 0 = ..., 1 = ... }, or scale for a number.")
    }
    values.scale = try number("scale")
    if has("scale") {
      guard case .number = domain, values.scale != 0 else {
        throw wrong(
          "scale", "\(name.text) has no scale.", "scale is for numbers with a unit, and is not 0.")
      }
    }
    for key in ["offset", "valid"] where has(key) && !has("scale") {
      throw wrong(key, "\(key) belongs to a scale.", "Add scale, or remove \(key).")
    }
    values.offset = try number("offset") ?? 0
    if let valid = try text("valid") {
      guard let range = ValueTable.range(valid) else {
        throw wrong("valid", "\(valid) is no range.", "Such as \"0-64255\".")
      }
      try check(range, upTo: highest, key: "valid")
      values.valid = Double(range.lowerBound)...Double(range.upperBound)
    }
    for (text, value) in try entries("map") {
      guard domain.contains(value) else {
        throw wrong(
          "map", "\(name.text) cannot be \(value).", "The value must be \(domain.description).")
      }
      let range = ValueTable.range(text)
      if let range {
        try check(range, upTo: highest, key: "map")
      } else if has("dgn") {
        throw wrong(
          "map", "\(text) is no raw value.", "Such as 1, 0xF1 or \"126-250\" on the left.")
      }
      let numbers = range.map { Double($0.lowerBound)...Double($0.upperBound) }
      for other in values.entries {
        let overlaps = numbers.map { other.numbers?.overlaps($0) ?? false } ?? false
        guard !overlaps, other.text != text.lowercased() else {
          throw wrong(
            "map", "\(other.text) and \(text) say two things about the same raw value.",
            "Let every raw value stand for one thing.")
        }
      }
      values.entries.append(
        ValueTable.Entry(text: text.lowercased(), numbers: numbers, value: value))
    }
    return values
  }

  private func check(
    _ range: ClosedRange<UInt64>, upTo highest: UInt64?, key: String
  ) throws(ProfileError) {
    guard let highest, range.upperBound > highest else { return }
    throw wrong(
      key, "The highest value there is \(highest), not \(range.upperBound).",
      "What is above it, RV-C and J1939 keep for \"error\" and \"not available\".")
  }

  // MARK: Places

  private func dgn() throws(ProfileError) -> UInt32 {
    let number = try required(try whole("dgn", 0...0x1FFFF), "dgn", "dgn = 0x1FFF4")
    return UInt32(number)
  }

  private func frameField(_ key: String) throws(ProfileError) -> FrameField {
    let text = try required(try text(key), key, "\(key) = \"4.0-1\"")
    guard let field = FrameField(text) else { throw noField(text, key) }
    return field
  }

  private func noField(_ text: String, _ key: String) -> ProfileError {
    wrong(
      key, "\(text) is no place in a frame.",
      "Bytes and bits count from 0 to 7: \"0\", \"2-3\", \"4.0-1\".")
  }

  private func condition() throws(ProfileError) -> FrameCondition {
    var condition = FrameCondition()
    for part in try conditions("when") {
      try part.allow(["at", "is"])
      let text = try part.required(try part.text("at"), "at", "when = { at = \"0\", is = 0xF1 }")
      guard let field = FrameField(text) else { throw noField(text, "when") }
      let value = try part.required(
        try part.whole("is", 0...Int.max), "is", "when = { at = \"0\", is = 0xF1 }")
      guard UInt64(value) <= field.highest else {
        throw wrong("when", "\(text) is never \(value).", "It is at most \(field.highest).")
      }
      condition.parts.append(FrameCondition.Part(field: field, value: UInt64(value)))
    }
    if let text = try text("sources") {
      for part in text.split(separator: ",", omittingEmptySubsequences: false) {
        guard let range = ValueTable.range(part), range.upperBound <= 0xFF else {
          throw wrong(
            "sources", "\(part) is no source address.", "Such as \"252, 144-159\" or \"0x9C\".")
        }
        condition.sourceAddresses.formUnion(UInt8(range.lowerBound)...UInt8(range.upperBound))
      }
    }
    return condition
  }

  private func pointer() throws(ProfileError) -> JSONPointer {
    let text = try required(try text("pointer"), "pointer", "pointer = \"/state/speed\"")
    guard let pointer = JSONPointer(text) else {
      throw wrong(
        "pointer", "\(text) is no JSON pointer.",
        "Such as \"/state/speed\" (RFC 6901), with at most one * for every key.")
    }
    return pointer
  }

  private func path() throws(ProfileError) -> String {
    let path = try required(try text("path"), "path", "path = \"/api/safety/status\"")
    // It becomes a line of an HTTP request.
    guard path.hasPrefix("/"), path.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
      path.count <= 512
    else {
      throw wrong(
        "path", "That is no path of an HTTP request.",
        "Such as \"/api/safety/status\", without spaces.")
    }
    return path
  }

  private func pattern() throws(ProfileError) -> String {
    let pattern = try required(
      try text("file"), "file", "file = \"/sys/class/hwmon/*/in0_lcrit_alarm\"")
    let components = pattern.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    let isGood =
      pattern.hasPrefix("/") && isPlainPath(pattern)
      && components.allSatisfy { component in
        !component.isEmpty && component != "." && component != ".."
          && component.count(where: { $0 == "*" }) <= 1
      }
    guard isGood else {
      throw wrong(
        "file", "\(pattern) is no pattern of a file.",
        "Give an absolute path, with at most one * in a component.")
    }
    return pattern
  }

  private func isPlainPath(_ path: String) -> Bool {
    path.utf8.count <= 1024
      && path.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
  }
}
