import Migrations
import ServiceLifecycle
import Storage
import Updating

/// What one listener gets over a WebSocket or Server-Sent Events: the state, what it missed, then
/// everything live.
struct EventFeed {
  enum Item: Sendable {
    case event(Event)
    /// Time for a sign of life.
    case tick
  }

  /// The state first; its number is the one that the following events go on from.
  let opening: [Event]
  /// Ends when the listener is too slow or the server stops.
  let live: AsyncStream<Item>
  private let end: AsyncStream<Item>.Continuation

  static func open(_ updater: Updater, since: UInt64?, tick: Duration) async -> EventFeed {
    // Subscribed first, asked second: an event in between comes twice in content, but never not at
    // all.
    let subscription = updater.events.subscribe(since: since)
    let status = await updater.status()
    let before = subscription.backlog.first.map { $0.seq - 1 } ?? subscription.lastSeq
    var state = Event(seq: before, at: Timestamp.now(), type: .state)
    state.status = status
    var opening = [state]
    if subscription.gap {
      var note = Event(seq: subscription.lastSeq, at: Timestamp.now(), type: .log)
      note.message = "Some events since the last visit are no longer kept. The state is complete."
      opening.append(note)
    }
    return EventFeed(
      opening: opening + subscription.backlog, events: subscription.events, tick: tick)
  }

  private init(opening: [Event], events: AsyncStream<Event>, tick: Duration) {
    self.opening = opening
    let (live, end) = AsyncStream.makeStream(
      of: Item.self, bufferingPolicy: .bufferingOldest(EventHub.subscriberCapacity))
    self.live = live
    self.end = end
    let pump = Task {
      for await event in events {
        guard case .enqueued = end.yield(.event(event)) else { break }
      }
      end.finish()
    }
    let clock = Task {
      while (try? await Task.sleep(for: tick)) != nil { end.yield(.tick) }
    }
    end.onTermination = { _ in
      pump.cancel()
      clock.cancel()
    }
  }

  /// Calls `body` for each item until the feed, the server or the task ends; returns when it may go
  /// on no more.
  func each(_ body: (Item) async throws -> Void) async throws {
    defer { end.finish() }
    try await withGracefulShutdownHandler {
      for event in opening { try await body(.event(event)) }
      for await item in live { try await body(item) }
    } onGracefulShutdown: {
      end.finish()
    }
  }
}
