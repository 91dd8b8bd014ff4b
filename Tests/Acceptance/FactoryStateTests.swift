import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("The factory state: everything of the owner's is erased, or nothing")
struct FactoryStateTests {
  private static let secret = "Lake Tahoe, site 12"
  private static let yes = ["recover", "--factory", "--yes", "--really-erase", "coach.db"]

  /// An updated coach with what an owner leaves behind.
  private func used(
    config: String = TestCoach.development, beside: String = "", attesting words: [String] = []
  ) async throws -> TestCoach {
    let attested = ["--offline", "--yes"] + words.flatMap { ["--attest", $0] }
    let coach = try Sample.coach(config: config)
    if !beside.isEmpty {
      try coach.folder.write(
        TestCoach.text(coach.configFile) + "\n" + beside.replacing("@", with: coach.folder.path),
        to: "chock.toml")
    }
    let updated: RunDocument = try await coach.run(["update", "--json"] + attested).document()
    try SampleDatabase.change(
      coach.database, "INSERT INTO note (item_id, text) VALUES (1, '\(Self.secret)')")
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let id = try #require(taken.snapshotId)
    #expect(try await coach.run("snapshots", "pin", id).code == 0)
    #expect(
      try await coach.run(["restore", try #require(updated.snapshotId)] + attested).code == 0)
    #expect(try await coach.run(["restore", id] + attested).code == 0)
    #expect(try await coach.run("token", "create", "controller", "--role", "controller").code == 0)
    return coach
  }

  /// Names and contents of everything, but for what only tells of a look.
  private func everything(_ coach: TestCoach) throws -> [String: Int] {
    var found: [String: Int] = [:]
    for (name, facts) in try coach.files() where facts.isRegular {
      guard !["coach.db-shm", "coach.db-wal", "state/lock"].contains(name),
        !name.hasPrefix("state/state.db"), !name.hasPrefix("typed-"), !name.hasPrefix("in-")
      else { continue }
      found[name] = try FileSystem.read(coach.folder(name)).hashValue
    }
    return found
  }

  private func holdsSecret(_ coach: TestCoach, below name: String = "") throws -> [String] {
    try coach.files(below: name).filter { name, facts in
      let bytes = facts.isRegular ? try FileSystem.read(coach.folder(name)) ?? [] : []
      return String(decoding: bytes, as: UTF8.self).contains(Self.secret)
    }.map(\.0)
  }

  @Test(
    "A new database, one entry in a new audit, and nothing else; the copies elsewhere are named")
  func all() async throws {
    let coach = try await used(
      beside: "[[snapshots.copies]]\npath = \"@/usb\"\nrequire_mount = false")
    try FileSystem.makeFolder(coach.folder("usb"))
    #expect(try await coach.run("snapshots", "copy", "--offline").code == 0)
    let copies = try coach.names(in: "usb/chock-snapshots")
    chmod(coach.database, 0o664)
    // The daemon's user, where somebody else does this as root.
    let isRoot = geteuid() == 0
    if isRoot {
      chown(coach.state, 4711, 4712)
      chown(coach.database, 4713, 4714)
    }
    for name in ["state.db.damaged", "notices.json", "access.json.damaged", "locks.json.partial"] {
      try coach.folder.write(Self.secret, to: "state/\(name)")
    }
    // What is not chock's stays, also behind a link.
    try coach.folder.write(Self.secret, to: "state/own.txt")
    try coach.folder.write(Self.secret, to: "outside/kept.txt")
    try FileSystem.makeFolder(coach.folder("state/exports"))
    #expect(symlink(coach.folder("outside"), coach.folder("state/exports/link")) == 0)

    let run: RunDocument = try await coach.run(Self.yes + ["--json"]).document()
    #expect(run.outcome == .finished && run.kind == .factory, "\(run)")
    let erased = try #require(run.erased)
    #expect(erased.snapshots >= 3 && erased.bytes > 1_000_000, "\(erased)")
    #expect(erased.copiesElsewhere == [coach.folder("usb")])
    #expect(run.toVersion == "2")

    let fresh = try TestCoach(
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update])
    #expect(try await fresh.run("init").code == 0)
    #expect(try coach.fingerprint() == fresh.fingerprint())
    #expect(try coach.ledgerVersion() == "2")
    #expect(try SampleDatabase.value(coach.database, "PRAGMA journal_mode") == "wal")
    var info = stat()
    #expect(stat(coach.database, &info) == 0 && info.st_mode & 0o777 == 0o664)
    #expect(!isRoot || info.st_uid == 4713 && info.st_gid == 4714)
    #expect(stat("\(coach.state)/state.db", &info) == 0)
    #expect(!isRoot || info.st_uid == 4711 && info.st_gid == 4712)

    let left = try holdsSecret(coach)
    #expect(
      left.allSatisfy {
        $0.hasPrefix("usb/") || $0.hasPrefix("outside/") || $0 == "state/own.txt"
      }, "\(left)")
    #expect(try coach.names(in: "usb/chock-snapshots") == copies)
    #expect(TestCoach.text(coach.folder("outside/kept.txt")) == Self.secret)
    #expect(Set(try coach.names(in: "state")) == ["lock", "own.txt", "state.db"])
    let audit = try StateStore(stateFolder: coach.state, chockVersion: "test").audit()
    #expect(audit.entries.map(\.action) == [.factoryState] && audit.isWhole, "\(audit)")
    let history = try await coach.run("history", "--json").document(HistoryAnswer.self)
    #expect(history.runs.map(\.kind) == [.factory])
    #expect(try await coach.run("audit").output.contains("went back to the factory state"))

    // It is a coach like any other.
    let daemon = try await coach.serve()
    let status = try daemon.status()
    #expect(status.mode == .normal && status.currentVersion == "2" && !status.needsUpdate)
    #expect(try await coach.run("token", "list", "--json").output.contains("controller") == false)
    #expect(await daemon.stop() == .exited(0))
    let again: RunDocument = try await coach.run(Self.yes + ["--json"]).document()
    #expect(again.outcome == .finished && again.erased?.snapshots == 0, "\(again)")
  }

  @Test("Without both words of a person nothing is changed")
  func askedTwice() async throws {
    let coach = try await used()
    let before = try everything(coach)
    for arguments in [
      ["recover", "--factory"], ["recover", "--factory", "--yes"],
      ["recover", "--factory", "--really-erase", "coach.db"],
      ["recover", "--factory", "--yes", "--really-erase", "other.db"],
    ] {
      let refused = try await coach.run(arguments)
      #expect(refused.code == 77, "\(arguments): \(refused)")
      #expect(refused.error.contains("coach.db"), "\(refused)")
    }
    for arguments in [["--yes"], ["--really-erase", "coach.db"], ["--factory", "--leave"]] {
      #expect(try await coach.run(["recover"] + arguments).code == 64)
    }
    #expect(try everything(coach) == before)
  }

  @Test("At a terminal: the name of the file and the word, in the dialogue as its last step")
  func terminal() async throws {
    let coach = try await used()
    let before = try everything(coach)
    for lines in [("yes", "erase"), ("coach.db", "yes"), ("erase", "coach.db")] {
      let refused = try await coach.talk([lines.0, lines.1], "recover --factory")
      #expect(refused.output.contains("Nothing was changed."), "\(refused)")
      #expect(refused.output.contains("3 snapshots") || refused.output.contains("4 snapshots"))
    }
    #expect(try everything(coach) == before)

    let first = try await coach.talk(["q"])
    let steps = first.output.split(whereSeparator: \.isNewline).filter { $0.hasPrefix("  ") }
    #expect(steps.last?.contains("Quit") == true, "\(first)")
    let step = try #require(steps.dropLast().last, "\(first)")
    #expect(step.contains("Factory state"), "\(first)")
    let number = String(try #require(step.split(separator: " ").first))
    let done = try await coach.talk([number, "coach.db", "erase", "q"])
    #expect(done.output.contains("$ chock recover --factory"), "\(done)")
    #expect(done.output.contains("Factory state: a new database of version 2"), "\(done)")
    #expect(try holdsSecret(coach, below: "state").isEmpty)
  }

  @Test("Beside a daemon, or a program that has the database open, nothing is changed")
  func inUse() async throws {
    let coach = try await used()
    let before = (try everything(coach).keys.sorted(), try coach.fingerprint())
    let daemon = try await coach.serve()
    let running = try await coach.run(Self.yes)
    #expect(running.code == 75 && running.error.contains("systemctl stop chock"), "\(running)")
    #expect(await daemon.stop() == .exited(0))
    do {
      // One that does not answer.
      let hold = try FolderHold(folder: coach.state, isShared: true)
      let silent = try await coach.run(Self.yes)
      #expect(silent.code == 75 && silent.error.contains("systemctl stop chock"), "\(silent)")
      #expect(hold != nil)
    }
    do {
      let application = try ConnectedApplication(coach)
      let open = try await coach.run(Self.yes)
      #expect(open.code == 75 && open.error.contains("has it open"), "\(open)")
      withExtendedLifetime(application) {}
    }
    do {
      let lock = try #require(try RunLock(folder: coach.state))
      #expect(try await coach.run(Self.yes).code == 75)
      withExtendedLifetime(lock) {}
    }
    // The daemon counts its events.
    let after = try everything(coach).keys.filter { before.0.contains($0) }.sorted()
    #expect(after == before.0)
    #expect(try coach.fingerprint() == before.1)
  }

  @Test("Tables that no file creates, a gate that is closed: nothing is changed")
  func refused() async throws {
    let coach = try await used()
    try SampleDatabase.change(
      coach.database, "CREATE TABLE waypoints (x); CREATE TABLE \"my notes\" (x)")
    let before = try everything(coach)
    let lacking = try await coach.run(Self.yes)
    #expect(lacking.code == 65, "\(lacking)")
    #expect(lacking.error.contains("my notes, waypoints"), "\(lacking)")
    #expect(try everything(coach) == before)
    #expect(FileSystem.facts("\(coach.state)/run.json") == nil)

    let moving = try await used(
      config: "environment = \"development\"\n[coach]\nrequired_gates = [\"parked\"]\n"
        + "parked_for_seconds = 0\n", attesting: ["parking_brake=engaged", "vehicle_speed=0"])
    let closed = try await moving.run(Self.yes)
    #expect(closed.code == 75 && closed.error.contains("CHK-GATE-CLOSED"), "\(closed)")
    #expect(try !holdsSecret(moving, below: "state").isEmpty)
    let attested: RunDocument = try await moving.run(
      Self.yes + ["--attest", "parking_brake=engaged", "--attest", "vehicle_speed=0", "--json"]
    ).document()
    #expect(attested.outcome == .finished, "\(attested)")
    #expect(attested.attestations?.isEmpty == false)
  }

  @Test("A database that cannot be read is erased all the same, and one that is not there made")
  func unreadable() async throws {
    let coach = try await used()
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    try FileSystem.replace(coach.database, with: [UInt8](repeating: 0x5a, count: 50_000))
    let run: RunDocument = try await coach.run(Self.yes + ["--json"]).document()
    #expect(run.outcome == .finished && run.warnings?.count == 1, "\(run)")
    #expect(try coach.ledgerVersion() == "2")
    for suffix in ["", "-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    #expect(try await coach.run(Self.yes).code == 0)
    #expect(try coach.ledgerVersion() == "2")
  }

  /// Interrupted behind the point from which it is only finished.
  private func interrupted() async throws -> TestCoach {
    let coach = try await used()
    let image = try coach.image()
    for point in 1...40 {
      let trial = try TestCoach(image)
      let shim = Shim(.kill, at: [point], isSticky: true, phase: .commit)
      _ = try await trial.run(Self.yes, environment: shim.environment(of: trial))
      try FileSystem.remove(trial.folder(Shim.counter))
      let names = try trial.names(in: "state")
      // Snapshots are half gone, and the database is the new one.
      if names.contains("factory.json"), !names.contains("snapshots") { return trial }
    }
    throw Failure(.inputOutput, "No such interruption was found.")
  }

  @Test("One that was interrupted is finished by whoever comes first: the daemon, or a verb")
  func finished() async throws {
    let coach = try await interrupted()
    let image = try coach.image()
    let daemon = try await coach.serve()
    #expect(try daemon.status().currentVersion == "2")
    #expect(try holdsSecret(coach).isEmpty)
    #expect(await daemon.stop() == .exited(0))

    let other = try TestCoach(image)
    let status = try await other.run("status", "--json")
    #expect(status.code == 0, "\(status)")
    #expect(try holdsSecret(other).isEmpty)
    #expect(FileSystem.facts("\(other.state)/factory.json") == nil)
    let recovered: RunDocument = try await other.run("recover", "--json").document()
    #expect(recovered.outcome == .finished && recovered.kind == .factory, "\(recovered)")

    let strange = try TestCoach(image)
    try FileSystem.replace("\(strange.state)/factory.json", with: Array("{".utf8))
    let unclear = try await strange.run("status")
    #expect(unclear.code == 2 && unclear.error.contains("factory.json"), "\(unclear)")
  }
}
