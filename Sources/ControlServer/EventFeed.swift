import Migrations
import ServiceLifecycle
import Storage
import Updating

/// What one listener gets over Server-Sent Events: the state, what it missed, then everything live.
struct EventFeed {
  enum Item: Sendable {
    case event(PublishedEvent)
    /// Time for a sign of life.
    case tick
  }

  /// The state first; its number is the one that the following events go on from.
  let opening: [PublishedEvent]
  /// Ends when the listener is too slow or the server stops.
  private let live: EventHub.Subscription<Item>
  private let tick: Duration

  static func open(_ updater: Updater, since: UInt64?, tick: Duration) async -> EventFeed {
    let live = updater.events.subscribe(since: since) { Item.event($0) }
    let opening = await opening(updater, live.backlog)
    return EventFeed(opening: opening, live: live, tick: tick)
  }

  /// What a listener hears first: the state, then what it missed.
  ///
  /// - Parameter backlog: of a subscription that has begun. Subscribed first, asked second: an event in
  ///   between comes twice in content, but never not at all.
  static func opening(_ updater: Updater, _ backlog: EventHub.Backlog) async -> [PublishedEvent] {
    let before = backlog.events.first.map { $0.seq - 1 } ?? backlog.lastSeq
    var state = Event(seq: before, at: Timestamp.now(), type: .state)
    state.status = await updater.status()
    var opening = [PublishedEvent(state)]
    if backlog.gap {
      var gap = Event(seq: before, at: Timestamp.now(), type: .gap)
      gap.message = "Some events since the last visit are no longer kept. The state is complete."
      opening.append(PublishedEvent(gap))
    }
    return opening + backlog.events
  }

  /// Calls `body` for each item until the feed, the server or the task ends; returns when it may go
  /// on no more.
  func each(_ body: (Item) async throws -> Void) async throws {
    let end = live.continuation
    let clock = Task {
      while (try? await Task.sleep(for: tick)) != nil { end.yield(.tick) }
    }
    defer {
      clock.cancel()
      end.finish()
    }
    try await withGracefulShutdownHandler {
      for event in opening { try await body(.event(event)) }
      for await item in live.events { try await body(item) }
    } onGracefulShutdown: {
      end.finish()
    }
  }
}
