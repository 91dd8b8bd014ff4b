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
    do {
      try await globals.session { session throws(Failure) in
        try await Self.serve(session, recovery: recovery)
        return 0
      }
    } catch let code as ExitCode {
      await FailedStart.end(with: code.rawValue)
      throw code
    }
  }

  /// Not in `run`, whose closures would inherit its isolation to the main actor.
  private nonisolated static func serve(_ session: Session, recovery: Bool) async throws(Failure) {
    umask(0o077)
    // A client that hangs up must not end the daemon.
    signal(SIGPIPE, SIG_IGN)
    let logger = Logger(label: "chock", factory: JournalLog.handler)
    var serverLogger = logger
    // The libraries' own words on their listeners name temporary files.
    serverLogger.logLevel = .warning
    let manager = ServiceManager()
    // Before any other program is started, which would inherit it.
    let inherited = try InheritedSocket()
    let hold = try await Self.hold(session.config.settings)
    defer { withExtendedLifetime(hold) {} }
    let updater = Updater(
      settings: session.config.settings, executable: Session.executable, logger: logger)
    // What the start itself has to tell comes before anybody listens.
    let start = updater.events.lastSeq
    // From here on: the start is counted, and one that is told to stop has not died.
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    // To the end: a second one must not break off what the first one began.
    defer { withExtendedLifetime(signals) {} }
    // Until the services listen to the others. A recovery that has begun is finished; a run of another process is
    // not waited for any more.
    let early = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    let stop = Task { for await _ in early { return await updater.endQuestions() } }
    defer { stop.cancel() }
    manager.tell("STATUS=Starting: what was interrupted or runs elsewhere comes first")
    try await manager.extendingTimeout(updater) { () throws(Failure) in
      try await updater.start(recovery: recovery)
    }
    guard await !updater.isShuttingDown else {
      manager.tell("STOPPING=1")
      return await updater.shutDown()
    }
    if !recovery {
      await updater.startIdleChecks()
      await updater.startCopies()
    }
    await updater.startErrorWatch()
    let sources = try session.sources()
    await updater.expect(sources)
    let coach = CoachSources(sources)
    var configuration = session.config.server
    if let inherited { configuration.take(inherited) }
    let words = await manager.words(of: updater.status())
    let server = ControlServer(
      updater: updater, configuration: configuration, logger: serverLogger,
      diagnostics: session.diagnostics(of: updater, coach)
    ) { [configuration] port in
      let host = configuration.listenHost
      let address = ["0.0.0.0", "::"].contains(host) ? "127.0.0.1" : host
      let isV6 = address.contains(":")
      logger.info("The panel is at http://\(isV6 ? "[\(address)]" : address):\(port)/")
      if configuration.isOpen {
        logger.notice("The coach's network can reach it; devices are paired with `chock pair`.")
      }
      FailedStart.forget()
      manager.tell("READY=1\nSTATUS=\(words)")
    }
    let group = ServiceGroup(
      configuration: ServiceGroupConfiguration(
        services: [
          .init(service: Heartbeat(updater: updater, manager: manager)),
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

extension ServeCommand {
  /// Waits for a return to the factory state: from here on this process counts on the state folder.
  ///
  /// - Throws: `.runActive` when it goes on for longer than half a minute, and what keeps one from being finished.
  private nonisolated static func hold(
    _ settings: UpdateSettings
  ) async throws(Failure) -> FolderHold {
    let deadline = ContinuousClock.now + .seconds(30)
    while true {
      if let hold = try FolderHold(folder: settings.stateDirectory, isShared: true) {
        // One may have been interrupted meanwhile.
        try FactoryState(settings: settings).finish()
        return hold
      }
      guard .now < deadline else {
        throw Failure(
          .runActive, "The coach goes back to its factory state.",
          howToClear: "Start chock again when that is done.")
      }
      // The kernel tells nobody when it releases an flock of another process.
      try? await Task.sleep(for: .milliseconds(50))
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

/// What the unit's WatchdogSec waits for. Begins first and so ends last: a run is put back under it.
private struct Heartbeat: Service {
  let updater: Updater
  let manager: ServiceManager

  func run() async {
    guard let interval = manager.heartbeat else {
      try? await gracefulShutdown()
      return
    }
    await cancelWhenGracefulShutdown {
      await manager.tell("WATCHDOG=1", every: interval, as: updater)
    }
  }
}

/// Tells the service manager what goes on, and at the end puts a run in progress back.
private struct Supervision: Service {
  let updater: Updater
  let manager: ServiceManager
  private static let wakes = Event.EventType.log

  func run() async throws {
    await withGracefulShutdownHandler {
      var told = manager.words(of: await updater.status())
      // A stream ends when its reader is too slow for it; the daemon does not.
      while !Task.isShuttingDownGracefully, !Task.isCancelled {
        let events = updater.events.subscribe(
          since: nil, only: [.state, .phase, .progress, .result, Self.wakes])
        for await event in events.events {
          if let words = manager.words(of: event, after: told), words != told {
            told = words
            manager.tell("STATUS=\(words)")
          }
          if Task.isShuttingDownGracefully { break }
        }
      }
    } onGracefulShutdown: {
      manager.tell("STOPPING=1")
      // Wakes the loop above.
      updater.events.publish(Self.wakes) { $0.message = "The daemon is stopping." }
    }
    await manager.extendingTimeout(updater) { await updater.shutDown() }
  }
}
