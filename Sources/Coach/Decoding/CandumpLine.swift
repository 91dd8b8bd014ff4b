/// A line of candump's log format (`candump -l`): `(1436509052.249713) can0 19FFF494#0102030405060708`.
public struct CandumpLine: Sendable, Hashable {
  /// When the frame was heard, in seconds since 1970; candump writes microseconds.
  public var seconds: Double
  /// The name of the interface.
  public var bus: String
  public var frame: CANFrame

  public init(seconds: Double, bus: String, frame: CANFrame) {
    self.seconds = seconds
    self.bus = bus
    self.frame = frame
  }

  /// Nil for a line that is none, and for a frame of CAN FD, which these buses do not have.
  public init?(_ line: Substring) {
    let words = line.split(whereSeparator: \.isWhitespace)
    // candump -x adds whether the frame was received or sent here.
    guard words.count == 3 || (words.count == 4 && (words[3] == "R" || words[3] == "T")),
      words[0].hasPrefix("("), words[0].hasSuffix(")"),
      words[0].dropFirst().dropLast().allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }),
      let seconds = Double(words[0].dropFirst().dropLast()), seconds < Self.endOfTime,
      let frame = CANFrame(candump: words[2])
    else { return nil }
    self.init(seconds: seconds, bus: String(words[1]), frame: frame)
  }

  /// The year 5138: later times are mistakes, and their microseconds would not fit.
  private static let endOfTime = 100_000_000_000.0

  /// The line, without its end.
  public var text: String {
    // Not `max`: that lets NaN through.
    let seconds = seconds > 0 ? min(seconds, Self.endOfTime) : 0
    let micros = Int64((seconds * 1_000_000).rounded())
    let fraction = String(micros % 1_000_000)
    let zeros = String(repeating: "0", count: 6 - fraction.count)
    return "(\(micros / 1_000_000).\(zeros)\(fraction)) \(bus) \(frame)"
  }
}

extension CANFrame: CustomStringConvertible {
  /// As candump writes frames: `19FFF49C#0000000001FFFBFB`, `123#R`, `20000004#0000000000000000`.
  init?(candump text: Substring) {
    let parts = text.split(separator: "#", omittingEmptySubsequences: false)
    guard parts.count == 2, let word = Self.number(parts[0]) else { return nil }
    let kind: Kind
    switch parts[0].utf8.count {
    case 3 where word <= 0x7FF: kind = .standard
    case 8 where word <= 0x1FFF_FFFF: kind = .extended
    // CAN_ERR_FLAG in <linux/can.h>.
    case 8 where word & 0xE000_0000 == 0x2000_0000: kind = .error
    default: return nil
    }
    if parts[1].hasPrefix("R") || parts[1].hasPrefix("r") {
      let digits = parts[1].dropFirst()
      guard kind != .error,
        let length = digits.isEmpty ? 0 : (0...8).first(where: { digits == "\($0)" })
      else { return nil }
      self.init(id: UInt32(word), data: [], kind: kind, isRemote: true)
      self.length = length
      return
    }
    // A frame of 8 bytes whose length code is 9 to 15 has that behind a "_".
    let halves = parts[1].split(separator: "_", omittingEmptySubsequences: false)
    let digits = halves.first.map(Array.init) ?? []
    guard digits.count.isMultiple(of: 2), digits.count <= 16,
      halves.count == 1 || digits.count == 16,
      halves.count <= 2
    else { return nil }
    var data: [UInt8] = []
    for index in stride(from: 0, to: digits.count, by: 2) {
      guard let byte = Self.number(String(digits[index...index + 1])) else { return nil }
      data.append(UInt8(byte))
    }
    self.init(id: UInt32(word), data: data, kind: kind)
  }

  // Made for each frame that says something, up to 1,800 times a second: no text of parts.
  public var description: String {
    var text: [UInt8] = []
    text.reserveCapacity(26)
    let word = kind == .error ? id | 0x2000_0000 : id
    Self.write(UInt64(word), digits: kind == .standard ? 3 : 8, to: &text)
    text.append(UInt8(ascii: "#"))
    if isRemote {
      text.append(UInt8(ascii: "R"))
      if length > 0 { Self.write(UInt64(length), digits: 1, to: &text) }
    } else {
      for index in 0..<length { Self.write(UInt64(self[index]), digits: 2, to: &text) }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// In hexadecimal capitals, with leading zeros.
  static func write(_ number: UInt64, digits: Int, to text: inout [UInt8]) {
    for digit in (0..<digits).reversed() {
      let value = UInt8(truncatingIfNeeded: number >> UInt64(4 * digit) & 0xF)
      text.append(value + (value < 10 ? UInt8(ascii: "0") : UInt8(ascii: "A") - 10))
    }
  }

  private static func number(_ text: some StringProtocol) -> UInt64? {
    text.allSatisfy { $0.isASCII && $0.isHexDigit } ? UInt64(text, radix: 16) : nil
  }
}
