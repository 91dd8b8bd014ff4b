import Dispatch
import Migrations
import Storage

/// Stops and starts the application, and says whether it runs.
struct ApplicationControl {
  let settings: ApplicationSettings

  enum State {
    case up
    /// Somebody stops it already.
    case goingDown
    case down
  }

  /// What systemd says of a unit.
  struct Unit {
    var isActive: Bool
    var state: State
    /// How often systemd has restarted it by itself.
    var restarts: Int
    /// It is to start, and systemd lets it wait for another unit.
    var isWaiting: Bool
  }

  /// Whether an application may find the database as this run has left it: one whose files are set aside would be
  /// opened without its log.
  static func mayRun(_ run: RunDocument) -> Bool { run.setAside == nil }

  // MARK: Looking

  /// The parts that run, in the order in which they are stopped.
  ///
  /// - Throws: `.application` when that cannot be found out.
  func running() throws(Failure) -> [String] {
    var running: [String] = []
    for part in settings.parts where try runs(part) { running.append(part) }
    return running
  }

  func runs(_ part: String) throws(Failure) -> Bool { try state(of: part) == .up }

  private func state(of part: String) throws(Failure) -> State {
    guard part == ApplicationSettings.byCommands else { return try Self.unit(part).state }
    let command = try commands().isRunning
    let end = try Program(command: command).run(within: .seconds(10))
    switch end.code {
    case 0?: return .up
    case (1...125)?: return .down
    default:
      throw Failure(
        .application,
        "Whether the application runs is not known: \(words(command)) \(ending(end)).",
        howToClear: "It ends with 0 while it runs, and with 1 when it does not.")
    }
  }

  /// - Throws: `.application` when systemd cannot be asked or does not know the unit.
  static func unit(_ name: String) throws(Failure) -> Unit {
    let end = try Program(
      command: [
        "systemctl", "show", "-p", "LoadState,ActiveState,SubState,NRestarts,Job", "--", name,
      ], output: .kept
    ).run(within: .seconds(10))
    guard end.code == 0 else {
      throw Failure(
        .application, "systemd could not be asked about \(name): \(line(end)).",
        howToClear: "`systemctl show \(name)` says why; application.units names it.")
    }
    var values: [Substring: Substring] = [:]
    for line in end.output.split(separator: "\n") {
      let name = line.prefix { $0 != "=" }
      values[name] = line.dropFirst(name.count + 1)
    }
    guard values["LoadState"] == "loaded", let active = values["ActiveState"] else {
      throw Failure(
        .application,
        "systemd cannot use the unit \(name): \(values["LoadState"] ?? "it gave no answer").",
        howToClear: "Name a unit that `systemctl status` knows in application.units.")
    }
    let state: State =
      switch active {
      case "inactive", "failed", "maintenance": .down
      case "deactivating": .goingDown
      default: .up
      }
    return Unit(
      isActive: active == "active", state: state,
      restarts: values["NRestarts"].flatMap { Int($0) } ?? 0,
      isWaiting: state == .down && (values["Job"].flatMap { Int($0) } ?? 0) > 0)
  }

  // MARK: Stopping

  /// Stops these, and waits until they are down. Nothing is killed: that is for systemd, by a unit's own
  /// TimeoutStopSec.
  ///
  /// - Throws: `.applicationStop` when it takes too long, `.application` when it cannot be asked for; the
  ///   stop that was requested meanwhile.
  func stop(_ parts: [String], _ stop: StopSignal) throws(Failure) {
    let deadline = ContinuousClock.now + .seconds(settings.stopTimeoutSeconds)
    for part in parts {
      let isUnit = part != ApplicationSettings.byCommands
      let command =
        isUnit ? ["systemctl", "stop", "--no-ask-password", "--", part] : try commands().stop
      let end = try Program(command: command, output: isUnit ? .kept : .logged)
        .run(within: deadline - .now, stop: stop)
      guard let code = end.code else { throw doesNotStop(part) }
      guard code == 0 else {
        throw Failure(
          .application, "\(words(command)) \(ending(end)).",
          howToClear: isUnit ? "chock's user needs the right to stop and start \(part)." : nil)
      }
    }
    for part in parts {
      while try state(of: part) != .down {
        try stop.check()
        guard .now < deadline else { throw doesNotStop(part) }
        Self.pause()
      }
    }
  }

  private func doesNotStop(_ part: String) -> Failure {
    Failure(
      .applicationStop,
      "The application does not stop: \(name(part)) was still running after \(settings.stopTimeoutSeconds) s.",
      howToClear:
        "Look at what it waits for, or raise application.stop_timeout_seconds; then try again.")
  }

  // MARK: Starting

  /// Starts these, the last one first, and looks once more whether they run.
  ///
  /// - Throws: `.application` with the first that could not be started; the others are started all the same.
  func start(_ parts: [String], environment: [String: String]) throws(Failure) {
    let deadline = ContinuousClock.now + .seconds(settings.startTimeoutSeconds)
    var failure: Failure?
    for part in parts.reversed() {
      do throws(Failure) {
        try start(part, environment, deadline)
      } catch {
        failure = failure ?? error
      }
    }
    if let failure { throw failure }
  }

  private func start(
    _ part: String, _ environment: [String: String], _ deadline: ContinuousClock.Instant
  ) throws(Failure) {
    let isUnit = part != ApplicationSettings.byCommands
    let command =
      isUnit ? ["systemctl", "start", "--no-ask-password", "--", part] : try commands().start
    let program = Program(
      command: command, output: isUnit ? .kept : .logged, environment: environment)
    var end = try program.run(within: Self.time(until: deadline, atMost: isUnit ? 2 : nil))
    while isUnit, end.code == nil, .now < deadline {
      // A unit that is ordered behind chock waits until chock has started, or has ended: systemd starts it
      // then. Nobody here must wait for that.
      if try Self.unit(part).isWaiting { return }
      end = try program.run(within: Self.time(until: deadline, atMost: 2))
    }
    guard end.code == 0 else {
      throw Failure(
        .application, "The application was not started: \(words(command)) \(ending(end)).",
        howToClear: "Start it by hand, and look at why that failed.")
    }
    let patience = ContinuousClock.now + .seconds(5)
    while try state(of: part) != .up {
      guard .now < patience else {
        throw Failure(
          .application, "The application was started, and \(name(part)) does not run.",
          howToClear: "Look at its log.")
      }
      Self.pause()
    }
  }

  /// At least a second.
  private static func time(
    until deadline: ContinuousClock.Instant, atMost seconds: Int?
  ) -> Duration {
    let left = max(.seconds(1), deadline - .now)
    return seconds.map { min(left, .seconds($0)) } ?? left
  }

  // MARK: Words

  /// - Throws: `.application` when the config no longer names any.
  private func commands() throws(Failure) -> ApplicationSettings.Commands {
    guard let commands = settings.commands else {
      throw Failure(
        .application, "The config no longer says how the application is started.",
        howToClear: "Start it by hand, or put application.start back.")
    }
    return commands
  }

  private func name(_ part: String) -> String {
    part == ApplicationSettings.byCommands ? "it" : part
  }

  private func words(_ command: [String]) -> String { command.joined(separator: " ") }

  private func ending(_ end: Program.End) -> String {
    guard let code = end.code else { return "did not end in time" }
    let words = Self.line(end)
    return "ended with \(code)" + (words.isEmpty ? "" : " (\(words))")
  }

  private static func line(_ end: Program.End) -> String {
    end.output.split(separator: "\n").prefix(3).joined(separator: " ")
  }

  /// Nobody tells us when a program of somebody else has ended.
  private static func pause() {
    _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(50))
  }
}
