/// One row of a profile: where something is said, and what it means.
struct ProfileRow {
  enum Place {
    /// In the frames of a data group that meet the condition.
    case frame(dgn: UInt32, FrameCondition)
    case json(path: String, JSONPointer)
    /// In the files that match a pattern; a bit (0...63) of the hexadecimal number there, or all of it.
    case file(pattern: String, bit: Int?)
  }

  enum Content {
    case signal(SignalContent)
    case command(CommandContent)
  }

  var place: Place
  var content: Content
  /// True for what may speak against an update and is never the reason to allow one.
  var vetoOnly = false

  /// A row of a profile that extends another one replaces the other's rows with the same subject.
  var subject: Subject {
    let signal: String? =
      if case .signal(let signal) = content { signal.name.text } else { nil }
    return switch place {
    case .frame(let dgn, _): Subject(signal: signal, dgn: dgn)
    // One source has one word on a signal, wherever it says it.
    case .json: Subject(signal: signal)
    case .file(let pattern, _): Subject(signal: signal, file: pattern)
    }
  }

  struct Subject: Hashable {
    /// Nil for a command.
    var signal: String?
    var dgn: UInt32?
    var file: String?
  }
}

/// Which of the frames of a data group a row is about.
struct FrameCondition: Hashable {
  struct Part: Hashable {
    var field: FrameField
    var value: UInt64
  }

  var parts: [Part] = []
  /// Empty: all.
  var sourceAddresses: Set<UInt8> = []

  func holds(for frame: CANFrame) -> Bool {
    (sourceAddresses.isEmpty || sourceAddresses.contains(frame.sourceAddress))
      && parts.allSatisfy { $0.field.raw(in: frame) == $0.value }
  }
}

/// A signal that a row reports.
struct SignalContent {
  var name: SignalName
  /// Nil in rows that read no frames.
  var field: FrameField?
  /// Whose value is the signal's `{instance}`.
  var instance: FrameField?
  var values: ValueTable
  var lasting: Duration

  func content(_ value: ReadingValue?, of name: String) -> Report.Content {
    value.map { .value($0, of: name, lasting: lasting) } ?? .noValue(of: name)
  }

  /// - Parameter raw: of ``field``.
  func content(raw: UInt64, in field: FrameField, of name: String) -> Report.Content {
    raw > field.highestValue && !field.isNotAvailable(raw)
      ? .error(of: name)
      : content(raw > field.highestValue ? nil : values.value(of: Double(raw)), of: name)
  }
}

/// A command to move or switch something: while it is recent, a control is active.
struct CommandContent {
  var name: String
  var lasting: Duration

  var article: String { "aeiouAEIOU".contains(name.prefix(1)) ? "an" : "a" }
}

/// The name of a signal, in which `{instance}` or `{key}` may stand for what is read.
struct SignalName: Hashable {
  enum Placeholder: String, CaseIterable {
    case instance = "{instance}"
    case key = "{key}"
  }

  let text: String
  let placeholder: Placeholder?
  private let before: Substring
  private let after: Substring

  init(_ text: String) {
    self.text = text
    for placeholder in Placeholder.allCases {
      guard let range = text.firstRange(of: placeholder.rawValue) else { continue }
      self.placeholder = placeholder
      before = text[..<range.lowerBound]
      after = text[range.upperBound...]
      return
    }
    placeholder = nil
    before = text[...]
    after = ""
  }

  /// How much of a key becomes part of a name.
  static let keyLimit = 40

  func filled(with instance: UInt64) -> String { before + String(instance) + after }

  /// With characters that no name has as `_`.
  func filled(with key: String) -> String {
    let fit = key.prefix(Self.keyLimit).map { Signal.isName(String($0)) ? $0 : "_" }
    return before + (fit.isEmpty ? "_" : String(fit)) + after
  }
}

extension ProfileRow: CustomStringConvertible {
  /// `parking_brake from frames 1FFF4`, for people.
  var description: String {
    let source =
      switch place {
      case .frame(let dgn, _): "frames \(String(dgn, radix: 16, uppercase: true))"
      case .json(let path, let pointer): "\(path)#\(pointer.text)"
      case .file(let pattern, _): pattern
      }
    let what =
      switch content {
      case .signal(let signal): signal.name.text
      case .command(let command): "active control: \(command.name)"
      }
    return "\(what) from \(source)" + (vetoOnly ? " (veto only)" : "")
  }
}
