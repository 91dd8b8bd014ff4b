import Logging
public import Migrations
public import Storage

// The full check of the database, which takes too long for a run: done when there is nothing else to do.
extension Updater {
  /// From now on the database is checked when its last check is older than the config says.
  public func startIdleChecks() {
    checksWhenIdle = true
    scheduleIdleCheck()
  }

  func scheduleIdleCheck() {
    idleCheck?.cancel()
    guard checksWhenIdle, settings.integrityCheckDays > 0, current == nil else { return }
    let period = Double(settings.integrityCheckDays) * 86_400
    let last = (try? history.integrityCheck(of: settings.databasePath)) ?? nil
    // A check that lies in the future (a clock that was set back) does not put it off for ever.
    let due = last.map { period - ($0.ageSeconds() ?? 0) } ?? 0
    let wait = max(due, Double(settings.integrityCheckIdleMinutes) * 60)
    idleCheck = Task {
      try? await Task.sleep(for: .seconds(wait))
      guard !Task.isCancelled else { return }
      await self.checkWhenIdle()
    }
  }

  private func checkWhenIdle() async {
    guard current == nil, recoveryMode == nil, !hasInterruptedRun() else { return }
    let process = WorkerProcess(order(.check, requestedBy: "idle"), executable: executable)
    checker = process
    let end = await process.run { _ in }
    checker = nil
    if let failure = end.result?.error, failure.code != .stopped {
      logger.warning("Full check of the database: \(failure.message)")
    }
    // Another run schedules the next one at its end.
    guard current == nil else { return }
    if end.result?.outcome == .finished { logger.info("The database passed its full check.") }
    publishState()
    // One that could not be done is tried again, but not at once.
    if end.result?.outcome == .finished || end.result?.error?.code == .databaseCorrupt {
      scheduleIdleCheck()
    }
  }

  func endIdleCheck() async {
    checksWhenIdle = false
    idleCheck?.cancel()
    checker?.stop(Failure(.stopped, "The daemon was told to stop."))
    await idleCheck?.value
  }
}

extension IntegrityCheck {
  /// Why nothing is offered on a database that failed it.
  public func failure(_ settings: UpdateSettings) -> Failure? {
    problem.map {
      Failure(
        .databaseCorrupt, "The full check of \(finishedAt) found: \($0)",
        file: settings.databasePath,
        howToClear:
          "Restore a snapshot: `chock snapshots list`, then `chock restore ID`. Damaged indexes alone: stop the application, `sqlite3 DATABASE REINDEX`, then `chock doctor --integrity`."
      )
    }
  }
}
