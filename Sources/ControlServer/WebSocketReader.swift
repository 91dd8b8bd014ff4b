package import NIOCore
import NIOWebSocket

/// What the other side of a WebSocket has said, as far as it concerns whoever serves it.
package enum WebSocketInput: Sendable, Equatable {
  /// A piece of a text or binary message; `isEnd` with its last one.
  case data(ByteBuffer, isText: Bool, isEnd: Bool)
  case ping(ByteBuffer)
  case pong
  /// The closing handshake, with the code to answer; nil when none was given. Nothing follows.
  case close(UInt16?)
  /// The other side broke the protocol, for which this is the code. Nothing follows.
  case violation(UInt16)
}

/// Reads what a client says, and checks it against RFC 6455 while it comes: a frame is refused at its
/// header, and text at its first wrong byte. Nothing of a message is kept.
struct WebSocketReader {
  /// True behind the closing handshake or a violation.
  private(set) var isOver = false

  /// Bytes of a frame.
  private let limit: Int
  /// The frame of which pieces are still to come.
  private var frame: Frame?
  /// Whether the message of which fragments are still to come is text.
  private var message: Bool?
  private var text = UTF8Check()

  private struct Frame {
    var isEnd: Bool
    var remaining: Int
    var mask: [UInt8]
    /// How many bytes of it are read.
    var position = 0

    mutating func take(_ buffer: inout ByteBuffer) -> ByteBuffer {
      let count = min(remaining, buffer.readableBytes)
      var piece = ByteBuffer()
      if var bytes = buffer.readSlice(length: count) {
        bytes.withUnsafeMutableReadableBytes { bytes in
          for index in bytes.indices { bytes[index] ^= mask[(position + index) & 3] }
        }
        piece = bytes
      }
      position += count
      remaining -= count
      return piece
    }
  }

  private struct Violation: Error {
    var code: UInt16
    static let framing = Violation(code: 1002)
    static let text = Violation(code: 1007)
    static let size = Violation(code: 1009)
  }

  init(limit: Int) {
    self.limit = limit
  }

  /// The next thing that these bytes say; nil when it takes more of them.
  mutating func read(_ buffer: inout ByteBuffer) -> WebSocketInput? {
    guard !isOver else {
      buffer.moveReaderIndex(forwardBy: buffer.readableBytes)
      return nil
    }
    do throws(Violation) {
      return try next(&buffer)
    } catch {
      isOver = true
      return .violation(error.code)
    }
  }

  private mutating func next(_ buffer: inout ByteBuffer) throws(Violation) -> WebSocketInput? {
    if frame != nil { return try piece(&buffer) }
    // RFC 6455 5.2, the base framing protocol.
    guard let first = buffer.getInteger(at: buffer.readerIndex, as: UInt8.self),
      let second = buffer.getInteger(at: buffer.readerIndex + 1, as: UInt8.self)
    else { return nil }
    let isEnd = first & 0x80 != 0
    // Reserved bits are for extensions, and none was agreed on. A client masks (5.1).
    guard first & 0x70 == 0, second & 0x80 != 0 else { throw .framing }
    let opcode = first & 0x0F
    let isControl = opcode & 8 != 0
    switch opcode {
    case 0: guard message != nil else { throw .framing }
    case 1, 2: guard message == nil else { throw .framing }
    // Control frames are short and whole (5.5).
    case 8, 9, 10: guard isEnd, second & 0x7F <= 125 else { throw .framing }
    default: throw .framing
    }
    guard let (length, headerLength) = try length(second & 0x7F, buffer),
      buffer.readableBytes >= headerLength,
      let mask = buffer.getBytes(at: buffer.readerIndex + headerLength - 4, length: 4)
    else { return nil }
    var frame = Frame(isEnd: isEnd, remaining: length, mask: mask)
    if isControl {
      guard buffer.readableBytes >= headerLength + length else { return nil }
      buffer.moveReaderIndex(forwardBy: headerLength)
      return try control(opcode, frame.take(&buffer))
    }
    buffer.moveReaderIndex(forwardBy: headerLength)
    if opcode != 0 {
      message = opcode == 1
      text = UTF8Check()
    }
    self.frame = frame
    return try piece(&buffer)
  }

  /// The length of the payload, and of the header with its mask.
  private func length(
    _ short: UInt8, _ buffer: ByteBuffer
  ) throws(Violation) -> (payload: Int, header: Int)? {
    let start = buffer.readerIndex + 2
    switch short {
    case 126:
      guard let length = buffer.getInteger(at: start, as: UInt16.self) else { return nil }
      // In as few bytes as possible (5.2).
      guard length > 125 else { throw .framing }
      guard length <= limit else { throw .size }
      return (Int(length), 8)
    case 127:
      guard let length = buffer.getInteger(at: start, as: UInt64.self) else { return nil }
      guard length > UInt16.max, length >> 63 == 0 else { throw .framing }
      guard length <= limit else { throw .size }
      return (Int(length), 14)
    default:
      return (Int(short), 6)
    }
  }

  private mutating func piece(_ buffer: inout ByteBuffer) throws(Violation) -> WebSocketInput? {
    guard var frame, let isText = message, frame.remaining == 0 || buffer.readableBytes > 0 else {
      return nil
    }
    let piece = frame.take(&buffer)
    let isEnd = frame.remaining == 0 && frame.isEnd
    if isText {
      guard text.take(piece.readableBytesView), !isEnd || text.isComplete else { throw .text }
    }
    self.frame = frame.remaining > 0 ? frame : nil
    if isEnd { message = nil }
    return .data(piece, isText: isText, isEnd: isEnd)
  }

  private mutating func control(
    _ opcode: UInt8, _ payload: ByteBuffer
  ) throws(Violation) -> WebSocketInput {
    switch opcode {
    case 9: return .ping(payload)
    case 10: return .pong
    default: break
    }
    var payload = payload
    isOver = true
    guard payload.readableBytes > 0 else { return .close(nil) }
    // 7.4, and the codes that IANA has given out since (1012 to 1014).
    guard let code = payload.readInteger(as: UInt16.self),
      (1000...1003).contains(code) || (1007...1014).contains(code) || (3000...4999).contains(code)
    else { throw .framing }
    var reason = UTF8Check()
    guard reason.take(payload.readableBytesView), reason.isComplete else { throw .text }
    return .close(code)
  }
}

/// Whether bytes are UTF-8, as they come (RFC 3629, section 4).
struct UTF8Check {
  /// Bytes of a character that are still to come, and what the first of them may be.
  private var missing = 0
  private var allowed: ClosedRange<UInt8> = Self.continuation

  private static let continuation: ClosedRange<UInt8> = 0x80...0xBF

  /// Whether no character is broken off.
  var isComplete: Bool { missing == 0 }

  /// False when these bytes cannot be a part of UTF-8 behind those before them.
  mutating func take(_ bytes: some Sequence<UInt8>) -> Bool {
    for byte in bytes {
      if missing > 0 {
        guard allowed.contains(byte) else { return false }
        missing -= 1
        allowed = Self.continuation
        continue
      }
      switch byte {
      case 0...0x7F: continue
      case 0xC2...0xDF: missing = 1
      // Neither longer than needed, nor a surrogate, nor above U+10FFFF.
      case 0xE0: (missing, allowed) = (2, 0xA0...0xBF)
      case 0xED: (missing, allowed) = (2, 0x80...0x9F)
      case 0xE1...0xEF: missing = 2
      case 0xF0: (missing, allowed) = (3, 0x90...0xBF)
      case 0xF4: (missing, allowed) = (3, 0x80...0x8F)
      case 0xF1...0xF3: missing = 3
      default: return false
      }
    }
    return true
  }
}

/// The reader in a channel. It also sees to the end: whoever goes first, the other side has a second to
/// hang up, and one from which nothing, not even the answer to a ping, has come for too long is dropped.
final class WebSocketReaderHandler: ChannelDuplexHandler {
  typealias InboundIn = ByteBuffer
  typealias InboundOut = WebSocketInput
  typealias OutboundIn = WebSocketFrame
  typealias OutboundOut = WebSocketFrame

  private var reader: WebSocketReader
  private var unread = ByteBuffer()
  private let silenceLimit: TimeAmount
  private let stallLimit: TimeAmount
  private var lastHeard = NIODeadline.now()
  private var alarm: Scheduled<Void>?
  /// Goes off when the client has taken nothing for too long.
  private var stall: Scheduled<Void>?
  private var hasClosed = false

  private static let closeTime = TimeAmount.seconds(1)

  init(limit: Int, silenceLimit: Duration, stallLimit: Duration) {
    reader = WebSocketReader(limit: limit)
    self.silenceLimit = TimeAmount(silenceLimit)
    self.stallLimit = TimeAmount(stallLimit)
  }

  func handlerAdded(context: ChannelHandlerContext) { arm(context) }

  func handlerRemoved(context: ChannelHandlerContext) {
    alarm?.cancel()
    stall?.cancel()
  }

  func channelWritabilityChanged(context: ChannelHandlerContext) {
    stall?.cancel()
    stall = nil
    if !context.channel.isWritable {
      stall = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: stallLimit) {
        context.close(promise: nil)
      }
    }
    context.fireChannelWritabilityChanged()
  }

  func channelRead(context: ChannelHandlerContext, data: NIOAny) {
    var bytes = unwrapInboundIn(data)
    if unread.readableBytes > 0 {
      unread.writeBuffer(&bytes)
      swap(&unread, &bytes)
      unread.clear()
    }
    while let input = reader.read(&bytes) {
      lastHeard = .now()
      context.fireChannelRead(wrapInboundOut(input))
    }
    if bytes.readableBytes > 0 { unread = bytes.slice() }
    // Its answer to our closing handshake: both sides have said all.
    if reader.isOver, hasClosed { context.close(mode: .output, promise: nil) }
  }

  func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
    let frame = unwrapOutboundIn(data)
    // Nothing comes behind the closing handshake (RFC 6455 5.5.1).
    guard !hasClosed else {
      promise?.succeed()
      return
    }
    guard frame.opcode == .connectionClose else {
      context.write(data, promise: promise)
      return
    }
    hasClosed = true
    context.writeAndFlush(data, promise: promise)
    // Closing at once, with unread input, would reset the connection and our last words with it.
    if reader.isOver { context.close(mode: .output, promise: nil) }
    alarm?.cancel()
    alarm = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(in: Self.closeTime) {
      context.close(promise: nil)
    }
  }

  private func arm(_ context: ChannelHandlerContext) {
    let deadline = lastHeard + silenceLimit
    alarm = context.eventLoop.assumeIsolatedUnsafeUnchecked().scheduleTask(deadline: deadline) {
      if NIODeadline.now() >= self.lastHeard + self.silenceLimit {
        context.close(promise: nil)
      } else {
        self.arm(context)
      }
    }
  }
}

@available(*, unavailable)
extension WebSocketReaderHandler: Sendable {}
