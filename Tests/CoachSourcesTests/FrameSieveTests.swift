import Coach
import Testing

@testable import CoachSources

@Suite("A bus that repeats itself costs little, and what is news goes through at once")
struct FrameSieveTests {
  private let start = ContinuousClock.now

  private func value(
    _ word: String, of signal: String = "parking_brake", lasting: Duration = .seconds(5)
  ) -> Report {
    Report(.value(.text(word), of: signal, lasting: lasting), source: "can0/9C")
  }

  private func frame(_ byte: UInt8, _ other: UInt8 = 0, from source: UInt32 = 0x9C) -> CANFrame {
    CANFrame(id: 0x11FF_F400 | source, data: [byte, other])
  }

  @Test("The same goes through once a second, without being decoded in between")
  func renewal() {
    var sieve = FrameSieve()
    var decoded = 0
    var news: [Int] = []
    for tick in 0..<2500 {
      let reports = sieve.news(in: frame(1), at: start + .milliseconds(tick)) { _ in
        decoded += 1
        return [value("engaged")]
      }
      if !reports.isEmpty { news.append(tick) }
    }
    #expect(news == [0, 1000, 2000])
    #expect(decoded == 3)
  }

  @Test("A short lease is renewed before it ends")
  func shortLease() {
    var sieve = FrameSieve()
    let news = (0..<1000).filter {
      !sieve.news(in: frame(1), at: start + .milliseconds($0)) { _ in
        [value("engaged", lasting: .milliseconds(500))]
      }.isEmpty
    }
    #expect(news == [0, 250, 500, 750])
  }

  @Test("Another value goes through at once, also in bytes that were seen before")
  func change() {
    var sieve = FrameSieve()
    let words = ["engaged", "released", "engaged", "engaged", "released"]
    let news = words.flatMap { word in
      sieve.news(in: frame(word == "engaged" ? 1 : 2), at: start) { _ in [value(word)] }
    }
    #expect(news == ["engaged", "released", "engaged", "released"].map { value($0) })
  }

  @Test("A frame that repeats itself is news after another data group of its node spoke against it")
  func otherGroup() {
    var sieve = FrameSieve()
    let alarm = CANFrame(id: 0x19FE_9F9C, data: [2])
    func status(_ tick: Int) -> [Report] {
      sieve.news(in: frame(1), at: start + .milliseconds(tick)) { _ in [value("engaged")] }
    }
    #expect(status(0).count == 1)
    #expect(
      sieve.news(in: alarm, at: start + .milliseconds(1)) { _ in [value("released")] }.count == 1)
    #expect(status(2) == [value("engaged")])
    #expect(status(3).isEmpty)
  }

  @Test("Nodes do not answer for each other")
  func nodes() {
    var sieve = FrameSieve()
    for source: UInt32 in 0..<256 {
      let news = sieve.news(in: frame(1, from: source), at: start) { _ in [value("engaged")] }
      #expect(news.count == 1)
    }
  }

  @Test("That there is no value is said once a second too")
  func noValue() {
    var sieve = FrameSieve()
    let none = Report(.noValue(of: "parking_brake"), source: "can0/9C")
    let news = (0..<1500).flatMap { tick in
      sieve.news(in: frame(3), at: start + .milliseconds(tick)) { _ in [none] }
    }
    #expect(news == [none, none])
    #expect(
      sieve.news(in: frame(1), at: start + .milliseconds(1500)) { _ in [value("engaged")] }
        == [value("engaged")])
  }

  @Test("A bus that invents identifiers does not fill the memory, and is heard")
  func babble() {
    var sieve = FrameSieve()
    for index: UInt32 in 0..<20_000 {
      let frame = CANFrame(id: index << 8 | index & 0xFF, data: [UInt8(truncatingIfNeeded: index)])
      let news = sieve.news(in: frame, at: start) { _ in
        [value("satisfied", of: "interlock.\(index)")]
      }
      #expect(news.count == 1)
    }
  }
}
