public import Coach
import Glibc

/// Every frame of a bus, as it comes: for a technician who sends what the coach said.
public enum CANRecorder {
  public struct Failure: Error {
    public var words: String
    public var howToClear: String?
  }

  /// Hands over every frame until the time is over or `isStopped` says so, which is asked four times a second.
  ///
  /// - Throws: why the bus cannot be read, or gives no more frames.
  public static func record(
    _ interface: String, until deadline: ContinuousClock.Instant?,
    isStopped: () -> Bool, _ take: (CandumpLine) -> Void
  ) throws(Failure) {
    guard let line = StopLine() else {
      throw Failure(words: "There are no file descriptors left.")
    }
    do throws(CANSocket.Failure) {
      var socket = try CANSocket.open(interface, dgns: nil)
      while !isStopped(), deadline.map({ .now < $0 }) ?? true {
        let wake = min(.now + .milliseconds(250), deadline ?? .now + .seconds(1))
        guard socket.wait(until: wake, or: line) == .ready else { continue }
        var wall = timespec()
        clock_gettime(CLOCK_REALTIME, &wall)
        let now = ContinuousClock.now
        let rest = socket.receive { received in
          let age = received.at.duration(to: now) / .seconds(1)
          take(
            CandumpLine(
              seconds: Double(wall.tv_sec) + Double(wall.tv_nsec) / 1e9 - age, bus: interface,
              frame: received.frame))
        }
        if case .end(let failure) = rest { throw failure }
      }
    } catch {
      throw Failure(words: error.words, howToClear: error.howToClear)
    }
  }
}
