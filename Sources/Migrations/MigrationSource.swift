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
    var bytes: [UInt8] = []
    bytes.reserveCapacity(text.utf8.count)
    var line = 1
    var afterReturn = false
    for byte in text.utf8 {
      switch byte {
      case 0:
        throw Failure(
          .migrationFile, "\(fileName) contains a NUL character.", file: path, line: line,
          howToClear: "Save the file as plain UTF-8 text.")
      case UInt8(ascii: "\r"):
        bytes.append(UInt8(ascii: "\n"))
        line += 1
      case UInt8(ascii: "\n") where afterReturn: break
      case UInt8(ascii: "\n"):
        bytes.append(byte)
        line += 1
      default: bytes.append(byte)
      }
      afterReturn = byte == UInt8(ascii: "\r")
    }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
    self.bytes = bytes
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
  return String(
    decoding: SHA256.hash(data: bytes).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] },
    as: UTF8.self)
}
