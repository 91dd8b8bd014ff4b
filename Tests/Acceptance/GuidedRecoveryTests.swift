import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("At a terminal `chock recover` says how it stands and shows each step as a command")
struct GuidedRecoveryTests {
  /// What a person at a terminal types, a line each, and what is on the screen.
  private func talk(_ coach: TestCoach, _ lines: String...) async throws -> TestCoach.Answer {
    let typed = coach.folder("typed-\(UInt64.random(in: 0...(.max)))")
    try FileSystem.replace(
      typed, with: Array(lines.map { $0 + "\n" }.joined().utf8))
    return await
      (try coach.start(
        ["-qec", "\(TestCoach.binary) recover --no-color", "/dev/null"], input: typed,
        binary: "/usr/bin/script")).answer()
  }

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
    let first = try await talk(coach, "quit")
    #expect(first.code == 0, "\(first)")
    #expect(first.output.contains("The daemon does not run."), "\(first)")
    #expect(first.output.contains("not in recovery mode"), "\(first)")
    #expect(!first.output.contains("interrupted run") && !first.output.contains("Break a lock"))
    let check = try number("Check the database: everything", in: first)
    let verify = try number("Test all snapshots", in: first)
    let salvage = try number("Salvage:", in: first)
    let second = try await talk(coach, check, verify, salvage, "99", "q")
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
    let first = try await talk(coach, "q")
    #expect(first.output.contains("A run was interrupted"), "\(first)")
    let discard = try number("Forget the interrupted run", in: first)
    let refused = try await talk(coach, discard, "y", "q")
    #expect(refused.output.contains("Nothing was done."), "\(refused)")
    #expect(FileSystem.facts(coach.state + "/run.json") != nil)
    let done = try await talk(coach, discard, "yes", "q")
    #expect(done.output.contains("$ chock recover --discard"), "\(done)")
    #expect(done.output.contains("The interrupted run is forgotten."), "\(done)")
    #expect(FileSystem.facts(coach.state + "/run.json") == nil)
    #expect(try coach.fingerprint() == before)

    let restore = try number(
      "Put a snapshot back", in: done.output.isEmpty ? first : try await talk(coach, "q"))
    let back = try await talk(coach, restore, "1", "yes", "y", "q")
    #expect(back.output.contains("Restored snapshot"), "\(back)")
    #expect(try coach.fingerprint() != before)
  }

  @Test("In recovery mode: the reason, a lock that is broken, and the way out")
  func recoveryMode() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve(["--recovery"])
    #expect(
      try await coach.run("coach", "lock", "workshop", "--reason", "brakes").code == 0)
    let first = try await talk(coach, "q")
    #expect(first.output.contains("chock is in recovery mode"), "\(first)")
    #expect(first.output.contains("chock was started in recovery mode."), "\(first)")
    let lock = try number("Break a lock", in: first)
    let leave = try number("Leave recovery mode", in: first)
    let broken = try await talk(coach, lock, "1", "yes", "q")
    #expect(broken.output.contains("$ chock coach unlock workshop"), "\(broken)")
    #expect(broken.output.contains("The lock workshop is broken."), "\(broken)")
    // Its step is gone, and the others have moved up.
    let left = try await talk(coach, "\((Int(leave) ?? 0) - 1)", "q")
    #expect(left.output.contains("$ chock recover --leave"), "\(left)")
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
  }
}
