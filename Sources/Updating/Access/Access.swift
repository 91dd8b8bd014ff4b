import FoundationEssentials
import Logging
public import Migrations
import Storage
import Synchronization

/// Who may ask: paired devices, programs with tokens, PINs, codes, and what they did with them.
///
/// What has to outlive a restart is in `access.json`; codes, raised roles and approvals are not: after a
/// restart they are asked for again. No secret is ever written down in the clear, logged or audited.
public final class Access: Sendable {
  struct State {
    var file = AccessFile()
    /// Why the file could not be read: then nobody is known.
    var damage: Failure?
    var codes: [Code] = []
    /// By device.
    var raised: [String: Raised] = [:]
    /// Browsers of this machine that gave a PIN, by the hash of their token.
    var guests: [String: Raised] = [:]
    var approvals: [Approval] = []
    var refusals = RefusalLog()
    var failures = 0
  }

  struct Code {
    var code: String
    var role: Role
    var end: ContinuousClock.Instant
    /// Who made it.
    var actor: String
  }

  struct Raised {
    var role: Role
    var end: ContinuousClock.Instant
    /// The same for people, in seconds since 1970.
    var until: Double
  }

  struct Approval {
    var planHash: String
    var requester: Requester
    var end: ContinuousClock.Instant
  }

  /// What makes time pass in tests.
  struct Clocks: Sendable {
    var now: @Sendable () -> ContinuousClock.Instant = { .now }
    var secondsSince1970: @Sendable () -> Double = { Date().timeIntervalSince1970 }
  }

  /// How long a code can be used.
  public static let codeTime = Duration.seconds(120)
  /// How long a PIN raises a session, and an approval counts.
  public static let raisedTime = Duration.seconds(900)
  /// Bounds what can be remembered.
  private static let limit = 64

  let path: String
  let state: Mutex<State>
  let hash = SlowHash()
  let history: StateStore
  let databasePath: String
  let logger: Logger
  let clocks: Clocks

  init(settings: UpdateSettings, history: StateStore, logger: Logger, clocks: Clocks = Clocks()) {
    path = settings.stateDirectory + "/access.json"
    databasePath = settings.databasePath
    self.history = history
    self.logger = logger
    self.clocks = clocks
    var state = State()
    do {
      if let bytes = try FileSystem.read(path) {
        state.file = try JSON.decode(AccessFile.self, from: bytes)
      }
    } catch {
      state.damage = Failure(
        .notAllowed, "Who is paired, and the PINs, cannot be read.", file: path,
        howToClear: "Set a new PIN (`chock pin set`, on the device) and pair the devices again.")
      logger.warning("\(path) cannot be read: nobody is signed in.")
    }
    self.state = Mutex(state)
  }

  // MARK: Who

  /// The device, or the guest, that this cookie belongs to.
  public func browser(cookie: String) -> Requester? {
    let hash = sha256(Array(cookie.utf8))
    let (now, time) = (clocks.now(), clocks.secondsSince1970())
    return state.withLock { state in
      if let guest = state.guests[hash], guest.end > now {
        var requester = Requester(
          way: .guest, id: "panel+\(guest.role.rawValue)", name: "panel", role: guest.role)
        requester.raisedUntil = guest.until
        return requester
      }
      guard let index = state.file.devices.firstIndex(where: { $0.tokenHash == hash }) else {
        return nil
      }
      state.file.devices[index].lastSeen = Timestamp.text(secondsSince1970: time)
      return Self.requester(state.file.devices[index], state.raised, now)
    }
  }

  /// The program that this token belongs to.
  public func program(token: String) -> Requester? {
    let hash = sha256(Array(token.utf8))
    let time = clocks.secondsSince1970()
    return state.withLock { state in
      guard let index = state.file.tokens.firstIndex(where: { $0.tokenHash == hash }) else {
        return nil
      }
      state.file.tokens[index].lastSeen = Timestamp.text(secondsSince1970: time)
      let token = state.file.tokens[index]
      return Requester(way: .machine, id: token.id, name: token.name, role: token.role)
    }
  }

  /// Whether a stream that was opened may go on.
  public func isKnown(_ requester: Requester) -> Bool {
    switch requester.way {
    case .socket, .panel: true
    case .guest: requester.raisedUntil.map { $0 > clocks.secondsSince1970() } ?? false
    case .device: state.withLock { $0.file.devices.contains { $0.id == requester.device } }
    case .machine: state.withLock { $0.file.tokens.contains { $0.id == requester.id } }
    }
  }

  private static func requester(
    _ device: AccessFile.Credential, _ raised: [String: Raised], _ now: ContinuousClock.Instant
  ) -> Requester {
    var requester = Requester(
      way: .device, id: device.id, device: device.id, name: device.name, role: device.role)
    if let raised = raised[device.id], raised.end > now {
      requester.role = raised.role
      requester.raisedUntil = raised.until
      // Whoever knows another PIN is another person, on the same tablet too.
      requester.id += "+\(raised.role.rawValue)"
    }
    return requester
  }

  // MARK: Pairing

  /// Makes a code with which one browser is paired within two minutes; also ends a lock-out.
  ///
  /// - Throws: `.notAllowed` for a role above the one's who asks, `.usage` for that of a program.
  public func makeCode(
    for role: Role, by requester: Requester
  ) throws(Failure) -> PairingDocument {
    guard role != .controller else {
      throw Failure(
        .usage, "A program is not paired.", howToClear: "`chock token create NAME`, on the device.",
        pointer: "/role")
    }
    guard requester.role.includes(role) else {
      throw Failure(
        .notAllowed, "A \(requester.role.rawValue) cannot pair a \(role.rawValue).",
        howToClear: "Let a technician do it: `sudo chock pair --role \(role.rawValue)`.",
        pointer: "/role")
    }
    let code = Secret.code()
    let until = clocks.secondsSince1970() + Self.codeTime.seconds
    let end = clocks.now() + Self.codeTime
    try record(.makeCode, role.rawValue, "for two minutes", requester.actor)
    try change { (state) throws(Failure) in
      state.codes = state.codes.filter { $0.end > clocks.now() }.suffix(7)
      state.codes.append(Code(code: code, role: role, end: end, actor: requester.actor))
      state.file.pairing = Tries()
    }
    return PairingDocument(
      code: code, role: role, expiresAt: Timestamp.text(secondsSince1970: until))
  }

  /// Pairs a browser.
  ///
  /// - Parameter pin: chosen by the first one of a role that has none yet.
  /// - Returns: the token of its cookie, and who it is from now on.
  /// - Throws: `.notAllowed`, `.pinNeeded`, `.usage`.
  public func pair(
    code: String, name: String, pin: String?
  ) async throws(Failure) -> (token: String, requester: Requester) {
    let name = try Self.checked(name)
    let code = code.filter { !" -".contains($0) }
    guard code.utf8.count == 8, code.utf8.allSatisfy({ (48...57).contains($0) }) else {
      throw Failure(
        .usage, "A pairing code has 8 digits.", howToClear: "`chock pair`, on the device.",
        pointer: "/code")
    }
    if let pin { try Self.check(newPin: pin) }
    let found: (code: Code, setsPin: Role?)
    do throws(Failure) {
      found = try take(code, pin)
    } catch {
      // A locked one is said more rarely.
      if error.code == .notAllowed, !isPairingLocked {
        note(.refuse, "pairing", "a wrong code", "\(name) (unpaired)")
      }
      throw error
    }
    let salt = Self.salt()
    var hashed: AccessFile.Pin?
    if found.setsPin != nil, let pin {
      hashed = AccessFile.Pin(salt: salt, hash: try await hash(pin, salt))
    }
    let token = Secret.token()
    let device = AccessFile.Credential(
      id: Secret.id(), name: name, role: found.code.role, tokenHash: sha256(Array(token.utf8)),
      since: Timestamp.text(secondsSince1970: clocks.secondsSince1970()))
    try record(
      .pair, "\(name) (\(device.role.rawValue))",
      "device \(device.id), with a code of \(found.code.actor)", "\(name) (\(device.role.rawValue))"
    )
    try change { (state) throws(Failure) in
      guard state.file.devices.count < Self.limit else {
        throw Failure(
          .notAllowed, "More than \(Self.limit) devices are not kept.",
          howToClear: "Remove one that is not used any more: `chock devices`.")
      }
      state.file.devices.append(device)
      if let role = found.setsPin, let hashed { state.file.pins[role.rawValue] = hashed }
    }
    logger.notice("\(name) is paired as \(device.role.rawValue).")
    return (token, Self.requester(device, [:], clocks.now()))
  }

  private var isPairingLocked: Bool {
    let time = clocks.secondsSince1970()
    return state.withLock { $0.file.pairing.secondsLeft(now: time) > 0 }
  }

  /// Uses a code up.
  private func take(
    _ code: String, _ pin: String?
  ) throws(Failure) -> (code: Code, setsPin: Role?) {
    let (now, time) = (clocks.now(), clocks.secondsSince1970())
    let left = state.withLock { $0.file.pairing.secondsLeft(now: time) }
    guard left == 0 else {
      refused("unpaired", "pairing", "locked after too many wrong codes")
      throw Failure(
        .notAllowed, "Wrong codes were entered too often.",
        howToClear: "Wait \(Self.minutes(left)), or make a new code: `chock pair`, on the device.",
        pointer: "/code")
    }
    try change { (state) throws(Failure) in state.file.pairing.count(now: time) }
    return try change { (state) throws(Failure) -> Result<(code: Code, setsPin: Role?), Failure> in
      state.codes.removeAll { $0.end <= now }
      guard
        let found = state.codes.first(where: { Secret.equal(Array($0.code.utf8), Array(code.utf8)) }
        )
      else {
        state.failures += 1
        return .failure(
          Failure(
            .notAllowed, "This pairing code is wrong, was used, or is too old.",
            howToClear: "Make a new one: `chock pair`, on the device.", pointer: "/code"))
      }
      state.file.pairing = Tries()
      let role = found.role.pinRole
      let isFirst = role.map { state.file.pins[$0.rawValue] == nil } ?? false
      if isFirst, pin == nil {
        return .failure(
          Failure(
            .pinNeeded, "The first \(found.role.rawValue) chooses a PIN.",
            howToClear: "Choose 4 to 12 digits.", pointer: "/pin"))
      }
      if !isFirst, pin != nil {
        return .failure(
          Failure(
            .usage, "There is a PIN already, or none is needed.",
            howToClear: "Leave `pin` out.", pointer: "/pin"))
      }
      state.codes.removeAll { $0.code == found.code }
      return .success((found, isFirst ? role : nil))
    }.get()
  }

  // MARK: Devices and tokens

  public func devices() -> [CredentialDocument] {
    state.withLock { $0.file.devices.map(CredentialDocument.init) }
  }

  public func tokens() -> [CredentialDocument] {
    state.withLock { $0.file.tokens.map(CredentialDocument.init) }
  }

  /// - Throws: `.notFound`; `.notAllowed` for a role above the one's who asks.
  public func removeDevice(_ id: String, by requester: Requester) throws(Failure) {
    try remove(\.devices, id, "device", by: requester)
  }

  /// - Throws: `.notFound`, `.notAllowed`.
  public func removeToken(_ id: String, by requester: Requester) throws(Failure) {
    try remove(\.tokens, id, "token", by: requester)
  }

  private func remove(
    _ list: any WritableKeyPath<AccessFile, [AccessFile.Credential]> & Sendable, _ id: String,
    _ kind: String, by requester: Requester
  ) throws(Failure) {
    guard let found = state.withLock({ $0.file[keyPath: list].first { $0.id == id } }) else {
      throw Failure(.notFound, "There is no \(kind) \(id.prefix(64)).")
    }
    guard requester.device == id || requester.role.includes(found.role) else {
      throw Failure(
        .notAllowed, "A \(requester.role.rawValue) cannot remove a \(found.role.rawValue).",
        howToClear: "Let a technician do it.")
    }
    try record(
      .revoke, "\(found.name) (\(found.role.rawValue))", "\(kind) \(id)", requester.actor)
    try change { (state) throws(Failure) in
      state.file[keyPath: list].removeAll { $0.id == id }
      state.raised[id] = nil
    }
    logger.notice("\(requester.actor) removes \(found.name).")
  }

  /// - Returns: the token, which nobody ever sees again.
  public func makeToken(
    name: String, role: Role, by requester: Requester
  ) throws(Failure) -> TokenDocument {
    let name = try Self.checked(name)
    guard requester.role.includes(role) else {
      throw Failure(
        .notAllowed, "A \(requester.role.rawValue) cannot make a token of a \(role.rawValue).",
        howToClear: "Choose a lower role.", pointer: "/role")
    }
    let token = "chock_" + Secret.token()
    let made = AccessFile.Credential(
      id: Secret.id(), name: name, role: role, tokenHash: sha256(Array(token.utf8)),
      since: Timestamp.text(secondsSince1970: clocks.secondsSince1970()))
    try record(.makeToken, "\(name) (\(role.rawValue))", "token \(made.id)", requester.actor)
    try change { (state) throws(Failure) in
      guard state.file.tokens.count < Self.limit else {
        throw Failure(
          .notAllowed, "More than \(Self.limit) tokens are not kept.",
          howToClear: "Remove one that is not used any more: `chock token revoke ID`.")
      }
      state.file.tokens.append(made)
    }
    return TokenDocument(id: made.id, name: name, role: role, token: token)
  }

  // MARK: PINs

  public func isPinSet(_ role: Role) -> Bool {
    state.withLock { $0.file.pins[role.rawValue] != nil }
  }

  /// Whether consent and restore need a PIN from this requester: not over the unix socket, where people
  /// have signed in to the machine itself.
  public func asksPin(_ requester: Requester) -> Bool {
    guard requester.way != .socket, let role = requester.role.pinRole else { return false }
    return isPinSet(role)
  }

  /// Sets a new PIN, which also ends a lock-out.
  ///
  /// - Throws: `.usage` unless it has 4 to 12 digits and its role is `owner` or `technician`.
  public func setPin(_ pin: String, of role: Role, by actor: String) async throws(Failure) {
    try Self.check(newPin: pin)
    try Self.check(pinRole: role)
    let salt = Self.salt()
    let hashed = AccessFile.Pin(salt: salt, hash: try await hash(pin, salt))
    try record(.setPin, role.rawValue, "a new PIN", actor)
    try change { (state) throws(Failure) in state.file.pins[role.rawValue] = hashed }
  }

  public func removePin(of role: Role, by actor: String) throws(Failure) {
    try Self.check(pinRole: role)
    try record(.setPin, role.rawValue, "the PIN is removed", actor)
    try change { (state) throws(Failure) in state.file.pins[role.rawValue] = nil }
  }

  /// - Throws: `.pin` unless it is the PIN of that role.
  public func check(pin: String?, of role: Role, for actor: String) async throws(Failure) {
    let time = clocks.secondsSince1970()
    guard let pin else {
      guard isPinSet(role) else { throw Self.noPin(role) }
      throw Failure(
        .pin, "This needs the \(role.rawValue)'s PIN.", howToClear: "Enter the PIN.",
        pointer: "/pin")
    }
    let record = try change { (state) throws(Failure) -> AccessFile.Pin in
      guard var record = state.file.pins[role.rawValue] else {
        throw state.damage ?? Self.noPin(role)
      }
      let left = record.tries.secondsLeft(now: time)
      guard left == 0 else {
        throw Failure(
          .pin, "The PIN was wrong too often.",
          howToClear:
            "Wait \(Self.minutes(left)), or let a technician set a new one: `chock pin set`.",
          pointer: "/pin")
      }
      record.tries.count(now: time)
      state.file.pins[role.rawValue] = record
      return record
    }
    let isRight = Secret.equal(try await hash(pin, record.salt), record.hash)
    guard isRight else {
      state.withLock { $0.failures += 1 }
      note(.refuse, "the \(role.rawValue)'s PIN", "it was wrong", actor)
      throw Failure(.pin, "The PIN is wrong.", howToClear: "Try again.", pointer: "/pin")
    }
    try change { (state) throws(Failure) in
      guard state.file.pins[role.rawValue]?.salt == record.salt else { return }
      state.file.pins[role.rawValue]?.tries = Tries()
    }
  }

  // MARK: Sessions

  /// Raises a browser to a role for 15 minutes.
  ///
  /// - Returns: the token of a new cookie, where the browser had none, and who it is from now on.
  /// - Throws: `.usage`, `.pin`, `.notAllowed`.
  public func raise(
    _ requester: Requester, to role: Role, pin: String
  ) async throws(Failure) -> (token: String?, requester: Requester) {
    try Self.check(pinRole: role)
    guard [.device, .guest, .panel].contains(requester.way) else {
      throw Failure(
        .usage, "Only browsers sign in.",
        howToClear: "A program has the role of its token, and a user that of the config.")
    }
    try await check(pin: pin, of: role, for: requester.actor)
    try record(.signIn, role.rawValue, "with the PIN, for 15 minutes", requester.actor)
    let raised = Raised(
      role: role, end: clocks.now() + Self.raisedTime,
      until: clocks.secondsSince1970() + Self.raisedTime.seconds)
    var now = requester
    now.role = role
    now.raisedUntil = raised.until
    if let device = requester.device {
      now.id = "\(device)+\(role.rawValue)"
      state.withLock { $0.raised[device] = raised }
      return (nil, now)
    }
    let token = Secret.token()
    now.way = .guest
    now.id = "panel+\(role.rawValue)"
    state.withLock { state in
      let instant = clocks.now()
      state.guests = state.guests.filter { $0.value.end > instant }
      if state.guests.count >= Self.limit { state.guests = [:] }
      state.guests[sha256(Array(token.utf8))] = raised
    }
    return (token, now)
  }

  /// Lowers a raised session, else signs the device out.
  ///
  /// - Returns: true when the cookie is worth nothing any more.
  public func signOut(_ requester: Requester, cookie: String?) throws(Failure) -> Bool {
    switch requester.way {
    case .device:
      guard let device = requester.device else { return true }
      if requester.raisedUntil != nil {
        note(.signOut, requester.role.rawValue, "back to the device's own role", requester.actor)
        state.withLock { $0.raised[device] = nil }
        return false
      }
      try removeDevice(device, by: requester)
      return true
    case .guest:
      note(.signOut, requester.role.rawValue, "signed out", requester.actor)
      if let cookie {
        state.withLock { $0.guests[sha256(Array(cookie.utf8))] = nil }
      }
      return true
    case .socket, .machine, .panel: return true
    }
  }

  // MARK: Approvals

  /// A person agrees to a plan, for 15 minutes.
  ///
  /// - Returns: until when, in seconds since 1970.
  /// - Throws: `.notAllowed` for a program: it is no person; `.usage` for what is no hash.
  public func approve(_ planHash: String, by requester: Requester) throws(Failure) -> Double {
    guard requester.way != .machine else {
      throw Failure(
        .notAllowed, "A program is no person.", howToClear: "Approve it at a paired device.")
    }
    guard planHash.utf8.count == 64, planHash.allSatisfy({ $0.isASCII && $0.isHexDigit }) else {
      throw Failure(
        .usage, "This is no hash of a plan.", howToClear: "GET /api/database/plan has it.",
        pointer: "/plan_hash")
    }
    try record(.approve, planHash, "for 15 minutes", requester.actor)
    let end = clocks.now() + Self.raisedTime
    state.withLock { state in
      state.approvals.removeAll { $0.requester.id == requester.id || $0.end <= clocks.now() }
      state.approvals = state.approvals.suffix(Self.limit)
      state.approvals.append(Approval(planHash: planHash, requester: requester, end: end))
    }
    return clocks.secondsSince1970() + Self.raisedTime.seconds
  }

  /// Who agreed to the plan beside the one who starts it.
  ///
  /// - Throws: `.approval` when nobody did.
  public func approver(of planHash: String?, beside requester: Requester) throws(Failure) -> String
  {
    let now = clocks.now()
    let found = state.withLock { state in
      state.approvals.first {
        $0.planHash == planHash && $0.requester.id != requester.id && $0.end > now
      }
    }
    guard let found else {
      throw Failure(
        .approval, "A second person has to agree to this plan.",
        howToClear: "Let another person approve it, at another device or with another PIN.")
    }
    return found.requester.actor
  }

  /// An approval counts once.
  public func forgetApprovals(of planHash: String?) {
    state.withLock { $0.approvals.removeAll { $0.planHash == planHash } }
  }

  // MARK: Refusals

  /// How many tries failed since the start: PINs, codes, requests without a right.
  public var failures: Int { state.withLock { $0.failures } }

  /// Somebody asked for what is not theirs.
  ///
  /// - Parameter who: an actor, or an address.
  public func refused(_ who: String, _ what: String, _ reason: String) {
    let now = clocks.now()
    let isNews = state.withLock { state in
      state.failures += 1
      return state.refusals.isNews("\(who)\n\(what)", now: now)
    }
    if isNews { note(.refuse, what, reason, who) }
  }

  // MARK: Pieces

  /// Changes what is kept: in the file before it counts.
  private func change<R: Sendable>(
    _ body: (inout State) throws(Failure) -> R
  ) throws(Failure) -> R {
    try state.withLock { (state) throws(Failure) -> R in
      var after = state
      let result = try body(&after)
      // What devices did since is worth no write of its own.
      if after.file != state.file || after.damage != nil {
        try FileSystem.makeFolder(FileSystem.parent(path))
        if after.damage != nil {
          try FileSystem.rename(path, to: path + ".damaged")
          after.damage = nil
        }
        try FileSystem.replace(path, with: try JSON.encode(after.file))
      }
      state = after
      return result
    }
  }

  /// In the audit before it counts.
  private func record(
    _ action: AuditEntry.Action, _ what: String, _ reason: String, _ actor: String
  ) throws(Failure) {
    try history.append(
      AuditEntry(action, of: databasePath, accepted: what, reason: reason, actor: actor))
  }

  /// In the audit if that can be: it must not keep a person from signing out.
  private func note(
    _ action: AuditEntry.Action, _ what: String, _ reason: String, _ actor: String
  ) {
    if action == .refuse { logger.notice("\(actor) was refused: \(what): \(reason)") }
    do throws(Failure) {
      try record(action, what, reason, actor)
    } catch {
      logger.error("The audit could not be written: \(error.message)")
    }
  }

  private static func checked(_ name: String) throws(Failure) -> String {
    // A colon would let a name look like a user's of the unix socket.
    let isPlain = name.unicodeScalars.allSatisfy {
      $0.properties.isAlphabetic || $0.properties.numericType != nil
        || " '’._-".unicodeScalars.contains($0)
    }
    guard (1...40).contains(name.count), name.utf8.count <= 160, isPlain,
      name.first != " ", name.last != " "
    else {
      throw Failure(
        .usage, "A name has 1 to 40 letters, digits, blanks and the like.",
        howToClear: "Such as \"Anna's phone\".", pointer: "/name")
    }
    return name
  }

  private static func check(newPin pin: String) throws(Failure) {
    guard (4...12).contains(pin.utf8.count), pin.utf8.allSatisfy({ (48...57).contains($0) }) else {
      throw Failure(
        .usage, "A PIN has 4 to 12 digits.", howToClear: "Choose another one.", pointer: "/pin")
    }
  }

  private static func check(pinRole role: Role) throws(Failure) {
    guard role.pinRole == role else {
      throw Failure(
        .usage, "There is no PIN of a \(role.rawValue).",
        howToClear: "There is one of the owner and one of the technician.", pointer: "/role")
    }
  }

  private static func noPin(_ role: Role) -> Failure {
    Failure(
      .pin, "This needs the \(role.rawValue)'s PIN, and none is set.",
      howToClear:
        "A technician sets one: `chock pin set\(role == .owner ? "" : " --role \(role.rawValue)")`, on the device.",
      pointer: "/pin")
  }

  private static func salt() -> [UInt8] { (0..<16).map { _ in UInt8.random(in: .min ... .max) } }

  private static func minutes(_ seconds: Double) -> String {
    "\(Int((seconds / 60).rounded(.up))) min"
  }
}

/// Keeps a client that asks again and again from filling the audit.
struct RefusalLog {
  private var seen: [String: ContinuousClock.Instant] = [:]
  private static let again = Duration.seconds(600)
  private static let most = 100

  /// False for what was said in the last ten minutes, and for the hundred-and-first in that time.
  mutating func isNews(_ what: String, now: ContinuousClock.Instant) -> Bool {
    if let last = seen[what], now < last + Self.again { return false }
    if seen.count >= Self.most { seen = seen.filter { now < $0.value + Self.again } }
    guard seen.count < Self.most else { return false }
    seen[what] = now
    return true
  }
}
