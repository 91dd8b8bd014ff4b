import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix

/// One GET on a connection of its own. Redirections are not followed: nobody else is asked.
struct HTTPRequest: Sendable {
  let host: String
  let port: Int
  let path: String
  var token: String?

  /// CoachIQ's answers have a few kB.
  static let bodyLimit = 1 << 20

  private var url: String { "http://\(authority)\(path)" }
  private var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

  /// The body of an answer with the status 200.
  ///
  /// - Parameter limit: From now to its last byte.
  func body(within limit: Duration) async throws(HTTPFailure) -> [UInt8] {
    let result = await withTaskGroup(of: Result<[UInt8], HTTPFailure>.self) { group in
      group.addTask { await exchange(within: limit) }
      group.addTask {
        try? await Task.sleep(for: limit)
        return .failure(HTTPFailure("\(url) has not answered within \(limit)."))
      }
      defer { group.cancelAll() }
      return await group.next() ?? .failure(HTTPFailure("\(url) was not asked."))
    }
    return try result.get()
  }

  private func exchange(within limit: Duration) async -> Result<[UInt8], HTTPFailure> {
    do {
      let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        // Connecting cannot be cancelled.
        .connectTimeout(TimeAmount(limit))
        .connect(host: host, port: port) { channel in
          channel.eventLoop.makeCompletedFuture {
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            return try NIOAsyncChannel<HTTPClientResponsePart, HTTPClientRequestPart>(
              wrappingChannelSynchronously: channel)
          }
        }
      return try await channel.executeThenClose { inbound, outbound in
        // A server may answer and close before all is written; what it says decides.
        try? await outbound.write(contentsOf: [.head(head), .end(nil)])
        return try await answer(inbound)
      }
    } catch let error as NIOConnectionError {
      let cause = error.connectionErrors.last?.error as? IOError
      let reason =
        cause.map { String(cString: strerror($0.errnoCode)) } ?? "no such host, or no answer"
      return .failure(HTTPFailure("\(url) cannot be reached: \(reason)."))
    } catch {
      return .failure(HTTPFailure("\(url) has given no answer that can be read: \(error)."))
    }
  }

  private var head: HTTPRequestHead {
    var head = HTTPRequestHead(version: .http1_1, method: .GET, uri: path)
    head.headers = ["host": authority, "accept": "application/json", "connection": "close"]
    if let token { head.headers.add(name: "authorization", value: "Bearer \(token)") }
    return head
  }

  private func answer(
    _ parts: NIOAsyncChannelInboundStream<HTTPClientResponsePart>
  ) async throws -> Result<[UInt8], HTTPFailure> {
    var body: [UInt8] = []
    for try await part in parts {
      switch part {
      case .head(let head):
        guard head.status == .ok else { return .failure(refusal(head.status.code)) }
      case .body(let bytes):
        guard body.count + bytes.readableBytes <= Self.bodyLimit else {
          return .failure(HTTPFailure("The answer of \(url) is longer than 1 MB."))
        }
        body += bytes.readableBytesView
      case .end:
        return .success(body)
      }
    }
    return .failure(HTTPFailure("\(url) has closed the connection before the end of its answer."))
  }

  private func refusal(_ status: UInt) -> HTTPFailure {
    switch status {
    case 401, 403:
      HTTPFailure(
        "\(url) wants to know who asks (status \(status)).",
        howToClear: token == nil
          ? "Name a file with its bearer token in the config." : "Renew the token in the file.")
    case 300..<400:
      HTTPFailure(
        "\(url) sends to another place (status \(status)), where chock does not ask.",
        howToClear: "Set the address of the server itself.")
    default: HTTPFailure("\(url) answers with the status \(status).")
    }
  }
}
