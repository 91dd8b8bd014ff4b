import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Updating

/// `GET /readyz`. The reason in general words: everybody may ask.
private struct Readiness: Encodable {
  var ready: Bool
  var code: String?
  var reason: String?
}

/// What programs ask that watch over chock, or learn to talk to it: probes, metrics, and the descriptions
/// of this interface.
struct WatchRoutes: Sendable {
  let updater: Updater

  /// Answered also when all connections are taken.
  static let probes: Set<String> = ["/livez", "/readyz"]

  func add(to routes: inout RouteTable) {
    routes.on(.get, "/livez", query: nil, for: .everybody) { _, _ in try .json(["alive": true]) }
    routes.on(.get, "/readyz", query: nil, for: .everybody) { _, _ in
      // Waiting for consent is ready; waiting for a person to repair something is not.
      _ = await updater.status()
      let reason = await updater.recoveryMode
      return try .json(
        Readiness(
          ready: reason == nil, code: reason?.code.rawValue,
          reason: reason?.code.explanation.meaning),
        status: reason == nil ? .ok : .serviceUnavailable)
    }
    routes.on(.get, "/metrics", query: nil, for: .role(.viewer)) { _, _ in
      let metrics = try await Metrics.now(updater)
      return Response(
        status: .ok, headers: [.contentType: Metrics.contentType, .cacheControl: "no-store"],
        body: ResponseBody(byteBuffer: ByteBuffer(string: metrics.text)))
    }
    for (path, bytes) in [
      ("/openapi.json", PackageResources.openapi_json),
      ("/asyncapi.json", PackageResources.asyncapi_json),
    ] {
      let body = ByteBuffer(bytes: bytes)
      routes.on(.get, path, query: nil, for: .everybody) { _, _ in
        Response(
          status: .ok, headers: [.contentType: "application/json", .cacheControl: "no-cache"],
          body: ResponseBody(byteBuffer: body))
      }
    }
  }
}
