import Glibc
public import Migrations

/// The listening TCP socket that the service manager has opened for chock (sd_listen_fds(3)).
public struct InheritedSocket: Sendable {
  let descriptor: Int32
  let host: String
  let port: Int

  /// Nil when this process was given none. What it was given no worker inherits.
  ///
  /// - Throws: `Failure(.badConfig)` when that is not exactly one socket that listens on TCP.
  public init?() throws(Failure) {
    let number = { name in getenv(name).flatMap { Int32(String(cString: $0)) } }
    guard number("LISTEN_PID") == getpid(), let count = number("LISTEN_FDS"), count > 0 else {
      return nil
    }
    // SD_LISTEN_FDS_START.
    descriptor = 3
    for passed in 0..<min(count, 1024) { _ = fcntl(descriptor + passed, F_SETFD, FD_CLOEXEC) }
    guard count == 1, let (host, port) = Self.address(descriptor) else {
      throw Failure(
        .badConfig, "The service manager has opened something else than one TCP socket.",
        howToClear: """
          chock.socket has one ListenStream= with a port, such as 0.0.0.0:80. The unix socket is \
          chock's own (server.socket).
          """)
    }
    self.host = host
    self.port = port
  }

  /// Answers whoever waits there that nobody will come.
  public func turnAway() {
    _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
    let words = "chock cannot start. `journalctl -u chock` says why.\n"
    let answer =
      "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"
      + "Content-Length: \(words.utf8.count)\r\nConnection: close\r\n\r\n\(words)"
    // No more than can wait: somebody may come again and again.
    for _ in 0..<Int(SOMAXCONN) {
      let client = accept(descriptor, nil, nil)
      guard client >= 0 else { return }
      // What is left unread would break the connection off, and the answer be lost.
      var question = [UInt8](repeating: 0, count: 1 << 16)
      _ = recv(client, &question, question.count, Int32(MSG_DONTWAIT))
      _ = send(
        client, answer, answer.utf8.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
      close(client)
    }
  }

  /// Where a TCP socket listens; nil for everything else.
  private static func address(_ descriptor: Int32) -> (host: String, port: Int)? {
    guard option(SO_ACCEPTCONN, of: descriptor) == 1,
      option(SO_PROTOCOL, of: descriptor) == Int32(IPPROTO_TCP)
    else { return nil }
    var name = sockaddr_storage()
    var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
    var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
    let result = withUnsafeMutablePointer(to: &name) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { name in
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        guard getsockname(descriptor, name, &size) == 0 else { return EAI_SYSTEM }
        return getnameinfo(
          name, size, &host, socklen_t(host.count), &port, socklen_t(port.count),
          NI_NUMERICHOST | NI_NUMERICSERV)
      }
    }
    guard result == 0, let port = Int(text(port)) else { return nil }
    return (text(host), port)
  }

  private static func option(_ option: Int32, of descriptor: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(descriptor, SOL_SOCKET, option, &value, &size) == 0 ? value : nil
  }

  private static func text(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}
