import Dispatch
import Glibc
import Migrations
import Synchronization

/// A controller's HTTP server, as well or as badly as a test wants it.
public final class FakeServer: Sendable {
  public enum Answer: Sendable {
    case text(String, status: String = "200 OK", headers: [String] = [])
    /// As they are, and then the end of the connection.
    case bytes(String)
    /// Nothing, while the client waits.
    case silence
  }

  public let port: UInt16
  private let listener: Int32
  private let answer: @Sendable (_ path: String, _ request: String) -> Answer
  private let asked = Mutex<[String]>([])
  private let held = Mutex<[Int32]>([])

  public var url: String { "http://127.0.0.1:\(port)" }
  /// All requests so far, each with its head and its body.
  public var requests: [String] { asked.withLock { $0 } }

  /// - Parameter isUp: false for one whose port nobody answers at before ``start()``.
  public init(
    isUp: Bool = true, _ answer: @escaping @Sendable (_ path: String, _ request: String) -> Answer
  ) throws {
    self.answer = answer
    (listener, port) = try boundToLoopback()
    if isUp { start() }
  }

  public func start() {
    listen(listener, 16)
    let listener = listener
    DispatchQueue(label: "fake server").async { [weak self] in
      while true {
        let client = accept(listener, nil, nil)
        guard client >= 0 else { return }
        guard let self else {
          close(client)
          return
        }
        serve(client)
      }
    }
  }

  deinit {
    // Ends the waiting for the next connection.
    shutdown(listener, Int32(SHUT_RDWR))
    close(listener)
    for client in held.withLock({ $0 }) { close(client) }
  }

  private func serve(_ client: Int32) {
    guard let request = read(client) else {
      close(client)
      return
    }
    asked.withLock { $0.append(request) }
    let words = request.split(separator: " ")
    let path = words.count > 1 ? String(words[1]) : ""
    switch answer(path, request) {
    case .text(let text, let status, let headers):
      let lines = ["HTTP/1.1 \(status)", "Content-Length: \(text.utf8.count)"] + headers
      write(lines.joined(separator: "\r\n") + "\r\n\r\n" + text, to: client)
      close(client)
    case .bytes(let text):
      write(text, to: client)
      close(client)
    case .silence:
      held.withLock { $0.append(client) }
    }
  }

  /// A request with its body; nil when the client goes away before its end.
  private func read(_ client: Int32) -> String? {
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      if let end = bytes.firstRange(of: Array("\r\n\r\n".utf8)) {
        let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
        let length = head.lowercased().split(separator: "content-length: ").dropFirst().first
          .flatMap { Int($0.prefix { $0.isNumber }) }
        if bytes.count >= end.upperBound + (length ?? 0) {
          return String(decoding: bytes, as: UTF8.self)
        }
      }
      let count = Glibc.read(client, &chunk, chunk.count)
      guard count > 0 else { return nil }
      bytes += chunk[..<count]
    }
  }

  private func write(_ text: String, to client: Int32) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes {
        send(client, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
      }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}

/// A TCP socket that listens on a free port of 127.0.0.1.
public func listenOnLoopback() throws -> (descriptor: Int32, port: UInt16) {
  let (descriptor, port) = try boundToLoopback()
  listen(descriptor, 16)
  return (descriptor, port)
}

/// One that has its port, and takes no connections yet.
private func boundToLoopback() throws(Failure) -> (descriptor: Int32, port: UInt16) {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let result = withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
      bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
    }
  }
  guard result else { throw Failure(.inputOutput, "No port on 127.0.0.1.") }
  return (descriptor, UInt16(bigEndian: address.sin_port))
}
