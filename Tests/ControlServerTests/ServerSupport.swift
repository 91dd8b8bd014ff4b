import ControlServer
import FoundationEssentials
import Glibc
import Logging
import NIOCore
import NIOPosix
import ServiceLifecycle
import Testing
import Updating

/// A live server on a port of the system's choice and on a unix socket in a folder of its own.
struct LiveServer: Sendable {
  let port: Int
  let socketPath: String
  let updater: Updater

  var host: String { "127.0.0.1:\(port)" }
  var client: ControlClient { ControlClient(socketPath: socketPath) }
}

/// The one place that knows how an `Updater` is made. Its database does not exist: these tests are
/// about the wire.
func makeUpdater(in folder: String) async throws -> Updater {
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  let settings = UpdateSettings(
    environment: .production, databasePath: folder + "/coach.db",
    migrationsDirectory: folder + "/migrations", stateDirectory: folder + "/state")
  let updater = Updater(settings: settings, executable: "/nonexistent/chock", logger: logger)
  try await updater.start()
  // Its first look at the coach is an event; no other comes unasked.
  _ = await updater.status()
  return updater
}

func makeServer(
  in folder: String, limits: ServerConfiguration.Limits, access: AccessPolicy, listenHost: String,
  onRunning: @escaping @Sendable (Int) async -> Void
) async throws -> (server: ControlServer, updater: Updater, socketPath: String) {
  let updater = try await makeUpdater(in: folder)
  let socketPath = folder + "/chock.sock"
  var configuration = ServerConfiguration(
    listenHost: listenHost, listenPort: 0, socketPath: socketPath, allowedHosts: ["coach.local"])
  configuration.embedOrigins = ["http://coach.local:3000"]
  configuration.limits = limits
  // Who may ask is the matter of AccessTests.
  configuration.access = access
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  let server = ControlServer(
    updater: updater, configuration: configuration, logger: logger, onRunning: onRunning)
  return (server, updater, socketPath)
}

/// Runs `body` against a live server and stops it in an orderly way afterwards.
func withServer(
  in givenFolder: String? = nil, limits: ServerConfiguration.Limits = .forTests,
  access: AccessPolicy = .technician, listenHost: String = "127.0.0.1",
  _ body: (LiveServer) async throws -> Void
) async throws {
  let folder = try givenFolder ?? makeFolder()
  defer { if givenFolder == nil { removeFolder(folder) } }
  let (ports, port) = AsyncStream.makeStream(of: Int.self)
  let (server, updater, socketPath) = try await makeServer(
    in: folder, limits: limits, access: access, listenHost: listenHost
  ) {
    port.yield($0)
  }
  var logger = Logger(label: "test")
  logger.logLevel = .critical
  let services = ServiceGroup(configuration: .init(services: [server], logger: logger))
  try await withThrowingTaskGroup(of: Void.self) { group in
    group.addTask {
      defer { port.finish() }
      try await services.run()
    }
    if let port = await ports.first(where: { _ in true }) {
      try await body(LiveServer(port: port, socketPath: socketPath, updater: updater))
    }
    await services.triggerGracefulShutdown()
    try await group.waitForAll()
  }
}

/// The same with one limit changed.
func withServer<Value>(
  _ limit: WritableKeyPath<ServerConfiguration.Limits, Value>, _ value: Value,
  _ body: (LiveServer) async throws -> Void
) async throws {
  var limits = ServerConfiguration.Limits.forTests
  limits[keyPath: limit] = value
  try await withServer(limits: limits, body)
}

extension AccessPolicy {
  /// Whoever asks on this machine may do everything.
  static var technician: Self {
    var policy = Self()
    policy.local = .technician
    return policy
  }
}

extension ServerConfiguration.Limits {
  static var forTests: Self {
    var limits = Self()
    limits.stopTime = .milliseconds(500)
    return limits
  }
}

func makeFolder() throws -> String {
  let path = FileManager.default.temporaryDirectory.path + "/cs-\(UInt32.random(in: 0...(.max)))"
  try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  return path
}

func removeFolder(_ path: String) {
  try? FileManager.default.removeItem(atPath: path)
}

/// Bytes to and from a server, for what no well-behaved client would send.
final class RawConnection {
  private var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
  private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  private(set) var received: [UInt8] = []

  fileprivate init(
    _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
    _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
  ) {
    iterator = inbound.makeAsyncIterator()
    self.outbound = outbound
  }

  func send(_ text: String) async throws { try await send(Array(text.utf8)) }

  func send(_ bytes: [UInt8]) async throws {
    try await outbound.write(ByteBuffer(bytes: bytes))
  }

  /// False at the end of the connection.
  private func readMore() async -> Bool {
    guard let buffer = try? await iterator.next() else { return false }
    received += buffer.readableBytesView
    return true
  }

  /// Everything until the server closes.
  func readToEnd() async -> String {
    while await readMore() {}
    return String(decoding: received, as: UTF8.self)
  }

  /// Takes what `parse` makes out of the start of what was received, waiting for more while it
  /// makes nothing.
  func take<Part>(_ parse: (ArraySlice<UInt8>) -> (Part, length: Int)?) async throws -> Part {
    while true {
      if let (part, length) = parse(received[...]) {
        received.removeFirst(length)
        return part
      }
      try #require(await readMore(), "The server closed the connection.")
    }
  }

  /// Everything up to and including `text`.
  func take(through text: String) async throws -> String {
    let pattern = Array(text.utf8)
    return try await take { bytes in
      guard let range = bytes.firstRange(of: pattern) else { return nil }
      let taken = bytes[..<range.upperBound]
      return (String(decoding: taken, as: UTF8.self), taken.count)
    }
  }
}

func withConnection<Result>(
  to server: LiveServer, at address: String = "127.0.0.1",
  _ body: (RawConnection) async throws -> Result
) async throws -> Result {
  let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
    .connect(host: address, port: server.port) { channel in
      channel.eventLoop.makeCompletedFuture {
        try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
      }
    }
  return try await channel.executeThenClose { inbound, outbound in
    try await body(RawConnection(inbound, outbound))
  }
}

/// What came back for one request over TCP.
struct RawAnswer {
  var status: Int
  var head: String
  var body: String

  func header(_ name: String) -> String? {
    for line in head.split(separator: "\r\n").dropFirst() {
      let parts = line.split(separator: ":", maxSplits: 1)
      if parts.count == 2, parts[0].lowercased() == name.lowercased() {
        return parts[1].split(separator: " ", omittingEmptySubsequences: true)
          .joined(separator: " ")
      }
    }
    return nil
  }
}

extension LiveServer {
  /// One request on a connection of its own; `headers` beside Host and Connection: close.
  func send(
    _ method: String, _ path: String, host: String? = nil, headers: [String] = [],
    body: String? = nil
  ) async throws -> RawAnswer {
    var lines = ["\(method) \(path) HTTP/1.1", "Host: \(host ?? self.host)", "Connection: close"]
    lines += headers
    if let body { lines.append("Content-Length: \(body.utf8.count)") }
    let text = lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    return try await withConnection(to: self) { connection in
      try await connection.send(text)
      return try answer(await connection.readToEnd())
    }
  }

  func send(json: String, _ method: String, _ path: String, headers: [String] = []) async throws
    -> RawAnswer
  {
    try await send(
      method, path, headers: ["Content-Type: application/json"] + headers, body: json)
  }

  func answer(_ text: String) throws -> RawAnswer {
    let bytes = Array(text.utf8)
    let end = try #require(bytes.firstRange(of: Array("\r\n\r\n".utf8)))
    let head = String(decoding: bytes[..<end.lowerBound], as: UTF8.self)
    let status = try #require(head.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    return RawAnswer(
      status: status, head: head, body: String(decoding: bytes[end.upperBound...], as: UTF8.self))
  }
}
