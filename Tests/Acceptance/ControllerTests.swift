import Coach
import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "The controller is asked, counted and told, and keeps nobody from what is safe", .serialized,
  .timeLimit(.minutes(15)))
struct ControllerTests {
  @Test("CoachIQ may speak against an update, is never the reason to allow one, and is missed")
  func coachIQ() async throws {
    let controller = CoachIQ()
    let server = try FakeServer(isUp: false, controller.answer)
    let coach = try TestCoach(
      config: """
        environment = "development"
        [coach]
        required_gates = ["parked", "emergency_stop", "no_active_controls"]
        [[coach.http]]
        url = "\(server.url)"
        every_seconds = 0.2
        """)
    let daemon = try await coach.serve()
    func park() throws {
      try daemon.put("vehicle_speed", "0")
      try daemon.put("parking_brake", "\"engaged\"")
    }
    // Down from the start. What others say does not stand for what it is asked for.
    try await waitUntil("it is missed") { try daemon.safety().sources.first?.isWell == false }
    try park()
    var safety = try daemon.safety()
    #expect(safety.gate("parked").state == .satisfied)
    for gate in ["emergency_stop", "no_active_controls"] {
      #expect(safety.gate(gate).state == .unknown, "\(safety.gate(gate))")
      #expect(safety.gate(gate).reason.contains(server.url), "\(safety.gate(gate))")
    }
    #expect(!safety.isSafe)
    server.start()
    try await waitUntil("it is asked") { try daemon.safety().isSafe }

    controller.change(to: .init(emergencyStop: true))
    try await waitUntil("its emergency stop counts") {
      try daemon.safety().gate("emergency_stop").state == .violated
    }
    controller.change(to: .init(pendingOperations: ["slide_1_extend"]))
    try await waitUntil("its pending operations count") {
      safety = try daemon.safety()
      return safety.gate("emergency_stop").state == .satisfied
        && safety.gate("no_active_controls").reason == "The coach is moving something."
    }
    controller.change(to: .init(parkingBrake: false))
    try await waitUntil("what it says otherwise than others is told, with who they are") {
      let gate = try daemon.safety().gate("parked")
      return gate.state == .violated && gate.reason.contains(server.url)
    }
    controller.change(to: .init())
    try await waitUntil("all is well again") { try daemon.safety().isSafe }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("CoachIQ's word alone is not enough")
  func coachIQAlone() async throws {
    let server = try FakeServer(CoachIQ().answer)
    let coach = try TestCoach(
      config: """
        environment = "development"
        [coach]
        required_gates = ["parked", "no_active_controls"]
        [[coach.http]]
        url = "\(server.url)"
        """)
    let daemon = try await coach.serve()
    try await waitUntil("it is heard") { try daemon.safety().value("parking_brake") == "engaged" }
    let safety = try daemon.safety()
    #expect(safety.gate("parked").state == .unknown, "\(safety.gate("parked"))")
    #expect(safety.gate("no_active_controls").state == .unknown)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Who is connected to the controller closes a gate, for as long as it is")
  func connections() async throws {
    let (listener, port) = try listenOnLoopback()
    defer { close(listener) }
    let coach = try TestCoach(
      config: """
        environment = "development"
        [coach]
        required_gates = ["no_active_connections"]
        controller_port = \(port)
        """)
    let daemon = try await coach.serve()
    func state() throws -> GateState { try daemon.safety().gate("no_active_connections").state }
    try await waitUntil("nobody is") { try state() == .satisfied }
    let app = try SocketClient.connected(to: port)
    try await waitUntil("somebody is") { try state() == .violated }
    let reading = try daemon.safety().readings?.first { $0.signal == "connections" }
    #expect(reading?.value == "1" && reading?.evidence?.hasPrefix("127.0.0.1:") == true)
    close(app)
    try await waitUntil("nobody is any more") { try state() == .satisfied }
    #expect(await daemon.stop() == .exited(0))
  }

  // MARK: Being told

  private struct Notice: Decodable {
    var schema: String
    var updateInProgress: UpdateInProgress?
  }

  @Test("Who is named as a hook is told of an update, and of its end")
  func hook() async throws {
    let server = try FakeServer { _, _ in .text("{}") }
    let coach = try Sample.coach(
      config: """
        environment = "development"
        [coach]
        required_gates = []
        lock_hook_url = "\(server.url)/chock?from=coach"
        """)
    let daemon = try await coach.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    try await waitUntil("it is told of the end") { server.requests.count == 2 }
    let bodies = try server.requests.map { request in
      #expect(request.hasPrefix("POST /chock?from=coach HTTP/1.1\r\n"))
      #expect(request.contains("\r\nContent-Type: application/json\r\n"))
      return try #require(request.split(separator: "\r\n\r\n").last)
    }
    let begin = try JSON.decode(Notice.self, from: Array(bodies[0].utf8))
    #expect(begin.schema == "chock.LOCK_HOOK/1")
    #expect(begin.updateInProgress?.run == run.id)
    #expect(begin.updateInProgress?.message.contains("do not move slides") == true)
    #expect(bodies[1] == #"{"schema":"chock.LOCK_HOOK/1","update_in_progress":null}"#)
    #expect(await daemon.stop() == .exited(0))
    #expect(server.requests.count == 2)
  }

  @Test("A unit that is named is started with an update, and stopped at its end")
  func unit() async throws {
    let folder = try TemporaryFolder()
    let systemctl = try folder.write(
      "#!/bin/sh\necho \"$@\" >> \(folder("calls"))\n", to: "systemctl")
    try #require(chmod(systemctl, 0o700) == 0)
    let coach = try Sample.coach(
      config: """
        environment = "development"
        [coach]
        required_gates = []
        lock_unit = "coach-holds-still.target"
        """)
    let daemon = try await coach.serve(
      environment: ["PATH": "\(folder("")):/usr/local/bin:/usr/bin:/bin"])
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    let calls = ["start", "stop"].map { "\($0) --no-block coach-holds-still.target\n" }.joined()
    try await waitUntil("it is stopped") { TestCoach.text(folder("calls")) == calls }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A hook that refuses, is not there or never answers keeps the update from nothing",
    arguments: ["refuses", "is not there", "never answers"])
  func badHook(how: String) async throws {
    let server = try FakeServer(isUp: how != "is not there") { _, _ in
      how == "refuses" ? .text("{}", status: "503 Service Unavailable") : .silence
    }
    let coach = try Sample.coach(
      config: """
        environment = "development"
        [coach]
        required_gates = []
        lock_hook_url = "\(server.url)"
        """)
    let daemon = try await coach.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(try coach.fingerprint() == Sample.prints.get().new)
    // It is given up after 10 seconds, which nobody has waited for.
    guard how != "never answers" else { return }
    try await waitUntil("it is in the log") {
      daemon.call.error.contains("The controller was not told of the update")
    }
    #expect(await daemon.stop() == .exited(0))
  }
}
