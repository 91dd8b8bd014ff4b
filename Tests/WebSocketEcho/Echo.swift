import ControlServer
import Glibc
import Logging
import NIOCore
import NIOWebSocket
import ServiceLifecycle
import Synchronization
import UnixSignals
import Updating

/// The daemon's own server with an echo in place of its events: what the Autobahn test suite talks to.
///
/// Prints its port, and ends at SIGTERM.
@main
private struct Echo {
  static func main() async throws {
    var logger = Logger(label: "echo")
    logger.logLevel = .error
    // Nothing is ever asked of it.
    let updater = Updater(
      settings: UpdateSettings(
        environment: .testing, databasePath: "/nonexistent/coach.db",
        migrationsDirectory: "/nonexistent", stateDirectory: "/nonexistent"),
      executable: "/nonexistent", logger: logger, isServed: false)
    var configuration = ServerConfiguration(listenPort: 0)
    // The suite sends messages of 256 KiB.
    configuration.limits.maxBodyBytes = 1 << 20
    let server = ControlServer(
      updater: updater, configuration: configuration, logger: logger,
      serveWebSocket: { [logger] in await echo($0, logger) },
      onRunning: { port in
        print(port)
        // Into a pipe, it would wait for more.
        fflush(nil)
      })
    try await ServiceGroup(
      configuration: .init(
        services: [.init(service: server)], gracefulShutdownSignals: [.sigterm], logger: logger)
    ).run()
  }

  /// Says every message back, once it is whole.
  private static func echo(_ channel: WebSocketChannel, _ logger: Logger) async {
    let message = Mutex(ByteBuffer())
    await WebSocketSession(channel: channel, logger: logger).run { outbound, bytes, isText, isEnd in
      let whole = message.withLock { message -> ByteBuffer? in
        message.writeImmutableBuffer(bytes)
        guard isEnd else { return nil }
        defer { message = ByteBuffer() }
        return message
      }
      guard let whole else { return }
      try await outbound.write(
        WebSocketFrame(fin: true, opcode: isText ? .text : .binary, data: whole))
    } speak: { _ in
      while true { try await Task.sleep(for: .seconds(3600)) }
    }
  }
}
