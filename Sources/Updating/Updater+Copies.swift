import FoundationEssentials
import Logging
public import Migrations
public import Storage

// Copies of snapshots at other places: beside the runs, one at a time, each by a worker with a limit of time.
extension Updater {
  /// How long until what could not be copied is tried again.
  private static let pause = Duration.seconds(900)

  /// What is known of the places, from when chock last was there: nobody who asks waits for a stick or a network.
  public func copies(withSnapshots: Bool = true) -> [CopyPlaceDocument] {
    settings.copies.map { place in
      let state = copiesState[place.name]
      return CopyPlaceDocument(
        place: place.name, isCopying: errand?.place == place.name, lastCopyAt: state.lastCopyAt,
        lastCopyId: state.lastCopyId, lastCopyAgeSeconds: Self.age(of: state.lastCopyAt),
        attemptedAt: state.attemptedAt, problem: state.problem, seenAt: state.seenAt,
        snapshots: withSnapshots ? state.snapshots : nil)
    }
  }

  private static func age(of timestamp: String?) -> Double? {
    guard let then = timestamp.flatMap(Timestamp.date), then <= Date() else { return nil }
    return Date().timeIntervalSince(then)
  }

  // MARK: By itself

  /// From now on each snapshot is copied when nothing else is done.
  public func startCopies() {
    copiesByItself = true
    copyWhatIsMissing()
  }

  func copyWhatIsMissing() {
    copyAgain?.cancel()
    guard errand == nil else {
      isCopyWanted = true
      return
    }
    guard copiesByItself, mayCopy, settings.copies.contains(where: isDue) else { return }
    enqueue { updater in await updater.copyToAll() }
  }

  private var mayCopy: Bool { !isShuttingDown && recoveryMode == nil && current == nil }

  /// Something here belongs there, as far as it is known, or was left half done.
  private func isDue(_ place: CopyPlace) -> Bool {
    let state = copiesState[place.name]
    if state.isUnfinished { return true }
    let missing = try? SnapshotCopies.missing(
      in: store, of: settings.databasePath, owner: copiesState.controller, place.retention,
      beside: state.snapshots)
    return missing?.isEmpty == false
  }

  private func copyToAll() async {
    for place in settings.copies where isDue(place) && mayCopy {
      _ = await copy(
        nil, to: place, order(.copy, requestedBy: "idle"), isAutomatic: true)
    }
    if isCopyWanted {
      isCopyWanted = false
      return copyWhatIsMissing()
    }
    guard mayCopy, settings.copies.contains(where: isDue) else { return }
    copyAgain = Task {
      try? await Task.sleep(for: Self.pause)
      if !Task.isCancelled { copyWhatIsMissing() }
    }
  }

  // MARK: When somebody asks

  /// Copies now to each place: one snapshot, or what is missing there.
  ///
  /// - Throws: `.copyPlace` where the config names no place, `.notFound`.
  public func startCopy(of id: String?, requestedBy: String) throws(Failure) -> RunDocument {
    guard !settings.copies.isEmpty else {
      throw Failure(
        .copyPlace, "The config names no place for copies of snapshots.",
        howToClear: "Add one: [[snapshots.copies]] with a label or a path.")
    }
    if let id {
      try store.find(id).document.checkBelongs(to: settings.databasePath)
    }
    let order = order(.copy, requestedBy: requestedBy) { $0.snapshot = id }
    return start(order) { updater in
      var ended = RunDocument(
        id: order.run, kind: .copy, startedAt: Timestamp.now(), requestedBy: requestedBy)
      ended.snapshotId = id
      ended.outcome = .finished
      var failures: [Failure] = []
      for place in updater.settings.copies {
        let run = await updater.copy(id, to: place, order, isAutomatic: false)
        if let error = run.error { failures.append(error) }
      }
      if let first = failures.first {
        ended.outcome = .refused
        ended.error = first
        ended.warnings = failures.count > 1 ? Array(failures.dropFirst()) : nil
      }
      return ended
    }
  }

  /// Fetches a snapshot from a place into the own folder, as one that somebody else may have made.
  ///
  /// - Parameters:
  ///   - id: nil: only looks what there is.
  ///   - name: the label or path; one of the config, unless `isAnyPlace`.
  /// - Throws: `.notFound`, `.notAllowed` for a place that the config does not name.
  public func startFetch(
    of id: String?, from name: String, isAnyPlace: Bool, requestedBy: String
  ) throws(Failure) -> RunDocument {
    let known = settings.copies.first { $0.name == name }
    guard known != nil || isAnyPlace else {
      throw Failure(
        .notAllowed, "The config names no place \(name.prefix(200)) for copies of snapshots.",
        howToClear: "`chock restore --from PLACE:ID` on the device takes any.", pointer: "/place")
    }
    guard let kind = known?.kind ?? CopyPlace.kind(named: name) else {
      throw Failure(
        .notFound, "\(name.prefix(200)) is neither a path nor a label.",
        howToClear: "Such as /media/stick, or the label of a stick.", pointer: "/place")
    }
    let place =
      known ?? CopyPlace(kind, requiresMount: false, retention: settings.retention)
    let order = order(.fetch, requestedBy: requestedBy) {
      $0.snapshot = id
      $0.place = place
    }
    return start(order) { updater in
      await updater.errand(order, at: place, isAutomatic: false) { _ in }
    }
  }

  /// What a fetch without an id has found.
  public func found(by run: String) -> [SnapshotDocument] { finds[run] ?? [] }

  /// Begins what somebody asks for: it has a document as a run has, and keeps no run from beginning.
  private func start(
    _ order: WorkOrder, _ body: @escaping @Sendable (isolated Updater) async -> RunDocument
  ) -> RunDocument {
    let document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    errands = errands.filter { $0.outcome == nil } + errands.filter { $0.outcome != nil }.suffix(16)
    errands.append(document)
    enqueue { updater in
      var ended = await body(updater)
      ended.id = document.id
      ended.startedAt = document.startedAt
      ended.endedAt = Timestamp.now()
      ended.cancellable = false
      updater.keep(ended)
      updater.copyWhatIsMissing()
    }
    return document
  }

  private func keep(_ ended: RunDocument) {
    update(ended.id) { $0 = ended }
    do throws(Failure) {
      if ended.snapshotId != nil || ended.kind == .copy {
        try history.save(
          run: ended.id, startedAt: ended.startedAt, document: try JSON.text(ended))
      }
    } catch {
      logger.warning("The run could not be written into the history: \(error.message)")
    }
  }

  private func update(_ id: String, _ change: (inout RunDocument) -> Void) {
    guard let index = errands.firstIndex(where: { $0.id == id }) else { return }
    change(&errands[index])
  }

  /// One after the other.
  private func enqueue(_ body: @escaping @Sendable (isolated Updater) async -> Void) {
    copying = Task { [before = copying] in
      await before?.value
      guard !isShuttingDown else { return }
      await body(self)
    }
  }

  // MARK: One place

  private func copy(
    _ id: String?, to place: CopyPlace, _ order: WorkOrder, isAutomatic: Bool
  ) async -> RunDocument {
    let name = place.name
    var order = order
    order.snapshot = id
    order.place = place
    order.controller = copiesState.controller
    // As if it failed: whoever is killed in it leaves that.
    change(name) {
      $0.attemptedAt = Timestamp.now()
      $0.isUnfinished = true
    }
    let run = await errand(order, at: place, isAutomatic: isAutomatic) { [weak self] report in
      await self?.note(report, of: name)
    }
    let before = copiesState[name].problem
    change(name) {
      $0.isUnfinished = run.outcome != .finished
      // That it was stopped says nothing about the place.
      if run.error?.code != .stopped { $0.problem = run.error }
    }
    tell(of: name, before: before)
    if isServed { publishState() }
    return run
  }

  private func change(_ name: String, _ change: (inout CopiesState.Place) -> Void) {
    change(&copiesState[name])
    do throws(Failure) {
      try FileSystem.makeFolder(settings.stateDirectory)
      try copiesState.write(settings.stateDirectory)
    } catch {
      logger.warning("What is known of copies elsewhere could not be written: \(error.message)")
    }
  }

  private func note(_ report: PlaceReport, of name: String) {
    change(name) {
      $0.seenAt = Timestamp.now()
      $0.snapshots = report.snapshots
      guard let id = report.copied else { return }
      $0.lastCopyAt = Timestamp.now()
      $0.lastCopyId = id
      $0.problem = nil
    }
  }

  /// Says what has changed: a stick that is away for a month is told once.
  private func tell(of name: String, before: Failure?) {
    let state = copiesState[name]
    guard before?.code != state.problem?.code else { return }
    guard let problem = state.problem else {
      logger.info("Snapshots are copied to \(name) again.")
      return
    }
    let text =
      "Copies of snapshots at \(name): \(problem.message) The last copy there: \(state.lastCopyAt ?? "none")."
    logger.warning("\(text)", metadata: ["code": "\(problem.code.rawValue)"])
    events.publish(.log) { $0.message = text }
  }

  // MARK: The worker

  /// What is done at a place at the moment.
  struct Errand {
    var place: String
    var process: WorkerProcess
    var isAutomatic: Bool
    /// Nil: it does not end although it was killed.
    var end: AsyncStream<WorkerProcess.End?>.Continuation
    var limit: Task<Void, Never>?
  }

  /// Lets a worker do it. One that is not done in time is killed; one that cannot even be killed, since it hangs in a
  /// network mount, is left to itself, and its place alone until it ends.
  private func errand(
    _ order: WorkOrder, at place: CopyPlace, isAutomatic: Bool,
    _ receive: @escaping @Sendable (PlaceReport) async -> Void
  ) async -> RunDocument {
    let name = place.name
    var document = RunDocument(
      id: order.run, kind: order.kind, startedAt: Timestamp.now(), requestedBy: order.requestedBy)
    func refused(_ failure: Failure) -> RunDocument {
      document.outcome = .refused
      document.error = failure
      return document
    }
    guard !stuck.contains(name) else { return refused(Self.hangs(place)) }
    let process = WorkerProcess(order, executable: executable)
    let (ends, end) = AsyncStream<WorkerProcess.End?>.makeStream()
    errand = Errand(place: name, process: process, isAutomatic: isAutomatic, end: end)
    stuck.insert(name)
    limitErrand(to: .seconds(place.timeoutSeconds), because: Self.hangs(place))
    Task {
      let ended = await process.run { [weak self] message in
        switch message {
        case .place(let report):
          await self?.found(report, by: order.run)
          await receive(report)
          await self?.limitErrand(
            to: .seconds(place.timeoutSeconds), because: Self.hangs(place), of: process)
        case .progress(let progress): await self?.show(progress, of: order.run)
        default: break
        }
      }
      stuck.remove(name)
      end.yield(ended)
      end.finish()
    }
    var ended: WorkerProcess.End?
    for await value in ends {
      ended = value
      break
    }
    errand?.limit?.cancel()
    errand = nil
    guard let ended else { return refused(Self.hangs(place)) }
    return ended.result
      ?? refused(
        ended.cause
          ?? Failure(
            .interrupted, "What copied snapshots at \(name) ended unexpectedly (\(ended.words)).",
            howToClear: "`chock snapshots copy` tries again."))
  }

  private static func hangs(_ place: CopyPlace) -> Failure {
    Failure(
      .copyPlace, "\(place.name) was too slow: it was not done in \(place.timeoutSeconds) seconds.",
      howToClear:
        "Look whether the stick or the network answers; timeout_seconds of [[snapshots.copies]] gives it more time."
    )
  }

  /// Kills the worker when nothing has come to an end for so long.
  private func limitErrand(
    to duration: Duration, because reason: Failure, of process: WorkerProcess? = nil
  ) {
    guard let current = errand, process == nil || process === current.process else { return }
    current.limit?.cancel()
    errand?.limit = Task {
      try? await Task.sleep(for: duration)
      guard !Task.isCancelled else { return }
      current.process.kill(because: reason)
      try? await Task.sleep(for: WorkerProcess.grace)
      guard !Task.isCancelled else { return }
      current.end.yield(nil)
      current.end.finish()
    }
  }

  private func found(_ report: PlaceReport, by run: String) {
    finds = finds.filter { id, _ in errands.contains { $0.id == id } }
    finds[run] = report.snapshots
  }

  private func show(_ progress: WorkerProgress, of run: String) {
    update(run) {
      $0.message = progress.message
      $0.done = progress.done
      $0.total = progress.total
    }
  }

  /// A run begins: what is copied by itself goes on when it has ended.
  func interruptCopies() {
    copyAgain?.cancel()
    guard let errand, errand.isAutomatic else { return }
    errand.process.stop(Failure(.stopped, "Another run begins."))
  }

  func endCopies() async {
    copyAgain?.cancel()
    errand?.process.stop(Failure(.stopped, "The daemon was told to stop."))
    limitErrand(to: WorkerProcess.grace, because: Self.daemonStops)
    await copying?.value
  }
}
