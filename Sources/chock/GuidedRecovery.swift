import ArgumentParser
import Glibc
import Migrations
import Storage
import Updating

/// `chock recover` at a terminal: says how it stands, offers what fits, and shows each step as the command that it
/// runs.
struct GuidedRecovery {
  let session: Session
  let globals: Globals
  /// Words of a person for the runs that are started from here.
  private var attestations: [String] = []

  init(session: Session, globals: Globals) {
    self.session = session
    self.globals = globals
  }

  /// How it stands.
  private struct State {
    var hasDaemon = false
    var isInterrupted = false
    var status: StatusDocument?
    var problem: Failure?
    var locks: [String] = []
    var snapshots: [SnapshotDocument] = []
    var copies: [RescueCopy] = []
    var setAside: [String] = []
  }

  private enum Step {
    case retry, discard
    case check(CheckKind)
    case verify, restore, salvage, accept, adopt, rollBack, breakLock, attest, takeBack, diagnose
    case export, apply
    case leave, factory, quit

    var title: String {
      switch self {
      case .retry: "Try again to finish or undo the interrupted run"
      case .discard: "Forget the interrupted run; the database stays as it is"
      case .check(.quick): "Check the database: quick"
      case .check(.full): "Check the database: everything, with the indexes"
      case .check(.foreignKeys): "Check the database: rows that point to nothing"
      case .verify: "Test all snapshots: restore each into a file of its own"
      case .restore: "Put a snapshot back"
      case .salvage: "Salvage: read what can still be read of a damaged file"
      case .accept: "Accept a changed migration file or schema as it is"
      case .adopt: "Adopt the database: it has no ledger yet"
      case .rollBack: "Roll back by rollback files"
      case .breakLock: "Break a lock that holds updates back"
      case .attest: "Give your word for a reading"
      case .takeBack: "Take your word back"
      case .diagnose: "Write a file for support"
      case .export: "Write the rows of a rescue copy as files"
      case .apply: "Put the rows of a rescue copy in again"
      case .leave: "Leave recovery mode: all is well"
      case .factory: "Factory state: erase everything of the owner's, snapshots too"
      case .quit: "Quit"
      }
    }

    /// What has to be confirmed with a typed yes.
    var warning: String? {
      switch self {
      case .discard: "Nobody finishes or undoes the interrupted run then."
      case .restore:
        "What was recorded since the snapshot is then only in a rescue copy, or in the damaged files that are set aside."
      case .rollBack: "What the newer version added is taken out, and exported."
      case .breakLock: "Whoever holds the lock counts on it."
      default: nil
      }
    }
  }

  /// Goes on until the person quits, or the input ends.
  mutating func callAsFunction() async throws(Failure) -> Int32 {
    while true {
      let state = await look()
      say(state)
      let steps = steps(for: state)
      for (index, step) in steps.enumerated() { print("  \(index + 1)  \(step.title)") }
      guard let line = askAgain("Which step? (1 to \(steps.count), or quit)") else { return 0 }
      guard !["q", "quit"].contains(line.lowercased()) else { return 0 }
      guard let number = Int(line), steps.indices.contains(number - 1) else {
        print("There is no step \(line).\n")
        continue
      }
      let step = steps[number - 1]
      if case .quit = step { return 0 }
      guard let arguments = arguments(of: step, state) else {
        print("Nothing was done.\n")
        continue
      }
      guard !arguments.isEmpty else {
        print("")
        continue
      }
      print("\n\(session.output.bold("$ \(Self.shell(arguments))"))")
      if let warning = step.warning {
        guard ask("\(warning) Type yes to go on:") == "yes" else {
          print("Nothing was done.\n")
          continue
        }
      }
      let code = await run(arguments)
      print(code == 0 ? "" : "It ended with \(code).\n")
    }
  }

  // MARK: How it stands

  private func look() async -> State {
    var state = State()
    do throws(Failure) {
      state.hasDaemon = try await session.daemon() != nil
      state.isInterrupted = await session.localUpdater().hasInterruptedRun()
      let engine = try await session.lookingEngine()
      state.status = try await engine.status()
      state.problem = state.status?.problem
      state.locks = (try? await engine.safety())?.locks.map(\.id) ?? []
    } catch {
      state.problem = error
    }
    let rescue = try? RescueCopies(settings: session.config.settings).list()
    state.copies = rescue?.copies ?? []
    state.setAside = rescue?.setAside.map(\.run) ?? []
    state.snapshots =
      (try? SnapshotStore(
        stateFolder: session.config.settings.stateDirectory, chockVersion: Chock.version
      ).list()) ?? []
    return state
  }

  private func say(_ state: State) {
    print(session.output.bold("How it stands"))
    print("  The daemon \(state.hasDaemon ? "runs" : "does not run").")
    if let status = state.status {
      print(
        status.mode == .recovery
          ? "  chock is in recovery mode: it changes nothing on its own."
          : "  chock is not in recovery mode.")
      print(
        "  \(status.databasePath) is at version \(status.currentVersion ?? "unknown").")
      if let check = status.integrityCheck {
        print(
          "  The full check of \(check.finishedAt) found "
            + (check.problem.map { "a problem: \($0)" } ?? "nothing."))
      } else {
        print("  There was no full check since the database was last changed.")
      }
      if let run = status.run, let error = run.error {
        print("  The last run (\(run.kind.rawValue), \(run.id)): \(error.message)")
      }
    }
    if state.isInterrupted {
      print("  A run was interrupted, and is neither finished nor undone.")
    }
    if let problem = state.problem {
      print("  Reason: \(Output.words(problem).joined(separator: "\n    "))")
    }
    if !state.setAside.isEmpty {
      print("  Damaged files were set aside by \(state.setAside.joined(separator: ", ")).")
    }
    print(
      "  There are \(state.snapshots.count) snapshots"
        + (state.snapshots.first.map { ", the newest of \($0.createdAt)." } ?? "."))
    print("\nWhat can be done")
  }

  private func steps(for state: State) -> [Step] {
    var steps: [Step] = state.isInterrupted ? [.retry, .discard] : []
    steps += CheckKind.allCases.map(Step.check)
    if !state.snapshots.isEmpty { steps += [.verify, .restore] }
    steps.append(.salvage)
    if state.problem?.code == .drift { steps.append(.accept) }
    if state.status?.adopted == false, state.problem?.code.isUnreadableDatabase != true {
      steps.append(.adopt)
    }
    if state.status?.currentVersion != nil { steps.append(.rollBack) }
    if !state.locks.isEmpty { steps.append(.breakLock) }
    steps.append(.attest)
    if !state.hasDaemon, !attestations.isEmpty { steps.append(.takeBack) }
    steps.append(.diagnose)
    if !state.copies.isEmpty { steps += [.export, .apply] }
    if state.hasDaemon, state.status?.mode == .recovery { steps.append(.leave) }
    return steps + [.factory, .quit]
  }

  // MARK: One step

  /// The command that the step is, with what the person chooses; nil: nothing was chosen. Empty: it is done already.
  private mutating func arguments(of step: Step, _ state: State) -> [String]? {
    let offline = state.hasDaemon ? [] : ["--offline"]
    let gated = offline + (state.hasDaemon ? [] : attestations.flatMap { ["--attest", $0] })
    switch step {
    case .retry: return ["recover", "--retry"]
    case .discard: return ["recover", "--discard"]
    case .check(let kind):
      let name = kind == .foreignKeys ? "foreign-keys" : kind.rawValue
      return ["recover", "--check", name] + offline
    case .verify: return ["snapshots", "verify", "--restore"] + offline
    case .restore:
      guard
        let chosen = choose(
          "snapshot", of: state.snapshots, { SnapshotsCommand.line($0) })
      else { return nil }
      return ["restore", chosen.id] + gated
    case .salvage:
      let files = ["the database itself"] + state.setAside.map { "files set aside by \($0)" }
      let all = Array(files.indices)
      guard let chosen = state.setAside.isEmpty ? 0 : choose("file", of: all, { files[$0] })
      else { return nil }
      return ["rescue", "salvage"] + (chosen == 0 ? [] : [state.setAside[chosen - 1]]) + offline
    case .accept:
      guard let reason = ask("Why is it right as it is?") else { return nil }
      return ["repair", "--reason", reason]
    case .adopt: return ["adopt"]
    case .rollBack:
      guard let version = ask("To which version?") else { return nil }
      return ["rollback", "--to", version] + gated
    case .breakLock:
      guard let lock = choose("lock", of: state.locks, { $0 }) else { return nil }
      return ["coach", "unlock", lock]
    case .attest:
      guard let word = ask("Which reading? Such as parking_brake=engaged:") else { return nil }
      guard !state.hasDaemon else { return ["coach", "attest", word] }
      do throws(Failure) {
        try Attestation.check(word, session.config.settings.safety)
      } catch {
        print(Output.words(error).joined(separator: "\n"))
        return nil
      }
      // The newest word for a signal is the one that counts.
      let signal = Attestation.parse(word).signal
      attestations.removeAll { Attestation.parse($0).signal == signal }
      attestations.append(word)
      print("It goes with each step that asks for it: --attest \(word)")
      return []
    case .takeBack:
      guard let word = choose("word", of: attestations, { $0 }) else { return nil }
      attestations.removeAll { $0 == word }
      print("Your word for \(Attestation.parse(word).signal) is taken back.")
      return []
    case .diagnose: return ["diagnose"]
    case .export:
      guard let copy = choose("copy", of: state.copies, { SnapshotsCommand.line($0.copy) }),
        let folder = ask("Into which new folder?")
      else { return nil }
      return ["rescue", "export", copy.copy.id, "--to", folder]
    case .apply:
      guard let copy = choose("copy", of: state.copies, { SnapshotsCommand.line($0.copy) })
      else { return nil }
      return ["rescue", "apply", copy.copy.id] + gated
    case .leave: return ["recover", "--leave"]
    case .factory:
      guard !state.hasDaemon else {
        let failure = Failure.daemonRuns
        print("\(failure.message) \(failure.howToClear ?? "")")
        return nil
      }
      return ["recover", "--factory"] + attestations.flatMap { ["--attest", $0] }
    case .quit: return nil
    }
  }

  private func choose<Thing>(
    _ name: String, of things: [Thing], _ line: (Thing) -> String
  ) -> Thing? {
    for (index, thing) in things.enumerated() { print("  \(index + 1)  \(line(thing))") }
    guard let answer = ask("Which \(name)? (1 to \(things.count))"), let number = Int(answer),
      things.indices.contains(number - 1)
    else { return nil }
    return things[number - 1]
  }

  /// Nil for an empty line, and at the end of the input.
  private func ask(_ question: String) -> String? {
    guard let line = answer(to: question), !line.isEmpty else { return nil }
    return line
  }

  /// Nil at the end of the input; an empty line is no answer.
  private func askAgain(_ question: String) -> String? {
    while let line = answer(to: question) { if !line.isEmpty { return line } }
    return nil
  }

  private func answer(to question: String) -> String? {
    Session.answer {
      print(question, terminator: " ")
      session.output.flush()
    }
  }

  /// By the verb's own code.
  private func run(_ arguments: [String]) async -> Int32 {
    var all = arguments
    if let config = globals.config { all += ["--config", config] }
    if globals.noColor { all.append("--no-color") }
    if globals.quiet { all.append("--quiet") }
    session.output.flush()
    defer { session.output.flush() }
    do {
      var command = try ChockCommand.parseAsRoot(all)
      if var command = command as? any AsyncParsableCommand {
        try await command.run()
      } else {
        try command.run()
      }
      return 0
    } catch let code as ExitCode {
      return code.rawValue
    } catch {
      print(ChockCommand.fullMessage(for: error))
      return ChockCommand.exitCode(for: error).rawValue
    }
  }

  /// As it is typed in a shell.
  private static func shell(_ arguments: [String]) -> String {
    (["chock"] + arguments).map { argument in
      let isPlain = argument.allSatisfy {
        $0.isASCII && ($0.isLetter || $0.isNumber || "-_./=:".contains($0))
      }
      guard !isPlain || argument.isEmpty else { return argument }
      return "'"
        + argument.split(separator: "'", omittingEmptySubsequences: false)
        .joined(separator: "'\\''") + "'"
    }.joined(separator: " ")
  }
}
