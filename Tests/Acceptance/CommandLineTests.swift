import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("Every verb does what it says, with a daemon and without", .serialized)
struct CommandLineTests {
  /// Runs a verb with `--json`; it has to succeed with a document that says what it is.
  private func document<T: Decodable>(
    _ coach: TestCoach, _ arguments: String..., schema: String, as type: T.Type = T.self
  ) async throws -> T {
    let answer = try await coach.run(arguments + ["--json"])
    #expect(answer.code == 0, "\(arguments): \(answer)")
    #expect(answer.output.utf8.count { $0 == UInt8(ascii: "\n") } == 1, "one document: \(answer)")
    let found = try? answer.document(SchemaAnswer.self)
    #expect(found?.schema == schema, "\(arguments): \(answer)")
    return try answer.document()
  }

  private struct Created: Decodable { var version: SchemaVersion }
  private struct Print: Decodable { var total: String }
  private struct Doctor: Decodable { var isHealthy: Bool }
  private struct Deleted: Decodable { var removed: [String] }
  private struct Removed: Decodable { var removed: [String] }

  @Test(
    "Each shell gets the completion script that it reads", .timeLimit(.minutes(15)),
    arguments: ["bash": "#!/bin/bash", "zsh": "#compdef chock", "fish": "function __chock"])
  func completion(shell: String, beginning: String) async throws {
    let answer = try await TestCoach().run("--generate-completion-script", shell)
    #expect(answer.code == 0)
    #expect(answer.output.hasPrefix(beginning), "\(answer.output.prefix(80))")
  }

  @Test(
    "From an old database to a new one and back", .timeLimit(.minutes(15)),
    arguments: [true, false])
  func tour(withDaemon: Bool) async throws {
    let coach = try Sample.coach()
    let (old, new) = try Sample.prints.get()
    let daemon = withDaemon ? try await coach.serve() : nil
    let offline = withDaemon ? [] : ["--offline"]

    let status: StatusDocument = try await document(coach, "status", schema: "chock.STATUS/1")
    #expect(status.currentVersion == "1")
    #expect(status.targetVersion == "2")
    #expect(status.needsUpdate)
    #expect(status.pendingMigrations.map(\.description) == ["Notes for each item"])
    #expect(status.isSafeToMigrate)

    let plan: PlanDocument = try await document(coach, "plan", schema: "chock.PLAN/1")
    #expect(plan.fromVersion == "1")
    #expect(plan.toVersion == "2")
    #expect(plan.migrations.map(\.file) == ["0002_change.sql"])
    #expect(plan.expectedSeconds == nil)

    let rehearsed = try await run(coach, ["rehearse"] + offline)
    #expect(rehearsed.outcome == .finished)
    #expect(rehearsed.rehearsal?.planHash == plan.planHash)
    #expect(rehearsed.rehearsal?.touchedTables == ["item", "note"])
    #expect(try coach.fingerprint() == old)
    let measured: PlanDocument = try await document(coach, "plan", schema: "chock.PLAN/1")
    #expect(measured.expectedSeconds != nil)
    #expect(measured.planHash == plan.planHash)
    // Without a daemon the first run begins the history, from which consents count.
    #expect(measured.hash == plan.hash || !withDaemon)

    let updated = try await run(coach, ["update", "--yes"] + offline)
    #expect(updated.outcome == .committed)
    #expect(updated.fromVersion == "1")
    #expect(updated.toVersion == "2")
    #expect(
      updated.phases.map(\.phase)
        == [.plan, .safety, .snapshot, .rehearse, .apply, .verify, .commit, .done])
    #expect(try coach.fingerprint() == new)
    let again = try await run(coach, ["update", "--yes"] + offline)
    #expect(again.outcome == .nothingToDo)

    let snapshot = try #require(updated.snapshotId)
    try await snapshots(coach, snapshot, offline)

    let history: HistoryAnswer = try await document(coach, "history", schema: "chock.HISTORY/1")
    #expect(history.runs.contains { $0.id == updated.id && $0.outcome == .committed })
    let first: HistoryAnswer = try await document(
      coach, "history", "--limit", "1", schema: "chock.HISTORY/1")
    #expect(first.runs.count == 1)

    let printOfSnapshot: Print = try await document(
      coach, "fingerprint", snapshot, schema: "chock.FINGERPRINT/1")
    #expect(printOfSnapshot.total == old)
    let restored = try await run(coach, ["restore", snapshot, "--yes"] + offline)
    #expect(restored.outcome == .restored)
    #expect(restored.rescueCopy != nil)
    #expect(try coach.fingerprint() == old)
    #expect(try coach.ledgerVersion() == "1")

    if let daemon { #expect(await daemon.stop() == .exited(0)) }
  }

  private func run(_ coach: TestCoach, _ arguments: [String]) async throws -> RunDocument {
    let answer = try await coach.run(arguments + ["--json"])
    #expect(answer.code == 0, "\(arguments): \(answer)")
    let run: RunDocument = try answer.document()
    #expect(run.schema == "chock.RUN/1")
    return run
  }

  private func snapshots(_ coach: TestCoach, _ first: String, _ offline: [String]) async throws {
    let taken = try #require(try await run(coach, ["snapshots", "take"] + offline).snapshotId)
    let list: SnapshotsAnswer = try await document(
      coach, "snapshots", "list", schema: "chock.SNAPSHOTS/1")
    #expect(Set(list.snapshots.map(\.id)) == [first, taken])
    #expect(list.snapshots.first { $0.id == first }?.version == "1")
    #expect(list.snapshots.first { $0.id == taken }?.version == "2")

    #expect(try await run(coach, ["snapshots", "verify", taken] + offline).outcome == .finished)
    #expect(try await coach.run(["snapshots", "verify"] + offline).code == 0)

    let pinned: SnapshotDocument = try await document(
      coach, "snapshots", "pin", taken, schema: "chock.SNAPSHOT/1")
    #expect(pinned.pinned)
    #expect(try await coach.run("snapshots", "delete", taken).code == 77)
    let unpinned: SnapshotDocument = try await document(
      coach, "snapshots", "unpin", taken, schema: "chock.SNAPSHOT/1")
    #expect(!unpinned.pinned)
    let deleted: Deleted = try await document(
      coach, "snapshots", "delete", taken, schema: "chock.DELETED/1")
    #expect(deleted.removed == [taken])
    let removed: Removed = try await document(
      coach, "snapshots", "prune", schema: "chock.PRUNED/1")
    #expect(removed.removed == [])
    #expect(
      try coach.names(in: "state/snapshots") == ["\(first).json", "\(first).sqlite"])
  }

  @Test("init creates a database and never replaces one", .timeLimit(.minutes(15)))
  func create() async throws {
    let coach = try TestCoach(
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update])
    let created: Created = try await document(coach, "init", "--to", "1", schema: "chock.CREATED/1")
    #expect(created.version.description == "1")
    let before = try coach.fingerprint()
    let again = try await coach.run("init", "--json")
    #expect(again.code == 74)
    #expect(try again.document(ErrorAnswer.self).error.code == .databaseExists)
    #expect(try coach.fingerprint() == before)
    #expect(try coach.names(in: "").filter { $0.hasPrefix("coach.db.") } == [])

    let updated = try await run(coach, ["update", "--offline"])
    #expect(updated.outcome == .committed)
    #expect(updated.fromVersion == "1")
  }

  @Test("init leaves nothing behind when a migration fails", .timeLimit(.minutes(15)))
  func createFails() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": "CREATE TABEL item (id INTEGER);"])
    #expect(try await coach.run("init").code == 1)
    #expect(try coach.names(in: "").filter { $0.hasPrefix("coach.db") } == [])
  }

  @Test("adopt says once at which version a database is", .timeLimit(.minutes(15)))
  func adopt() async throws {
    let coach = try TestCoach(
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update])
    try SampleDatabase.make(coach.database, Sample.base)
    let before = try coach.fingerprint()
    #expect(try await coach.run("adopt", "--at", "7").code == 66)
    let adopted: Created = try await document(
      coach, "adopt", "--at", "1", schema: "chock.ADOPTED/1")
    #expect(adopted.version.description == "1")
    #expect(try coach.fingerprint() == before)
    #expect(try await coach.run("adopt", "--at", "2").code == 74)
    #expect(try coach.ledgerVersion() == "1")
  }

  @Test("fingerprint reads the database, a file and a snapshot", .timeLimit(.minutes(15)))
  func fingerprint() async throws {
    let coach = try Sample.coach()
    let (old, new) = try Sample.prints.get()
    let own: Print = try await document(coach, "fingerprint", schema: "chock.FINGERPRINT/1")
    #expect(own.total == old)
    try SampleDatabase.make(coach.folder("other.db"), Sample.base + Sample.rows + Sample.change)
    let other: Print = try await document(
      coach, "fingerprint", coach.folder("other.db"), schema: "chock.FINGERPRINT/1")
    #expect(other.total == new)
  }

  @Test("doctor says whether all is well", .timeLimit(.minutes(15)))
  func doctor() async throws {
    let coach = try Sample.coach()
    let well: Doctor = try await document(coach, "doctor", schema: "chock.DOCTOR/1")
    #expect(well.isHealthy)
    try FileSystem.remove(coach.migrations + "/0001_items.sql")
    try FileSystem.remove(coach.migrations + "/0002_change.sql")
    let ill = try await coach.run("doctor", "--json")
    #expect(ill.code == 65, "\(ill)")
    #expect(try ill.document(Doctor.self).isHealthy == false)
  }

  @Test("recover with nothing to recover does nothing", .timeLimit(.minutes(15)))
  func recover() async throws {
    let coach = try Sample.coach()
    let run: RunDocument = try await document(coach, "recover", schema: "chock.RUN/1")
    #expect(run.outcome == .nothingToDo)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test(
    "A journal that nobody can read needs a person, and changes nothing", .timeLimit(.minutes(15)))
  func unreadableJournal() async throws {
    let coach = try Sample.coach()
    try coach.folder.write("{", to: "state/run.json")
    let answer = try await coach.run("recover", "--json")
    #expect(answer.code == 2)
    #expect(try answer.document(RunDocument.self).outcome == .needsRecovery)
    #expect(try await coach.run("update", "--offline").code != 0)
    let daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    #expect(try await coach.run("status").code == 0)
    #expect(await daemon.stop() == .exited(0))
    #expect(try await coach.run("recover", "--discard").code == 0)
    #expect(try await coach.run("update", "--offline").code == 0)
  }

  @Test("Without --json a person can read it all", .timeLimit(.minutes(15)))
  func words() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("status").output.contains("update available: 1 -> 2"))
    #expect(try await coach.run("plan").output.contains("Notes for each item"))
    let update = try await coach.run("update", "--offline")
    #expect(update.output.contains("Updated to version 2 (from 1)."))
    #expect(update.error.contains("snapshot\nrehearse\napply\nverify\ncommit\n"), "\(update)")
    #expect(try await coach.run("update", "--offline", "--quiet").error == "")
    #expect(try await coach.run("status").output.contains("(up to date)"))
    #expect(try await coach.run("--version").output.contains("0."))
    #expect(try await coach.run("--help").output.contains("Exit codes"))
  }
}
