import ArgumentParser
import CoachSources
import ControlServer
import Glibc
import Logging
import Migrations
import ServiceLifecycle
import Storage
import UnixSignals
import Updating

struct ServeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "serve", abstract: "The daemon: panel, control interface and supervisor.")

  @OptionGroup var globals: Globals
  @Flag(help: "Start in recovery mode: nothing is done without a person.") var recovery = false

  func run() async throws {
    let recovery = recovery
    try await globals.session { session throws(Failure) in
      try await Self.serve(session, recovery: recovery)
      return 0
    }
  }

  /// Not in `run`, whose closures would inherit its isolation to the main actor.
  private nonisolated static func serve(_ session: Session, recovery: Bool) async throws(Failure) {
    umask(0o077)
    // A client that hangs up must not end the daemon.
    signal(SIGPIPE, SIG_IGN)
    let logger = Logger(label: "chock") { StreamLogHandler.standardError(label: $0) }
    var serverLogger = logger
    // The libraries' own words on their listeners name temporary files.
    serverLogger.logLevel = .warning
    let manager = ServiceManager()
    let updater = Updater(
      settings: session.config.settings, executable: Session.executable, logger: logger)
    // What the start itself has to tell comes before anybody listens.
    let start = updater.events.lastSeq
    // From here on: the start is counted, and one that is told to stop has not died.
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    // To the end: a second one must not break off what the first one began.
    defer { withExtendedLifetime(signals) {} }
    try await updater.start(recovery: recovery)
    if !recovery {
      await updater.startIdleChecks()
      await updater.startCopies()
    }
    await updater.startErrorWatch()
    let sources = try session.sources()
    await updater.expect(sources)
    let coach = CoachSources(sources)
    let server = ControlServer(
      updater: updater, configuration: session.config.server, logger: serverLogger,
      diagnostics: session.diagnostics(of: updater, coach)
    ) { port in
      let host = session.config.server.listenHost
      let address = ["0.0.0.0", "::"].contains(host) ? "127.0.0.1" : host
      let isV6 = address.contains(":")
      logger.info("The panel is at http://\(isV6 ? "[\(address)]" : address):\(port)/")
      if session.config.server.isOpen {
        logger.notice("The coach's network can reach it; devices are paired with `chock pair`.")
      }
      manager.tell("READY=1")
    }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          .init(service: Listening(updater: updater, sources: coach)),
          .init(
            service: LockHook(
              updater: updater, url: session.config.coach.lockHook,
              unit: session.config.coach.lockUnit, logger: logger)),
          .init(
            service: Notifier(
              updater: updater,
              post: NoticePost(
                session.config.notify, stateDirectory: session.config.settings.stateDirectory,
                logger: logger), start: start)),
          .init(service: Supervision(updater: updater, manager: manager)), .init(service: server),
          .init(
            service: StopOnSignal(updater: updater, signals: signals),
            successTerminationBehavior: .gracefullyShutdownGroup),
        ], logger: logger))
    do {
      try await group.run()
    } catch let failure as Failure {
      throw failure
    } catch {
      throw Failure(.inputOutput, "The server has ended: \(error)")
    }
  }
}

/// Hands what the coach says to the supervisor. Ends last: a run in progress is watched to its end.
private struct Listening: Service {
  let updater: Updater
  let sources: CoachSources

  func run() async throws {
    await withGracefulShutdownHandler {
      await updater.listen(to: sources)
      // Without any source the stream is over at once; the daemon is not.
      try? await gracefulShutdown()
    } onGracefulShutdown: {
      sources.stop()
    }
  }
}

/// Ends when the daemon is told to stop, also before the others have begun: the daemon then ends with it.
private struct StopOnSignal: Service {
  let updater: Updater
  let signals: UnixSignalsSequence

  func run() async {
    for await _ in signals.cancelOnGracefulShutdown() { break }
    // The services end one after another, and the supervisor behind the server.
    await updater.endQuestions()
  }
}

/// Tells the service manager what goes on, and at the end puts a run in progress back.
private struct Supervision: Service {
  let updater: Updater
  let manager: ServiceManager

  func run() async throws {
    await withGracefulShutdownHandler {
      // A stream ends when its reader is too slow for it; the daemon does not.
      while !Task.isShuttingDownGracefully, !Task.isCancelled {
        for await event in updater.events.subscribe(since: nil).events {
          switch event.type {
          case .phase:
            manager.tell("STATUS=Run in progress: \(event.event?.phase?.rawValue ?? "")")
          case .result:
            manager.tell("STATUS=Last run: \(event.event?.result?.outcome?.rawValue ?? "")")
          default: break
          }
          if Task.isShuttingDownGracefully { break }
        }
      }
    } onGracefulShutdown: {
      manager.tell("STOPPING=1")
      // Wakes the loop above.
      updater.events.publish(.log) { $0.message = "The daemon is stopping." }
    }
    await updater.shutDown()
  }
}

/// systemd's notification socket (sd_notify(3)); nothing where there is none.
struct ServiceManager: Sendable {
  private let path: String?

  init() {
    path = getenv("NOTIFY_SOCKET").map { String(cString: $0) }
  }

  func tell(_ message: String) {
    guard let path else { return }
    let file = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard file >= 0 else { return }
    defer { close(file) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(path.utf8)
    guard bytes.count < MemoryLayout.size(ofValue: address.sun_path) else { return }
    // A name that begins with @ is in the abstract namespace.
    if bytes.first == UInt8(ascii: "@") { bytes[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
    withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        _ = Array(message.utf8).withUnsafeBytes {
          sendto(file, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL), address, length)
        }
      }
    }
  }
}
