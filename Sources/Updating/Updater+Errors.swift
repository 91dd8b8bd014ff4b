import Logging
import Migrations
import Storage

// The watch after an update: errors of the application against their level before. It only tells
// (docs/decisions/0062).
extension Updater {
  /// From now on errors are counted, where the config says by what.
  public func startErrorWatch() {
    guard isServed, errorTask == nil, !settings.application.errorSources.isEmpty else { return }
    errorTask = Task {
      while !Task.isCancelled {
        await lookAtErrors()
        let pause = Task { [interval = settings.application.watchIntervalSeconds] in
          _ = try? await Task.sleep(for: .seconds(interval))
        }
        errorPause = pause
        // A cancelled task makes a pause that does not know of it.
        if wantsErrorLook || Task.isCancelled { pause.cancel() }
        await pause.value
      }
    }
  }

  func endErrorWatch() async {
    guard let errorTask else { return }
    errorTask.cancel()
    errorPause?.cancel()
    await errorTask.value
    saveErrorWatch()
  }

  /// A run has ended: whether its outcome is watched.
  func noteForErrorWatch(_ run: RunDocument) {
    guard errorTask != nil, Self.isShown(run), Self.hasChanged(run) else { return }
    lastChange = run
    wantsErrorLook = true
    errorPause?.cancel()
  }

  /// Whether the application has another state than before.
  private static func hasChanged(_ run: RunDocument) -> Bool {
    [.committed, .restored].contains(run.outcome)
  }

  /// What changed the database while this did not run, or was killed before it was noted.
  func resumeErrorWatch(_ recent: [RunDocument]) {
    guard isServed else { return }
    lastChange = recent.first { Self.isShown($0) && Self.hasChanged($0) }
    // Of before the first count there is nothing to compare with.
    if !isErrorWatchKnown { errorWatch.newestRun = lastChange?.id }
  }

  private func lookAtErrors() async {
    wantsErrorLook = false
    let application = settings.application
    let runs = (current?.id, endedRuns)
    let readings = await Self.read(
      application.errorSources, beside: errorWatch, hours: application.watchHours)
    guard !Task.isCancelled else { return }
    let isQuiet = runs == (current?.id, endedRuns) && current == nil && endedRuns == countedRuns
    countedRuns = endedRuns
    let before = errorWatch
    let news = errorWatch.note(
      readings, at: .now(), hours: application.watchHours, counting: isQuiet)
    for words in news {
      logger.warning("The errors of the application: \(words)")
    }
    if current == nil { reviewErrorWatch() }
    let warnings = errorWatch.judge(application.errorSources)
    if !warnings.isEmpty { noteInHistory(warnings) }
    let isNew =
      errorWatch.watched?.run != before.watched?.run || !warnings.isEmpty || !news.isEmpty
    if isNew || Self.isWorthWriting(before, errorWatch)
      || errorSaved.map({ .now - $0 > .seconds(3600) }) ?? true
    {
      saveErrorWatch()
    }
    // After it is written down: who is told once must not be told again.
    for warning in warnings {
      logger.warning("\(warning.message)", metadata: ["code": "\(warning.code.rawValue)"])
      events.publish(.log) { $0.message = warning.message }
    }
    if isNew { publishState() }
  }

  /// Begins the watch of the newest change, and ends one whose time is over or whose state is gone.
  private func reviewErrorWatch() {
    let application = settings.application
    if let run = lastChange, run.id != errorWatch.newestRun {
      if run.outcome == .committed, [.update, .rollback].contains(run.kind) {
        errorWatch.begin(
          run.id, version: run.toVersion, least: Double(10 * application.watchIntervalSeconds),
          hours: application.watchHours)
        logger.info(
          "Errors of the application are compared with before for \(application.watchHours) h.")
      } else if run.outcome == .restored {
        errorWatch.end(hours: application.watchHours)
      }
      errorWatch.newestRun = run.id
    }
    if let watched = errorWatch.watched,
      watched.seconds >= Double(application.watchHours) * ErrorHour.length
    {
      let hasWarned = errorWatch.counters.contains { $0.warning != nil }
      errorWatch.end(hours: application.watchHours)
      logger.info(
        "The watch after the update is over\(hasWarned ? "; there were more errors than before" : "")."
      )
    }
  }

  private static func isWorthWriting(_ before: ErrorWatch, _ after: ErrorWatch) -> Bool {
    before.counters.map { $0.hours.errors + $0.since.errors }
      != after.counters.map { $0.hours.errors + $0.since.errors }
      || before.counters.map(\.problem) != after.counters.map(\.problem)
      || before.counters.map { $0.seen == nil } != after.counters.map { $0.seen == nil }
  }

  private static func read(
    _ sources: [ErrorSource], beside state: ErrorWatch, hours: Int
  ) async -> [(source: ErrorSource, reading: ErrorReading)] {
    var pages: [String: Result<String, NotCounted>] = [:]
    var found: [(source: ErrorSource, reading: ErrorReading)] = []
    for source in sources {
      let counter = state.counters.first { $0.key == source.key }
      do throws(NotCounted) {
        switch source {
        case .journal(let unit):
          found.append((source, try await journal(unit, counter, hours: hours)))
        case .metric(let url, let name):
          if pages[url] == nil {
            do throws(NotCounted) {
              pages[url] = .success(try await ErrorMetrics.ask(url))
            } catch {
              pages[url] = .failure(error)
            }
          }
          guard let value = ErrorMetrics.value(of: name, in: try pages[url]?.get() ?? "") else {
            throw NotCounted("\(url) has no figure \(name).")
          }
          found.append((source, .value(value)))
        }
      } catch {
        found.append((source, .problem(error.words)))
      }
    }
    return found
  }

  private static func journal(
    _ unit: String, _ counter: ErrorWatch.Counter?, hours: Int
  ) async throws(NotCounted) -> ErrorReading {
    let journal = ErrorJournal(unit: unit)
    if let cursor = counter?.cursor {
      do throws(NotCounted) {
        let found = try await journal.errors(after: cursor)
        return .lines(found.errors, cursor: found.cursor ?? cursor)
      } catch {
        // Of a journal that was deleted; where it is another thing, this fails, too.
        return .begun(cursor: try await journal.end(), past: [])
      }
    }
    let cursor = try await journal.end()
    return .begun(cursor: cursor, past: try await journal.past(hours: hours))
  }

  /// Beside the run that they are about.
  private func noteInHistory(_ warnings: [Failure]) {
    guard let id = errorWatch.watched?.run, var document = try? run(id) else { return }
    document.warnings = (document.warnings ?? []) + warnings
    do throws(Failure) {
      try history.save(run: id, startedAt: document.startedAt, document: try JSON.text(document))
    } catch {
      logger.warning("More errors could not be noted in the history: \(error.message)")
    }
    if lastRun?.id == id { lastRun = document }
  }

  private func saveErrorWatch() {
    do throws(Failure) {
      try errorWatch.write(settings.stateDirectory)
      errorSaved = .now
    } catch {
      logger.warning("The count of errors could not be written: \(error.message)")
    }
  }
}
