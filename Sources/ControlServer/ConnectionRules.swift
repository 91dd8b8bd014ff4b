import NIOCore
import NIOHTTP1

/// When a connection has to end, as a value: it is told what happens and when, and answers what to
/// do.
///
/// Total times, not idle times: a client that sends a byte a second gets no more time than one that
/// sends nothing.
struct ConnectionRules {
  enum Action: Equatable {
    case none
    case close
    /// Close our direction and give the client `lingerTime` to read what we said: closing at once,
    /// with unread input, would reset the connection and the answer with it.
    case closeOutput
  }

  let limits: ServerConfiguration.Limits
  /// The client must have sent something by then.
  private(set) var readDeadline: NIODeadline?
  /// The client must have taken something by then.
  private(set) var writeDeadline: NIODeadline?
  private(set) var responsesDue = 0
  private var isReadingRequest = false
  private var closesAfterResponse = false
  private var isClosing = false

  private static let lingerTime = TimeAmount.seconds(1)

  init(limits: ServerConfiguration.Limits) {
    self.limits = limits
  }

  var deadline: NIODeadline? {
    guard let readDeadline else { return writeDeadline }
    return writeDeadline.map { min($0, readDeadline) } ?? readDeadline
  }

  mutating func opened(at now: NIODeadline) {
    readDeadline = now + TimeAmount(limits.headerTime)
  }

  mutating func requestBegan(keepsAlive: Bool, at now: NIODeadline) {
    responsesDue += 1
    isReadingRequest = true
    if !keepsAlive { closesAfterResponse = true }
    if !isClosing { readDeadline = now + TimeAmount(limits.bodyTime) }
  }

  mutating func requestEnded() {
    isReadingRequest = false
    if !isClosing { readDeadline = nil }
  }

  mutating func responseBegan(keepsAlive: Bool) {
    if !keepsAlive { closesAfterResponse = true }
  }

  mutating func responseEnded(at now: NIODeadline) -> Action {
    responsesDue -= 1
    if closesAfterResponse {
      isClosing = true
      readDeadline = now + Self.lingerTime
      return .closeOutput
    }
    if responsesDue == 0 && !isReadingRequest {
      readDeadline = now + TimeAmount(limits.idleTime)
    }
    return .none
  }

  mutating func writable(_ isWritable: Bool, at now: NIODeadline) {
    writeDeadline = isWritable ? nil : now + TimeAmount(limits.stallTime)
  }

  /// The server stops: what is being answered is answered.
  mutating func quiesce() -> Action {
    closesAfterResponse = true
    return responsesDue == 0 ? .close : .none
  }

  func isOver(at now: NIODeadline) -> Bool {
    deadline.map { now >= $0 } ?? false
  }
}

/// Applies `ConnectionRules` to a channel; sits right behind the HTTP decoder, from the first byte
/// on.
final class ConnectionRulesHandler: ChannelDuplexHandler, RemovableChannelHandler {
  typealias InboundIn = HTTPServerRequestPart
  typealias InboundOut = HTTPServerRequestPart
  typealias OutboundIn = HTTPServerResponsePart
  typealias OutboundOut = HTTPServerResponsePart

  private var rules: ConnectionRules
  private var alarm: Scheduled<Void>?
  private var alarmTime = NIODeadline.distantFuture
  /// Nothing of it reaches anybody any more.
  private var isRefused = false

  init(limits: ServerConfiguration.Limits) {
    rules = ConnectionRules(limits: limits)
  }

  func handlerAdded(context: ChannelHandlerContext) {
    rules.opened(at: .now())
    arm(context)
  }

  func handlerRemoved(context: ChannelHandlerContext) {
    alarm?.cancel()
    alarm = nil
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    guard !isRefused else { return }
    switch unwrapInboundIn(data) {
    case .head(let head):
      // RFC 9112 3.2: who is meant must not depend on who reads it.
      guard head.headers["host"].count < 2 else {
        isRefused = true
        refuse(.badRequest, context)
        return
      }
      // RFC 9110 10.1.1: before it sends the body, it wants to hear that it is read. What is too long is
      // refused instead. Behind a request that is still to be answered it has to wait by itself.
      let length = head.headers.first(name: "content-length").flatMap(Int.init)
      if head.version != .http1_0,
        head.headers[canonicalForm: "expect"].contains(where: { $0.lowercased() == "100-continue" }
        ),
        rules.responsesDue == 0, length ?? 0 <= rules.limits.maxBodyBytes
      {
        context.writeAndFlush(
          wrapOutboundOut(.head(.init(version: .http1_1, status: .continue))), promise: nil)
      }
      rules.requestBegan(keepsAlive: head.isKeepAlive, at: .now())
    case .body: break
    case .end: rules.requestEnded()
    }
    arm(context)
    context.fireChannelRead(data)
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    switch unwrapOutboundIn(data) {
    case .head(let head):
      if head.headers[canonicalForm: "connection"].contains("close") {
        rules.responseBegan(keepsAlive: false)
      }
      context.write(data, promise: promise)
    case .body:
      context.write(data, promise: promise)
    case .end:
      let action = rules.responseEnded(at: .now())
      context.writeAndFlush(data, promise: promise)
      apply(action, context)
      arm(context)
    }
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    rules.writable(context.channel.isWritable, at: .now())
    arm(context)
    context.fireChannelWritabilityChanged()
  }

  func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
    if event is ChannelShouldQuiesceEvent { apply(rules.quiesce(), context) }
    context.fireUserInboundEventTriggered(event)
  }

  func errorCaught(context: ChannelHandlerContext, error: any Error) {
    guard let error = error as? HTTPParserError, rules.responsesDue == 0 else {
      context.fireErrorCaught(error)
      context.close(promise: nil)
      return
    }
    refuse(error == .headerOverflow ? .requestHeaderFieldsTooLarge : .badRequest, context)
  }

  /// What cannot be read reaches nobody else, so it is answered here, with the connection's last words.
  private func refuse(_ status: HTTPResponseStatus, _ context: ChannelHandlerContext) {
    let headers: HTTPHeaders = ["connection": "close", "content-length": "0"]
    rules.requestBegan(keepsAlive: false, at: .now())
    write(
      context: context,
      data: wrapOutboundOut(.head(.init(version: .http1_1, status: status, headers: headers))),
      promise: nil)
    write(context: context, data: wrapOutboundOut(.end(nil)), promise: nil)
  }

  private func apply(_ action: ConnectionRules.Action, _ context: ChannelHandlerContext) {
    switch action {
    case .none: break
    case .close: context.close(promise: nil)
    case .closeOutput: context.close(mode: .output, promise: nil)
    }
  }

  /// One alarm at a time. One that goes off too early, because the deadline has moved back, is set
  /// anew then: that is cheaper than a new alarm for every part.
  private func arm(_ context: ChannelHandlerContext) {
    guard let deadline = rules.deadline, alarm == nil || deadline < alarmTime else { return }
    alarm?.cancel()
    alarmTime = deadline
    alarm = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(deadline: deadline) {
      self.alarm = nil
      if self.rules.isOver(at: .now()) {
        context.close(promise: nil)
      } else {
        self.arm(context)
      }
    }
  }
}

@available(*, unavailable)
extension ConnectionRulesHandler: Sendable {}
