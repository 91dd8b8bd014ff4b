import NIOCore
import Testing

@testable import ControlServer

@Suite("WebSocket reader")
struct WebSocketReaderTests {
  /// What a reader says of bytes that come in pieces of so many.
  private func read(_ bytes: [UInt8], inPiecesOf size: Int) -> [WebSocketInput] {
    var reader = WebSocketReader(limit: 65_536)
    var buffer = ByteBuffer()
    var inputs: [WebSocketInput] = []
    for start in stride(from: 0, to: bytes.count, by: size) {
      buffer.writeBytes(bytes[start..<min(start + size, bytes.count)])
      while let input = reader.read(&buffer) { inputs.append(input) }
    }
    return inputs
  }

  /// The messages, put together, and what else was said.
  private func summary(_ inputs: [WebSocketInput]) -> [String] {
    var message = ByteBuffer()
    var lines: [String] = []
    for input in inputs {
      switch input {
      case .data(let bytes, let isText, let isEnd):
        message.writeImmutableBuffer(bytes)
        if isEnd {
          lines.append("\(isText ? "text" : "binary") \(String(buffer: message))")
          message.clear()
        }
      default: lines.append("\(input)")
      }
    }
    return lines
  }

  private func frame(_ first: UInt8, _ text: String) -> [UInt8] {
    let mask: [UInt8] = [9, 8, 7, 6]
    let bytes = Array(text.utf8)
    let length: [UInt8] =
      bytes.count < 126
      ? [0x80 | UInt8(bytes.count)] : [0xFE, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)]
    return [first] + length + mask + bytes.enumerated().map { $1 ^ mask[$0 % 4] }
  }

  @Test("It says the same of the same bytes, in whatever pieces they come")
  func pieces() {
    let long = String(repeating: "München ", count: 100)
    let bytes =
      frame(0x81, "Grüße") + frame(0x01, "one ") + frame(0x89, "ping") + frame(0x00, "two ")
      + frame(0x80, "three") + frame(0x82, "") + frame(0x81, long) + frame(0x8A, "")
      + frame(0x88, "")
    let expected = [
      "text Grüße", "ping(\(ByteBuffer(string: "ping")))", "text one two three", "binary ",
      "text \(long)", "pong", "close(nil)",
    ]
    for size in [1, 2, 3, 7, 64, bytes.count] {
      let said = summary(read(bytes, inPiecesOf: size)).filter { !$0.hasPrefix("ping") }
      #expect(said == expected.filter { !$0.hasPrefix("ping") }, "in pieces of \(size)")
    }
  }

  private static let refused: [(bytes: [UInt8], code: UInt16)] = [
    ([0xC1, 0x80], 1002), ([0x83, 0x80], 1002), ([0x81, 0x05], 1002), ([0x80, 0x80], 1002),
    ([0x09, 0x80], 1002), ([0x89, 0xFE], 1002), ([0x81, 0xFE, 0, 125], 1002),
    ([0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], 1002),
    ([0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
    ([0x82, 0xFF, 0, 0, 0, 0, 0x11, 0xE1, 0xA3, 0], 1009),
  ]

  @Test("A frame is refused at its header", arguments: refused)
  func headers(_ bytes: [UInt8], _ code: UInt16) {
    #expect(read(bytes, inPiecesOf: 1) == [.violation(code)])
  }

  @Test("Text is refused at its first wrong byte, and nothing counts behind it")
  func text() {
    let wrong: [[UInt8]] = [
      [0xC0], [0xC1], [0xF5], [0xFF], [0x80], [0xE0, 0x9F], [0xED, 0xA0], [0xF0, 0x8F],
      [0xF4, 0x90], [0xC3, 0x28], [0xE2, 0x82, 0x28],
    ]
    for bytes in wrong {
      var check = UTF8Check()
      let before = check.take(bytes.dropLast())
      let whole = check.take(bytes.suffix(1))
      #expect(before && !whole, "\(bytes)")
    }
    // The header announces ten bytes; the third is wrong.
    let bytes: [UInt8] = [0x81, 0x8A, 0, 0, 0, 0, 0x61, 0x62, 0xFF]
    let inputs = read(bytes + frame(0x81, "more"), inPiecesOf: 1)
    #expect(inputs.last == .violation(1007))
    #expect(inputs.count == 3)
    #expect(summary(read(frame(0x81, "x").dropLast() + [0xC3 ^ 9], inPiecesOf: 9)).count == 1)
  }

  @Test("The code of a closing handshake is one that may be sent, and its reason is text")
  func closing() {
    func close(_ payload: [UInt8]) -> [WebSocketInput] {
      read([0x88, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + payload, inPiecesOf: 64)
    }
    for code: UInt16 in [1000, 1001, 1003, 1007, 1014, 3000, 4999] {
      #expect(close([UInt8(code >> 8), UInt8(code & 255), 0x61]) == [.close(code)])
    }
    for code: UInt16 in [0, 999, 1004, 1005, 1006, 1015, 2999, 5000] {
      #expect(close([UInt8(code >> 8), UInt8(code & 255)]) == [.violation(1002)])
    }
    #expect(close([3]) == [.violation(1002)])
    #expect(close([3, 232, 0xFF]) == [.violation(1007)])
  }
}
