import FoundationEssentials
import Migrations
import Storage

/// How a run ends, once the application is back.
struct Ending: Codable, Sendable, Equatable {
  var outcome: Outcome
  var failure: Failure?
}

/// What the journal says of the application.
struct ApplicationJournal: Codable, Sendable, Equatable {
  /// What ran and has to be started again, in the order in which it is stopped.
  var stopped: [String] = []
  /// Nil: it is not decided yet.
  var ending: Ending?
  /// Why the new state is given up.
  var unhealthy: Failure?
  var probationEndsAt: String?
}

// The application during a run: stopped before the database is touched, held down, started again on every
// way out, and watched.
extension RunContext {
  private var settingsOfApplication: ApplicationSettings { settings.application }
  private var control: ApplicationControl { ApplicationControl(settings: settings.application) }
  private var safeMode: ApplicationNotice { .safeMode(settings.stateDirectory) }

  /// Stops what the config names and runs. What that is, is in the journal before it is stopped.
  ///
  /// - Throws: `.application`, `.applicationStop`; the stop that was requested.
  func quiesce() throws(Failure) {
    guard settingsOfApplication.isStopped else { return }
    let running = try control.running()
    application = ApplicationJournal(stopped: running)
    try enter(.quiesce)
    progress("stop", "Stopping the application")
    try control.stop(running, stop)
  }

  /// Looks whether somebody has started the application again, and stops it once more.
  ///
  /// - Throws: `.applicationStop` when it does not stay down.
  func holdDown() throws(Failure) {
    guard settingsOfApplication.isStopped, var held = application else { return }
    let running = try control.running()
    guard !running.isEmpty else { return }
    comebacks += 1
    guard comebacks < 2 else {
      throw Failure(
        .applicationStop,
        "The application does not stay down: somebody has started \(running.joined(separator: ", ")) again, twice.",
        howToClear: "Find out who starts it, and keep them from it during the update.")
    }
    // Somebody wants it to run.
    held.stopped = settingsOfApplication.parts.filter {
      held.stopped.contains($0) || running.contains($0)
    }
    application = held
    try journalAgain()
    link.send(.log("The application was started in the middle of the run, and is stopped again."))
    try control.stop(running, stop)
  }

  // MARK: The way out

  /// Puts the application back and, where an update is to be proven, watches it.
  ///
  /// - Returns: how the run ends; nil when the watch was broken off, and goes on in another process.
  func settle(_ ending: Ending) -> Ending? {
    let isProven =
      ending.outcome == .committed && [.update, .rollback].contains(document.kind)
      && !settingsOfApplication.health.isEmpty
    if application == nil, isProven, !settingsOfApplication.isStopped {
      application = ApplicationJournal()
    }
    guard var held = application else { return ending }
    guard ending.outcome != .needsRecovery else {
      // Nobody knows what it would find. With `read_only` the daemon starts it, which can hold the lock.
      if settingsOfApplication.inRecovery == .start, ApplicationControl.mayRun(document) {
        logging { () throws(Failure) in try start() }
      }
      return ending
    }
    guard !held.stopped.isEmpty || isProven && !settingsOfApplication.isStopped else {
      return ending
    }
    held.ending = ending
    application = held
    if !held.stopped.isEmpty {
      logging { () throws(Failure) in try journal(.resume) }
      progress("start", "Starting the application")
    }
    if [.committed, .restored].contains(ending.outcome), held.unhealthy == nil {
      logging { () throws(Failure) in try safeMode.end() }
    }
    let checks =
      isProven
      ? HealthChecks(
        settingsOfApplication, started: held.stopped, databasePath: settings.databasePath) : nil
    var notStarted: Failure?
    do throws(Failure) {
      try start()
    } catch {
      notStarted = error
    }
    guard let checks else {
      if let notStarted { warn(notStarted) }
      return ending
    }
    if let notStarted { return giveUp(notStarted) }
    return prove(ending, checks)
  }

  /// Tries it three times: nobody else starts what chock has stopped.
  private func start() throws(Failure) {
    var environment = safeMode.environment
    if settingsOfApplication.inRecovery == .readOnly {
      switch link.hold() {
      case .notWanted: break
      case .held:
        environment.merge(ApplicationNotice.recoveryMode(settings.stateDirectory).environment) {
          $1
        }
      case .impossible:
        throw Failure(
          .application,
          "The application stays down: chock is in recovery mode, and the database cannot be held for reading only.",
          howToClear: "Leave recovery mode, then start it by hand.")
      }
    }
    let stopped = application?.stopped ?? []
    for _ in 0..<2 {
      do throws(Failure) {
        return try control.start(stopped, environment: environment)
      } catch {
        link.send(.log("\(error.message) chock tries again."))
        link.pause(for: .seconds(2))
      }
    }
    try control.start(stopped, environment: environment)
  }

  /// Watches the application until it is judged, confirmed, or nobody supervises any more.
  private func prove(_ ending: Ending, _ checks: HealthChecks) -> Ending? {
    let length = remainingProbation()
    application?.probationEndsAt = Timestamp.text(
      secondsSince1970: UpdateLocks.now + length.seconds)
    logging { () throws(Failure) in try journal(.prove) }
    var probation = Probation(settingsOfApplication, length: length)
    let began = ContinuousClock.now
    while true {
      let problem = checks.problem()
      if let person = link.confirmation {
        set(confirmedBy: person)
        return ending
      }
      // The supervisor ends: the next one goes on.
      if link.isAlone { return nil }
      let time = ContinuousClock.now - began
      switch probation.note(isHealthy: problem == nil, at: time) {
      case .healthy: return ending
      case .unhealthy:
        return giveUp(
          Failure(
            .applicationUnhealthy,
            probation.falls >= Probation.maximumFalls
              ? "The application fails again and again with version \(document.toVersion ?? "?"): \(problem ?? "it is not well")"
              : "The application is not well with version \(document.toVersion ?? "?"): \(problem ?? "it is not well")",
            howToClear: "Look at the application's log; what it wrote since is in the rescue copy.")
        )
      case .goOn: break
      }
      let left = max(0, Int((length - time).seconds.rounded(.up)))
      progress(
        "prove",
        problem.map { "Waiting for the application: \($0)" }
          ?? "The application is well; it is watched for \(left) s more",
        done: Int64(time.seconds), total: Int64(length.seconds.rounded(.up)),
        fraction: min(1, time.seconds / max(1, length.seconds)))
      link.pause(for: .seconds(settingsOfApplication.intervalSeconds))
    }
  }

  /// What is left of an interrupted one. A clock that went back must not make it endless.
  private func remainingProbation() -> Duration {
    let full = Double(settingsOfApplication.probationSeconds)
    guard let end = application?.probationEndsAt.flatMap(Timestamp.date) else {
      return .seconds(full)
    }
    return .seconds(min(full, max(0, end.timeIntervalSince1970 - UpdateLocks.now)))
  }

  /// The application is not well with the new state: the snapshot is put back, and what was written since is
  /// kept as a rescue copy.
  private func giveUp(_ failure: Failure) -> Ending {
    guard document.snapshotId != nil else {
      warn(failure)
      return Ending(outcome: .committed)
    }
    application?.ending = nil
    application?.unhealthy = failure
    logging { () throws(Failure) in try journal(.restore) }
    if settingsOfApplication.isStopped {
      do throws(Failure) {
        try control.stop(try control.running(), StopSignal())
      } catch {
        // The restore takes the write lock: it does without.
        warn(error)
      }
    }
    return goBack(failure)
  }

  /// - Parameter isDone: the snapshot is in the database already.
  private func goBack(_ failure: Failure, isDone: Bool = false) -> Ending {
    do throws(Failure) {
      if isDone {
        try bringBackJournalMode()
      } else if let snapshot = document.snapshotId {
        try putBack(snapshot)
        // The rescue copy of an attempt that was not committed: the newer one holds the same and more.
        removeSnapshots(takenFor: document, but: [snapshot, document.rescueCopy])
      }
    } catch {
      return Ending(outcome: .needsRecovery, failure: error)
    }
    forgetIntegrityCheck()
    logging { () throws(Failure) in
      try safeMode.begin(
        ApplicationNotice.SafeMode(
          run: document.id, version: document.fromVersion, failedVersion: document.toVersion,
          reason: failure.message))
    }
    let ending = Ending(outcome: .restored, failure: failure)
    application?.ending = ending
    // What cannot be written down must not keep it down.
    logging { () throws(Failure) in try journal(.resume) }
    logging { () throws(Failure) in try start() }
    return ending
  }

  /// After an interruption of `giveUp`.
  func endUnhealthy(_ failure: Failure, isDone: Bool) -> RunDocument {
    close(isDone ? goBack(failure, isDone: true) : giveUp(failure))
  }

  // MARK: What must not end a run

  private func logging(_ work: () throws(Failure) -> Void) {
    do throws(Failure) {
      try work()
    } catch {
      warn(error)
    }
  }

  private func warn(_ failure: Failure) {
    link.send(.log(failure.message))
    add(warning: failure)
  }
}
