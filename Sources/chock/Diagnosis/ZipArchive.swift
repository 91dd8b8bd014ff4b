import Glibc

/// A ZIP archive whose files are stored as they are (APPNOTE.TXT of PKWARE, 4.3; docs/decisions/0052).
struct ZipArchive {
  private var bytes: [UInt8] = []
  private var directory: [UInt8] = []
  private var count: UInt16 = 0
  /// The time of every file in it, as MS-DOS has it, in UTC.
  private let date: UInt16
  private let time: UInt16

  /// - Parameter seconds: since 1970.
  init(at seconds: Int) {
    var seconds = time_t(seconds)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    func number(_ value: Int32, _ range: ClosedRange<Int32>) -> UInt16 {
      UInt16(min(max(value, range.lowerBound), range.upperBound))
    }
    date =
      number(parts.tm_year - 80, 0...127) << 9 | number(parts.tm_mon + 1, 1...12) << 5
      | number(parts.tm_mday, 1...31)
    time =
      number(parts.tm_hour, 0...23) << 11 | number(parts.tm_min, 0...59) << 5
      | number(parts.tm_sec, 0...59) / 2
  }

  /// - Parameter name: ASCII, with `/` between folders.
  mutating func add(_ name: String, _ content: [UInt8]) {
    let offset = UInt32(bytes.count)
    let size = UInt32(content.count)
    let name = Array(name.utf8)
    // Version 2.0, no flags, stored.
    var common: [UInt8] = []
    common += Self.word(20) + Self.word(0) + Self.word(0) + Self.word(time) + Self.word(date)
    common += Self.long(Self.crc32(content)) + Self.long(size) + Self.long(size)
    common += Self.word(UInt16(name.count)) + Self.word(0)
    bytes += Self.long(0x0403_4b50) + common + name + content
    // Made on Unix, readable by its owner alone.
    directory += Self.long(0x0201_4b50) + Self.word(3 << 8 | 20) + common
    directory += Self.word(0) + Self.word(0) + Self.word(0) + Self.long(0o100600 << 16)
    directory += Self.long(offset) + name
    count += 1
  }

  /// The whole archive.
  var whole: [UInt8] {
    var end = Self.long(0x0605_4b50) + Self.word(0) + Self.word(0)
    end += Self.word(count) + Self.word(count)
    end += Self.long(UInt32(directory.count)) + Self.long(UInt32(bytes.count)) + Self.word(0)
    return bytes + directory + end
  }

  private static func word(_ value: UInt16) -> [UInt8] {
    [UInt8(value & 0xff), UInt8(value >> 8)]
  }

  private static func long(_ value: UInt32) -> [UInt8] {
    word(UInt16(value & 0xffff)) + word(UInt16(value >> 16))
  }

  private static let table: [UInt32] = (0..<256).map { index in
    (0..<8).reduce(UInt32(index)) { rest, _ in
      rest & 1 == 1 ? rest >> 1 ^ 0xedb8_8320 : rest >> 1
    }
  }

  static func crc32(_ bytes: [UInt8]) -> UInt32 {
    let table = table
    return ~bytes.reduce(UInt32.max) { $0 >> 8 ^ table[Int(UInt8($0 & 0xff) ^ $1)] }
  }
}
