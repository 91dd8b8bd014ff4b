import Coach
import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

// The logs of Tests/Coach/scenes, through a socket that gives the same 16 bytes a frame as a CAN bus. The
// same on a bus of a kernel: Tests/Coach/vcan.py.
@Suite("What a bus says decides, and nothing else does", .serialized, .timeLimit(.minutes(15)))
struct SceneTests {
  private static let parked = CANFrame.chassis(brake: true)

  @Test("A coach that rolls out, stops and is put in park opens the gate, and not before")
  func parking() async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("parking")
    try await bus.until("it moves", after: frames[..<4]) {
      $0.gate("parked").reason == "The coach is moving at 3 km/h."
    }
    try await bus.until("it stands in gear", after: frames[..<5]) {
      $0.gate("parked").reason == "The parking brake is released."
    }
    try await bus.until("it is parked", after: frames[...]) {
      $0.gate("parked").state == .satisfied && $0.value("transmission_gear") == "park"
        && $0.value("engine_running") == "false" && $0.value("supply_voltage") == "13"
        && $0.value("interlock.slide_1") == "satisfied"
    }
    #expect(try bus.daemon.safety().isSafe)
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("A coach that drives off in the middle of an update stops it, and everything is as it was")
  func drivingOff() async throws {
    let bus = try await ListeningCoach(update: Sample.endless)
    try await bus.until("it is parked", after: [Self.parked]) {
      $0.gate("parked").state == .satisfied
    }
    let id = try bus.daemon.startUpdate()
    try await waitUntil("the update changes something") {
      // As a chassis does, again and again.
      bus.bridge.send(Self.parked)
      return try bus.daemon.run(id).phase == .apply
    }
    for frame in try Scene.frames("driving_off") { bus.bridge.send(frame) }
    let run = try await bus.daemon.ended(id)
    #expect(run.outcome == .rolledBack, "\(run)")
    #expect(run.error?.code == .gateClosed)
    #expect(try bus.coach.fingerprint() == Sample.prints.get().old)
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test(
    "A coach that multiplexes its chassis frames is read by its profile, and nothing is invented")
  func multiplexed() async throws {
    let bus = try await ListeningCoach(profile: "rvc-multiplexed")
    try await bus.until("both kinds are read", after: try Scene.frames("multiplexed")[...]) {
      $0.value("parking_brake") == "engaged" && $0.value("ignition") == "on"
    }
    let safety = try bus.daemon.safety()
    #expect(safety.value("vehicle_speed") == nil)
    #expect(safety.gate("parked").state == .unknown)
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test(
    "A bus that falls silent is unknown, with its last word, until it speaks again",
    arguments: ["its frames stop", "it goes away"])
  func silence(how: String) async throws {
    let bus = try await ListeningCoach()
    try await bus.until("it is parked", after: [Self.parked]) {
      $0.gate("parked").state == .satisfied
    }
    let goesAway = how == "it goes away"
    if goesAway { bus.bridge.hangUp() }
    try await waitUntil("it is unknown") {
      try bus.daemon.safety().gate("parked").state == .unknown
    }
    let safety = try bus.daemon.safety()
    #expect(safety.gate("parked").reason.contains("was last heard"), "\(safety.gate("parked"))")
    let brake = try #require(safety.readings?.first { $0.signal == "parking_brake" })
    #expect(brake.stale && brake.value == "engaged")
    if goesAway {
      #expect(bus.daemon.call.error.contains("was closed at the other end"))
      try await bus.bridge.accept()
    }
    try await bus.until("it is parked again", after: [Self.parked]) {
      $0.gate("parked").state == .satisfied && $0.sources.first?.isWell == true
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("Of two buses one that dies hides what moves on it, however well the other is heard")
  func twoBuses() async throws {
    let folder = try TemporaryFolder()
    let chassis = try Bridge(folder("chassis"))
    var house: Bridge? = try Bridge(folder("house"))
    let name = try #require(house?.interface)
    let coach = try Sample.coach(
      config: """
        environment = "development"
        [[coach.can]]
        interface = "\(chassis.interface)"
        profile = "j1939"
        [[coach.can]]
        interface = "\(name)"
        profile = "no-chassis-bus"
        """)
    let daemon = try await coach.serve()
    try await chassis.accept()
    try await house?.accept()
    let stands = CANFrame(id: 0x18FE_F100, data: [0xF7, 0, 0, 255, 255, 255, 255, 255])
    func gate() throws -> (state: GateState, reason: String) {
      chassis.send(stands)
      house?.send(CANFrame(id: 0x19FF_E840, data: [1, 0, 0, 0xFC, 255, 255, 255, 255]))
      return try daemon.safety().gate("no_active_controls")
    }
    try await waitUntil("both are heard") { try gate().state == .satisfied }
    house = nil
    try await waitUntil("one is not") { try gate().state == .unknown }
    #expect(try gate().reason.contains(name))
    #expect(try daemon.safety().value("vehicle_speed") == "0")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A coach that was moving when chock was killed is not vouched to stand after its restart")
  func restart() async throws {
    let bus = try await ListeningCoach()
    try await bus.until("it moves", after: [.chassis(brake: false, speed: 40)]) {
      $0.gate("parked").state == .violated
    }
    try await waitUntil("it is written down") {
      TestCoach.text("\(bus.coach.state)/last-words.json").contains("vehicle_speed")
    }
    bus.daemon.process.signal(SIGKILL)
    _ = await bus.daemon.process.ended()
    let daemon = try await bus.coach.serve()
    try await bus.bridge.accept()
    let refused = try await bus.coach.run("coach", "attest", "vehicle_speed=0")
    #expect(refused.code != 0 && refused.error.contains("is that the coach moves"), "\(refused)")
    #expect(try await bus.coach.run("coach", "attest", "parking_brake=engaged").code == 0)
    try await waitUntil("the device itself says that it stands") {
      bus.bridge.send(Self.parked)
      return try daemon.safety().gate("parked").state == .satisfied
    }
    #expect(await daemon.stop() == .exited(0))
    #expect(!TestCoach.text("\(bus.coach.state)/last-words.json").contains("vehicle_speed"))
  }

  @Test("Of a node that talks without end every change counts, and at the end the last word")
  func babbling() async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("babbling")
    try #require(frames.count == 900)
    try await bus.until("the brake is released", after: frames[..<600]) {
      $0.gate("parked").reason == "The parking brake is released."
    }
    try await bus.until("it is set", after: frames[600...]) {
      $0.gate("parked").state == .satisfied
    }
    // As fast as it takes them, 20 times the load of a full bus.
    for _ in 0..<20 { for frame in frames { bus.bridge.send(frame) } }
    try await bus.until("it has kept up", after: frames[899...]) {
      $0.gate("parked").state == .satisfied && $0.sources.first?.isWell == true
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test(
    "\"Error\" and \"not available\" are no values, and end the last one at once",
    arguments: [2, 3])
  func sentinels(count: Int) async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("sentinels")
    try await bus.until("it is parked", after: frames[..<1]) {
      $0.gate("parked").state == .satisfied
    }
    // Fresh but for the last frame.
    try await bus.until("it is unknown", after: frames[..<count]) {
      $0.gate("parked").state == .unknown && $0.value("parking_brake") == nil
        && $0.value("vehicle_speed") == nil && $0.value("transmission_gear") == nil
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("Frames that are short, of a wrong length, or none at all change nothing")
  func strangeFrames() async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("strange_frames").map(\.bytes)
    let moving = CANFrame.chassis(brake: false, speed: 90).bytes
    let wrongLengths = [9, 15, 64, 255].map { length -> [UInt8] in
      moving[..<4] + [UInt8(length)] + moving[5...]
    }
    let noFrames = [
      Array(moving[..<15]), moving + [0], Array(moving[..<1]), moving + moving,
      moving + [UInt8](repeating: 0, count: 56),
    ]
    try await bus.until(
      "what says nothing changes nothing", afterBytes: frames + wrongLengths + noFrames
    ) {
      $0.gate("parked").state == .satisfied && $0.sources.first?.isWell == true
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("Errors of the bus are told, with what to do, and its recovery too")
  func errors() async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("errors")
    try await bus.until("the warning is told", after: frames[..<2]) {
      $0.sources.first?.words.contains("its controller warns") == true
    }
    try await bus.until("bus-off is told", after: frames[...]) {
      $0.sources.first?.words.contains("bus-off") == true
        && $0.sources.first?.howToClear?.contains("terminators") == true
    }
    let restarted = try #require(CandumpLine("(0.0) can0 20000100#0000000000000000")).frame
    try await bus.until("the restart is told", after: [restarted]) {
      $0.sources.first?.isWell == true
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("A second node that says the opposite closes the gate, and both are named")
  func spoofed() async throws {
    let bus = try await ListeningCoach()
    try await bus.until(
      "two that disagree are a violation", after: try Scene.frames("spoofed")[...]
    ) {
      let gate = $0.gate("parked")
      return gate.state == .violated && gate.reason.contains("\(bus.bridge.interface)/9C")
        && gate.reason.contains("\(bus.bridge.interface)/21")
    }
    let answer = try bus.daemon.ask("POST", "/api/database/update", #"{"consent": true}"#)
    #expect(answer.status == 409, "\(answer.text)")
    #expect(await bus.daemon.stop() == .exited(0))
  }
}

/// A recording of Tests/Coach/scenes.
enum Scene {
  static func path(_ name: String) -> String {
    let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    return "\(top)/Tests/Coach/scenes/\(name).log"
  }

  static func frames(_ name: String) throws -> [CANFrame] {
    try TestCoach.text(path(name)).split(separator: "\n").filter { !$0.hasPrefix("#") }.map {
      try #require(CandumpLine($0), "\($0)").frame
    }
  }
}

/// The sample coach on a bus, with a daemon that listens to it.
struct ListeningCoach {
  let bridge: Bridge
  let coach: TestCoach
  let daemon: Daemon
  // Held, so that the bus is not removed under the bridge.
  private let folder: TemporaryFolder

  init(profile: String = "rvc", update: String = Sample.update) async throws {
    folder = try TemporaryFolder()
    bridge = try Bridge(folder("bus"))
    coach = try Sample.coach(config: Self.config(bridge, profile), update: update)
    daemon = try await coach.serve()
    try await bridge.accept()
  }

  static func config(_ bridge: Bridge, _ profile: String = "rvc") -> String {
    """
    environment = "development"
    [coach]
    required_gates = ["parked"]
    [[coach.can]]
    interface = "\(bridge.interface)"
    profile = "\(profile)"
    [update]
    rehearse = false
    """
  }

  /// Plays frames again and again, because what they say expires, until it has made of them what it should.
  func until(
    _ what: String, after frames: ArraySlice<CANFrame>, _ isSo: (SafetyDocument) -> Bool
  ) async throws {
    try await until(what, afterBytes: frames.map(\.bytes), isSo)
  }

  func until(
    _ what: String, afterBytes messages: [[UInt8]], _ isSo: (SafetyDocument) -> Bool
  ) async throws {
    // Says something else each time, so that it is known to have been heard, and all before it.
    var count = 0
    try await waitUntil(what) {
      count += 1
      for message in messages { bridge.send(message) }
      let motion = UInt8(count % 2)
      bridge.send(CANFrame(id: 0x19FF_E840, data: [99, motion, 0, 0xFC, 255, 255, 255, 255]))
      let expected = motion == 0 ? "satisfied" : "violated"
      var safety = try daemon.safety()
      try await waitUntil("all frames are heard") {
        safety = try daemon.safety()
        return safety.value("interlock.slide_99") == expected
      }
      return isSo(safety)
    }
  }
}

extension SafetyDocument {
  /// How a gate stands, and why.
  func gate(_ id: String) -> (state: GateState, reason: String) {
    gates.first { $0.id == id }.map { ($0.state, $0.reason) } ?? (.unknown, "There is no \(id).")
  }

  /// What all fresh readings of a signal say; nil when there is none, or they disagree.
  func value(_ signal: String) -> String? {
    let values = Set((readings ?? []).filter { $0.signal == signal && !$0.stale }.map(\.value))
    return values.count == 1 ? values.first ?? nil : nil
  }
}
