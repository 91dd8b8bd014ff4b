import Logging
import Migrations
import NIOCore
import NIOWebSocket
import ServiceLifecycle
import Storage
import Updating

typealias WebSocketChannel = NIOAsyncChannel<WebSocketFrame, WebSocketFrame>

/// One WebSocket listener, RFC 6455: it is sent events, one text message each, and says nothing of
/// interest.
struct WebSocketSession: Sendable {
  let channel: WebSocketChannel
  let updater: Updater
  /// Nil over the unix socket.
  let requester: Requester?
  let pingInterval: Duration
  let logger: Logger

  private static let closeTime = Duration.seconds(1)

  func run(since: UInt64?) async {
    do {
      try await channel.executeThenClose { inbound, outbound in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask { try await listen(inbound, outbound) }
          group.addTask {
            try await speak(outbound, since: since)
            // The other side has this long to agree to the end.
            try? await Task.sleep(for: Self.closeTime)
          }
          defer { group.cancelAll() }
          try await group.next()
        }
      }
    } catch {
      logger.debug("A WebSocket ended: \(error)")
    }
  }

  private func speak(
    _ outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>, since: UInt64?
  ) async throws {
    let feed = await EventFeed.open(updater, since: since, tick: pingInterval)
    try await feed.each { item in
      // A device that was removed hears nothing any more.
      if let requester, !updater.access.isKnown(requester) { throw CancellationError() }
      switch item {
      case .event(let event):
        let text = ByteBuffer(bytes: try JSON.encode(event))
        try await outbound.write(WebSocketFrame(fin: true, opcode: .text, data: text))
      case .tick:
        try await outbound.write(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer()))
      }
    }
    // 1013, "try again later" (IANA): the listener was too slow.
    let code: WebSocketErrorCode =
      Task.isShuttingDownGracefully ? .goingAway : .unknown(1013)
    try await outbound.write(.close(code))
  }

  /// Answers pings and the closing handshake; returns when the other side is done or broke the
  /// rules.
  private func listen(
    _ inbound: NIOAsyncChannelInboundStream<WebSocketFrame>,
    _ outbound: NIOAsyncChannelOutboundWriter<WebSocketFrame>
  ) async throws {
    for try await frame in inbound {
      // RFC 6455 5.1: a server must close when a client does not mask; 5.2: reserved bits are for
      // extensions.
      guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
        try await outbound.write(.close(.protocolError))
        return
      }
      switch frame.opcode {
      case .ping:
        try await outbound.write(
          WebSocketFrame(fin: true, opcode: .pong, data: frame.unmaskedData))
      case .connectionClose:
        var data = frame.unmaskedData
        let code = data.readSlice(length: min(2, data.readableBytes)) ?? ByteBuffer()
        try await outbound.write(
          WebSocketFrame(fin: true, opcode: .connectionClose, data: code))
        return
      default:
        // Text, binary and their fragments are dropped one by one: nothing is ever put together or
        // kept.
        break
      }
    }
  }
}

extension WebSocketFrame {
  fileprivate static func close(_ code: WebSocketErrorCode) -> WebSocketFrame {
    var data = ByteBuffer()
    data.write(webSocketErrorCode: code)
    return WebSocketFrame(fin: true, opcode: .connectionClose, data: data)
  }
}

/// Closes a WebSocket from which nothing, not even the answer to a ping, has come for too long.
final class WebSocketSilenceHandler: ChannelInboundHandler, RemovableChannelHandler {
  typealias InboundIn = WebSocketFrame
  typealias InboundOut = WebSocketFrame

  private let limit: TimeAmount
  private var lastHeard = NIODeadline.now()
  private var alarm: Scheduled<Void>?

  init(limit: Duration) {
    self.limit = TimeAmount(limit)
  }

  func handlerAdded(context: ChannelHandlerContext) { arm(context) }

  func handlerRemoved(context: ChannelHandlerContext) { alarm?.cancel() }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    lastHeard = .now()
    context.fireChannelRead(data)
  }

  private func arm(_ context: ChannelHandlerContext) {
    let deadline = lastHeard + limit
    alarm = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(deadline: deadline) {
      if NIODeadline.now() >= self.lastHeard + self.limit {
        context.close(promise: nil)
      } else {
        self.arm(context)
      }
    }
  }
}

@available(*, unavailable)
extension WebSocketSilenceHandler: Sendable {}
