import Crypto
import FoundationEssentials

/// The text of one migration file with a common line ending, and where it came from.
struct MigrationSource {
  let fileName: String
  let path: String
  /// UTF-8 with LF line ends and without byte order mark: an editor's habits are no change of the
  /// migration.
  let bytes: [UInt8]

  /// Throws `.migrationFile` when the text holds a NUL, at which SQLite would stop reading.
  init(fileName: String, path: String, text: String) throws(Failure) {
    self.fileName = fileName
    self.path = path
    var bytes = Array(text.utf8)
    if bytes.contains(UInt8(ascii: "\r")) { bytes = Self.withLineFeeds(bytes) }
    if let end = bytes.firstIndex(of: 0) {
      throw Failure(
        .migrationFile, "\(fileName) contains a NUL character.", file: path,
        line: 1 + bytes[..<end].count { $0 == UInt8(ascii: "\n") },
        howToClear: "Save the file as plain UTF-8 text.")
    }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    self.bytes = bytes
  }

  private static func withLineFeeds(_ bytes: [UInt8]) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    var afterReturn = false
    for byte in bytes {
      let isReturn = byte == UInt8(ascii: "\r")
      if isReturn {
        result.append(UInt8(ascii: "\n"))
      } else if byte != UInt8(ascii: "\n") || !afterReturn {
        result.append(byte)
      }
      afterReturn = isReturn
    }
    return result
  }

  func text(_ range: Range<Int>) -> String {
    String(decoding: bytes[range], as: UTF8.self)
  }

  /// Refuses Flyway's `${name}`: as it stands it would go into the database as text.
  func refusePlaceholders() throws(Failure) {
    let text = text(0..<bytes.count)
    guard text.contains("${") else { return }
    let tokens = SQLToken.all(of: text)
    for (token, next) in zip(tokens, tokens.dropFirst() + tokens.suffix(1)) {
      let isQuoted = [.string, .name].contains(token.kind) && token.text.contains("${")
      guard isQuoted || (token.text == "$" && next.text == "{") else { continue }
      throw failure(
        "A placeholder of Flyway stands here, which chock does not fill in.", line: token.line,
        howToClear:
          "Write the value out, or ask the person for it with an Input header. If the text is meant as it is, put -- @migrate above the statements."
      )
    }
  }

  func failure(_ message: String, line: Int, howToClear: String) -> Failure {
    Failure(.migrationFile, message, file: path, line: line, howToClear: howToClear)
  }
}

/// The SHA-256 of the bytes in lowercase hexadecimal, as `sha256sum` prints it.
public func sha256(_ bytes: [UInt8]) -> String {
  let digits = Array("0123456789abcdef".utf8)
  var text: [UInt8] = []
  for byte in SHA256.hash(data: bytes) {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return String(decoding: text, as: UTF8.self)
}
