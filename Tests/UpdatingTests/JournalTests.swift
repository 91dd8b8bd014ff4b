import Migrations
import Storage
import TestSupport
import Testing

@testable import Updating

@Suite("The journal says what a run was about to do")
struct JournalTests {
  @Test("What was written is read again, and nothing is left after its removal")
  func roundTrip() throws {
    let folder = try TemporaryFolder()
    let file = JournalFile(stateDirectory: folder.path)
    #expect(try file.read() == nil)
    var run = RunDocument(id: "a", kind: .update, startedAt: Timestamp.now(), requestedBy: "test")
    run.fromVersion = "1"
    let journal = Journal(run: run, phase: .apply, databasePath: "/coach.db")
    try file.write(journal)
    #expect(file.exists)
    #expect(try file.read() == journal)
    try file.remove()
    #expect(!file.exists)
    #expect(try FileSystem.names(in: folder.path) == [])
  }

  @Test(
    "A journal that cannot be understood needs a person", arguments: ["", "{", "{\"phase\": 7}"])
  func unreadable(text: String) throws {
    let folder = try TemporaryFolder()
    try folder.write(text, to: "run.json")
    let failure = #expect(throws: Failure.self) {
      try JournalFile(stateDirectory: folder.path).read()
    }
    #expect(failure?.code == .needsPerson)
    #expect(failure?.file == folder("run.json"))
  }

  @Test("One run at a time: the lock is free again when its holder lets go")
  func lock() throws {
    let folder = try TemporaryFolder()
    do {
      let first = try RunLock(folder: folder.path)
      #expect(first != nil)
      #expect(try RunLock(folder: folder.path) == nil)
      withExtendedLifetime(first) {}
    }
    #expect(try RunLock(folder: folder.path) != nil)
  }
}
