import Coach
import Testing

@testable import CoachSources

@Suite("How a bus is follows from what comes, and from what does not")
struct BusHealthTests {
  private let start = ContinuousClock.now
  private var health: BusHealth

  init() {
    health = BusHealth(source: "can0", listening: "Listening.", now: start)
  }

  /// An error frame of <linux/can/error.h>: its class, and data[1].
  private func error(_ kind: UInt32, _ status: UInt8 = 0) -> CANFrame {
    CANFrame(id: kind, data: [0, status, 0, 0, 0, 0, 0, 0], kind: .error)
  }

  @Test("A bus that is silent for 10 s is told of, until the next frame")
  mutating func silence() {
    #expect(health.deadline(after: start) == start + .seconds(10))
    #expect(health.state(at: start + .seconds(9)).isWell)
    let silent = health.state(at: start + .seconds(10))
    #expect(!silent.isWell)
    #expect(silent.words == "No frame for 10 s: the ignition may be off.")
    // Nothing is to be waited for but a frame.
    #expect(health.deadline(after: start + .seconds(10)) > start + .seconds(60))
    health.heard(at: start + .seconds(90))
    #expect(health.state(at: start + .seconds(90)).words == "Listening.")
    #expect(health.deadline(after: start + .seconds(90)) == start + .seconds(100))
  }

  @Test("Bus-off stays until the controller restarts, or frames come again")
  mutating func busOff() {
    health.failed(error(0x40), at: start)
    #expect(health.state(at: start).words.contains("bus-off"))
    #expect(health.state(at: start).howToClear?.contains("250000") == true)
    health.heard(at: start + .seconds(1))
    #expect(!health.state(at: start + .seconds(1)).isWell)
    health.heard(at: start + .seconds(5))
    #expect(health.state(at: start + .seconds(5)).isWell)
    health.failed(error(0x40), at: start + .seconds(6))
    health.failed(error(0x100), at: start + .seconds(7))
    #expect(health.state(at: start + .seconds(7)).isWell)
  }

  @Test(
    "Problems of the controller are told",
    arguments: [
      (0x10, "error-passive"), (0x20, "error-passive"), (0x04, "warns"), (0x08, "warns"),
      (0x01, "lost frames"),
    ])
  mutating func problem(status: UInt8, words: String) {
    health.failed(error(0x04, status), at: start)
    #expect(!health.state(at: start).isWell && health.state(at: start).words.contains(words))
    health.failed(error(0x04, 0x40), at: start)
    #expect(health.state(at: start).isWell)
  }

  @Test("Errors of other kinds change nothing")
  mutating func others() {
    for kind: UInt32 in [0x01, 0x02, 0x08, 0x10, 0x20, 0x80] {
      health.failed(error(kind, 0xFF), at: start)
    }
    #expect(health.state(at: start).isWell)
  }
}
