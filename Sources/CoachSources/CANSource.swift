import Coach
import Dispatch

/// One CAN bus: a thread that waits for frames and hands over what is news in them.
final class CANSource: Sendable {
  private let interface: String
  private let profile: Profile
  private let lane: Lane
  private let dgns: Set<UInt32>
  private let recent: (ring: FrameRing, bus: UInt8)?

  /// A full bus wakes the thread 50 times a second, not 1,800 times; a single frame is handed over at once.
  private static let pause = Duration.milliseconds(20)
  /// Frames that came further apart than that are different messages, because a message has one time.
  private static let span = Duration.milliseconds(100)

  /// - Parameter recent: where the last frames are kept.
  init(_ configuration: SourceConfiguration.CAN, _ lane: Lane, recent: FrameRing? = nil) {
    interface = configuration.interface
    profile = configuration.profile
    dgns = Set(configuration.profile.dgns)
    self.lane = lane
    self.recent = recent.flatMap { ring in
      ring.number(of: configuration.interface).map { (ring, $0) }
    }
  }

  /// Listens until the task is cancelled.
  func run() async {
    guard let stop = StopLine() else {
      let words = "\(interface) is not listened to: there are no file descriptors left."
      _ = lane.offer(.state(SourceState(source: interface, isWell: false, words: words)))
      return
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        // A queue of its own, because it blocks.
        DispatchQueue(label: interface).async {
          self.listen(until: stop)
          continuation.resume()
        }
      }
    } onCancel: {
      stop.raise()
    }
  }

  /// How long to wait before the `attempt`th try to open it again.
  static func delay(before attempt: Int) -> Duration {
    switch attempt {
    case 1: .seconds(1)
    case 2: .seconds(2)
    default: .seconds(5)
    }
  }

  private func listen(until stop: StopLine) {
    var last: SourceState?
    var attempt = 0
    while true {
      do throws(CANSocket.Failure) {
        var socket = try CANSocket.open(interface, dgns: profile.dgns)
        try hear(&socket, until: stop, state: &last) { attempt = 0 }
        return
      } catch {
        let state = SourceState(
          source: interface, isWell: false, words: error.words, howToClear: error.howToClear)
        guard tell(state, after: &last, or: stop) else { return }
      }
      attempt += 1
      guard stop.wait(until: .now + Self.delay(before: attempt)) != .stopped else { return }
    }
  }

  /// Takes frames until it is stopped.
  ///
  /// - Throws: when there will be no more from this socket.
  private func hear(
    _ socket: inout CANSocket, until stop: StopLine, state last: inout SourceState?,
    onFrame: () -> Void
  ) throws(CANSocket.Failure) {
    let words =
      socket.isFiltered || interface.hasPrefix("unix:")
      ? "Listening."
      : "Listening to all frames: the profile has more data groups than the kernel takes filters."
    var health = BusHealth(source: interface, listening: words, now: .now)
    var sieve = FrameSieve()
    while true {
      guard tell(health.state(at: .now), after: &last, or: stop) else { return }
      switch socket.wait(until: health.deadline(after: .now), or: stop) {
      case .stopped: return
      case .timeout: continue
      case .ready: break
      }
      var messages: [(reports: [Report], heardAt: ContinuousClock.Instant)] = []
      let rest = socket.receive { received in
        let (frame, at) = (received.frame, received.at)
        if frame.kind == .error {
          if let recent { recent.ring.append(frame, at: at, bus: recent.bus) }
          return health.failed(frame, at: at)
        }
        guard frame.kind == .extended, !frame.isRemote, dgns.contains(frame.dgn) else { return }
        if let recent { recent.ring.append(frame, at: at, bus: recent.bus) }
        health.heard(at: at)
        onFrame()
        let news = sieve.news(in: frame, at: at) { profile.reports(of: $0, from: interface) }
        guard !news.isEmpty else { return }
        if let end = messages.indices.last, at - messages[end].heardAt < Self.span {
          messages[end].reports += news
        } else {
          messages.append((news, at))
        }
      }
      for message in messages {
        guard send(.reports(message.reports, heardAt: message.heardAt), or: stop) else { return }
      }
      switch rest {
      case .end(let failure): throw failure
      case .nothing: if stop.wait(until: .now + Self.pause) == .stopped { return }
      case .maybeMore: break
      }
    }
  }

  /// Sends a state that differs from the last one.
  ///
  /// - Returns: false when it was stopped.
  private func tell(
    _ state: SourceState, after last: inout SourceState?, or stop: StopLine
  ) -> Bool {
    guard state != last else { return true }
    last = state
    return send(.state(state), or: stop)
  }

  private func send(_ message: SourceMessage, or stop: StopLine) -> Bool {
    while !lane.offer(message) {
      if stop.wait(until: .now + Lane.pause) == .stopped { return false }
    }
    return true
  }
}
