import FoundationEssentials
import HTTPTypes
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1
import NIOWebSocket
import Updating

/// One connection: HTTP/1.1 that may become a WebSocket with its first request.
struct ControlChannel: HTTPChannelHandler {
  private(set) var responder: Responder
  /// Answers where all ordinary places are taken.
  let spareResponder: Responder
  let limits: ServerConfiguration.Limits
  let guardian: RequestGuard
  let identification: Identification
  let places: ConnectionPlaces
  let serveWebSocket:
    @Sendable (WebSocketChannel, _ since: UInt64?, _ requester: Requester?) async -> Void

  enum Negotiated: Sendable {
    case http(NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>)
    case webSocket(WebSocketChannel, since: UInt64?, requester: Requester?)
  }

  struct Value: ServerChildChannelValue {
    let negotiated: EventLoopFuture<Negotiated>
    let channel: any Channel
    /// See `ConnectionPlaces`.
    let isSpare: Bool
  }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
    channel.eventLoop.makeCompletedFuture {
      let isSpare = places.enter(channel)
      let upgrader = NIOTypedWebSocketServerUpgrader<Negotiated>(
        enableAutomaticErrorHandling: false,
        // HandshakeFilter has decided.
        shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
        upgradePipelineHandler: { channel, head in
          do {
            let pipeline = channel.pipeline.syncOperations
            // NIO's own decoder hands out whole frames only, and checks less.
            let decoder = try pipeline.handler(
              type: ByteToMessageHandler<WebSocketFrameDecoder>.self)
            return pipeline.removeHandler(decoder).flatMapThrowing {
              let reader = WebSocketReaderHandler(
                limit: limits.maxBodyBytes, silenceLimit: limits.pingInterval * 2.25,
                stallLimit: limits.stallTime)
              try channel.pipeline.syncOperations.addHandler(reader)
              return .webSocket(
                try WebSocketChannel(wrappingChannelSynchronously: channel),
                since: sequenceNumber(inQueryOf: head.uri),
                requester: identification.listener(head.headers, at: channel))
            }
          } catch {
            return channel.eventLoop.makeFailedFuture(error)
          }
        })
      let notUpgrading: @Sendable (any Channel) -> EventLoopFuture<Negotiated> = { channel in
        channel.eventLoop.makeCompletedFuture {
          try channel.pipeline.syncOperations.addHandler(HTTP1ToHTTPServerCodec(secure: false))
          return .http(
            try NIOAsyncChannel(
              wrappingChannelSynchronously: channel,
              configuration: .init(isOutboundHalfClosureEnabled: true)))
        }
      }
      var configuration = NIOUpgradableHTTPServerPipelineConfiguration(
        upgradeConfiguration: .init(
          upgraders: [upgrader], notUpgradingCompletionHandler: notUpgrading))
      configuration.enablePipelining = false  // Requests are answered one after the other anyway.
      configuration.enableErrorHandling = false  // ConnectionRulesHandler does it.
      configuration.decoderConfiguration.maxHeaderFieldSize = limits.maxHeaderBytes
      configuration.decoderConfiguration.maxHeaderListSize = limits.maxHeaderBytes
      configuration.decoderConfiguration.maxHeaderFieldCount = 100

      let pipeline = channel.pipeline.syncOperations
      let negotiated = try pipeline.configureUpgradableHTTPServerPipeline(
        configuration: configuration)
      let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
      let rules = ConnectionRulesHandler(limits: limits)
      let filter = HandshakeFilter(
        guardian: guardian, identification: identification, overSocket: channel.isUnixSocket,
        isSpare: isSpare, rules: rules)
      try pipeline.addHandler(rules, position: .after(decoder))
      try pipeline.addHandler(filter, position: .after(rules))
      return Value(negotiated: negotiated, channel: channel, isSpare: isSpare)
    }
  }

  private var spare: ControlChannel {
    var spare = self
    spare.responder = spareResponder
    return spare
  }

  func handle(value: Value, logger: Logger) async {
    // Cancelled means that the time for an orderly end is over.
    await withTaskCancellationHandler {
      do {
        switch try await value.negotiated.get() {
        case .http(let channel):
          let handler = value.isSpare ? spare : self
          await handler.handleHTTP(asyncChannel: channel, logger: logger)
        case .webSocket(let channel, let since, let requester):
          await serveWebSocket(channel, since, requester)
        }
      } catch {
        logger.trace("A connection ended before its first request: \(error)")
        try? await value.channel.close()
      }
    } onCancel: {
      value.channel.close(promise: nil)
    }
  }
}

/// Decides about the first request's wish to become a WebSocket.
///
/// One that may not goes on as a plain request, for the router to say why. It loses its `Upgrade`
/// field before NIO's upgrade handler sees it, because that drops the head of a request whose
/// upgrade it declines.
private final class HandshakeFilter: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart

  private let guardian: RequestGuard
  private let identification: Identification
  private let overSocket: Bool
  private let isSpare: Bool
  private let rules: ConnectionRulesHandler

  init(
    guardian: RequestGuard, identification: Identification, overSocket: Bool, isSpare: Bool,
    rules: ConnectionRulesHandler
  ) {
    self.rules = rules
    self.guardian = guardian
    self.identification = identification
    self.overSocket = overSocket
    self.isSpare = isSpare
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard case .head(var head) = unwrapInboundIn(data) else {
      context.fireChannelRead(data)
      return
    }
    let mayListen =
      overSocket || identification.listener(head.headers, at: context.channel) != nil
    let pipeline = context.pipeline.syncOperations
    if mayListen, isHandshake(head) {
      // What has come right behind it leaves the decoder as bytes, which the rules cannot read.
      pipeline.removeHandler(rules, promise: nil)
    } else {
      head.headers.remove(name: "upgrade")
    }
    context.fireChannelRead(wrapInboundOut(.head(head)))
    pipeline.removeHandler(self, promise: nil)
  }

  private func isHandshake(_ head: HTTPRequestHead) -> Bool {
    let headers = head.headers
    guard !isSpare, head.method == .GET, head.uri.prefix(while: { $0 != "?" }) == "/ws",
      headers[canonicalForm: "upgrade"].map({ $0.lowercased() }) == ["websocket"],
      headers["sec-websocket-version"] == ["13"], headers["sec-websocket-key"].count == 1,
      // 16 bytes, in base64 (RFC 6455 4.2.1).
      headers.first(name: "sec-websocket-key").flatMap({ Data(base64Encoded: $0) })?.count == 16,
      !headers.contains(name: "transfer-encoding"),
      headers["content-length"].allSatisfy({ $0 == "0" }),
      // One that is no number is refused as a request.
      head.uri.contains("since=") == (sequenceNumber(inQueryOf: head.uri) != nil)
    else { return false }
    return
      (try? guardian.check(
        host: headers.first(name: "host"), origin: headers.first(name: "origin"),
        checksOrigin: true, overSocket: overSocket)) != nil
  }
}

@available(*, unavailable)
extension HandshakeFilter: Sendable {}

/// `since=SEQ` of `/ws?since=SEQ`.
func sequenceNumber(inQueryOf uri: String) -> UInt64? {
  guard let query = uri.firstIndex(of: "?") else { return nil }
  return uri[query...].dropFirst().split(separator: "&").lazy
    .filter { $0.hasPrefix("since=") }
    .compactMap { UInt64($0.dropFirst("since=".count)) }.first
}

extension Channel {
  var isUnixSocket: Bool {
    if case .unixDomainSocket = localAddress { true } else { false }
  }
}
