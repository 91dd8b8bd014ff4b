/// A frame of a CAN bus, as Linux hands it over (`struct can_frame` in <linux/can.h>).
public struct CANFrame: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    /// 29 bits of identifier: the only kind that RV-C and J1939 use.
    case extended
    /// 11 bits of identifier.
    case standard
    /// A report of the driver about the bus (<linux/can/error.h>); the identifier is a class of errors.
    case error
  }

  /// Bytes of `struct can_frame`.
  public static let size = 16

  public var kind: Kind
  public var id: UInt32
  /// A request for a frame; it carries no data.
  public var isRemote: Bool
  /// How many bytes of `data` are there, 0...8.
  public var length: Int
  /// The bytes, the first one lowest: as RV-C counts bytes and bits.
  public var data: UInt64

  public init(
    id: UInt32, data: [UInt8], kind: Kind = .extended, isRemote: Bool = false
  ) {
    self.kind = kind
    self.id = id & (kind == .standard ? 0x7FF : 0x1FFF_FFFF)
    self.isRemote = isRemote
    length = min(data.count, 8)
    self.data = data.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  /// From the 16 bytes of `struct can_frame`, in this machine's byte order.
  ///
  /// Nil for another size, and for a length that no frame has.
  public init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count == Self.size, bytes[4] <= 8 else { return nil }
    let word = bytes.loadUnaligned(as: UInt32.self)
    // CAN_EFF_FLAG, CAN_RTR_FLAG and CAN_ERR_FLAG in <linux/can.h>.
    kind = word & 0x2000_0000 != 0 ? .error : word & 0x8000_0000 != 0 ? .extended : .standard
    isRemote = kind != .error && word & 0x4000_0000 != 0
    id = word & (kind == .standard ? 0x7FF : 0x1FFF_FFFF)
    length = Int(bytes[4])
    // What is behind the end was never on the bus.
    data =
      bytes[8..<8 + length].reversed().reduce(0) { $0 << 8 | UInt64($1) }
  }

  public subscript(byte: Int) -> UInt8 { UInt8(truncatingIfNeeded: data >> UInt64(8 * byte)) }

  /// The data group number of RV-C, which J1939 calls parameter group number: data page, format and
  /// specific part.
  public var dgn: UInt32 { id >> 8 & 0x1FFFF }

  /// The address of the node that sent it.
  public var sourceAddress: UInt8 { UInt8(truncatingIfNeeded: id) }
}
