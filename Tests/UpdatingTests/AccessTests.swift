import Glibc
import Logging
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing

@testable import Updating

@Suite("Who may ask is known by what only they have")
struct AccessTests {
  /// Time that passes when a test says so.
  private final class Time: Sendable {
    private let passed = Mutex(Duration.zero)
    private let start = ContinuousClock.now

    func pass(_ time: Duration) { passed.withLock { $0 += time } }

    var clocks: Access.Clocks {
      Access.Clocks(
        now: { self.start + self.passed.withLock { $0 } },
        secondsSince1970: { 1_800_000_000 + self.passed.withLock { $0 }.seconds })
    }
  }

  private let folder: TemporaryFolder
  private let time = Time()
  private let root = Requester(way: .socket, id: "cli:root", name: "cli:root", role: .technician)

  init() throws {
    folder = try TemporaryFolder()
  }

  /// As after a start of the daemon.
  private func access() -> Access {
    let settings = UpdateSettings(
      environment: .production, databasePath: folder("coach.db"),
      migrationsDirectory: folder("migrations"), stateDirectory: folder("state"))
    return Access(
      settings: settings, history: history,
      logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, clocks: time.clocks)
  }

  private var history: StateStore { StateStore(stateFolder: folder("state"), chockVersion: "test") }

  private var file: String { TestCoach.text(folder("state/access.json")) }

  private func code(_ access: Access, _ role: Role = .owner) throws -> String {
    try access.makeCode(for: role, by: root).code
  }

  private func failure<T>(_ body: () async throws -> T) async -> Failure? {
    do {
      _ = try await body()
      return nil
    } catch {
      return error as? Failure
    }
  }

  @Test("A code pairs one browser, which is known from then on, also after a restart")
  func pairing() async throws {
    let access = access()
    let code = try code(access)
    #expect(code.count == 8)
    let (token, owner) = try await access.pair(code: code, name: "Anna's phone", pin: "2468")
    #expect(owner.role == .owner)
    #expect(owner.actor == "Anna's phone (owner)")
    #expect(access.browser(cookie: token) == owner)
    #expect(access.isPinSet(.owner))
    // Used up.
    let again = await failure { try await access.pair(code: code, name: "Bob", pin: nil) }
    #expect(again?.code == .notAllowed)
    #expect(self.access().browser(cookie: token) == owner)
    #expect(self.access().browser(cookie: token + "0") == nil)
    #expect(self.access().program(token: token) == nil)
  }

  @Test("A code is worth nothing after two minutes, or after a restart")
  func codesEnd() async throws {
    let access = access()
    let old = try code(access)
    time.pass(.seconds(121))
    #expect(
      await failure { try await access.pair(code: old, name: "Anna", pin: "2468") }?.code
        == .notAllowed)
    let young = try code(access)
    #expect(
      await failure { try await self.access().pair(code: young, name: "Anna", pin: "2468") }?.code
        == .notAllowed)
    time.pass(.seconds(119))
    _ = try await access.pair(code: young, name: "Anna", pin: "2468")
  }

  @Test("The first owner chooses a PIN; being asked for it does not use up the code")
  func firstPin() async throws {
    let access = access()
    let first = try code(access)
    let asked = await failure { try await access.pair(code: first, name: "Anna", pin: nil) }
    #expect(asked?.code == .pinNeeded)
    #expect(asked?.pointer == "/pin")
    _ = try await access.pair(code: first, name: "Anna", pin: "2468")
    // The second one has it already, and cannot change it so.
    let second = try code(access)
    #expect(
      await failure { try await access.pair(code: second, name: "Bob", pin: "1111") }?.code
        == .usage)
    _ = try await access.pair(code: second, name: "Bob", pin: nil)
    // Who only looks needs none.
    _ = try await access.pair(code: try code(access, .viewer), name: "Kids", pin: nil)
  }

  @Test("Pairing codes cannot be guessed: five wrong ones lock, also over restarts")
  func pairingLock() async throws {
    let access = access()
    _ = try code(access)
    for _ in 0..<5 {
      let wrong = await failure {
        try await self.access().pair(code: "00000000", name: "Eve", pin: "1111")
      }
      #expect(wrong?.message.contains("wrong, was used") == true)
    }
    #expect(
      await failure { try await self.access().pair(code: "00000000", name: "Eve", pin: nil) }?
        .message.contains("too often") == true)
    time.pass(.seconds(299))
    #expect(
      await failure { try await self.access().pair(code: "00000000", name: "Eve", pin: nil) }?
        .message.contains("too often") == true)
    // Somebody on the device makes a new one, and it works.
    let restarted = self.access()
    _ = try await restarted.pair(code: try code(restarted), name: "Anna", pin: "2468")
  }

  @Test("PIN brute force: each five wrong ones lock it twice as long, over restarts too")
  func pinLock() async throws {
    try await access().setPin("2468", of: .owner, by: "test")
    func attempt(_ pin: String?) async -> Failure? {
      await failure { try await self.access().check(pin: pin, of: .owner, for: "Eve") }
    }
    for minutes in [5.0, 10, 20] {
      for _ in 0..<5 { #expect(await attempt("0000")?.message == "The PIN is wrong.") }
      #expect(await attempt("2468")?.message.contains("too often") == true)
      time.pass(.seconds(minutes * 60 - 1))
      #expect(await attempt("2468")?.howToClear?.contains("Wait 1 min") == true)
      time.pass(.seconds(1))
    }
    #expect(await attempt("2468") == nil)
    #expect(await attempt("0000")?.message == "The PIN is wrong.")
    #expect(await attempt(nil)?.code == .pin)
    // A new one ends a lock-out.
    for _ in 0..<4 { _ = await attempt("0000") }
    #expect(await attempt("2468")?.message.contains("too often") == true)
    try await access().setPin("1357", of: .owner, by: "test")
    #expect(await attempt("1357") == nil)
  }

  @Test("A hundred tries at once are no more than five")
  func parallelTries() async throws {
    let access = access()
    try await access.setPin("9999", of: .owner, by: "test")
    let wrong = await withTaskGroup(of: Bool.self) { group in
      for number in 1000..<1100 {
        group.addTask {
          await self.failure { try await access.check(pin: "\(number)", of: .owner, for: "x") }?
            .message == "The PIN is wrong."
        }
      }
      return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(wrong == 5)
  }

  @Test("A PIN raises a browser for 15 minutes, and it can be lowered before")
  func raising() async throws {
    let access = access()
    let (token, owner) = try await access.pair(code: try code(access), name: "Tablet", pin: "2468")
    try await access.setPin("8642", of: .technician, by: "cli:root")
    #expect(
      await failure { try await access.raise(owner, to: .technician, pin: "2468") }?.code == .pin)
    let (cookie, technician) = try await access.raise(owner, to: .technician, pin: "8642")
    #expect(cookie == nil)
    #expect(technician.role == .technician)
    #expect(access.browser(cookie: token) == technician)
    #expect(technician.id == owner.id)
    time.pass(.seconds(901))
    #expect(access.browser(cookie: token) == owner)

    _ = try await access.raise(owner, to: .technician, pin: "8642")
    let raised = try #require(access.browser(cookie: token))
    #expect(try access.signOut(raised, cookie: token) == false)
    #expect(access.browser(cookie: token) == owner)
    // Then it is signed out for good.
    #expect(try access.signOut(owner, cookie: token))
    #expect(access.browser(cookie: token) == nil)
    #expect(access.devices().isEmpty)
  }

  @Test("A browser of this machine that gives a PIN is known by a cookie, until it ends")
  func guests() async throws {
    let access = access()
    try await access.setPin("2468", of: .owner, by: "cli:root")
    let panel = Requester(way: .panel, id: "panel", name: "panel", role: .viewer)
    let (token, guest) = try await access.raise(panel, to: .owner, pin: "2468")
    let cookie = try #require(token)
    #expect(access.browser(cookie: cookie)?.role == .owner)
    #expect(access.isKnown(guest))
    time.pass(.seconds(901))
    #expect(access.browser(cookie: cookie) == nil)
    #expect(!access.isKnown(guest))
    // A program does not sign in so.
    let program = Requester(way: .machine, id: "x", name: "x", role: .controller)
    #expect(
      await failure { try await access.raise(program, to: .owner, pin: "2468") }?.code == .usage)
  }

  @Test("A token is shown once, kept as its digest, and worth nothing once it is revoked")
  func tokens() throws {
    let access = access()
    let made = try access.makeToken(name: "CoachIQ", role: .controller, by: root)
    #expect(made.token.hasPrefix("chock_"))
    #expect(made.token.count == 6 + 64)
    #expect(self.access().program(token: made.token)?.actor == "CoachIQ (controller)")
    #expect(!file.contains(made.token.dropFirst(6)))
    let owner = Requester(way: .device, id: "d", device: "d", name: "Anna", role: .owner)
    #expect(throws: Failure.self) { try access.removeToken("nothing", by: root) }
    #expect(throws: Failure.self) { try access.makeToken(name: "x", role: .controller, by: owner) }
    try access.removeToken(made.id, by: root)
    #expect(self.access().program(token: made.token) == nil)
  }

  @Test("No secret is in the file, in the audit or in the log; the file is for chock alone")
  func secrets() async throws {
    let log = Mutex("")
    struct Handler: LogHandler {
      let write: @Sendable (String) -> Void
      var metadata: Logger.Metadata = [:]
      var logLevel = Logger.Level.trace
      subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
      }
      func log(event: LogEvent) { write("\(event.message)\n") }
    }
    let settings = UpdateSettings(
      environment: .production, databasePath: folder("coach.db"),
      migrationsDirectory: folder("migrations"), stateDirectory: folder("state"))
    let access = Access(
      settings: settings, history: history,
      logger: Logger(label: "test") { _ in
        Handler(write: { line in log.withLock { $0 += line } })
      }, clocks: time.clocks)
    let code = try code(access)
    _ = await failure { try await access.pair(code: "98765432", name: "Eve", pin: "975310") }
    let (cookie, owner) = try await access.pair(code: code, name: "Anna", pin: "135790")
    let token = try access.makeToken(name: "CoachIQ", role: .controller, by: root).token
    try await access.setPin("864213", of: .technician, by: "cli:root")
    _ = try await access.raise(owner, to: .technician, pin: "864213")
    _ = await failure { try await access.check(pin: "192837", of: .owner, for: "Eve") }
    let audit = try history.audit()
    let written = file + (try JSON.text(audit.entries)) + log.withLock { $0 }
    for secret in [code, cookie, token, "98765432", "975310", "135790", "864213", "192837"] {
      #expect(!written.contains(secret))
    }
    #expect(audit.isWhole)
    #expect(
      audit.entries.map(\.action) == [
        .makeCode, .refuse, .pair, .makeToken, .setPin, .signIn, .refuse,
      ])
    #expect(log.withLock { $0 }.contains("Anna is paired as owner."))
    var info = stat()
    #expect(stat(folder("state/access.json"), &info) == 0)
    #expect(info.st_mode & 0o777 == 0o600)
  }

  @Test("Nobody gives what they do not have")
  func ladder() throws {
    let access = access()
    let owner = Requester(way: .socket, id: "cli:anna", name: "cli:anna", role: .owner)
    #expect(throws: Failure.self) { try access.makeCode(for: .technician, by: owner) }
    #expect(throws: Failure.self) { try access.makeCode(for: .controller, by: root) }
    #expect(try access.makeCode(for: .viewer, by: owner).role == .viewer)
    #expect(throws: Failure.self) { try access.makeToken(name: "x", role: .developer, by: root) }
    for role in Role.allCases where role != .controller {
      #expect(role.includes(.viewer))
      #expect(role.includes(.controller) == [.technician, .developer].contains(role))
    }
    #expect(Role.controller.includes(.viewer))
    #expect(!Role.controller.includes(.owner))
  }

  @Test(
    "A name is plain text and cannot look like a user of the machine",
    arguments: ["", " Anna", "cli:root", "a\nb", "Anna (owner)", String(repeating: "a", count: 41)])
  func names(name: String) async throws {
    let access = access()
    let code = try code(access)
    let refused = await failure { try await access.pair(code: code, name: name, pin: "2468") }
    #expect(refused?.code == .usage)
    #expect(refused?.pointer == "/name")
    _ = try await access.pair(code: code, name: "Käthe’s 2. Gerät", pin: "2468")
  }

  @Test("A plan that two persons have to agree to is not agreed to by one at two times")
  func approvals() async throws {
    let access = access()
    let plan = String(repeating: "ab", count: 32)
    let (_, anna) = try await access.pairFirst(by: root)
    let bob = Requester(way: .device, id: "b", device: "b", name: "Bob", role: .technician)
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: bob) }
    _ = try access.approve(plan, by: anna)
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: anna) }
    #expect(throws: Failure.self) { try access.approver(of: "other", beside: bob) }
    #expect(try access.approver(of: plan, beside: bob) == anna)
    time.pass(.seconds(901))
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: bob) }
    _ = try access.approve(plan, by: anna)
    access.forgetApprovals(of: plan)
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: bob) }
    let program = Requester(way: .machine, id: "p", name: "p", role: .owner)
    #expect(throws: Failure.self) { try access.approve(plan, by: program) }
    #expect(throws: Failure.self) { try access.approve("no hash", by: anna) }
  }

  @Test("An approval ends with the device that it came from")
  func approvalOfRemovedDevice() async throws {
    let access = access()
    let plan = String(repeating: "ab", count: 32)
    let (_, anna) = try await access.pairFirst(by: root)
    let bob = try await access.pair(code: try code(access), name: "Bob", pin: nil).requester
    _ = try access.approve(plan, by: anna)
    _ = try access.approve(plan, by: bob)
    #expect(access.approvals().map(\.by) == ["Anna (owner)", "Bob (owner)"])
    try access.removeDevice(bob.id, by: anna)
    #expect(access.approvals().map(\.by) == ["Anna (owner)"])
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: anna) }
    // A request that was on its way when the device was removed.
    _ = try access.approve(plan, by: bob)
    #expect(throws: Failure.self) { try access.approver(of: plan, beside: anna) }
    #expect(try access.approver(of: plan, beside: root) == anna)
  }

  @Test("One person is no two: neither with a second PIN, nor with a browser of a program's making")
  func onePerson() async throws {
    let access = access()
    let plan = String(repeating: "ab", count: 32)
    let (_, anna) = try await access.pairFirst(by: root)
    _ = try access.approve(plan, by: anna)
    try await access.setPin("8642", of: .technician, by: "cli:root")
    for (role, pin) in [(Role.owner, "2468"), (.technician, "8642")] {
      let raised = try await access.raise(anna, to: role, pin: pin).requester
      #expect(throws: Failure.self) { try access.approver(of: plan, beside: raised) }
    }
    access.forgetApprovals(of: plan)
    let panel = Requester(way: .panel, id: "panel", name: "panel", role: .owner)
    _ = try access.approve(plan, by: panel)
    for role in [Role.owner, .technician] {
      let pin = role == .owner ? "2468" : "8642"
      let (cookie, guest) = try await access.raise(panel, to: role, pin: pin)
      let known = try #require(cookie.flatMap(access.browser))
      for guest in [guest, known] {
        #expect(throws: Failure.self) { try access.approver(of: plan, beside: guest) }
      }
    }
    let token = try access.makeToken(name: "CoachIQ", role: .owner, by: root).token
    let program = try #require(access.program(token: token))
    #expect(
      await failure { try access.makeCode(for: .owner, by: program) }?.code == .notAllowed)
  }

  @Test("A new PIN ends what the old one has raised")
  func loweredByPin() async throws {
    let access = access()
    let (cookie, owner) = try await access.pairFirst(by: root)
    try await access.setPin("8642", of: .technician, by: "cli:root")
    let panel = Requester(way: .panel, id: "panel", name: "panel", role: .viewer)
    _ = try await access.raise(owner, to: .technician, pin: "8642")
    let (token, guest) = try await access.raise(panel, to: .technician, pin: "8642")
    try await access.setPin("1357", of: .owner, by: "cli:root")
    #expect(access.browser(cookie: cookie)?.role == .technician)
    try await access.setPin("9753", of: .technician, by: "cli:root")
    #expect(access.browser(cookie: cookie)?.role == .owner)
    #expect(token.flatMap(access.browser) == nil)
    #expect(!access.isKnown(guest))
  }

  @Test("Tries at a locked PIN are counted, and in the audit")
  func lockedTries() async throws {
    let access = access()
    try await access.setPin("2468", of: .owner, by: "cli:root")
    for _ in 0..<8 {
      _ = await failure { try await access.check(pin: "0000", of: .owner, for: "Eve") }
    }
    #expect(access.failures == 8)
    let reasons = try history.audit().entries.map(\.reason)
    #expect(reasons.count { $0 == "it was wrong" } == 5)
    #expect(reasons.count { $0 == "locked after too many wrong ones" } == 1)
  }

  @Test(
    "With a file that cannot be read nobody is signed in, and it is kept", arguments: ["", "{"])
  func damage(text: String) async throws {
    let (token, _) = try await access().pairFirst(by: root)
    try folder.write(text, to: "state/access.json")
    let access = access()
    #expect(access.browser(cookie: token) == nil)
    let refused = await failure { try await access.check(pin: "2468", of: .owner, for: "x") }
    #expect(refused?.message.contains("cannot be read") == true)
    let panel = Requester(way: .panel, id: "panel", name: "panel", role: .owner)
    // Whatever anybody tries, the protection does not end by it.
    for code in ["00000000", "11111111"] {
      _ = await failure { try await access.pair(code: code, name: "Eve", pin: "1111") }
    }
    #expect(await failure { try access.makeCode(for: .owner, by: root) }?.code == .notAllowed)
    #expect(
      await failure { try await access.setPin("1357", of: .technician, by: "cli:root") }?.code
        == .notAllowed)
    #expect(await failure { try access.removePin(of: .owner, by: "cli:root") }?.code == .notAllowed)
    #expect(TestCoach.text(folder("state/access.json")) == text)
    #expect(access.asksPin(panel))
    #expect(self.access().asksPin(panel))
    try await access.setPin("1357", of: .owner, by: "cli:root")
    #expect(await failure { try await access.check(pin: "1357", of: .owner, for: "x") } == nil)
    #expect(TestCoach.text(folder("state/access.json.damaged")) == text)
  }

  @Test("Who asks again and again does not fill the audit")
  func floods() throws {
    let access = access()
    for _ in 0..<50 { access.refused("192.168.1.7", "POST /api/database/update", "nobody") }
    for number in 0..<300 { access.refused("192.168.1.\(number)", "GET /x", "nobody") }
    #expect(access.failures == 350)
    #expect(try history.audit().entries.count == 100)
    time.pass(.seconds(601))
    access.refused("192.168.1.7", "GET /x", "nobody")
    #expect(try history.audit().entries.count == 101)
  }
}

extension Access {
  fileprivate func pairFirst(by requester: Requester) async throws -> (String, Requester) {
    try await pair(
      code: try makeCode(for: .owner, by: requester).code, name: "Anna", pin: "2468")
  }
}
