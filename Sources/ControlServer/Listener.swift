import HummingbirdCore
import Logging
import NIOCore
import NIOExtras
import NIOPosix
import ServiceLifecycle

/// One listening socket, and whoever connects to it.
struct Listener: Sendable {
  enum Place: Sendable {
    case tcp(host: String, port: Int)
    case unix(path: String)
    case inherited(InheritedSocket)
  }

  let place: Place
  let connections: ControlChannel
  let limit: Int
  let logger: Logger

  /// Listens until the service group shuts down gracefully, and until then every connection is over.
  ///
  /// - Parameter onListening: called once, when connections are accepted.
  /// - Throws: `IOError` when it cannot listen.
  func run(onListening: @escaping @Sendable (any Channel) async -> Void) async throws {
    let group = MultiThreadedEventLoopGroup.singleton
    let quiescing = ServerQuiescingHelper(group: group)
    let bootstrap = ServerBootstrap(group: group)
      .serverChannelOption(.backlog, value: 256)
      .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
      .childChannelOption(.allowRemoteHalfClosure, value: true)
      .serverChannelInitializer { [limit] channel in
        channel.eventLoop.makeCompletedFuture {
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(AvailableConnectionsChannelHandler(maxConnections: limit))
          try pipeline.addHandler(quiescing.makeServerChannelHandler(channel: channel))
        }
      }
    let initialize = { @Sendable [connections, logger] (channel: any Channel) in
      connections.setup(channel: channel, logger: logger)
    }
    let listening =
      switch place {
      case .tcp(let host, let port):
        try await bootstrap.bind(host: host, port: port, childChannelInitializer: initialize)
      case .unix(let path):
        try await bootstrap.bind(unixDomainSocketPath: path, childChannelInitializer: initialize)
      case .inherited(let socket):
        try await bootstrap.bind(socket.descriptor, childChannelInitializer: initialize)
      }
    await withGracefulShutdownHandler {
      await onListening(listening.channel)
      await withDiscardingTaskGroup { group in
        do {
          try await listening.executeThenClose { inbound in
            for try await connection in inbound {
              group.addTask { await connections.handle(value: connection, logger: logger) }
            }
          }
        } catch {
          logger.error("A listener has failed: \(error)")
        }
      }
    } onGracefulShutdown: {
      quiescing.initiateShutdown(promise: nil)
    }
  }
}
