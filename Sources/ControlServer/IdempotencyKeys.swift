import HTTPTypes
import Migrations
import Updating

/// Makes a repeated request with the same `Idempotency-Key` the same run instead of a second one.
///
/// In memory: after a restart of the daemon the one-run-at-a-time rule and the plan's hash still
/// hold.
actor IdempotencyKeys {
  private struct Entry {
    var request: [UInt8]
    var start: Task<RunDocument, any Error>
  }

  private let capacity: Int
  private var entries: [String: Entry] = [:]
  private var order: [String] = []

  init(capacity: Int = 256) {
    self.capacity = capacity
  }

  /// Starts the run, or returns the one that this key has started.
  ///
  /// - Parameter request: everything that makes two requests the same one.
  /// - Throws: a 422 `Problem` when the key was used for another request, and what `start` throws;
  ///   a key whose request was refused is free again.
  func run(
    key: String, request: [UInt8], start: @escaping @Sendable () async throws -> RunDocument
  ) async throws -> RunDocument {
    guard (1...128).contains(key.utf8.count), key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
    else {
      throw Failure(.usage, "Idempotency-Key must be 1 to 128 printable ASCII characters.")
    }
    if let entry = entries[key] {
      guard entry.request == request else {
        throw Problem(
          Failure(
            .usage, "This Idempotency-Key was used for another request.",
            howToClear: "Use a new key for every new request."),
          status: .unprocessableContent)
      }
      return try await entry.start.value
    }
    // A task of its own: whoever asked first may hang up while a second one waits for the same run.
    let task = Task { try await start() }
    entries[key] = Entry(request: request, start: task)
    order.append(key)
    if order.count > capacity { entries[order.removeFirst()] = nil }
    do {
      return try await task.value
    } catch {
      entries[key] = nil
      order.removeAll { $0 == key }
      throw error
    }
  }
}
