import Glibc
import Migrations
import Updating

/// systemd's notification socket (sd_notify(3)); nothing where there is none.
struct ServiceManager: Sendable {
  private let path: String?
  /// How often the unit's watchdog wants to hear of the daemon; nil when it has none
  /// (sd_watchdog_enabled(3)).
  let heartbeat: Duration?

  init() {
    let environment = { name in getenv(name).map { String(cString: $0) } }
    path = environment("NOTIFY_SOCKET")
    let isOurs = environment("WATCHDOG_PID").map { Int32($0) == getpid() } ?? true
    // Half of it, as sd_watchdog_enabled(3) recommends.
    heartbeat =
      isOurs
      ? environment("WATCHDOG_USEC").flatMap(Int64.init).map { .microseconds(max(1, $0 / 2)) } : nil
  }

  /// What `systemctl status` shows while nothing is done.
  func words(of status: StatusDocument) -> String {
    guard status.mode == .recovery else { return "Ready" }
    return "\(Self.recovery): \(status.problem?.message ?? "a person is needed")"
  }

  private static let recovery = "Recovery mode"

  /// What `systemctl status` shows behind an event, and after what was told last; nil for no news.
  func words(of event: PublishedEvent, after told: String) -> String? {
    // Read only for somebody.
    guard path != nil, let event = event.event else { return nil }
    if let status = event.status {
      // How the last run ended stays.
      let isOfMode = status.mode == .recovery || told.hasPrefix(Self.recovery)
      return isOfMode ? words(of: status) : nil
    }
    if let outcome = event.result?.outcome { return "Last run: \(outcome.rawValue)" }
    guard let phase = event.phase else { return nil }
    let percent = event.fraction.map { ", \(Int($0 * 100)) %" } ?? ""
    return "Run in progress: \(phase.rawValue)\(percent)"
  }

  /// Says the message every so often until the task is cancelled, each time after the supervisor has
  /// answered: a daemon whose supervisor hangs falls silent.
  func tell(_ message: String, every interval: Duration, as updater: Updater) async {
    while !Task.isCancelled {
      await updater.answer()
      tell(message)
      try? await Task.sleep(for: interval)
    }
  }

  /// While `work` lasts, a start or a stop may take longer than the unit's timeouts say.
  func extendingTimeout<Problem: Error>(
    _ updater: Updater, while work: () async throws(Problem) -> Void
  ) async throws(Problem) {
    guard path != nil else { return try await work() }
    let patience = Task {
      await tell("EXTEND_TIMEOUT_USEC=30000000", every: .seconds(10), as: updater)
    }
    defer { patience.cancel() }
    try await work()
  }

  func tell(_ message: String) {
    if let path { Datagram.send(Array(message.utf8), to: path, waits: true) }
  }
}
