import Migrations

/// Waits until `condition` holds: the one place in which tests poll.
///
/// - Throws: when it does not hold in time.
public func waitUntil(
  _ what: String, within limit: Duration = .seconds(120), _ condition: () async throws -> Bool
) async throws {
  let deadline = ContinuousClock.now + limit
  while try await !condition() {
    guard ContinuousClock.now < deadline else {
      throw Failure(.timeout, "Waited \(limit) in vain until \(what).")
    }
    try await Task.sleep(for: .milliseconds(5))
  }
}
