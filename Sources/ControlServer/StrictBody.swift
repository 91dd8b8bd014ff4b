import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import Migrations
import NIOCore
import Updating

/// A request body whose fields are exactly its coding keys: one that is not known is an error, not
/// ignored, because a misspelt field would otherwise do something else than its sender meant.
protocol StrictBody: Decodable {
  associatedtype CodingKeys: CodingKey & CaseIterable
}

/// For requests that take no body: nothing, or `{}`.
struct NoFields: StrictBody {
  enum CodingKeys: CodingKey, CaseIterable {}
}

extension Request {
  /// A misspelt parameter would otherwise do something else than its sender meant.
  ///
  /// - Throws: `Failure(.usage)` naming the parameter that is not known.
  func checkQuery(_ known: [String]) throws(Failure) {
    guard let unknown = uri.queryParameters.map(\.key).first(where: { !known.contains(String($0)) })
    else { return }
    throw Failure(
      .usage, "Unknown parameter `\(unknown.prefix(100))`.",
      howToClear: known.isEmpty
        ? "This request takes no parameters."
        : "Known parameters: \(known.joined(separator: ", ")).")
  }

  /// The body as a value; an absent body counts as `{}`.
  ///
  /// - Throws: `Problem` with 413, 415 or 400, the latter naming the field.
  func strictBody<Body: StrictBody>(_ type: Body.Type, limit: Int) async throws -> Body {
    try Body.parse(try await bodyBytes(limit: limit))
  }

  /// - Throws: `Problem` with 413 or 415.
  func bodyBytes(limit: Int) async throws -> [UInt8] {
    let tooLarge = Problem(
      Failure(.usage, "The body is larger than \(limit) bytes."), status: .contentTooLarge,
      headers: [.connection: "close"])
    // What is announced is refused before it is read.
    if let length = headers[.contentLength].flatMap(Int.init), length > limit { throw tooLarge }
    let buffer: ByteBuffer
    do {
      buffer = try await body.collect(upTo: limit)
    } catch is NIOTooManyBytesError {
      throw tooLarge
    } catch {
      throw Problem(
        Failure(.usage, "The body ended before it was whole."), headers: [.connection: "close"])
    }
    if buffer.readableBytes > 0 || headers[.contentType] != nil {
      // Other types (a form, plain text) are what a page of another site can send without being
      // asked first.
      let type = headers[.contentType]?.prefix { $0 != ";" }.lowercased() ?? ""
      guard type.split(separator: " ").first == "application/json" else {
        throw Problem(
          Failure(
            .usage, "The body must be JSON.", howToClear: "Send Content-Type: application/json."),
          status: .unsupportedMediaType)
      }
    }
    return Array(buffer.readableBytesView)
  }
}

extension StrictBody {
  /// - Throws: `Failure(.usage)` naming the field.
  static func parse(_ bytes: [UInt8]) throws(Failure) -> Self {
    if let flaw = JSONFlaw(in: bytes) { throw Failure(.usage, flaw.words, pointer: flaw.pointer) }
    let data = Data(bytes.isEmpty ? Array("{}".utf8) : bytes)
    let fields = CodingKeys.allCases.map(\.stringValue)
    do {
      let known = Set(fields)
      let present = try JSONDecoder().decode([String: Anything].self, from: data)
      if let unknown = present.keys.filter({ !known.contains($0) }).min() {
        throw Failure(
          .usage, "Unknown field `\(unknown.prefix(100))`.",
          howToClear: fields.isEmpty
            ? "This request takes no fields." : "Known fields: \(fields.joined(separator: ", ")).",
          pointer: "/" + Self.escaped(unknown.prefix(100)))
      }
      return try JSONDecoder().decode(Self.self, from: data)
    } catch let failure as Failure {
      throw failure
    } catch let error as DecodingError {
      throw Failure(.usage, Self.describe(error), pointer: Self.pointer(error))
    } catch {
      throw Failure(.usage, "The body is not JSON.")
    }
  }

  /// Where in the body the error is, as RFC 6901 writes it; "" is the body itself.
  private static func pointer(_ error: DecodingError) -> String {
    let path: [any CodingKey] =
      switch error {
      case .keyNotFound(let key, let context): context.codingPath + [key]
      case .typeMismatch(_, let context), .valueNotFound(_, let context),
        .dataCorrupted(let context):
        context.codingPath
      @unknown default: []
      }
    return path.map { "/" + ($0.intValue.map(String.init) ?? escaped($0.stringValue[...])) }
      .joined()
  }

  private static func escaped(_ name: Substring) -> String {
    name.map { $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0) }.joined()
  }

  private static func describe(_ error: DecodingError) -> String {
    func path(_ context: DecodingError.Context) -> String? {
      context.codingPath.first?.stringValue
    }
    switch error {
    case .keyNotFound(let key, _):
      return "The field `\(key.stringValue)` is missing."
    case .typeMismatch(let type, let context), .valueNotFound(let type, let context):
      guard let field = path(context) else { return "The body must be a JSON object." }
      return "The field `\(field)` must be \(name(of: type))."
    case .dataCorrupted(let context):
      guard let field = path(context) else { return "The body is not well-formed JSON." }
      return "The field `\(field)` has a wrong value."
    @unknown default:
      return "The body is not what this request takes."
    }
  }

  private static func name(of type: any Any.Type) -> String {
    switch type {
    case is Bool.Type: "true or false"
    case is Double.Type: "a number"
    case is String.Type: "text"
    case is Role.Type: "a role"
    default: "of another type"
    }
  }
}

/// What Foundation's decoder lets pass and RFC 8259 does not, or leaves open: of two members with one
/// name a person saw one and the daemon takes the other.
private struct JSONFlaw {
  var words: String
  var pointer: String?

  /// Nil when there is none of these.
  init?(in bytes: [UInt8]) {
    guard String(validating: bytes, as: UTF8.self) != nil, !bytes.contains(0) else {
      self.init(words: "The body is not JSON in UTF-8.")
      return
    }
    // The names of each object that is open; nil for an array.
    var open: [Set<String>?] = []
    var last: UInt8 = 0
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      switch byte {
      case UInt8(ascii: "\""):
        let start = index
        index += 1
        while index < bytes.count, bytes[index] != UInt8(ascii: "\"") {
          index += bytes[index] == UInt8(ascii: "\\") ? 2 : 1
        }
        let isName = last == UInt8(ascii: "{") || last == UInt8(ascii: ",")
        if isName, let names = open.last, var names, index < bytes.count,
          let name = try? JSONDecoder().decode(String.self, from: Data(bytes[start...index]))
        {
          guard names.insert(name).inserted else {
            self.init(
              words: "The field `\(name.prefix(100))` is there twice.",
              pointer: "/\(name.prefix(100))")
            return
          }
          open[open.count - 1] = names
        }
      case UInt8(ascii: "{"): open.append([])
      case UInt8(ascii: "["): open.append(nil)
      case UInt8(ascii: "}"), UInt8(ascii: "]"):
        guard last != UInt8(ascii: ",") else {
          self.init(words: "The body is not well-formed JSON: a comma too many.")
          return
        }
        _ = open.popLast()
      default: break
      }
      if !" \t\r\n".utf8.contains(byte) { last = byte }
      index += 1
    }
    return nil
  }

  private init(words: String, pointer: String? = nil) {
    self.words = words
    self.pointer = pointer
  }
}

/// Any JSON value, not looked at.
private struct Anything: Decodable {
  init(from decoder: any Decoder) {}
}
