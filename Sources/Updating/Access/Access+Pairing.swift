import FoundationEssentials
import Logging
public import Migrations
import Storage
import Synchronization

// How devices and programs get their keys, and lose them.
extension Access {
  // MARK: Pairing

  /// Makes a code with which one browser is paired within two minutes; also ends a lock-out.
  ///
  /// - Throws: `.notAllowed` for a role above the one's who asks, and for a program; `.usage` for that of a
  ///   program.
  public func makeCode(
    for role: Role, by requester: Requester
  ) throws(Failure) -> PairingDocument {
    // It could make itself the persons who agree to a plan.
    guard requester.way != .machine else {
      throw Failure(
        .notAllowed, "A program pairs nobody.",
        howToClear: "Do it at a paired device, or with `chock pair` on the device.")
    }
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
    try checkIsReadable()
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
    try checkIsReadable()
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
        state.withLock { $0.failures += 1 }
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
    }
    state.withLock { $0.raised[id] = nil }
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
    try checkIsReadable()
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
}
