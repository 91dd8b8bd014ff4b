import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "After an update the application has to show that it is well, or the old state comes back",
  .serialized, .timeLimit(.minutes(15)))
struct ProbationTests {
  /// - Parameter seconds: how long the probation lasts.
  private func application(
    _ way: CoachApplication.Way = .commands, seconds: Int = 2, checks: String = ""
  ) async throws -> CoachApplication {
    try await CoachApplication(way) { port in
      """
      probation_seconds = \(seconds)
      interval_seconds = 1
      unhealthy_seconds = 4
      healthy_after = 2
      [[application.health]]
      kind = "http"
      url = "http://127.0.0.1:\(port)/health"
      pointer = "/ok"
      value = true
      \(checks)
      """
    }
  }

  @Test("One that is well keeps the new state, by every kind of check")
  func well() async throws {
    let application = try await application(
      .units,
      checks: """
        [[application.health]]
        kind = "unit"
        unit = "sample.service"
        [[application.health]]
        kind = "written"
        [[application.health]]
        kind = "command"
        command = ["true"]
        """)
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.phases.map(\.phase).suffix(4) == [.commit, .resume, .prove, .done])
    #expect(run.warnings == nil)
    #expect(await daemon.stop() == .exited(0))
    try await application.goesOn()
  }

  @Test("The time that a plan names counts in the application: its stop, its start, its probation")
  func expectedTime() async throws {
    let application = try await application()
    let coach = application.coach
    let daemon = try await application.serve()
    /// What the plan names beyond what its rehearsal has measured.
    func besides() async throws -> Double {
      let answer = try await coach.run("rehearse", "--json")
      let tried: RunDocument = try answer.document()
      let plan: PlanDocument = try await coach.run("plan", "--json").document()
      let measured = tried.phases.filter { $0.phase != .done }.reduce(0) { $0 + $1.seconds }
      return try #require(plan.expectedSeconds) - measured
        - (try #require(tried.rehearsal, "\(answer)").seconds)
    }
    let before = try await besides()
    #expect(abs(before - 2) < 0.001, "only the probation is known: \(before)")

    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    let around = run.phases.filter { [.quiesce, .resume].contains($0.phase) }
    #expect(around.count == 2)
    try coach.folder.write(
      "-- Description: More\nCREATE TABLE more (id INTEGER PRIMARY KEY) STRICT;\n",
      to: "migrations/0003_more.sql")
    let after = try await besides()
    #expect(abs(after - around.reduce(2) { $0 + $1.seconds }) < 0.001, "\(after) of \(run)")
    #expect(await daemon.stop() == .exited(0))
  }

  /// The old state is back, with the application in safe mode, and nothing that it wrote is lost.
  private func isBack(_ run: RunDocument, _ application: CoachApplication) async throws {
    let coach = application.coach
    #expect(run.outcome == .restored, "\(run)")
    #expect(run.error?.code == .applicationUnhealthy)
    #expect(try coach.ledgerVersion() == "1")
    #expect(try !coach.names(in: "state").contains("run.json"))
    try await waitUntil("it runs in safe mode") {
      application.log.contains("started with 1 in safe mode")
    }
    #expect(TestCoach.text("\(coach.state)/safe-mode.json").contains("chock.SAFE_MODE/1"))
    try await application.goesOn()
    try await application.quit()
    let copies = try coach.names(in: "state/snapshots").filter { $0.hasSuffix(".sqlite") }
      .map { "\(coach.state)/snapshots/\($0)" }
    #expect(try await application.missing(in: [coach.database] + copies) == 0)
  }

  @Test("One that is not well goes back", arguments: CoachApplication.Way.allCases)
  func unhealthy(way: CoachApplication.Way) async throws {
    let application = try await application(way)
    try application.make("unhealthy")
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.rescueCopy != nil)
    #expect(run.error?.message.contains("503") == true, "\(run)")
    #expect(
      run.phases.map(\.phase).suffix(5) == [.commit, .resume, .prove, .restore, .resume], "\(run)")
    // The order counts: rows of the new version have no place in the old one.
    let copy = try #require(run.rescueCopy)
    let order = "update first (`chock update`), then `chock rescue apply \(copy)`"
    for verb in [["status"], ["rescue", "show", copy]] {
      let told = try await application.coach.run(verb)
      #expect(told.output.contains(order), "\(verb): \(told)")
    }
    try application.unmake("unhealthy")
    try await isBack(run, application)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("One that refuses the new schema goes back")
  func refusing() async throws {
    let application = try await application()
    try application.make("knows", "1")
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(application.log.contains("refused 2"))
    try await isBack(run, application)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A health endpoint that hangs, answers with garbage, sends elsewhere or without an end is not well",
    arguments: ["hang", "garbage", "text", "redirect", "stream"])
  func badAnswer(way: String) async throws {
    let application = try await application()
    try application.make("health", way)
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    try application.unmake("health")
    // Nobody follows it elsewhere.
    #expect(!application.log.contains { $0.hasPrefix("asked for") }, "\(application.log)")
    try await isBack(run, application)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("One that fails with the old schema, too, is left to its supervisor, and the run has ended")
  func failingStill() async throws {
    let application = try await application()
    // It knows neither.
    try application.make("knows", "0")
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .restored, "\(run)")
    #expect(run.error?.code == .applicationUnhealthy)
    #expect(try application.coach.ledgerVersion() == "1")
    try await waitUntil("it fails in safe mode") {
      application.log.contains("started with 1 in safe mode")
        && application.log.contains("refused 1")
    }
    #expect(try daemon.status().mode == .normal)
    #expect(try !application.coach.names(in: "state").contains("run.json"))
    try application.unmake("knows")
    try await application.goesOn()
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "One that crashes again and again goes back, also where no check asks for its unit",
    arguments: [true, false])
  func crashing(isNamed: Bool) async throws {
    let application = try await application(
      .units, seconds: 60,
      checks: isNamed
        ? """
        [[application.health]]
        kind = "unit"
        unit = "sample.service"
        """ : "")
    try application.make("crash-later")
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    let run = try await daemon.ended(id)
    try application.unmake("crash-later")
    try await isBack(run, application)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A person ends it early, and so does the application", arguments: ["POST", "PUT", "confirm"])
  func confirmed(how: String) async throws {
    let application = try await application(seconds: 3600)
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    #expect(try daemon.ask("POST", "/api/database/update/none/confirm").status == 404)
    try await waitUntil("it is watched") { try daemon.run(id).phase == .prove }
    #expect(try !daemon.run(id).cancellable)
    #expect(try daemon.ask("POST", "/api/database/update/\(id)/cancel").status == 403)
    #expect(try daemon.safety().updateInProgress == nil)
    if how == "confirm" {
      #expect(try await application.coach.run("confirm").code == 1)
    } else {
      #expect(try daemon.ask(how, "/api/database/update/\(id)/confirm").status == 200)
    }
    let run = try await daemon.ended(id)
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.confirmedBy != nil)
    #expect(try daemon.ask("POST", "/api/database/update/\(id)/confirm").status == 404)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A daemon that is killed in it goes on with it", arguments: [true, false], [true, false])
  func killed(isWell: Bool, isKilled: Bool) async throws {
    let application = try await application(seconds: isWell ? 20 : 60)
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    try await waitUntil("it is watched") { try daemon.run(id).phase == .prove }
    if isKilled {
      let worker = Processes.children(of: daemon.process.pid).first
      daemon.process.signal(SIGKILL)
      _ = await daemon.process.ended()
      try await waitUntil("the worker has gone") { worker.map(Processes.isRunning) != true }
    } else {
      #expect(await daemon.stop() == .exited(0))
    }
    #expect(application.isUp)
    if !isWell { try application.make("unhealthy") }
    // It answers while the application is being watched.
    let next = try await application.serve()
    #expect(try next.status().currentJobId == id)
    let run = try await next.ended(id)
    if isWell {
      #expect(run.outcome == .committed, "\(run)")
    } else {
      try application.unmake("unhealthy")
      try await isBack(run, application)
    }
    #expect(await next.stop() == .exited(0))
    #expect(try await application.coach.run("recover", "--json").code == 0)
  }

  @Test(
    "A kill while the old state is put back", arguments: [Phase.restore, .resume], Victim.allCases)
  func killedOnTheWayBack(phase: Phase, victim: Victim) async throws {
    let application = try await application()
    try application.make("unhealthy")
    let coach = application.coach
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    try await waitUntil("it is watched") { try daemon.run(id).phase == .prove }
    let worker = try #require(Processes.children(of: daemon.process.pid).first)
    // The journal says `restore`, and then `resume` for the second time.
    try await waitUntil("it goes back") {
      let journal = TestCoach.text("\(coach.state)/run.json")
      return journal.contains(#""phase" : "\#(phase.rawValue)","#)
        && journal.contains("unhealthy")
    }
    kill(worker, SIGSTOP)
    if victim != .worker { daemon.process.signal(SIGKILL) }
    kill(worker, victim == .daemon ? SIGCONT : SIGKILL)
    try await waitUntil("the worker has gone") { !Processes.isRunning(worker) }
    try application.unmake("unhealthy")
    var next = daemon
    if victim != .worker {
      _ = await daemon.process.ended()
      next = try await application.serve()
    }
    let run = try await next.ended(id)
    try await isBack(run, application)
    #expect(await next.stop() == .exited(0))
  }

  /// An application that goes on, and is never well.
  private static let hopeless = """
    \(TestCoach.development)
    [application]
    mode = "read_only"
    unhealthy_seconds = 0
    [[application.health]]
    kind = "command"
    command = ["false"]
    """

  @Test(
    "A way back that was killed before its commit leaves one rescue copy",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
  func oneRescueCopy() async throws {
    let coach = try Sample.coach(
      config: Self.hopeless)
    // Its own rescue copy is named by then.
    var shim = Shim(.kill, at: [1], phase: .restore)
    shim.file = "coach.db-wal"
    shim.role = "worker"
    let run: RunDocument = try await coach.run(
      ["update", "--offline", "--json"], environment: shim.environment(of: coach)
    ).document()
    #expect(shim.faults(of: coach) == 1)
    #expect(run.outcome == .restored, "\(run)")
    let copies = try coach.names(in: "state/snapshots").filter { $0.hasSuffix(".sqlite") }
    #expect(
      Set(copies) == Set([run.snapshotId, run.rescueCopy].compactMap { $0.map { "\($0).sqlite" } }))
    #expect(try coach.ledgerVersion() == "1")
  }

  @Test(
    "An update out of order that is given up is put back, though the version is the same before and after",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
  func outOfOrder() async throws {
    let coach = try TestCoach(
      config: Self.hopeless,
      migrations: [
        "0001_a.sql": "CREATE TABLE a (x);", "0003_c.sql": "-- Description: C\nCREATE TABLE c (x);",
      ])
    #expect(try await coach.run("init").code == 0)
    let before = try coach.fingerprint()
    try coach.folder.write(
      "-- Description: B\nCREATE TABLE b (x);", to: "migrations/0002_b.sql")
    var shim = Shim(.kill, at: [1], phase: .restore)
    shim.role = "worker"
    let run: RunDocument = try await coach.run(
      ["update", "--offline", "--out-of-order", "--json"], environment: shim.environment(of: coach)
    ).document()
    #expect(shim.faults(of: coach) == 1)
    #expect(run.outcome == .restored, "\(run)")
    #expect(try coach.fingerprint() == before)
  }

  @Test(
    "A journal that cannot be written on the way back keeps no application down",
    .enabled(if: FileSystem.facts(TestCoach.shim) != nil, "libIOShim.so is not built."))
  func unwrittenJournal() async throws {
    let original = try Sample.coach()
    try SampleUnits.add(to: original, isWell: false)
    let image = try original.image()
    var faults = 0
    for point in 1... {
      let coach = try TestCoach(image)
      var shim = Shim(.eio, at: [point], phase: .restore)
      shim.file = "run.json*"
      shim.role = "worker"
      let plain = SampleUnits.environment(of: coach)
      let answer = try await coach.run(
        ["update", "--offline", "--json"],
        environment: shim.environment(of: coach).merging(plain) { $1 })
      guard shim.faults(of: coach) > 0 else { break }
      faults += 1
      _ = try await coach.run(["recover"], environment: plain)
      #expect(
        SampleUnits.running(in: coach) == ["one.service", "three.service"], "\(point): \(answer)")
    }
    #expect(faults > 5)
  }

  @Test("The next update that goes well ends the safe mode")
  func safeModeEnds() async throws {
    let application = try await application()
    try application.make("unhealthy")
    let daemon = try await application.serve()
    let first = try await daemon.ended(try daemon.startUpdate())
    #expect(first.outcome == .restored, "\(first)")
    try application.unmake("unhealthy")
    let second = try await daemon.ended(try daemon.startUpdate())
    #expect(second.outcome == .committed, "\(second)")
    #expect(try !application.coach.names(in: "state").contains("safe-mode.json"))
    #expect(application.log.last == "started with 2", "\(application.log)")
    #expect(await daemon.stop() == .exited(0))
  }
}
