import Coach
import FoundationEssentials
import Glibc
import TestSupport
import Testing

@testable import CoachSources

@Suite("A controller is asked over HTTP, and only a plain answer counts", .timeLimit(.minutes(5)))
struct HTTPSourceTests {
  private let profile: Profile

  init() throws {
    profile = try #require(Profile.builtIn("coachiq"))
  }

  private func source(
    _ server: FakeServer, token: String? = nil, vetoOnly: Bool = true,
    timeLimit: Duration = .seconds(60)
  ) throws -> HTTPSource {
    var configuration = SourceConfiguration.HTTP(
      address: try address(server), profile: profile, every: .seconds(2), tokenFile: token,
      vetoOnly: vetoOnly)
    configuration.timeLimit = timeLimit
    return HTTPSource(configuration)
  }

  private func address(_ server: FakeServer) throws -> SourceConfiguration.HTTPAddress {
    try #require(SourceConfiguration.HTTPAddress(server.url))
  }

  private func values(_ poll: Poll, _ signal: String) -> [ReadingValue?] {
    poll.reports.compactMap {
      switch $0.content {
      case .value(let value, of: signal, lasting: _): .some(value)
      case .noValue(of: signal): .some(nil)
      default: nil
      }
    }
  }

  @Test("What CoachIQ says becomes reports that can only veto")
  func coachIQ() async throws {
    let server = try FakeServer(CoachIQ(.init(parkingBrake: false)).answer)
    var source = try source(server)
    let poll = await source.poll()
    #expect(poll.state == SourceState(source: server.url, isWell: true, words: "Answers."))
    #expect(values(poll, "parking_brake") == [.text("released")])
    #expect(values(poll, "emergency_stop").contains(.text("inactive")))
    #expect(values(poll, "interlock.slide_room_safety") == [.text("satisfied")])
    #expect(poll.reports.allSatisfy { $0.vetoOnly && $0.source == server.url })
    #expect(server.requests.count == 2)
    for head in server.requests {
      #expect(head.contains("\r\nhost: 127.0.0.1:\(server.port)\r\n"))
      #expect(head.contains("\r\nconnection: close\r\n"))
      #expect(!head.contains("authorization"))
    }
  }

  @Test("What it said before counts no more when it answers no more, signal by signal")
  func silence() async throws {
    var server: FakeServer? = try FakeServer(CoachIQ().answer)
    var source = try source(try #require(server))
    let before = await source.poll()
    server = nil
    let poll = await source.poll()
    #expect(!poll.state.isWell && poll.state.words.contains("Connection refused"), "\(poll.state)")
    let said = Set(before.reports.compactMap(\.content.signal))
    #expect(said.contains("interlock.awning_safety"))
    #expect(Set(poll.reports.compactMap(\.content.signal)).isSuperset(of: said))
    for report in poll.reports {
      if case .noValue = report.content {} else { Issue.record("\(report)") }
      #expect(report.vetoOnly)
    }
  }

  private static let manyInterlocks =
    "{\"interlocks\": {"
    + (0...256).map { "\"slide\($0)\": {\"engaged\": false}" }.joined(separator: ", ") + "}}"

  @Test(
    "An answer that is none is told, and says nothing of the coach",
    arguments: [
      (.text("{}", status: "401 Unauthorized"), "wants to know who asks (status 401)"),
      (.text("{}", status: "403 Forbidden"), "wants to know who asks (status 403)"),
      (.text("{}", status: "404 Not Found"), "answers with the status 404"),
      (.text("{}", status: "500 Oops"), "answers with the status 500"),
      (.text("{}", status: "204 No Content"), "answers with the status 204"),
      (.text("<html></html>"), "is not JSON"),
      (.text(""), "is not JSON"),
      (.text("{\"emergency_stop_active\": fal"), "is not JSON"),
      (.text(manyInterlocks), "more than 256 members"),
      (.text(String(repeating: " ", count: 1 << 20) + "{}"), "is longer than 1 MB"),
      (.bytes(""), "has closed the connection before the end"),
      (.bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}"), "no answer that can be read"),
      (
        .bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"),
        "no answer that can be read"
      ),
      (.bytes("SSH-2.0-OpenSSH_9.2\r\n"), "no answer that can be read"),
      (
        .bytes("HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 1 << 20)),
        "no answer that can be read"
      ),
    ] as [(FakeServer.Answer, String)])
  func noAnswer(answer: FakeServer.Answer, words: String) async throws {
    let server = try FakeServer { _, _ in answer }
    var source = try source(server)
    let poll = await source.poll()
    #expect(!poll.state.isWell && poll.state.words.contains(words), "\(poll.state)")
    #expect(Set(poll.reports.compactMap(\.content.signal)) == Set(profile.signals))
    for report in poll.reports {
      if case .noValue = report.content {} else { Issue.record("\(report)") }
    }
  }

  @Test("A server that does not answer in time is given up")
  func slow() async throws {
    let server = try FakeServer { _, _ in .silence }
    var source = try source(server, timeLimit: .milliseconds(200))
    let poll = await source.poll()
    #expect(poll.state.words.contains("has not answered within 0.2 seconds"), "\(poll.state)")
  }

  @Test("A redirection is not followed")
  func redirection() async throws {
    let other = try FakeServer(CoachIQ().answer)
    let server = try FakeServer { path, _ in
      .text("{}", status: "307 Temporary Redirect", headers: ["Location: \(other.url)\(path)"])
    }
    var source = try source(server)
    let poll = await source.poll()
    #expect(poll.state.words.contains("sends to another place (status 307)"), "\(poll.state)")
    #expect(other.requests.isEmpty)
  }

  @Test("A token comes from its file, anew each time, and from no file that others can read")
  func token() async throws {
    let folder = try TemporaryFolder()
    let answer = CoachIQ().answer
    let server = try FakeServer { path, head in
      head.contains("\r\nauthorization: Bearer secret-2\r\n")
        ? answer(path, head) : .text("{}", status: "401 Unauthorized")
    }
    let file = try folder.write("secret-1\n", to: "token")
    chmod(file, 0o600)
    var source = try source(server, token: file)
    let refused = await source.poll()
    #expect(refused.state.howToClear == "Renew the token in the file.")
    try folder.write("secret-2\n", to: "token")
    chmod(file, 0o600)
    let taken = await source.poll()
    #expect(taken.state.isWell, "\(taken.state)")

    let asked = server.requests.count
    for (text, mode) in [
      ("secret-2", 0o644), ("", 0o600), ("two words", 0o600), ("a\u{7F}b", 0o600),
      (String(repeating: "x", count: 5000), 0o600),
    ] as [(String, mode_t)] {
      try folder.write(text, to: "token")
      chmod(file, mode)
      let poll = await source.poll()
      #expect(!poll.state.isWell && poll.state.words.contains(file), "\(poll.state)")
      #expect(!poll.state.words.contains("secret"))
    }
    unlink(file)
    let missing = await source.poll()
    #expect(missing.state.words.contains("The token is missing"), "\(missing.state)")
    #expect(server.requests.count == asked)
  }

  @Test("It is asked again and again, until it is told to end")
  func again() async throws {
    let server = try FakeServer(CoachIQ().answer)
    var configuration = SourceConfiguration()
    configuration.http = [
      .init(address: try address(server), profile: profile, every: .milliseconds(1), vetoOnly: true)
    ]
    let sources = CoachSources(configuration)
    let heard = Collector(sources.start())
    try await waitUntil("it was asked three times") { heard.batches.count >= 3 }
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
    // A state is told when it changes.
    #expect(heard.states.count == 1)
  }

  @Test("It ends while the server keeps it waiting")
  func stopWhileWaiting() async throws {
    let server = try FakeServer { _, _ in .silence }
    var configuration = SourceConfiguration()
    configuration.http = [
      .init(address: try address(server), profile: profile, every: .seconds(1), vetoOnly: true)
    ]
    configuration.http[0].timeLimit = .seconds(3600)
    let sources = CoachSources(configuration)
    let heard = Collector(sources.start())
    try await waitUntil("it is asked") { !server.requests.isEmpty }
    sources.stop()
    try await waitUntil("the stream has ended") { heard.hasEnded }
    #expect(heard.batches.isEmpty && heard.states.isEmpty)
  }

  @Test(
    "Only the address of a server is one",
    arguments: [
      "https://127.0.0.1:8000", "http://127.0.0.1", "http://127.0.0.1:8000/", "http://:8000",
      "http://a b:8000", "http://user@host:8000", "http://127.0.0.1:0", "http://127.0.0.1:65536",
      "http://::1:8000", "127.0.0.1:8000", "",
    ])
  func addresses(url: String) {
    #expect(SourceConfiguration.HTTPAddress(url) == nil)
    for good in ["http://127.0.0.1:8000", "http://coach.local:80", "http://[::1]:8000"] {
      #expect(SourceConfiguration.HTTPAddress(good) != nil)
    }
  }
}
