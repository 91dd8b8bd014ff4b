import CoachSources
import Glibc
import Logging
import Migrations
import ServiceLifecycle
import Storage
import Updating

/// Who is told, outside of the coach, of what an owner wants to know though nobody looks at the panel.
struct NotifyConfig: Sendable {
  /// Gets a ``Notice`` as JSON.
  var url: String?
  /// A topic of ntfy, or of what speaks as it does: the message as text, with Title, Priority and Tags.
  var ntfyURL: String?
  /// Holds a bearer token for both.
  var tokenFile: String?
  var events = Set(Notice.Event.allCases)
}

/// One thing to tell.
struct Notice: Codable, Sendable, Equatable {
  enum Event: String, Codable, Sendable, CaseIterable {
    case updateAvailable = "update_available"
    case done, failed
    case needsPerson = "needs_person"
    /// Snapshots could not be copied to another place.
    case copyFailed = "copy_failed"
    /// The application makes more errors than before the update.
    case moreErrors = "more_errors"
  }

  var schema = "chock.NOTICE/1"
  var event: Event
  var at: String
  /// The name of the machine.
  var coach: String
  var title: String
  var message: String
  var run: String?

  init(_ event: Event, _ title: String, _ message: String, run: String? = nil) {
    self.event = event
    self.title = title
    self.message = message
    self.run = run
    at = Timestamp.now()
    var name = [CChar](repeating: 0, count: 256)
    coach =
      gethostname(&name, name.count - 1) == 0
      ? String(decoding: name.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : ""
  }
}

/// Follows the events, and tells what happens. A coach is offline for days: what does not arrive is kept
/// and tried again.
struct Notifier: Service {
  let updater: Updater
  let post: NoticePost
  /// The number of the last event before the updater was started.
  let start: UInt64

  func run() async throws {
    guard post.isWanted else {
      await post.forget()
      try? await gracefulShutdown()
      return
    }
    await post.start()
    // Results of the daemon's lives before that were not told any more are still kept under their numbers.
    var last = await post.lastResult ?? start
    await tell(of: await updater.status())
    // A stream ends when this is too slow for it.
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      let subscription = updater.events.subscribe(
        since: last, only: [.state, .result, .updateAvailable])
      for event in subscription.backlog.events {
        last = event.seq
        await tell(of: event)
      }
      for await event in subscription.events.cancelOnGracefulShutdown() {
        last = event.seq
        await tell(of: event)
      }
    }
    await post.stop()
  }

  private func tell(of event: PublishedEvent) async {
    switch event.type {
    case .updateAvailable:
      // That it is there is told of the status; only a reminder tells it once more.
      guard let reminder = await updater.lastReminder else { return }
      await post.tell(
        Notice(.updateAvailable, "Update available", event.event?.message ?? ""),
        once: "reminder \(reminder)")
    case .state: if let status = event.event?.status { await tell(of: status) }
    case .result:
      if let run = event.event?.result { await post.tell(notice(of: run), result: event.seq) }
    default: break
    }
  }

  /// What is so already when chock starts, or comes about without a run.
  private func tell(of status: StatusDocument) async {
    if status.needsUpdate, status.schedule == nil, status.run?.outcome == nil,
      let target = status.targetVersion
    {
      await post.tell(
        Notice(
          .updateAvailable, "Update available",
          "Version \(target) is ready to be installed (now: \(status.currentVersion ?? "none"))."),
        once: "version \(target)")
    }
    if let schedule = status.schedule, let reason = schedule.lapsedReason {
      await post.tell(
        Notice(.failed, "The scheduled update did not start", reason),
        once: "schedule \(schedule.createdAt)")
    }
    for copy in status.copies {
      guard let problem = copy.problem else { continue }
      let last = copy.lastCopyAt ?? "none"
      // Once, until a copy has arrived there again.
      await post.tell(
        Notice(
          .copyFailed, "Snapshots are not copied",
          "\(copy.place): \(problem.message) The last copy there: \(last)."),
        once: "copies \(copy.place) \(last)")
    }
    if let watch = status.errorWatch, let run = watch.run {
      for counter in watch.counters {
        guard let warning = counter.warning else { continue }
        await post.tell(
          Notice(
            .moreErrors, "More errors since the update",
            "\(warning.message) \(warning.howToClear ?? "")", run: run),
          once: "errors \(run) \(counter.url ?? "") \(counter.name)")
      }
    }
    if status.mode == .recovery, let problem = status.problem {
      await post.tell(
        Notice(.needsPerson, "A technician is needed", problem.message),
        once: "recovery \(problem.message)")
    }
  }

  /// Nil for a run that is no news.
  private func notice(of run: RunDocument) -> Notice? {
    guard RunKind.changing.contains(run.kind) else { return nil }
    let name = run.kind.rawValue
    let versions = [run.fromVersion, run.toVersion].compactMap { $0 }.joined(separator: " -> ")
    let why = run.error.map { "\($0.message) \($0.howToClear ?? "")" } ?? ""
    switch run.outcome {
    case .committed, .finished:
      return Notice(.done, "The \(name) is done", versions, run: run.id)
    case .restored where run.kind == .restore:
      return Notice(.done, "The restore is done", versions, run: run.id)
    case .needsRecovery:
      return Notice(.needsPerson, "A technician is needed", why, run: run.id)
    case .rolledBack, .restored:
      return Notice(
        .failed, "The \(name) failed; everything is as it was before", why, run: run.id)
    case .refused: return Notice(.failed, "The \(name) did not start", why, run: run.id)
    case .nothingToDo, nil: return nil
    }
  }
}

/// Sends notices in their order, and keeps what has not arrived in a file.
actor NoticePost {
  private struct Document: Codable {
    /// What has been told of a state that lasts.
    var told: [String] = []
    /// The number of the last result that was looked at.
    var lastResult: UInt64?
    var waiting: [Letter] = []
  }

  private struct Letter: Codable, Equatable {
    enum Address: String, Codable { case url, ntfy }
    var notice: Notice
    var to: Address
  }

  private let config: NotifyConfig
  private let path: String
  private let logger: Logger
  private var document: Document
  private var sending: Task<Void, Never>?
  /// Until the next try.
  private var pause: Task<Void, Never>?
  /// Something came while others were sent.
  private var hasNews = false
  /// The oldest are given up first.
  private static let limit = 64

  init(_ config: NotifyConfig, stateDirectory: String, logger: Logger) {
    self.config = config
    self.logger = logger
    let path = stateDirectory + "/notices.json"
    self.path = path
    var found = Document()
    do {
      if let bytes = try FileSystem.read(path) {
        found = try JSON.decode(Document.self, from: bytes)
      }
    } catch {
      logger.warning("\(path) cannot be read: what was still to be told is lost.")
    }
    document = found
  }

  /// Goes on with what did not arrive before the restart.
  func start() { goOn() }

  var lastResult: UInt64? { document.lastResult }

  /// Nobody is to be told: who is named later does not get what is old by then.
  func forget() {
    do throws(Failure) {
      try FileSystem.remove(path)
    } catch {
      logger.error("\(path) could not be removed: \(error.message)")
    }
  }

  nonisolated var isWanted: Bool { config.url != nil || config.ntfyURL != nil }

  /// - Parameter state: what lasts, and is told once, also over restarts.
  func tell(_ notice: Notice, once state: String? = nil) {
    if let state {
      guard config.events.contains(notice.event), !document.told.contains(state) else { return }
      document.told = (document.told + [state]).suffix(Self.limit)
    }
    add(notice)
    save()
    goOn()
  }

  /// - Parameter seq: the number of the result that it is about; noted together with it, so that each is told
  ///   over a kill, too.
  func tell(_ notice: Notice?, result seq: UInt64) {
    document.lastResult = seq
    if let notice { add(notice) }
    save()
    goOn()
  }

  private func add(_ notice: Notice) {
    guard config.events.contains(notice.event) else { return }
    if config.url != nil { document.waiting.append(Letter(notice: notice, to: .url)) }
    if config.ntfyURL != nil { document.waiting.append(Letter(notice: notice, to: .ntfy)) }
    document.waiting = document.waiting.suffix(Self.limit)
  }

  /// At once, also when an earlier one waits for its next try. What is on its way is let arrive: broken off,
  /// it would be sent twice.
  private func goOn() {
    hasNews = true
    pause?.cancel()
    if sending == nil { sending = Task { await send() } }
  }

  func stop() async {
    sending?.cancel()
    pause?.cancel()
    await sending?.value
  }

  private func send() async {
    var time = Duration.seconds(30)
    while !Task.isCancelled {
      hasNews = false
      for letter in document.waiting {
        if let problem = await send(letter) {
          logger.warning("\(letter.notice.title): this was not sent: \(problem)")
        } else if let index = document.waiting.firstIndex(of: letter) {
          document.waiting.remove(at: index)
          save()
        }
        if Task.isCancelled { return }
      }
      if hasNews { continue }
      guard !document.waiting.isEmpty else { break }
      let rest = Task { [time] in _ = try? await Task.sleep(for: time) }
      pause = rest
      await rest.value
      pause = nil
      time = min(time * 2, .seconds(3600))
    }
    sending = nil
  }

  /// - Returns: why it has not arrived; nil when it has.
  private func send(_ letter: Letter) async -> String? {
    var headers: [String] = []
    if let file = config.tokenFile {
      do {
        headers.append("Authorization: Bearer \(try BearerToken.read(file))")
      } catch {
        return error.words
      }
    }
    let notice = letter.notice
    switch letter.to {
    case .url:
      guard let url = config.url, let text = try? JSON.text(notice) else { return nil }
      return await Posting.send(
        text, to: url, headers: headers + ["Content-Type: application/json"])
    case .ntfy:
      guard let url = config.ntfyURL else { return nil }
      let (priority, tag) =
        switch notice.event {
        case .updateAvailable: ("default", "arrow_up")
        case .done: ("default", "white_check_mark")
        case .failed: ("high", "warning")
        case .needsPerson: ("urgent", "rotating_light")
        case .copyFailed: ("default", "floppy_disk")
        case .moreErrors: ("high", "warning")
        }
      let title = notice.coach.isEmpty ? notice.title : "\(notice.coach): \(notice.title)"
      return await Posting.send(
        notice.message, to: url,
        headers: headers + [
          "Content-Type: text/plain; charset=utf-8", "Title: \(title)", "Priority: \(priority)",
          "Tags: \(tag)",
        ])
    }
  }

  private func save() {
    do throws(Failure) {
      try FileSystem.replace(path, with: try JSON.encode(document))
    } catch {
      logger.error("\(path) could not be written: \(error.message)")
    }
  }
}
