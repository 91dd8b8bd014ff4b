/// A version of the application's schema: the version part of a migration's file name.
///
/// Versions are ordered naturally, number by number, so that 9 comes before 10 and 1.4 before 1.10.
public struct SchemaVersion: Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
  /// "0": none of the files is in the database. No file has this version.
  public static let zero = SchemaVersion(components: [0])

  private let components: [UInt64]

  private init(components: [UInt64]) {
    self.components = components
  }

  /// Reads `0004` (4), `phase1_004` (1.4), `V4` or `4` (4), `1.2` or `1_2` (1.2), `20250101120000`.
  ///
  /// Nil for anything else, also for a number that does not fit 64 bits.
  public init?(_ text: String) {
    var digits = text[...]
    let isPhased = digits.hasPrefix("phase")
    if isPhased {
      digits = digits.dropFirst("phase".count)
    } else if let first = digits.first, first == "V" || first == "v" {
      digits = digits.dropFirst()
    }
    let parts = digits.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "_" }
    if isPhased, parts.count != 2 { return nil }
    var components: [UInt64] = []
    for part in parts {
      // UInt64 alone would take "+4".
      guard part.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
        let number = UInt64(part)
      else { return nil }
      components.append(number)
    }
    // "0.0" is another spelling of "none of the files", not a version behind it.
    self.init(components: components.allSatisfy { $0 == 0 } ? [0] : components)
  }

  /// The numbers without leading zeros, joined by dots: `4`, `1.4`.
  public var description: String {
    components.map(String.init).joined(separator: ".")
  }

  public static func < (left: Self, right: Self) -> Bool {
    left.components.lexicographicallyPrecedes(right.components)
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    let text = try container.decode(String.self)
    guard let version = SchemaVersion(text) else {
      throw DecodingError.dataCorruptedError(
        in: container, debugDescription: "\"\(text)\" is not a schema version.")
    }
    self = version
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
