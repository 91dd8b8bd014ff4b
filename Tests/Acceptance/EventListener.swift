import ControlServer
import Synchronization
import TestSupport
import Updating

/// Hears what the event stream of a daemon tells, from now on.
final class EventListener: Sendable {
  private final class Heard: Sendable {
    let events = Mutex<[Event]>([])
  }

  private let heard: Heard
  private let task: Task<Void, any Error>

  init(_ daemon: Daemon) async throws {
    let (heard, client) = (Heard(), ControlClient(socketPath: daemon.socket))
    self.heard = heard
    task = Task {
      for try await event in client.events() { heard.events.withLock { $0.append(event) } }
    }
    try await waitUntil("the stream has begun") { !heard.events.withLock(\.isEmpty) }
  }

  deinit { task.cancel() }

  /// The state as it was at first, and everything since.
  var events: [Event] { heard.events.withLock { $0 } }
}
