import Logging
import Migrations
import Storage

// The policy `read_only`: in recovery mode the application runs, and chock holds the write lock.
extension Updater {
  /// The kernel tells nobody when another process takes or gives back the lock of a run.
  private static let period = Duration.seconds(1)

  func recoveryModeChanged() {
    holdPause?.cancel()
    guard isServed, settings.application.inRecovery == .readOnly, recoveryMode != nil,
      holding == nil
    else { return }
    holding = Task {
      await hold()
      holding = nil
      // It may have begun anew in the last moment.
      if !isShuttingDown { recoveryModeChanged() }
    }
  }

  private func hold() async {
    let notice = ApplicationNotice.recoveryMode(settings.stateDirectory)
    var started: [String]?
    var sightings = 0
    var isTold = false
    var isSaid = false
    while let reason = recoveryMode, !isShuttingDown {
      // Who only asks for the state has the lock for a moment, too.
      sightings = current == nil && isRunElsewhere ? sightings + 1 : 0
      if needsLock {
        await readOnlyHold.release()
      } else if sightings > 1 {
        // Recovery counts on it being down, and starts it again.
        if let parts = started { await stop(parts) }
        started = nil
        await readOnlyHold.release()
      } else if sightings == 0 {
        do throws(Failure) {
          try await takeHold()
          if !isTold { try tellHold(reason) }
          isTold = true
        } catch {
          if !isSaid {
            logger.error("The database cannot be held for reading only: \(error.message)")
          }
          isSaid = true
        }
        // Not while a worker of ours is to have the lock of a run.
        if started == nil, current == nil, await readOnlyHold.isHeld {
          started = await startWhatWasStopped()
        }
      }
      let pause = Task { _ = try? await Task.sleep(for: Self.period) }
      holdPause = pause
      if recoveryMode == nil || isShuttingDown { pause.cancel() }
      await pause.value
      noteRecovered()
    }
    // Nobody will hold the lock any more: it must not write.
    if recoveryMode != nil, let started { await stop(started) }
    await readOnlyHold.release()
    do throws(Failure) {
      try notice.end()
    } catch {
      logger.warning("\(notice.path) could not be removed: \(error.message)")
    }
  }

  /// The worker needs the lock now.
  func letGo() async { if needsLock { await readOnlyHold.release() } }

  /// A snapshot or a check only reads; and a run that changes the database does not before the application is
  /// stopped, nor when it is about to be started again.
  private var needsLock: Bool {
    if isMending { return true }
    guard let current, current.kind != .recover else { return current != nil }
    guard current.kind.isWatched else { return false }
    switch current.phase {
    case .snapshot, .rehearse, .apply, .verify, .commit, .restore: return true
    case nil, .plan, .safety, .quiesce, .resume, .prove, .done: return false
    }
  }

  private func takeHold() async throws(Failure) {
    try await readOnlyHold.take(settings.databasePath)
    // A run may have gone on meanwhile.
    if needsLock { await readOnlyHold.release() }
  }

  private func tellHold(_ reason: Failure) throws(Failure) {
    try ApplicationNotice.recoveryMode(settings.stateDirectory).begin(
      ApplicationNotice.RecoveryMode(reason: reason.message, code: reason.code.rawValue))
  }

  /// Before a worker starts the application again. What another process has recovered ends recovery mode by itself;
  /// what a technician has begun, or damage, goes on.
  func holdForApplication() async -> Held {
    guard isServed, settings.application.inRecovery == .readOnly, isLeftByHand,
      let reason = recoveryMode
    else { return .notWanted }
    for _ in 0..<Self.attempts where !isShuttingDown {
      do throws(Failure) {
        // In this phase nobody else lets it go.
        try await readOnlyHold.take(settings.databasePath)
        try tellHold(reason)
        return .held
      } catch {
        logger.warning("The database cannot be held for reading only: \(error.message)")
      }
    }
    // A daemon that ends holds nothing.
    return isShuttingDown ? .notWanted : .impossible
  }

  /// Each waits for the lock for a second.
  private static let attempts = 5

  func endHold() async {
    holdPause?.cancel()
    await holding?.value
  }

  private var isRunElsewhere: Bool {
    !Openers.of("\(settings.stateDirectory)/lock").isEmpty
  }

  private func stop(_ parts: [String]) async {
    guard !parts.isEmpty else { return }
    await Reader().read { [settings, logger] in
      do throws(Failure) {
        try ApplicationControl(settings: settings.application).stop(parts, StopSignal())
      } catch {
        logger.error("The application could not be stopped: \(error.message)")
      }
    }
  }
}
