import Storage
import Synchronization

/// Numbers the events of this process, keeps the recent past, and hands every event to every
/// subscriber.
///
/// Nobody waits for a subscriber: one that falls too far behind is dropped and resumes by its last
/// number.
public final class EventHub: Sendable {
  /// Events that one subscriber may be behind before it is dropped.
  public static let subscriberCapacity = 1024

  private let capacity: Int
  private let firstSeq: UInt64
  private let state: Mutex<State>

  private struct State {
    var nextSeq: UInt64
    /// A ring: number n is at (n - firstSeq) modulo the capacity.
    var recent: [Event] = []
    var subscribers: [UInt64: AsyncStream<Event>.Continuation] = [:]
    var nextSubscriber: UInt64 = 0
  }

  /// - Parameters:
  ///   - capacity: how many events are kept for those who come back.
  ///   - firstSeq: the number of the first event, at least 1; above every number of the process
  ///     before, so that a client can never mistake one life for another.
  public init(capacity: Int = 1024, firstSeq: UInt64) {
    self.capacity = max(1, capacity)
    self.firstSeq = max(1, firstSeq)
    state = Mutex(State(nextSeq: max(1, firstSeq)))
  }

  /// The number of the newest event; one below the first number before there is any.
  public var lastSeq: UInt64 { state.withLock { $0.nextSeq - 1 } }

  /// Gives the event its number and time and hands it out. Returns at once.
  @discardableResult
  public func publish(_ type: Event.EventType, fill: (inout Event) -> Void = { _ in }) -> Event {
    var event = Event(seq: 0, at: Timestamp.now(), type: type)
    fill(&event)
    let (published, dropped) = state.withLock { state in
      event.seq = state.nextSeq
      state.nextSeq += 1
      let position = Int((event.seq - firstSeq) % UInt64(capacity))
      if position < state.recent.count {
        state.recent[position] = event
      } else {
        state.recent.append(event)
      }
      var dropped: [AsyncStream<Event>.Continuation] = []
      for (id, subscriber) in state.subscribers {
        if case .enqueued = subscriber.yield(event) { continue }
        state.subscribers[id] = nil
        dropped.append(subscriber)
      }
      return (event, dropped)
    }
    // Outside of the lock: finishing calls the stream's termination handler, which takes it again.
    for subscriber in dropped { subscriber.finish() }
    return published
  }

  /// What a subscriber gets.
  public struct Subscription: Sendable {
    /// The kept events after `since`, oldest first; `events` goes on right behind them.
    public let backlog: [Event]
    /// True when `since` cannot be resumed: older than what is kept, or a number that was never
    /// given out.
    public let gap: Bool
    /// The newest number when the subscription began.
    public let lastSeq: UInt64
    /// Ends when the subscriber was too slow.
    public let events: AsyncStream<Event>
  }

  /// Backlog and live events, joined without a loss or a double.
  ///
  /// - Parameter since: the last number that the subscriber has seen; nil for live events only.
  public func subscribe(since: UInt64?) -> Subscription {
    let (stream, continuation) = AsyncStream.makeStream(
      of: Event.self, bufferingPolicy: .bufferingOldest(Self.subscriberCapacity))
    return state.withLock { state in
      let id = state.nextSubscriber
      state.nextSubscriber += 1
      state.subscribers[id] = continuation
      continuation.onTermination = { [weak self] _ in self?.unsubscribe(id) }

      let last = state.nextSeq - 1
      guard let since else {
        return Subscription(backlog: [], gap: false, lastSeq: last, events: stream)
      }
      guard since <= last, last - since <= UInt64(state.recent.count) else {
        return Subscription(backlog: [], gap: true, lastSeq: last, events: stream)
      }
      let backlog = (since..<last).map { before in
        state.recent[Int((before + 1 - firstSeq) % UInt64(capacity))]
      }
      return Subscription(backlog: backlog, gap: false, lastSeq: last, events: stream)
    }
  }

  private func unsubscribe(_ id: UInt64) {
    state.withLock { $0.subscribers[id] = nil }
  }
}
