import FoundationEssentials
import Glibc
import HTTPTypes
import Migrations
import NIOCore
import NIOHTTP1
import Updating

/// Finds out who a request is from.
struct Identification: Sendable {
  let access: Access
  let policy: AccessPolicy
  /// On a device that is no coach root is a developer.
  let isDevelopment: Bool

  static let cookieName = "chock_session"

  /// The fields of a request that say who it is from.
  struct Fields {
    var authorization: String?
    var cookies: [String]
    var host: String?
    /// A proxy asks for somebody else.
    var isForwarded: Bool

    /// Of this session's cookie.
    var cookie: String? {
      cookies.lazy.flatMap { $0.split(separator: ";") }.map { $0.drop { $0 == " " } }
        .first { $0.hasPrefix("\(Identification.cookieName)=") }
        .map { String($0.dropFirst(Identification.cookieName.utf8.count + 1)) }
    }
  }

  /// - Returns: nil for nobody.
  /// - Throws: 401 for a token that is not known: its program has to hear of it.
  func requester(_ fields: Fields, over channel: any Channel) async throws(Problem) -> Requester? {
    if channel.isUnixSocket { return await peer(of: channel) }
    return try requester(fields, remote: channel.remoteAddress)
  }

  /// The same over TCP.
  func requester(_ fields: Fields, remote: SocketAddress?) throws(Problem) -> Requester? {
    if let authorization = fields.authorization {
      let parts = authorization.split(separator: " ")
      guard parts.count == 2, parts[0].lowercased() == "bearer",
        let program = access.program(token: String(parts[1]))
      else { throw Problem.notSignedIn }
      return program
    }
    if let browser = fields.cookie.flatMap(access.browser) { return browser }
    guard let role = policy.local, isLocal(fields, remote) else { return nil }
    return Requester(way: .panel, id: "panel", name: "panel", role: role)
  }

  /// Who wants to open a WebSocket over TCP; nil for nobody.
  func listener(_ headers: HTTPHeaders, at channel: any Channel) -> Requester? {
    try? requester(Fields(headers), remote: channel.remoteAddress)
  }

  /// Whether it comes from this machine: a proxy on it, which asks for others, does not count.
  private func isLocal(_ fields: Fields, _ remote: SocketAddress?) -> Bool {
    guard remote?.isLoopback == true, !fields.isForwarded,
      let name = fields.host.flatMap(RequestGuard.name(of:))
    else { return false }
    return RequestGuard.loopbackNames.contains(name)
  }

  // MARK: The unix socket

  /// Who is at the other end, by the kernel's word (SO_PEERCRED of unix(7)).
  private func peer(of channel: any Channel) async -> Requester? {
    guard let provider = channel as? any SocketOptionProvider else { return nil }
    // struct ucred.
    struct Credentials: Sendable {
      var process: Int32
      var user: UInt32
      var group: UInt32
    }
    let answer: EventLoopFuture<Credentials> = provider.unsafeGetSocketOption(
      level: SocketOptionLevel(SOL_SOCKET), name: SocketOptionName(SO_PEERCRED))
    guard let credentials = try? await answer.get() else { return nil }
    let user = User(id: credentials.user, group: credentials.group)
    return Requester(
      way: .socket, id: "cli:\(user.name)", name: "cli:\(user.name)", role: role(of: user))
  }

  func role(of user: User) -> Role {
    if user.id == 0 || user.id == geteuid() { return isDevelopment ? .developer : .technician }
    if let role = policy.users[user.name] { return role }
    let roles = policy.groups.filter { user.groups.contains($0.key) }.map(\.value)
    // Of several the one that may most.
    return Role.allCases.last { roles.contains($0) } ?? .owner
  }

  /// A user of this machine.
  struct User {
    var id: UInt32
    var name: String
    /// By name.
    var groups: Set<String>

    init(id: UInt32, name: String, groups: Set<String>) {
      self.id = id
      self.name = name
      self.groups = groups
    }

    init(id: UInt32, group: UInt32) {
      self.id = id
      var entry = passwd()
      var found: UnsafeMutablePointer<passwd>?
      name = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 4096) { buffer in
        guard let start = buffer.baseAddress,
          getpwuid_r(id, &entry, start, buffer.count, &found) == 0, found != nil,
          let name = entry.pw_name
        else { return "uid-\(id)" }
        return String(cString: name)
      }
      var count: Int32 = 256
      var ids = [gid_t](repeating: 0, count: Int(count))
      let isComplete = getgrouplist(name, group, &ids, &count) >= 0
      groups = Set((isComplete ? ids.prefix(Int(count)) : [group]).compactMap(Self.groupName))
    }

    private static func groupName(_ id: gid_t) -> String? {
      var entry = Glibc.group()
      var found: UnsafeMutablePointer<Glibc.group>?
      return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16_384) { buffer in
        guard let start = buffer.baseAddress,
          getgrgid_r(id, &entry, start, buffer.count, &found) == 0, found != nil,
          let name = entry.gr_name
        else { return nil }
        return String(cString: name)
      }
    }
  }
}

extension Identification.Fields {
  init(_ headers: HTTPFields, host: String?) {
    self.init(
      authorization: headers[.authorization], cookies: headers[values: .cookie], host: host,
      isForwarded: HTTPField.Name.forwarding.contains { headers.contains($0) })
  }

  init(_ headers: HTTPHeaders) {
    self.init(
      authorization: headers.first(name: "authorization"), cookies: headers["cookie"],
      host: headers.first(name: "host"),
      isForwarded: HTTPField.Name.forwarding.contains { headers.contains(name: $0.rawName) })
  }
}

extension SocketAddress {
  /// 127.0.0.0/8 or ::1, also as IPv6 writes the former.
  var isLoopback: Bool {
    guard let address = ipAddress else { return false }
    return address == "::1" || address.hasPrefix("127.") || address.hasPrefix("::ffff:127.")
  }
}
