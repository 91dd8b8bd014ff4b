import Coach
import FoundationEssentials
import Logging
public import Migrations
import Storage

// What people want done later: a window for the update, a reminder, a version to skip.
extension Updater {
  /// How far ahead a window or a reminder may lie, in hours.
  private static let horizon = 30.0 * 24

  /// What was decided about the pending update; also one that has lapsed, until somebody clears it.
  public var schedule: Schedule? { scheduled?.schedule }

  /// Takes a person's consent for later: the update starts at the first moment within the window at which
  /// the coach is safe, once.
  ///
  /// - Parameter at: `HH:MM` of the device's own time, or a time as RFC 3339; nil: the maintenance window's
  ///   next beginning. The window is as long as the maintenance window; one that begins at a time of the
  ///   device's clock ends at one, too.
  /// - Throws: `.usage`, `.consentMissing`, `.planChanged`, `.notAllowed`, `.input`, or why there is no plan.
  public func scheduleUpdate(_ request: UpdateRequest, at text: String?) throws(Failure) -> Schedule
  {
    guard let planHash = request.planHash, request.consent else { throw Failure.consentMissing }
    let plan = try checkedPlan(request)
    guard !plan.steps.isEmpty else {
      throw Failure(.notFound, "There is nothing to update.", howToClear: "Look at the plan again.")
    }
    let now = UpdateLocks.now
    let window = settings.maintenanceWindow
    let (start, minutes) = try Self.time(text, or: window.start, now: now)
    let end =
      minutes.map { window.end(beganAt: start, minutes: $0) }
      ?? (start + Double(window.length) * 60)
    let schedule = Schedule(
      action: .window, version: plan.to.description, at: Timestamp.text(secondsSince1970: start),
      until: Timestamp.text(secondsSince1970: end),
      requestedBy: request.requestedBy, createdAt: Timestamp.now())
    try audit(
      .schedule, "\(schedule.version), \(schedule.at ?? "") to \(schedule.until ?? "")",
      "the plan \(planHash)", schedule.requestedBy)
    try keep(
      ScheduleFile.Document(
        schedule: schedule, planHash: planHash, goal: request.goal, inputs: request.inputs,
        isTechnician: request.isTechnician, credential: request.credential,
        approver: request.approver))
    // Last: what comes again after a power cut in between is the same consent once more.
    if let key = request.key {
      try history.save(
        idempotencyKey: key.key, request: key.request, run: Self.name(of: schedule))
    }
    return schedule
  }

  /// What a request with this key has scheduled.
  ///
  /// - Throws: `.keyReused` when it was another request, or what it scheduled is not to come any more.
  public func schedule(with key: IdempotencyKey?) throws(Failure) -> Schedule? {
    guard let known = try known(key) else { return nil }
    guard let schedule, schedule.lapsedReason == nil, Self.name(of: schedule) == known else {
      throw Failure(
        .keyReused, "What this request scheduled has begun, has lapsed or was withdrawn.",
        howToClear: "`chock status` and `chock history` say what became of it.")
    }
    return schedule
  }

  /// What a key is kept with.
  private static func name(of schedule: Schedule) -> String { "schedule \(schedule.createdAt)" }

  /// Says nothing of the pending update for a while (`hours`), or for good.
  ///
  /// - Throws: `.usage` for a time that does not fit, `.notFound` when nothing is pending.
  public func postpone(
    _ action: Schedule.Action, hours: Double?, requestedBy: String
  ) throws(Failure) -> Schedule {
    let state = remember(DatabaseState(settings, busyTimeout: DatabaseState.patience))
    guard let plan = state.plan, !plan.steps.isEmpty else {
      throw state.problem
        ?? Failure(.notFound, "There is nothing to update.", howToClear: "Look at the plan again.")
    }
    var at: String?
    if action == .remind {
      let hours = hours ?? 24
      guard hours > 0, hours <= Self.horizon else {
        throw Failure(
          .usage, "The field `hours` must be above 0 and at most \(Int(Self.horizon)).",
          pointer: "/hours")
      }
      at = Timestamp.text(secondsSince1970: UpdateLocks.now + hours * 3600)
    } else if hours != nil {
      throw Failure(.usage, "The field `hours` is for a reminder.", pointer: "/hours")
    }
    let schedule = Schedule(
      action: action, version: plan.to.description, at: at, requestedBy: requestedBy,
      createdAt: Timestamp.now())
    try audit(
      .postpone, schedule.version, at.map { "remind at \($0)" } ?? action.rawValue, requestedBy)
    try keep(ScheduleFile.Document(schedule: schedule))
    return schedule
  }

  /// Withdraws a consent for later, or takes note of one that has lapsed.
  ///
  /// - Parameter person: for the audit.
  public func clearSchedule(by person: String) throws(Failure) {
    if let schedule {
      try audit(
        .unschedule, schedule.version,
        "\(schedule.action.rawValue) of \(schedule.requestedBy)"
          + (schedule.lapsedReason.map { ", lapsed: \($0)" } ?? ""), person)
    }
    try keep(nil)
  }

  private static func time(
    _ text: String?, or minutes: Int, now: Double
  ) throws(Failure) -> (start: Double, minutes: Int?) {
    let daily = text == nil ? minutes : text.flatMap { DailyWindow.minutes($0) }
    if let daily { return (DailyWindow.next(daily, after: now), daily) }
    let text = text ?? ""
    guard let time = Timestamp.date(text)?.timeIntervalSince1970 else {
      throw Failure(
        .usage, "The field `at` is no time: \(text.prefix(40))",
        howToClear: "Send \"02:00\" (the device's own time) or \"2027-05-01T02:00:00Z\".",
        pointer: "/at")
    }
    guard time > now, time <= now + horizon * 3600 else {
      throw Failure(
        .usage, "The field `at` is in the past, or more than \(Int(horizon / 24)) days ahead.",
        howToClear: "Check the device's clock, and send a time to come.", pointer: "/at")
    }
    return (time, nil)
  }

  // MARK: Keeping it

  /// Reads what was scheduled before the restart.
  func loadSchedule() {
    let file = ScheduleFile(stateDirectory: settings.stateDirectory)
    do throws(Failure) {
      scheduled = try file.read()
      reviewClock()
      watchSchedule()
    } catch {
      logger.error("\(error.message)")
      do throws(Failure) {
        try file.setAside()
      } catch {
        logger.error("\(error.message)")
      }
      // What it was nobody knows: as a consent that has lapsed, somebody hears of it.
      scheduled = ScheduleFile.Document(
        schedule: Schedule(
          action: .window, version: lastState?.plan?.to.description ?? "unknown",
          requestedBy: "unknown", createdAt: Timestamp.now()))
      lapse(error.message)
    }
  }

  /// A clock that was set back while chock did not run must not make a consent last longer than it was given
  /// for.
  private func reviewClock() {
    guard let schedule, schedule.action == .window, schedule.lapsedReason == nil,
      let created = seconds(schedule.createdAt), let at = seconds(schedule.at)
    else { return }
    let now = UpdateLocks.now
    // A clock is set right by some seconds now and then.
    if created > now + 60 || at > now + (Self.horizon + 1) * 3600 {
      lapse(Self.clockWasSetBack)
    }
  }

  private static let clockWasSetBack = "The device's clock was set back."

  private func keep(_ document: ScheduleFile.Document?) throws(Failure) {
    try FileSystem.makeFolder(settings.stateDirectory)
    try ScheduleFile(stateDirectory: settings.stateDirectory).write(document)
    scheduled = document
    inTheWay = nil
    tryAgainAt = nil
    watchSchedule()
    publishState()
  }

  /// Looks at the clock now and then: it may be set at any time.
  private func watchSchedule() {
    scheduleWatch?.cancel()
    scheduleWatch = nil
    guard isServed, let schedule, schedule.lapsedReason == nil, let at = seconds(schedule.at)
    else { return }
    // A clock that is set back must not make a consent last longer than it was given for.
    let end = (seconds(schedule.until) ?? at) - UpdateLocks.now
    let deadline = ContinuousClock.now + .seconds(max(0, end) + 60)
    scheduleWatch = Task {
      while !Task.isCancelled {
        let left = max(1, min(30, at - UpdateLocks.now))
        try? await Task.sleep(for: .seconds(UpdateLocks.now < at ? left : 10))
        guard !Task.isCancelled else { return }
        if ContinuousClock.now > deadline, let until = seconds(schedule.until),
          UpdateLocks.now < until
        {
          return lapse(Self.clockWasSetBack)
        }
        startWhatIsDue()
      }
    }
  }

  private func seconds(_ text: String?) -> Double? { Schedule.seconds(text) }

  /// A consent does not outlive the device or the token that it came from, nor that of who approved it.
  private func reviewCredentials() {
    guard let document = scheduled, document.schedule.lapsedReason == nil else { return }
    func isGone(_ id: String?) -> Bool { id.map { !access.hasCredential($0) } ?? false }
    if isGone(document.credential) {
      lapse("The device or program that it came from was removed.")
    } else if isGone(document.approver) {
      lapse("The device of the person who approved it was removed.")
    }
  }

  /// What can be said of a schedule in view of what the files say now.
  func reviewSchedule(_ plan: Plan?) {
    reviewCredentials()
    guard let schedule, current == nil, let plan else { return }
    // What it was about is done, or there is something newer to decide about.
    let isOther = plan.to.description != schedule.version
    if plan.steps.isEmpty || (schedule.action != .window && isOther) {
      try? keep(nil)
    } else if let document = scheduled, document.goal == .newest, schedule.action == .window,
      schedule.lapsedReason == nil, document.planHash != Self.consentHash(of: plan, history)
    {
      lapse(Failure.planChanged.message)
    }
  }

  /// Starts the update of a window that has come, or reminds.
  func keepSchedule() {
    reviewCredentials()
    guard var document = scheduled, document.schedule.lapsedReason == nil,
      let at = seconds(document.schedule.at), UpdateLocks.now >= at
    else { return }
    guard document.schedule.action == .window, let until = seconds(document.schedule.until) else {
      if document.schedule.action == .remind {
        lastReminder = document.schedule.createdAt
        try? keep(nil)
        offer()
      }
      return
    }
    guard UpdateLocks.now < until else {
      return lapse(
        inTheWay
          ?? "chock did not run in the window, or the device's clock was wrong.")
    }
    guard current == nil, !isMending, recoveryMode == nil else {
      inTheWay = recoveryMode?.message ?? "Another run was active."
      return
    }
    if let tryAgainAt, now() < tryAgainAt { return }
    judge(forTechnician: document.isTechnician)
    guard verdict.isSafe else {
      inTheWay = verdict.blockers.map(\.reason).joined(separator: " ")
      return
    }
    if let obstacle = passingObstacle(to: document.goal) {
      inTheWay = obstacle.message
      return
    }
    let request = UpdateRequest(
      planHash: document.planHash, consent: true, goal: document.goal, inputs: document.inputs,
      requestedBy: "\(document.schedule.requestedBy), scheduled",
      isTechnician: document.isTechnician)
    do throws(Failure) {
      // Used once, whatever happens now: what is written first is what a power cut leaves behind.
      document.schedule.lapsedReason = "chock was interrupted while it started the update."
      try ScheduleFile(stateDirectory: settings.stateDirectory).write(document)
      let run = try startUpdate(request)
      try keep(nil)
      document.schedule.lapsedReason = nil
      scheduledRun = (run.id, document)
    } catch  where Self.passing.contains(error.code) {
      document.schedule.lapsedReason = nil
      tryOnceMore(document, error)
    } catch {
      lapse(error.message)
    }
  }

  /// What keeps a run from starting now, and will not for ever: seen without starting one.
  private func passingObstacle(to goal: Goal) -> Failure? {
    let lock = try? RunLock(folder: settings.stateDirectory)
    guard lock != nil else { return Failure.runActive }
    let problem = withExtendedLifetime(lock) { DatabaseState(settings, goal: goal).problem }
    return problem?.code == .databaseLocked ? problem : nil
  }

  /// A scheduled run that has ended without having done anything is tried again within its window.
  func reviewScheduledRun(_ run: RunDocument) {
    guard let (id, document) = scheduledRun, id == run.id else { return }
    scheduledRun = nil
    guard scheduled == nil, let error = run.error, Self.passing.contains(error.code),
      run.outcome == .refused || (run.outcome == .rolledBack && error.code == .databaseLocked)
    else { return }
    tryOnceMore(document, error)
    // Each try is a run of its own, and somebody is told of it.
    tryAgainAt = now() + .seconds(300)
  }

  /// What is in the way now, and may not be in a while.
  private static let passing: [Failure.Code] = [
    .gateClosed, .databaseLocked, .runActive, .noSpace,
  ]

  private func tryOnceMore(_ document: ScheduleFile.Document, _ error: Failure) {
    do throws(Failure) {
      try keep(document)
      inTheWay = error.message
    } catch {
      lapse(error.message)
    }
  }

  private func lapse(_ reason: String) {
    guard var document = scheduled else { return }
    document.schedule.lapsedReason = reason
    logger.warning("The scheduled update did not start: \(reason)")
    do throws(Failure) {
      try keep(document)
    } catch {
      logger.error("That could not be written down: \(error.message)")
      scheduled = document
    }
    events.publish(.log) { $0.message = "The scheduled update did not start: \(reason)" }
  }
}
