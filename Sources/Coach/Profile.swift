/// How what a source says is turned into reports: a table of rows, read from a TOML file.
///
/// The files under Profiles/ are examples of every kind of row, with the reasons in their comments.
public struct Profile: Sendable {
  /// For people, from the file's `name`.
  public let name: String
  let rows: [ProfileRow]
  /// The indices of the rows for a data group, so that a frame is looked up once.
  private let rowsByDGN: [UInt32: [Int]]

  init(name: String, rows: [ProfileRow]) {
    self.name = name
    self.rows = rows
    rowsByDGN = rows.indices.reduce(into: [:]) { table, index in
      if case .frame(let dgn, _) = rows[index].place { table[dgn, default: []].append(index) }
    }
  }

  /// What each row reads, for people.
  public var lines: [String] { rows.map(\.description) }

  /// Whether it reads commands to move or switch something: a bus with it has to be heard.
  public var tellsOfControls: Bool {
    rows.contains { if case .command = $0.content { true } else { false } }
  }

  /// The data groups (J1939: parameter groups) that its rows read, sorted: for the kernel's filters.
  public var dgns: [UInt32] { rowsByDGN.keys.sorted() }

  /// The HTTP paths that its rows read, in the order of the file.
  public var paths: [String] {
    unique(
      rows.compactMap { row -> String? in
        if case .json(let path, _) = row.place { path } else { nil }
      })
  }

  /// The patterns of the files that its rows read, in the order of the file; a `*` stands for any part of a
  /// path's component.
  public var files: [String] {
    unique(
      rows.compactMap { row -> String? in
        if case .file(let pattern, _) = row.place { pattern } else { nil }
      })
  }

  /// What the rows for HTTP paths and files report, but for those whose names depend on what is read:
  /// signals that are unknown when their source is silent.
  public var signals: [String] {
    unique(
      rows.compactMap { row -> String? in
        if case .frame = row.place { return nil }
        guard case .signal(let signal) = row.content, signal.name.placeholder == nil else {
          return nil
        }
        return signal.name.text
      })
  }

  /// What a frame says. Only data frames with 29 bits of identifier say anything; a row whose field is behind
  /// the frame's end does not.
  ///
  /// - Parameter bus: Such as `can0`; the source is then `can0/9C`, with the frame's source address.
  public func reports(of frame: CANFrame, from bus: String) -> [Report] {
    guard frame.kind == .extended, !frame.isRemote, let indices = rowsByDGN[frame.dgn] else {
      return []
    }
    let matching = indices.filter { index in
      if case .frame(_, let condition) = rows[index].place {
        condition.holds(for: frame)
      } else {
        false
      }
    }
    // Most frames of a busy bus end here, before any text is made.
    guard !matching.isEmpty else { return [] }
    var name = Array(bus.utf8) + [UInt8(ascii: "/")]
    CANFrame.write(UInt64(frame.sourceAddress), digits: 2, to: &name)
    let source = String(decoding: name, as: UTF8.self)
    let evidence = frame.description
    return matching.compactMap { index -> Report? in
      let row = rows[index]
      switch row.content {
      case .command(let command):
        return Report(
          .activity(
            id: "\(source)/\(command.name)",
            description: "\(command.article) \(command.name) command on \(bus)",
            lasting: command.lasting),
          source: source, evidence: evidence, vetoOnly: row.vetoOnly)
      case .signal(let signal):
        guard let field = signal.field, let raw = field.raw(in: frame) else { return nil }
        var name = signal.name.text
        if let instance = signal.instance {
          // Above 250 there are no instances: 255 is "not available".
          guard let number = instance.raw(in: frame), number <= 250 else { return nil }
          name = signal.name.filled(with: number)
        }
        return Report(
          signal.content(raw: raw, in: field, of: name), source: source, evidence: evidence,
          vetoOnly: row.vetoOnly)
      }
    }
  }

  /// So many keys may stand where a pointer has its `*`.
  public static let keyLimit = 256

  /// What the JSON document at an HTTP path says. A pointer that leads nowhere or to null says that there is
  /// no value. Of two keys that make the same name, what speaks against an update comes last, and counts.
  ///
  /// - Parameter source: Who says so, as it is.
  /// - Returns: nil when it is no JSON, or has more than ``keyLimit`` keys in a place.
  public func reports(ofJSON body: [UInt8], at path: String, from source: String) -> [Report]? {
    guard let tree = JSONTree(body) else { return nil }
    var reports: [Report] = []
    for row in rows {
      guard case .json(path, let pointer) = row.place, case .signal(let signal) = row.content else {
        continue
      }
      let matches = pointer.matches(in: tree)
      guard matches.count <= Self.keyLimit else { return nil }
      reports += matches.map { key, found in
        let value: ReadingValue? =
          switch found {
          case .flag(let flag): signal.values.value(of: flag ? "true" : "false")
          case .number(let number): signal.values.value(of: number)
          case .text(let text): signal.values.value(of: text)
          case .array, .object, .null, nil: nil
          }
        let place = key.map { pointer.text.replacing("*", with: $0) } ?? pointer.text
        return Report(
          signal.content(value, of: key.map(signal.name.filled) ?? signal.name.text),
          source: source, evidence: plain("\(path)#\(place): \(found?.summary ?? "nothing")"),
          vetoOnly: row.vetoOnly)
      }
    }
    return [Weight.allows, .tellsNothing, .objects].flatMap { weight in
      reports.filter { Weight($0.content) == weight }
    }
  }

  private enum Weight {
    case allows, tellsNothing, objects

    init(_ content: Report.Content) {
      guard case .value(let value, let signal, _) = content else {
        self = .tellsNothing
        return
      }
      self =
        Signal.vouchedValue(of: signal).map { $0 == value } ?? true ? .allows : .objects
    }
  }

  /// What a file says.
  ///
  /// - Parameters:
  ///   - pattern: Which of ``files`` the path matches.
  ///   - path: Where the text was found, for the evidence.
  ///   - source: Who says so, as it is.
  public func reports(
    ofFile text: String, at pattern: String, path: String, from source: String
  ) -> [Report] {
    let text = text.trimmingSpaces()
    return rows.compactMap { row in
      guard case .file(pattern, let bit) = row.place, case .signal(let signal) = row.content else {
        return nil
      }
      let value: ReadingValue?
      if let bit {
        let digits = text.hasPrefix("0x") ? text.dropFirst(2) : text
        value = UInt64(digits, radix: 16).flatMap { signal.values.value(of: Double($0 >> bit & 1)) }
      } else {
        value =
          signal.values.value(of: String(text)) ?? Double(text).flatMap(signal.values.value(of:))
      }
      return Report(
        signal.content(value, of: signal.name.text), source: source,
        evidence: plain("\(path): \(text)"), vetoOnly: row.vetoOnly)
    }
  }
}

extension JSONTree {
  fileprivate var summary: String {
    switch self {
    case .null: "null"
    case .flag(let flag): flag ? "true" : "false"
    case .number(let number): ReadingValue.number(number).description
    case .text(let text): "\"\(text)\""
    case .array: "a list"
    case .object: "an object"
    }
  }
}

/// Evidence comes from outside and reaches logs and the panel: one line, and not without end.
private func plain(_ text: String) -> String {
  let limit = 160
  let start = text.unicodeScalars.prefix(limit).map {
    $0.properties.generalCategory == .control ? " " : Character($0)
  }
  return String(start) + (text.unicodeScalars.count > limit ? "…" : "")
}

private func unique(_ texts: [String]) -> [String] {
  var seen: Set<String> = []
  return texts.filter { seen.insert($0).inserted }
}
