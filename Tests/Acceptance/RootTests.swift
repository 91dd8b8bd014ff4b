import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("What root does without the daemon is there for the daemon, which is not root")
struct RootTests {
  @Test(
    "Every file belongs to the owner of the folder that it lies in",
    .enabled("Only root can give files away.") { geteuid() == 0 }, .timeLimit(.minutes(15)))
  func owner() async throws {
    let coach = try Sample.coach(config: TestCoach.development)
    try coach.folder.write(
      """
      \(TestCoach.text(coach.configFile))
      [[snapshots.copies]]
      path = "\(coach.folder("usb"))"
      require_mount = false
      """, to: "chock.toml")
    for name in ["state", "usb"] {
      try FileSystem.makeFolder(coach.folder(name))
      #expect(chown(coach.folder(name), 4711, 4712) == 0)
    }
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    let id = try #require(taken.snapshotId)
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    #expect(try await coach.run("snapshots", "copy", "--offline").code == 0)
    // What the application has recorded since is kept beside it.
    try SampleDatabase.change(coach.database, "DELETE FROM item WHERE id = 1")
    #expect(try await coach.run("restore", id, "--offline", "--yes").code == 0)
    #expect(try await coach.run("rescue", "salvage", "--offline").code == 0)
    // One that is killed leaves its journal.
    let watch = try JournalWatch(coach.state)
    let call = try coach.start(["update", "--offline", "--yes"])
    let frozen = try #require(try await watch.freeze(.apply, workerOf: call.process.pid))
    call.process.signal(SIGKILL)
    frozen.kill()
    _ = await call.answer()

    let files = try ["state", "usb"].flatMap { try coach.files(below: $0).map(\.0) }
    #expect(files.contains("state/run.json") && files.contains { $0.hasSuffix(".sqlite") })
    for name in files {
      var facts = stat()
      #expect(lstat(coach.folder(name), &facts) == 0)
      #expect(facts.st_uid == 4711 && facts.st_gid == 4712, "\(name)")
    }
  }
}
