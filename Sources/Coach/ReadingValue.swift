/// What a signal said. In JSON a bare string, number or boolean.
public enum ReadingValue: Sendable, Hashable, Codable, CustomStringConvertible {
  case text(String)
  case number(Double)
  case flag(Bool)

  /// Reads `true`, `12.4` or `engaged`, as a person types it in `--attest SIGNAL=VALUE`.
  public init(parsing text: String) {
    switch text {
    case "true": self = .flag(true)
    case "false": self = .flag(false)
    default: self = Double(text).map(ReadingValue.number) ?? .text(text)
    }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let flag = try? container.decode(Bool.self) {
      self = .flag(flag)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else {
      self = .text(try container.decode(String.self))
    }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .text(let text): try container.encode(text)
    case .number(let number): try container.encode(number)
    case .flag(let flag): try container.encode(flag)
    }
  }

  /// `engaged`, `12.4`, `5`, `true`.
  public var description: String {
    switch self {
    case .text(let text): text
    case .number(let number): Int64(exactly: number).map(String.init) ?? String(number)
    case .flag(let flag): flag ? "true" : "false"
    }
  }
}
