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
    do throws(Failure) {
      return try show(try await finish(request, on: engine))
    } catch {
      return try show(.refused(kind, error))
    }
  }

  /// The same, without showing how it ended.
  func finish(_ request: RunRequest, on engine: any Engine) async throws(Failure) -> RunDocument {
    let started = try await engine.start(request)
    if request.isErrand { return try await ended(started.id, on: engine) }
    let interrupts = Task {
      for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) {
        output.complain("Stopping, and putting everything back …")
        await engine.cancel(started.id)
      }
    }
    defer { interrupts.cancel() }
    defer { output.endProgress() }
    do throws(Failure) {
      return try await engine.follow(started.id) { [output] in output.progress($0) }
    } catch {
      // It was begun, and may have ended in any way since.
      var lost = started
      lost.cancellable = false
      lost.error = Failure(
        error.code, "How the run \(started.id) ended is not known here. \(error.message)",
        howToClear: "`chock status` says it when the daemon is there again.")
      return lost
    }
  }

  /// Puts in again what another run took out, once a person has said yes.
  func putIn(
    _ request: RunRequest, kind: RunKind, _ offline: OfflineOptions, isAgreed: Bool,
    question: String, without noYes: Failure
  ) async throws(Failure) -> Int32 {
    let engine: any Engine
    do throws(Failure) {
      engine = try await offline.engine(self)
    } catch {
      return try show(.refused(kind, error))
    }
    guard isAgreed || confirm(question) else { return try show(.refused(kind, noYes)) }
    return try await run(request, on: engine, kind: kind)
  }

  /// Asks until an errand has ended. An interrupt leaves it to the daemon.
  func ended(_ id: String, on engine: any Engine) async throws(Failure) -> RunDocument {
    while true {
      let run = try await engine.run(id)
      if run.outcome != nil {
        output.endProgress()
        return run
      }
      output.progress(run)
      try? await Task.sleep(for: .milliseconds(250))
      if Task.isCancelled { return run }
    }
  }

  func show(_ run: RunDocument) throws(Failure) -> Int32 {
    try output.result(run, output.lines(run))
    if let error = run.error {
      output.complain("chock: " + Output.words(error).joined(separator: "\n  "))
    }
    return switch run.outcome {
    case .restored where [.update, .rollback].contains(run.kind): 1
    case .committed, .restored, .nothingToDo, .finished: 0
    case .needsRecovery: 2
    case .refused, nil: run.error?.exitCode ?? 1
    case .rolledBack: 1
    }
  }

  /// Asks until the answer may be given; nil: the default, or nobody is there to ask.
  func ask(_ input: MigrationInput) -> String? {
    guard hasPerson else { return nil }
    let preset = input.defaultValue.map { " [\($0)]" } ?? ""
    while true {
      let answer = Self.answer { output.complain("\(input.question) (\(input.domain))\(preset) ") }
      guard let line = answer, !line.isEmpty || input.defaultValue == nil else {
        return nil
      }
      do throws(Failure) {
        _ = try input.accept(.text(line))
        return line
      } catch {
        output.complain(error.message)
      }
    }
  }

  var hasPerson: Bool { isatty(STDIN_FILENO) == 1 && !output.json }

  /// Asks a person at the terminal; without one there is no yes.
  func confirm(_ question: String) -> Bool {
    guard hasPerson else { return false }
    let answer = Self.answer { output.complain("\(question) [y/N] ") }
    return ["y", "yes"].contains(answer?.lowercased() ?? "")
  }

  /// Where there was no yes: a person has said no, or there is nobody to ask.
  ///
  /// - Parameter what: `A rollback`.
  func noYes(_ what: String, howToClear: String = "Add --yes.") -> Failure {
    hasPerson
      ? Failure(.consentMissing, "Nothing was changed.")
      : Failure(
        .consentMissing, "\(what) needs a person's yes; nothing was changed.",
        howToClear: howToClear)
  }

  /// A line that is typed once the question is there: what was typed before answers another one, or none.
  static func answer(_ ask: () -> Void) -> String? {
    if isatty(STDIN_FILENO) == 1 { tcflush(STDIN_FILENO, TCIFLUSH) }
    ask()
    return readLine()
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

/// `--input`, and the questions of a plan.
struct InputOptions: ParsableArguments {
  @Option(
    name: .customLong("input"),
    help: ArgumentHelp(
      "The answer to a question of the plan. May be repeated; what is not answered is asked, or has its default.",
      valueName: "name=value"))
  var inputs: [String] = []

  func validate() throws {
    for input in inputs where !input.contains("=") {
      throw ValidationError("--input \(input): write NAME=VALUE.")
    }
  }

  /// - Throws: `.input` for what may not be given.
  func values(
    for questions: [MigrationInput], _ session: Session
  ) throws(Failure) -> [String: InputValue] {
    var values: [String: InputValue] = [:]
    for input in inputs {
      let parts = input.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      values[String(parts[0])] = .text(String(parts.last ?? ""))
    }
    for input in questions where values[input.name] == nil {
      guard let answer = session.ask(input) else { continue }
      values[input.name] = .text(answer)
    }
    for input in questions {
      if let value = values[input.name] { values[input.name] = try input.accept(value) }
    }
    return values
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
    try Attestation.check(attestations)
  }

  func engine(_ session: Session) async throws(Failure) -> any Engine {
    let engine = try await session.runningEngine(offline: offline)
    if let local = engine as? LocalEngine {
      try await session.judge(local, attesting: attestations)
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
  @OptionGroup var inputs: InputOptions
  @OptionGroup var goal: GoalOptions

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine = try await offline.engine(session)
      let plan = try await engine.plan(goal.goal)
      return try await session.run(
        .rehearse(goal.goal, inputs: try inputs.values(for: plan.inputs, session)), on: engine,
        kind: .rehearse)
    }
  }
}

struct UpdateCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "update", abstract: "Updates the database to the newest version.")

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Flag(name: .shortAndLong, help: "Consent to the plan that `chock plan` shows.") var yes = false
  @OptionGroup var inputs: InputOptions
  @OptionGroup var goal: GoalOptions

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine: any Engine
      let plan: PlanDocument
      let answers: [String: InputValue]
      do throws(Failure) {
        engine = try await offline.engine(session)
        plan = try await engine.plan(goal.goal)
        answers = try inputs.values(for: plan.inputs, session)
      } catch {
        return try session.show(.refused(.update, error))
      }
      var consent = yes
      if !consent, !plan.migrations.isEmpty, try await engine.status().consentRequired {
        for line in PlanCommand.lines(plan, session.output) { session.output.complain(line) }
        consent = session.confirm("Update the database now?")
      }
      return try await session.run(
        .apply(
          goal.goal, inputs: answers, planHash: plan.hash,
          consent: consent || plan.migrations.isEmpty), on: engine, kind: .update)
    }
  }
}

struct RollbackCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rollback",
    abstract: "Goes back by rollback files, and shows first what would be lost.",
    discussion: """
      Rehearses on a copy, counts the rows and values that would go, and asks. What goes is written as \
      JSON lines into the state folder; `chock import` puts it in again after a new update.
      """)

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @OptionGroup var inputs: InputOptions
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false
  @Option(help: ArgumentHelp("The version to go back to.", valueName: "version"))
  var to: SchemaVersion?
  @Option(
    help: ArgumentHelp(
      "Take back this version alone; nothing in the database may require it.", valueName: "version")
  )
  var only: SchemaVersion?

  func validate() throws {
    guard (to == nil) != (only == nil) else {
      throw ValidationError("Give one of --to VERSION and --only VERSION.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let goal = only.map(Goal.rollbackOnly) ?? .rollback(to: to ?? .zero)
      let engine: any Engine
      let plan: PlanDocument
      let answers: [String: InputValue]
      do throws(Failure) {
        engine = try await offline.engine(session)
        plan = try await engine.plan(goal)
        answers = try inputs.values(for: plan.inputs, session)
      } catch {
        return try session.show(.refused(.rollback, error))
      }
      if !yes, !plan.migrations.isEmpty {
        let rehearsed = try await session.finish(.rehearse(goal, inputs: answers), on: engine)
        guard rehearsed.outcome == .finished else { return try session.show(rehearsed) }
        let lines =
          PlanCommand.lines(plan, session.output)
          + session.output.lines(losses: rehearsed.rehearsal?.losses ?? [])
        for line in lines { session.output.complain(line) }
        guard session.confirm("Roll back now?") else {
          return try session.show(.refused(.rollback, session.noYes("A rollback")))
        }
      }
      return try await session.run(
        .apply(goal, inputs: answers, planHash: plan.hash, consent: true), on: engine,
        kind: .rollback)
    }
  }
}

struct ImportCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import",
    abstract: "Puts in again what a rollback took out, after a new update.",
    discussion: """
      Rows that are not there are added, and columns that hold nothing are filled. What holds something else \
      by now stays, and is listed; with --replace it gets what was exported.
      """)

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Argument(help: "The run of the rollback, from `chock history`.") var run: String
  @Flag(help: "What was exported wins over what is there now.") var replace = false
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

  func run() async throws {
    try await globals.session { session throws(Failure) in
      try await session.putIn(
        .import(self.run, replaces: replace), kind: .import, offline, isAgreed: yes,
        question: "Put in what \(self.run) took out?",
        without: session.noYes("An import"))
    }
  }
}

/// How far an update goes.
struct GoalOptions: ParsableArguments {
  @Option(help: ArgumentHelp("The version to reach; else the newest.", valueName: "version"))
  var to: SchemaVersion?
  @Flag(help: "Also files that are older than the newest version in the database.")
  var outOfOrder = false

  var goal: Goal { .update(to: to, outOfOrder: outOfOrder) }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Puts a snapshot back. What is there now is kept as a snapshot of its own.")

  @OptionGroup var globals: Globals
  @OptionGroup var offline: OfflineOptions
  @Argument(help: ArgumentHelp("The id, from `chock snapshots list`.", valueName: "id"))
  var named: String?
  @Option(
    help: ArgumentHelp(
      "A copy elsewhere, which is fetched and checked first: the label of a stick or a path, and the id.",
      valueName: "place:id"))
  var from: String?
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

  func validate() throws {
    guard (named == nil) != (from == nil) else {
      throw ValidationError("Give an ID, or --from PLACE:ID.")
    }
    guard let from else { return }
    guard let colon = from.lastIndex(of: ":"), colon != from.startIndex,
      from.index(after: colon) != from.endIndex
    else {
      throw ValidationError("--from \(from): write PLACE:ID, such as COACH-COPY:ID.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let engine = try await offline.engine(session)
      var id = named ?? ""
      if let from, let colon = from.lastIndex(of: ":") {
        id = String(from[from.index(after: colon)...])
        session.output.complain("Fetching \(id) …")
        let fetched: RunDocument
        do throws(Failure) {
          fetched = try await session.finish(.fetch(id, from: String(from[..<colon])), on: engine)
        } catch {
          return try session.show(.refused(.fetch, error))
        }
        guard fetched.outcome == .finished else { return try session.show(fetched) }
      }
      if !yes {
        // What cannot be counted is no reason to keep a damaged database.
        do throws(Failure) {
          let losses = try await engine.losses(restoring: id)
          for line in session.output.lines(losses) { session.output.complain(line) }
        } catch  where error.code != .notFound && error.code != .notAllowed {
          session.output.complain("What was recorded since cannot be counted: \(error.message)")
        }
      }
      guard
        yes
          || session.confirm(
            "Put back snapshot \(id)? What was recorded since is then only in a rescue copy.")
      else {
        throw session.noYes("A restore")
      }
      return try await session.run(.restore(id), on: engine, kind: .restore)
    }
  }
}

struct RecoverCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "recover",
    abstract: "Finishes or undoes an interrupted run. The daemon does it by itself at its start.",
    discussion: """
      At a terminal and without options it is a dialogue: it says how it stands, offers what fits, and shows each \
      step as the command that it runs. In a script, or with --json, it recovers at once.
      """)

  @OptionGroup var globals: Globals
  @Flag(help: "Try again after recovery has failed three times.") var retry = false
  @Flag(help: "Forget the interrupted run; the database is left as it is.") var discard = false
  @Flag(help: "Say that all is well: the daemon leaves recovery mode.") var leave = false
  @Option(
    help: ArgumentHelp(
      "Check the database: quick, full or foreign-keys. Ends with 65 when something is found.",
      valueName: "kind"))
  var check: CheckKind?
  @Flag(help: "With --check: without a daemon.") var offline = false
  @Flag(
    help:
      "Erase the database, all snapshots and everything else of the owner's, and begin anew. Asked twice; the daemon has to be stopped."
  )
  var factory = false
  @Flag(name: .shortAndLong, help: "With --factory and --really-erase: do not ask.") var yes = false
  @Option(
    help: ArgumentHelp(
      "With --factory --yes: the name of the database's file, such as coachiq.db.",
      valueName: "name"))
  var reallyErase: String?
  @Option(
    name: .customLong("attest"),
    help: ArgumentHelp(
      "With --factory: your word for a reading. May be repeated.", valueName: "signal=value"))
  var attestations: [String] = []
  @OptionGroup var inputs: InputOptions

  func validate() throws {
    guard [retry, discard, leave, factory, check != nil].count(where: { $0 }) < 2 else {
      throw ValidationError("Give one of --retry, --discard, --leave, --check and --factory.")
    }
    guard !offline || check != nil || factory else {
      throw ValidationError("--offline goes with --check.")
    }
    guard factory || !yes && reallyErase == nil && attestations.isEmpty && inputs.inputs.isEmpty
    else {
      throw ValidationError("--yes, --really-erase, --attest and --input go with --factory.")
    }
    try Attestation.check(attestations)
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      if factory {
        return try await FactoryReset(
          session: session, isAgreed: yes, name: reallyErase, attestations: attestations,
          inputs: inputs)()
      }
      if leave {
        let status = try await session.daemonEngine().leaveRecoveryMode()
        try session.output.result(status, ["The daemon is not in recovery mode."])
        return 0
      }
      if let check {
        let code = try await session.run(
          .check(check), on: try await session.toolEngine(offline: offline), kind: .check)
        return code == 1 ? 65 : code
      }
      if !retry, !discard, session.hasPerson, isatty(STDOUT_FILENO) == 1 {
        var guided = GuidedRecovery(session: session, globals: globals)
        return try await guided()
      }
      let updater = session.localUpdater()
      if discard {
        let down = try await updater.discardInterruptedRun()
        try session.output.result(
          Discarded(notRunning: down),
          ["The interrupted run is forgotten."]
            + down.map {
              "Nobody can read what it had stopped, and this does not run: \($0). Start it by hand."
            })
        return 0
      }
      if retry { try await updater.allowRecovery() }
      return try session.show(await updater.recover())
    }
  }
}

private struct Discarded: Encodable {
  var schema = "chock.DISCARDED/1"
  /// Where the journal could not be read, parts of the application that may have to be started.
  var notRunning: [String]
}
