import Glibc

/// Wakes threads that wait for descriptors: a pair of sockets of which one stays readable once it is raised.
final class StopLine: Sendable {
  private let readEnd: Int32
  private let writeEnd: Int32

  /// Nil when the process has no descriptors left.
  init?() {
    var ends: [Int32] = [-1, -1]
    let kind = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
    guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { return nil }
    readEnd = ends[0]
    writeEnd = ends[1]
  }

  deinit {
    close(readEnd)
    close(writeEnd)
  }

  func raise() {
    var byte: UInt8 = 0
    _ = write(writeEnd, &byte, 1)
  }

  /// How a wait ended.
  enum Wake { case ready, stopped, timeout }

  /// Waits until `descriptor` can be read or has an error, the line is raised, or the time is over.
  ///
  /// - Parameter descriptor: -1 for none.
  func wait(until deadline: ContinuousClock.Instant, or descriptor: Int32 = -1) -> Wake {
    var waiting = [
      pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0),
      pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0),
    ]
    while true {
      let left = ContinuousClock.now.duration(to: deadline)
      // Rounded up: a wait that ends early would be begun again.
      let milliseconds = max(.zero, left) / .milliseconds(1)
      let count = poll(&waiting, 2, Int32(min(milliseconds.rounded(.up), 3_600_000)))
      if count < 0, errno == EINTR { continue }
      if waiting[0].revents != 0 { return .stopped }
      if waiting[1].revents != 0 { return .ready }
      if ContinuousClock.now >= deadline { return .timeout }
    }
  }
}
