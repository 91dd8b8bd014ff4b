import Glibc

/// One message to a unix socket of systemd's.
enum Datagram {
  /// - Parameters:
  ///   - path: with `@` first for a name in the abstract namespace (unix(7)).
  ///   - waits: until the other side has room for it.
  /// - Returns: false when nobody takes it.
  @discardableResult
  static func send(_ message: [UInt8], to path: String, waits: Bool = false) -> Bool {
    let file = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard file >= 0 else { return false }
    defer { close(file) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return false }
    if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    let flags = Int32(MSG_NOSIGNAL) | (waits ? 0 : Int32(MSG_DONTWAIT))
    return withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        message.withUnsafeBytes {
          sendto(file, $0.baseAddress, $0.count, flags, address, length) == $0.count
        }
      }
    }
  }
}
