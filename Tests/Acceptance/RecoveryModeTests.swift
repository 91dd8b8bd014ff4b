import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("In recovery mode chock changes nothing that a technician has not asked for", .serialized)
struct RecoveryModeTests {
  private func ready(_ daemon: Daemon) throws -> SocketClient.Answer {
    try daemon.ask("GET", "/readyz")
  }

  /// It says 503, and why.
  private func isNotReady(_ daemon: Daemon, _ words: String) throws {
    let answer = try ready(daemon)
    #expect(answer.status == 503)
    #expect(answer.text.contains(words), "\(answer.text)")
    #expect(try daemon.ask("GET", "/livez").status == 200)
  }

  /// Sends what the device's own browser would: as an owner.
  private func asOwner(_ daemon: Daemon, _ method: String, _ path: String) throws -> String {
    try daemon.askOverTCP(method, path, #"{"consent": true}"#).text
  }

  @Test("A damaged database: status for all, tools for technicians, and an end by hand")
  func damage() async throws {
    let coach = try Sample.coach()
    let good = try await coach.run("snapshots", "take", "--offline", "--json").document(
      RunDocument.self)
    let snapshot = try #require(good.snapshotId)
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    #expect(pwrite(file, [UInt8](repeating: 0xa5, count: 100), 100, 0) == 100)
    close(file)
    let daemon = try await coach.serve()
    let status = try daemon.status()
    #expect(status.mode == .recovery)
    #expect(status.problem?.code == .notADatabase)
    let answer = try ready(daemon)
    #expect(answer.status == 503)
    #expect(answer.text.contains(#""code":"CHK-NOT-A-DATABASE""#), "\(answer.text)")
    #expect(try daemon.askOverTCP("GET", "/api/database/status").status == 200)
    let refused = try asOwner(daemon, "POST", "/api/database/restore/\(snapshot)")
    #expect(refused.contains("Let a technician look at it."), "\(refused)")
    let skipped = try daemon.askOverTCP(
      "POST", "/api/database/schedule", #"{"action": "skip"}"#)
    #expect(skipped.status == 409, "\(skipped.text)")
    #expect(try await coach.run("recover", "--leave").code == 65)
    #expect(try await coach.run("restore", snapshot, "--yes").code == 0)
    // Somebody has to look before chock goes on by itself.
    #expect(try daemon.status().mode == .recovery)
    #expect(try daemon.status().problem?.message.contains("is mended") == true)
    try isNotReady(daemon, "CHK-RECOVERY-MODE")
    #expect(try await coach.run("update", "--yes").code != 0)
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(try daemon.status().mode == .normal)
    #expect(try ready(daemon).status == 200)
    let audit = try await coach.run("audit")
    #expect(audit.output.contains("ended recovery mode"), "\(audit)")
    #expect(try await coach.run("update", "--yes").code == 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Who listens is told when it begins", arguments: [true, false])
  func told(byDamage: Bool) async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    let listener = try await EventListener(daemon)
    if byDamage {
      let file = open(coach.database, O_WRONLY | O_CLOEXEC)
      #expect(pwrite(file, [UInt8](repeating: 0xa5, count: 100), 100, 0) == 100)
      close(file)
      // Somebody else looks.
      _ = try daemon.status()
    } else {
      let watch = try JournalWatch(coach.state)
      _ = try daemon.startUpdate()
      let frozen = try #require(try await watch.freeze(.apply, workerOf: daemon.process.pid))
      // Recovery cannot say what the database holds.
      #expect(rename(coach.database, coach.database + ".away") == 0)
      frozen.kill()
    }
    try await waitUntil("it is told") {
      listener.events.contains { $0.status?.mode == .recovery }
    }
    let told = listener.events.last { $0.status?.mode == .recovery }
    #expect(told?.type == .state)
    #expect(told?.status?.problem == (try daemon.status().problem))
    #expect(told?.status?.problem != nil)
    try isNotReady(daemon, try #require(told?.status?.problem?.code.rawValue))
    if !byDamage {
      // That the database is there again mends nothing: the run has to be recovered.
      #expect(rename(coach.database + ".away", coach.database) == 0)
      #expect(try daemon.status().problem?.code == told?.status?.problem?.code)
    }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A daemon that dies again and again stops trying, until somebody has looked")
  func crashLoop() async throws {
    let coach = try Sample.coach()
    for _ in 0..<5 {
      let daemon = try await coach.serve()
      #expect(try daemon.status().mode == .normal)
      daemon.process.signal(SIGKILL)
      _ = await daemon.process.ended()
    }
    var daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    #expect(try daemon.status().problem?.message.contains("5 times") == true)
    try isNotReady(daemon, "CHK-RECOVERY-MODE")
    #expect(try await coach.run("update", "--yes").code == 2)
    // An orderly stop does not mend it.
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A file of this name starts it in recovery mode, and has to go before it is left")
  func trigger() async throws {
    let coach = try Sample.coach()
    let trigger = coach.folder("boot/CHOCK_RECOVERY")
    try coach.folder.write("", to: "boot/CHOCK_RECOVERY")
    let daemon = try await coach.serve(environment: ["CHOCK_RECOVERY_TRIGGERS": trigger])
    #expect(try daemon.status().mode == .recovery)
    let refused = try await coach.run("recover", "--leave")
    #expect(refused.code == 2)
    #expect(refused.error.contains(trigger), "\(refused)")
    try isNotReady(daemon, "CHK-RECOVERY-MODE")
    try FileSystem.remove(trigger)
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(try daemon.status().mode == .normal)
    // Put there beside a daemon that runs.
    try coach.folder.write("", to: "boot/CHOCK_RECOVERY")
    let update = try await coach.run("update", "--yes")
    #expect(update.code == 2 && update.error.contains(trigger), "\(update)")
    #expect(try daemon.status().mode == .recovery)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("While it is there, nobody updates without a daemon either")
  func offline() async throws {
    let coach = try Sample.coach()
    let trigger = coach.folder("CHOCK_RECOVERY")
    try coach.folder.write("", to: "CHOCK_RECOVERY")
    let refused = try await coach.run(
      ["update", "--offline", "--yes"], environment: ["CHOCK_RECOVERY_TRIGGERS": trigger])
    #expect(refused.code == 2 && refused.error.contains(trigger), "\(refused)")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("Leaving it finds what nobody has looked at yet")
  func leaving() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    #expect(pwrite(file, [UInt8](repeating: 0xa5, count: 100), 100, 0) == 100)
    close(file)
    #expect(try await coach.run("recover", "--leave").code == 65)
    #expect(try daemon.status().mode == .recovery)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A ledger that contradicts the files needs a technician in production, and a developer nobody")
  func contradiction() async throws {
    for (environment, mode) in [
      ("production", StatusDocument.Mode.recovery), ("development", .normal),
    ] {
      let coach = try Sample.coach(config: "environment = \"\(environment)\"")
      try coach.folder.write(Sample.base + "\n-- edited", to: "migrations/0001_items.sql")
      let daemon = try await coach.serve()
      let status = try daemon.status()
      #expect(status.mode == mode)
      #expect(status.problem?.code == .drift)
      if mode == .recovery { try isNotReady(daemon, "CHK-DRIFT") }
      #expect(await daemon.stop() == .exited(0))
    }
  }

  @Test("A database that is newer than all files needs a technician in production")
  func newer() async throws {
    let ahead = try Sample.coach()
    #expect(try await ahead.run("update", "--offline").code == 0)
    let coach = try TestCoach(
      config: "environment = \"production\"", migrations: ["0001_items.sql": Sample.base],
      database: ahead.database)
    let daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    try isNotReady(daemon, "CHK-DATABASE-NEWER")
    #expect(try await coach.run("recover", "--leave").code == 65)
    try coach.folder.write(Sample.update, to: "migrations/0002_change.sql")
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(try ready(daemon).status == 200)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A production database that is gone needs a technician where there is a snapshot of it, and a new coach nobody",
    arguments: [true, false])
  func gone(isEmpty: Bool) async throws {
    let coach = try Sample.coach(config: "environment = \"production\"")
    let taken = try await coach.run("snapshots", "take", "--offline", "--json").document(
      RunDocument.self)
    let snapshot = try #require(taken.snapshotId)
    try FileSystem.remove(coach.database)
    if isEmpty { try FileSystem.replace(coach.database, with: []) }
    let code = isEmpty ? Failure.Code.databaseEmpty : .databaseMissing
    var daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    #expect(try daemon.status().problem?.code == code)
    try isNotReady(daemon, code.rawValue)
    #expect(try await coach.run("recover", "--leave").code == Failure(code, "").exitCode)
    #expect(await daemon.stop() == .exited(0))
    let restored = try await coach.run(
      ["restore", snapshot, "--yes", "--offline"] + EnvironmentTests.attested)
    #expect(restored.code == 0, "\(restored)")
    daemon = try await coach.serve()
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))

    let new = try Sample.coach(config: "environment = \"production\"")
    try FileSystem.remove(new.database)
    if isEmpty { try FileSystem.replace(new.database, with: []) }
    daemon = try await new.serve()
    #expect(try daemon.status().mode == .normal)
    #expect(try daemon.status().problem?.code == code)
    #expect(try ready(daemon).status == 200)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A file on the boot partition, and a stick of this name, do so where nothing is configured",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"),
    arguments: [
      "/boot/firmware/CHOCK_RECOVERY", "/boot/CHOCK_RECOVERY",
      "/dev/disk/by-label/CHOCK_RECOV", "/dev/disk/by-label/CHOCK_RECOVERY",
    ])
  func defaults(place: String) async throws {
    let coach = try Sample.coach()
    let dev = coach.folder("dev")
    try FileSystem.makeFolder(dev)
    // The daemon in a mount namespace of its own, with the boot partition, or the link to a block device that
    // udev makes of a label.
    let script =
      place.hasPrefix("/boot")
      ? ["mount -t tmpfs tmpfs /boot", "mkdir -p /boot/firmware", ": > \(place)"]
      : [
        "mount -t tmpfs tmpfs \(dev)", "cd \(dev)",
        "for name in null zero random urandom; do : > $name; mount --bind /dev/$name $name; done",
        "mkdir -p disk/by-label", ": > sda1", "ln -s ../../sda1 \(place.dropFirst("/dev/".count))",
        "mount --move \(dev) /dev", "cd /",
      ]
    try coach.folder.write(
      (["set -e"] + script + ["exec \(TestCoach.binary) \"$@\"", ""]).joined(separator: "\n"),
      to: "inside")
    try coach.folder.write(
      "#!/bin/sh\nexec unshare -m --propagation private sh \(coach.folder("inside")) \"$@\"\n",
      to: "outside")
    try #require(chmod(coach.folder("outside"), 0o755) == 0)
    let daemon = try await coach.serve(binary: coach.folder("outside"))
    #expect(try daemon.status().mode == .recovery)
    #expect(try daemon.status().problem?.message.hasPrefix(place) == true)
    try isNotReady(daemon, "CHK-RECOVERY-MODE")
    let refused = try await coach.run("recover", "--leave")
    #expect(refused.code == 2 && refused.error.contains(place), "\(refused)")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A technician starts it so, and nothing is recovered, offered or checked by itself")
  func asked() async throws {
    let coach = try Sample.coach()
    try coach.folder.write("{", to: "state/run.json")
    let daemon = try await coach.serve(["--recovery"])
    #expect(try daemon.status().problem?.message == "chock was started in recovery mode.")
    try isNotReady(daemon, "CHK-RECOVERY-MODE")
    #expect(FileSystem.facts("\(coach.state)/run.json") != nil)
    let refused = try await coach.run("recover", "--leave")
    #expect(refused.code == 2 && refused.error.contains("interrupted"), "\(refused)")
    #expect(try await coach.run("recover", "--discard").code == 0)
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Who stops it before it serves makes no crash loop")
  func stoppedAtStart() async throws {
    let coach = try Sample.coach()
    for _ in 0..<6 {
      let call = try coach.start(["serve"])
      try await waitUntil("its start is counted") {
        FileSystem.facts("\(coach.state)/starts") != nil || call.process.end != nil
      }
      call.process.signal(SIGTERM)
      let end = await call.process.ended()
      #expect(end == .exited(0), "\(call.error)")
      #expect(FileSystem.facts("\(coach.state)/starts") == nil)
    }
    let daemon = try await coach.serve()
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "Who stops it in an orderly way makes no crash loop, and files that are being copied no alarm")
  func notACrash() async throws {
    let coach = try Sample.coach(config: "environment = \"production\"")
    for _ in 0..<6 {
      let daemon = try await coach.serve(["--recovery"])
      #expect(await daemon.stop() == .exited(0))
    }
    let daemon = try await coach.serve()
    #expect(try daemon.status().mode == .normal)
    let file = coach.folder("migrations/0001_items.sql")
    let text = TestCoach.text(file)
    try coach.folder.write(String(text.prefix(20)), to: "migrations/0001_items.sql")
    #expect(try daemon.status().problem != nil)
    try coach.folder.write(text, to: "migrations/0001_items.sql")
    #expect(try daemon.status().mode == .normal)
    #expect(try daemon.status().problem == nil)
    #expect(await daemon.stop() == .exited(0))
  }
}
