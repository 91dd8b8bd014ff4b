import Coach
import ControlServer
import Migrations
import Storage
import Updating

/// What the command line asks of chock, with or without a daemon.
protocol Engine: Sendable {
  func status() async throws(Failure) -> StatusDocument
  func plan(_ goal: Goal) async throws(Failure) -> PlanDocument
  func history(limit: Int) async throws(Failure) -> [RunDocument]
  func snapshots() async throws(Failure) -> [SnapshotDocument]
  /// What is known of the copies elsewhere.
  func copies() async throws(Failure) -> [CopyPlaceDocument]
  func setPinned(_ pinned: Bool, snapshot id: String) async throws(Failure) -> SnapshotDocument
  func deleteSnapshot(_ id: String) async throws(Failure)
  /// What is in the database and not in a snapshot.
  func losses(restoring id: String) async throws(Failure) -> LossDocument
  func safety() async throws(Failure) -> SafetyDocument
  func attest(_ signal: String, _ value: ReadingValue, seconds: Double) async throws(Failure)
  func forget(_ signal: String) async throws(Failure)
  func putLock(_ id: String, owner: String, reason: String, seconds: Double) async throws(Failure)
  /// - Parameter owner: nil breaks it.
  func releaseLock(_ id: String, owner: String?) async throws(Failure)
  /// - Parameter pin: nil removes it.
  func setPin(_ pin: String?, of role: Role) async throws(Failure)
  func devices() async throws(Failure) -> [CredentialDocument]
  func removeDevice(_ id: String) async throws(Failure)
  func tokens() async throws(Failure) -> [CredentialDocument]
  func makeToken(_ name: String, role: Role) async throws(Failure) -> TokenDocument
  func removeToken(_ id: String) async throws(Failure)
  func start(_ run: RunRequest) async throws(Failure) -> RunDocument
  func run(_ id: String) async throws(Failure) -> RunDocument
  /// Waits until a run has ended, telling what happens meanwhile.
  func follow(_ id: String, _ tell: @Sendable (Event) -> Void) async throws(Failure) -> RunDocument
  func cancel(_ id: String) async
}

/// A run that a person asks for.
enum RunRequest: Sendable {
  /// An update or a rollback.
  case apply(Goal, inputs: [String: InputValue], planHash: String?, consent: Bool)
  case rehearse(Goal, inputs: [String: InputValue])
  case snapshot
  /// With `restore` it is also restored into a file of its own.
  case verify(String, restore: Bool)
  case check(CheckKind)
  case restore(String)
  case `import`(String, replaces: Bool)
  case rescue(String, Rescuer.Request)
  /// Of the files that this run set aside; nil: of the database.
  case salvage(String?)
  /// One snapshot, or what is missing.
  case copy(String?)
  case fetch(String, from: String)
  case factory(inputs: [String: InputValue])

  /// Beside the runs: its progress comes with no events.
  var isErrand: Bool {
    switch self {
    case .copy, .fetch: true
    default: false
    }
  }
}

/// Without a daemon: the supervisor in this process.
struct LocalEngine: Engine {
  let updater: Updater
  /// How many persons have to agree to an update.
  let approvals: Int

  func status() async -> StatusDocument { await updater.status() }

  func plan(_ goal: Goal) async throws(Failure) -> PlanDocument {
    try await updater.plan(goal)
  }

  func history(limit: Int) async throws(Failure) -> [RunDocument] {
    try updater.history(limit: limit)
  }

  func snapshots() async throws(Failure) -> [SnapshotDocument] { try updater.snapshots() }

  func copies() async throws(Failure) -> [CopyPlaceDocument] { await updater.copies() }

  func setPinned(_ pinned: Bool, snapshot id: String) async throws(Failure) -> SnapshotDocument {
    try await updater.setPinned(pinned, snapshot: id)
  }

  func deleteSnapshot(_ id: String) async throws(Failure) {
    try await updater.deleteSnapshot(id, by: Session.user)
  }

  func losses(restoring id: String) async throws(Failure) -> LossDocument {
    try await updater.losses(restoring: id)
  }

  func safety() async -> SafetyDocument { await updater.safety() }

  func attest(_ signal: String, _ value: ReadingValue, seconds: Double) async throws(Failure) {
    try await updater.attest(
      signal: signal, value: value, ttl: .seconds(seconds), person: Session.user)
  }

  func putLock(
    _ id: String, owner: String, reason: String, seconds: Double
  ) async throws(Failure) {
    try await updater.putLock(
      id: id, owner: owner, reason: reason, ttlSeconds: seconds, by: Session.requester)
  }

  func forget(_ signal: String) async throws(Failure) {
    try await updater.forget(signal, person: Session.user)
  }

  func releaseLock(_ id: String, owner: String?) async throws(Failure) {
    try await updater.releaseLock(id: id, owner: owner, by: Session.requester)
  }

  func setPin(_ pin: String?, of role: Role) async throws(Failure) {
    if let pin {
      try await updater.access.setPin(pin, of: role, by: Session.user)
    } else {
      try updater.access.removePin(of: role, by: Session.user)
    }
  }

  func devices() -> [CredentialDocument] { updater.access.devices() }

  func removeDevice(_ id: String) throws(Failure) {
    try updater.access.removeDevice(id, by: Session.requester)
  }

  func tokens() -> [CredentialDocument] { updater.access.tokens() }

  func makeToken(_ name: String, role: Role) throws(Failure) -> TokenDocument {
    try updater.access.makeToken(name: name, role: role, by: Session.requester)
  }

  func removeToken(_ id: String) throws(Failure) {
    try updater.access.removeToken(id, by: Session.requester)
  }

  func start(_ run: RunRequest) async throws(Failure) -> RunDocument {
    let user = Session.user
    switch run {
    case .apply(let goal, let inputs, let planHash, let consent):
      guard approvals == 1 else {
        throw Failure(
          .approval, "Two persons have to agree, and only the daemon can ask both.",
          howToClear: "Start it (systemctl start chock), and leave --offline out.")
      }
      return try await updater.startUpdate(
        UpdateRequest(
          planHash: planHash, consent: consent, goal: goal, inputs: inputs, requestedBy: user,
          isTechnician: true))
    case .rehearse(let goal, let inputs):
      return try await updater.startRehearsal(goal, inputs: inputs, requestedBy: user)
    case .snapshot: return try await updater.startSnapshot(requestedBy: user)
    case .verify(let id, let restore):
      return try await updater.startVerify(
        snapshot: id, testsRestore: restore, requestedBy: user)
    case .check(let kind): return try await updater.startCheck(kind, requestedBy: user)
    case .restore(let id): return try await updater.startRestore(snapshot: id, requestedBy: user)
    case .import(let export, let replaces):
      return try await updater.startImport(
        of: export, replaces: replaces, consent: true, isTechnician: true, requestedBy: user)
    case .rescue(let copy, let request):
      return try await updater.startRescue(
        of: copy, request, consent: true, isTechnician: true, requestedBy: user)
    case .salvage(let run):
      return try await updater.startSalvage(ofFilesSetAsideBy: run, requestedBy: user)
    case .copy(let id): return try await updater.startCopy(of: id, requestedBy: user)
    case .fetch(let id, let place):
      return try await updater.startFetch(
        of: id, from: place, isAnyPlace: true, requestedBy: user)
    case .factory(let inputs):
      return try await updater.startFactoryState(inputs: inputs, requestedBy: user)
    }
  }

  func run(_ id: String) async throws(Failure) -> RunDocument { try await updater.run(id) }

  func follow(_ id: String, _ tell: @Sendable (Event) -> Void) async throws(Failure) -> RunDocument
  {
    let subscription = updater.events.subscribe(since: nil)
    // The run may have ended before we listened.
    if let document = try? await updater.run(id), document.outcome != nil { return document }
    for await published in subscription.events {
      guard let event = published.event else { continue }
      tell(event)
      if event.type == .result, event.run == id, let result = event.result { return result }
    }
    guard let document = await updater.ended(id) else {
      throw Failure(.interrupted, "The run \(id) could not be followed to its end.")
    }
    return document
  }

  func cancel(_ id: String) async { _ = try? await updater.cancel(id, by: Session.user) }
}

/// With a daemon: the control interface over its unix socket.
struct DaemonEngine: Engine {
  let client: ControlClient

  func status() async throws(Failure) -> StatusDocument {
    try await ask("GET", "/api/database/status")
  }

  func plan(_ goal: Goal) async throws(Failure) -> PlanDocument {
    let query = Self.fields(goal).map { "\($0.key)=\($0.value)" }.sorted()
    return try await ask(
      "GET", "/api/database/plan" + (query.isEmpty ? "" : "?" + query.joined(separator: "&")))
  }

  private static func fields(_ goal: Goal) -> [String: Field] {
    switch goal {
    case .update(let target, let outOfOrder):
      var fields: [String: Field] = [:]
      if let target { fields["target_version"] = .text(target.description) }
      if outOfOrder { fields["out_of_order"] = .flag(true) }
      return fields
    case .rollback(let target): return ["rollback_to": .text(target.description)]
    case .rollbackOnly(let version): return ["rollback_only": .text(version.description)]
    }
  }

  func history(limit: Int) async throws(Failure) -> [RunDocument] {
    try await ask("GET", "/api/database/history?limit=\(limit)")
  }

  func snapshots() async throws(Failure) -> [SnapshotDocument] {
    let document: SnapshotsDocument = try await ask("GET", "/api/database/backups")
    return document.snapshots
  }

  func copies() async throws(Failure) -> [CopyPlaceDocument] {
    let document: SnapshotsDocument = try await ask("GET", "/api/database/backups")
    return document.copies
  }

  func run(_ id: String) async throws(Failure) -> RunDocument {
    try await ask("GET", "/api/database/update/\(id)/progress")
  }

  func setPinned(_ pinned: Bool, snapshot id: String) async throws(Failure) -> SnapshotDocument {
    try await ask(
      pinned ? "PUT" : "DELETE", "/api/database/backups/\(id)/pin", body: pinned ? [:] : nil)
  }

  func deleteSnapshot(_ id: String) async throws(Failure) {
    _ = try await answer("DELETE", "/api/database/backups/\(id)")
  }

  func losses(restoring id: String) async throws(Failure) -> LossDocument {
    // It reads every row of both.
    let patient = DaemonEngine(client: client.patient(.seconds(3600)))
    return try await patient.ask("GET", "/api/database/restore/\(Self.escaped(id))")
  }

  func safety() async throws(Failure) -> SafetyDocument { try await ask("GET", "/api/safety") }

  func attest(_ signal: String, _ value: ReadingValue, seconds: Double) async throws(Failure) {
    _ = try await answer(
      "POST", "/api/safety/attestations",
      body: [
        "signal": .text(signal), "value": .reading(value), "ttl_seconds": .number(seconds),
      ])
  }

  func putLock(
    _ id: String, owner: String, reason: String, seconds: Double
  ) async throws(Failure) {
    _ = try await answer(
      "PUT", "/api/safety/locks/\(Self.escaped(id))",
      body: ["owner": .text(owner), "reason": .text(reason), "ttl_seconds": .number(seconds)])
  }

  func forget(_ signal: String) async throws(Failure) {
    _ = try await answer("DELETE", "/api/safety/readings/\(Self.escaped(signal))")
  }

  func releaseLock(_ id: String, owner: String?) async throws(Failure) {
    _ = try await answer(
      "DELETE",
      "/api/safety/locks/\(Self.escaped(id))\(owner.map { "?owner=\(Self.escaped($0))" } ?? "")")
  }

  func setPin(_ pin: String?, of role: Role) async throws(Failure) {
    if let pin {
      _ = try await answer(
        "PUT", "/api/safety/pin", body: ["pin": .text(pin), "role": .text(role.rawValue)])
    } else {
      _ = try await answer("DELETE", "/api/safety/pin?role=\(role.rawValue)")
    }
  }

  /// A code for a browser: only the daemon can take it back.
  func makeCode(for role: Role) async throws(Failure) -> PairingDocument {
    try await ask("POST", "/api/pairing", body: ["role": .text(role.rawValue)])
  }

  /// Agrees to a plan that another person starts.
  func approve(_ planHash: String) async throws(Failure) -> ApprovalDocument {
    try await ask("POST", "/api/database/approvals", body: ["plan_hash": .text(planHash)])
  }

  func leaveRecoveryMode() async throws(Failure) -> StatusDocument {
    try await ask("POST", "/api/recovery/leave", body: [:])
  }

  /// Consents to an update in a window; nil: the maintenance window.
  func schedule(
    _ goal: Goal, inputs: [String: InputValue], planHash: String, at: String?
  ) async throws(Failure) -> Schedule {
    var body = Self.fields(goal)
    body["consent"] = .flag(true)
    body["when"] = .text("window")
    if let at { body["at"] = .text(at) }
    if !inputs.isEmpty { body["inputs"] = .values(inputs) }
    return try await ask(
      "POST", "/api/database/update", headers: [("if-match", "\"\(planHash)\"")], body: body)
  }

  func postpone(_ action: Schedule.Action, hours: Double?) async throws(Failure) -> Schedule {
    var body: [String: Field] = ["action": .text(action.rawValue)]
    if let hours { body["hours"] = .number(hours) }
    return try await ask("POST", "/api/database/schedule", body: body)
  }

  func clearSchedule() async throws(Failure) {
    _ = try await answer("DELETE", "/api/database/schedule")
  }

  func confirm(_ id: String) async throws(Failure) -> RunDocument {
    try await ask("POST", "/api/database/update/\(Self.escaped(id))/confirm", body: [:])
  }

  func devices() async throws(Failure) -> [CredentialDocument] {
    let document: DevicesDocument = try await ask("GET", "/api/devices")
    return document.devices
  }

  func removeDevice(_ id: String) async throws(Failure) {
    _ = try await answer("DELETE", "/api/devices/\(Self.escaped(id))")
  }

  func tokens() async throws(Failure) -> [CredentialDocument] {
    let document: TokensDocument = try await ask("GET", "/api/tokens")
    return document.tokens
  }

  func makeToken(_ name: String, role: Role) async throws(Failure) -> TokenDocument {
    try await ask("POST", "/api/tokens", body: ["name": .text(name), "role": .text(role.rawValue)])
  }

  func removeToken(_ id: String) async throws(Failure) {
    _ = try await answer("DELETE", "/api/tokens/\(Self.escaped(id))")
  }

  /// As RFC 3986 has it, for a part of a path or a query.
  private static func escaped(_ text: String) -> String {
    text.utf8.map { byte in
      let character = Character(Unicode.Scalar(byte))
      let isPlain =
        character.isASCII
        && (character.isLetter || character.isNumber || "-._~".contains(character))
      return isPlain
        ? String(character) : "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }

  func start(_ run: RunRequest) async throws(Failure) -> RunDocument {
    switch run {
    case .apply(let goal, let inputs, let planHash, let consent):
      var body = Self.fields(goal)
      body["consent"] = .flag(consent)
      if !inputs.isEmpty { body["inputs"] = .values(inputs) }
      return try await ask(
        "POST", goal.isRollback ? "/api/database/rollback" : "/api/database/update",
        headers: planHash.map { [("if-match", "\"\($0)\"")] } ?? [], body: body)
    case .rehearse(let goal, let inputs):
      var body = Self.fields(goal)
      if !inputs.isEmpty { body["inputs"] = .values(inputs) }
      return try await ask("POST", "/api/database/rehearse", body: body)
    case .snapshot: return try await ask("POST", "/api/database/backups", body: [:])
    case .verify(let id, let restore):
      return try await ask(
        "POST", "/api/database/backups/\(id)/verify",
        body: restore ? ["restore": .flag(true)] : [:])
    case .check(let kind):
      return try await ask("POST", "/api/database/check", body: ["kind": .text(kind.rawValue)])
    case .restore(let id):
      return try await ask(
        "POST", "/api/database/restore/\(id)", body: ["consent": .flag(true)])
    case .import(let export, let replaces):
      return try await ask(
        "POST", "/api/database/import/\(export)",
        body: ["consent": .flag(true), "replace": .flag(replaces)])
    case .rescue(let copy, let request):
      var body: [String: Field] = [
        "consent": .flag(true), "deletions": .flag(request.deletes),
        "strict": .flag(request.isStrict), "changes": .flag(request.changes),
      ]
      if let tables = request.tables { body["tables"] = .list(tables) }
      return try await ask("POST", "/api/database/rescue/\(Self.escaped(copy))", body: body)
    case .salvage(let run):
      return try await ask(
        "POST", "/api/database/salvage", body: run.map { ["run": .text($0)] } ?? [:])
    case .copy(let id):
      return try await ask(
        "POST", "/api/database/copies", body: id.map { ["id": .text($0)] } ?? [:])
    case .fetch(let id, let place):
      return try await ask(
        "POST", "/api/database/copies/\(Self.escaped(id))/fetch", body: ["place": .text(place)])
    case .factory: throw Failure.daemonRuns
    }
  }

  func follow(_ id: String, _ tell: @Sendable (Event) -> Void) async throws(Failure) -> RunDocument
  {
    var since: UInt64?
    var failures = 0
    while true {
      let document: RunDocument = try await ask("GET", "/api/database/update/\(id)/progress")
      if document.outcome != nil { return document }
      do {
        for try await event in client.events(since: since) {
          since = event.seq
          failures = 0
          tell(event)
          if event.type == .result, event.run == id, let result = event.result { return result }
          // The first message is the state: the run may have ended in between.
          if event.type == .state, event.status?.currentJobId != id { break }
        }
      } catch {
        failures += 1
        guard failures < 3 else { throw error as? Failure ?? Failure(.inputOutput, "\(error)") }
      }
    }
  }

  func cancel(_ id: String) async {
    let _: RunDocument? = try? await ask("POST", "/api/database/update/\(id)/cancel", body: [:])
  }

  private enum Field: Encodable, CustomStringConvertible {
    case text(String)
    case flag(Bool)
    case number(Double)
    case reading(ReadingValue)
    case values([String: InputValue])
    case list([String])

    var description: String {
      switch self {
      case .text(let text): text
      case .flag(let flag): "\(flag)"
      case .number(let number): "\(number)"
      case .reading(let value): "\(value)"
      case .values(let values): "\(values)"
      case .list(let texts): "\(texts)"
      }
    }

    func encode(to encoder: any Encoder) throws {
      var container = encoder.singleValueContainer()
      switch self {
      case .text(let text): try container.encode(text)
      case .flag(let flag): try container.encode(flag)
      case .number(let number): try container.encode(number)
      case .reading(let value): try container.encode(value)
      case .values(let values): try container.encode(values)
      case .list(let texts): try container.encode(texts)
      }
    }
  }

  /// RFC 9457, as far as it makes a `Failure` again.
  private struct Problem: Decodable {
    var code: String
    var detail: String
    var howToClear: String?
    var file: String?
    var line: Int?
    var statement: String?
    var pointer: String?
  }

  private func answer(
    _ method: String, _ path: String, headers: [(name: String, value: String)] = [],
    body: [String: Field]? = nil
  ) async throws(Failure) -> [UInt8] {
    var headers = headers
    if body != nil { headers.append(("content-type", "application/json")) }
    let answer = try await client.request(
      method, path, headers: headers,
      body: try body.map { body throws(Failure) in try JSON.encode(body) })
    guard (200..<300).contains(answer.status) else {
      guard let problem = try? JSON.decode(Problem.self, from: answer.body) else {
        throw Failure(.inputOutput, "The daemon answered with status \(answer.status).")
      }
      throw Failure(
        Failure.Code(rawValue: problem.code) ?? .inputOutput, problem.detail, file: problem.file,
        line: problem.line, statement: problem.statement, howToClear: problem.howToClear,
        pointer: problem.pointer)
    }
    return answer.body
  }

  private func ask<T: Decodable>(
    _ method: String, _ path: String, headers: [(name: String, value: String)] = [],
    body: [String: Field]? = nil
  ) async throws(Failure) -> T {
    let bytes = try await answer(method, path, headers: headers, body: body)
    do {
      return try JSON.decode(T.self, from: bytes)
    } catch {
      throw Failure(.inputOutput, "The daemon's answer cannot be read: \(error)")
    }
  }
}
