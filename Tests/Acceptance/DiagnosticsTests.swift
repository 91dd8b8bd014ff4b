import Coach
import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@testable import chock

/// The file for support, unpacked by a program that knows nothing of chock.
struct Unpacked {
  let folder: TemporaryFolder
  let path: String

  /// - Throws: where a checksum is wrong, too.
  init(_ archive: String) async throws {
    folder = try TemporaryFolder()
    let python = try ChildProcess(
      "python3", ["-m", "zipfile", "-e", archive, folder("all")], output: folder("out"),
      error: folder("err"))
    let end = await python.ended()
    try #require(end == .exited(0), "\(TestCoach.text(folder("err")))")
    let names = try FileSystem.names(in: folder("all"))
    try #require(names.count == 1, "\(names)")
    path = folder("all") + "/" + names[0]
  }

  var names: [String] { (try? FileSystem.names(in: path)) ?? [] }

  func text(_ name: String) -> String { TestCoach.text("\(path)/\(name)") }

  /// Why a part is not there; nil when it is.
  func missing(_ name: String) -> String? {
    if let line = text(name).split(separator: "\n").first, line.hasPrefix("Not there: ") {
      return String(line)
    }
    struct Document: Decodable { var missing: String? }
    return (try? JSON.decode(Document.self, from: Array(text(name).utf8)))?.missing
  }
}

@Suite("One file for support", .timeLimit(.minutes(15)))
struct DiagnosticsTests {
  private static let mark = "Zwetschge"

  private static let names = [
    "audit.json", "bus.log", "config.json", "daemon.log", "database.json", "disk.json",
    "errors.json", "gates.json", "history.json", "kernel.log", "plan.json", "run.json",
    "schema-diff.txt",
    "schema.sql", "snapshots.json", "summary.html", "versions.json",
  ]

  private func diagnose(
    _ coach: TestCoach, environment: [String: String] = [:], config: String? = nil
  ) async throws -> Unpacked {
    let file = coach.folder("support-\(UInt32.random(in: 0...(.max))).zip")
    let answer = try await coach.run(
      ["diagnose", file], environment: environment, config: config)
    try #require(answer.code == 0, "\(answer)")
    var info = stat()
    #expect(lstat(file, &info) == 0 && info.st_mode & 0o777 == 0o600)
    return try await Unpacked(file)
  }

  // MARK: What is in it

  @Test("It has everything that tells what is the matter, and begins with a page for people")
  func content() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    #expect(try await coach.run("update", "--yes", "--offline").code == 0)
    try SampleDatabase.change(coach.database, "CREATE TABLE stray (a)")
    let found = try await diagnose(coach)
    #expect(found.names == Self.names)
    let page = found.text("summary.html")
    for words in [
      "<!doctype html>", "version 2", "nothing is pending", "differs in 1 place",
      "update: committed", "name=\"viewport\"",
    ] {
      #expect(page.contains(words), "\(words)")
    }
    #expect(!page.contains("http://") && !page.contains("https://") && !page.contains("<script"))
    #expect(found.text("schema.sql").contains("CREATE TABLE note"))
    #expect(found.text("schema-diff.txt").contains("extra: table stray"))
    #expect(found.text("history.json").contains("\"committed\""))
    #expect(found.text("audit.json").contains("\"is_whole\" : true"))
    #expect(found.text("config.json").contains("development"))
    #expect(found.text("versions.json").contains("\"chock\" : \"\(Chock.version)\""))
    #expect(found.text("disk.json").contains("\"available_bytes\""))
    #expect(found.text("gates.json").contains("\"parked\""))
    #expect(found.text("plan.json").contains("\"to_version\" : \"2\""))
    #expect(found.missing("bus.log")?.contains("No bus is configured") == true)
    #expect(found.missing("errors.json")?.contains("No errors of the application") == true)
    for name in Self.names
    where !["bus.log", "daemon.log", "errors.json", "kernel.log"].contains(name) {
      #expect(found.missing(name) == nil, "\(name): \(found.missing(name) ?? "")")
    }
  }

  @Test("A changed entry of the audit is told on its page")
  func auditVerdict() async throws {
    let coach = try Sample.coach()
    let history = StateStore(stateFolder: coach.state, chockVersion: "test")
    for number in 1...3 {
      try history.append(
        AuditEntry(
          .attest, of: coach.database,
          accepted: number == 1 ? "interlock.bedroom=satisfied" : "vehicle_speed=\(number)",
          reason: "for 900 s", actor: "cli:root"))
    }
    let whole = try await diagnose(coach)
    #expect(whole.text("summary.html").contains("all 3 entries are chained"))
    // An interlock's name is the config's.
    #expect(whole.text("audit.json").contains("interlock.#"))
    #expect(!whole.text("audit.json").contains("bedroom"))
    try SampleDatabase.change(
      coach.state + "/state.db",
      """
      DROP TRIGGER audit_is_not_changed;
      UPDATE audit SET document = replace(document, 'speed=2', 'speed=9') WHERE id = 2
      """)
    let found = try await diagnose(coach)
    #expect(found.text("summary.html").contains("entries were changed, or are missing"))
    #expect(found.text("audit.json").contains("\"is_whole\" : false"))
  }

  @Test("Of chock's log and the kernel's only what names nobody")
  func logs() throws {
    func line(_ message: String, _ program: String = "chock") throws -> String? {
      struct Entry: Encodable {
        var message: String
        var program: String
      }
      let text = """
        {"MESSAGE": \(try JSON.text(message)), "SYSLOG_IDENTIFIER": "\(program)", "_PID": "12", \
        "__REALTIME_TIMESTAMP": "1767225600000000"}
        """
      return DaemonLog.line(Array(text.utf8))
    }
    #expect(
      try line("2026-01-01T00:00:00+0000 notice chock: [Updating] \(Self.mark) is paired as owner.")
        == "2026-01-01T00:00:00.000Z chock[12]: notice (79 bytes)")
    let problem = "2026-01-01T00:00:00Z warning chock: code=CHK-GATE-CLOSED [Updating] \(Self.mark)"
    #expect(try line(problem)?.hasSuffix("warning [CHK-GATE-CLOSED]") == true)
    #expect(
      try line("Recovery mode: \(Self.mark)")?.hasSuffix("chock[12]: Recovery mode: ") == true)
    let ended = "chock.service: Main process exited, code=killed, status=9/KILL"
    #expect(try line(ended, "systemd")?.hasSuffix(ended) == true)

    #expect(
      Machine.kernelLine("3,512,1234567,-;mmc0: error -110 whilst initialising SD card\n")
        == "[1.234] mmc0: error -110 whilst initialising SD card")
    #expect(
      Machine.kernelLine(
        "3,1,2000000,-;EXT4-fs error (device sda1): ext4_lookup: inode #2: comm \(Self.mark): path /home/\(Self.mark): bad"
      ) == "[2.0] EXT4-fs error (device sda1): ext4_lookup: inode #2: …")
    #expect(Machine.kernelLine("6,1,2,-;usb 1-1: Product: \(Self.mark)") == nil)
  }

  @Test("The limits of the parts together are the limit of the file")
  func limits() throws {
    let diagnosis = Diagnosis(
      config: try #require(Config.forLooking(nil, environment: [:]).config), configProblem: nil
    ) {
      Diagnosis.Live(safety: .failure(Failure(.noDaemon, "")), frames: .failure(.noBus))
    }
    let most = diagnosis.parts(Diagnosis.Findings()).reduce(0) { $0 + $1.mostBytes }
    #expect(most < Diagnosis.mostBytes - 500_000)
  }

  // MARK: What is not

  /// What is asked, kept and refused, all of it with the mark in it.
  private static let update = """
    -- Description: Asks, and is refused
    -- Input: answer TEXT "What is it called?"
    -- @migrate
    CREATE TABLE answers (text TEXT);
    INSERT INTO answers VALUES (:answer);
    -- @validate
    SELECT body || ' is called ' || :answer FROM item LIMIT 1;
    """

  private static let rows = """
    CREATE TABLE people (name TEXT PRIMARY KEY, photo BLOB, note TEXT) WITHOUT ROWID;
    INSERT INTO people VALUES ('\(mark)', CAST('\(mark)' AS BLOB), '\(mark) \(mark)');
    CREATE VIRTUAL TABLE search USING fts5 (words);
    INSERT INTO search VALUES ('\(mark)');
    UPDATE item SET body = '\(mark) ' || id;
    """

  private func config(_ folder: TemporaryFolder) -> String {
    """
    environment = "development"
    [notify]
    url = "https://example.invalid/\(Self.mark)"
    ntfy_url = "https://example.invalid/\(Self.mark)"
    token_file = "\(folder("\(Self.mark).token"))"
    [coach]
    required_gates = []
    interlocks = ["\(Self.mark)"]
    lock_hook_url = "http://127.0.0.1:1/\(Self.mark)"
    lock_unit = "\(Self.mark).service"
    [[coach.http]]
    url = "http://\(Self.mark.lowercased()).invalid:8000"
    token_file = "\(folder("\(Self.mark).token"))"
    [application]
    stop = ["/bin/true", "\(Self.mark)"]
    start = ["/bin/true", "\(Self.mark)"]
    is_running = ["/bin/false", "\(Self.mark)"]
    [[application.health]]
    kind = "command"
    command = ["/bin/true", "\(Self.mark)"]
    [[application.watch_metrics]]
    url = "http://127.0.0.1:1/\(Self.mark)"
    names = ["\(Self.mark)_total"]
    """
  }

  @Test("No row, no answer, no name, no path, no secret")
  func nothingOfTheOwner() async throws {
    let outer = try TemporaryFolder()
    let mark = Self.mark
    try FileSystem.makeFolder(outer("\(mark) data"))
    try outer.write("\(mark)-token", to: "\(mark).token")
    let coach = try Sample.coach(
      config: config(outer), update: Self.update, database: outer("\(mark) data/\(mark) coach.db"),
      state: outer("\(mark) state"))
    try SampleDatabase.change(coach.database, Self.rows)
    // Files of somebody else among chock's own.
    for name in [
      "\(mark).txt", "snapshots/\(mark).sqlite", "exports/\(mark)/a", "rescue/\(mark)/b",
    ] {
      try outer.write(mark, to: "\(mark) state/\(name)")
    }
    let daemon = try await coach.serve()
    let run = try await coach.run("update", "--yes", "--input", "answer=\(mark)")
    #expect(run.code == 1, "\(run)")
    let history = try await coach.run("history", "--json").output
    #expect(history.contains(mark), "The history holds what must not leave the coach.")
    var secrets: [String] = []
    let pinned = try await coach.run(["pin", "set", "--role", "technician"], input: "73915846\n")
    #expect(pinned.code == 0, "\(pinned)")
    secrets.append("73915846")
    let token = try await coach.run("token", "create", mark, "--role", "technician", "--json")
    struct Made: Decodable { var token: String }
    let secret = try token.document(Made.self).token
    secrets.append(secret)
    let code = try await coach.run("pair", "--json").document(PairingDocument.self).code
    let paired = try daemon.askOverTCP(
      "POST", "/api/pair", #"{"code": "\#(code)", "name": "\#(mark)", "pin": "24680135"}"#)
    #expect(paired.status == 200, "\(paired.text)")
    let cookie = try #require(paired.header("set-cookie")?.prefix { $0 != ";" })
    secrets += ["24680135", String(cookie.drop { $0 != "=" }.dropFirst())]
    secrets += TestCoach.text(coach.state + "/access.json").split { !$0.isHexDigit }
      .filter { $0.count > 20 }.map(String.init)
    let asCoach = ["Authorization": "Bearer \(secret)"]
    for (path, body) in [
      (
        "/api/safety/locks/\(mark)",
        #"{"owner": "\#(mark)", "reason": "\#(mark)", "ttl_seconds": 600}"#
      ),
      ("/api/safety/activities/\(mark)", #"{"description": "\#(mark)", "ttl_seconds": 600}"#),
      (
        "/api/safety/readings/parking_brake",
        #"{"value": "engaged", "ttl_seconds": 600, "source": "\#(mark)"}"#
      ),
    ] {
      let answer = try daemon.askOverTCP("PUT", path, body, headers: asCoach)
      #expect(answer.status == 204, "\(path) \(answer.text)")
    }
    let refused = try daemon.askOverTCP(
      "GET", "/api/database/audit", headers: ["Cookie": String(cookie)])
    #expect(refused.status == 403)
    let unlocked = try await coach.run("coach", "unlock", mark)
    #expect(unlocked.code == 0, "\(unlocked)")

    let told = try await diagnose(coach)
    let download = try daemon.askOverTCP("GET", "/api/diagnostics", headers: asCoach)
    #expect(download.status == 200)
    let file = outer("download.zip")
    try FileSystem.replace(file, with: download.body)
    let downloaded = try await Unpacked(file)
    #expect(await daemon.stop() == .exited(0))
    let alone = try await diagnose(coach)
    // A second look at what goes wrong in the config.
    try FileSystem.replace(
      coach.configFile,
      with: Array(
        ("\(mark) = \"https://\(mark):\(mark)@\(mark)\"\n" + TestCoach.text(coach.configFile)).utf8)
    )
    let broken = try await diagnose(coach)
    #expect(broken.missing("config.json")?.contains("CHK-CONFIG") == true)
    for found in [told, downloaded, alone, broken] {
      #expect(found.names == Self.names)
      #expect(found.text("database.json").contains("\"version\" : \"1\""))
      for name in found.names {
        let text = found.text(name)
        for word in secrets + [mark] {
          let place = text.lowercased().firstRange(of: word.lowercased())
          #expect(
            place == nil,
            "\(name): \(place.map { String(text.lowercased()[..<$0.upperBound].suffix(200)) } ?? "")"
          )
        }
      }
    }
    #expect(told.text("history.json").contains("CHK-VALIDATION"))
    #expect(told.text("history.json").contains("0002_change.sql"))
  }

  @Test("A link in the place of a file gives nothing away, and none is written through")
  func links() async throws {
    let coach = try Sample.coach()
    try FileSystem.makeFolder(coach.state)
    try coach.folder.write("{\"\(Self.mark)\": 1}", to: "private.json")
    #expect(symlink(coach.folder("private.json"), coach.state + "/run.json") == 0)
    let found = try await diagnose(coach)
    #expect(found.missing("run.json")?.contains("CHK-NEEDS-PERSON") == true)
    #expect(found.names.allSatisfy { !found.text($0).contains(Self.mark) })
    #expect(symlink(coach.folder("elsewhere.zip"), coach.folder("link.zip")) == 0)
    let refused = try await coach.run("diagnose", coach.folder("link.zip"))
    #expect(refused.code == 74 && refused.error.contains("is there already"), "\(refused)")
    #expect(FileSystem.facts(coach.folder("elsewhere.zip")) == nil)
  }

  // MARK: When things are broken

  @Test("What the full check found in a snapshot is in it, and nothing that anybody has written")
  func damagedSnapshot() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let folder = coach.state + "/snapshots/"
    let name = try #require(try FileSystem.names(in: folder).first { $0.hasSuffix(".json") })
    var document = try JSON.decode(
      SnapshotDocument.self, from: try #require(try FileSystem.read(folder + name)))
    document.damage =
      "The database failed its check: row 4711 missing from index item_body; Tree 5 page 6: btreeInitPage() returns error code 11; \(Self.mark) /home/\(Self.mark)"
    try FileSystem.replace(folder + name, with: try JSON.encode(document))
    let text = try await diagnose(coach).text("snapshots.json")
    #expect(text.contains("missing from index item_body"), "\(text)")
    #expect(text.contains("Tree 5 page 6: btreeInitPage() returns error code 11"), "\(text)")
    #expect(!text.contains("4711") && !text.contains(Self.mark), "\(text)")
    #expect(text.contains("1 more"), "\(text)")
  }

  @Test("With a database, a history or a config that is damaged the rest is there")
  func damaged() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let junk = [UInt8](repeating: 0xa5, count: 20_000)
    try FileSystem.replace(coach.database, with: junk)
    var found = try await diagnose(coach)
    #expect(found.missing("schema.sql")?.contains("CHK-NOT-A-DATABASE") == true)
    #expect(found.text("database.json").contains("CHK-NOT-A-DATABASE"))
    #expect(found.text("history.json").contains("\"finished\""))
    #expect(found.text("summary.html").contains("CHK-NOT-A-DATABASE"))

    let state = coach.state + "/state.db"
    try FileSystem.replace(state, with: junk)
    let before = try FileSystem.names(in: coach.state)
    found = try await diagnose(coach)
    #expect(found.missing("history.json")?.contains("CHK-NOT-A-DATABASE") == true)
    #expect(found.missing("audit.json") != nil)
    // Somebody who looks does not set it aside.
    #expect(try FileSystem.names(in: coach.state) == before)
    #expect(try FileSystem.read(state) == junk)

    try FileSystem.remove(coach.database)
    found = try await diagnose(coach, config: coach.folder("none.toml"))
    #expect(found.missing("config.json")?.contains("There is no config file") == true)
    #expect(found.missing("database.json") != nil)
    #expect(found.missing("versions.json") == nil)
    #expect(found.names == Self.names)
  }

  @Test(
    "Who looks leaves the log as it is, also where it is all that is left",
    arguments: [true, false])
  func onlyTheLog(isEmpty: Bool) async throws {
    let coach = try Sample.coach()
    let log = coach.database + "-wal"
    var files: [[UInt8]] = []
    do {
      let application = try Connection(path: coach.database, mode: .readWrite)
      try application.execute(
        "PRAGMA wal_autocheckpoint = 0; INSERT INTO item (body) VALUES ('only in the log')")
      files = try [coach.database, log].map { try #require(try FileSystem.read($0)) }
    }
    try #require(!files[1].isEmpty)
    let content = isEmpty ? [] : files[0]
    try FileSystem.replace(coach.database, with: content)
    try FileSystem.replace(log, with: files[1])
    for verb in [["status"], ["doctor"], ["doctor", "--integrity"], ["diff"]] {
      _ = try await coach.run(verb)
      #expect(try FileSystem.read(log) == files[1], "\(verb)")
      #expect(try FileSystem.read(coach.database) == content, "\(verb)")
    }
    let found = try await diagnose(coach)
    let daemon = try await coach.serve()
    #expect(try daemon.askOverTCP("GET", "/api/diagnostics").status == 200)
    #expect(await daemon.stop() == .exited(0))
    #expect(try FileSystem.read(log) == files[1])
    #expect(try FileSystem.read(coach.database) == content)
    if isEmpty {
      #expect(found.text("database.json").contains("CHK-DATABASE-EMPTY"))
    } else {
      #expect(
        try SampleDatabase.value(
          coach.database, "SELECT count(*) FROM item WHERE body = 'only in the log'") == "1")
    }
  }

  @Test("A full disk is told, and nothing half is left")
  func full() async throws {
    let coach = try Sample.coach()
    let shell = try ChildProcess(
      "/bin/sh", ["-c", "exec \"$0\" diagnose - > /dev/full", TestCoach.binary],
      environment: ["CHOCK_CONFIG": coach.configFile], output: coach.folder("o"),
      error: coach.folder("e"))
    #expect(await shell.ended() == .exited(75))
    #expect(TestCoach.text(coach.folder("e")).contains("No space is left"))
    let nowhere = try await coach.run("diagnose", coach.folder("none/file.zip"))
    #expect(nowhere.code == 74 && nowhere.error.contains("cannot be made"), "\(nowhere)")
  }

  @Test(
    "On a full disk there is no file, where half of one would be",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"))
  func noSpace() async throws {
    let coach = try Sample.coach()
    let mount = try Mount(tmpfs: coach.folder("stick"), megabytes: 1)
    defer { mount.detach() }
    let filler = open(mount.path + "/full", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    let zeros = [UInt8](repeating: 0, count: 4096)
    while write(filler, zeros, zeros.count) > 0 {}
    // Room for the beginning of it.
    #expect(ftruncate(filler, 1_048_576 - 8192) == 0)
    close(filler)
    let answer = try await coach.run("diagnose", mount.path + "/a.zip")
    #expect(answer.code == 75, "\(answer)")
    #expect(answer.error.contains("No space is left"), "\(answer)")
    #expect(try FileSystem.names(in: mount.path) == ["full"])
  }

  @Test("What does not answer is left out, and the rest is there")
  func hanging() async throws {
    let coach = try Sample.coach()
    try coach.folder.write(
      "#!/bin/sh\necho $$ > \(coach.folder("pid"))\nexec sleep 1000\n", to: "bin/journalctl")
    chmod(coach.folder("bin/journalctl"), 0o755)
    let found = try await diagnose(
      coach, environment: ["PATH": "\(coach.folder("bin")):/usr/bin:/bin"])
    #expect(found.missing("daemon.log")?.contains("no answer within") == true)
    #expect(found.missing("database.json") == nil)
    let pid = try #require(pid_t(TestCoach.text(coach.folder("pid")).filter(\.isNumber)))
    try await waitUntil("it is gone") { !Processes.isRunning(pid) }
  }

  // MARK: While other things go on

  @Test("A run in progress is shown, and not held up")
  func running() async throws {
    let coach = try Sample.coach(update: Sample.endless)
    let daemon = try await coach.serve(environment: ["CHOCK_UPDATE_REHEARSE": "false"])
    let run = try daemon.startUpdate()
    try await waitUntil("it is applied") { try daemon.run(run).phase == .apply }
    let found = try await diagnose(coach)
    #expect(found.text("run.json").contains("\"is_active\" : true"))
    #expect(found.text("run.json").contains("\"phase\" : \"apply\""))
    #expect(found.text("summary.html").contains("in progress: update"))
    #expect(found.missing("database.json") == nil)
    #expect(try daemon.run(run).phase == .apply)
    #expect(try daemon.ask("POST", "/api/database/update/\(run)/cancel", "{}").status == 200)
    #expect(try await daemon.ended(run).outcome == .rolledBack)
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("An interrupted run is shown and left as it is")
  func interrupted() async throws {
    let coach = try Sample.coach(update: Sample.endless)
    let daemon = try await coach.serve(environment: ["CHOCK_UPDATE_REHEARSE": "false"])
    let run = try daemon.startUpdate()
    try await waitUntil("it is applied") { try daemon.run(run).phase == .apply }
    let worker = try #require(Processes.children(of: daemon.process.pid).first)
    // First it stands still: without a supervisor it would put everything back by itself.
    kill(worker, SIGSTOP)
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    kill(worker, SIGKILL)
    try await waitUntil("the worker is gone") { !Processes.isRunning(worker) }
    let journal = try FileSystem.read(coach.state + "/run.json")
    let found = try await diagnose(coach)
    #expect(found.text("run.json").contains("\"is_active\" : false"))
    #expect(found.text("summary.html").contains("interrupted: update"))
    #expect(try FileSystem.read(coach.state + "/run.json") == journal)
    let recovered = try await coach.run("recover")
    #expect(recovered.code != 2, "\(recovered)")
  }

  @Test("In recovery mode an owner downloads it; who may only look does not")
  func recoveryMode() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve(
      ["--recovery"], environment: ["CHOCK_ACCESS_LOCAL": "viewer"])
    let refused = try daemon.askOverTCP("GET", "/api/diagnostics")
    #expect(refused.status == 403)
    #expect(try daemon.askOverTCP("GET", "/api/safety/frames").status == 403)
    let answer = try daemon.ask("GET", "/api/diagnostics")
    #expect(answer.status == 200)
    #expect(answer.header("content-type") == "application/zip")
    #expect(answer.header("cache-control") == "no-store")
    let name = try #require(answer.header("content-disposition"))
    #expect(name.hasPrefix("attachment; filename=\"chock-diagnostics-"), "\(name)")
    #expect(try daemon.ask("GET", "/api/safety/frames").status == 404)
    try FileSystem.replace(coach.folder("a.zip"), with: answer.body)
    let found = try await Unpacked(coach.folder("a.zip"))
    #expect(found.names == Self.names)
    #expect(found.text("gates.json").contains("\"mode\" : \"recovery\""))
    #expect(found.text("summary.html").contains("runs, recovery mode"))
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("The last frames of a bus are in it, with the daemon and without")
  func bus() async throws {
    let bus = try TemporaryFolder()
    let bridge = try Bridge(bus("bus"))
    let coach = try Sample.coach(
      config: """
        \(TestCoach.development)
        [[coach.can]]
        interface = "\(bridge.interface)"
        """)
    let daemon = try await coach.serve()
    try await bridge.accept()
    bridge.send(.chassis(brake: true))
    try await waitUntil("it is heard") {
      try daemon.ask("GET", "/api/safety/frames").body.isEmpty == false
    }
    var found = try await diagnose(coach)
    let lines = found.text("bus.log").split(separator: "\n")
    let heard = try #require(lines.first.flatMap { CandumpLine($0) }, "\(lines)")
    #expect(heard.bus == "bus1")
    #expect(heard.frame == .chassis(brake: true))
    #expect(await daemon.stop() == .exited(0))

    // It listens for three seconds, in which a busy machine may not come to it.
    var later: [CandumpLine] = []
    for attempt in 1...5 where later.isEmpty {
      let file = coach.folder("alone-\(attempt).zip")
      let call = try coach.start(["diagnose", file])
      try await bridge.accept()
      bridge.send(.chassis(brake: false))
      let answer = await call.answer()
      #expect(answer.code == 0, "\(answer)")
      found = try await Unpacked(file)
      later = found.text("bus.log").split(separator: "\n").compactMap { CandumpLine($0) }
    }
    #expect(later.map(\.frame) == [.chassis(brake: false)])
  }
}
