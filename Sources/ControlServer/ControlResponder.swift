import Glibc
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import Migrations
import NIOCore
import Storage
import Updating

/// What a handler knows beside the request: the connection, and who asks.
struct ControlContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel
  /// Nil for nobody.
  var requester: Requester?

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }

  /// - Throws: 401 for nobody, which a route for everybody has to expect.
  func person() throws(Problem) -> Requester {
    guard let requester else { throw Problem.notSignedIn }
    return requester
  }
}

/// Answers every request: guard, route, and errors as problem documents.
struct ControlResponder: Sendable {
  private let guardian: RequestGuard
  private let embedding: EmbeddingPages
  private let identification: Identification
  private let router: ControlRouter
  private let limits: ServerConfiguration.Limits
  private let logger: Logger

  init(
    updater: Updater, configuration: ServerConfiguration, addresses: PanelAddresses,
    guardian: RequestGuard, identification: Identification, diagnostics: Diagnostics?,
    logger: Logger
  ) {
    self.guardian = guardian
    self.identification = identification
    embedding = EmbeddingPages(origins: configuration.embedOrigins)
    self.logger = logger
    limits = configuration.limits
    router = ControlRouter(
      Self.routes(updater, configuration, addresses, diagnostics), access: updater.access)
  }

  /// Everything that is answered; openapi.json describes the same.
  static func routes(
    _ updater: Updater, _ configuration: ServerConfiguration, _ addresses: PanelAddresses,
    _ diagnostics: Diagnostics? = nil
  ) -> RouteTable {
    let limits = configuration.limits
    var routes = RouteTable()
    AccessRoutes(
      updater: updater, policy: configuration.access, addresses: addresses,
      bodyLimit: limits.maxBodyBytes
    ).add(to: &routes)
    DatabaseRoutes(
      updater: updater, approvals: configuration.access.approvals, bodyLimit: limits.maxBodyBytes
    ).add(to: &routes)
    SafetyRoutes(updater: updater, bodyLimit: limits.maxBodyBytes).add(to: &routes)
    EventRoutes(updater: updater, keepAliveInterval: limits.keepAliveInterval).add(to: &routes)
    WatchRoutes(updater: updater).add(to: &routes)
    DiagnosticsRoutes(diagnostics: diagnostics).add(to: &routes)
    PanelRoutes().add(to: &routes)
    return routes
  }

  /// - Parameter isSpare: all ordinary connections are taken: the probes alone are answered, and the
  ///   connection ends with its answer.
  func respond(
    to request: Request, over channel: any Channel, isSpare: Bool = false
  ) async -> Response {
    var response: Response
    do {
      response = try await route(request, channel, isSpare: isSpare)
    } catch {
      if var problem = error as? Problem ?? (error as? Failure).map({ Problem($0) }) {
        problem.isForCoachIQ = request.uri.path == DatabaseRoutes.coachIQMigrate
        response = problem.response
      } else {
        logger.error(
          "A request failed",
          metadata: ["path": "\(request.uri.path)", "error": "\(String(reflecting: error))"])
        response = Problem.internalError
      }
    }
    // A long body that nobody has read is not worth waiting for.
    if isSpare || request.headers[.transferEncoding] != nil
      || (request.headers[.contentLength].flatMap(Int.init) ?? 0) > limits.maxBodyBytes
    {
      response.headers[.connection] = "close"
    }
    response.headers[.contentSecurityPolicy] =
      "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    response.headers[.date] = Self.date()
    response.headers[.xContentTypeOptions] = "nosniff"
    response.headers[.referrerPolicy] = "no-referrer"
    embedding.allow(request, &response)
    return response
  }

  /// Now, as RFC 9110 5.6.7 writes it.
  private static func date() -> String {
    var seconds = time(nil)
    var parts = tm()
    gmtime_r(&seconds, &parts)
    return String(unsafeUninitializedCapacity: 40) { buffer in
      buffer.withMemoryRebound(to: CChar.self) {
        strftime($0.baseAddress, 40, "%a, %d %b %Y %H:%M:%S GMT", &parts)
      }
    }
  }

  private func route(
    _ request: Request, _ channel: any Channel, isSpare: Bool
  ) async throws -> Response {
    let isSafe = [.get, .head, .options].contains(request.method)
    do throws(Failure) {
      try guardian.check(
        host: request.head.authority, origin: request.headers[.origin],
        checksOrigin: !isSafe || request.uri.path == "/ws", overSocket: channel.isUnixSocket)
    } catch {
      identification.access.refused(
        channel.remoteAddress?.ipAddress ?? "somebody", "a foreign Host or Origin", error.message)
      throw error
    }
    guard !isSpare || WatchRoutes.probes.contains(request.uri.path) else {
      throw Problem(
        Failure(
          .busy, "All connections of this server are taken.",
          howToClear: "Close panels that nobody looks at, or try again in a moment."),
        headers: [.retryAfter: "2"])
    }
    var context = ControlContext(source: .init(channel: channel, logger: logger))
    context.requester = try await identification.requester(
      Identification.Fields(request.headers, host: request.head.authority), over: channel)
    return try await router.respond(to: request, context: context)
  }
}

extension HTTPField.Name {
  // Not among the names that HTTPTypes declares.
  static let referrerPolicy = named("Referrer-Policy")
  static let idempotencyKey = named("Idempotency-Key")
  static let link = named("Link")
  static let lastEventID = named("Last-Event-ID")
  /// What proxies add (RFC 7239, and its forerunners).
  static let forwarding = ["Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"].map(named)

  private static func named(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no field name") }
    return name
  }
}

/// What is answered, and to whom.
struct RouteTable {
  typealias Handler = @Sendable (Request, ControlContext) async throws -> Response

  struct Entry: Sendable {
    var method: HTTPRequest.Method
    var path: String
    /// The parameters that it takes; nil where nobody looks at them.
    var query: [String]?
    var audience: Audience
    var handler: Handler
  }

  private(set) var entries: [Entry] = []

  mutating func on(
    _ method: HTTPRequest.Method, _ paths: String..., query: [String]? = [],
    for audience: Audience, use handler: @escaping Handler
  ) {
    for path in paths {
      entries.append(
        Entry(method: method, path: path, query: query, audience: audience, handler: handler))
    }
  }
}

/// The router, with what it takes to tell "no such path" from "not with this method".
struct ControlRouter: Sendable {
  private let entries: [RouteTable.Entry]
  private let responder: RouterResponder<ControlContext>

  init(_ routes: RouteTable, access: Access) {
    let router = Router(context: ControlContext.self, options: .autoGenerateHeadEndpoints)
    for entry in routes.entries {
      // Here and nowhere else it is asked whether somebody may: no handler can forget it.
      router.on(RouterPath(entry.path), method: entry.method) { request, context in
        do throws(Problem) {
          try entry.audience.admit(context.requester)
        } catch {
          access.refused(
            context.requester?.actor ?? context.channel.remoteAddress?.ipAddress ?? "somebody",
            "\(entry.method.rawValue) \(entry.path)", error.failure.message)
          throw error
        }
        if let known = entry.query { try request.checkQuery(known) }
        return try await entry.handler(request, context)
      }
    }
    entries = routes.entries
    responder = router.buildResponder()
  }

  func respond(to request: Request, context: ControlContext) async throws -> Response {
    let path = request.uri.path
    guard request.method != .options else {
      let allowed = try allowed(at: path)
      return Response(status: .noContent, headers: [.allow: allowed, .cacheControl: "no-store"])
    }
    let response = try await responder.respond(to: request, context: context)
    // Our own handlers throw what they do not find, so this is the router's word.
    guard response.status == .notFound else { return response }
    let allowed = try allowed(at: path)
    throw Problem(
      Failure(.usage, "\(request.method.rawValue) is not possible here; possible: \(allowed)."),
      status: .methodNotAllowed, headers: [.allow: allowed])
  }

  /// The methods that a path knows, for `Allow` (RFC 9110 10.2.1).
  ///
  /// - Throws: `.notFound` when it knows none.
  private func allowed(at path: String) throws(Failure) -> String {
    let methods = Set(entries.filter { Self.matches(path, $0.path) }.map(\.method.rawValue))
    guard !methods.isEmpty else {
      throw Failure(.notFound, "There is nothing at \(path.prefix(200)).")
    }
    return methods.union(methods.contains("GET") ? ["HEAD", "OPTIONS"] : ["OPTIONS"]).sorted()
      .joined(separator: ", ")
  }

  private static func matches(_ path: String, _ pattern: String) -> Bool {
    let parts = path.split(separator: "/")
    let patternParts = pattern.split(separator: "/")
    return parts.count == patternParts.count
      && zip(parts, patternParts).allSatisfy { $1.hasPrefix(":") || $0 == $1 }
  }
}

extension Response {
  /// A document as JSON.
  static func json(
    _ document: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
  ) throws(Failure) -> Response {
    var headers = headers
    headers[.contentType] = "application/json"
    if headers[.cacheControl] == nil { headers[.cacheControl] = "no-store" }
    return Response(
      status: status, headers: headers,
      body: ResponseBody(byteBuffer: ByteBuffer(bytes: try JSON.encode(document))))
  }

  static var noContent: Response {
    Response(status: .noContent, headers: [.cacheControl: "no-store"])
  }
}

extension Request {
  /// Whether its If-None-Match names this entity tag (RFC 9110 13.1.2: weakly compared, or `*`).
  func hasAlready(_ tag: String) -> Bool {
    headers[values: .ifNoneMatch].flatMap { $0.split(separator: ",") }.contains { given in
      let given = given.drop { $0 == " " }.prefix { $0 != " " }
      return given == "*" || given == tag || given == "W/\(tag)"
    }
  }
}

extension Request {
  /// The hash of what a person has looked at, and agrees to.
  ///
  /// - Throws: `.usage` for what is not one entity tag.
  func ifMatch() throws(Failure) -> String? {
    guard let tag = headers[.ifMatch] else { return nil }
    guard tag.count > 2, tag.hasPrefix("\""), tag.hasSuffix("\""),
      !tag.dropFirst().dropLast().contains("\"")
    else {
      throw Failure(.usage, "If-Match must be one hash in double quotes.")
    }
    return String(tag.dropFirst().dropLast())
  }
}

extension ControlContext {
  /// A path parameter that can be an id; ids are looked up, never made into paths.
  ///
  /// - Throws: `Failure(.notFound)` when it cannot be one.
  func id(_ name: String) throws(Failure) -> String {
    let value = parameters.get(name) ?? ""
    guard (1...64).contains(value.utf8.count),
      value.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) })
    else { throw Failure(.notFound, "There is nothing with this id.") }
    return value
  }
}
