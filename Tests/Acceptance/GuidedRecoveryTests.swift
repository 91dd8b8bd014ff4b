import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("At a terminal `chock recover` says how it stands and shows each step as a command")
struct GuidedRecoveryTests {
  /// The number of a step on a screen.
  private func number(_ title: String, in answer: TestCoach.Answer) throws -> String {
    let line = try #require(
      answer.output.split(whereSeparator: \.isNewline).first { $0.contains(title) }, "\(answer)")
    return String(try #require(line.split(separator: " ").first))
  }

  @Test("Without a terminal it stays as it was")
  func script() async throws {
    let coach = try Sample.coach()
    let run = try await coach.run("recover")
    #expect(run.code == 0 && run.output.contains("Nothing to recover"), "\(run)")
  }

  @Test("A healthy coach: the state, the steps, and a check that shows its command")
  func healthy() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let first = try await coach.talk(["quit"])
    #expect(first.code == 0, "\(first)")
    #expect(first.output.contains("The daemon does not run."), "\(first)")
    #expect(first.output.contains("not in recovery mode"), "\(first)")
    #expect(!first.output.contains("interrupted run") && !first.output.contains("Break a lock"))
    let check = try number("Check the database: everything", in: first)
    let verify = try number("Test all snapshots", in: first)
    let salvage = try number("Salvage:", in: first)
    let second = try await coach.talk([check, verify, salvage, "99", "q"])
    for words in [
      "$ chock recover --check full --offline", "The database is sound",
      "$ chock snapshots verify --restore --offline", "restores to what was kept",
      "$ chock rescue salvage --offline", "What could be read is snapshot", "There is no step 99.",
    ] {
      #expect(second.output.contains(words), "\(words)\n\(second)")
    }
    #expect(second.code == 0)
  }

  @Test("What is destructive needs a typed yes; the verb itself does it")
  func typedYes() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let before = try coach.fingerprint()
    try FileSystem.replace(coach.state + "/run.json", with: Array("{".utf8))
    let first = try await coach.talk(["q"])
    #expect(first.output.contains("A run was interrupted"), "\(first)")
    let discard = try number("Forget the interrupted run", in: first)
    let refused = try await coach.talk([discard, "y", "q"])
    #expect(refused.output.contains("Nothing was done."), "\(refused)")
    #expect(FileSystem.facts(coach.state + "/run.json") != nil)
    let done = try await coach.talk([discard, "yes", "q"])
    #expect(done.output.contains("$ chock recover --discard"), "\(done)")
    #expect(done.output.contains("The interrupted run is forgotten."), "\(done)")
    #expect(FileSystem.facts(coach.state + "/run.json") == nil)
    #expect(try coach.fingerprint() == before)

    let restore = try await coach.step("Put a snapshot back")
    let back = try await coach.talk([restore, "1", "yes", "y", "q"])
    #expect(back.output.contains("Restored snapshot"), "\(back)")
    #expect(try coach.fingerprint() != before)
  }

  @Test("In recovery mode: the reason, a lock that is broken, and the way out")
  func recoveryMode() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve(["--recovery"])
    #expect(
      try await coach.run("coach", "lock", "workshop", "--reason", "brakes").code == 0)
    let first = try await coach.talk(["q"])
    #expect(first.output.contains("chock is in recovery mode"), "\(first)")
    #expect(first.output.contains("chock was started in recovery mode."), "\(first)")
    let lock = try number("Break a lock", in: first)
    let leave = try number("Leave recovery mode", in: first)
    let broken = try await coach.talk([lock, "1", "yes", "q"])
    #expect(broken.output.contains("$ chock coach unlock workshop"), "\(broken)")
    #expect(broken.output.contains("The lock workshop is broken."), "\(broken)")
    // Its step is gone, and the others have moved up.
    let left = try await coach.talk(["\((Int(leave) ?? 0) - 1)", "q"])
    #expect(left.output.contains("$ chock recover --leave"), "\(left)")
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
  }
  // MARK: Each step

  @Test(
    "A word that nobody can give is refused where it is typed, and one that was given is taken back"
  )
  func attest() async throws {
    let coach = try Sample.coach()
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let id = try #require(try taken.document(RunDocument.self).snapshotId)
    let attest = try await coach.step("Give your word")
    let restore = try await coach.step("Put a snapshot back")
    // The step that takes a word back comes after the one that gives it.
    let takeBack = "\((Int(attest) ?? 0) + 1)"
    let screen = try await coach.talk([
      attest, "parking_brake=sideways", attest, "colour=red", attest, "sideways",
      attest, "parking_brake=released", attest, "parking_brake=engaged",
      restore, "1", "yes", "y", takeBack, "1", restore, "1", "no", "q",
    ])
    #expect(screen.code == 0, "\(screen)")
    #expect(screen.output.contains("parking_brake cannot be sideways"), "\(screen)")
    #expect(screen.output.contains("There is no signal colour"), "\(screen)")
    #expect(screen.output.contains("sideways: write SIGNAL=VALUE"), "\(screen)")
    // The newest word for a signal is the one that goes along.
    #expect(
      screen.output.contains("$ chock restore \(id) --offline --attest parking_brake=engaged"),
      "\(screen)")
    #expect(screen.output.contains("Restored snapshot"), "\(screen)")
    #expect(screen.output.contains("$ chock restore \(id) --offline\r\n"), "\(screen)")
    #expect(!screen.output.contains("It ended with 64"), "\(screen)")
    #expect(screen.output.contains("Your word for parking_brake is taken back."), "\(screen)")
  }

  @Test("Beside a daemon a word is given to it")
  func attestToDaemon() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve(["--recovery"])
    let attest = try await coach.step("Give your word")
    let screen = try await coach.talk([attest, "parking_brake=engaged", "q"])
    #expect(screen.output.contains("$ chock coach attest parking_brake=engaged"), "\(screen)")
    #expect(screen.output.contains("You attest parking_brake=engaged"), "\(screen)")
    #expect(!screen.output.contains("Take your word back"), "\(screen)")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("What is typed while a step runs answers no question, and an empty line is none")
  func typedAhead() async throws {
    let coach = try Sample.coach()
    let check = try await coach.step("Check the database: quick")
    // Both lines at once: the second is there before the step has ended.
    let screen = try await coach.talk(["\(check)\nquit", "", "q"])
    #expect(screen.code == 0, "\(screen)")
    #expect(screen.output.contains("The database is sound"), "\(screen)")
    #expect(screen.output.components(of: "How it stands") == 2, "\(screen)")
    #expect(screen.output.components(of: "Which step?") == 3, "\(screen)")
  }

  @Test("Try again: what recovery has given up is finished or undone")
  func retry() async throws {
    let coach = try Sample.coach(update: Sample.endless)
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--yes", "--json"])
    let frozen = try #require(try await watch.freeze(.rehearse, workerOf: call.process.pid))
    call.process.signal(SIGKILL)
    frozen.kill()
    _ = await call.process.ended()
    try await waitUntil("the worker has gone") { !frozen.isRunning }
    let retry = try await coach.step("Try again to finish or undo")
    let screen = try await coach.talk([retry, "q"])
    #expect(screen.output.contains("$ chock recover --retry"), "\(screen)")
    #expect(screen.output.contains("Nothing was lost"), "\(screen)")
    #expect(FileSystem.facts(coach.state + "/run.json") == nil)
  }

  @Test("Accept: a changed file is taken as it is, with the reason in the audit")
  func accept() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    try coach.folder.write(Sample.update + "\n-- later\n", to: "migrations/0002_change.sql")
    let accept = try await coach.step("Accept a changed")
    let screen = try await coach.talk([accept, "only a comment", "y", "q"])
    #expect(screen.output.contains("$ chock repair --reason 'only a comment'"), "\(screen)")
    #expect(try await coach.run("audit").output.contains("only a comment"))
    #expect(try await coach.run("plan").code == 0)
  }

  @Test("Adopt: the database gets its ledger")
  func adopt() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    try SampleDatabase.make(coach.database, Sample.base)
    let adopt = try await coach.step("Adopt the database")
    let screen = try await coach.talk([adopt, "y", "q"])
    #expect(screen.output.contains("$ chock adopt"), "\(screen)")
    #expect(try coach.ledgerVersion() == "1", "\(screen)")
  }

  @Test("Roll back: by the rollback files, to the version that is typed")
  func rollBack() async throws {
    let coach = try Sample.coach()
    try coach.folder.write(
      "DROP TABLE note; DROP INDEX item_by_size; ALTER TABLE item DROP COLUMN size;",
      to: "migrations/0002_change.rollback.sql")
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let rollBack = try await coach.step("Roll back by rollback files")
    let screen = try await coach.talk([rollBack, "1", "yes", "y", "q"])
    #expect(screen.output.contains("$ chock rollback --to 1 --offline"), "\(screen)")
    let tables = "SELECT count(*) FROM sqlite_schema WHERE name = 'note'"
    #expect(try SampleDatabase.value(coach.database, tables) == "0", "\(screen)")
  }

  @Test("A rescue copy's rows: written as files, and put in again")
  func rescue() async throws {
    let coach = try Sample.coach()
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let id = try #require(try taken.document(RunDocument.self).snapshotId)
    try SampleDatabase.change(coach.database, "INSERT INTO item (body) VALUES ('newer')")
    #expect(try await coach.run("restore", id, "--offline", "--yes").code == 0)
    let export = try await coach.step("Write the rows of a rescue copy")
    let apply = try await coach.step("Put the rows of a rescue copy in again")
    let folder = coach.folder("rows")
    let screen = try await coach.talk([export, "1", folder, apply, "1", "y", "q"])
    #expect(screen.output.contains("$ chock rescue export "), "\(screen)")
    #expect(try FileSystem.names(in: folder).contains { $0.contains("item") }, "\(screen)")
    #expect(screen.output.contains("$ chock rescue apply "), "\(screen)")
    #expect(
      try SampleDatabase.value(
        coach.database, "SELECT count(*) FROM item WHERE body = 'newer'") == "1", "\(screen)")
  }

  @Test("A file for support, in the folder where it was asked for")
  func diagnose() async throws {
    let coach = try Sample.coach()
    let diagnose = try await coach.step("Write a file for support")
    let screen = try await coach.talk([diagnose, "q"])
    #expect(screen.output.contains("$ chock diagnose"), "\(screen)")
    let isFile = { (name: String) in name.hasPrefix("chock-diagnostics-") }
    #expect(try coach.names(in: "").contains(where: isFile), "\(screen)")
  }
}

extension String {
  /// How often another text is in it.
  fileprivate func components(of text: String) -> Int { ranges(of: text).count }
}
