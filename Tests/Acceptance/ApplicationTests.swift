import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "The application is stopped before its database is changed, and started again on every way out",
  .serialized, .timeLimit(.minutes(15)))
struct ApplicationTests {
  /// It runs again, was started by chock, and all that it got an OK for is there.
  private func isBack(_ application: CoachApplication, _ version: String) async throws {
    try await application.goesOn()
    #expect(application.starts > 0)
    #expect(try application.coach.ledgerVersion() == version)
    #expect(try !application.coach.names(in: "state").contains("run.json"))
    try await application.quit()
    #expect(try await application.missing(in: [application.coach.database]) == 0)
  }

  @Test("An update that commits", arguments: CoachApplication.Way.allCases)
  func commit(way: CoachApplication.Way) async throws {
    let application = try await CoachApplication(way)
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.warnings == nil, "\(run)")
    #expect(
      run.phases.map(\.phase)
        == [
          .plan, .safety, .quiesce, .snapshot, .rehearse, .apply, .verify, .commit, .resume, .done,
        ])
    #expect(application.stops == 1 && application.starts == 1, "\(application.log)")
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "2")
  }

  @Test("A rehearsal and a snapshot leave it alone")
  func alone() async throws {
    let application = try await CoachApplication()
    for verb in [["rehearse"], ["snapshots", "take"]] {
      #expect(try await application.coach.run(verb + ["--offline"]).code == 0)
    }
    #expect(application.stops == 0)
  }

  @Test("What did not run is not started", arguments: CoachApplication.Way.allCases)
  func notRunning(way: CoachApplication.Way) async throws {
    let application = try await CoachApplication(way, isRunning: false)
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(application.stops == 0 && application.starts == 0, "\(application.log)")
    #expect(!application.isUp)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("One that does not start is tried again; one that never does is told")
  func reluctant() async throws {
    let application = try await CoachApplication(behaviours: ["reluctant": "2"])
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed && run.warnings == nil, "\(run)")
    #expect(application.starts == 3, "\(application.log)")
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "2")

    let other = try await CoachApplication(behaviours: ["reluctant": "9"])
    let second = try await other.serve()
    let told = try await second.ended(try second.startUpdate())
    #expect(told.outcome == .committed, "\(told)")
    #expect(told.warnings?.map(\.code) == [.application], "\(told)")
    let status = try await other.coach.run("status")
    #expect(status.output.contains("The application was not started"), "\(status)")
    #expect(await second.stop() == .exited(0))
    try await other.quit()
  }

  @Test("With a journal that nobody can read, what does not run is named when the run is forgotten")
  func forgotten() async throws {
    let application = try await CoachApplication(isRunning: false)
    let coach = application.coach
    try coach.folder.write("{", to: "state/run.json")
    let answer = try await coach.run("recover", "--discard", environment: application.environment)
    #expect(answer.code == 0, "\(answer)")
    #expect(answer.output.contains("does not run: application"), "\(answer)")
    #expect(application.starts == 0, "\(application.log)")
    try await application.quit()
  }

  /// `systemctl start` for a unit that is ordered behind chock's: chock is started first, and has to be ready.
  private static let ordered = """
    #!/usr/bin/env python3
    import os, socket, subprocess, sys
    chock, program, folder = "CHOCK", "PROGRAM", "FOLDER"
    if "start" in sys.argv and not os.path.exists(folder + "/daemon"):
        ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        ready.bind(folder + "/ready")
        ready.settimeout(20)
        daemon = subprocess.Popen([chock, "serve"], start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(folder + "/daemon.log", "w"),
            env=os.environ | {"NOTIFY_SOCKET": folder + "/ready"})
        print(daemon.pid, file=open(folder + "/daemon", "w"))
        while b"READY=1" not in ready.recv(4096):
            pass
    os.execvp("python3", ["python3", program, "systemctl", folder, *sys.argv[1:]])
    """

  @Test(
    "A daemon that is started because the application is, by a run without it, does not wait for that run"
  )
  func orderedBehind() async throws {
    let application = try await CoachApplication(.units)
    let script = Self.ordered.replacing("CHOCK", with: TestCoach.binary)
      .replacing("PROGRAM", with: CoachApplication.program)
      .replacing("FOLDER", with: application.folder.path)
    try application.folder.write(script, to: "bin/systemctl")
    try #require(chmod(application.folder("bin/systemctl"), 0o700) == 0)
    let answer = try await application.coach.run(
      "update", "--offline", "--json", environment: application.environment)
    let daemon = Int32(TestCoach.text(application.folder("daemon")).filter(\.isNumber))
    defer { if let daemon { kill(daemon, SIGKILL) } }
    let run = try answer.document(RunDocument.self)
    #expect(run.outcome == .committed && run.warnings == nil, "\(run)")
    // It knows of the run when that has ended.
    try await waitUntil("it is told") {
      let status = try await application.coach.run("status", "--json").document(StatusDocument.self)
      return status.run?.id == run.id && status.run?.outcome == .committed
    }
    kill(try #require(daemon), SIGTERM)
    try await waitUntil("it has ended") { !Processes.isRunning(try #require(daemon)) }
    try await isBack(application, "2")
  }

  @Test("An update that fails in the rehearsal, and one that fails in the database")
  func failing() async throws {
    for top in ["", "[update]\nrehearse = false\n"] {
      let application = try await CoachApplication(
        top: TestCoach.development + "\n" + top, update: "-- Description: Bad\nSELECT nothing;")
      let daemon = try await application.serve()
      let run = try await daemon.ended(try daemon.startUpdate())
      #expect(run.outcome == (top.isEmpty ? .refused : .rolledBack), "\(run)")
      #expect(run.error?.code == .statement)
      #expect(await daemon.stop() == .exited(0))
      try await isBack(application, "1")
    }
  }

  @Test("One that a person cancels, and one whose time is over", arguments: [true, false])
  func stopped(isCancelled: Bool) async throws {
    let application = try await CoachApplication(
      top: TestCoach.development + "\n[update]\nrehearse = false\n"
        + (isCancelled ? "" : "migration_timeout_seconds = 2\n"), update: Sample.endless)
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    if isCancelled {
      try await waitUntil("it applies") { try daemon.run(id).phase == .apply }
      #expect(try daemon.ask("POST", "/api/database/update/\(id)/cancel").status == 200)
    }
    let run = try await daemon.ended(id)
    #expect(run.outcome == .rolledBack, "\(run)")
    #expect(run.error?.code == (isCancelled ? .stopped : .timeout))
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "1")
  }

  @Test("A restore, whatever it is asked for")
  func restore() async throws {
    let application = try await CoachApplication()
    let daemon = try await application.serve()
    let update = try await daemon.ended(try daemon.startUpdate())
    let snapshot = try #require(update.snapshotId)
    try await application.goesOn()
    let run = try await daemon.ended(try daemon.startRestore(snapshot))
    #expect(run.outcome == .restored, "\(run)")
    #expect(run.phases.map(\.phase).contains(.quiesce))
    try await application.goesOn()
    #expect(application.stops == 2 && application.starts == 2, "\(application.log)")
    #expect(await daemon.stop() == .exited(0))
    try await application.quit()
    let rescue = "\(application.coach.state)/snapshots/\(try #require(run.rescueCopy)).sqlite"
    #expect(try await application.missing(in: [application.coach.database, rescue]) == 0)
  }

  /// How rows that are put in again end.
  enum End: CaseIterable { case commit, conflict, cancel, workerKilled, daemonKilled }

  @Test("Rows that are put in again", arguments: End.allCases)
  func rescue(end: End) async throws {
    let application = try await CoachApplication()
    let coach = application.coach
    var daemon = try await application.serve()
    let update = try await daemon.ended(try daemon.startUpdate())
    try await application.goesOn()
    let restore = try await daemon.ended(
      try daemon.startRestore(try #require(update.snapshotId)))
    let copy = try #require(restore.rescueCopy)
    try await application.goesOn()
    let (stops, starts) = (application.stops, application.starts)
    let watch = try JournalWatch(coach.state)
    let answer = try daemon.ask(
      "POST", "/api/database/rescue/\(copy)",
      #"{"consent": true, "strict": \#(end == .conflict)}"#)
    let id = try JSON.decode(RunDocument.self, from: answer.body).id
    switch end {
    case .commit, .conflict: break
    case .cancel:
      let frozen = try #require(try await watch.freeze(.snapshot, workerOf: daemon.process.pid))
      #expect(!application.isUp)
      #expect(try daemon.ask("POST", "/api/database/update/\(id)/cancel", "{}").status == 200)
      frozen.letGo()
    case .workerKilled, .daemonKilled:
      let frozen = try #require(try await watch.freeze(.snapshot, workerOf: daemon.process.pid))
      #expect(!application.isUp)
      if end == .daemonKilled { daemon.process.signal(SIGKILL) }
      frozen.kill()
      try await waitUntil("the worker has gone") { !frozen.isRunning }
      if end == .daemonKilled {
        _ = await daemon.process.ended()
        daemon = try await application.serve()
      }
    }
    let run = try await daemon.ended(id)
    #expect(run.phases.map(\.phase).contains(.quiesce), "\(run)")
    switch end {
    case .commit: #expect(run.outcome == .committed, "\(run)")
    case .conflict: #expect(run.outcome == .refused && run.error?.code == .conflict, "\(run)")
    case .cancel: #expect(run.outcome == .refused && run.error?.code == .stopped, "\(run)")
    case .workerKilled, .daemonKilled: #expect(run.outcome == .rolledBack, "\(run)")
    }
    try await application.goesOn()
    #expect(application.stops == stops + 1, "\(application.log)")
    #expect(application.starts == starts + 1, "\(application.log)")
    #expect(try !coach.names(in: "state").contains("run.json"))
    #expect(await daemon.stop() == .exited(0))
    try await application.quit()
    #expect(
      try await application.missing(
        in: [coach.database, "\(coach.state)/snapshots/\(copy).sqlite"]) == 0)
  }

  private static let phases: [Phase] = [
    .quiesce, .snapshot, .rehearse, .apply, .verify, .commit, .resume, .done,
  ]

  @Test("One whose worker, whose daemon or both are killed", arguments: phases, Victim.allCases)
  func killed(phase: Phase, victim: Victim) async throws {
    let application = try await CoachApplication()
    let coach = application.coach
    let daemon = try await application.serve()
    let watch = try JournalWatch(coach.state)
    let id = try daemon.startUpdate()
    let frozen = try await watch.freeze(phase, workerOf: daemon.process.pid)
    if victim != .worker { daemon.process.signal(SIGKILL) }
    if victim == .daemon { frozen?.letGo() } else { frozen?.kill() }
    try await waitUntil("the worker has gone") { frozen?.isRunning != true }
    var next = daemon
    if victim != .worker {
      _ = await daemon.process.ended()
      next = try await application.serve()
    }
    let run = try await next.ended(id)
    let version = try coach.ledgerVersion()
    switch run.outcome {
    case .committed: #expect(version == "2")
    case .rolledBack, .refused: #expect(version == "1")
    default: Issue.record("\(phase), \(victim): \(run)")
    }
    #expect(await next.stop() == .exited(0))
    try await isBack(application, version ?? "")
  }

  @Test(
    "One that hangs in its stop is not killed: the run is refused",
    arguments: CoachApplication.Way.allCases)
  func hanging(way: CoachApplication.Way) async throws {
    let application = try await CoachApplication(way) { _ in "stop_timeout_seconds = 2" }
    try application.make("hang")
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .refused, "\(run)")
    #expect(run.error?.code == .applicationStop)
    #expect(run.phases.map(\.phase) == [.plan, .safety, .quiesce, .resume])
    try application.unmake("hang")
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "1")
    #expect(!application.log.contains("ended with -9"), "\(application.log)")
  }

  @Test("One that somebody starts in the middle is stopped once more")
  func startedAgain() async throws {
    let application = try await CoachApplication()
    let daemon = try await application.serve()
    let watch = try JournalWatch(application.coach.state)
    let id = try daemon.startUpdate()
    let frozen = try #require(
      try await watch.freeze(.snapshot, workerOf: daemon.process.pid))
    try application.make("wanted")
    try await waitUntil("it runs") { application.isUp }
    frozen.letGo()
    let run = try await daemon.ended(id)
    #expect(run.outcome == .committed, "\(run)")
    #expect(application.stops == 2 && application.starts == 1, "\(application.log)")
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "2")
  }

  @Test("One that does not stay down keeps the update from its database")
  func restless() async throws {
    let application = try await CoachApplication { _ in "stop_timeout_seconds = 3" }
    try application.make("restless")
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .refused || run.outcome == .rolledBack, "\(run)")
    #expect(run.error?.code == .applicationStop)
    #expect(await daemon.stop() == .exited(0))
    try application.unmake("restless")
    try await isBack(application, "1")
  }

  @Test("What cannot be stopped is said before anything is changed")
  func unknown() async throws {
    for (control, word) in [
      ("units = [\"nobody.service\"]", "nobody.service"),
      (
        "stop = [\"/nowhere/app\"]\nstart = [\"/nowhere/app\"]\nis_running = [\"/nowhere/app\"]",
        "/nowhere/app"
      ),
    ] {
      let application = try await CoachApplication()
      let coach = try Sample.coach(config: "\(TestCoach.development)\n[application]\n\(control)")
      let answer = try await coach.run(
        ["update", "--offline", "--json"], environment: application.environment)
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .refused && run.error?.code == .application, "\(answer)")
      #expect(run.error?.message.contains(word) == true, "\(answer)")
      #expect(answer.code == 75)
      #expect(try coach.fingerprint() == Sample.prints.get().old)
      #expect(try coach.names(in: "state/snapshots") == [])
    }
  }

  @Test("Without systemctl a unit cannot be stopped, and nothing is changed")
  func noSystemctl() async throws {
    let folder = try TemporaryFolder()
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[application]\nunits = [\"sample.service\"]")
    let answer = try await coach.run(
      ["update", "--offline", "--json"], environment: ["PATH": folder.path])
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused && run.error?.code == .application, "\(answer)")
    #expect(run.error?.message.contains("systemctl") == true)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("A unit that systemd starts only when chock has ended keeps chock from nothing")
  func behind() async throws {
    let application = try await CoachApplication(
      .units, top: TestCoach.development + "\n[update]\nrehearse = false\n",
      update: Sample.endless)
    let daemon = try await application.serve()
    let id = try daemon.startUpdate()
    try await waitUntil("it applies") { try daemon.run(id).phase == .apply }
    try application.make("behind")
    // It does not end before its worker has.
    #expect(await daemon.stop() == .exited(0))
    #expect(application.starts == 0)
    try application.unmake("behind")
    let history: HistoryAnswer = try await application.coach.run("history", "--json").document()
    let run = try #require(history.runs.first)
    #expect(run.id == id && run.outcome == .rolledBack && run.warnings == nil, "\(run)")
    try await isBack(application, "1")
  }

  @Test("In read-only mode it stays up, and loses nothing")
  func readOnly() async throws {
    let application = try await CoachApplication { _ in "mode = \"read_only\"" }
    let daemon = try await application.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    #expect(application.stops == 0)
    try await application.goesOn()
    #expect(await daemon.stop() == .exited(0))
    try await application.quit()
    #expect(try await application.missing(in: [application.coach.database]) == 0)
  }

  @Test(
    "A daemon that begins in recovery mode starts it where the config says so, and changes nothing else",
    arguments: [true, false])
  func recoveryMode(startsWhenUnsure: Bool) async throws {
    let application = try await CoachApplication { _ in
      startsWhenUnsure ? "in_recovery = \"start\"" : ""
    }
    let coach = application.coach
    var daemon = try await application.serve()
    let watch = try JournalWatch(coach.state)
    _ = try daemon.startUpdate()
    let frozen = try #require(try await watch.freeze(.apply, workerOf: daemon.process.pid))
    daemon.process.signal(SIGKILL)
    frozen.kill()
    _ = await daemon.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    #expect(!application.isUp)
    daemon = try await coach.serve(["--recovery"], environment: application.environment)
    #expect(try daemon.status().mode == .recovery)
    if startsWhenUnsure {
      try await application.goesOn()
      #expect(application.starts == 1)
    } else {
      #expect(!application.isUp)
    }
    #expect(try coach.names(in: "state").contains("run.json"))
    #expect(try coach.ledgerVersion() == "1")
    let recovered: RunDocument = try await coach.run(
      "recover", "--json", environment: application.environment
    ).document()
    #expect(recovered.outcome == .rolledBack, "\(recovered)")
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "1")
  }

  /// A coach whose update was killed in the middle, with its supervisor.
  private func interrupted(_ config: String) async throws -> CoachApplication {
    let application = try await CoachApplication { _ in config }
    try application.make("busy", "0.2")
    let daemon = try await application.serve()
    let watch = try JournalWatch(application.coach.state)
    _ = try daemon.startUpdate()
    let frozen = try #require(try await watch.freeze(.apply, workerOf: daemon.process.pid))
    daemon.process.signal(SIGKILL)
    frozen.kill()
    _ = await daemon.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    #expect(!application.isUp)
    return application
  }

  @Test("In recovery mode it is started to read only where the config says so, and cannot write")
  func readOnlyInRecovery() async throws {
    let application = try await interrupted("in_recovery = \"read_only\"")
    let coach = application.coach
    let daemon = try await coach.serve(["--recovery"], environment: application.environment)
    try await waitUntil("it runs, and cannot write") { application.log.last == "cannot write" }
    #expect(application.log.contains("started with 1 to read only"), "\(application.log)")
    let file = "\(coach.state)/recovery-mode.json"
    #expect(TestCoach.text(file).contains("started in recovery mode"))
    let written = application.writes
    // Who asks for the state takes nothing from it.
    for _ in 0..<20 {
      #expect(try daemon.status().mode == .recovery)
      #expect(try await coach.run("status").code == 0)
    }
    #expect(application.writes == written)
    #expect(try coach.names(in: "state").contains("run.json"))
    // A technician's own work gets the lock, with the application down.
    let recovered: RunDocument = try await coach.run(
      "recover", "--json", environment: application.environment
    ).document()
    #expect(recovered.outcome == .rolledBack, "\(recovered)")
    // That nobody has left recovery mode keeps it from writing still.
    try await waitUntil("it cannot write again") {
      application.isUp && application.log.last == "cannot write"
    }
    #expect(try await coach.run("recover", "--leave").code == 0)
    try await application.goesOn()
    #expect(FileSystem.facts(file) == nil)
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "1")
  }

  @Test("What reads only does not outlive the daemon that holds the lock")
  func readOnlyEnds() async throws {
    let application = try await interrupted("in_recovery = \"read_only\"")
    let coach = application.coach
    let daemon = try await coach.serve(["--recovery"], environment: application.environment)
    try await waitUntil("it runs, and cannot write") { application.log.last == "cannot write" }
    let written = application.writes
    #expect(await daemon.stop() == .exited(0))
    #expect(!application.isUp)
    #expect(application.writes == written)
    #expect(try !coach.names(in: "state").contains("recovery-mode.json"))
    // The next one recovers, and starts it.
    let next = try await application.serve()
    #expect(try next.status().mode == .normal)
    #expect(await next.stop() == .exited(0))
    try await isBack(application, "1")
  }

  @Test("A database that cannot be opened is not held, and the application stays down")
  func notHeld() async throws {
    let application = try await interrupted("in_recovery = \"read_only\"")
    let coach = application.coach
    #expect(rename(coach.database, coach.database + ".away") == 0)
    let daemon = try await application.serve()
    #expect(try daemon.status().mode == .recovery)
    try await waitUntil("it is said") {
      daemon.call.error.contains("cannot be held for reading only")
    }
    #expect(!application.isUp)
    #expect(rename(coach.database + ".away", coach.database) == 0)
    // It is there again: the application may look at it.
    try await waitUntil("it runs, and cannot write") { application.log.last == "cannot write" }
    #expect(try await coach.run("recover", environment: application.environment).code == 1)
    try await application.goesOn()
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
    try await isBack(application, "1")
  }

  @Test(
    "A technician restores beside one that reads only, and it reads only until recovery mode is left"
  )
  func restoreBesideReadOnly() async throws {
    let application = try await CoachApplication(
      config: { _ in "in_recovery = \"read_only\"" }, behaviours: ["busy": "0.2"])
    let coach = application.coach
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let daemon = try await coach.serve(["--recovery"], environment: application.environment)
    try await waitUntil("it cannot write") { application.log.last == "cannot write" }
    // A snapshot only reads: it is not let write for that.
    let written = application.writes
    #expect(try await coach.run("snapshots", "take").code == 0)
    #expect(application.writes == written)
    let run = try await daemon.ended(try daemon.startRestore(try #require(taken.snapshotId)))
    #expect(run.outcome == .restored, "\(run)")
    try await waitUntil("it runs, and cannot write") {
      application.isUp && application.log.last == "cannot write"
    }
    // Neither until it was stopped nor since it was started again has it written.
    #expect(application.writes == written)
    #expect(application.log.contains("started with 1 to read only"), "\(application.log)")
    #expect(application.stops == 1 && application.starts == 1)
    #expect(try await coach.run("recover", "--leave").code == 0)
    try await application.goesOn()
    #expect(await daemon.stop() == .exited(0))
    try await application.quit()
  }

  @Test("It cannot write while a restore waits for it to stop, nor for what keeps it from running")
  func waitingBesideReadOnly() async throws {
    let application = try await CoachApplication(
      config: { _ in "in_recovery = \"read_only\"\nstop_timeout_seconds = 2" },
      behaviours: ["busy": "0.2", "hang": ""])
    let coach = application.coach
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let daemon = try await coach.serve(["--recovery"], environment: application.environment)
    try await waitUntil("it cannot write") { application.log.last == "cannot write" }
    let written = application.writes
    let refused = try await daemon.ended(
      try daemon.startRestore(try #require(taken.snapshotId)))
    #expect(refused.error?.code == .applicationStop, "\(refused)")
    #expect(application.writes == written)
    try application.unmake("hang")
    try await waitUntil("it runs, and cannot write") {
      application.isUp && application.log.last == "cannot write"
    }
    #expect(application.writes == written)
    #expect(await daemon.stop() == .exited(0))
    try await application.quit()
  }

  @Test("When a person is needed it stays down, and is started when the run is forgotten")
  func needsPerson() async throws {
    let application = try await CoachApplication()
    let coach = application.coach
    let daemon = try await application.serve()
    let watch = try JournalWatch(coach.state)
    _ = try daemon.startUpdate()
    let frozen = try #require(try await watch.freeze(.apply, workerOf: daemon.process.pid))
    daemon.process.signal(SIGKILL)
    frozen.kill()
    _ = await daemon.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    // The database is gone: recovery cannot say what it holds.
    #expect(rename(coach.database, coach.database + ".away") == 0)
    let recovered = try await coach.run("recover", "--json", environment: application.environment)
    #expect(recovered.code == 2, "\(recovered)")
    #expect(!application.isUp)
    #expect(rename(coach.database + ".away", coach.database) == 0)
    #expect(
      try await coach.run("recover", "--discard", environment: application.environment).code == 0)
    try await application.goesOn()
  }
}
