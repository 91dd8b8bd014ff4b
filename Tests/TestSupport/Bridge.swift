public import Coach
import Glibc
import Migrations
import Synchronization

/// The other end of `interface = "unix:/PATH"`: what a bridge to another machine's bus would be.
public final class Bridge: Sendable {
  private let path: String
  private let listener: Int32
  private let peer = Mutex<Int32>(-1)

  public var interface: String { "unix:\(path)" }

  public init(_ path: String) throws {
    self.path = path
    listener = socket(AF_UNIX, Int32(SOCK_SEQPACKET.rawValue | SOCK_CLOEXEC.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(listener, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0, listen(listener, 4) == 0 else {
      throw Failure(.inputOutput, "No socket at \(path).")
    }
  }

  deinit {
    hangUp()
    close(listener)
    unlink(path)
  }

  /// Waits for the next connection, which takes the place of the one before.
  public func accept() async throws {
    try await waitUntil("somebody connects to the bridge") {
      var waiting = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
      return poll(&waiting, 1, 0) == 1
    }
    let descriptor = Glibc.accept(listener, nil, nil)
    guard descriptor >= 0 else { throw Failure(.inputOutput, "No connection at \(path).") }
    hangUp()
    peer.withLock { $0 = descriptor }
  }

  public var isClosedAtTheOtherEnd: Bool {
    peer.withLock {
      var waiting = pollfd(fd: $0, events: 0, revents: 0)
      return poll(&waiting, 1, 0) == 1 && Int32(waiting.revents) & Int32(POLLHUP) != 0
    }
  }

  public func hangUp() {
    peer.withLock {
      if $0 >= 0 { close($0) }
      $0 = -1
    }
  }

  /// - Returns: false when the other end takes no more for now.
  @discardableResult
  public func send(_ bytes: [UInt8], waiting: Bool = true) -> Bool {
    let flags = Int32(MSG_NOSIGNAL) | (waiting ? 0 : Int32(MSG_DONTWAIT))
    return peer.withLock { Glibc.send($0, bytes, bytes.count, flags) } == bytes.count
  }

  @discardableResult
  public func send(_ frame: CANFrame, waiting: Bool = true) -> Bool {
    send(frame.bytes, waiting: waiting)
  }
}

extension CANFrame {
  /// `struct can_frame`
  public var bytes: [UInt8] {
    let flag: UInt32 =
      switch kind {
      case .extended: 0x8000_0000
      case .standard: 0
      case .error: 0x2000_0000
      }
    let word = id | flag | (isRemote ? 0x4000_0000 : 0)
    return withUnsafeBytes(of: word) { Array($0) } + [UInt8(length), 0, 0, 0]
      + (0..<8).map { self[$0] }
  }

  /// CHASSIS_MOBILITY_STATUS (1FFF4): the parking brake, and a speed in km/h.
  public static func chassis(
    brake: Bool, speed: Int = 0, from source: UInt32 = 0x9C
  ) -> CANFrame {
    CANFrame(
      id: 0x11FF_F400 | source,
      data: [0, 0, 0, UInt8(speed), brake ? 0xFD : 0xFC, 0xFF, 0xFF, 0xFF])
  }
}
