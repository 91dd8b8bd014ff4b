import Migrations
import NIOCore

/// Who may ask at all: checked before routing, for requests and WebSocket handshakes alike.
///
/// A page of another site that the owner happens to visit can make the browser talk to this server,
/// under a name of its own (DNS rebinding) or across sites (CSRF, cross-site WebSocket). Host and
/// Origin give it away.
struct RequestGuard: Sendable {
  static let loopbackNames: Set<String> = ["127.0.0.1", "[::1]", "localhost"]

  private let hosts: Set<String>
  private let isOpen: Bool

  /// - Parameters:
  ///   - allowedHosts: names beside the loopback ones under which the server may be addressed.
  ///   - machineName: where it listens beyond this machine, it is addressed as `NAME.local` (RFC 6762)
  ///     and by its addresses too. No name can be rebound to an address that stands in its own place.
  init(allowedHosts: [String], machineName: String? = nil) {
    isOpen = machineName != nil
    hosts = Self.loopbackNames.union(
      (allowedHosts + [machineName.map { "\($0).local" }].compactMap { $0 })
        .map { $0.lowercased() })
  }

  /// - Parameters:
  ///   - checksOrigin: for everything that changes something, and for WebSockets.
  ///   - overSocket: the unix socket has file permissions in place of a host name.
  func check(
    host: String?, origin: String?, checksOrigin: Bool, overSocket: Bool
  ) throws(Failure) {
    if !overSocket {
      guard let host, let name = Self.name(of: host), isOurs(name) else {
        throw Failure(
          .notAllowed,
          "This server does not answer to the name \(Self.quoted(host)).",
          howToClear:
            "Use the device's address, or add the name to server.allowed_hosts.")
      }
    }
    // Programs other than browsers send no Origin. "null" (a sandboxed page) is a foreign one.
    guard checksOrigin, let origin else { return }
    guard let host, origin.lowercased() == "http://\(host.lowercased())" else {
      throw Failure(
        .notAllowed, "A page from \(Self.quoted(origin)) may not do this.",
        howToClear: "Open the panel at this server's own address.")
    }
  }

  private func isOurs(_ name: String) -> Bool {
    guard !hosts.contains(name) else { return true }
    let address = name.hasPrefix("[") ? String(name.dropFirst().dropLast()) : name
    return isOpen && (try? SocketAddress(ipAddress: address, port: 0)) != nil
  }

  /// The host without its port, lower-case; nil when it is not well formed.
  static func name(of host: String) -> String? {
    let name: Substring
    let rest: Substring
    if host.hasPrefix("[") {
      guard let end = host.firstIndex(of: "]") else { return nil }
      name = host[...end]
      rest = host[host.index(after: end)...]
    } else {
      name = host.prefix { $0 != ":" }
      rest = host.dropFirst(name.count)
    }
    guard rest.isEmpty || (rest.hasPrefix(":") && rest.dropFirst().allSatisfy(\.isASCIIDigit))
    else { return nil }
    return name.lowercased()
  }

  private static func quoted(_ text: String?) -> String {
    guard let text else { return "(none)" }
    return "\"\(text.prefix(100))\""
  }
}

extension Character {
  var isASCIIDigit: Bool { ("0"..."9").contains(self) }
}
