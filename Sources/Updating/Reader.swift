import Dispatch

/// Reads files and databases for those who only ask: one after another, on a thread that nobody needs who
/// watches the coach.
struct Reader: Sendable {
  private let queue = DispatchQueue(label: "reader", qos: .utility)

  func read<R: Sendable>(_ body: @escaping @Sendable () -> R) async -> R {
    await withCheckedContinuation { continuation in
      queue.async { continuation.resume(returning: body()) }
    }
  }
}
