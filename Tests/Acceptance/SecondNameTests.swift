import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("A database that is used by two names, each with a log of its own, is not touched")
struct SecondNameTests {
  private func refuses(_ coach: TestCoach, _ arguments: [String]) async throws {
    let answer = try await coach.run(arguments + ["--offline", "--yes", "--json"])
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused, "\(answer)")
    #expect(run.error?.code == .notAllowed, "\(answer)")
    #expect(run.error?.howToClear != nil)
    #expect(answer.code == 77)
  }

  @Test("A hard link", .timeLimit(.minutes(15)))
  func hardLink() async throws {
    let coach = try Sample.coach()
    try FileSystem.makeFolder(coach.folder("application"))
    let other = coach.folder("application/coach.db")
    try #require(link(coach.database, other) == 0)
    try await refuses(coach, ["update"])
    #expect(try coach.ledgerVersion() == "1")
    try FileSystem.remove(other)
    let answer = try await coach.run("update", "--offline", "--json")
    #expect(answer.code == 0, "\(answer)")
  }

  @Test(
    "A mount of the file", .enabled(if: Mount.isPossible, "\(Mount.reason)"),
    .timeLimit(.minutes(15)))
  func mount() async throws {
    let coach = try Sample.coach()
    let other = coach.folder("application.db")
    try coach.folder.write("", to: "application.db")
    let mount = try Mount(file: coach.database, at: other)
    defer { mount.detach() }
    do {
      let application = try Connection(path: other, mode: .readWrite)
      try application.execute("INSERT INTO item (body) VALUES ('kept')")
      try await refuses(coach, ["update"])
      #expect(try coach.ledgerVersion() == "1")
      try application.execute("INSERT INTO item (body) VALUES ('kept too')")
    }
    #expect(
      try SampleDatabase.value(coach.database, "SELECT count(*) FROM item WHERE body LIKE 'kept%'")
        == "2")
  }

  @Test("A log that was removed from under the application", .timeLimit(.minutes(15)))
  func removedLog() async throws {
    let coach = try Sample.coach()
    let application = try Connection(path: coach.database, mode: .readWrite)
    try application.execute("INSERT INTO item (body) VALUES ('kept')")
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(coach.database + suffix) }
    try await refuses(coach, ["update"])
    withExtendedLifetime(application) {}
  }

  @Test(
    "Where the database itself is a mount, a restore that has to replace it sets nothing aside",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"), .timeLimit(.minutes(15)))
  func isMount() async throws {
    let coach = try Sample.coach()
    let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
    let snapshot = try #require(updated.snapshotId)
    let damaged = String(repeating: "This is not a database. ", count: 400)
    let real = coach.folder("real.db")
    try coach.folder.write(damaged, to: "real.db")
    let mount = try Mount(file: real, at: coach.database)
    defer { mount.detach() }
    try coach.folder.write("a log", to: "coach.db-wal")
    try await refuses(coach, ["restore", snapshot])
    #expect(TestCoach.text(coach.database) == damaged)
    #expect(TestCoach.text(coach.database + "-wal") == "a log")
    #expect(try coach.names(in: "state").filter { $0 == "rescue" || $0 == "run.json" } == [])
  }
}
