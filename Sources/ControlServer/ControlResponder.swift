import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import Migrations
import NIOCore
import Storage
import Updating

/// What a handler knows beside the request: the connection.
struct ControlContext: RequestContext {
  var coreContext: CoreRequestContextStorage
  let channel: any Channel

  init(source: ApplicationRequestContextSource) {
    coreContext = .init(source: source)
    channel = source.channel
  }
}

/// Answers every request: guard, route, and errors as problem documents.
struct ControlResponder: Sendable {
  private let guardian: RequestGuard
  private let embedding: EmbeddingPages
  private let router: ControlRouter
  private let limits: ServerConfiguration.Limits
  private let logger: Logger

  init(
    updater: Updater, limits: ServerConfiguration.Limits, guardian: RequestGuard,
    embedding: EmbeddingPages, logger: Logger
  ) {
    self.guardian = guardian
    self.embedding = embedding
    self.limits = limits
    self.logger = logger
    var routes = RouteTable()
    DatabaseRoutes(updater: updater, bodyLimit: limits.maxBodyBytes).add(to: &routes)
    SafetyRoutes(updater: updater, bodyLimit: limits.maxBodyBytes).add(to: &routes)
    EventRoutes(updater: updater, keepAliveInterval: limits.keepAliveInterval).add(to: &routes)
    PanelRoutes().add(to: &routes)
    router = ControlRouter(routes)
  }

  func respond(to request: Request, over channel: any Channel) async -> Response {
    var response: Response
    do {
      response = try await route(request, channel)
    } catch let problem as Problem {
      response = problem.response
    } catch let failure as Failure {
      response = Problem(failure).response
    } catch {
      logger.error(
        "A request failed",
        metadata: ["path": "\(request.uri.path)", "error": "\(String(reflecting: error))"])
      response = Problem.internalError
    }
    // A long body that nobody has read is not worth waiting for.
    if request.headers[.transferEncoding] != nil
      || (request.headers[.contentLength].flatMap(Int.init) ?? 0) > limits.maxBodyBytes
    {
      response.headers[.connection] = "close"
    }
    response.headers[.contentSecurityPolicy] =
      "default-src 'self'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    response.headers[.xContentTypeOptions] = "nosniff"
    response.headers[.referrerPolicy] = "no-referrer"
    embedding.allow(request, &response)
    return response
  }

  private func route(_ request: Request, _ channel: any Channel) async throws -> Response {
    let isSafe = [.get, .head, .options].contains(request.method)
    try guardian.check(
      host: request.head.authority, origin: request.headers[.origin],
      checksOrigin: !isSafe || request.uri.path == "/ws", overSocket: channel.isUnixSocket)
    return try await router.respond(
      to: request, context: ControlContext(source: .init(channel: channel, logger: logger)))
  }
}

extension HTTPField.Name {
  // Not among the names that HTTPTypes declares.
  static let referrerPolicy = named("Referrer-Policy")
  static let idempotencyKey = named("Idempotency-Key")
  static let lastEventID = named("Last-Event-ID")

  private static func named(_ name: String) -> HTTPField.Name {
    guard let name = HTTPField.Name(name) else { preconditionFailure("\(name) is no field name") }
    return name
  }
}

/// What is answered, and by whom.
struct RouteTable {
  typealias Handler = @Sendable (Request, ControlContext) async throws -> Response

  struct Entry: Sendable {
    var method: HTTPRequest.Method
    var path: String
    var handler: Handler
  }

  private(set) var entries: [Entry] = []

  mutating func on(_ method: HTTPRequest.Method, _ paths: String..., use handler: @escaping Handler)
  {
    for path in paths { entries.append(Entry(method: method, path: path, handler: handler)) }
  }
}

/// The router, with what it takes to tell "no such path" from "not with this method".
struct ControlRouter: Sendable {
  private let entries: [RouteTable.Entry]
  private let responder: RouterResponder<ControlContext>

  init(_ routes: RouteTable) {
    let router = Router(context: ControlContext.self, options: .autoGenerateHeadEndpoints)
    for entry in routes.entries {
      router.on(RouterPath(entry.path), method: entry.method, use: entry.handler)
    }
    entries = routes.entries
    responder = router.buildResponder()
  }

  func respond(to request: Request, context: ControlContext) async throws -> Response {
    let response = try await responder.respond(to: request, context: context)
    // Our own handlers throw what they do not find, so this is the router's word.
    guard response.status == .notFound else { return response }
    let path = request.uri.path
    let methods = Set(entries.filter { Self.matches(path, $0.path) }.map(\.method.rawValue))
    guard !methods.isEmpty else {
      throw Failure(.notFound, "There is nothing at \(path.prefix(200)).")
    }
    let allowed = methods.union(methods.contains("GET") ? ["HEAD"] : []).sorted()
      .joined(separator: ", ")
    throw Problem(
      Failure(.usage, "\(request.method.rawValue) is not possible here; possible: \(allowed)."),
      status: .methodNotAllowed, headers: [.allow: allowed])
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
