public import FoundationEssentials
public import Migrations

/// The one way in which chock writes and reads JSON: snake_case keys, sorted, slashes as they are.
public enum JSON {
  public static func encode(_ value: some Encodable, pretty: Bool = false) throws(Failure)
    -> [UInt8]
  {
    let encoder = JSONEncoder()
    encoder.keyEncodingStrategy = .convertToSnakeCase
    encoder.outputFormatting =
      pretty
      ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
      : [.sortedKeys, .withoutEscapingSlashes]
    do {
      return Array(try encoder.encode(value))
    } catch {
      throw Failure(.inputOutput, "A document could not be written as JSON: \(error)")
    }
  }

  public static func text(_ value: some Encodable, pretty: Bool = false) throws(Failure) -> String {
    String(decoding: try encode(value, pretty: pretty), as: UTF8.self)
  }

  /// Reads one document.
  ///
  /// - Throws: the decoder's own `DecodingError`, so that callers can name the field.
  public static func decode<T: Decodable>(_ type: T.Type, from bytes: [UInt8]) throws -> T {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return try decoder.decode(type, from: Data(bytes))
  }
}

/// Points in time as people and other programs read them; time limits use `ContinuousClock` instead.
public enum Timestamp {
  /// Now, in UTC, as RFC 3339 with milliseconds.
  public static func now() -> String { text(Date()) }

  public static func text(_ date: Date) -> String { date.formatted(style) }

  public static func text(secondsSince1970 seconds: Double) -> String {
    text(Date(timeIntervalSince1970: seconds))
  }

  /// Nil when the text is not RFC 3339 in UTC.
  public static func date(_ text: String) -> Date? {
    (try? Date(text, strategy: style))
      ?? (try? Date(text, strategy: Date.ISO8601FormatStyle()))
  }

  private static var style: Date.ISO8601FormatStyle {
    Date.ISO8601FormatStyle(includingFractionalSeconds: true)
  }
}
