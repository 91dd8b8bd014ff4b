import Coach
import Glibc
import TestSupport
import Testing

@testable import CoachSources

@Suite("A bus is listened to, as long as it is there", .timeLimit(.minutes(5)))
struct CANSourceTests {
  private let folder: TemporaryFolder
  private let profile: Profile

  init() throws {
    folder = try TemporaryFolder()
    profile = try #require(Profile.builtIn("rvc"))
  }

  private func sources(_ interface: String) -> CoachSources {
    var configuration = SourceConfiguration()
    configuration.can = [.init(interface: interface, profile: profile)]
    return CoachSources(configuration)
  }

  @Test("A frame becomes readings with its node as the source, at once")
  func frame() async throws {
    let bridge = try Bridge(folder("bus"))
    let sources = sources(bridge.interface)
    let heard = Collector(sources.start())
    try await bridge.accept()
    bridge.send(.chassis(brake: true))
    try await waitUntil("the brake is engaged") {
      heard.values(of: "parking_brake") == [.text("engaged")]
    }
    bridge.send(.chassis(brake: false))
    try await waitUntil("the brake is released") {
      heard.values(of: "parking_brake").last == .text("released")
    }
    let source = "\(bridge.interface)/9C"
    #expect(heard.reports.allSatisfy { $0.source == source && !$0.vetoOnly })
    #expect(
      heard.states.first == SourceState(source: bridge.interface, isWell: true, words: "Listening.")
    )
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test(
    "What is no frame of the profile is passed over",
    arguments: [
      [], [1], [UInt8](repeating: 0xFF, count: 15), [UInt8](repeating: 0xFF, count: 17),
      [UInt8](repeating: 0xFF, count: 72), [UInt8](repeating: 0xFF, count: 16),
      CANFrame(id: 0x7FF, data: [1], kind: .standard).bytes,
      CANFrame(id: 0x11FF_F49C, data: [], isRemote: true).bytes,
      CANFrame(id: 0x11FF_F49C, data: []).bytes,
      CANFrame(id: 0x11FF_FF9C, data: [UInt8](repeating: 0, count: 8)).bytes,
    ].dropFirst())
  func garbage(bytes: [UInt8]) async throws {
    let bridge = try Bridge(folder("bus"))
    let sources = sources(bridge.interface)
    let heard = Collector(sources.start())
    try await bridge.accept()
    for _ in 0..<100 { bridge.send(bytes) }
    bridge.send(.chassis(brake: true))
    try await waitUntil("the brake is engaged") {
      heard.values(of: "parking_brake") == [.text("engaged")]
    }
    #expect(heard.states.allSatisfy { $0.isWell })
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test("A bus that goes away is told of, and heard again when it comes back")
  func reconnect() async throws {
    let path = folder("bus")
    var bridge: Bridge? = try Bridge(path)
    let sources = sources("unix:\(path)")
    let heard = Collector(sources.start())
    try await bridge?.accept()
    // The last word before the end counts.
    bridge?.send(.chassis(brake: true))
    bridge?.hangUp()
    try await waitUntil("its end is told") {
      heard.states.last?.words == "unix:\(path) was closed at the other end."
    }
    #expect(heard.values(of: "parking_brake") == [.text("engaged")])
    bridge = nil
    try await waitUntil("nobody listens") {
      heard.states.last?.words == "Nobody listens at unix:\(path)."
    }
    let again = try Bridge(path)
    try await again.accept()
    again.send(.chassis(brake: true))
    try await waitUntil("it is heard again") { heard.values(of: "parking_brake").count == 2 }
    #expect(heard.states.last?.isWell == true)
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test("It is tried again after a second, then after two, then every five")
  func delays() {
    #expect(
      (1...5).map(CANSource.delay) == [
        .seconds(1), .seconds(2), .seconds(5), .seconds(5), .seconds(5),
      ])
  }

  @Test(
    "What cannot be opened says why, and what to do",
    arguments: [
      ("unix:/nonexistent/bus", "Nobody listens at unix:/nonexistent/bus."),
      ("unix:/" + String(repeating: "x", count: 200), "File name too long"),
    ])
  func missing(interface: String, words: String) async throws {
    let sources = sources(interface)
    let heard = Collector(sources.start())
    try await waitUntil("it is told") {
      heard.states.contains { !$0.isWell && $0.words.contains(words) }
    }
    // Also while it waits for the next try.
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test("A kernel without CAN or without the interface says so")
  func noInterface() async throws {
    let sources = sources("nocan9")
    let heard = Collector(sources.start())
    try await waitUntil("it is told") {
      [
        "There is no interface nocan9.", "chock gets no CAN sockets here.",
      ].contains(heard.states.last?.words)
    }
    #expect(heard.states.last?.howToClear != nil)
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test("After a flood of frames comes what was said last, in order")
  func flood() async throws {
    let bridge = try Bridge(folder("bus"))
    let sources = sources(bridge.interface)
    // Nobody reads yet: the sources have to wait, and the bridge behind them.
    let stream = sources.start()
    try await bridge.accept()
    var sent = 0
    while sent < 20_000, bridge.send(.chassis(brake: sent % 2 == 0), waiting: false) || sent < 1000
    {
      sent += 1
    }
    let heard = Collector(stream)
    bridge.send(.chassis(brake: true, from: 0x90))
    try await waitUntil("the last frame is there") {
      heard.reports.last.map { $0.source.hasSuffix("/90") } ?? false
    }
    let times = heard.batches.map(\.heardAt)
    #expect(times == times.sorted())
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
  }

  @Test("It ends when it is told to, although nobody takes its messages")
  func stopWhileFull() async throws {
    let bridge = try Bridge(folder("bus"))
    let sources = sources(bridge.interface)
    let stream = sources.start()
    try await bridge.accept()
    for index in 0..<20_000 where !bridge.send(.chassis(brake: index % 2 == 0), waiting: false) {
      break
    }
    sources.stop()
    for await _ in stream {}
  }

  @Test("They end when nobody wants their messages any more, and not before")
  func letGo() async throws {
    let bridge = try Bridge(folder("bus"))
    do {
      let stream = sources(bridge.interface).start()
      try await bridge.accept()
      for await messages in stream {
        // Nobody holds the sources themselves by now.
        if messages.contains(where: { if case .reports = $0 { true } else { false } }) { break }
        bridge.send(.chassis(brake: true))
      }
    }
    try await waitUntil("the bus is closed") { bridge.isClosedAtTheOtherEnd }
  }

  @Test("A source that talks without end holds up nobody but itself, and loses nothing")
  func lanes() async {
    let (bell, continuation) = AsyncStream.makeStream(
      of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let lanes = Lanes(bell: continuation)
    let (loud, quiet) = (lanes.add(), lanes.add())
    func state(_ words: String) -> SourceMessage {
      .state(SourceState(source: "can0", isWell: true, words: words))
    }
    var taken = 0
    while loud.offer(state("\(taken)")) { taken += 1 }
    #expect(taken > 0)
    #expect(quiet.offer(state("brake")))
    var bells = bell.makeAsyncIterator()
    await bells.next()
    let words = lanes.drain().map { if case .state(let state) = $0 { state.words } else { "" } }
    #expect(words == (0..<taken).map { "\($0)" } + ["brake"])
    #expect(loud.offer(state("again")))
    await bells.next()
    #expect(lanes.drain().count == 1)
  }

  @Test("A frame that waited in the queue is as old as it is")
  func age() async throws {
    let bridge = try Bridge(folder("bus"))
    var socket = try CANSocket.open(bridge.interface, dgns: [])
    try await bridge.accept()
    bridge.send(.chassis(brake: true))
    let sent = ContinuousClock.now
    try await waitUntil("it is old enough") { ContinuousClock.now > sent + .milliseconds(60) }
    var times: [ContinuousClock.Instant] = []
    _ = socket.receive { times.append($0.at) }
    try #require(times.count == 1)
    #expect(times[0] < sent + .milliseconds(30))
  }
}
