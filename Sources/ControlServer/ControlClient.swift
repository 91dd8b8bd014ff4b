import Glibc
public import Migrations
import NIOCore
import NIOHTTP1
import NIOPosix
import Storage
public import Updating

/// Talks to the daemon over its unix socket: what the command line uses.
///
/// One connection for each request, HTTP/1.1.
public struct ControlClient: Sendable {
  private let socketPath: String
  private let timeLimit: Duration

  /// The daemon's answer, whatever its status.
  public struct Answer: Sendable {
    public var status: Int
    /// In the order of the answer; names as the daemon wrote them.
    public var headers: [(name: String, value: String)]
    public var body: [UInt8]

    /// The first field of that name, whatever its case.
    public func header(_ name: String) -> String? {
      headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
  }

  /// - Parameter timeLimit: for a whole request; an event stream may be silent for three times as
  ///   long.
  public init(socketPath: String, timeLimit: Duration = .seconds(15)) {
    self.socketPath = socketPath
    self.timeLimit = timeLimit
  }

  /// Sends one request and reads the whole answer.
  ///
  /// - Parameters:
  ///   - path: with its query, percent-encoded.
  ///   - body: JSON; nil sends none.
  /// - Throws: `Failure(.noDaemon)` when nobody listens, `Failure(.inputOutput)` when the
  ///   connection breaks off, `Failure(.timeout)`.
  public func request(
    _ method: String, _ path: String, headers: [(name: String, value: String)] = [],
    body: [UInt8]? = nil
  ) async throws(Failure) -> Answer {
    try await translatingErrors {
      try await withTimeLimit { deadline in
        let channel = try await connect()
        return try await channel.executeThenClose { inbound, outbound in
          try await outbound.write(
            contentsOf: parts(method, path, headers + [("connection", "close")], body))
          var answer = Answer(status: 0, headers: [], body: [])
          for try await part in inbound {
            deadline.heard()
            switch part {
            case .head(let head):
              answer.status = Int(head.status.code)
              answer.headers = head.headers.map { ($0.name, $0.value) }
            case .body(let buffer):
              answer.body += buffer.readableBytesView
            case .end:
              return answer
            }
          }
          throw Failure(.inputOutput, "The daemon broke off its answer.", file: socketPath)
        }
      }
    }
  }

  /// The events: the state first, then everything after `since`, then live until the daemon stops.
  ///
  /// The stream ends without an error when the daemon ends it; the caller comes back with the last
  /// number.
  public func events(since: UInt64? = nil) -> AsyncThrowingStream<Event, any Error> {
    let (stream, continuation) = AsyncThrowingStream.makeStream(of: Event.self)
    let task = Task {
      do throws(Failure) {
        try await translatingErrors { try await follow(since: since, into: continuation) }
        continuation.finish()
      } catch {
        continuation.finish(throwing: error)
      }
    }
    continuation.onTermination = { _ in task.cancel() }
    return stream
  }

  private func follow(
    since: UInt64?, into continuation: AsyncThrowingStream<Event, any Error>.Continuation
  ) async throws {
    try await withTimeLimit(silence: timeLimit * 3) { deadline in
      let channel = try await connect()
      let path = "/api/events" + (since.map { "?since=\($0)" } ?? "")
      try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(
          contentsOf: parts("GET", path, [("accept", "text/event-stream")], nil))
        var status = 0
        var lines = ServerSentLines()
        for try await part in inbound {
          deadline.heard()
          switch part {
          case .head(let head):
            status = Int(head.status.code)
          case .body(let buffer):
            guard status == 200 else { continue }
            for data in try lines.append(buffer.readableBytesView) {
              continuation.yield(try JSON.decode(Event.self, from: data))
            }
          case .end:
            guard status == 200 else {
              throw Failure(.usage, "The daemon refused the event stream (HTTP \(status)).")
            }
            return
          }
        }
        // A stream is as long as it is: that the connection ends is the end.
      }
    }
  }

  // MARK: The connection

  private typealias ClientChannel = NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>

  private func connect() async throws -> ClientChannel {
    do {
      return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connectTimeout(.seconds(5))
        .connect(unixDomainSocketPath: socketPath) { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            return try ClientChannel(wrappingChannelSynchronously: channel)
          }
        }
    } catch let error as IOError where error.errnoCode == EACCES {
      throw Failure(
        .notAllowed, "The daemon's socket may not be opened by this user.", file: socketPath,
        howToClear: "Use sudo, or join the socket's group.")
    } catch {
      throw Failure(
        .noDaemon, "No chock daemon answers.", file: socketPath,
        howToClear: "Start it (systemctl start chock), or use --offline.")
    }
  }

  private func parts(
    _ method: String, _ path: String, _ headers: [(name: String, value: String)], _ body: [UInt8]?
  ) -> [HTTPClientRequestPart] {
    var fields = HTTPHeaders([("host", "localhost")])
    for (name, value) in headers { fields.add(name: name, value: value) }
    if let body {
      fields.replaceOrAdd(name: "content-type", value: "application/json")
      fields.replaceOrAdd(name: "content-length", value: "\(body.count)")
    }
    let head = HTTPRequestHead(
      version: .http1_1, method: HTTPMethod(rawValue: method), uri: path, headers: fields)
    var parts = [HTTPClientRequestPart.head(head)]
    if let body { parts.append(.body(.byteBuffer(ByteBuffer(bytes: body)))) }
    return parts + [.end(nil)]
  }

  // MARK: Time and errors

  /// Ends `work` when it lasts longer than the limit, or, with `silence`, when it hears nothing for
  /// that long.
  private func withTimeLimit<Result: Sendable>(
    silence: Duration? = nil,
    _ work: @escaping @Sendable (SilenceClock) async throws -> Result
  ) async throws -> Result {
    let clock = SilenceClock()
    return try await withThrowingTaskGroup(of: Result.self) { group in
      group.addTask { try await work(clock) }
      group.addTask {
        if let silence {
          while clock.silence < silence { try await Task.sleep(for: silence - clock.silence) }
        } else {
          try await Task.sleep(for: timeLimit)
        }
        throw Failure(
          .timeout, "The daemon does not answer in time.", file: socketPath,
          howToClear: "See its log (journalctl -u chock).")
      }
      defer { group.cancelAll() }
      guard let result = try await group.next() else { throw CancellationError() }
      return result
    }
  }

  private func translatingErrors<Result>(
    _ work: () async throws -> Result
  ) async throws(Failure) -> Result {
    do {
      return try await work()
    } catch let failure as Failure {
      throw failure
    } catch is CancellationError {
      throw Failure(.stopped, "Stopped.")
    } catch {
      throw Failure(.inputOutput, "Talking to the daemon failed: \(error)", file: socketPath)
    }
  }
}
