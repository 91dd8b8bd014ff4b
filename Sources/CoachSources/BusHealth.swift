import Coach

/// How a CAN bus is, from its frames, the driver's error frames and the time. It has no clock of its own.
struct BusHealth {
  /// What the driver is asked to tell (<linux/can/error.h>): CAN_ERR_CRTL, CAN_ERR_BUSOFF and
  /// CAN_ERR_RESTARTED.
  static let errorClasses: UInt32 = 0x04 | 0x40 | 0x100
  /// A bus that says nothing for so long is told of. RV-C's chassis says something every 5 s at most.
  static let silence = Duration.seconds(10)
  /// An error is over when none has come for so long: a frame between two errors does not end it.
  private static let calm = Duration.seconds(5)

  private let source: String
  private let listening: String
  private var heardAt: ContinuousClock.Instant
  private var trouble: (words: String, howToClear: String, at: ContinuousClock.Instant)?

  /// - Parameter listening: What is said of it when it is well.
  init(source: String, listening: String, now: ContinuousClock.Instant) {
    self.source = source
    self.listening = listening
    heardAt = now
  }

  /// When it has to be looked at again although nothing comes.
  func deadline(after now: ContinuousClock.Instant) -> ContinuousClock.Instant {
    let silent = heardAt + Self.silence
    return silent > now ? silent : now + .seconds(3600)
  }

  mutating func heard(at now: ContinuousClock.Instant) {
    heardAt = max(heardAt, now)
    if let trouble, now >= trouble.at + Self.calm { self.trouble = nil }
  }

  /// Takes a frame of the kind `error`.
  mutating func failed(_ frame: CANFrame, at now: ContinuousClock.Instant) {
    let wiring =
      "Check the bit rate (RV-C: 250000), both terminators and the wiring: `ip -details link show \(source)`."
    if frame.id & 0x100 != 0 {
      trouble = nil
    } else if frame.id & 0x40 != 0 {
      trouble = (
        "The controller of \(source) has left the bus after many errors (bus-off).", wiring, now
      )
    } else if frame.id & 0x04 != 0 {
      // data[1]: CAN_ERR_CRTL_ACTIVE; RX_PASSIVE and TX_PASSIVE; RX_WARNING and TX_WARNING; RX_OVERFLOW.
      let status = frame[1]
      if status & 0x40 != 0 {
        trouble = nil
      } else if status & 0x30 != 0 {
        trouble = ("Many errors on \(source): its controller is error-passive.", wiring, now)
      } else if status & 0x0C != 0 {
        trouble = ("Errors on \(source): its controller warns.", wiring, now)
      } else if status & 0x01 != 0 {
        trouble = (
          "The controller of \(source) has lost frames.", "Check the adapter and its driver.", now
        )
      }
    }
  }

  func state(at now: ContinuousClock.Instant) -> SourceState {
    if let trouble {
      return SourceState(
        source: source, isWell: false, words: trouble.words, howToClear: trouble.howToClear)
    }
    guard now < heardAt + Self.silence else {
      return SourceState(
        source: source, isWell: false,
        words: "No frame for \(Self.silence.components.seconds) s: the ignition may be off.",
        howToClear:
          "Switch the ignition on. If it is on, check the wiring, the bit rate and the profile.")
    }
    return SourceState(source: source, isWell: true, words: listening)
  }
}
