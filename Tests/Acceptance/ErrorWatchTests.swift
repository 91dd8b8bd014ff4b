import Dispatch
import Glibc
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

@Suite(
  "After an update the application's errors are compared with those before, and only told",
  .serialized, .timeLimit(.minutes(10)))
struct ErrorWatchTests {
  /// An application's own figure, and who is told.
  private final class Figures: Sendable {
    let server: FakeServer
    private let errors: Box

    init() throws {
      let errors = Box()
      server = try FakeServer { path, _ in
        path == "/metrics"
          ? .text(
            "# TYPE app_errors_total counter\napp_errors_total{kind=\"a\"} \(errors.value)\napp_errors_total{kind=\"b\"} 1\n"
          ) : .text("")
      }
      self.errors = errors
    }

    private final class Box: Sendable {
      let number = Mutex(0)
      var value: Int { number.withLock { $0 } }
    }
    func set(_ number: Int) { errors.number.withLock { $0 = number } }
    func add(_ number: Int) { errors.number.withLock { $0 += number } }
    func told(_ word: String) -> Int { server.requests.count { $0.contains(word) } }
  }

  private func config(_ figures: Figures, units: String = "", interval: Int = 1) -> String {
    """
    \(TestCoach.development)
    [notify]
    url = "\(figures.server.url)/hook"
    [application]
    mode = "read_only"
    \(units)
    watch_interval_seconds = \(interval)
    [[application.watch_metrics]]
    url = "\(figures.server.url)/metrics"
    names = ["app_errors_total"]
    """
  }

  private func watch(_ daemon: Daemon) throws -> ErrorWatchDocument {
    try #require(try daemon.status().errorWatch)
  }

  /// Its level is known: ten counts.
  private func settle(_ figures: Figures) async throws {
    try await waitUntil("it is counted often enough") { figures.told("GET /metrics") > 12 }
  }

  private func update(_ daemon: Daemon) async throws -> RunDocument {
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    try await waitUntil("it is watched") { try watch(daemon).run == run.id }
    return run
  }

  @Test("A daemon that is told to stop while it counts does not wait until it would count again")
  func stoppedWhileCounting() async throws {
    let answers = DispatchSemaphore(value: 0)
    let server = try FakeServer { path, _ in
      answers.wait()
      return .text("app_errors_total 1")
    }
    defer { for _ in 0..<10 { answers.signal() } }
    let coach = try Sample.coach(
      config: """
        \(TestCoach.development)
        [application]
        watch_interval_seconds = 3600
        [[application.watch_metrics]]
        url = "\(server.url)/metrics"
        names = ["app_errors_total"]
        """)
    let daemon = try await coach.serve()
    try await waitUntil("it counts") { !server.requests.isEmpty }
    daemon.process.signal(SIGTERM)
    try await waitUntil("it has ended") { !Processes.isRunning(daemon.process.pid) }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("More errors than before are told everywhere, once, and nothing is changed")
  func more() async throws {
    let figures = try Figures()
    figures.set(100)
    let coach = try Sample.coach(config: config(figures))
    var daemon = try await coach.serve()
    try await settle(figures)
    let run = try await update(daemon)
    #expect(try #require(try watch(daemon).secondsLeft) > 71 * 3600)
    #expect(try watch(daemon).counters.map(\.perHourBefore) == [0])
    figures.add(20)
    try await waitUntil("it is told") { try watch(daemon).counters[0].warning != nil }
    let counter = try watch(daemon).counters[0]
    #expect(counter.warning?.code == .moreErrors)
    #expect(counter.errors == 20)
    try await waitUntil("somebody outside is told") { figures.told("more_errors") == 1 }
    #expect(daemon.call.error.contains("CHK-MORE-ERRORS"))
    #expect(try daemon.run(run.id).warnings?.map(\.code) == [.moreErrors])
    let history: [RunDocument] = try await coach.run("history", "--json").document(
      HistoryAnswer.self
    ).runs
    #expect(history.first { $0.id == run.id }?.warnings?.map(\.code) == [.moreErrors])
    let metrics = try daemon.ask("GET", "/metrics").text
    #expect(
      metrics.contains(
        "chock_error_warning{counter=\"app_errors_total\",source=\"\(figures.server.url)/metrics\"} 1"
      ), "\(metrics)")
    #expect(
      metrics.contains(
        "chock_application_errors_per_hour{counter=\"app_errors_total\",source=\"\(figures.server.url)/metrics\",when=\"before\"} 0"
      ))
    let status = try await coach.run("status")
    #expect(status.output.contains("Errors     app_errors_total: 20 since the update"), "\(status)")
    #expect(try daemon.ask("GET", "/readyz").status == 200)
    // Also over a restart, and a kill.
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    daemon = try await coach.serve()
    #expect(try watch(daemon).run == run.id)
    #expect(try watch(daemon).counters[0].warning == counter.warning)
    // The application has begun anew.
    figures.set(3)
    try await waitUntil("it is counted") { try watch(daemon).counters[0].errors == 24 }
    figures.add(50)
    try await waitUntil("it is counted") { try watch(daemon).counters[0].errors == 74 }
    #expect(figures.told("more_errors") == 1)
    #expect(try coach.ledgerVersion() == "2")
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
    let archive = coach.folder("coach.zip")
    #expect(try await coach.run("diagnose", archive).code == 0)
    let found = try await Unpacked(archive).text("errors.json")
    #expect(found.contains(#""has_warned" : true"#), "\(found)")
    #expect(!found.contains("app_errors_total"), "\(found)")
  }

  private struct HistoryAnswer: Decodable { var runs: [RunDocument] }

  @Test("As many as before are told nobody, and a restore ends the watch")
  func same() async throws {
    let figures = try Figures()
    let coach = try Sample.coach(config: config(figures))
    let daemon = try await coach.serve()
    try await settle(figures)
    figures.add(20)
    try await waitUntil("they are counted") {
      try #require(try watch(daemon).counters[0].perHourBefore) > 0
    }
    let run = try await update(daemon)
    figures.add(20)
    try await waitUntil("they are counted") { try watch(daemon).counters[0].errors == 20 }
    #expect(try watch(daemon).counters[0].warning == nil)
    let restored = try await daemon.ended(
      try daemon.startRestore(try #require(run.snapshotId)))
    #expect(restored.outcome == .restored, "\(restored)")
    try await waitUntil("the watch has ended") { try watch(daemon).run == nil }
    #expect(figures.told("more_errors") == 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "An update that a killed daemon did not see, or that was made without one, is watched all the same"
  )
  func offline() async throws {
    let figures = try Figures()
    let coach = try Sample.coach(config: config(figures))
    var daemon = try await coach.serve()
    try await settle(figures)
    daemon.process.signal(SIGTERM)
    #expect(await daemon.process.ended() == .exited(0))
    let run: RunDocument = try await coach.run("update", "--offline", "--json").document()
    #expect(run.outcome == .committed)
    daemon = try await coach.serve()
    try await waitUntil("it is watched") { try watch(daemon).run == run.id }
    #expect(await daemon.stop() == .exited(0))
  }

  /// A `journalctl` of the test's own, which is asked as the real one is: files of lines, one a line of the journal.
  private func journalctl(_ coach: TestCoach) throws -> [String: String] {
    try coach.folder.write("", to: "journal/sample.service")
    try coach.folder.write(
      """
      #!/usr/bin/env python3
      import json, sys, time
      arguments = sys.argv[1:]
      def of(name, otherwise=None):
          return arguments[arguments.index(name) + 1] if name in arguments else otherwise
      assert of("--output") == "json" and "--quiet" in arguments and "--no-pager" in arguments
      unit, most = of("--unit"), int(of("--lines"))
      try:
          lines = open("\(coach.folder.path)/journal/" + unit).read().splitlines()
      except FileNotFoundError:
          lines = []
      open("\(coach.folder.path)/asked", "a").write(".")
      found = []
      for number, line in enumerate(lines):
          at, priority = line.split()
          if "--priority" in arguments and int(priority) > 3: continue
          if of("--after-cursor") and number <= int(of("--after-cursor")[1:]): continue
          if of("--since") and float(at) < float(of("--since")[1:]): continue
          if of("--until") and float(at) > float(of("--until")[1:]): continue
          found.append({"__CURSOR": "c%d" % number, "PRIORITY": priority,
                        "__REALTIME_TIMESTAMP": str(int(float(at) * 1000000))})
      for entry in found[:most] if of("--after-cursor") else found[-most:]:
          print(json.dumps(entry))
      """, to: "bin/journalctl")
    try #require(chmod(coach.folder("bin/journalctl"), 0o755) == 0)
    return ["PATH": "\(coach.folder("bin")):/usr/local/bin:/usr/bin:/bin"]
  }

  private func say(_ coach: TestCoach, _ priority: Int, _ count: Int = 1, ago: Double = 0) throws {
    let before = TestCoach.text(coach.folder("journal/sample.service"))
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    let line = "\(Double(time.tv_sec) - ago) \(priority)\n"
    try coach.folder.write(
      before + String(repeating: line, count: count), to: "journal/sample.service")
  }

  @Test("journald is asked for what was before, and for errors of the unit since")
  func journal() async throws {
    let figures = try Figures()
    let coach = try Sample.coach(config: config(figures, units: "units = [\"sample.service\"]"))
    let environment = try journalctl(coach)
    // Three hours of the past in which it was on, with six errors in all.
    for hour in [50.5, 30.5, 2.5] {
      try say(coach, 6, ago: hour * 3600)
      try say(coach, 3, 2, ago: hour * 3600 - 1)
    }
    let daemon = try await coach.serve(environment: environment)
    func unit() throws -> ErrorWatchDocument.Counter {
      try #require(try watch(daemon).counters.first { $0.name == "sample.service" })
    }
    try await waitUntil("it is counted") { try unit().perHourBefore != nil }
    let run = try await update(daemon)
    #expect(try #require(try unit().perHourBefore).rounded() == 2)
    // What is no error does not count.
    try say(coach, 6, 30)
    try say(coach, 2, 8)
    try await waitUntil("they are counted") { try unit().errors == 8 }
    #expect(try unit().warning == nil)
    try say(coach, 3, 20)
    try await waitUntil("it is told") { try unit().warning != nil }
    #expect(try unit().warning?.message.contains("sample.service") == true)
    #expect(try daemon.run(run.id).warnings?.map(\.code) == [.moreErrors])
    #expect(await daemon.stop() == .exited(0))
  }

  /// From systemd-journal-remote: it writes a journal's file of any lines.
  private static let journalWriter: String =
    getenv("CHOCK_JOURNAL_REMOTE").map { String(cString: $0) }
    ?? "/lib/systemd/systemd-journal-remote"

  @Test(
    "So it is with the real journalctl, and a journal of journald's own kind",
    .enabled(
      if: FileSystem.facts(journalWriter) != nil, "systemd-journal-remote is not installed."))
  func realJournal() async throws {
    let figures = try Figures()
    let coach = try Sample.coach(config: config(figures, units: "units = [\"sample.service\"]"))
    let journal = coach.folder("sample.journal")
    try coach.folder.write(
      "#!/bin/sh\nexec /usr/bin/journalctl --file \(journal) \"$@\"\n", to: "bin/journalctl")
    try #require(chmod(coach.folder("bin/journalctl"), 0o755) == 0)
    let environment = ["PATH": "\(coach.folder("bin")):/usr/local/bin:/usr/bin:/bin"]
    func say(_ lines: [(ago: Double, priority: Int)]) async throws {
      var time = timespec()
      clock_gettime(CLOCK_REALTIME, &time)
      var text = ""
      for (number, line) in lines.enumerated() {
        let seconds = Double(time.tv_sec) - line.ago
        let at = Int(seconds * 1_000_000) + Int(time.tv_nsec / 1000) + number
        text += "__REALTIME_TIMESTAMP=\(at)\n__MONOTONIC_TIMESTAMP=\(at)\n"
        text += "_BOOT_ID=0123456789abcdef0123456789abcdef\nPRIORITY=\(line.priority)\n"
        text += "_SYSTEMD_UNIT=sample.service\nMESSAGE=line\n\n"
      }
      try coach.folder.write(text, to: "export")
      let end = try await ChildProcess(
        Self.journalWriter, ["-o", journal, coach.folder("export")],
        environment: getenv("LD_LIBRARY_PATH").map { ["LD_LIBRARY_PATH": String(cString: $0)] }
          ?? [:], output: "/dev/null", error: "/dev/null"
      ).ended()
      #expect(end == .exited(0))
    }
    for hour in [50.5, 30.5, 2.5] {
      try await say([(hour * 3600, 6), (hour * 3600 - 1, 3), (hour * 3600 - 2, 2)])
    }
    let daemon = try await coach.serve(environment: environment)
    func unit() throws -> ErrorWatchDocument.Counter {
      try #require(try watch(daemon).counters.first { $0.name == "sample.service" })
    }
    try await waitUntil("it is counted") { try unit().perHourBefore != nil }
    _ = try await update(daemon)
    #expect(try unit().perHourBefore?.rounded() == 2)
    try await say(Array(repeating: (0, 6), count: 30))
    try await say(Array(repeating: (0, 3), count: 8))
    try await waitUntil("they are counted") { try unit().errors == 8 }
    #expect(try unit().warning == nil)
    try await say(Array(repeating: (0, 2), count: 20))
    try await waitUntil("it is told") { try unit().warning != nil }
    #expect(try unit().errors == 28)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A journal or an address that is not there is said once, and is no failure")
  func absent() async throws {
    let (listener, port) = try listenOnLoopback()
    close(listener)
    let coach = try Sample.coach(
      config: """
        \(TestCoach.development)
        [application]
        mode = "read_only"
        units = ["nobody.service"]
        watch_interval_seconds = 1
        [[application.watch_metrics]]
        url = "http://127.0.0.1:\(port)/metrics"
        names = ["app_errors_total"]
        """)
    let daemon = try await coach.serve(environment: try journalctl(coach))
    try await waitUntil("both are said") {
      try watch(daemon).counters.allSatisfy { $0.problem != nil }
    }
    let run = try await update(daemon)
    #expect(run.warnings == nil)
    let asked = TestCoach.text(coach.folder("asked")).utf8.count
    try await waitUntil("it has looked again") {
      TestCoach.text(coach.folder("asked")).utf8.count > asked + 2
    }
    let lines = daemon.call.error.split(separator: "\n").filter {
      $0.contains("The errors of the application")
    }
    #expect(lines.count == 2, "\(lines)")
    #expect(try daemon.status().problem == nil)
    #expect(try daemon.ask("GET", "/readyz").status == 200)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("With 0 hours nothing is counted")
  func off() async throws {
    let figures = try Figures()
    let coach = try Sample.coach(
      config: config(figures).replacing("mode = ", with: "watch_hours = 0\nmode = "))
    let daemon = try await coach.serve()
    #expect(try daemon.status().errorWatch == nil)
    #expect(await daemon.stop() == .exited(0))
    #expect(try !coach.names(in: "state").contains("error-watch.json"))
  }

  @Test("What cannot be counted is said with its line in the config")
  func wrong() async throws {
    for (table, word) in [
      ("url = \"http://example.org/metrics\"\nnames = [\"a\"]", "not on this machine"),
      ("url = \"http://127.0.0.1/metrics\"\nnames = []", "names"),
      ("url = \"http://127.0.0.1/metrics\"\nnames = [\"a b\"]", "names"),
      ("url = \"http://127.0.0.1/metrics\"\nname = \"a\"", "name"),
    ] {
      let coach = try Sample.coach(
        config: "\(TestCoach.development)\n[[application.watch_metrics]]\n\(table)")
      let answer = try await coach.run("status")
      #expect(answer.code == 78, "\(answer)")
      #expect(answer.error.contains(word) && answer.error.contains("chock.toml:"), "\(answer)")
    }
  }
}
