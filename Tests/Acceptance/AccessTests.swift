import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What people and programs do from the command line and the panel, with the real daemon.
@Suite("People and programs are signed in, asked again and remembered", .timeLimit(.minutes(15)))
struct AccessTests {
  private static let consenting = """
    environment = "development"
    [update]
    require_explicit_consent = true
    [coach]
    required_gates = []
    """

  /// As on a coach: who has not signed in only looks.
  private static let viewer = ["CHOCK_ACCESS_LOCAL": "viewer"]

  private func pair(
    _ coach: TestCoach, _ daemon: Daemon, _ name: String, pin: String?, role: String = "owner"
  ) async throws -> String {
    let answer = try await coach.run("pair", "--role", role, "--json")
    try #require(answer.code == 0, "\(answer)")
    let code = try answer.document(PairingDocument.self).code
    let field = pin.map { #", "pin": "\#($0)""# } ?? ""
    let paired = try daemon.askOverTCP(
      "POST", "/api/pair", #"{"code": "\#(code)", "name": "\#(name)"\#(field)}"#)
    try #require(paired.status == 200, "\(paired.text)")
    let cookie = try #require(paired.header("set-cookie"))
    return String(cookie.prefix { $0 != ";" })
  }

  private func plan(_ daemon: Daemon) throws -> PlanDocument {
    try JSON.decode(PlanDocument.self, from: daemon.ask("GET", "/api/database/plan").body)
  }

  @Test("An owner pairs a phone, consents with the PIN, is named in the history, and undoes it")
  func owner() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    let daemon = try await coach.serve(environment: Self.viewer)
    let plan = try plan(daemon)
    func ask(
      _ method: String, _ path: String, _ body: String? = nil, as cookie: String?
    ) throws -> SocketClient.Answer {
      var headers = ["If-Match": "\"\(plan.hash)\""]
      if let cookie { headers["Cookie"] = cookie }
      return try daemon.askOverTCP(method, path, body, headers: headers)
    }
    let update = "/api/database/update"
    #expect(try ask("POST", update, #"{"consent": true}"#, as: nil).status == 403)
    let phone = try await pair(coach, daemon, "Anna’s phone", pin: "135791")
    #expect(try ask("POST", update, #"{"consent": true}"#, as: phone).text.contains("CHK-PIN"))
    let started = try ask("POST", update, #"{"consent": true, "pin": "135791"}"#, as: phone)
    #expect(started.status == 202, "\(started.text)")
    let run = try await daemon.ended(try JSON.decode(RunDocument.self, from: started.body).id)
    #expect(run.outcome == .committed)
    #expect(run.requestedBy == "Anna’s phone (owner)")

    // Replayed consent: the plan that it was for is not there any more.
    let replayed = try ask("POST", update, #"{"consent": true, "pin": "135791"}"#, as: phone)
    #expect(replayed.status == 412, "\(replayed.text)")
    #expect(try coach.fingerprint() == Sample.prints.get().new)

    // Undo, and no other restore.
    let snapshot = try #require(run.snapshotId)
    let consent = #"{"consent": true, "pin": "135791"}"#
    let other = try ask("POST", "/api/database/restore/20200101T000000Z-x", consent, as: phone)
    #expect(other.status == 403)
    let undo = try ask("POST", "/api/database/restore/\(snapshot)", consent, as: phone)
    #expect(undo.status == 202, "\(undo.text)")
    let undone = try await daemon.ended(try JSON.decode(RunDocument.self, from: undo.body).id)
    #expect(undone.outcome == .restored)
    #expect(try coach.fingerprint() == Sample.prints.get().old)

    // Everything is remembered, and nothing of it is a secret.
    let audit = try await coach.run("audit", "--json")
    for word in ["make_code", "\"pair\"", "Anna’s phone (owner)", "refuse"] {
      #expect(audit.output.contains(word), "\(word)")
    }
    let devices = try await coach.run("devices", "--json")
    let device = try #require(try devices.document(DevicesDocument.self).devices.first)
    #expect(device.name == "Anna’s phone")
    #expect(try await coach.run("devices", "remove", device.id).code == 0)
    #expect(try ask("GET", "/api/devices", as: phone).status == 403)
    #expect(await daemon.stop() == .exited(0))
    for secret in ["135791", String(phone.dropFirst("chock_session=".count))] {
      #expect(!daemon.call.error.contains(secret))
      #expect(!audit.output.contains(secret))
      #expect(!TestCoach.text("\(coach.state)/access.json").contains(secret))
    }
  }

  @Test("A program gets a token, with the daemon and without, and loses it")
  func tokens() async throws {
    let coach = try Sample.coach()
    // Without a daemon.
    let made = try await coach.run("token", "create", "CoachIQ", "--json")
    #expect(made.code == 0, "\(made)")
    let token = try made.document(TokenDocument.self)
    #expect(token.role == .controller)
    let daemon = try await coach.serve(environment: ["CHOCK_ACCESS_LOCAL": "none"])
    func put(_ token: String?) throws -> Int {
      try daemon.askOverTCP(
        "PUT", "/api/safety/readings/parking_brake", #"{"value": "engaged", "ttl_seconds": 60}"#,
        headers: token.map { ["Authorization": "Bearer \($0)"] } ?? [:]
      ).status
    }
    #expect(try put(nil) == 401)
    #expect(try put("chock_wrong") == 401)
    #expect(try put(token.token) == 204)
    let list = try await coach.run("token", "list")
    #expect(list.output.contains("CoachIQ  controller"), "\(list)")
    #expect(!list.output.contains(token.token))
    #expect(try await coach.run("token", "revoke", token.id).code == 0)
    #expect(try await coach.run("token", "revoke", token.id).code == 66)
    #expect(try put(token.token) == 401)
    #expect(try await coach.run("token", "create", "a:b").code == 64)
    #expect(await daemon.stop() == .exited(0))
    #expect(!daemon.call.error.contains(token.token))
  }

  @Test("A request that comes again is the same run, also when the daemon was killed meanwhile")
  func idempotency() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    var daemon = try await coach.serve()
    var plan = try plan(daemon)
    func start(_ key: String, _ body: String = #"{"consent": true}"#) throws -> SocketClient.Answer
    {
      try daemon.ask(
        "POST", "/api/database/update", body,
        headers: ["If-Match": "\"\(plan.hash)\"", "Idempotency-Key": key])
    }
    func id(_ answer: SocketClient.Answer) throws -> String {
      try #require(answer.status == 202, "\(answer.text)")
      return try JSON.decode(RunDocument.self, from: answer.body).id
    }
    let watch = try JournalWatch(coach.state)
    let first = try id(start("k1"))
    #expect(try id(start("k1")) == first)
    let frozen = try await watch.freeze(.rehearse, workerOf: daemon.process.pid)
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    frozen?.letGo()
    daemon = try await coach.serve()
    #expect(try id(start("k1")) == first)
    #expect(try daemon.run(first).outcome != nil)
    let other = try start("k1", #"{"consent": true, "out_of_order": true}"#)
    #expect(other.status == 422)
    #expect(other.text.contains("CHK-KEY-REUSED"))

    // The consent was used by the run that was interrupted.
    #expect(try start("k2").status == 412)
    plan = try self.plan(daemon)
    let second = try id(start("k2"))
    #expect(second != first)
    #expect(try await daemon.ended(second).outcome == .committed)
    #expect(await daemon.stop() == .exited(0))
    daemon = try await coach.serve()
    #expect(try id(start("k2")) == second)
    // A key says nothing of a request that was refused: consent to a plan that is not there any more.
    #expect(try start("k3").status == 412)
    #expect(try start("k3").status == 412)
    let history = try JSON.decode(
      [RunDocument].self, from: daemon.ask("GET", "/api/database/history").body)
    #expect(Set(history.filter { $0.kind == .update }.map(\.id)) == [first, second])
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A replayed consent starts nothing: neither after an undo nor after a stop")
  func replayedConsent() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    let daemon = try await coach.serve()
    func update(_ plan: PlanDocument) throws -> SocketClient.Answer {
      try daemon.ask(
        "POST", "/api/database/update", #"{"consent": true}"#,
        headers: ["If-Match": "\"\(plan.hash)\""])
    }
    func ended(_ answer: SocketClient.Answer) async throws -> RunDocument {
      try #require(answer.status == 202, "\(answer.text)")
      return try await daemon.ended(try JSON.decode(RunDocument.self, from: answer.body).id)
    }
    let first = try plan(daemon)
    let updated = try await ended(update(first))
    #expect(updated.outcome == .committed)
    let snapshot = try #require(updated.snapshotId)
    let undone = try await ended(
      daemon.ask("POST", "/api/database/restore/\(snapshot)", #"{"consent": true}"#))
    #expect(undone.outcome == .restored)
    // Nor is an update undone twice: what was recorded since would go.
    let twice = try daemon.askOverTCP(
      "POST", "/api/database/restore/\(snapshot)", #"{"consent": true}"#)
    #expect(twice.status == 403, "\(twice.text)")
    let again = try plan(daemon)
    #expect(again.planHash == first.planHash)
    #expect(try update(first).status == 412)
    // What changes nothing uses up nothing.
    let copied = try await ended(daemon.ask("POST", "/api/database/rehearse", "{}"))
    #expect(copied.outcome == .finished)
    #expect(try plan(daemon).hash == again.hash)

    let watch = try JournalWatch(coach.state)
    let running = try JSON.decode(RunDocument.self, from: try update(again).body)
    let frozen = try await watch.freeze(.rehearse, workerOf: daemon.process.pid)
    #expect(
      try daemon.ask("POST", "/api/database/update/\(running.id)/cancel", "{}").status == 200)
    frozen?.letGo()
    let cancelled = try await daemon.ended(running.id)
    #expect(cancelled.error?.code == .stopped, "\(cancelled)")
    #expect(try update(again).status == 412)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A replayed consent starts nothing after an undo, also when the history is lost")
  func replayedWithoutHistory() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    var daemon = try await coach.serve()
    let first = try plan(daemon)
    func update(_ hash: String) throws -> SocketClient.Answer {
      try daemon.ask(
        "POST", "/api/database/update", #"{"consent": true}"#,
        headers: ["If-Match": "\"\(hash)\"", "Idempotency-Key": "once"])
    }
    let started = try update(first.hash)
    let updated = try await daemon.ended(
      try JSON.decode(RunDocument.self, from: started.body).id)
    let snapshot = try #require(updated.snapshotId)
    let undone = try await daemon.ended(try daemon.startRestore(snapshot))
    #expect(undone.outcome == .restored)
    for how in ["removed", "damaged"] {
      #expect(await daemon.stop() == .exited(0))
      for suffix in ["", "-wal", "-shm", "-journal"] {
        try FileSystem.remove("\(coach.state)/state.db\(suffix)")
      }
      if how == "damaged" {
        try coach.folder.write("garbage, and more of it", to: "state/state.db")
      }
      daemon = try await coach.serve()
      let again = try plan(daemon)
      #expect(again.planHash == first.planHash)
      #expect(again.hash != first.hash)
      for hash in [first.hash, first.planHash] {
        #expect(try update(hash).status == 412, "\(how)")
      }
    }
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Where two persons are asked for, one on the phone and one on the device start an update")
  func approvals() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    let two = ["CHOCK_ACCESS_APPROVALS": "2"]
    let offline = try await coach.run(["update", "--yes", "--offline"], environment: two)
    #expect(offline.code == 75)
    #expect(offline.error.contains("CHK-APPROVAL"), "\(offline)")
    let daemon = try await coach.serve(environment: two)
    #expect(try await coach.run("update", "--yes").code == 75)
    #expect(try await coach.run("approve").code == 77)
    #expect(try await coach.run("approve", "--yes").code == 0)
    // Not twice the same person.
    #expect(try await coach.run("update", "--yes").code == 75)
    let phone = try await pair(coach, daemon, "Phone", pin: "135791")
    let plan = try plan(daemon)
    let started = try daemon.askOverTCP(
      "POST", "/api/database/update", #"{"consent": true, "pin": "135791"}"#,
      headers: ["Cookie": phone, "If-Match": "\"\(plan.hash)\""])
    #expect(started.status == 202, "\(started.text)")
    let run = try await daemon.ended(try JSON.decode(RunDocument.self, from: started.body).id)
    #expect(run.outcome == .committed)
    #expect(run.requestedBy?.hasPrefix("Phone (owner), approved by cli:") == true)
    // With nothing to do nobody has to agree.
    #expect(try await coach.run("update", "--yes").code == 0)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A stale If-Match starts nothing: what was agreed to is not what would be done")
  func staleMatch() async throws {
    let coach = try Sample.coach(config: Self.consenting)
    var daemon = try await coach.serve()
    let plan = try plan(daemon)
    try coach.folder.write(
      "-- Description: More\nCREATE TABLE more (id INTEGER PRIMARY KEY);",
      to: "migrations/0003_more.sql")
    let answer = try daemon.ask(
      "POST", "/api/database/update", #"{"consent": true}"#,
      headers: ["If-Match": "\"\(plan.hash)\""])
    #expect(answer.status == 412)
    #expect(answer.text.contains("CHK-PLAN-CHANGED"))
    // Also where nobody has to consent.
    #expect(await daemon.stop() == .exited(0))
    let free = try await coach.serve(
      environment: ["CHOCK_UPDATE_REQUIRE_EXPLICIT_CONSENT": "false"])
    #expect(
      try free.ask(
        "POST", "/api/database/update", "{}", headers: ["If-Match": "\"\(plan.hash)\""]
      ).status == 412)
    #expect(await free.stop() == .exited(0))
    daemon = try await coach.serve()
    let none = try daemon.ask("POST", "/api/database/update", #"{"consent": true}"#)
    #expect(none.status == 428)
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("History and audit come in pages, each entry once")
  func pages() async throws {
    let coach = try Sample.coach()
    let daemon = try await coach.serve()
    for number in 0..<5 {
      let answer = try daemon.ask("POST", "/api/database/backups", "{}")
      _ = try await daemon.ended(try JSON.decode(RunDocument.self, from: answer.body).id)
      #expect(try await coach.run("token", "create", "t\(number)").code == 0)
    }
    func all<Page: Decodable, Entry>(
      _ path: String, _ type: Page.Type,
      _ take: (Page, SocketClient.Answer) -> (entries: [Entry], next: String?)
    ) throws -> [[Entry]] {
      var pages: [[Entry]] = []
      var next: String?
      repeat {
        let answer = try daemon.ask("GET", "\(path)?limit=2" + (next.map { "&before=\($0)" } ?? ""))
        #expect(answer.status == 200, "\(answer.text)")
        let page = take(try JSON.decode(Page.self, from: answer.body), answer)
        pages.append(page.entries)
        next = page.next
      } while next != nil
      return pages
    }
    let runs = try all("/api/database/history", [RunDocument].self) { runs, answer in
      let link = answer.header("Link")?.firstMatch(of: /before=(.+)>; rel="next"/)
      return (runs, link.map { String($0.1) })
    }
    let whole = try JSON.decode(
      [RunDocument].self, from: daemon.ask("GET", "/api/database/history").body)
    #expect(runs.flatMap { $0 } == whole)
    #expect(whole.count >= 5)
    #expect(runs.allSatisfy { $0.count <= 2 })

    let audit = try all("/api/database/audit", AuditPage.self) { page, _ in
      #expect(page.isWhole)
      return (page.entries, page.nextBefore.map { "\($0)" })
    }
    #expect(audit.map(\.count) == [2, 2, 1])
    #expect(
      audit.flatMap { $0 }.map(\.accepted) == (0..<5).reversed().map { "t\($0) (controller)" })
    for path in ["history?limit=0", "history?limit=x", "audit?before=x", "audit?limit=1001"] {
      #expect(try daemon.ask("GET", "/api/database/\(path)").status == 400, "\(path)")
    }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "The config opens the network, and says what users may do; mistakes are told with their line")
  func config() async throws {
    for (text, word) in [
      ("[access]\nlocal = \"root\"", "owner"), ("[access]\napprovals = 3", "at most 2"),
      ("[access]\nusers = [\"coachiq\"]", "NAME=ROLE"),
      ("[access]\ngroups = [\"x=king\"]", "the roles are"),
      ("[server]\nlisten = \"coach:80\"", "0.0.0.0"),
      ("[server]\nlisten = \"127.0.0.1\"", "127.0.0.1:8765"),
      ("[server]\nlisten = \"[::1:80\"", "not an address"),
    ] {
      let folder = try TemporaryFolder()
      let file = try folder.write(text, to: "chock.toml")
      let coach = try Sample.coach()
      let answer = try await coach.run("status", config: file)
      #expect(answer.code == 78, "\(text): \(answer)")
      #expect(answer.error.contains(word), "\(text): \(answer.error)")
    }
    let coach = try Sample.coach()
    let call = try coach.start(["serve"], environment: ["CHOCK_SERVER_LISTEN": "0.0.0.0:0"])
    try await waitUntil("it answers") { call.error.contains("The panel is at http://127.0.0.1:") }
    #expect(call.error.contains("The coach's network can reach it"))
    let pairing = try await coach.run("pair", "--json")
    #expect(pairing.code == 0, "\(pairing)")
    #expect(
      try pairing.document(PairingDocument.self).addresses.last?.hasPrefix("http://127.0.0.1:")
        == true)
    #expect(try await coach.run("pair", "--role", "controller").code == 64)
    call.process.signal(SIGTERM)
    #expect(await call.process.ended() == .exited(0))
    #expect(try await coach.run("pair").code == 69)
  }
}
