import FoundationEssentials
import Logging
public import Migrations
import Storage
import Synchronization

// What a person knows: PINs, what they raise a browser to, and what two agree on.
extension Access {
  // MARK: PINs

  public func isPinSet(_ role: Role) -> Bool {
    state.withLock { $0.file.pins[role.rawValue] != nil }
  }

  /// Whether consent and restore need a PIN from this requester: not over the unix socket, where people
  /// have signed in to the machine itself.
  public func asksPin(_ requester: Requester) -> Bool {
    guard requester.way != .socket, let role = requester.role.pinRole else { return false }
    // Where the PINs cannot be read there may be one.
    return state.withLock { $0.damage != nil || $0.file.pins[role.rawValue] != nil }
  }

  /// Sets a new PIN, which also ends a lock-out, and what the old one has raised. The owner's begins a
  /// damaged file anew.
  ///
  /// - Throws: `.usage` unless it has 4 to 12 digits and its role is `owner` or `technician`.
  public func setPin(_ pin: String, of role: Role, by actor: String) async throws(Failure) {
    try Self.check(newPin: pin)
    try Self.check(pinRole: role)
    if role != .owner { try checkIsReadable() }
    let salt = Self.salt()
    let hashed = AccessFile.Pin(salt: salt, hash: try await hash(pin, salt))
    try record(.setPin, role.rawValue, "a new PIN", actor)
    try change(beginningAnew: role == .owner) { (state) throws(Failure) in
      state.file.pins[role.rawValue] = hashed
    }
    lower(role)
  }

  public func removePin(of role: Role, by actor: String) throws(Failure) {
    try Self.check(pinRole: role)
    try checkIsReadable()
    try record(.setPin, role.rawValue, "the PIN is removed", actor)
    try change { (state) throws(Failure) in state.file.pins[role.rawValue] = nil }
    lower(role)
  }

  /// Ends what a PIN has raised that is none any more.
  private func lower(_ role: Role) {
    state.withLock { state in
      state.raised = state.raised.filter { $0.value.role != role }
      state.guests = state.guests.filter { $0.value.role != role }
    }
  }

  /// - Throws: `.pin` unless it is the PIN of that role.
  public func check(pin: String?, of role: Role, for actor: String) async throws(Failure) {
    let time = clocks.secondsSince1970()
    guard let pin else {
      guard isPinSet(role) else { throw state.withLock { $0.damage } ?? Self.noPin(role) }
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
        refused(actor, "the \(role.rawValue)'s PIN", "locked after too many wrong ones")
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
      state.withLock { $0.raised[device] = raised }
      return (nil, now)
    }
    let token = Secret.token()
    now.way = .guest
    now.id = "panel"
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

  /// Those that still hold: an approval ends with the device that it came from.
  private func heldApprovals(_ now: ContinuousClock.Instant) -> [Approval] {
    state.withLock { state in
      state.approvals.filter { approval in
        let device = approval.requester.device
        return approval.end > now
          && (device == nil || state.file.devices.contains { $0.id == device })
      }
    }
  }

  func approvals() -> [ApprovalDocument] {
    let now = clocks.now()
    return heldApprovals(now).map {
      ApprovalDocument(
        planHash: $0.planHash, by: $0.requester,
        expiresAt: Timestamp.text(
          secondsSince1970: clocks.secondsSince1970() + ($0.end - now).seconds))
    }
  }

  /// Who agreed to the plan beside the one who starts it.
  ///
  /// - Throws: `.approval` when nobody did.
  public func approver(
    of planHash: String?, beside requester: Requester
  ) throws(Failure) -> Requester {
    let found = heldApprovals(clocks.now()).first {
      $0.planHash == planHash && $0.requester.id != requester.id
    }
    guard let found else {
      throw Failure(
        .approval, "A second person has to agree to this plan.",
        howToClear: "Let another person approve it, at another device.")
    }
    return found.requester
  }

  /// An approval counts once.
  public func forgetApprovals(of planHash: String?) {
    state.withLock { $0.approvals.removeAll { $0.planHash == planHash } }
  }

  static func check(newPin pin: String) throws(Failure) {
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
}
