import Coach
import Testing

@testable import CoachSources

@Suite("The last minutes of the buses are kept, and no more")
struct FrameRingTests {
  private func lines(_ ring: FrameRing) -> [CandumpLine] {
    String(decoding: ring.candump(), as: UTF8.self).split(separator: "\n")
      .compactMap { CandumpLine($0) }
  }

  @Test("Every kind of frame comes back as it was, with its bus and its time")
  func kinds() throws {
    let ring = FrameRing(buses: ["can0", "can1"])
    let frames = [
      CANFrame(id: 0x19FF_F49C, data: [1, 2, 3, 4, 5, 6, 7, 8]),
      CANFrame(id: 0x123, data: [0xff], kind: .standard),
      CANFrame(id: 4, data: [0, 0, 0, 0, 0, 0, 0, 0], kind: .error),
      CANFrame(id: 0x1234_5678, data: [], isRemote: true),
    ]
    let start = ContinuousClock.now
    for (index, frame) in frames.enumerated() {
      ring.append(frame, at: start + .seconds(index), bus: UInt8(index % 2))
    }
    let found = lines(ring)
    #expect(found.map(\.frame) == frames)
    #expect(found.map(\.bus) == ["can0", "can1", "can0", "can1"])
    for (one, next) in zip(found, found.dropFirst()) {
      #expect(abs(next.seconds - one.seconds - 1) < 0.001)
    }
    #expect(ring.number(of: "can1") == 1)
    #expect(ring.number(of: "can2") == nil)
  }

  @Test("The oldest one makes room for the newest")
  func bound() {
    let ring = FrameRing(buses: ["can0"], bytes: 3200)
    for number in 0..<1000 {
      ring.append(
        CANFrame(id: 0x100, data: [UInt8(number >> 8), UInt8(number & 255)]), at: .now, bus: 0)
    }
    let numbers = lines(ring).map { Int($0.frame.data & 255) << 8 | Int($0.frame.data >> 8 & 255) }
    #expect(numbers.count >= 50 && numbers.count <= 200)
    #expect(numbers == Array((1000 - numbers.count)..<1000))
  }
}
