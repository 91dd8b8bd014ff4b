public import Migrations
import Synchronization

/// Asks the work in a process to stop at the next safe point: set once, from any thread.
public final class StopSignal: Sendable {
  private let isSet = Atomic(false)
  private let reason = Mutex<Failure?>(nil)

  public init() {}

  /// The first request wins; it becomes the error that the run reports.
  public func request(_ failure: Failure) {
    reason.withLock { $0 = $0 ?? failure }
    isSet.store(true, ordering: .releasing)
  }

  public var requested: Failure? {
    isSet.load(ordering: .acquiring) ? reason.withLock { $0 } : nil
  }

  /// - Throws: the reason, when a stop was requested.
  public func check() throws(Failure) {
    if let requested { throw requested }
  }
}
