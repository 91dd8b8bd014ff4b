public import Coach
import Synchronization

/// What a source hands over, in the order in which it said it.
public enum SourceMessage: Sendable {
  /// What was heard at `heardAt`. Leases count from then, however long the message has waited.
  case reports([Report], heardAt: ContinuousClock.Instant)
  /// How a source is from now on; sent when it changes.
  case state(SourceState)
}

/// How a source is at one time.
public struct SourceState: Sendable, Hashable {
  /// Its interface, address or kind: `can0`, `http://127.0.0.1:8000`, `/proc/net/tcp`.
  public var source: String
  /// False when nothing comes from it, or less than should.
  public var isWell: Bool
  /// One sentence for a technician.
  public var words: String
  /// What a technician can do; nil when it is well.
  public var howToClear: String?

  public init(source: String, isWell: Bool, words: String, howToClear: String? = nil) {
    self.source = source
    self.isWell = isWell
    self.words = words
    self.howToClear = howToClear
  }
}

/// All that chock listens to. It reads only: nothing is ever written to a bus or a file, and HTTP
/// servers are asked with GET.
public final class CoachSources: Sendable {
  private let configuration: SourceConfiguration
  /// What was heard last on the buses; nil without a bus.
  public let recent: FrameRing?
  private let running = Mutex<Task<Void, Never>?>(nil)

  public init(_ configuration: SourceConfiguration) {
    self.configuration = configuration
    recent =
      configuration.can.isEmpty ? nil : FrameRing(buses: configuration.can.map(\.interface))
  }

  /// Starts all sources. The stream hands over all that has come since the last time, so that a consumer
  /// that was held up catches up at once. It ends after ``stop()``, once all sources have ended; a stream
  /// that is let go of stops them too.
  public func start() -> some AsyncSequence<[SourceMessage], Never> & Sendable {
    let (bell, continuation) = AsyncStream.makeStream(
      of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let lanes = Lanes(bell: continuation)
    let (configuration, recent) = (configuration, recent)
    let task = Task {
      await withTaskGroup(of: Void.self) { group in
        for bus in configuration.can {
          let lane = lanes.add()
          group.addTask { await CANSource(bus, lane, recent: recent).run() }
        }
        for server in configuration.http {
          let lane = lanes.add()
          group.addTask { await HTTPSource(server).run(every: server.interval, lane) }
        }
        for files in configuration.files {
          let lane = lanes.add()
          group.addTask { await FileSource(files).run(every: files.interval, lane) }
        }
        if let port = configuration.controllerPort {
          let counter = ConnectionCounter(port: port)
          let lane = lanes.add()
          group.addTask { await counter.run(every: ConnectionCounter.interval, lane) }
        }
      }
      continuation.finish()
    }
    continuation.onTermination = { _ in task.cancel() }
    running.withLock {
      $0?.cancel()
      $0 = task
    }
    return bell.map { lanes.drain() }
  }

  /// Ends all sources and closes what they have open.
  public func stop() {
    running.withLock {
      $0?.cancel()
      $0 = nil
    }
  }
}

/// Each source has a lane of its own: one that talks without end does not hold up what another has to say.
final class Lanes: Sendable {
  private let waiting = Mutex<[[SourceMessage]]>([])
  private let bell: AsyncStream<Void>.Continuation
  /// A source whose messages are not taken away is held up. Nothing is lost but what the kernel cannot
  /// keep for a bus.
  private static let backlog = 256

  init(bell: AsyncStream<Void>.Continuation) {
    self.bell = bell
  }

  func add() -> Lane {
    let index = waiting.withLock { lanes in
      lanes.append([])
      return lanes.count - 1
    }
    return Lane(lanes: self, index: index)
  }

  /// Takes everything that waits, lane by lane.
  func drain() -> [SourceMessage] {
    waiting.withLock { lanes in
      defer { for index in lanes.indices { lanes[index] = [] } }
      return lanes.flatMap(\.self)
    }
  }

  fileprivate func offer(_ message: SourceMessage, in index: Int) -> Bool {
    let isTaken = waiting.withLock { lanes in
      guard lanes[index].count < Self.backlog else { return false }
      lanes[index].append(message)
      return true
    }
    if isTaken { bell.yield() }
    return isTaken
  }
}

/// Where a source puts its messages.
struct Lane: Sendable {
  fileprivate let lanes: Lanes
  fileprivate let index: Int
  /// Before what the consumer has no room for is offered again.
  static let pause = Duration.milliseconds(20)

  /// - Returns: false when there is no room for it now.
  func offer(_ message: SourceMessage) -> Bool { lanes.offer(message, in: index) }

  /// Waits until there is room for it.
  ///
  /// - Throws: when the task is cancelled.
  func send(_ message: SourceMessage) async throws {
    while !offer(message) { try await Task.sleep(for: Self.pause) }
  }
}
