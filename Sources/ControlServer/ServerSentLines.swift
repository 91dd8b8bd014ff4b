import Migrations
import Synchronization

/// Puts the `data` of Server-Sent Events together from bytes as they come.
struct ServerSentLines {
  private var line: [UInt8] = []
  private var data: [UInt8] = []

  /// An event with the full state is some tens of kilobytes.
  private static let limit = 4 << 20

  /// - Returns: the data of each event that these bytes complete.
  /// - Throws: `Failure(.inputOutput)` when an event does not end.
  mutating func append(_ bytes: some Sequence<UInt8>) throws(Failure) -> [[UInt8]] {
    var complete: [[UInt8]] = []
    for byte in bytes {
      guard byte == UInt8(ascii: "\n") else {
        line.append(byte)
        continue
      }
      if line.isEmpty {
        if !data.isEmpty { complete.append(data) }
        data = []
      } else if line.starts(with: "data: ".utf8) {
        data += line.dropFirst("data: ".utf8.count)
      }
      line = []
    }
    guard line.count + data.count <= Self.limit else {
      throw Failure(.inputOutput, "The daemon sent an event without an end.")
    }
    return complete
  }
}

/// How long the other side has been silent.
final class SilenceClock: Sendable {
  private let lastHeard = Mutex(ContinuousClock.now)

  var silence: Duration { ContinuousClock.now - lastHeard.withLock { $0 } }

  func heard() { lastHeard.withLock { $0 = .now } }
}
