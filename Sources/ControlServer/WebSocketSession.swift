package import Logging
package import NIOCore
package import NIOWebSocket
import ServiceLifecycle
import Updating

package typealias WebSocketChannel = NIOAsyncChannel<WebSocketInput, WebSocketFrame>
package typealias WebSocketWriter = NIOAsyncChannelOutboundWriter<WebSocketFrame>

/// One WebSocket, RFC 6455: pings, the closing handshake, and what is said in between.
package struct WebSocketSession: Sendable {
  let channel: WebSocketChannel
  let logger: Logger

  package init(channel: WebSocketChannel, logger: Logger) {
    self.channel = channel
    self.logger = logger
  }

  /// Serves until the connection ends.
  ///
  /// - Parameters:
  ///   - hear: called with each piece of what the client says.
  ///   - speak: says what there is to say, and returns the code with which it closes.
  package func run(
    hear:
      @escaping @Sendable (WebSocketWriter, ByteBuffer, _ isText: Bool, _ isEnd: Bool) async throws
      -> Void,
    speak: @escaping @Sendable (WebSocketWriter) async throws -> UInt16
  ) async {
    do {
      try await channel.executeThenClose { inbound, outbound in
        try await withThrowingTaskGroup(of: Void.self) { group in
          group.addTask {
            do {
              try await outbound.write(.close(try await speak(outbound)))
            } catch {
              try await outbound.write(.close(Self.serverError))
            }
          }
          defer { group.cancelAll() }
          // Ends with the connection: the reader in the channel sees to that.
          for try await input in inbound {
            switch input {
            case .data(let bytes, let isText, let isEnd):
              try await hear(outbound, bytes, isText, isEnd)
            case .ping(let bytes):
              try await outbound.write(WebSocketFrame(fin: true, opcode: .pong, data: bytes))
            case .pong: break
            case .close(let code): try await outbound.write(.close(code))
            case .violation(let code): try await outbound.write(.close(code))
            }
          }
        }
      }
    } catch {
      logger.debug("A WebSocket ended: \(error)")
    }
  }

  private static let serverError: UInt16 = 1011

  /// Sends the events, one text message each; what the client says is of no interest.
  ///
  /// - Parameter requester: nil over the unix socket.
  func sendEvents(
    of updater: Updater, since: UInt64?, requester: Requester?, pingInterval: Duration
  ) async {
    let speak: @Sendable (WebSocketWriter) async throws -> UInt16 = { outbound in
      let feed = await EventFeed.open(updater, since: since, tick: pingInterval)
      try await feed.each { item in
        // A device that was removed hears nothing any more.
        if let requester, !updater.access.isKnown(requester) { throw CancellationError() }
        switch item {
        case .event(let event):
          let text = ByteBuffer(bytes: event.json)
          try await outbound.write(WebSocketFrame(fin: true, opcode: .text, data: text))
        case .tick:
          try await outbound.write(WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer()))
        }
      }
      // "Going away"; or "try again later" (IANA): the listener was too slow.
      return Task.isShuttingDownGracefully ? 1001 : 1013
    }
    await run(hear: { _, _, _, _ in }, speak: speak)
  }
}

extension WebSocketFrame {
  fileprivate static func close(_ code: UInt16?) -> WebSocketFrame {
    var data = ByteBuffer()
    if let code { data.writeInteger(code) }
    return WebSocketFrame(fin: true, opcode: .connectionClose, data: data)
  }
}
