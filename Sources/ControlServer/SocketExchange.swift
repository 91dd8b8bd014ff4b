import Glibc
import Migrations

/// One request to the daemon and its answer, over a connection of their own, with blocking calls.
///
/// Without NIO: its threads and pipelines take a short-lived process several milliseconds, and most
/// calls of the command line are one question.
struct SocketExchange {
  let socketPath: String
  let deadline: ContinuousClock.Instant

  /// - Parameter request: with `Connection: close`, so that the answer ends where the connection does.
  /// - Throws: `.noDaemon`, also when it ends meanwhile, `.notAllowed`, `.timeout`; `.inputOutput` when
  ///   what answers is no daemon of ours.
  func callAsFunction(_ request: [UInt8]) throws(Failure) -> ControlClient.Answer {
    let descriptor = try connect()
    defer { close(descriptor) }
    try send(request, to: descriptor)
    return try answer(from: try readToEnd(of: descriptor))
  }

  private func connect() throws(Failure) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
    // One byte stays zero: the end of the path.
    guard socketPath.utf8.count < MemoryLayout.size(ofValue: address.sun_path),
      case let descriptor = socket(AF_UNIX, kind, 0), descriptor >= 0
    else { throw ControlClient.noDaemon(socketPath) }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: socketPath.utf8) }
    // Counts for connecting too: a daemon that hangs may have a full queue (unix(7)).
    var limit = timeval(tv_sec: 5, tv_usec: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    if result == 0 { return descriptor }
    let number = errno
    close(descriptor)
    switch number {
    case EACCES: throw ControlClient.notAllowed(socketPath)
    case EAGAIN: throw ControlClient.timeout(socketPath)
    default: throw ControlClient.noDaemon(socketPath)
    }
  }

  private func send(_ bytes: [UInt8], to descriptor: Int32) throws(Failure) {
    var offset = 0
    while offset < bytes.count {
      let count = bytes[offset...].withUnsafeBytes {
        Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      if count < 0, errno == EINTR { continue }
      // A daemon that refuses a body answers before it has read all of it.
      if count < 0, errno == EPIPE { return }
      guard count >= 0 else {
        throw errno == EAGAIN
          ? ControlClient.timeout(socketPath) : ControlClient.daemonEnded(socketPath)
      }
      offset += count
    }
  }

  private func readToEnd(of descriptor: Int32) throws(Failure) -> [UInt8] {
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 16_384)
    while true {
      let left = deadline - .now
      guard left > .zero else { throw ControlClient.timeout(socketPath) }
      var wanted = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&wanted, 1, Int32(clamping: left.components.seconds * 1000 + 1000)) > 0 else {
        continue
      }
      let count = read(descriptor, &buffer, buffer.count)
      if count == 0 { return bytes }
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { throw ControlClient.daemonEnded(socketPath) }
      bytes += buffer.prefix(count)
    }
  }

  private func answer(from bytes: [UInt8]) throws(Failure) -> ControlClient.Answer {
    guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
      throw ControlClient.daemonEnded(socketPath)
    }
    let lines = String(decoding: bytes[..<end.lowerBound], as: UTF8.self).split(separator: "\r\n")
    // Such as `HTTP/1.1 200 OK`.
    guard let status = lines.first?.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
    else { throw unknown }
    var answer = ControlClient.Answer(
      status: status, headers: [], body: Array(bytes[end.upperBound...]))
    for line in lines.dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { throw unknown }
      answer.headers.append((String(parts[0]), String(parts[1].drop { $0 == " " })))
    }
    // The daemon's documents have a length; without one their end could not be told from a break.
    guard Int(answer.header("content-length") ?? "0") == answer.body.count else {
      throw ControlClient.daemonEnded(socketPath)
    }
    return answer
  }

  private var unknown: Failure {
    Failure(.inputOutput, "What answers is no chock daemon.", file: socketPath)
  }
}
