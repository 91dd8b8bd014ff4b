import ArgumentParser
import Coach
import Migrations
import Storage
import Updating

struct CoachCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "coach",
    abstract: "What the coach says, and what people say of it.",
    subcommands: [
      WatchCommand.self, RecordCommand.self, ReplayCommand.self, ProfileCommand.self,
      AttestCommand.self, ForgetCommand.self, LockCommand.self, UnlockCommand.self,
    ])
}

struct WatchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch",
    abstract: "A live table of every signal: value, age, source and the raw form.",
    discussion: """
      Asks the daemon; without one it listens to the configured buses and files itself. Ends with Ctrl-C, \
      or after --for. With --json, one document per line, at each change. With --once and without a daemon \
      it listens for 6 seconds first, or for those of --for: a chassis says something every 5.
      """)

  @OptionGroup var globals: Globals
  @Flag(help: "Print the table once, and end.") var once = false
  @Option(name: .customLong("for"), help: ArgumentHelp("End after so long.", valueName: "seconds"))
  var seconds: Double?

  func validate() throws {
    guard seconds.map({ $0 > 0 && $0 <= 31_536_000 }) ?? true else {
      throw ValidationError("--for is above 0 and at most a year.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine = try await session.watchingEngine()
      // A daemon has listened already.
      let listening = once ? (engine is LocalEngine ? seconds ?? 6 : nil) : seconds
      let deadline = listening.map { ContinuousClock.now + .seconds($0) }
      if once, let deadline { try? await Task.sleep(until: deadline) }
      let isLive = session.output.isLive && !once
      var last: [ReadingDocument] = []
      repeat {
        let safety = try await engine.safety()
        // Ages change all the time; a line of JSON is for something new.
        let news = (safety.readings ?? []).map(Self.withoutAge)
        if !session.output.json || once || news != last {
          last = news
          session.output.screen(
            try session.output.json
              ? [JSON.text(safety)] : CoachTable(safety).lines(session.output),
            isLive: isLive)
        }
        if once { break }
        do { try await Task.sleep(for: .milliseconds(isLive ? 250 : 1000)) } catch { break }
      } while deadline.map { .now < $0 } ?? true
      return 0
    }
  }

  private static func withoutAge(_ reading: ReadingDocument) -> ReadingDocument {
    var reading = reading
    reading.ageSeconds = nil
    return reading
  }
}

struct AttestCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "attest",
    abstract: "Your word for a reading that no device gives, such as parking_brake=engaged.",
    discussion: """
      For a silent bus: with the ignition off nobody reports the parking brake. It counts for 15 minutes at \
      most, ends at once when a device says otherwise, and is in the audit and in the report of an update. \
      That the coach moves can never be attested away.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: ArgumentHelp("Such as parking_brake=engaged.", valueName: "signal=value"))
  var attestations: [String]
  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("How long it counts: at most 900.", valueName: "seconds"))
  var seconds = 900.0

  func validate() throws {
    try Attestation.check(attestations)
    guard seconds > 0, seconds <= 900 else {
      throw ValidationError("--for is above 0 and at most 900 seconds.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      guard let daemon = try await session.daemon() else {
        throw Failure(
          .noDaemon, "Your word counts in the daemon, and none is running.",
          howToClear:
            "Start it; or attest with the run itself: `chock update --offline --attest …`.")
      }
      for attestation in attestations {
        let (signal, value) = Attestation.parse(attestation)
        try await daemon.attest(signal, value, seconds: seconds)
      }
      try session.output.result(
        Answer(attested: attestations, seconds: seconds),
        attestations.map { "You attest \($0), for \(Output.seconds(seconds))." })
      return 0
    }
  }

  private struct Answer: Encodable {
    var schema = "chock.ATTEST/1"
    var attested: [String]
    var seconds: Double
  }
}

/// `SIGNAL=VALUE`, as a person types it.
enum Attestation {
  static func check(_ texts: [String]) throws {
    for text in texts where !text.contains("=") {
      throw ValidationError("\(text): write SIGNAL=VALUE.")
    }
  }

  /// Whether a person's word for this is ever taken.
  ///
  /// - Throws: `.usage` naming what is wrong with it.
  static func check(_ text: String, _ policy: SafetyPolicy) throws(Failure) {
    guard text.contains("=") else { throw Failure(.usage, "\(text): write SIGNAL=VALUE.") }
    let (signal, value) = parse(text)
    var nobodyElse = Readings()
    do throws(CoachError) {
      try nobodyElse.attest(
        signal: signal, value: value, ttl: .seconds(1), by: Session.user, policy: policy, now: .now)
    } catch {
      throw Failure(.usage, error.message, howToClear: error.howToClear)
    }
  }

  static func parse(_ text: String) -> (signal: String, value: ReadingValue) {
    let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
    return (String(parts[0]), ReadingValue(parsing: String(parts.last ?? "")))
  }
}

struct ForgetCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "forget",
    abstract: "Forgets what silent devices said of a signal; in the audit.",
    discussion: """
      For a device that is no longer in the coach, or a signal that was reported once under a wrong name: \
      until then it stays unknown, also over a restart where its last word speaks against an update. What a \
      device still reports cannot be forgotten, and neither can that the coach moves.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "Its name, as `chock coach watch` shows it.") var signal: String

  func run() async throws {
    try await globals.session { session throws(Failure) in
      try await session.lookingEngine().forget(signal)
      try session.output.result(
        ForgetAnswer(signal: signal), ["What was said of \(signal) is forgotten."])
      return 0
    }
  }
}

private struct ForgetAnswer: Encodable {
  var schema = "chock.FORGET/1"
  var signal: String
}

struct LockCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lock", abstract: "Holds updates back until a time.")

  @OptionGroup var globals: Globals
  @Argument(help: "A name for the lock: letters, digits, _ and -.") var id: String
  @Option(help: ArgumentHelp("Why; shown to everybody.", valueName: "words")) var reason: String
  @Option(help: ArgumentHelp("Who holds it; you, unless said otherwise.", valueName: "name"))
  var owner: String?
  @Option(
    name: .customLong("for"),
    help: ArgumentHelp("How long, at most 604800 (a week).", valueName: "seconds"))
  var seconds = 3600.0

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let owner = owner ?? Session.user
      try await session.lookingEngine().putLock(
        id, owner: owner, reason: reason, seconds: seconds)
      try session.output.result(
        LockAnswer(id: id, held: true), ["\(owner) holds updates back: \(reason)"])
      return 0
    }
  }
}

struct UnlockCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unlock", abstract: "Breaks a lock, whoever holds it; in the audit.")

  @OptionGroup var globals: Globals
  @Argument(help: "Its name, as `chock coach watch` shows it.") var id: String

  func run() async throws {
    try await globals.session { session throws(Failure) in
      try await session.lookingEngine().releaseLock(id, owner: nil)
      try session.output.result(LockAnswer(id: id, held: false), ["The lock \(id) is broken."])
      return 0
    }
  }
}

private struct LockAnswer: Encodable {
  var schema = "chock.LOCK/1"
  var id: String
  var held: Bool
}

/// What `coach watch` shows.
struct CoachTable {
  private let safety: SafetyDocument
  private var readings: [ReadingDocument] { safety.readings ?? [] }

  init(_ safety: SafetyDocument) { self.safety = safety }

  func lines(_ output: Output) -> [String] {
    var lines: [String] = []
    if let update = safety.updateInProgress { lines += [output.bold(update.message), ""] }
    lines += table(
      [["SIGNAL", "VALUE", "AGE", "SOURCE", "RAW"]]
        + readings.map { reading in
          [
            reading.signal, (reading.value ?? "-") + (reading.stale ? " (stale)" : ""),
            reading.ageSeconds.map(Output.seconds) ?? "-",
            (reading.source ?? "-") + (reading.vetoOnly ? " (veto only)" : ""),
            reading.evidence ?? "",
          ]
        })
    if readings.isEmpty { lines.append("Nothing has been heard yet.") }
    if !safety.activities.isEmpty {
      lines += [""] + safety.activities.map { "Active     \($0.description) (\($0.id))" }
    }
    if !safety.locks.isEmpty {
      lines +=
        [""]
        + safety.locks.map {
          "Lock       \($0.id) of \($0.owner) until \($0.expiresAt): \($0.reason)"
        }
    }
    if !safety.sources.isEmpty {
      lines +=
        [""]
        + safety.sources.map {
          "\(output.mark($0.isWell)) \($0.source): \($0.words)"
            + ($0.howToClear.map { " \($0)" } ?? "")
        }
    }
    return lines + [""] + safety.gates.map(output.line)
  }

  private func table(_ rows: [[String]]) -> [String] {
    let widths = rows[0].indices.map { column in rows.map { $0[column].count }.max() ?? 0 }
    return rows.map { row in
      let cells = zip(row, widths).map { text, width in
        text + String(repeating: " ", count: width - text.count)
      }
      let line = cells.joined(separator: "  ")
      return String(line.reversed().drop { $0 == " " }.reversed())
    }
  }
}
