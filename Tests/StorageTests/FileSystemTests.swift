import Glibc
import Migrations
import Storage
import TestSupport
import Testing

@Suite struct FileSystemTests {
  @Test("A file is replaced as a whole, and nothing is left beside it") func replace() throws {
    let folder = try TemporaryFolder()
    try FileSystem.replace(folder("state.json"), with: Array("old".utf8))
    try FileSystem.replace(folder("state.json"), with: Array("new".utf8))
    #expect(try FileSystem.read(folder("state.json")) == Array("new".utf8))
    #expect(try FileSystem.names(in: folder.path) == ["state.json"])
    #expect(try mode(folder("state.json")) == 0o600)
  }

  @Test("A reader that has the old file open goes on reading the old bytes") func openReader()
    throws
  {
    let folder = try TemporaryFolder()
    try FileSystem.replace(folder("a"), with: Array("old".utf8))
    let file = open(folder("a"), O_RDONLY)
    defer { close(file) }
    try FileSystem.replace(folder("a"), with: Array("newer".utf8))
    var buffer = [UInt8](repeating: 0, count: 16)
    #expect(pread(file, &buffer, 16, 0) == 3)
    #expect(buffer.starts(with: Array("old".utf8)))
  }

  @Test("A planted link in the place of the temporary file is not followed") func plantedLink()
    throws
  {
    let folder = try TemporaryFolder()
    try folder.write("precious", to: "victim")
    try #require(symlink(folder("victim"), folder("a.partial")) == 0)
    #expect(throws: Failure.self) { try FileSystem.replace(folder("a"), with: [1]) }
    #expect(try FileSystem.read(folder("victim")) == Array("precious".utf8))
  }

  @Test("What cannot be written is an error that names the file, and the old file stays")
  func failedReplace() throws {
    let folder = try TemporaryFolder()
    try FileSystem.makeFolder(folder("a/b"))
    let failure = try #require(throws: Failure.self) {
      try FileSystem.replace(folder("a"), with: [1])
    }
    #expect(failure.code == .inputOutput)
    #expect(failure.message.contains(folder("a")))
    #expect(FileSystem.facts(folder("a/b"))?.isDirectory == true)
  }

  @Test(
    "When the space runs out, the old file stays",
    .enabled(if: SmallFileSystem.isPossible, "Only root can make a small file system."))
  func noSpace() throws {
    let folder = try TemporaryFolder()
    let small = try #require(SmallFileSystem(in: folder, kilobytes: 64))
    try FileSystem.replace(small.path + "/a", with: [1])
    let failure = try #require(throws: Failure.self) {
      try FileSystem.replace(small.path + "/a", with: Array(repeating: 2, count: 200_000))
    }
    #expect(failure.code == .noSpace)
    #expect(try FileSystem.read(small.path + "/a") == [1])
    #expect(try FileSystem.names(in: small.path) == ["a"])
  }

  @Test("A file that is too large to be one of ours is not read into memory") func readLimit()
    throws
  {
    let folder = try TemporaryFolder()
    try folder.write("12345", to: "a")
    #expect(try FileSystem.read(folder("a"), limit: 5)?.count == 5)
    #expect(throws: Failure.self) { try FileSystem.read(folder("a"), limit: 4) }
    #expect(try FileSystem.read(folder("nothing")) == nil)
  }

  @Test("Free space is that of the nearest folder that exists") func availableBytes() throws {
    let folder = try TemporaryFolder()
    let here = try FileSystem.availableBytes(at: folder.path)
    #expect(here > 0)
    #expect(try FileSystem.availableBytes(at: folder("not/yet/there")) > 0)
  }

  @Test("A second holder of the lock is refused, until the first lets go") func runLock() throws {
    let folder = try TemporaryFolder()
    var first = try RunLock(folder: folder("run"))
    #expect(first != nil)
    #expect(try RunLock(folder: folder("run")) == nil)
    first = nil
    #expect(first == nil)
    #expect(try RunLock(folder: folder("run")) != nil)
  }

  @Test("Another process that holds the lock is seen, and its death releases it")
  func otherProcess()
    throws
  {
    let folder = try TemporaryFolder()
    try FileSystem.makeFolder(folder("run"))
    // The shell holds the lock until its standard input ends.
    let pipe = try #require(
      popen("exec flock '\(folder("run"))/lock' sh -c 'touch \(folder("held")); cat'", "w"))
    let limit = ContinuousClock.now + .seconds(20)
    while FileSystem.facts(folder("held")) == nil, .now < limit { sched_yield() }
    #expect(try RunLock(folder: folder("run")) == nil)
    pclose(pipe)
    #expect(try RunLock(folder: folder("run")) != nil)
  }

  @Test("A lock file that cannot be opened is an error, not a free lock") func unusableLock() throws
  {
    let folder = try TemporaryFolder()
    try folder.write("", to: "run")
    #expect(throws: Failure.self) { try RunLock(folder: folder("run")) }
    try #require(symlink("elsewhere", folder("lock")) == 0)
    #expect(throws: Failure.self) { try RunLock(folder: folder.path) }
  }

  private func mode(_ path: String) throws -> mode_t {
    var info = stat()
    try #require(stat(path, &info) == 0)
    return info.st_mode & 0o7777
  }
}
