import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Storage
import Updating

/// `/api/events`, and the plain-request side of `/ws`.
struct EventRoutes: Sendable {
  let updater: Updater
  let keepAliveInterval: Duration

  func add(to routes: inout RouteTable) {
    routes.on(.get, "/api/events", query: ["since"], for: .role(.viewer), use: events)
    // A handshake that holds never gets here.
    routes.on(.get, "/ws", query: ["since"], for: .role(.viewer)) { request, _ in
      _ = try since(request.uri.queryParameters.get("since"))
      throw Problem(
        Failure(.usage, "This address speaks WebSocket (version 13) only."),
        status: .upgradeRequired,
        // The version too: RFC 6455 4.4.
        headers: [.upgrade: "websocket", .secWebSocketVersion: "13"])
    }
  }

  private func since(_ text: String?) throws(Failure) -> UInt64? {
    guard let text else { return nil }
    guard let number = UInt64(text) else {
      throw Failure(.usage, "`since` (or Last-Event-ID) must be the number of an event.")
    }
    return number
  }

  /// Server-Sent Events as the HTML standard has them (9.2.6).
  @Sendable private func events(_ request: Request, _ context: ControlContext) async throws
    -> Response
  {
    let person = try context.person()
    let last = request.headers[.lastEventID].flatMap { $0.isEmpty ? nil : $0 }
    let since = try since(last ?? request.uri.queryParameters.get("since"))
    return Response(
      status: .ok,
      headers: [.contentType: "text/event-stream", .cacheControl: "no-store"],
      body: ResponseBody { writer in
        let feed = await EventFeed.open(updater, since: since, tick: keepAliveInterval)
        try await writer.write(ByteBuffer(string: "retry: 2000\n\n"))
        try await feed.each { item in
          // A device that was removed hears nothing any more.
          guard updater.access.isKnown(person) else { throw CancellationError() }
          switch item {
          case .event(let event):
            var buffer = ByteBuffer()
            buffer.writeString("id: \(event.seq)\nevent: \(event.type.rawValue)\ndata: ")
            buffer.writeBytes(event.json)
            buffer.writeString("\n\n")
            try await writer.write(buffer)
          case .tick:
            try await writer.write(ByteBuffer(string: ": still here\n\n"))
          }
        }
        try await writer.finish(nil)
      })
  }
}
