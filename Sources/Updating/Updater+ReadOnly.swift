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
      sightings = isRunElsewhere ? sightings + 1 : 0
      if needsLock {
        await readOnlyHold.release()
      } else if sightings > 1 {
        // Recovery counts on it being down, and starts it again.
        if let parts = started { await stop(parts) }
        started = nil
        await readOnlyHold.release()
      } else if sightings == 0 {
        do throws(Failure) {
          try await readOnlyHold.take(settings.databasePath)
          // A run may have begun meanwhile.
          if needsLock { await readOnlyHold.release() }
          if !isTold {
            try notice.begin(
              ApplicationNotice.RecoveryMode(reason: reason.message, code: reason.code.rawValue))
          }
          isTold = true
        } catch {
          if !isSaid {
            logger.error("The database cannot be held for reading only: \(error.message)")
          }
          isSaid = true
        }
        if started == nil, await readOnlyHold.isHeld { started = await startWhatWasStopped() }
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

  /// Before a run: its worker needs the lock.
  func letGo() async { if needsLock { await readOnlyHold.release() } }

  /// A snapshot or a check only reads.
  private var needsLock: Bool {
    current.map { $0.kind.isWatched || $0.kind == .recover } ?? false
  }

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
