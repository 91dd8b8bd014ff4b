import Logging
public import Migrations
import Storage

// Recovery, and recovery mode: there chock changes nothing that a technician has not asked for.
extension Updater {
  /// Ends what an interrupted run left behind; also `chock recover`.
  public func recover() async -> RunDocument {
    let ended = await run(order(.recover, requestedBy: "recovery"))
    recoveryMode = ended.outcome == .needsRecovery ? ended.error : nil
    isLeftByHand = false
    if Self.isShown(ended), ended.outcome != .nothingToDo { lastRun = ended }
    return ended
  }

  /// Lets recovery begin anew after it has failed three times.
  public func allowRecovery() throws(Failure) {
    try betweenRuns { () throws(Failure) in
      guard var journal = try journalFile.read() else { return }
      journal.recoveries = 0
      try journalFile.write(journal)
    }
  }

  /// Forgets an interrupted run; the database is left as it is. What the run had stopped is started again.
  ///
  /// - Returns: parts of the application that do not run, where nobody can read what the run had stopped.
  public func discardInterruptedRun() throws(Failure) -> [String] {
    try betweenRuns { () throws(Failure) in
      guard journalFile.exists else { return [] }
      let journal = try? journalFile.read()
      try journalFile.remove()
      let control = ApplicationControl(settings: settings.application)
      guard let journal else {
        let running = try control.running()
        return settings.application.parts.filter { !running.contains($0) }
      }
      try control.start(journal.application?.stopped ?? [], environment: [:])
      return []
    }
  }

  /// What an interrupted run stopped is started although nobody has looked, where the config says so: in a
  /// daemon that begins in recovery mode nothing else starts it.
  func startApplicationWhenUnsure() {
    guard settings.application.inRecovery == .start else { return }
    // It may take long, and those who ask need not wait for it.
    Task { _ = await startWhatWasStopped() }
  }

  /// - Returns: what was started; nil while another process is about it.
  func startWhatWasStopped() async -> [String]? {
    await Reader().read { [settings, journalFile, logger] in
      do throws(Failure) {
        guard let lock = try RunLock(folder: settings.stateDirectory) else { return nil }
        defer { withExtendedLifetime(lock) {} }
        guard let journal = try journalFile.read(), let stopped = journal.application?.stopped,
          !stopped.isEmpty
        else { return [] }
        guard ApplicationControl.mayRun(journal.run) else {
          logger.warning("The application stays down: the database's files are set aside.")
          return []
        }
        let folder = settings.stateDirectory
        let environment = ApplicationNotice.safeMode(folder).environment
          .merging(ApplicationNotice.recoveryMode(folder).environment) { $1 }
        try ApplicationControl(settings: settings.application).start(
          stopped, environment: environment)
        return stopped
      } catch {
        logger.error("The application could not be started: \(error.message)")
        return []
      }
    }
  }

  // MARK: Recovery mode

  /// Why chock begins in it; nil where nothing speaks for that.
  func reasonForRecoveryMode(isAsked: Bool) -> Failure? {
    guard isServed else { return nil }
    let unsettled = starts.begin()
    settled = Task {
      try? await Task.sleep(for: StartCounter.settlingTime)
      // What waits for somebody to look proves nothing.
      if !Task.isCancelled, !isCrashLoop { starts.reset() }
    }
    if isAsked {
      return Failure(
        .recoveryMode, "chock was started in recovery mode.",
        howToClear: "`chock recover --leave` when everything is well.")
    }
    if let askedByTrigger { return askedByTrigger }
    guard unsettled >= StartCounter.limit else { return nil }
    isCrashLoop = true
    return Failure(
      .recoveryMode, "chock has ended \(unsettled) times within a minute of its start.",
      howToClear: "Its log says why (journalctl -u chock). Then `chock recover --leave`.")
  }

  private var presentTrigger: String? {
    settings.recoveryTriggers.first { FileSystem.facts($0) != nil }
  }

  func enterRecoveryMode(_ reason: Failure) {
    logger.tell("Recovery mode: \(reason.message)", .recoveryMode, error: reason, at: .error)
    recoveryMode = reason
    isLeftByHand = true
  }

  /// What somebody who is to start nothing has put there since the start.
  func noteTrigger() {
    guard isServed, recoveryMode == nil, current == nil, let askedByTrigger else { return }
    enterRecoveryMode(askedByTrigger)
  }

  /// Nil where no file or stick asks for recovery mode.
  var askedByTrigger: Failure? {
    presentTrigger.map {
      Failure(
        .recoveryMode, "\($0) asks for recovery mode.",
        howToClear: "Take it away, then `chock recover --leave`.")
    }
  }

  /// What the files say that nobody may go on from without having looked.
  ///
  /// - Parameter atStart: a ledger that contradicts the files, and a database that is gone, count at the start
  ///   alone; later somebody may just be copying them.
  func reviewDatabase(_ problem: Failure?, atStart: Bool = false) {
    guard isServed, current == nil else { return }
    let before = recoveryMode
    if let problem {
      let isNews =
        recoveryMode == nil || recoveryMode == Self.mended && Self.damage.contains(problem.code)
      guard isNews, Self.damage.contains(problem.code) || atStart && contradicts(problem)
      else { return }
      enterRecoveryMode(problem)
    } else if isLeftByHand, let recoveryMode, Self.isOfDatabase(recoveryMode.code) {
      self.recoveryMode = Self.mended
    }
    if !atStart, recoveryMode != before { Task { publishState() } }
  }

  private static let damage: [Failure.Code] = [.notADatabase, .databaseCorrupt]

  private static func isOfDatabase(_ code: Failure.Code) -> Bool {
    (damage + [.drift, .databaseNewer, .databaseMissing, .databaseEmpty]).contains(code)
  }

  /// Nothing speaks for recovery mode any more, but nobody has said so.
  private static let mended = Failure(
    .recoveryMode, "What was wrong with the database is mended; chock is still in recovery mode.",
    howToClear: "`chock recover --leave` ends it.")

  /// Who writes migrations changes them all the time, and removes databases. Without a snapshot a database that
  /// is not there has never been: a new coach.
  private func contradicts(_ problem: Failure) -> Bool {
    guard settings.environment == .production else { return false }
    return switch problem.code {
    case .drift, .databaseNewer: true
    case .databaseMissing, .databaseEmpty: (try? store.list())?.isEmpty == false
    default: false
    }
  }

  /// Another process (`chock recover`) may have finished what this one could not.
  func noteRecovered() {
    guard !isLeftByHand, recoveryMode != nil, !journalFile.exists else { return }
    recoveryMode = nil
    noteLastRun((try? history(limit: 20)) ?? [])
  }

  /// A technician says that all is well again.
  ///
  /// - Throws: why it is not: `.recoveryMode`, `.needsPerson`, `.runActive`, or what is wrong with the database.
  public func leaveRecoveryMode(by person: String) async throws(Failure) -> StatusDocument {
    if recoveryMode == nil {
      // It may find a reason.
      let status = await status()
      guard recoveryMode != nil else { return status }
    }
    guard current == nil else { throw Failure.runActive }
    if let file = presentTrigger {
      throw Failure(
        .recoveryMode, "\(file) still asks for recovery mode.", howToClear: "Take it away first.")
    }
    guard !journalFile.exists else {
      throw Failure(
        .needsPerson, "A run was interrupted and has not been recovered.",
        howToClear: "`chock recover` first, or `chock recover --retry`.")
    }
    let state = DatabaseState(settings, busyTimeout: DatabaseState.patience)
    let check = (try? history.integrityCheck(of: settings.databasePath)) ?? nil
    if let problem = state.problem ?? check?.failure(settings),
      Self.damage.contains(problem.code) || contradicts(problem)
    {
      throw problem
    }
    try audit(.leaveRecovery, recoveryMode?.message ?? "", "all is well", person)
    recoveryMode = nil
    isLeftByHand = false
    isCrashLoop = false
    starts.reset()
    startIdleChecks()
    startCopies()
    publishState()
    offer()
    return await status()
  }
}

/// How often the daemon has ended soon after its start, over restarts: a daemon that dies again and again is
/// not to try the same for ever.
struct StartCounter: Sendable {
  /// So many starts, of which none has lasted, are a crash loop.
  static let limit = 5
  /// A start that has lasted so long counts no more.
  static let settlingTime = Duration.seconds(60)

  private let path: String

  init(stateDirectory: String) {
    path = stateDirectory + "/starts"
  }

  /// Counts this start. Where it cannot be written down (a full disk) chock has to start all the same.
  ///
  /// - Returns: how many before it have not lasted.
  func begin() -> Int {
    let text = (try? FileSystem.read(path, limit: 16)) ?? nil
    let before = text.flatMap { Int(String(decoding: $0, as: UTF8.self).filter(\.isNumber)) } ?? 0
    try? FileSystem.replace(path, with: Array("\(before + 1)\n".utf8))
    return before
  }

  func reset() { try? FileSystem.remove(path) }
}
