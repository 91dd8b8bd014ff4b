public import Coach
import Synchronization

/// What the sources hand over, in the order in which they said it.
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
  private let running = Mutex<Task<Void, Never>?>(nil)

  /// A consumer that is behind by so many messages holds the sources up. Nothing is lost but what the
  /// kernel cannot keep for a bus.
  private static let backlog = 256

  public init(_ configuration: SourceConfiguration) {
    self.configuration = configuration
  }

  /// Starts all sources. The stream ends after ``stop()``, once all of them have ended; a stream that is let
  /// go of stops them too.
  public func start() -> AsyncStream<SourceMessage> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: SourceMessage.self, bufferingPolicy: .bufferingOldest(Self.backlog))
    let outlet = Outlet(continuation: continuation)
    let configuration = configuration
    let task = Task {
      await withTaskGroup(of: Void.self) { group in
        for bus in configuration.can {
          group.addTask { await CANSource(bus, outlet).run() }
        }
        for server in configuration.http {
          group.addTask { await HTTPSource(server).run(every: server.interval, outlet) }
        }
        for files in configuration.files {
          group.addTask { await FileSource(files).run(every: files.interval, outlet) }
        }
        if let port = configuration.controllerPort {
          let counter = ConnectionCounter(port: port)
          group.addTask { await counter.run(every: ConnectionCounter.interval, outlet) }
        }
      }
      continuation.finish()
    }
    continuation.onTermination = { _ in task.cancel() }
    running.withLock {
      $0?.cancel()
      $0 = task
    }
    return stream
  }

  /// Ends all sources and closes what they have open.
  public func stop() {
    running.withLock {
      $0?.cancel()
      $0 = nil
    }
  }
}

/// Where the sources put their messages.
struct Outlet: Sendable {
  let continuation: AsyncStream<SourceMessage>.Continuation
  /// Before what the consumer has no room for is offered again.
  static let pause = Duration.milliseconds(20)

  /// - Returns: false when there is no room for it now.
  func offer(_ message: SourceMessage) -> Bool {
    if case .dropped = continuation.yield(message) { false } else { true }
  }

  /// Waits until there is room for it.
  ///
  /// - Throws: when the task is cancelled.
  func send(_ message: SourceMessage) async throws {
    while !offer(message) { try await Task.sleep(for: Self.pause) }
  }
}
