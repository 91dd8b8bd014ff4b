import Dispatch
import Migrations
import Synchronization

/// Work on a thread of its own, beside the caller's.
final class Background<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, Failure>?>(nil)
  private let done = DispatchSemaphore(value: 0)

  init(_ work: @escaping @Sendable () throws(Failure) -> Value) {
    DispatchQueue(label: "background").async { [self] in
      let outcome = Result { () throws(Failure) in try work() }
      result.withLock { $0 = outcome }
      done.signal()
    }
  }

  /// Waits until the work is done; to be asked once or more.
  func value() throws(Failure) -> Value {
    done.wait()
    done.signal()
    guard let outcome = result.withLock({ $0 }) else {
      throw Failure(.interrupted, "The work did not end.")
    }
    return try outcome.get()
  }
}
