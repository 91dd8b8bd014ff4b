import Storage
import Synchronization

/// An event with its number, as it goes out: encoded once, however many listen.
public struct PublishedEvent: Sendable {
  public let seq: UInt64
  public let type: Event.EventType
  /// The event as JSON.
  public let json: [UInt8]

  public init(_ event: Event) {
    seq = event.seq
    type = event.type
    // Only a number that is none cannot be written.
    let bare = Event(seq: event.seq, at: event.at, type: event.type)
    json = (try? JSON.encode(event)) ?? (try? JSON.encode(bare)) ?? []
  }

  private struct CoachIQMessage: Encodable {
    var seq: UInt64
    var at: String
    var type = Event.EventType.coachIQProgress
    var run: String
    var jobId: String
    var status: CoachIQProgress.Status
    var progress: Int
  }

  init(seq: UInt64, at: String, run: String, _ progress: CoachIQProgress) {
    self.seq = seq
    type = .coachIQProgress
    let message = CoachIQMessage(
      seq: seq, at: at, run: run, jobId: run, status: progress.status, progress: progress.progress)
    json = (try? JSON.encode(message)) ?? []
  }

  /// Nil when the JSON is none of ours, or for CoachIQ.
  public var event: Event? { try? JSON.decode(Event.self, from: json) }
}

/// Numbers the events of this process, keeps the recent past, and hands every event to every
/// subscriber.
///
/// Nobody waits for a subscriber: one that falls too far behind is dropped and resumes by its last
/// number. That is why more is kept than one may be behind.
public final class EventHub: Sendable {
  /// Events that one subscriber may be behind before it is dropped.
  public static let subscriberCapacity = 256
  /// Events that are kept for those who come back.
  public static let capacity = 1024
  public static let every = Set(Event.EventType.allCases)

  private let capacity: Int
  private let firstSeq: UInt64
  private let state: Mutex<State>

  private struct State {
    var numbers: EventNumbers
    /// A ring: number n is at (n - firstSeq) modulo the capacity.
    var recent: [PublishedEvent] = []
    /// Of the processes before this one, oldest first.
    var former: [PublishedEvent] = []
    var subscribers: [Subscriber] = []
    var dropped: UInt64 = 0

    var lastSeq: UInt64 { numbers.next - 1 }

    mutating func removeGone() {
      subscribers.removeAll { $0.isGone.load(ordering: .relaxed) }
    }
  }

  /// One who is handed every event until it has gone.
  public final class Subscriber: Sendable {
    /// A mark, because whoever ends it may hold what handing out waits for: a task
    /// is cancelled under its lock, and `offer` takes that lock under the hub's.
    fileprivate let isGone = Atomic(false)
    fileprivate let types: Set<Event.EventType>
    /// False when the subscriber has fallen too far behind.
    fileprivate let offer: @Sendable (PublishedEvent) -> Bool
    fileprivate let finish: @Sendable () -> Void

    fileprivate init(
      _ types: Set<Event.EventType>, offer: @escaping @Sendable (PublishedEvent) -> Bool,
      finish: @escaping @Sendable () -> Void
    ) {
      self.types = types
      self.offer = offer
      self.finish = finish
    }

    /// Nothing more is offered to it.
    public func leave() { isGone.store(true, ordering: .relaxed) }
  }

  public init(capacity: Int = EventHub.capacity, numbers: EventNumbers) {
    self.capacity = max(1, capacity)
    firstSeq = numbers.next
    state = Mutex(State(numbers: numbers))
  }

  /// The number of the newest event; one below the first number before there is any.
  public var lastSeq: UInt64 { state.withLock { $0.lastSeq } }

  /// How many subscribers there are, and how many have been dropped.
  public var listeners: (now: Int, dropped: UInt64) {
    state.withLock { state in
      state.removeGone()
      return (state.subscribers.count, state.dropped)
    }
  }

  /// Whether anybody is handed events of this type.
  public func isHeard(_ type: Event.EventType) -> Bool {
    state.withLock { state in
      state.removeGone()
      return state.subscribers.contains { $0.types.contains(type) }
    }
  }

  /// Takes in what processes before this one have published, for those who were away.
  ///
  /// - Parameter events: oldest first, with numbers below this process's first.
  func remember(_ events: [Event]) {
    let former = events.filter { $0.seq < firstSeq }.map(PublishedEvent.init)
    state.withLock { $0.former = former }
  }

  /// Gives the event its number and time and hands it out.
  ///
  /// - Returns: the number.
  @discardableResult
  public func publish(_ type: Event.EventType, fill: (inout Event) -> Void = { _ in }) -> UInt64 {
    var event = Event(seq: 0, at: Timestamp.now(), type: type)
    fill(&event)
    return publish { seq in
      event.seq = seq
      return PublishedEvent(event)
    }
  }

  /// The same for what CoachIQ's panel is told of a run.
  func publish(_ progress: CoachIQProgress, of run: String) {
    let at = Timestamp.now()
    publish { seq in PublishedEvent(seq: seq, at: at, run: run, progress) }
  }

  @discardableResult
  private func publish(_ make: (_ seq: UInt64) -> PublishedEvent) -> UInt64 {
    let (seq, dropped) = state.withLock { state in
      let seq = state.numbers.take()
      let published = make(seq)
      let position = Int((seq - firstSeq) % UInt64(capacity))
      if position < state.recent.count {
        state.recent[position] = published
      } else {
        state.recent.append(published)
      }
      state.removeGone()
      var dropped: [Subscriber] = []
      state.subscribers.removeAll { subscriber in
        if !subscriber.types.contains(published.type) || subscriber.offer(published) {
          return false
        }
        dropped.append(subscriber)
        return true
      }
      state.dropped += UInt64(dropped.count)
      return (seq, dropped)
    }
    for subscriber in dropped { subscriber.finish() }
    return seq
  }

  /// What was published before somebody subscribed.
  public struct Backlog: Sendable {
    /// The kept events after `since`, oldest first; what the subscriber is handed goes on right behind them.
    public let events: [PublishedEvent]
    /// True when events after `since` may be missing: no longer kept, of a process before this one, or
    /// `since` was never given out.
    public let gap: Bool
    /// The newest number when the subscription began.
    public let lastSeq: UInt64
  }

  /// What a subscriber gets as a stream.
  public struct Subscription<Item: Sendable>: Sendable {
    public let backlog: Backlog
    /// Ends when the subscriber was too slow, or by `continuation`.
    public let events: AsyncStream<Item>
    public let continuation: AsyncStream<Item>.Continuation
  }

  /// Backlog and live events, joined without a loss or a double.
  ///
  /// - Parameters:
  ///   - since: the last number that the subscriber has seen; nil for live events only.
  ///   - types: what it wants to be woken for.
  public func subscribe(
    since: UInt64?, only types: Set<Event.EventType> = every
  ) -> Subscription<PublishedEvent> {
    subscribe(since: since, only: types) { $0 }
  }

  /// The same with live events as items of a stream into which the subscriber puts others, too.
  public func subscribe<Item: Sendable>(
    since: UInt64?, only types: Set<Event.EventType> = every,
    as item: @escaping @Sendable (PublishedEvent) -> Item
  ) -> Subscription<Item> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: Item.self, bufferingPolicy: .bufferingOldest(Self.subscriberCapacity))
    let (subscriber, backlog) = subscribe(since: since, only: types) { event in
      if case .enqueued = continuation.yield(item(event)) { true } else { false }
    } finish: {
      continuation.finish()
    }
    continuation.onTermination = { _ in subscriber.leave() }
    return Subscription(backlog: backlog, events: stream, continuation: continuation)
  }

  /// The same without a stream and its task in between.
  ///
  /// - Parameters:
  ///   - offer: gets each event, in order and under the hub's lock: it may not wait. False when the
  ///     subscriber has fallen too far behind.
  ///   - finish: called after `offer` has said false; nothing is offered any more.
  public func subscribe(
    since: UInt64?, only types: Set<Event.EventType> = every,
    offer: @escaping @Sendable (PublishedEvent) -> Bool, finish: @escaping @Sendable () -> Void
  ) -> (Subscriber, Backlog) {
    let subscriber = Subscriber(types, offer: offer, finish: finish)
    return state.withLock { state in
      state.removeGone()
      state.subscribers.append(subscriber)
      let (events, gap) = since.map { self.backlog(after: $0, state) } ?? ([], false)
      return (
        subscriber,
        Backlog(
          events: events.filter { types.contains($0.type) }, gap: gap, lastSeq: state.lastSeq)
      )
    }
  }

  private func backlog(after since: UInt64, _ state: State) -> ([PublishedEvent], gap: Bool) {
    let last = state.lastSeq
    guard since <= last else { return ([], true) }
    let kept = UInt64(state.recent.count)
    let recent = (max(since, last - kept)..<last).map { before in
      state.recent[Int((before + 1 - firstSeq) % UInt64(capacity))]
    }
    return last - since <= kept
      ? (recent, false) : (state.former.filter { $0.seq > since } + recent, true)
  }
}
