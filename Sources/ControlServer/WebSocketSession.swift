package import Logging
package import NIOCore
package import NIOWebSocket
import ServiceLifecycle
import Synchronization
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
    let line = EventLine(to: channel.channel, pingInterval: pingInterval) {
      // A device that was removed hears nothing any more.
      requester.map(updater.access.isKnown) ?? true
    }
    let speak: @Sendable (WebSocketWriter) async throws -> UInt16 = { outbound in
      let (subscriber, backlog) = updater.events.subscribe(
        since: since, offer: line.offer, finish: line.stop)
      defer { subscriber.leave() }
      for event in await EventFeed.opening(updater, backlog) {
        try await outbound.write(.text(event))
      }
      line.begin()
      try await withTaskCancellationHandler {
        try await withGracefulShutdownHandler {
          try await line.stopped()
        } onGracefulShutdown: {
          line.stop()
        }
      } onCancel: {
        line.stop()
      }
      // "Going away"; or "try again later" (IANA): the listener was too slow.
      return Task.isShuttingDownGracefully ? 1001 : 1013
    }
    await run(hear: { _, _, _, _ in }, speak: speak)
    line.stop()
  }
}

/// The way of the live events to one WebSocket: from the hub to the connection's own thread, without a task
/// in between, because hundreds of listeners are told of a phase at once.
private final class EventLine: Sendable {
  private let channel: any Channel
  private let pingInterval: Duration
  private let mayHear: @Sendable () -> Bool
  /// Events that were offered and are not written yet.
  private let behind = Atomic(0)
  /// Of the connection's thread.
  private let state: NIOLoopBoundBox<State>
  private let end: EventLoopPromise<Void>

  private struct State {
    /// What came while the opening was written; nil from then on.
    var waiting: [PublishedEvent]? = []
    /// Frames are written and not handed to the kernel yet.
    var isFlushing = false
    var pings: RepeatedTask?
    var hasEnded = false
  }

  init(
    to channel: any Channel, pingInterval: Duration, mayHear: @escaping @Sendable () -> Bool
  ) {
    self.channel = channel
    self.pingInterval = pingInterval
    self.mayHear = mayHear
    state = .makeBoxSendingValue(State(), eventLoop: channel.eventLoop)
    end = channel.eventLoop.makePromise()
  }

  /// For the hub.
  func offer(_ event: PublishedEvent) -> Bool {
    guard behind.add(1, ordering: .relaxed).newValue <= EventHub.subscriberCapacity else {
      return false
    }
    channel.eventLoop.execute { self.take(event) }
    return true
  }

  /// The opening is written: live events may follow.
  func begin() {
    channel.eventLoop.execute { [self] in
      for event in state.value.waiting ?? [] { write(event) }
      state.value.waiting = nil
      guard !state.value.hasEnded else { return }
      let interval = TimeAmount(pingInterval)
      state.value.pings = channel.eventLoop.scheduleRepeatedTask(
        initialDelay: interval, delay: interval
      ) { [channel] _ in
        channel.writeAndFlush(
          WebSocketFrame(fin: true, opcode: .ping, data: ByteBuffer()), promise: nil)
      }
    }
  }

  /// Nothing is written any more.
  func stop() { stop(.success(())) }

  /// Waits until it is stopped.
  ///
  /// - Throws: CancellationError when the listener may not hear any more.
  func stopped() async throws { try await end.futureResult.get() }

  private func stop(_ result: Result<Void, any Error>) {
    channel.eventLoop.execute { [self] in
      state.value.hasEnded = true
      state.value.pings?.cancel()
      end.completeWith(result)
    }
  }

  private func take(_ event: PublishedEvent) {
    if state.value.waiting == nil {
      write(event)
    } else {
      state.value.waiting?.append(event)
    }
  }

  private func write(_ event: PublishedEvent) {
    guard !state.value.hasEnded else { return }
    guard mayHear() else { return stop(.failure(CancellationError())) }
    channel.write(WebSocketFrame.text(event)).whenComplete { _ in
      self.behind.subtract(1, ordering: .relaxed)
    }
    // A phase is several events: behind all that this thread has to write now, so that they share a call.
    guard !state.value.isFlushing else { return }
    state.value.isFlushing = true
    channel.eventLoop.execute { [self] in
      state.value.isFlushing = false
      channel.flush()
    }
  }
}

extension WebSocketFrame {
  fileprivate static func text(_ event: PublishedEvent) -> WebSocketFrame {
    WebSocketFrame(fin: true, opcode: .text, data: ByteBuffer(bytes: event.json))
  }

  fileprivate static func close(_ code: UInt16?) -> WebSocketFrame {
    var data = ByteBuffer()
    if let code { data.writeInteger(code) }
    return WebSocketFrame(fin: true, opcode: .connectionClose, data: data)
  }
}
