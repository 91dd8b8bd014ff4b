import ArgumentParser
import Coach
import FoundationEssentials
import Glibc
import Migrations
import ServiceLifecycle
import Storage
import UnixSignals
import Updating

extension Session {
  /// Starts a run and stays with it to its end; an interrupt asks for an orderly stop.
  ///
  /// - Returns: the exit code.
  func run(
    _ request: RunRequest, on engine: any Engine, kind: RunKind
  ) async throws(Failure) -> Int32 {
    let started: RunDocument
    do throws(Failure) {
      started = try await engine.start(request)
    } catch {
      return try show(.refused(kind, error))
    }
    let interrupts = Task {
      for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
        output.complain("Stopping, and putting everything back …")
        await engine.cancel(started.id)
      }
    }
    defer { interrupts.cancel() }
    let ended = try await engine.follow(started.id) { [output] in output.progress($0) }
    output.endProgress()
    return try show(ended)
  }

  func show(_ run: RunDocument) throws(Failure) -> Int32 {
    try output.result(run, output.lines(run))
    if let error = run.error {
      output.complain("chock: " + Output.words(error).joined(separator: "\n  "))
    }
    return switch run.outcome {
    case .committed, .restored, .nothingToDo, .finished: 0
    case .needsRecovery: 2
    case .refused: run.error?.exitCode ?? 1
    case .rolledBack, nil: 1
    }
  }

  /// Asks a person at the terminal; without one there is no yes.
  func confirm(_ question: String) -> Bool {
    guard isatty(STDIN_FILENO) == 1, !output.json else { return false }
    output.complain("\(question) [y/N] ")
    return ["y", "yes"].contains(readLine()?.lowercased() ?? "")
  }
}

extension RunDocument {
  /// A run that was not even started.
  static func refused(_ kind: RunKind, _ failure: Failure) -> RunDocument {
    var document = RunDocument(
      id: "none", kind: kind, startedAt: Timestamp.now(), requestedBy: Session.user)
    document.outcome = .refused
    document.error = failure
    document.endedAt = document.startedAt
    document.cancellable = false
    return document
  }
}

/// `--offline` and what goes with it.
struct OfflineOptions: ParsableArguments {
  @Flag(help: "Without a daemon: the same worker, started from here.") var offline = false

  @Option(
    name: .customLong("attest"),
    help: ArgumentHelp(
      "With --offline: your word for a reading, such as parking_brake=engaged. May be repeated; counts for 15 minutes and is recorded.",
      valueName: "signal=value"))
  var attestations: [String] = []

  func validate() throws {
    guard attestations.isEmpty || offline else {
      throw ValidationError("--attest goes with --offline; a running daemon has its own readings.")
    }
    for attestation in attestations where !attestation.contains("=") {
      throw ValidationError("--attest \(attestation): write SIGNAL=VALUE.")
    }
  }

  func engine(_ session: Session) async throws(Failure) -> any Engine {
    let engine = try await session.runningEngine(offline: offline)
    if let local = engine as? LocalEngine {
      for attestation in attestations {
        let parts = attestation.split(
          separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        try await local.updater.attest(
          signal: String(parts[0]), value: ReadingValue(parsing: String(parts.last ?? "")),
          person: Session.user)
      }
    }
    return engine
  }
}

struct RehearseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rehearse",
    abstract: "The plan on a copy: durations, space, touched tables, problems. Changes nothing.")

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Option(help: "The version to reach; else the newest.") var to: SchemaVersion?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      try await session.run(
        .rehearse(target: to), on: try await offline.engine(session), kind: .rehearse)
    }
  }
}

struct UpdateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Updates the database to the newest version.")

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Flag(name: .shortAndLong, help: "Consent to the plan that `chock plan` shows.") var yes = false
  @Option(help: "The version to reach; else the newest.") var to: SchemaVersion?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine: any Engine
      let plan: PlanDocument
      do throws(Failure) {
        engine = try await offline.engine(session)
        plan = try await engine.plan(to: to)
      } catch {
        return try session.show(.refused(.update, error))
      }
      var consent = yes
      if !consent, !plan.migrations.isEmpty, try await engine.status().consentRequired {
        for line in PlanCommand.lines(plan, session.output) { session.output.complain(line) }
        consent = session.confirm("Update the database now?")
      }
      return try await session.run(
        .update(target: to, planHash: plan.hash, consent: consent || plan.migrations.isEmpty),
        on: engine, kind: .update)
    }
  }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Puts a snapshot back. What is there now is kept as a snapshot of its own.")

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Argument(help: "The id, from `chock snapshots list`.") var id: String
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine = try await offline.engine(session)
      guard
        yes
          || session.confirm(
            "Put back snapshot \(id)? What was recorded since is then only in a snapshot.")
      else {
        throw Failure(
          .consentMissing, "A restore needs a person's yes.", howToClear: "Add --yes.")
      }
      return try await session.run(.restore(id), on: engine, kind: .restore)
    }
  }
}

struct RecoverCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recover",
    abstract: "Finishes or undoes an interrupted run. The daemon does it by itself at its start.")

  @OptionGroup var globals: Globals
  @Flag(help: "Try again after recovery has failed three times.") var retry = false
  @Flag(help: "Forget the interrupted run; the database is left as it is.") var discard = false

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let updater = session.localUpdater()
      if discard {
        try await updater.discardInterruptedRun()
        try session.output.result(
          ["schema": "chock.DISCARDED/1"], ["The interrupted run is forgotten."])
        return 0
      }
      if retry { try await updater.allowRecovery() }
      return try session.show(await updater.recover())
    }
  }
}
