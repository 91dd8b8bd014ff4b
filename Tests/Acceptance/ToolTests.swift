import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("The technician's tools: checks, and snapshots that are restored for a test")
struct ToolTests {
  private func updated() async throws -> TestCoach {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    return coach
  }

  private func smash(_ coach: TestCoach, _ name: String) throws {
    try SampleDatabase.change(coach.database, "PRAGMA wal_checkpoint(TRUNCATE)")
    let page = try #require(
      Int(
        try SampleDatabase.value(
          coach.database,
          "SELECT max(pageno) FROM dbstat WHERE name = '\(name)' AND pagetype = 'leaf'") ?? ""))
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let garbage = [UInt8](repeating: 0xa5, count: 4096)
    #expect(pwrite(file, garbage, 4096, off_t((page - 1) * 4096)) == 4096)
  }

  @Test("A check of a sound database ends with 0", arguments: ["quick", "full", "foreign-keys"])
  func sound(_ kind: String) async throws {
    let coach = try await updated()
    let before = try coach.fingerprint()
    let offline = try await coach.run("recover", "--check", kind, "--offline")
    #expect(offline.code == 0 && offline.output.contains("sound"), "\(offline)")
    let daemon = try await coach.serve()
    let run: RunDocument = try await coach.run("recover", "--check", kind, "--json").document()
    #expect(
      run.outcome == .finished && run.found == nil
        && run.check?.rawValue == kind.replacing("-", with: "_"), "\(run)")
    #expect(try coach.fingerprint() == before)
    let name = kind.replacing("-", with: "_")
    let refused = try daemon.askOverTCP(
      "POST", "/api/database/check", "{\"kind\": \"\(name)\"}")
    #expect(refused.status == 403, "\(refused.text)")
    #expect(try daemon.ask("POST", "/api/database/check", #"{"kind": "all"}"#).status == 400)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Each problem is a line, and the exit code is 65")
  func damaged() async throws {
    let coach = try await updated()
    try SampleDatabase.change(
      coach.database,
      """
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id));
      INSERT INTO child VALUES (1, 7), (2, 8);
      """)
    let keys = try await coach.run("recover", "--check", "foreign-keys", "--offline")
    #expect(keys.code == 65, "\(keys)")
    #expect(keys.output.contains("child: rowid 1 points to nothing in parent"), "\(keys)")
    #expect(keys.output.contains("child: rowid 2 points to nothing in parent"), "\(keys)")
    #expect(try await coach.run("recover", "--check", "quick", "--offline").code == 0)
    try smash(coach, "item")
    for kind in ["quick", "full"] {
      let run = try await coach.run("recover", "--check", kind, "--offline", "--json")
      #expect(run.code == 65, "\(run)")
      let document: RunDocument = try run.document()
      #expect(document.error?.code == .databaseCorrupt && document.found?.isEmpty == false)
      #expect(document.found?.contains { $0.hasPrefix("***") } == false, "\(document)")
    }
    let history = try await coach.run("history")
    #expect(history.output.contains("check"), "\(history)")
  }

  @Test(
    "A check that is cancelled in the middle says so, and leaves nothing",
    .timeLimit(.minutes(5)), arguments: ["quick", "full", "foreign_keys"])
  func cancelled(_ kind: String) async throws {
    let coach = try await updated()
    // Long enough to be stopped in it.
    try SampleDatabase.change(
      coach.database,
      """
      CREATE TABLE parent (id INTEGER PRIMARY KEY);
      CREATE TABLE child (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES parent (id), body);
      INSERT INTO parent VALUES (1);
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500000)
      INSERT INTO child (parent, body) SELECT 1, hex(zeroblob(50)) || i FROM n;
      CREATE INDEX child_body ON child (body);
      """)
    let before = try coach.fingerprint()
    let daemon = try await coach.serve()
    // Step by step to where it checks; one that was faster than we are is asked for again.
    var held: (run: String, worker: pid_t)?
    while held == nil {
      let begun = try daemon.ask("POST", "/api/database/check", "{\"kind\": \"\(kind)\"}")
      let run = try JSON.decode(RunDocument.self, from: begun.body).id
      while held == nil, try daemon.run(run).outcome == nil {
        guard
          let worker = Processes.children(of: daemon.process.pid).first(where: {
            kill($0, SIGSTOP) == 0
          })
        else { continue }
        while held == nil, try daemon.run(run).outcome == nil {
          if try daemon.run(run).phase == .verify {
            // What it had said already has arrived by then.
            usleep(50_000)
            if try daemon.run(run).outcome == nil { held = (run, worker) }
          } else {
            kill(worker, SIGCONT)
            usleep(500)
            kill(worker, SIGSTOP)
          }
        }
        if held == nil { kill(worker, SIGCONT) }
      }
    }
    let (run, worker) = try #require(held)
    #expect(try daemon.run(run).outcome == nil)
    let cancel = try daemon.ask("POST", "/api/database/update/\(run)/cancel", "{}")
    #expect(cancel.status < 300, "\(cancel.text)")
    #expect(kill(worker, SIGCONT) == 0)
    let ended = try await daemon.ended(run)
    #expect(ended.outcome == .refused && ended.error?.code == .stopped, "\(ended)")
    #expect(ended.found == nil)
    #expect(try daemon.status().integrityCheck?.problem == nil)
    #expect(try daemon.status().mode == .normal)
    #expect(await daemon.stop() == .exited(0))
    #expect(try coach.fingerprint() == before)
  }

  @Test("A check works while an interrupted run waits for a person, and leaves it as it is")
  func besideInterruptedRun() async throws {
    let coach = try await updated()
    try FileSystem.replace(coach.state + "/run.json", with: Array("{".utf8))
    #expect(try await coach.run("recover", "--check", "full", "--offline").code == 0)
    #expect(try await coach.run("rescue", "salvage", "--offline").code == 0)
    #expect(try FileSystem.read(coach.state + "/run.json") == Array("{".utf8))
  }

  @Test("All snapshots are restored for a test, beside the database, which stays as it is")
  func verifyRestore() async throws {
    let coach = try await updated()
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let before = try coach.fingerprint()
    func isClean() throws -> Bool {
      try !FileSystem.names(in: FileSystem.parent(coach.database)).contains {
        $0.contains("chock-restore")
      }
    }
    let all = try await coach.run("snapshots", "verify", "--restore", "--offline")
    #expect(all.code == 0, "\(all)")
    #expect(
      all.output.split(separator: "\n").count { $0.contains("restores to what was kept") } == 2)
    #expect(try coach.fingerprint() == before)
    #expect(try isClean())

    // One whose description says another digest of the content: its bytes are as they were.
    let list = try FileSystem.names(in: coach.state + "/snapshots").filter {
      $0.hasSuffix(".json")
    }
    let path = coach.state + "/snapshots/" + (try #require(list.first))
    var document = try JSON.decode(
      SnapshotDocument.self, from: try #require(try FileSystem.read(path)))
    document.fingerprint = "fp2:" + String(repeating: "0", count: 64)
    try FileSystem.replace(path, with: try JSON.encode(document))
    let plain = try await coach.run("snapshots", "verify", document.id, "--offline")
    #expect(plain.code == 0, "\(plain)")
    let unlike = try await coach.run("snapshots", "verify", "--restore", "--offline")
    #expect(unlike.code == 65 && unlike.error.contains("its content differs"), "\(unlike)")
    #expect(unlike.output.contains("\(document.id) is not good"), "\(unlike)")
    #expect(try isClean())

    let daemon = try await coach.serve()
    let begun = try daemon.ask(
      "POST", "/api/database/backups/\(document.id)/verify", #"{"restore": true}"#)
    #expect(begun.status == 202, "\(begun.text)")
    #expect(await daemon.stop() == .exited(0))
  }
}
