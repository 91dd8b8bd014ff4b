import FoundationEssentials
import HTTPTypes
import Hummingbird
public import Logging
import Migrations
import NIOCore
public import ServiceLifecycle
import Synchronization
public import Updating

/// Where the server listens and what it puts up with.
public struct ServerConfiguration: Sendable {
  /// An address of this machine; `127.0.0.1` unless the owner wants otherwise, `0.0.0.0` for all.
  public var listenHost: String
  /// 0 lets the system choose.
  public var listenPort: Int
  /// Instead of `listenHost` and `listenPort`: what the service manager listens on already.
  public private(set) var inherited: InheritedSocket?
  /// Nil: no unix socket.
  public var socketPath: String?
  /// Host names beside the loopback ones under which browsers may address the server.
  public var allowedHosts: [String]
  /// Origins of pages that may show how it stands with the database (`<chock-update>`).
  public var embedOrigins: [String] = []
  public var access = AccessPolicy()
  public var limits = Limits()

  /// What one client may cost.
  public struct Limits: Sendable {
    /// For each of the two listeners: with all TCP connections taken, the unix socket still
    /// answers. Beyond them there are a few for health checks.
    public var maxConnections = 256
    /// Bytes of all header fields together.
    public var maxHeaderBytes = 16 * 1024
    /// Bytes of a body, and of a WebSocket frame.
    public var maxBodyBytes = 64 * 1024
    /// From the connection to the end of the first header.
    public var headerTime = Duration.seconds(10)
    /// From the end of the header to the end of the body.
    public var bodyTime = Duration.seconds(15)
    /// Between two requests on one connection, the second's header included.
    public var idleTime = Duration.seconds(60)
    /// How long a client may take nothing of what waits for it.
    public var stallTime = Duration.seconds(30)
    /// Between two comments on an event stream.
    public var keepAliveInterval = Duration.seconds(15)
    /// Between two WebSocket pings; a client that is silent for 2.25 times as long is dropped.
    public var pingInterval = Duration.seconds(20)
    /// What connections get to end by themselves when the server stops.
    public var stopTime = Duration.seconds(3)

    public init() {}
  }

  public init(
    listenHost: String = "127.0.0.1", listenPort: Int = 8765, socketPath: String? = nil,
    allowedHosts: [String] = []
  ) {
    self.listenHost = listenHost
    self.listenPort = listenPort
    self.socketPath = socketPath
    self.allowedHosts = allowedHosts
  }

  /// Listens on a socket of the service manager's, and nowhere else.
  public mutating func take(_ socket: InheritedSocket) {
    inherited = socket
    listenHost = socket.host
    listenPort = socket.port
  }

  /// Whether a text is an address of IPv4 or IPv6.
  public static func isAddress(_ text: String) -> Bool {
    (try? SocketAddress(ipAddress: text, port: 0)) != nil
  }

  /// Other machines can reach it.
  public var isOpen: Bool {
    listenHost != "localhost"
      && (try? SocketAddress(ipAddress: listenHost, port: listenPort))?.isLoopback != true
  }
}

/// The control interface: HTTP, event streams and the panel, on a TCP port and a unix socket.
public struct ControlServer: Service {
  private let updater: Updater
  private let configuration: ServerConfiguration
  private let logger: Logger
  private let diagnostics: Diagnostics?
  private let onRunning: @Sendable (_ port: Int) async -> Void
  private let serveWebSocket: (@Sendable (WebSocketChannel) async -> Void)?

  /// - Parameters:
  ///   - diagnostics: nil: there is no file for support to download.
  ///   - onRunning: called once, with the TCP port, when both listeners accept connections.
  public init(
    updater: Updater, configuration: ServerConfiguration, logger: Logger,
    diagnostics: Diagnostics? = nil,
    onRunning: @escaping @Sendable (_ port: Int) async -> Void = { _ in }
  ) {
    self.updater = updater
    self.configuration = configuration
    self.logger = logger
    self.diagnostics = diagnostics
    self.onRunning = onRunning
    serveWebSocket = nil
  }

  /// The same with something else than events on its WebSockets.
  package init(
    updater: Updater, configuration: ServerConfiguration, logger: Logger,
    serveWebSocket: @escaping @Sendable (WebSocketChannel) async -> Void,
    onRunning: @escaping @Sendable (_ port: Int) async -> Void
  ) {
    self.updater = updater
    self.configuration = configuration
    self.logger = logger
    diagnostics = nil
    self.onRunning = onRunning
    self.serveWebSocket = serveWebSocket
  }

  /// Serves until the service group shuts down gracefully or the task is cancelled.
  ///
  /// - Throws: `Failure` when a listener cannot be opened, naming which.
  public func run() async throws {
    let socket = try configuration.socketPath.map { path throws(Failure) in
      try UnixSocketFile(path: path)
    }
    try socket?.makeRoom()
    defer { socket?.remove() }
    let startup = Startup(listeners: socket == nil ? 1 : 2, onRunning: onRunning)
    let addresses = PanelAddresses(configuration)
    let guardian = RequestGuard(
      allowedHosts: configuration.allowedHosts,
      machineName: configuration.isOpen
        ? String(ProcessInfo.processInfo.hostName.prefix { $0 != "." }) : nil)
    let identification = Identification(
      access: updater.access, policy: configuration.access,
      isDevelopment: updater.settings.environment != .production)
    let responder = ControlResponder(
      updater: updater, configuration: configuration, addresses: addresses, guardian: guardian,
      identification: identification, diagnostics: diagnostics, logger: logger)
    let channels = (0..<2).map { _ in makeChannel(responder, guardian, identification) }

    try await withThrowingTaskGroup(of: Ended.self) { group in
      group.addTask {
        try await serve(
          channels[0],
          at: configuration.inherited.map { .inherited($0) }
            ?? .tcp(host: configuration.listenHost, port: configuration.listenPort),
          name: "\(configuration.listenHost):\(configuration.listenPort)"
        ) { bound in
          if let port = bound.localAddress?.port { addresses.isListening(port: port) }
          await startup.isListening(port: bound.localAddress?.port)
        }
        return .listener
      }
      if let socket {
        group.addTask {
          try await serve(
            channels[1], at: .unix(path: socket.temporaryPath), name: socket.path
          ) { bound in
            do throws(Failure) {
              try socket.publish()
              await startup.isListening(port: nil)
            } catch {
              startup.failed(error)
              try? await bound.close()
            }
          }
          // Who is told to stop in this moment has taken the socket away again.
          if !Task.isShuttingDownGracefully { try startup.check() }
          return .listener
        }
      }
      // Whoever is still connected after this is cut off.
      group.addTask {
        try? await gracefulShutdown()
        try? await Task.sleep(for: configuration.limits.stopTime)
        return .stopTime
      }
      defer { group.cancelAll() }
      var listeners = socket == nil ? 1 : 2
      while listeners > 0, let ended = try await group.next() {
        switch ended {
        case .stopTime:
          group.cancelAll()
        case .listener where Task.isShuttingDownGracefully || Task.isCancelled:
          listeners -= 1
        case .listener:
          throw Failure(.inputOutput, "A listener has ended by itself.")
        }
      }
    }
  }

  private enum Ended { case listener, stopTime }

  private func serve(
    _ channel: ControlChannel, at place: Listener.Place, name: String,
    onListening: @escaping @Sendable (any Channel) async -> Void
  ) async throws {
    let listener = Listener(
      place: place, connections: channel,
      // In case spare connections are not closed as fast as others come.
      limit: configuration.limits.maxConnections + 2 * ConnectionPlaces.spareLimit, logger: logger)
    do {
      try await listener.run(onListening: onListening)
    } catch let error as IOError {
      throw Failure(
        .badConfig, "Cannot listen on \(name): \(error.localizedDescription)",
        howToClear: "See what uses it (ss -ltnx), or set server.listen and server.socket otherwise."
      )
    }
  }

  private func makeChannel(
    _ responder: ControlResponder, _ guardian: RequestGuard, _ identification: Identification
  ) -> ControlChannel {
    ControlChannel(
      responder: { request, writer, channel in
        let response = await responder.respond(to: request, over: channel)
        try await writer.write(response: response.head, body: response.body)
      },
      spareResponder: { request, writer, channel in
        let response = await responder.respond(to: request, over: channel, isSpare: true)
        try await writer.write(response: response.head, body: response.body)
      },
      limits: configuration.limits, guardian: guardian, identification: identification,
      places: ConnectionPlaces(limit: configuration.limits.maxConnections),
      serveWebSocket: {
        [updater, configuration, logger, serveWebSocket] channel, since, requester in
        if let serveWebSocket { return await serveWebSocket(channel) }
        await WebSocketSession(channel: channel, logger: logger).sendEvents(
          of: updater, since: since, requester: requester,
          pingInterval: configuration.limits.pingInterval)
      })
  }
}

/// Waits for both listeners before it says that the server runs.
private final class Startup: Sendable {
  private struct State {
    var missing: Int
    var port = 0
    var failure: Failure?
  }

  private let state: Mutex<State>
  private let onRunning: @Sendable (Int) async -> Void

  init(listeners: Int, onRunning: @escaping @Sendable (Int) async -> Void) {
    state = Mutex(State(missing: listeners))
    self.onRunning = onRunning
  }

  func isListening(port: Int?) async {
    let ready = state.withLock { state -> Int? in
      if let port { state.port = port }
      state.missing -= 1
      return state.missing == 0 ? state.port : nil
    }
    if let ready { await onRunning(ready) }
  }

  func failed(_ failure: Failure) {
    state.withLock { $0.failure = failure }
  }

  func check() throws(Failure) {
    if let failure = state.withLock({ $0.failure }) { throw failure }
  }
}
