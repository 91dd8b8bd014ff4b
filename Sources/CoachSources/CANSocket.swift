import Coach
import Glibc

/// A descriptor that gives CAN frames, one `struct can_frame` a message. It is only read: chock never
/// writes to a bus.
struct CANSocket: ~Copyable {
  /// A frame, and when the kernel got it.
  struct Received {
    var frame: CANFrame
    var at: ContinuousClock.Instant
  }

  /// Why a socket gives no frames.
  struct Failure: Error {
    var words: String
    var howToClear: String?
  }

  /// Frames that are taken out in one go, at most.
  static let batch = 64
  /// CAN_RAW_FILTER_MAX in <linux/can/raw.h>.
  private static let filterLimit = 512
  /// Half a second of a full RV-C bus; the kernel counts about 800 bytes for a frame. Its own limit (rmem_max)
  /// may make it less.
  private static let bufferBytes: Int32 = 1 << 20

  private let name: String
  private let descriptor: Int32
  /// False when all frames come.
  let isFiltered: Bool
  /// The queue was empty at this time: what is in it now came later.
  private var emptyAt = ContinuousClock.now

  /// Opens `can0`, or connects to the socket of `unix:/PATH`.
  ///
  /// - Parameter dgns: The only data groups of which frames are wanted; nil for every frame.
  static func open(_ name: String, dgns: [UInt32]?) throws(Failure) -> CANSocket {
    let isInterface = !name.hasPrefix("unix:")
    let isFiltered = isInterface && dgns.map { $0.count <= filterLimit } ?? false
    let socket = CANSocket(
      name,
      try isInterface
        ? bound(to: name, dgns: isFiltered ? dgns : nil)
        : connected(to: String(name.dropFirst("unix:".count))),
      isFiltered: isFiltered)
    // A frame may wait in the queue, and ages there. Without a timestamp it counts as new when it is taken
    // out.
    set(socket.descriptor, SOL_SOCKET, timestampOption, 1)
    set(socket.descriptor, SOL_SOCKET, SO_RCVBUF, bufferBytes)
    // An interface that is down says so once, to whoever asks first.
    var error: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(socket.descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    if error != 0 { throw failure(error, name) }
    return socket
  }

  private init(_ name: String, _ descriptor: Int32, isFiltered: Bool) {
    self.name = name
    self.descriptor = descriptor
    self.isFiltered = isFiltered
  }

  deinit { close(descriptor) }

  /// Waits for frames or an error of the socket.
  func wait(until deadline: ContinuousClock.Instant, or stop: StopLine) -> StopLine.Wake {
    stop.wait(until: deadline, or: descriptor)
  }

  /// What is left after taking out.
  enum Rest {
    case nothing, maybeMore
    /// There will be no more.
    case end(Failure)
  }

  /// Takes out what is there, up to ``batch`` messages, and hands over the frames among them.
  mutating func receive(_ take: (Received) -> Void) -> Rest {
    let now = ContinuousClock.now
    var wall = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    for _ in 0..<Self.batch {
      switch next() {
      case .frame(let frame, let stamp):
        let age = max(.zero, stamp.map { wall.since1970 - $0 } ?? .zero)
        // The wall clock may have been set in the meantime.
        take(Received(frame: frame, at: max(emptyAt, now - age)))
      case .other: break
      case .none:
        emptyAt = now
        return .nothing
      case .end: return .end(Failure(words: "\(name) was closed at the other end."))
      case .error(let number): return .end(Self.failure(number, name))
      }
    }
    return .maybeMore
  }

  private enum Message {
    /// With the wall clock's time of its arrival, since 1970.
    case frame(CANFrame, at: Duration?)
    /// Something that is no `struct can_frame`.
    case other
    case none, end
    case error(Int32)
  }

  /// The next message (recvmsg(2)).
  private func next() -> Message {
    // Room for more than a frame, because what is longer is none.
    withUnsafeTemporaryAllocation(byteCount: 2 * CANFrame.size, alignment: 8) { data in
      withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { control in
        var vector = iovec(iov_base: data.baseAddress, iov_len: data.count)
        return withUnsafeMutablePointer(to: &vector) { vector in
          var header = msghdr()
          header.msg_iov = vector
          header.msg_iovlen = 1
          header.msg_control = control.baseAddress
          header.msg_controllen = numericCast(control.count)
          var count = 0
          repeat {
            count = recvmsg(descriptor, &header, Int32(MSG_DONTWAIT))
          } while count < 0
            && errno == EINTR
          guard count >= 0 else { return errno == EAGAIN ? .none : .error(errno) }
          guard count > 0 else { return .end }
          guard let frame = CANFrame(UnsafeRawBufferPointer(rebasing: data[..<count])) else {
            return .other
          }
          let length = Int(header.msg_controllen)
          return .frame(
            frame, at: Self.timestamp(UnsafeRawBufferPointer(rebasing: control[..<length])))
        }
      }
    }
  }

  /// SO_TIMESTAMPNS_NEW of <asm-generic/socket.h>: two 64-bit numbers on every machine, seconds and
  /// nanoseconds.
  private static let timestampOption: Int32 = 64

  /// The timestamp among the control data; it is the only kind that is asked for.
  private static func timestamp(_ control: UnsafeRawBufferPointer) -> Duration? {
    let start = MemoryLayout<cmsghdr>.size
    guard control.count >= start + 16 else { return nil }
    let header = control.loadUnaligned(as: cmsghdr.self)
    guard header.cmsg_level == SOL_SOCKET, header.cmsg_type == timestampOption else { return nil }
    return .seconds(control.loadUnaligned(fromByteOffset: start, as: Int64.self))
      + .nanoseconds(control.loadUnaligned(fromByteOffset: start + 8, as: Int64.self))
  }

  // MARK: Opening

  private static func bound(to interface: String, dgns: [UInt32]?) throws(Failure) -> Int32 {
    // <linux/can.h>: PF_CAN 29, CAN_RAW 1. The constants are not imported.
    let family: Int32 = 29
    let descriptor = socket(
      family, Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 1)
    guard descriptor >= 0 else {
      throw errno == EAFNOSUPPORT || errno == EPROTONOSUPPORT
        ? Failure(
          words: "chock gets no CAN sockets here.",
          howToClear:
            "Load the kernel's modules (`modprobe can-raw`); the unit opens them with RestrictAddressFamilies=AF_CAN (`systemctl edit chock`)."
        )
        : failure(errno, interface)
    }
    do throws(Failure) {
      try prepare(descriptor, interface, dgns: dgns, family: family)
      return descriptor
    } catch {
      close(descriptor)
      throw error
    }
  }

  private static func prepare(
    _ descriptor: Int32, _ interface: String, dgns: [UInt32]?, family: Int32
  ) throws(Failure) {
    // <linux/can.h> and <linux/can/raw.h>.
    let rawLevel: Int32 = 101
    let filterOption: Int32 = 1
    let errorFilterOption: Int32 = 2
    let extended: UInt32 = 0x8000_0000
    let remote: UInt32 = 0x4000_0000
    // Filters first: a bound socket without them gets everything.
    if let dgns {
      let filters = dgns.flatMap { [$0 << 8 | extended, 0x01FF_FF00 | extended | remote] }
      let result = filters.withUnsafeBytes {
        setsockopt(descriptor, rawLevel, filterOption, $0.baseAddress, socklen_t($0.count))
      }
      guard result == 0 else { throw failure(errno, interface) }
    }
    set(descriptor, rawLevel, errorFilterOption, Int32(BusHealth.errorClasses))
    let index = if_nametoindex(interface)
    guard index > 0 else {
      throw Failure(
        words: "There is no interface \(interface).",
        howToClear: "`ip link` shows which there are.")
    }
    // struct sockaddr_can: the family, the index of the interface at byte 4, addresses of other
    // protocols.
    var address = [UInt8](repeating: 0, count: 24)
    withUnsafeBytes(of: sa_family_t(family)) { address.replaceSubrange(0..<2, with: $0) }
    withUnsafeBytes(of: Int32(bitPattern: index)) { address.replaceSubrange(4..<8, with: $0) }
    let result = address.withUnsafeBytes { bytes in
      bytes.withMemoryRebound(to: sockaddr.self) {
        bind(descriptor, $0.baseAddress, socklen_t(bytes.count))
      }
    }
    guard result == 0 else { throw failure(errno, interface) }
  }

  private static func connected(to path: String) throws(Failure) -> Int32 {
    let name = "unix:\(path)"
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw failure(ENAMETOOLONG, name)
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let descriptor = socket(
      AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { throw failure(errno, name) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0 else {
      defer { close(descriptor) }
      throw failure(errno, name)
    }
    return descriptor
  }

  private static func set(
    _ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32
  ) {
    var value = value
    setsockopt(descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
  }

  private static func failure(_ number: Int32, _ name: String) -> Failure {
    switch number {
    case ENETDOWN:
      Failure(
        words: "The interface \(name) is down.",
        howToClear:
          "For RV-C: `ip link set \(name) up type can bitrate 250000 listen-only on restart-ms 100`."
      )
    case ENODEV, ENXIO:
      Failure(
        words: "The interface \(name) is gone.", howToClear: "Check the adapter and its driver.")
    case ENOENT, ECONNREFUSED:
      Failure(words: "Nobody listens at \(name).", howToClear: "Start the bridge to the bus.")
    default:
      Failure(words: "\(name) cannot be read: \(String(cString: strerror(number))).")
    }
  }
}

extension timespec {
  fileprivate var since1970: Duration { .seconds(tv_sec) + .nanoseconds(tv_nsec) }
}
