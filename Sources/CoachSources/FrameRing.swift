import Coach
import Glibc
import Synchronization

/// The last minutes of the buses, for a technician: the frames of the profiles' data groups and the drivers'
/// reports of errors, each with its time. The memory is bounded, and the oldest frame makes room.
///
/// What the profile does not know does not come from the kernel at all (``CANSocket``): to wake up for it would
/// cost more than all the rest. `chock coach record` has every frame.
public final class FrameRing: Sendable {
  private struct Entry {
    var at: ContinuousClock.Instant
    var data: UInt64
    var id: UInt32
    var bus: UInt8
    /// The length in the lower four bits, then whether it is remote, then the kind in two bits.
    var form: UInt8
  }

  private struct State {
    var entries: [Entry] = []
    /// Where the next one goes, once there is no more room.
    var next = 0
  }

  private let buses: [String]
  private let limit: Int
  private let state = Mutex(State())

  /// - Parameters:
  ///   - buses: at most 256; what is heard on further ones is left out.
  ///   - bytes: of memory, once as many frames have come.
  public init(buses: [String], bytes: Int = 2 << 20) {
    self.buses = Array(buses.prefix(256))
    limit = max(1, bytes / MemoryLayout<Entry>.stride)
  }

  /// The number under which a bus is kept; nil when it is none of these.
  func number(of bus: String) -> UInt8? {
    buses.firstIndex(of: bus).flatMap(UInt8.init(exactly:))
  }

  func append(_ frame: CANFrame, at time: ContinuousClock.Instant, bus: UInt8) {
    let kind: UInt8 =
      switch frame.kind {
      case .extended: 0
      case .standard: 1
      case .error: 2
      }
    let entry = Entry(
      at: time, data: frame.data, id: frame.id, bus: bus,
      form: UInt8(frame.length) | (frame.isRemote ? 16 : 0) | kind << 5)
    state.withLock { state in
      if state.entries.count < limit { return state.entries.append(entry) }
      state.entries[state.next] = entry
      state.next = (state.next + 1) % limit
    }
  }

  /// What is kept, oldest first, in candump's log format: `chock coach replay` and the can-utils read it.
  ///
  /// - Parameter rename: what an interface is called there; its own name may be a path, and of any length.
  public func candump(_ rename: (String) -> String = { $0 }) -> [UInt8] {
    let (entries, next) = state.withLock { ($0.entries, $0.next) }
    let names = buses.map(rename)
    var wall = timespec()
    clock_gettime(CLOCK_REALTIME, &wall)
    let now = ContinuousClock.now
    let seconds = Double(wall.tv_sec) + Double(wall.tv_nsec) / 1e9
    var bytes: [UInt8] = []
    bytes.reserveCapacity(entries.count * 52)
    for entry in entries[next...] + entries[..<next] {
      let kind: CANFrame.Kind =
        switch entry.form >> 5 {
        case 0: .extended
        case 1: .standard
        default: .error
        }
      var frame = CANFrame(id: entry.id, data: [], kind: kind, isRemote: entry.form & 16 != 0)
      frame.data = entry.data
      frame.length = Int(entry.form & 15)
      let age = entry.at.duration(to: now).components
      let line = CandumpLine(
        seconds: seconds - Double(age.seconds) - Double(age.attoseconds) * 1e-18,
        bus: names[Int(entry.bus)],
        frame: frame)
      bytes += line.text.utf8
      bytes.append(UInt8(ascii: "\n"))
    }
    return bytes
  }
}
