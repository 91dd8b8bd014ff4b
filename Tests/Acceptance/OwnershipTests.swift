import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("A snapshot belongs to the database that it is a copy of", .serialized)
struct OwnershipTests {
  private func snapshot(of coach: TestCoach) async throws -> String {
    let answer = try await coach.run("snapshots", "take", "--offline", "--json")
    let run: RunDocument = try answer.document()
    return try #require(run.snapshotId, "\(answer)")
  }

  @Test("Another database is not replaced by it", .timeLimit(.minutes(15)))
  func other() async throws {
    let first = try Sample.coach()
    let id = try await snapshot(of: first)
    let second = try Sample.coach(state: first.state)
    try SampleDatabase.change(second.database, "DELETE FROM item WHERE id > 10")
    let before = try second.fingerprint()
    let status: StatusDocument = try await second.run("status", "--json").document()
    #expect(status.latestBackup == nil)

    let answer = try await second.run("restore", id, "--offline", "--yes", "--json")
    #expect(answer.code == 77, "\(answer)")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .refused)
    #expect(run.error?.code == .notAllowed)
    #expect(run.error?.message.contains(first.database) == true)
    #expect(try second.fingerprint() == before)
    #expect(try first.names(in: "state/snapshots").count == 2)
  }

  @Test("The same database by another name is", .timeLimit(.minutes(15)), arguments: [true, false])
  func link(takenThroughLink: Bool) async throws {
    let real = try Sample.coach()
    let name = real.folder("link.db")
    #expect(symlink(real.database, name) == 0)
    let linked = try TestCoach(
      database: name, state: real.state, migrationsDirectory: real.migrations)
    let (taker, restorer) = takenThroughLink ? (linked, real) : (real, linked)
    let id = try await snapshot(of: taker)
    try SampleDatabase.change(real.database, "DELETE FROM item WHERE id > 10")
    let status: StatusDocument = try await restorer.run("status", "--json").document()
    #expect(status.latestBackup?.id == id)

    let answer = try await restorer.run("restore", id, "--offline", "--yes", "--json")
    #expect(answer.code == 0, "\(answer)")
    #expect(try answer.document(RunDocument.self).outcome == .restored)
    #expect(try real.fingerprint() == Sample.prints.get().old)
    // Still a link, to the same file.
    #expect(FileSystem.facts(name)?.isRegular == false)
  }

  @Test("A damaged database behind a link is replaced where it lies", .timeLimit(.minutes(15)))
  func damagedBehindLink() async throws {
    let real = try Sample.coach()
    let name = real.folder("link.db")
    #expect(symlink(real.database, name) == 0)
    let linked = try TestCoach(
      database: name, state: real.state, migrationsDirectory: real.migrations)
    let id = try await snapshot(of: linked)
    try FileSystem.replace(real.database, with: Array(repeating: 0x78, count: 8192))

    let answer = try await linked.run("restore", id, "--offline", "--yes", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == .restored, "\(answer)")
    #expect(run.setAside != nil)
    #expect(FileSystem.facts(name)?.isRegular == false)
    #expect(try real.fingerprint() == Sample.prints.get().old)
  }
}
