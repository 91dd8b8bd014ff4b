import Authoring
import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "A technician accepts, adopts and takes rows along through the daemon, as at the terminal",
  .serialized, .timeLimit(.minutes(15)))
struct MendingTests {
  private static let repair = "/api/database/repair"
  private static let adoption = "/api/database/adoption"
  private static let reason = #"{"reason": "only a comment"}"#

  /// What was looked at, for If-Match.
  private struct Looked: Decodable { var hash: String }

  private func look(_ daemon: Daemon, _ path: String) throws -> [String: String] {
    let answer = try daemon.ask("GET", path)
    #expect(answer.status == 200, "\(answer.text)")
    return ["If-Match": "\"\(try JSON.decode(Looked.self, from: answer.body).hash)\""]
  }

  /// A coach whose applied file has changed since.
  private func changed(_ config: String = TestCoach.development) throws -> TestCoach {
    let coach = try Sample.coach(config: config)
    try coach.folder.write(Sample.base + "\n-- edited", to: "migrations/0001_items.sql")
    return coach
  }

  /// One whose database chock does not know, and whose schema is that of version 1 alone.
  private func unknown(_ config: String = TestCoach.development) throws -> TestCoach {
    let coach = try TestCoach(
      config: config,
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update])
    try SampleDatabase.make(coach.database, Sample.base + Sample.rows)
    return coach
  }

  // MARK: Accepting

  @Test("A file that contradicts the ledger is accepted in recovery mode, which then can be left")
  func accept() async throws {
    let coach = try changed("environment = \"production\"")
    let before = try coach.fingerprint()
    let daemon = try await coach.serve()
    #expect(try daemon.status().mode == .recovery)
    #expect(try await coach.run("recover", "--leave").code == 65)
    let found = try JSON.decode(RepairAnswer.self, from: daemon.ask("GET", Self.repair).body)
    #expect(found.files.map(\.version) == [SchemaVersion("1")] && found.drift.isEmpty)

    let seen = try look(daemon, Self.repair)
    let accepted = try daemon.ask("POST", Self.repair, Self.reason, headers: seen)
    #expect(accepted.status == 200, "\(accepted.text)")
    let status = try daemon.status()
    // Leaving it is a word of its own.
    #expect(status.mode == .recovery)
    #expect(try coach.fingerprint() == before)
    let audit = try await coach.run("audit")
    #expect(
      audit.output.contains("accepted the changed file of version 1 of \(coach.database)"))
    #expect(audit.output.contains("only a comment"), "\(audit)")
    #expect(try await coach.run("recover", "--leave").code == 0)
    #expect(try daemon.status().mode == .normal)
    #expect(try daemon.status().needsUpdate)
    // Nothing is left to accept; asked for once more it is no longer what was seen.
    let again = try daemon.ask("POST", Self.repair, Self.reason, headers: seen)
    #expect(again.status == 412, "\(again.text)")
    #expect(await daemon.stop() == .exited(0))
  }

  private struct RepairAnswer: Decodable {
    var files: [File]
    var drift: [Schema.Difference]
    struct File: Decodable { var version: SchemaVersion? }
  }

  @Test("Drift is accepted, and who listens is told that nothing is in the way any more")
  func drift() async throws {
    let coach = try Sample.coach()
    try SampleDatabase.change(coach.database, "CREATE INDEX theirs ON item (body)")
    let daemon = try await coach.serve()
    let listener = try await EventListener(daemon)
    let found = try JSON.decode(RepairAnswer.self, from: daemon.ask("GET", Self.repair).body)
    #expect(found.drift.map(\.name) == ["theirs"])
    let told = listener.events.count
    let accepted = try daemon.ask(
      "POST", Self.repair, Self.reason, headers: try look(daemon, Self.repair))
    #expect(accepted.status == 200, "\(accepted.text)")
    try await waitUntil("the state is told") {
      listener.events.dropFirst(told).contains { $0.type == .state }
    }
    #expect(try await coach.run("repair").code == 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("What has changed since it was looked at is not accepted, nor anything unseen or unsaid")
  func precondition() async throws {
    let coach = try changed()
    let daemon = try await coach.serve()
    let seen = try look(daemon, Self.repair)
    for (body, headers, status, words) in [
      (Self.reason, [:], 428, "If-Match"),
      (Self.reason, ["If-Match": "\"no\""], 412, "no longer what was looked at"),
      (Self.reason, ["If-Match": "no"], 400, "If-Match"),
      ("{}", seen, 400, "`reason` is missing"), (#"{"reason": " "}"#, seen, 400, "`reason`"),
      (#"{"reason": "ok\nforged"}"#, seen, 400, "`reason`"),
    ] {
      let answer = try daemon.ask("POST", Self.repair, body, headers: headers)
      #expect(answer.status == status && answer.text.contains(words), "\(body) \(answer.text)")
    }
    try coach.folder.write(Sample.base + "\n-- once more", to: "migrations/0001_items.sql")
    let late = try daemon.ask("POST", Self.repair, Self.reason, headers: seen)
    #expect(late.status == 412, "\(late.text)")
    #expect(late.text.contains("CHK-PLAN-CHANGED"))
    // The schema counts as well.
    let again = try look(daemon, Self.repair)
    try SampleDatabase.change(coach.database, "CREATE TABLE theirs (x)")
    #expect(try daemon.ask("POST", Self.repair, Self.reason, headers: again).status == 412)
    #expect(try await coach.run("audit").output.contains("Nothing yet."))
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("An owner neither looks nor accepts nor takes rows along")
  func owners() async throws {
    let coach = try changed()
    let daemon = try await coach.serve()
    for (method, path, body) in [
      ("GET", Self.repair, nil), ("POST", Self.repair, Self.reason), ("GET", Self.adoption, nil),
      ("POST", Self.adoption, #"{"version": "1"}"#), ("GET", "/api/database/rescue", nil),
      ("GET", "/api/database/rescue/any", nil), ("POST", "/api/database/rescue/any/export", "{}"),
      ("GET", "/api/database/rescue/any/export/rescue.sql", nil),
    ] {
      let answer = try daemon.askOverTCP(method, path, body)
      #expect(answer.status == 403 && answer.text.contains("technician"), "\(method) \(path)")
    }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Nothing is accepted while a run is active, nor behind one that was interrupted")
  func busy() async throws {
    let coach = try changed()
    let daemon = try await coach.serve()
    let seen = try look(daemon, Self.repair)
    do {
      // What every run holds.
      let lock = try #require(try RunLock(folder: coach.state))
      defer { withExtendedLifetime(lock) {} }
      let busy = try daemon.ask("POST", Self.repair, Self.reason, headers: seen)
      #expect(busy.status == 409 && busy.text.contains("CHK-RUN-ACTIVE"), "\(busy.text)")
    }
    try coach.folder.write("{", to: "state/run.json")
    let behind = try daemon.ask("POST", Self.repair, Self.reason, headers: seen)
    #expect(behind.status == 409 && behind.text.contains("CHK-INTERRUPTED"), "\(behind.text)")
    try FileSystem.remove("\(coach.state)/run.json")
    #expect(try daemon.ask("POST", Self.repair, Self.reason, headers: seen).status == 200)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("The lock with which chock holds a read-only application off does not hold chock off")
  func readOnly() async throws {
    let coach = try changed(
      """
      environment = "production"
      [application]
      in_recovery = "read_only"
      """)
    let daemon = try await coach.serve()
    try await waitUntil("it is held") {
      FileSystem.facts("\(coach.state)/recovery-mode.json") != nil
    }
    let accepted = try daemon.ask(
      "POST", Self.repair, Self.reason, headers: try look(daemon, Self.repair))
    #expect(accepted.status == 200, "\(accepted.text)")
    try await waitUntil("it is held again") {
      (try? SampleDatabase.change(coach.database, "PRAGMA busy_timeout = 0; BEGIN IMMEDIATE"))
        == nil
    }
    #expect(await daemon.stop() == .exited(0))
  }

  // MARK: Adopting

  @Test("A database that chock does not know is adopted at what was looked at, and gets its offer")
  func adopt() async throws {
    let coach = try unknown()
    let before = try coach.fingerprint()
    let daemon = try await coach.serve()
    #expect(try daemon.status().adopted == false)
    let listener = try await EventListener(daemon)
    let proposed = try look(daemon, Self.adoption)
    // For another version it is not what was seen.
    let other = try daemon.ask(
      "POST", Self.adoption, #"{"version": "2", "reason": "I know"}"#, headers: proposed)
    #expect(other.status == 412, "\(other.text)")
    let none = try daemon.ask("GET", "\(Self.adoption)?version=7")
    #expect(none.status == 404 || none.status == 422, "\(none.text)")

    let adopted = try daemon.ask(
      "POST", Self.adoption, #"{"version": "1", "reason": "from the factory"}"#, headers: proposed)
    #expect(adopted.status == 200, "\(adopted.text)")
    #expect(try coach.fingerprint() == before)
    try await waitUntil("it is offered") {
      listener.events.contains { $0.type == .updateAvailable }
    }
    let status = try daemon.status()
    #expect(status.adopted && status.currentVersion == "1" && status.needsUpdate)
    let audit = try await coach.run("audit")
    #expect(
      audit.output.contains("adopted \(coach.database) at version 1: from the factory"), "\(audit)")
    let again = try daemon.ask("GET", Self.adoption)
    #expect(again.status == 409 && again.text.contains("CHK-DATABASE-EXISTS"), "\(again.text)")
    #expect(try await coach.run("update", "--yes").code == 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A person's word counts against what was found, once it was seen what speaks against it")
  func word() async throws {
    let coach = try unknown()
    let daemon = try await coach.serve()
    let seen = try look(daemon, "\(Self.adoption)?version=0")
    let adopted = try daemon.ask(
      "POST", Self.adoption, #"{"version": "0"}"#, headers: seen)
    #expect(adopted.status == 200, "\(adopted.text)")
    #expect(try daemon.status().currentVersion == "0")
    // Nobody has said why: it is what was found.
    let audit = try await coach.run("audit")
    #expect(audit.output.contains("exactly that of version 1"), "\(audit)")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("The terminal writes the same into the audit")
  func terminal() async throws {
    let coach = try unknown()
    let adopted = try await coach.run("adopt", "--at", "1", "--reason", "from the factory")
    #expect(adopted.code == 0, "\(adopted)")
    let audit = try await coach.run("audit")
    #expect(audit.output.contains("at version 1: from the factory"), "\(audit)")
    #expect(try await coach.run("adopt", "--reason", "a\nb").code == 64)
  }

  // MARK: Rescue copies

  private struct Exported: Decodable {
    var folder: String
    var tables: [Table]
    struct Table: Decodable { var file: String? }
  }

  @Test("A rescue copy is counted, exported as files, fetched, and put in again")
  func rescue() async throws {
    let coach = try Sample.coach()
    let run: RunDocument = try await coach.run("update", "--offline", "--json").document()
    try SampleDatabase.change(
      coach.database, "INSERT INTO item (id, body) VALUES (5000, 'recorded')")
    let back: RunDocument = try await coach.run(
      "restore", try #require(run.snapshotId), "--offline", "--yes", "--json"
    ).document()
    let copy = try #require(back.rescueCopy)
    let daemon = try await coach.serve()
    let base = "/api/database/rescue"
    let list = try JSON.decode(
      RescueCopiesDocument.self, from: daemon.ask("GET", base).body)
    #expect(list.copies.map(\.copy.id) == [copy])
    let found = try JSON.decode(
      RescueDocument.self, from: daemon.ask("GET", "\(base)/\(copy)").body)
    // The new item, and the table of notes.
    #expect(found.missing == 1001)
    #expect(found.tables.map(\.table) == ["item", "note"])

    #expect(try daemon.ask("GET", "\(base)/\(copy)/export/rescue.sql").status == 404)
    let made = try daemon.ask("POST", "\(base)/\(copy)/export", "{}")
    #expect(made.status == 200, "\(made.text)")
    let export = try JSON.decode(Exported.self, from: made.body)
    let names = ["rescue.sql", "rescue.json"] + export.tables.compactMap(\.file)
    #expect(names.count == 4)
    for name in names {
      let file = try daemon.ask("GET", "\(base)/\(copy)/export/\(name)")
      #expect(file.status == 200)
      #expect(try file.body == FileSystem.read("\(export.folder)/\(name)"), "\(name)")
    }
    for name in ["state.db", "..%2f..%2fstate.db", "%2e%2e"] {
      #expect(try daemon.ask("GET", "\(base)/\(copy)/export/\(name)").status == 404, "\(name)")
    }
    #expect(try await coach.run("audit").output.contains("exported the rescue copy \(copy)"))

    let started = try daemon.ask("POST", "\(base)/\(copy)", #"{"consent": true}"#)
    #expect(started.status == 202, "\(started.text)")
    let ended = try await daemon.ended(JSON.decode(RunDocument.self, from: started.body).id)
    #expect(ended.outcome == .committed, "\(ended)")
    #expect(ended.rescued?.first { $0.table == "item" }?.added == 1)
    // What has no place: the notes of the newer schema.
    let after = try JSON.decode(
      RescueDocument.self, from: daemon.ask("GET", "\(base)/\(copy)").body)
    #expect(after.missing == 1000)

    #expect(try daemon.ask("DELETE", "/api/database/backups/\(copy)").status == 204)
    #expect(FileSystem.facts(export.folder) == nil)
    #expect(await daemon.stop() == .exited(0))
  }
}
