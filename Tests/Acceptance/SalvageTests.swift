import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What can still be read of a damaged database is read, and put in again")
struct SalvageTests {
  /// A coach that was updated, with a snapshot; used since; then a part of a table is overwritten.
  private func damaged() async throws -> (coach: TestCoach, snapshot: String) {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO item (id, body) VALUES (90000, 'recorded'); PRAGMA wal_checkpoint(TRUNCATE)")
    let page = try #require(
      Int(
        try SampleDatabase.value(
          coach.database,
          "SELECT min(pageno) FROM dbstat WHERE name = 'item' AND pagetype = 'leaf'") ?? ""))
    let size = try #require(
      Int(try SampleDatabase.value(coach.database, "PRAGMA page_size") ?? ""))
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let garbage = [UInt8](repeating: 0xa5, count: size)
    #expect(pwrite(file, garbage, size, off_t((page - 1) * size)) == size)
    return (coach, try #require(taken.snapshotId))
  }

  private func noLeftovers(_ coach: TestCoach) throws -> Bool {
    try FileSystem.names(in: coach.state + "/snapshots").allSatisfy { !$0.contains("partial") }
  }

  @Test(
    "After a restore, what the damaged files still hold is put in again", .timeLimit(.minutes(15)))
  func setAside() async throws {
    let (coach, snapshot) = try await damaged()
    let restored: RunDocument = try await coach.run(
      "restore", snapshot, "--offline", "--yes", "--json"
    ).document()
    #expect(restored.outcome == .restored && restored.setAside != nil, "\(restored)")
    let fingerprint = try coach.fingerprint()
    let salvaged: RunDocument = try await coach.run(
      "rescue", "salvage", restored.id, "--offline", "--json"
    ).document()
    #expect(salvaged.outcome == .finished, "\(salvaged)")
    let id = try #require(salvaged.snapshotId)
    #expect(try coach.fingerprint() == fingerprint)
    #expect(try noLeftovers(coach))

    let shown = try await coach.run("rescue", "show", id)
    #expect(shown.output.contains("item"), "\(shown)")
    let refused = try await coach.run("rescue", "apply", id, "--deletions", "--offline", "--yes")
    #expect(refused.code == 77, "\(refused)")
    let applied: RunDocument = try await coach.run(
      "rescue", "apply", id, "--offline", "--yes", "--json"
    ).document()
    #expect(applied.outcome == .committed, "\(applied)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 90000")
        == "recorded")
    // What the damage took is there from the snapshot.
    let count = "SELECT count(*) FROM item"
    let before = try SampleDatabase.value(coach.state + "/snapshots/\(snapshot).sqlite", count)
    let after = try SampleDatabase.value(coach.database, count)
    #expect(after.flatMap { Int($0) } == before.flatMap { Int($0) }.map { $0 + 1 })
  }

  @Test("The database itself, by a daemon in recovery mode: nothing but a snapshot is made")
  func live() async throws {
    let (coach, snapshot) = try await damaged()
    let damagedFile = try FileSystem.read(coach.database)
    let daemon = try await coach.serve(["--recovery"])
    let answer = try daemon.askOverTCP("POST", "/api/database/salvage", "{}")
    #expect(answer.status == 403, "\(answer.text)")
    let run: RunDocument = try await coach.run("rescue", "salvage", "--json").document()
    #expect(run.outcome == .finished, "\(run)")
    let id = try #require(run.snapshotId)
    #expect(try FileSystem.read(coach.database) == damagedFile)
    let compared = try await coach.run("diff", snapshot, id)
    #expect(compared.output.contains("item"), "\(compared)")
    // It is a snapshot like any other.
    #expect(try await coach.run("snapshots", "verify", id).code == 0)
    #expect(try await coach.run("restore", id, "--yes").code == 0)
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 90000")
        == "recorded")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Where nothing can be read, or nothing reads, it says so and leaves nothing behind")
  func nothing() async throws {
    let (coach, _) = try await damaged()
    let unknown = try await coach.run("rescue", "salvage", "../snapshots", "--offline")
    #expect(unknown.code == 66 && unknown.error.contains("chock rescue list"), "\(unknown)")
    let noShell = try await coach.run(
      ["rescue", "salvage", "--offline"], environment: ["PATH": "/nonexistent"])
    #expect(noShell.code == 66 && noShell.error.contains("apt install sqlite3"), "\(noShell)")
    try FileSystem.replace(coach.database, with: [UInt8](repeating: 0x5a, count: 100_000))
    let garbage = try await coach.run("rescue", "salvage", "--offline")
    #expect(garbage.code == 65 && garbage.error.contains("Restore a snapshot"), "\(garbage)")
    try FileSystem.remove(coach.database)
    #expect(try await coach.run("rescue", "salvage", "--offline").code == 66)
    #expect(try noLeftovers(coach))
  }
}
