import Dispatch
import Glibc
public import Migrations
import NIOCore
import NIOHTTP1
import NIOPosix
import Storage
public import Updating

/// Talks to the daemon over its unix socket: what the command line uses.
///
/// One connection for each request, HTTP/1.1. Only the event stream needs NIO.
public struct ControlClient: Sendable {
  private let socketPath: String
  private let timeLimit: Duration

  /// The same for a request that takes its time.
  public func patient(_ timeLimit: Duration) -> ControlClient {
    ControlClient(socketPath: socketPath, timeLimit: timeLimit)
  }

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
    let given = Set(headers.map { $0.name.lowercased() })
    var fields =
      [("host", "localhost"), ("connection", "close")].filter { !given.contains($0.0) } + headers
    if let body {
      fields.removeAll { $0.0.lowercased() == "content-type" }
      fields += [("content-type", "application/json"), ("content-length", "\(body.count)")]
    }
    let head = fields.reduce("\(method) \(path) HTTP/1.1\r\n") { "\($0)\($1.0): \($1.1)\r\n" }
    let request = Array((head + "\r\n").utf8) + (body ?? [])
    let exchange = SocketExchange(socketPath: socketPath, deadline: .now + timeLimit)
    // A queue of its own has a thread of its own: the global one shares those that tasks run on.
    let answer = await withCheckedContinuation {
      (continuation: CheckedContinuation<Result<Answer, Failure>, Never>) in
      DispatchQueue(label: "request").async {
        continuation.resume(returning: Result { () throws(Failure) in try exchange(request) })
      }
    }
    return try answer.get()
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
    try await withSilenceLimit(timeLimit * 3) { deadline in
      let channel = try await connect()
      let path = "/api/events" + (since.map { "?since=\($0)" } ?? "")
      try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(contentsOf: [.head(head(path)), .end(nil)])
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
              // What a newer daemon has to tell besides is not for this client.
              let type = try JSON.decode(TypedMessage.self, from: data).type
              guard let type = Event.EventType(rawValue: type), type != .coachIQProgress else {
                continue
              }
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

  private struct TypedMessage: Decodable { var type: String }

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
      throw Self.notAllowed(socketPath)
    } catch {
      throw Self.noDaemon(socketPath)
    }
  }

  private func head(_ path: String) -> HTTPRequestHead {
    HTTPRequestHead(
      version: .http1_1, method: .GET, uri: path,
      headers: ["host": "localhost", "accept": "text/event-stream"])
  }

  // MARK: Time and errors

  static func notAllowed(_ socketPath: String) -> Failure {
    Failure(
      .notAllowed, "The daemon's socket may not be opened by this user.", file: socketPath,
      howToClear: "Use sudo, or join the socket's group.")
  }

  static func noDaemon(_ socketPath: String) -> Failure {
    Failure(
      .noDaemon, "No chock daemon answers.", file: socketPath,
      howToClear: "Start it (systemctl start chock), or use --offline.")
  }

  /// Whether the end of its process comes as the end of the stream or as a reset is luck.
  static func daemonEnded(_ socketPath: String) -> Failure {
    Failure(
      .noDaemon, "The daemon ended before it had answered.", file: socketPath,
      howToClear: "Start it again (systemctl start chock); `chock status` says what became of it.")
  }

  static func timeout(_ socketPath: String) -> Failure {
    Failure(
      .timeout, "The daemon does not answer in time.", file: socketPath,
      howToClear: "See its log (journalctl -u chock).")
  }

  /// Ends `work` when it hears nothing for so long.
  private func withSilenceLimit<Result: Sendable>(
    _ limit: Duration, _ work: @escaping @Sendable (SilenceClock) async throws -> Result
  ) async throws -> Result {
    let clock = SilenceClock()
    return try await withThrowingTaskGroup(of: Result.self) { group in
      group.addTask { try await work(clock) }
      group.addTask {
        while clock.silence < limit { try await Task.sleep(for: limit - clock.silence) }
        throw Self.timeout(socketPath)
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
    } catch let error as IOError where [ECONNRESET, EPIPE].contains(error.errnoCode) {
      throw Self.daemonEnded(socketPath)
    } catch {
      throw Failure(.inputOutput, "Talking to the daemon failed: \(error)", file: socketPath)
    }
  }
}
