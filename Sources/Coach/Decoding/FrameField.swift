/// Where a field lies in the data of a frame. Bytes and bits count from 0, the least significant first; of
/// several bytes the first is the lowest, as in RV-C and J1939.
struct FrameField: Hashable {
  private let shift: Int
  private let width: Int
  /// How long a frame must be to have it.
  private let minimumLength: Int

  /// Reads `0`, `2-3` (bytes), `4.6` and `4.0-1` (bits of a byte); nil for anything else, and for what a
  /// frame of 8 bytes does not have.
  init?(_ text: String) {
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    guard let first = parts.first, parts.count <= 2, let bytes = Self.span(first) else {
      return nil
    }
    if parts.count == 2 {
      guard bytes.count == 1, let bits = Self.span(parts[1]) else { return nil }
      shift = 8 * bytes.lowerBound + bits.lowerBound
      width = bits.count
    } else {
      shift = 8 * bytes.lowerBound
      width = 8 * bytes.count
    }
    minimumLength = bytes.upperBound + 1
  }

  private static func span(_ text: Substring) -> ClosedRange<Int>? {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    let numbers = ends.compactMap { end in (0...7).first { String($0) == end } }
    guard numbers.count == ends.count, let first = numbers.first, let last = numbers.last,
      numbers.count <= 2, first <= last
    else { return nil }
    return first...last
  }

  /// The highest number that its bits make.
  var highest: UInt64 { .max >> UInt64(64 - width) }

  /// The highest raw value that is one. Above it are RV-C's "error" and "not available":
  /// 10b and 11b of two bits, 253 to 255 of a byte, 65533 to 65535 of two bytes.
  var highestValue: UInt64 {
    switch width {
    case 1: highest
    case 2...7: highest - 2
    default: highest - 3
    }
  }

  /// RV-C's "not available": all bits are set. What lies between the highest value and that is an error.
  func isNotAvailable(_ raw: UInt64) -> Bool { width > 1 && raw == highest }

  /// The raw value; nil when the frame is too short to have it.
  func raw(in frame: CANFrame) -> UInt64? {
    frame.length < minimumLength ? nil : frame.data >> UInt64(shift) & highest
  }
}
