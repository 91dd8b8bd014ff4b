import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// Tests/SampleCoach/application.py under its supervisor: a coach with an application that chock stops and
/// starts.
final class CoachApplication: Sendable {
  static let program = "\(SampleApplication.folder)/Tests/SampleCoach/application.py"

  /// How chock is told to stop and start it.
  enum Way: CaseIterable {
    /// With its own commands.
    case commands
    /// As a unit, with a `systemctl` that stands in for the one of a machine whose first process is systemd.
    case units
  }

  let coach: TestCoach
  let folder: TemporaryFolder
  private let process: ChildProcess
  /// For chock: its PATH begins with the stand-in.
  let environment: [String: String]

  /// - Parameters:
  ///   - config: more lines of `[application]`, and tables behind it; it gets the port of its health.
  ///   - isRunning: whether it runs before chock does anything.
  init(
    _ way: Way = .commands, config: (UInt16) -> String = { _ in "" },
    top: String = TestCoach.development,
    update: String = Sample.update, isRunning: Bool = true, behaviours: [String: String] = [:]
  ) async throws {
    let folder = try TemporaryFolder()
    self.folder = folder
    let (listener, port) = try listenOnLoopback()
    close(listener)
    try folder.write("\(port)", to: "port")
    for (name, text) in behaviours { try folder.write(text, to: name) }
    let control =
      switch way {
      case .commands:
        """
        stop = ["python3", "\(Self.program)", "stop", "\(folder.path)"]
        start = ["python3", "\(Self.program)", "start", "\(folder.path)"]
        is_running = ["python3", "\(Self.program)", "is-running", "\(folder.path)"]
        """
      case .units: "units = [\"sample.service\"]"
      }
    coach = try Sample.coach(
      config: "\(top)\n[application]\n\(control)\n\(config(port))", update: update)
    try folder.write(
      "#!/bin/sh\nexec python3 \(Self.program) systemctl \(folder.path) \"$@\"\n",
      to: "bin/systemctl")
    try #require(chmod(folder("bin/systemctl"), 0o700) == 0)
    environment = ["PATH": "\(folder("bin")):/usr/local/bin:/usr/bin:/bin"]
    if way == .units {
      try folder.write("\(coach.state)/\(SafeModeFile.name)", to: "safe-mode")
    }
    if isRunning { try folder.write("", to: "wanted") }
    process = try ChildProcess(
      "python3", [Self.program, "run", folder.path, coach.database], output: folder("out"),
      error: folder("err"))
    try await waitUntil("the application is there") {
      guard try !ended() else { throw Failure(.inputOutput, TestCoach.text(folder("err"))) }
      return TestCoach.text(folder("state")) == (isRunning ? "up" : "down")
        && (!isRunning || writes > 0)
    }
  }

  private func ended() throws -> Bool { process.end != nil }

  func serve() async throws -> Daemon { try await coach.serve(environment: environment) }

  func make(_ behaviour: String, _ text: String = "") throws {
    try folder.write(text, to: behaviour)
  }
  func unmake(_ behaviour: String) throws { try FileSystem.remove(folder(behaviour)) }

  var isUp: Bool { TestCoach.text(folder("state")) == "up" }
  var log: [Substring] { TestCoach.text(folder("log")).split(separator: "\n") }
  var starts: Int { log.count { $0 == "start" } }
  var stops: Int { log.count { $0 == "stop" } }
  /// How many rows it got an OK for.
  var writes: Int { TestCoach.text(folder("written")).utf8.count { $0 == UInt8(ascii: "\n") } }

  /// Waits until it writes again, which it does only when it runs.
  func goesOn() async throws {
    let before = writes
    try await waitUntil("the application goes on") { writes > before + 3 }
  }

  /// Ends it for good.
  func quit() async throws {
    try make("quit")
    _ = await process.ended()
  }

  /// How many of the rows that it got an OK for are in none of these databases.
  func missing(in databases: [String]) async throws -> Int {
    var found: Set<String> = []
    for database in databases {
      let rows =
        try SampleDatabase.value(
          database,
          "SELECT group_concat(body, char(10)) FROM item WHERE body LIKE 'written %'") ?? ""
      found.formUnion(rows.split(separator: "\n").map(String.init))
    }
    return TestCoach.text(folder("written")).split(separator: "\n").count {
      !found.contains(String($0))
    }
  }
}

enum SafeModeFile { static let name = "safe-mode.json" }
