import Coach
import Glibc
import TestSupport
import Testing

@testable import CoachSources

@Suite("Files of the kernel are read, as far as they are there", .timeLimit(.minutes(5)))
struct FileSourceTests {
  private let folder: TemporaryFolder
  private var source: FileSource

  init() throws {
    folder = try TemporaryFolder()
    let profile = try Profile(
      text: """
        name = "test"
        [[signal]]
        signal = "undervoltage"
        file = "\(folder.path)/hwmon*/alarm"
        map = { 0 = false, 1 = true }
        expires_after_seconds = 6
        [[signal]]
        signal = "undervoltage"
        file = "\(folder.path)/other"
        map = { 0 = false, 1 = true }
        expires_after_seconds = 6
        """, file: "test.toml")
    source = FileSource(.init(profile: profile, every: .seconds(2)))
  }

  @Test("Each file that matches is a source by itself")
  mutating func match() async throws {
    let first = try folder.write("0\n", to: "hwmon0/alarm")
    let second = try folder.write("1\n", to: "hwmon3/alarm")
    let poll = await source.poll()
    #expect(poll.state == SourceState(source: "test", isWell: true, words: "Reads its files."))
    #expect(
      poll.reports.map(\.content) == [
        .value(.flag(false), of: "undervoltage", lasting: .seconds(6)),
        .value(.flag(true), of: "undervoltage", lasting: .seconds(6)),
      ])
    #expect(poll.reports.map(\.source) == [first, second])
  }

  @Test("Where none matches, that is how it is, and nothing is reported")
  mutating func none() async {
    let poll = await source.poll()
    #expect(poll.reports.isEmpty && !poll.state.isWell)
    #expect(
      poll.state.words
        == "There is no \(folder.path)/hwmon*/alarm. There is no \(folder.path)/other.")
  }

  @Test("What a file said counts no more when it is gone")
  mutating func gone() async throws {
    let file = try folder.write("0\n", to: "hwmon0/alarm")
    _ = await source.poll()
    unlink(file)
    let poll = await source.poll()
    #expect(poll.reports == [Report(.noValue(of: "undervoltage"), source: file)])
    #expect(!poll.state.isWell)
    #expect(await source.poll().reports.isEmpty)
  }

  @Test("A pipe, a folder and a long file are no files, and keep nobody waiting")
  mutating func others() async throws {
    try folder.write("", to: "hwmon0/x")
    try #require(mkfifo(folder("hwmon0/alarm"), 0o600) == 0)
    try folder.write("", to: "hwmon1/alarm/x")
    let long = try folder.write(String(repeating: "0", count: 4097), to: "hwmon2/alarm")
    let poll = await source.poll()
    #expect(poll.reports.isEmpty && !poll.state.isWell)
    #expect(poll.state.words.contains("\(folder("hwmon0/alarm")) is not a file."))
    #expect(poll.state.words.contains("\(folder("hwmon1/alarm")) is not a file."))
    #expect(poll.state.words.contains("\(long) is longer than 4096 bytes."))
  }
}
