import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Storage
import Synchronization
import Updating

/// Signing in, pairing, devices, tokens, PINs and approvals.
struct AccessRoutes: Sendable {
  let updater: Updater
  let policy: AccessPolicy
  let addresses: PanelAddresses
  let bodyLimit: Int

  private var access: Access { updater.access }

  func add(to routes: inout RouteTable) {
    routes.on(.get, "/api/session", for: .everybody) { _, context in
      try .json(session(of: context.requester))
    }
    routes.on(.post, "/api/session", for: .role(.viewer)) { request, context in
      let body = try await request.strictBody(SignInBody.self, limit: bodyLimit)
      let (token, requester) = try await access.raise(
        try context.person(), to: body.role, pin: body.pin)
      return try .json(
        session(of: requester),
        headers: token.map { Self.cookie($0, for: Access.raisedTime.components.seconds) } ?? [:])
    }
    routes.on(.delete, "/api/session", for: .everybody) { request, context in
      guard let requester = context.requester else { return .noContent }
      let fields = Identification.Fields(request.headers, host: nil)
      let isOver = try access.signOut(requester, cookie: fields.cookie)
      var response = Response.noContent
      if isOver {
        response.headers[.setCookie] =
          "\(Identification.cookieName)=; Max-Age=0; \(Self.cookieRules)"
      }
      return response
    }
    routes.on(.post, "/api/pair", for: .everybody) { request, context in
      let body = try await request.strictBody(PairBody.self, limit: bodyLimit)
      let (token, requester) = try await access.pair(
        code: body.code, name: body.name, pin: body.pin)
      return try .json(session(of: requester), headers: Self.cookie(token))
    }
    routes.on(.post, "/api/pairing", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(PairingBody.self, limit: bodyLimit)
      let person = try context.person()
      try await access.confirm(person, pin: body.pin)
      var document = try access.makeCode(for: body.role ?? .owner, by: person)
      document.addresses = addresses.all
      return try .json(document, status: .created)
    }
    addDevices(to: &routes)
    routes.on(.put, "/api/safety/pin", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(PinBody.self, limit: bodyLimit)
      try await access.setPin(
        body.pin, of: body.role ?? .owner, by: try context.person().actor)
      return .noContent
    }
    routes.on(.delete, "/api/safety/pin", query: ["role"], for: .role(.technician)) {
      request, context in
      let text = request.uri.queryParameters.get("role") ?? Role.owner.rawValue
      guard let role = Role(rawValue: text) else {
        throw Failure(.usage, "`role` must be owner or technician.")
      }
      try access.removePin(of: role, by: try context.person().actor)
      return .noContent
    }
    routes.on(.post, "/api/database/approvals", for: .role(.owner)) { request, context in
      let body = try await request.strictBody(ApprovalBody.self, limit: bodyLimit)
      let person = try context.person()
      try await access.confirm(person, pin: body.pin)
      let until = try access.approve(body.planHash, by: person)
      await updater.publishState()
      return try .json(
        ApprovalDocument(
          planHash: body.planHash, by: person,
          expiresAt: Timestamp.text(secondsSince1970: until)), status: .created)
    }
  }

  private func addDevices(to routes: inout RouteTable) {
    routes.on(.get, "/api/devices", for: .role(.owner)) { _, context in
      let own = try context.person().device
      return try .json(
        DevicesDocument(
          devices: access.devices().map {
            var device = $0
            device.isThis = $0.id == own
            return device
          }))
    }
    routes.on(.delete, "/api/devices/:id", for: .role(.owner)) { _, context in
      try access.removeDevice(try context.id("id"), by: try context.person())
      return .noContent
    }
    routes.on(.get, "/api/tokens", for: .role(.technician)) { _, _ in
      try .json(TokensDocument(tokens: access.tokens()))
    }
    routes.on(.post, "/api/tokens", for: .role(.technician)) { request, context in
      let body = try await request.strictBody(TokenBody.self, limit: bodyLimit)
      let person = try context.person()
      try await access.confirm(person, pin: body.pin)
      return try .json(
        access.makeToken(name: body.name, role: body.role ?? .controller, by: person),
        status: .created)
    }
    routes.on(.delete, "/api/tokens/:id", for: .role(.technician)) { _, context in
      try access.removeToken(try context.id("id"), by: try context.person())
      return .noContent
    }
  }

  private func session(of requester: Requester?) -> SessionDocument {
    SessionDocument(requester, access, approvals: policy.approvals)
  }

  /// Not for scripts, and not with what other sites ask for. Not `Secure`: there is no TLS in a coach.
  private static let cookieRules = "HttpOnly; SameSite=Strict; Path=/"

  /// 400 days is the longest that browsers keep one.
  private static func cookie(_ token: String, for seconds: Int64 = 34_560_000) -> HTTPFields {
    [.setCookie: "\(Identification.cookieName)=\(token); Max-Age=\(seconds); \(cookieRules)"]
  }

  private struct SignInBody: StrictBody {
    var role: Role
    var pin: String
    enum CodingKeys: CodingKey, CaseIterable { case role, pin }
  }

  private struct PairBody: StrictBody {
    var code: String
    var name: String
    var pin: String?
    enum CodingKeys: CodingKey, CaseIterable { case code, name, pin }
  }

  private struct PairingBody: StrictBody {
    var role: Role?
    var pin: String?
    enum CodingKeys: CodingKey, CaseIterable { case role, pin }
  }

  private struct TokenBody: StrictBody {
    var name: String
    var role: Role?
    var pin: String?
    enum CodingKeys: CodingKey, CaseIterable { case name, role, pin }
  }

  private struct PinBody: StrictBody {
    var pin: String
    var role: Role?
    enum CodingKeys: CodingKey, CaseIterable { case pin, role }
  }

  private struct ApprovalBody: StrictBody {
    var planHash: String
    var pin: String?
    enum CodingKeys: String, CodingKey, CaseIterable {
      case pin
      case planHash = "plan_hash"
    }
  }
}

extension Access {
  /// Asks again, right before something that matters.
  ///
  /// - Throws: `.pin` where one is needed and it is missing or wrong.
  func confirm(_ person: Requester, pin: String?) async throws(Failure) {
    guard asksPin(person), let role = person.role.pinRole else { return }
    try await check(pin: pin, of: role, for: person.actor)
  }
}

/// Where people open the panel.
final class PanelAddresses: Sendable {
  private let host: String
  /// Known once the system has chosen it.
  private let port: Mutex<Int>

  init(_ configuration: ServerConfiguration) {
    host = configuration.listenHost
    port = Mutex(configuration.listenPort)
  }

  func isListening(port: Int) { self.port.withLock { $0 = port } }

  var all: [String] {
    let port = port.withLock { $0 }
    return hosts.map { "http://\($0.contains(":") ? "[\($0)]" : $0):\(port)/" }
  }

  private var hosts: [String] {
    guard ["0.0.0.0", "::"].contains(host) else { return [host] }
    let others = ((try? System.enumerateDevices()) ?? []).compactMap(\.address)
      .filter { !$0.isLoopback }.compactMap(\.ipAddress)
    // A link-local address of IPv6 cannot be opened without its interface.
    return others.filter { !$0.hasPrefix("fe80") }.sorted() + ["127.0.0.1"]
  }
}
