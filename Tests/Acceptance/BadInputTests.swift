import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "Bad input gets a clear message and its exit code, and nothing is created or changed", .serialized
)
struct BadInputTests {
  /// Runs an update, which must not begin, with a snapshot and a plan that do not begin either.
  private func refused(
    _ coach: TestCoach, _ code: Failure.Code, exit: Int32, _ words: String...
  ) async throws {
    let answer = try await coach.run("update", "--offline", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == code, "\(answer)")
    #expect(answer.code == exit)
    for word in words { #expect(answer.error.contains(word), "\(word) in: \(answer)") }
    isPlain(answer)
    #expect(try !coach.names(in: "state").contains("run.json"))
  }

  /// A message for a person: no trace of the program's insides.
  private func isPlain(_ answer: TestCoach.Answer) {
    #expect(answer.error.hasPrefix("chock: ") || answer.error.contains("\nchock: "), "\(answer)")
    for word in ["Fatal error", ".swift", "Failure(", "stack"] {
      #expect(!answer.error.contains(word), "\(answer)")
    }
  }

  // MARK: The database

  @Test("A database that is missing", .timeLimit(.minutes(15)))
  func missing() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    try await refused(coach, .databaseMissing, exit: 66, coach.database)
    for verb in [["plan"], ["adopt", "--at", "0"], ["fingerprint"], ["rehearse", "--offline"]] {
      #expect(try await coach.run(verb).code == 66, "\(verb)")
    }
    #expect(try await coach.run("snapshots", "take", "--offline").code == 66)
    #expect(try await coach.run("status").code == 0)
    #expect(FileSystem.facts(coach.database) == nil)
  }

  @Test("A database that is empty", .timeLimit(.minutes(15)))
  func empty() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    try coach.folder.write("", to: "coach.db")
    try await refused(coach, .databaseEmpty, exit: 65, coach.database)
    #expect(FileSystem.facts(coach.database)?.size == 0)
    #expect(try coach.names(in: "").filter { $0.hasPrefix("coach.db-") } == [])
  }

  @Test("A file that is no SQLite database", .timeLimit(.minutes(15)))
  func notSQLite() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    let text = String(repeating: "This is a letter, and no database. ", count: 200)
    try coach.folder.write(text, to: "coach.db")
    try await refused(coach, .notADatabase, exit: 65, coach.database)
    #expect(TestCoach.text(coach.database) == text)
  }

  @Test("A folder in place of the database", .timeLimit(.minutes(15)))
  func folder() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    try FileSystem.makeFolder(coach.database)
    try await refused(coach, .notADatabase, exit: 65, coach.database)
  }

  @Test("A database that is corrupt", .timeLimit(.minutes(15)))
  func corrupt() async throws {
    let coach = try Sample.coach()
    // Pages in the middle of the table.
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    let noise = [UInt8](repeating: 0xa5, count: 16384)
    #expect(pwrite(file, noise, noise.count, 4096 * 100) == noise.count)
    close(file)
    try await refused(coach, .databaseCorrupt, exit: 65, coach.database)
  }

  @Test(
    "A file system that can only be read",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"), .timeLimit(.minutes(15)),
    arguments: ["WAL", "DELETE"])
  func readOnly(journalMode: String) async throws {
    let outer = try TemporaryFolder()
    let coach = try TestCoach(
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update],
      database: outer("data/coach.db"))
    try FileSystem.makeFolder(outer("data"))
    try SampleDatabase.make(coach.database, Sample.base, journalMode: journalMode)
    #expect(try await coach.run("adopt", "--at", "1").code == 0)
    let mount = try Mount(readOnly: outer("data"))
    defer {
      mount.detach()
      withExtendedLifetime(outer) {}
    }
    let answer = try await coach.run("update", "--offline", "--json")
    #expect(answer.code == 74, "\(answer)")
    isPlain(answer)
  }

  @Test("A database that another program keeps locked", .timeLimit(.minutes(15)))
  func locked() async throws {
    let coach = try Sample.coach()
    let other = try Connection(path: coach.database, mode: .readWrite)
    try other.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE")
    try await refused(coach, .databaseLocked, exit: 75, coach.database)
    try other.execute("ROLLBACK")
  }

  @Test("A database that has tables and was never adopted", .timeLimit(.minutes(15)))
  func unadopted() async throws {
    let coach = try TestCoach(migrations: ["0001_items.sql": Sample.base])
    try SampleDatabase.make(coach.database, Sample.base)
    try await refused(coach, .unadopted, exit: 65, "chock adopt --at")
  }

  // MARK: The migrations

  @Test("A migrations folder that is missing", .timeLimit(.minutes(15)))
  func noMigrations() async throws {
    let coach = try Sample.coach()
    #expect(rename(coach.migrations, coach.folder("away")) == 0)
    try await refused(coach, .migrationsMissing, exit: 66, coach.migrations)
  }

  @Test("A migrations folder that is empty", .timeLimit(.minutes(15)))
  func emptyMigrations() async throws {
    let coach = try Sample.coach()
    for name in try coach.names(in: "migrations") {
      try FileSystem.remove("\(coach.migrations)/\(name)")
    }
    try await refused(coach, .migrationsMissing, exit: 66, coach.migrations)
  }

  @Test("Two files with one version", .timeLimit(.minutes(15)))
  func duplicates() async throws {
    let coach = try Sample.coach()
    try coach.folder.write(Sample.update, to: "migrations/2_other.sql")
    try await refused(coach, .migrationOrder, exit: 65, "2_other.sql", "0002_change.sql")
  }

  @Test("A syntax error names its file and line", .timeLimit(.minutes(15)))
  func syntaxError() async throws {
    let coach = try Sample.coach(
      update: "-- Description: Wrong\nSELECT 1;\n\nCREATE TABEL x (id INTEGER);\n")
    let before = try coach.fingerprint()
    try await refused(coach, .statement, exit: 1, "0002_change.sql:4", "CREATE TABEL x")
    #expect(try coach.fingerprint() == before)
  }

  @Test("An unknown header is suggested right", .timeLimit(.minutes(15)))
  func header() async throws {
    let coach = try Sample.coach()
    try coach.folder.write(
      "-- Description: Wrong\n-- Requries: 1\nSELECT 1;\n", to: "migrations/0002_change.sql")
    try await refused(coach, .migrationFile, exit: 65, "0002_change.sql:2", "Requires")
  }

  @Test("An applied file that was changed", .timeLimit(.minutes(15)))
  func drift() async throws {
    let coach = try Sample.coach()
    try coach.folder.write(Sample.base + "\nSELECT 1;", to: "migrations/0001_items.sql")
    try await refused(coach, .drift, exit: 65, "0001_items.sql")
  }

  @Test("A state folder that is a file", .timeLimit(.minutes(15)))
  func stateFile() async throws {
    let coach = try Sample.coach()
    try coach.folder.write("", to: "state")
    let answer = try await coach.run("update", "--offline", "--json")
    #expect(answer.code == 74, "\(answer)")
    isPlain(answer)
  }

  // MARK: The command line

  @Test(
    "What the command line does not know", .timeLimit(.minutes(15)),
    arguments: [
      ["updaet"], ["status", "--jsno"], ["update", "--to", "x y"], ["restore"],
      ["history", "--limit", "0"], ["update", "--attest", "parking_brake=engaged"],
      ["update", "--offline", "--attest", "parking_brake"], ["serve", "extra"],
    ])
  func usage(arguments: [String]) async throws {
    let coach = try Sample.coach()
    let answer = try await coach.run(arguments)
    #expect(answer.code == 64, "\(answer)")
    #expect(!answer.error.isEmpty)
  }

  @Test("A reading that cannot be", .timeLimit(.minutes(15)))
  func attestation() async throws {
    let coach = try Sample.coach()
    let answer = try await coach.run("update", "--offline", "--attest", "parking_brake=maybe")
    #expect(answer.code == 64, "\(answer)")
    #expect(answer.error.contains("engaged"), "\(answer)")
  }

  @Test("No daemon", .timeLimit(.minutes(15)))
  func noDaemon() async throws {
    let coach = try Sample.coach()
    for arguments in [["update"], ["rehearse"], ["restore", "x", "--yes"], ["snapshots", "take"]] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 69, "\(arguments): \(answer)")
      #expect(answer.error.contains("--offline"))
    }
  }

  @Test("A snapshot that is not there", .timeLimit(.minutes(15)))
  func noSnapshot() async throws {
    let coach = try Sample.coach()
    for arguments in [
      ["restore", "20200101T000000Z-v1-abcd", "--yes", "--offline"],
      ["restore", "../../coach", "--yes", "--offline"], ["snapshots", "pin", "none"],
      ["snapshots", "delete", "../coach"], ["snapshots", "verify", "none", "--offline"],
      ["fingerprint", "none"],
    ] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 66, "\(arguments): \(answer)")
    }
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }
}
