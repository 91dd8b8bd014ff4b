import ArgumentParser
import Coach
import Migrations
import Storage
import Updating

struct ReplayCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "replay",
    abstract: "What chock makes of a recording: readings and gates, as they changed.",
    discussion: """
      Reads candump's log format, with the policy of the config. Nothing reaches the daemon. Each line has \
      the seconds since the first frame. With --json, one document per line.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "The recording; - for standard input.") var file: String
  @Option(
    help: ArgumentHelp(
      "A built-in profile, or a file; else that of the bus in the config, else rvc.",
      valueName: "name"))
  var profile: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      var replay = Replay(policy: session.config.settings.safety)
      let profiles = try profiles(session.config.coach)
      let rvc = try Profile.load(profile ?? "rvc")
      var number = 0
      for line in try text().split(
        omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      {
        number += 1
        if line.allSatisfy(\.isWhitespace) || line.hasPrefix("#") { continue }
        guard let logged = CandumpLine(line) else {
          throw Failure(
            .coachFile, "This is no line of candump's log format: \(line.prefix(80))", file: file,
            line: number,
            howToClear: "Such as `(1436509052.249713) can0 19FFF49C#0102030405060708`.")
        }
        let profile = profiles[logged.bus] ?? rvc
        try session.output.tell(
          replay.advance(to: logged.seconds) + replay.take(logged, profile))
      }
      try session.output.tell(replay.end())
      return 0
    }
  }

  private func profiles(_ config: CoachConfig) throws(Failure) -> [String: Profile] {
    var profiles: [String: Profile] = [:]
    for bus in config.can { profiles[bus.interface] = try Profile.load(profile ?? bus.profile) }
    return profiles
  }

  private func text() throws(Failure) -> String {
    if file == "-" {
      var text = ""
      while let line = readLine(strippingNewline: false) { text += line }
      return text
    }
    guard let bytes = try FileSystem.read(file) else {
      throw Failure(.notFound, "There is no recording \(file).", file: file)
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}

/// One thing that changed in a recording.
struct ReplayLine: Encodable {
  var schema = "chock.REPLAY/1"
  /// Since the first frame.
  var seconds: Double
  var signal: String?
  var value: String?
  var source: String?
  var evidence: String?
  var gate: String?
  var state: GateState?
  var reason: String?
}

/// Readings and gates on the clock of a recording.
struct Replay {
  private let policy: SafetyPolicy
  private var readings = Readings()
  private var gates: [GateID: GateVerdict] = [:]
  private var said: [String: String] = [:]
  private var start: Double?
  private let origin: ContinuousClock.Instant
  private var now: ContinuousClock.Instant

  /// What the bus says nothing of.
  private static let others: Set<GateID> = [
    .disk, .clock, .technician, .updateLock, .noActiveConnections,
  ]

  init(policy: SafetyPolicy) {
    self.policy = policy
    origin = .now
    now = origin
  }

  /// What the mere passing of time changes, up to a time of the recording.
  mutating func advance(to seconds: Double) -> [ReplayLine] {
    if start == nil { start = seconds }
    let end = origin + .seconds(max(0, seconds - (start ?? seconds)))
    var lines: [ReplayLine] = []
    while let next = readings.nextChange(after: now, policy), next < end {
      now = next
      lines += judge()
    }
    now = max(now, end)
    return lines
  }

  mutating func take(_ logged: CandumpLine, _ profile: Profile) -> [ReplayLine] {
    var lines: [ReplayLine] = []
    for report in profile.reports(of: logged.frame, from: logged.bus) {
      _ = readings.take(report, now: now)
      guard let line = line(report) else { continue }
      lines.append(line)
    }
    return lines + judge()
  }

  /// Until everything that was heard is stale.
  mutating func end() -> [ReplayLine] {
    var lines: [ReplayLine] = []
    while let next = readings.nextChange(after: now, policy) {
      now = next
      lines += judge()
    }
    return lines
  }

  /// In whole microseconds, as the recording has them.
  private var seconds: Double { (origin.duration(to: now).seconds * 1e6).rounded() / 1e6 }

  /// Nil when the source has said so before.
  private mutating func line(_ report: Report) -> ReplayLine? {
    var line = ReplayLine(seconds: seconds, source: report.source, evidence: report.evidence)
    switch report.content {
    case .value(let value, let signal, _): (line.signal, line.value) = (signal, value.description)
    case .noValue(let signal): (line.signal, line.value) = (signal, "not available")
    case .error(let signal): (line.signal, line.value) = (signal, "error")
    case .activity(let id, let description, _): (line.signal, line.value) = (id, description)
    }
    let key = "\(line.signal ?? "") \(report.source)"
    guard said.updateValue(line.value ?? "", forKey: key) != line.value else { return nil }
    return line
  }

  private mutating func judge() -> [ReplayLine] {
    let facts = SafetyFacts(disk: nil, clock: ClockFacts(now: 0, lastSeen: nil))
    return evaluate(readings, facts, policy, now: now).gates.compactMap { gate in
      guard !Self.others.contains(gate.gate) else { return nil }
      let former = gates.updateValue(gate, forKey: gate.gate)
      guard former?.state != gate.state else { return nil }
      return ReplayLine(
        seconds: seconds, gate: gate.gate.rawValue, state: gate.state, reason: gate.reason)
    }
  }
}

extension Output {
  fileprivate func tell(_ lines: [ReplayLine]) throws(Failure) {
    for line in lines {
      if json {
        print(try JSON.text(line))
      } else if let gate = line.gate {
        let state = mark(
          line.state == .satisfied ? true : line.state == .violated ? false : nil)
        print("\(Self.time(line.seconds))  \(state) \(gate): \(line.reason ?? "")")
      } else {
        print(
          "\(Self.time(line.seconds))    \(line.signal ?? "") = \(line.value ?? "")  (\(line.source ?? ""), \(line.evidence ?? ""))"
        )
      }
    }
  }

  /// `   12.345`
  private static func time(_ seconds: Double) -> String {
    let millis = Int((seconds * 1000).rounded())
    let fraction = String(millis % 1000)
    let text =
      "\(millis / 1000)." + String(repeating: "0", count: 3 - fraction.count) + fraction
    return String(repeating: " ", count: max(0, 9 - text.count)) + text
  }
}
