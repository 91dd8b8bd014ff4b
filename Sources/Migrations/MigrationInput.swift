/// A value that a person gives to a migration: bound as a parameter, never pasted into the SQL.
public enum InputValue: Hashable, Sendable, Codable, CustomStringConvertible {
  case text(String)
  case integer(Int64)
  case real(Double)

  /// A number as SQLite writes it; nil for anything else and for what is no finite number.
  init?(number text: String) {
    if let integer = Int64(text) {
      self = .integer(integer)
    } else if let real = Double(text), real.isFinite,
      text.allSatisfy({ $0.isASCII && ($0.isNumber || "+-.eE".contains($0)) })
    {
      self = .real(real)
    } else {
      return nil
    }
  }

  public var description: String {
    switch self {
    case .text(let text): text
    case .integer(let number): "\(number)"
    case .real(let number): "\(number)"
    }
  }

  var number: Double? {
    switch self {
    case .text: nil
    case .integer(let number): Double(number)
    case .real(let number): number
    }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let integer = try? container.decode(Int64.self) {
      self = .integer(integer)
    } else if let real = try? container.decode(Double.self) {
      self = .real(real)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .integer(let number): try container.encode(number)
    case .real(let number): try container.encode(number)
    }
  }
}

/// A question that a migration asks a person: an `Input` header.
public struct MigrationInput: Hashable, Sendable, Codable {
  public enum Kind: String, Hashable, Sendable, Codable, CaseIterable {
    case text = "TEXT"
    case integer = "INTEGER"
    case real = "REAL"
  }

  /// The parameter in the SQL, without its colon.
  public var name: String
  public var kind: Kind
  public var question: String
  public var defaultValue: InputValue?
  /// What may be chosen; empty: anything.
  public var choices: [InputValue]
  public var minimum: InputValue?
  public var maximum: InputValue?
  /// The line of the header in its file.
  public var line: Int

  static let form =
    "NAME TEXT|INTEGER|REAL \"question\" [default VALUE] [choices VALUE, VALUE ...] [range LOW..HIGH]"

  /// - Returns: the value as the migration gets it.
  /// - Throws: `.input` for one of another type, or one that may not be chosen.
  public func accept(_ value: InputValue) throws(Failure) -> InputValue {
    let converted: InputValue? =
      switch (kind, value) {
      case (.text, .text), (.integer, .integer), (.real, .real): value
      case (.text, _): .text(value.description)
      case (.real, .integer(let number)): .real(Double(number))
      case (.integer, .text(let text)): Int64(text).map(InputValue.integer)
      case (.real, .text(let text)): InputValue(number: text)?.number.map(InputValue.real)
      case (.integer, .real): nil
      }
    guard let converted else {
      throw refusal("\(value) is not \(kind == .integer ? "a whole number" : "a number")")
    }
    guard choices.isEmpty || choices.contains(converted) else {
      throw refusal("\(converted) is none of its choices")
    }
    if let number = converted.number {
      if let low = minimum?.number, number < low { throw refusal("\(converted) is too small") }
      if let high = maximum?.number, number > high { throw refusal("\(converted) is too large") }
    }
    return converted
  }

  private func refusal(_ why: String) -> Failure {
    Failure(
      .input, "\(question) \(why).", howToClear: "Give \(name): \(domain).",
      pointer: "/inputs/\(name)")
  }

  /// A value that it accepts.
  public var sample: InputValue {
    if let value = defaultValue ?? choices.first ?? minimum { return value }
    return switch kind {
    case .text: .text("x")
    case .integer: .integer(1)
    case .real: .real(1)
    }
  }

  /// What may be given, in words.
  public var domain: String {
    if !choices.isEmpty { return "one of " + choices.map(\.description).joined(separator: ", ") }
    let what =
      switch kind {
      case .text: "a text"
      case .integer: "a whole number"
      case .real: "a number"
      }
    switch (minimum, maximum) {
    case (let low?, let high?): return "\(what) from \(low) to \(high)"
    default: return what
    }
  }
}

extension MigrationInput {
  /// Reads the `form`.
  ///
  /// - Throws: what is wrong with it, in words, and what to do.
  static func parse(_ text: String, line: Int) -> Result<MigrationInput, Misfit> {
    var value = HeaderValue(text)
    let shape = Misfit("is not understood", "Write \(form).")
    guard let name = value.word(), let first = name.first, first.isLetter || first == "_",
      name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") })
    else {
      return .failure(
        Misfit("does not begin with a name of letters, digits and _", "Write \(form)."))
    }
    guard let type = value.word() else { return .failure(shape) }
    guard let kind = Kind(rawValue: type) else {
      let types = Kind.allCases.map(\.rawValue)
      return .failure(
        Misfit(
          "has no type \(type).\(suggestion(for: type, among: types))",
          "Use one of \(types.joined(separator: ", "))."))
    }
    guard let question = value.quoted("\""), !question.trimmed().isEmpty else {
      return .failure(Misfit("has no question in double quotes", "Write \(form)."))
    }
    var input = MigrationInput(
      name: name, kind: kind, question: question, defaultValue: nil, choices: [], line: line)
    // Each of its own type, so that `default 5` of a TEXT is seen as a slip.
    func literal() -> InputValue? {
      guard let found = value.literal() else { return nil }
      switch (kind, found) {
      case (.text, .text), (.integer, .integer), (.real, .real): return found
      case (.real, .integer(let number)): return .real(Double(number))
      default: return nil
      }
    }
    let sample = kind == .text ? "'text'" : kind == .integer ? "12" : "1.5"
    var seen: Set<String> = []
    while !value.isAtEnd {
      guard let word = value.word(), ["default", "choices", "range"].contains(word) else {
        return .failure(shape)
      }
      guard seen.insert(word).inserted else {
        return .failure(Misfit("has \(word) twice", "Keep one of them."))
      }
      let misfit = Misfit(
        "has no \(kind.rawValue) behind \(word)",
        kind == .text && word == "range"
          ? "A range is for numbers." : "Write a value such as \(sample).")
      switch word {
      case "default":
        guard let found = literal() else { return .failure(misfit) }
        input.defaultValue = found
      case "choices":
        repeat {
          guard let found = literal() else { return .failure(misfit) }
          guard !input.choices.contains(found) else {
            return .failure(Misfit("offers \(found) twice", "Keep one of them."))
          }
          input.choices.append(found)
        } while value.take(",")
      default:
        guard kind != .text, let low = literal(), value.take(".."), let high = literal() else {
          return .failure(misfit)
        }
        guard (low.number ?? 0) <= (high.number ?? 0) else {
          return .failure(Misfit("has a range that is empty", "Write range LOW..HIGH."))
        }
        (input.minimum, input.maximum) = (low, high)
      }
    }
    for value in input.choices + [input.defaultValue].compactMap({ $0 }) {
      do throws(Failure) {
        _ = try input.accept(value)
      } catch {
        return .failure(Misfit("contradicts itself: \(error.message)", "Correct one of the two."))
      }
    }
    return .success(input)
  }

  /// Why a header is none, and what to do.
  struct Misfit: Error {
    var what: String
    var howToClear: String

    init(_ what: String, _ howToClear: String) {
      self.what = what
      self.howToClear = howToClear
    }
  }
}
