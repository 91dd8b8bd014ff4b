import ArgumentParser
import ControlServer
import FoundationEssentials
import Glibc
import Logging
import Migrations
import Storage
import Updating

/// The options of every verb.
struct Globals: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The config file (else $CHOCK_CONFIG, else \(Config.defaultPath)).", valueName: "file"))
  var config: String?

  @Flag(help: "Print one JSON document.")
  var json = false

  @Flag(help: "No colours (also with NO_COLOR set, or where the output is no terminal).")
  var noColor = false

  @Flag(name: .shortAndLong, help: "No progress.")
  var quiet = false

  /// Loads the config and runs `body`; a failure is printed as the options ask, with its exit code.
  func session(_ body: (Session) async throws(Failure) -> Int32) async throws {
    try await withoutConfig { output throws(Failure) in
      let config = try Config.load(config, environment: ProcessInfo.processInfo.environment)
      // Before anybody looks at what it has not erased yet.
      try FactoryState(settings: config.settings).finish()
      return try await body(Session(config: config, output: output))
    }
  }

  /// The same for a verb that has to work whatever the config says.
  func withoutConfig(_ body: (Output) async throws(Failure) -> Int32) async throws {
    let output = Output(json: json, noColor: noColor, quiet: quiet)
    let code: Int32
    do throws(Failure) {
      code = try await body(output)
    } catch {
      output.failure(error)
      code = error.exitCode
    }
    if code != 0 { throw ExitCode(code) }
  }
}

/// One call of the command line: its config and where its words go.
struct Session: Sendable {
  let config: Config
  let output: Output

  /// The engine in this process: the same supervisor and worker as the daemon's.
  func localUpdater() -> Updater {
    Updater(
      settings: config.settings, executable: Self.executable,
      logger: Logger(label: "chock") { _ in
        var handler = StreamLogHandler.standardError(label: "chock")
        handler.logLevel = .error
        return handler
      }, isServed: false)
  }

  /// The daemon, if one answers.
  func daemon() async throws(Failure) -> DaemonEngine? {
    guard let path = config.server.socketPath else { return nil }
    let engine = DaemonEngine(client: ControlClient(socketPath: path))
    do throws(Failure) {
      _ = try await engine.client.request("GET", "/livez")
      return engine
    } catch  where error.code == .noDaemon {
      return nil
    }
  }

  /// For a look at the coach: the daemon, or the sources themselves.
  func watchingEngine() async throws(Failure) -> any Engine {
    if let daemon = try await daemon() { return daemon }
    let updater = localUpdater()
    try await listen(for: updater)
    return LocalEngine(updater: updater, approvals: config.server.access.approvals)
  }

  /// For verbs that only look: the daemon, or the files themselves.
  func lookingEngine() async throws(Failure) -> any Engine {
    if let daemon = try await daemon() { return daemon }
    return LocalEngine(
      updater: localUpdater(), approvals: config.server.access.approvals)
  }

  /// For verbs that start a run: the daemon, or with `--offline` a worker of our own.
  func runningEngine(offline: Bool) async throws(Failure) -> any Engine {
    let daemon = try await daemon()
    guard offline else {
      guard let daemon else {
        throw noDaemon("Start it (systemctl start chock), or run this without it: --offline.")
      }
      return daemon
    }
    guard daemon == nil else {
      throw Failure(
        .runActive, "A daemon is running; it watches the coach better than --offline can.",
        howToClear: "Leave --offline out, or stop the daemon first.")
    }
    return try await offlineEngine()
  }

  /// A worker of our own.
  func offlineEngine() async throws(Failure) -> LocalEngine {
    let updater = localUpdater()
    // As at the daemon's start: recovery comes before anything else.
    if await updater.hasInterruptedRun() {
      for line in output.lines(await updater.recover()) { output.complain("Recovered: \(line)") }
    }
    try await listen(for: updater)
    return LocalEngine(updater: updater, approvals: config.server.access.approvals)
  }

  /// What the gates need of it: a person's word for readings, and what its sources say.
  func judge(_ engine: LocalEngine, attesting attestations: [String]) async throws(Failure) {
    for attestation in attestations {
      let (signal, value) = Attestation.parse(attestation)
      try await engine.updater.attest(signal: signal, value: value, person: Self.user)
    }
    await waitForCoach(engine.updater)
  }

  /// For what only reads: also where an interrupted run waits for a person, which stays so.
  func toolEngine(offline: Bool) async throws(Failure) -> any Engine {
    guard offline, try await daemon() == nil else {
      return try await runningEngine(offline: offline)
    }
    return LocalEngine(updater: localUpdater(), approvals: config.server.access.approvals)
  }

  /// For what only a daemon can do.
  func daemonEngine() async throws(Failure) -> DaemonEngine {
    guard let daemon = try await daemon() else {
      throw noDaemon("Start it (systemctl start chock).")
    }
    return daemon
  }

  private func noDaemon(_ howToClear: String) -> Failure {
    Failure(
      .noDaemon, "No daemon answers at \(config.server.socketPath ?? "its socket").",
      howToClear: howToClear)
  }

  /// This very program, also after an upgrade has replaced its file: both ends speak one protocol.
  static let executable = "/proc/self/exe"

  /// Whoever can write chock's files is a technician, with or without a daemon.
  static var requester: Requester {
    Requester(way: .socket, id: user, name: user, role: .technician)
  }

  static var user: String {
    let name = getpwuid(getuid()).flatMap { $0.pointee.pw_name }.map { String(cString: $0) }
    return "cli:\(name ?? String(getuid()))"
  }
}
