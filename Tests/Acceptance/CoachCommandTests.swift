import Coach
import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "A technician sees, records and replays what the coach says", .serialized,
  .timeLimit(.minutes(15)))
struct CoachCommandTests {
  // MARK: replay

  private static let parking = """
        0.000    parking_brake = released  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    vehicle_speed = 50  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    engine_running = true  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    transmission_gear = drive  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    selected_gear = drive  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    ignition = on  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    accessory = not available  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    transmission_lock = not available  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000    engine_lock = not available  (vcan0/9C, 19FFF49C#C02B0032FCFD7E7E)
        0.000  ✗ parked: The coach is moving at 50 km/h.
        0.000  ✗ engine_off: The engine is running.
        0.000  ✗ ignition: The ignition is on.
        0.000  ? interlocks: No interlock has been reported yet.
        0.000  ✓ emergency_stop: No source reports an emergency stop.
        0.000  ✓ no_active_controls: Nothing is being moved or switched.
        0.000  ? power: The battery voltage has not been reported yet.
        0.100    vehicle_speed = 30  (vcan0/9C, 19FFF49C#C02B001EFCFD7E7E)
        0.200    vehicle_speed = 12  (vcan0/9C, 19FFF49C#C02B000CFCFD7E7E)
        0.300    vehicle_speed = 3  (vcan0/9C, 19FFF49C#C02B0003FCFD7E7E)
        0.400    vehicle_speed = 0  (vcan0/9C, 19FFF49C#E0150000FCFD7E7E)
        0.500    parking_brake = engaged  (vcan0/9C, 19FFF49C#E0150000FDFDFBFB)
        0.500    transmission_gear = park  (vcan0/9C, 19FFF49C#E0150000FDFDFBFB)
        0.500    selected_gear = park  (vcan0/9C, 19FFF49C#E0150000FDFDFBFB)
        0.500  ✓ parked: The coach stands still with the parking brake set.
        0.600    engine_running = false  (vcan0/9C, 19FFF49C#00000000FDFDFBFB)
        0.600  ✓ engine_off: The engine is off.
        0.700    interlock.slide_1 = satisfied  (vcan0/40, 19FFE840#010000FCFFFFFFFF)
        0.700    secured.slide_1 = secured  (vcan0/40, 19FFE840#010000FCFFFFFFFF)
        0.700    position.slide_1 = 0  (vcan0/40, 19FFE840#010000FCFFFFFFFF)
        0.700  ✓ interlocks: All interlocks are satisfied.
        0.800    supply_voltage = 13  (vcan0/44, 19FFFD44#01780401FFFFFFFF)
        0.800  ✓ power: The battery has 13 V.
        5.800  ? power: The battery voltage was last heard 5 s ago (13, by vcan0/44).
        6.400  ? parked: The vehicle speed was last heard 5 s ago (0, by vcan0/9C).
        6.400  ? engine_off: The engine's state was last heard 5 s ago (false, by vcan0/9C).
        6.400  ? ignition: The ignition was last heard 5 s ago (on, by vcan0/9C).
     3600.700  ? interlocks: The interlock slide_1 was last heard 60 min ago (satisfied, by vcan0/40).
     3600.700  ? no_active_controls: The controller was last heard 59 min ago.
    """

  private static let drivingOff = """
        0.100    parking_brake = released  (vcan0/9C, 19FFF49C#E0150000FCFD7E7E)
        0.100    transmission_gear = drive  (vcan0/9C, 19FFF49C#E0150000FCFD7E7E)
        0.100    selected_gear = drive  (vcan0/9C, 19FFF49C#E0150000FCFD7E7E)
        0.100  ✗ parked: The parking brake is released.
        0.200    vehicle_speed = 1  (vcan0/9C, 19FFF49C#80250001FCFD7E7E)
        0.300    vehicle_speed = 4  (vcan0/9C, 19FFF49C#80250004FCFD7E7E)
        0.400    vehicle_speed = 9  (vcan0/9C, 19FFF49C#80250009FCFD7E7E)
        0.500    vehicle_speed = 15  (vcan0/9C, 19FFF49C#8025000FFCFD7E7E)
        6.000  ? parked: The vehicle speed was last heard 5 s ago (15, by vcan0/9C).
        6.000  ? engine_off: The engine's state was last heard 5 s ago (true, by vcan0/9C).
        6.000  ? ignition: The ignition was last heard 5 s ago (on, by vcan0/9C).
        6.000  ? no_active_controls: The controller was last heard 5 s ago.
    """

  @Test("A recording is told line by line, until all that it said is stale")
  func replay() async throws {
    let coach = try TestCoach()
    let parking = try await coach.run("coach", "replay", Scene.path("parking"))
    #expect(parking.code == 0 && parking.output == Self.parking + "\n", "\(parking)")
    let off = try await coach.run("coach", "replay", Scene.path("driving_off"))
    #expect(off.code == 0 && off.output.hasSuffix("\n" + Self.drivingOff + "\n"), "\(off)")
    // As it comes from a pipe, or from a computer whose lines end with CR and LF.
    let text = TestCoach.text(Scene.path("parking"))
    for text in [text, text.replacing("\n", with: "\r\n")] {
      let piped = try await coach.run(["coach", "replay", "-"], input: text)
      #expect(piped.output == parking.output, "\(piped)")
    }
  }

  private struct Line: Decodable, Equatable {
    var seconds: Double
    var signal: String?
    var value: String?
    var source: String?
    var evidence: String?
    var gate: String?
    var state: GateState?
    var reason: String?
  }

  @Test("With --json each line is a document, the same each time")
  func replayJSON() async throws {
    let coach = try TestCoach()
    let answer = try await coach.run("coach", "replay", Scene.path("driving_off"), "--json")
    let lines = try answer.output.split(separator: "\n").map {
      try JSON.decode(Line.self, from: Array($0.utf8))
    }
    #expect(lines.count == 28)
    #expect(
      lines.first
        == Line(
          seconds: 0, signal: "parking_brake", value: "engaged", source: "vcan0/9C",
          evidence: "19FFF49C#E0150000FDFDFBFB"))
    #expect(
      lines.contains(
        Line(
          seconds: 0.1, gate: "parked", state: .violated, reason: "The parking brake is released."))
    )
    let again = try await coach.run("coach", "replay", Scene.path("driving_off"), "--json")
    #expect(again.output == answer.output)
  }

  @Test("Without a parked coach before it, the profile decides what is read")
  func replayProfile() async throws {
    let coach = try TestCoach()
    let path = Scene.path("multiplexed")
    let answer = try await coach.run("coach", "replay", path, "--profile", "rvc-multiplexed")
    #expect(answer.output.contains("parking_brake = engaged"), "\(answer)")
    #expect(!answer.output.contains("vehicle_speed ="))
  }

  @Test("A line that is none is named, and so is a recording that is not there")
  func replayBadLine() async throws {
    let coach = try TestCoach()
    let file = try coach.folder.write(
      "# A note\n(1.0) can0 19FFF49C#00000000FDFDFBFB\n\nvcan0  19FFF49C   [2]  00 01\n",
      to: "bad.log")
    let answer = try await coach.run("coach", "replay", file)
    #expect(answer.code == 65 && answer.error.contains("\(file):4"), "\(answer)")
    #expect(answer.error.contains("CHK-COACH-FILE") && answer.error.contains("Such as `("))
    let missing = try await coach.run("coach", "replay", coach.folder("none.log"))
    #expect(missing.code == 66, "\(missing)")
  }

  // MARK: record

  @Test("A recording has every frame as it was sent, and is what replay takes")
  func record() async throws {
    let folder = try TemporaryFolder()
    let bridge = try Bridge(folder("bus"))
    let coach = try TestCoach()
    let file = folder("coach.log")
    let call = try coach.start(["coach", "record", file, "--interface", bridge.interface])
    try await bridge.accept()
    let frames = try ["parking", "strange_frames", "errors", "driving_off"].flatMap(Scene.frames)
    for frame in frames { bridge.send(frame) }
    try await waitUntil("all are in the file") {
      TestCoach.text(file).split(separator: "\n").count == frames.count
    }
    call.process.signal(SIGINT)
    let answer = await call.answer()
    #expect(answer.code == 0, "\(answer)")
    #expect(answer.output.contains("\(frames.count) frames of \(bridge.interface) are in \(file)."))
    let lines = try TestCoach.text(file).split(separator: "\n").map {
      try #require(CandumpLine($0), "\($0)")
    }
    #expect(lines.map(\.frame) == frames)
    #expect(lines.map(\.text).joined(separator: "\n") + "\n" == TestCoach.text(file))
    #expect(lines.map(\.seconds) == lines.map(\.seconds).sorted())
    let replay = try await coach.run("coach", "replay", file)
    #expect(replay.code == 0 && replay.output.contains("vehicle_speed = 15"), "\(replay)")

    // What is there already is not overwritten.
    let refused = try await coach.run(
      "coach", "record", file, "--interface", bridge.interface)
    #expect(refused.code == 74 && refused.error.contains("is there already"), "\(refused)")
    #expect(TestCoach.text(file).split(separator: "\n").count == frames.count)
  }

  @Test("A bus that ends leaves what it said, and is told; so is one that is not there")
  func recordEnd() async throws {
    let folder = try TemporaryFolder()
    let bridge = try Bridge(folder("bus"))
    let coach = try TestCoach(config: ListeningCoach.config(bridge))
    let call = try coach.start(["coach", "record", folder("coach.log")])
    try await bridge.accept()
    for frame in try Scene.frames("parking") { bridge.send(frame) }
    bridge.hangUp()
    let answer = await call.answer()
    #expect(answer.code == 74 && answer.error.contains("was closed at the other end"), "\(answer)")
    #expect(TestCoach.text(folder("coach.log")).split(separator: "\n").count == 10)
    let none = try await coach.run(
      "coach", "record", folder("none.log"), "--interface", "unix:\(folder("none"))")
    #expect(none.code == 74 && none.error.contains("Nobody listens"), "\(none)")
  }

  @Test(
    "A full disk leaves whole lines, and is told",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"))
  func recordFullDisk() async throws {
    let folder = try TemporaryFolder()
    let mount = try Mount(tmpfs: folder("disk"), megabytes: 1)
    defer {
      mount.detach()
      withExtendedLifetime(folder) {}
    }
    // All but one page.
    try folder.write(String(repeating: "x", count: 255 * 4096), to: "disk/other")
    let bridge = try Bridge(folder("bus"))
    let coach = try TestCoach()
    let file = folder("disk/coach.log")
    let call = try coach.start(["coach", "record", file, "--interface", bridge.interface])
    try await bridge.accept()
    for _ in 0..<200 { bridge.send(.chassis(brake: true)) }
    let answer = await call.answer()
    #expect(answer.code == 74 && answer.error.contains("No space left on device"), "\(answer)")
    let text = TestCoach.text(file)
    #expect(text.hasSuffix("#00000000FDFFFFFF\n") && text.utf8.count > 3900, "\(text.suffix(80))")
    #expect(try await coach.run("coach", "replay", file).code == 0)
  }

  // MARK: watch

  @Test("The table is there once, from the daemon")
  func watch() async throws {
    let bus = try await ListeningCoach()
    let frames = try Scene.frames("parking")
    try await bus.until("it is parked", after: frames[...]) {
      $0.gate("parked").state == .satisfied
    }
    let answer = try await bus.coach.run("coach", "watch", "--once", "--json")
    #expect(answer.code == 0, "\(answer)")
    let safety: SafetyDocument = try answer.document()
    #expect(safety.schema == "chock.SAFETY/1")
    #expect(
      safety.readings?.contains { $0.evidence == "19FFF49C#00000000FDFDFBFB" } == true)
    let table = try await bus.coach.run("coach", "watch", "--once")
    for word in ["SIGNAL", "supply_voltage", "13", "Listening.", "Parked"] {
      #expect(table.output.contains(word), "\(word) in: \(table)")
    }
    #expect(await bus.daemon.stop() == .exited(0))
  }

  @Test("Without a daemon it listens itself, before it shows the table once")
  func watchAlone() async throws {
    let folder = try TemporaryFolder()
    let bridge = try Bridge(folder("bus"))
    let coach = try Sample.coach(config: ListeningCoach.config(bridge))
    let call = try coach.start(["coach", "watch", "--once", "--json", "--for", "3"])
    try await bridge.accept()
    try await waitUntil("it has ended") {
      bridge.send(.chassis(brake: true), waiting: false)
      return call.process.end != nil
    }
    let answer = await call.answer()
    let safety: SafetyDocument = try answer.document()
    #expect(answer.code == 0 && safety.gate("parked").state == .satisfied, "\(answer)")
  }

  // MARK: profile

  @Test(
    "A built-in profile can be shown, copied and changed, and what is wrong is named with its line")
  func profile() async throws {
    let coach = try TestCoach()
    let names = try await coach.run("coach", "profile", "show")
    #expect(names.output.split(separator: "\n").contains("rvc"), "\(names)")
    for name in names.output.split(separator: "\n").map(String.init) {
      let shown = try await coach.run("coach", "profile", "show", name)
      let file = try coach.folder.write(shown.output, to: "\(name).toml")
      let checked = try await coach.run("coach", "profile", "check", file)
      #expect(checked.code == 0 && checked.output.contains(": good."), "\(checked)")
      let builtIn = try await coach.run("coach", "profile", "check", name)
      #expect(builtIn.output == checked.output)
    }
    let text = TestCoach.text(coach.folder("rvc.toml"))
    let file = try coach.folder.write(
      text.replacing("at = \"4.0-1\"", with: "at = \"4.0-9\""), to: "ours.toml")
    let line = try #require(
      text.split(separator: "\n", omittingEmptySubsequences: false).firstIndex {
        $0.hasPrefix("at = \"4.0-1\"")
      })
    let wrong = try await coach.run("coach", "profile", "check", file)
    #expect(wrong.code == 65 && wrong.error.contains("\(file):\(line + 1)"), "\(wrong)")
    #expect(try await coach.run("coach", "profile", "check", "rv-c").code == 66)
    // Nobody writes into it, and nobody waits for that.
    let pipe = coach.folder("pipe.toml")
    try #require(mkfifo(pipe, 0o600) == 0)
    let refused = try await coach.run("coach", "profile", "check", pipe)
    #expect(refused.code == 74 && refused.error.contains("is not a file"), "\(refused)")
    #expect(try await coach.run("coach", "replay", pipe).code == 74)
    #expect(try await coach.run("coach", "profile", "show", "rv-c").code == 66)
  }
}
