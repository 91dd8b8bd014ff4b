import FoundationEssentials
import Storage

/// The numbers of events: each is above every one before it, also those of the processes before this
/// one, and whatever became of the clock in between.
///
/// A block of numbers is reserved in a file before the first of it is given out, so that the file is
/// written once in 65,536 events. What a process leaves of its block is skipped.
public struct EventNumbers: Sendable {
  /// The next number that is given out.
  private(set) var next: UInt64
  /// The first number that is not reserved.
  private var end: UInt64
  private let path: String?

  private static let block: UInt64 = 65_536
  /// Above it a number of JavaScript is no longer exact.
  private static let largest: UInt64 = 1 << 53

  /// Numbers of this process alone.
  ///
  /// - Parameter first: at least 1.
  public init(first: UInt64) {
    next = max(1, first)
    end = .max
    path = nil
  }

  /// Numbers that go on where those of the last process ended.
  ///
  /// Where nobody has written down how far that was, the clock has to do: it is above what any process
  /// has given out at less than a thousand events a second.
  init(stateDirectory: String) {
    let path = stateDirectory + "/event-numbers"
    let clock = UInt64(max(1, Date().timeIntervalSince1970 * 1000))
    let mark = ((try? FileSystem.read(path, limit: 64)) ?? nil).flatMap {
      UInt64(String(decoding: $0, as: UTF8.self).filter(\.isNumber))
    }
    next = max(clock, mark.flatMap { $0 < Self.largest / 2 ? $0 : nil } ?? 1)
    end = next
    self.path = path
  }

  mutating func take() -> UInt64 {
    if next >= end { reserve() }
    defer { next += 1 }
    return next
  }

  private mutating func reserve() {
    end = next + Self.block
    guard let path else { return }
    // Without the file events still have to be told; after a restart there is the clock.
    try? FileSystem.makeFolder(FileSystem.parent(path))
    try? FileSystem.replace(path, with: Array("\(end)\n".utf8))
  }
}
