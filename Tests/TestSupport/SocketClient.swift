import Glibc
public import Migrations
import Storage

/// The smallest HTTP client: one request, one answer, over a unix socket or to a port of this machine.
public enum SocketClient {
  public struct Answer: Sendable {
    public var status: Int
    public var head: String
    public var body: [UInt8]
    public var text: String { String(decoding: body, as: UTF8.self) }

    /// The first field of that name, in whatever case.
    public func header(_ name: String) -> String? {
      for line in head.split(separator: "\r\n").dropFirst() {
        let parts = line.split(separator: ":", maxSplits: 1)
        if parts.count == 2, parts[0].lowercased() == name.lowercased() {
          return String(parts[1].drop { $0 == " " })
        }
      }
      return nil
    }
  }

  /// - Throws: `.noDaemon` when nobody listens, `.inputOutput` when the answer is none.
  public static func request(
    _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:],
    socket: String
  ) throws(Failure) -> Answer {
    try request(method, path, body: body, headers: headers, over: try connected(to: socket))
  }

  /// The same to a port of this machine.
  public static func request(
    _ method: String, _ path: String, body: String? = nil, headers: [String: String] = [:],
    port: UInt16
  ) throws(Failure) -> Answer {
    try request(method, path, body: body, headers: headers, over: try connected(to: port))
  }

  private static func request(
    _ method: String, _ path: String, body: String?, headers: [String: String], over file: Int32
  ) throws(Failure) -> Answer {
    defer { close(file) }
    var lines = ["\(method) \(path) HTTP/1.1", "Host: localhost", "Connection: close"]
    lines += headers.map { "\($0.key): \($0.value)" }
    if let body {
      lines += ["Content-Type: application/json", "Content-Length: \(body.utf8.count)"]
    }
    let bytes = try exchange(
      Array((lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")).utf8), file)
    guard let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) else {
      throw Failure(.inputOutput, "No answer to \(method) \(path).")
    }
    let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
    let words = head.prefix { $0 != "\r\n" }.split(separator: " ")
    guard words.count > 1, let status = Int(words[1]) else {
      throw Failure(.inputOutput, "No status in the answer to \(method) \(path): \(head)")
    }
    return Answer(status: status, head: head, body: Array(bytes[end.upperBound...]))
  }

  private static func connected(to path: String) throws(Failure) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw Failure(.usage, "The path of the socket is too long: \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    return try withUnsafeBytes(of: address) { bytes throws(Failure) in
      try connected(AF_UNIX, bytes, path)
    }
  }

  /// A connection to a port of this machine that stays open: a descriptor, which the caller closes.
  public static func connected(to port: UInt16) throws(Failure) -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    return try withUnsafeBytes(of: address) { bytes throws(Failure) in
      try connected(AF_INET, bytes, "port \(port)")
    }
  }

  private static func connected(
    _ family: Int32, _ address: UnsafeRawBufferPointer, _ name: String
  ) throws(Failure) -> Int32 {
    let file = socket(family, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard file >= 0 else { throw Failure(.inputOutput, "No socket could be made.") }
    let result = address.withMemoryRebound(to: sockaddr.self) {
      connect(file, $0.baseAddress, socklen_t(address.count))
    }
    guard result == 0 else {
      close(file)
      throw Failure(.noDaemon, "Nobody listens at \(name).")
    }
    return file
  }

  private static func exchange(_ request: [UInt8], _ file: Int32) throws(Failure) -> [UInt8] {
    var offset = 0
    while offset < request.count {
      let count = request[offset...].withUnsafeBytes {
        send(file, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { throw Failure(.noDaemon, "The daemon has gone.") }
      offset += count
    }
    var answer: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = read(file, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return answer }
      answer.append(contentsOf: buffer[..<count])
    }
  }
}
