import FoundationEssentials
import Logging
import Migrations
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
  static let limit = 64

  let path: String
  let state: Mutex<State>
  /// One write at a time; beside `state`, so that nobody who is looked up waits for the disk.
  let writing = Mutex(())
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
        howToClear:
          "Set the owner's PIN anew (`sudo chock pin set`), then pair the devices again.")
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
        var requester = Requester(way: .guest, id: "panel", name: "panel", role: guest.role)
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
    case .guest:
      state.withLock { state in
        state.guests.values.contains {
          $0.until == requester.raisedUntil && $0.end > clocks.now()
        }
      }
    case .device: state.withLock { $0.file.devices.contains { $0.id == requester.device } }
    case .machine: state.withLock { $0.file.tokens.contains { $0.id == requester.id } }
    }
  }

  /// Whether a device or a token of this id is still there.
  func hasCredential(_ id: String) -> Bool {
    state.withLock { state in
      state.file.devices.contains { $0.id == id } || state.file.tokens.contains { $0.id == id }
    }
  }

  static func requester(
    _ device: AccessFile.Credential, _ raised: [String: Raised], _ now: ContinuousClock.Instant
  ) -> Requester {
    var requester = Requester(
      way: .device, id: device.id, device: device.id, name: device.name, role: device.role)
    if let raised = raised[device.id], raised.end > now {
      requester.role = raised.role
      requester.raisedUntil = raised.until
    }
    return requester
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

  /// Changes the file, the codes and the damage, which nobody else changes: on the disk before it counts.
  ///
  /// - Parameter isNew: begins a damaged file anew. Nothing else writes over one: without its PINs nothing
  ///   would be protected any more.
  /// - Throws: the damage.
  func change<R: Sendable>(
    beginningAnew isNew: Bool = false, _ body: (inout State) throws(Failure) -> R
  ) throws(Failure) -> R {
    try writing.withLock { (_) throws(Failure) -> R in
      let before = state.withLock { $0 }
      if !isNew, let damage = before.damage { throw damage }
      var after = before
      let result = try body(&after)
      if after.file != before.file || after.damage != nil {
        try FileSystem.makeFolder(FileSystem.parent(path))
        if after.damage != nil {
          try FileSystem.rename(path, to: path + ".damaged")
          after.damage = nil
        }
        try FileSystem.replace(path, with: try JSON.encode(after.file))
      }
      state.withLock { state in
        // When a device was seen in between is not worth another lock.
        state.file = after.file
        state.damage = after.damage
        state.codes = after.codes
      }
      return result
    }
  }

  /// - Throws: the damage, before anything is said to have been done.
  func checkIsReadable() throws(Failure) {
    if let damage = state.withLock({ $0.damage }) { throw damage }
  }

  /// In the audit before it counts.
  func record(
    _ action: AuditEntry.Action, _ what: String, _ reason: String, _ actor: String
  ) throws(Failure) {
    try history.append(
      AuditEntry(action, of: databasePath, accepted: what, reason: reason, actor: actor))
  }

  /// In the audit if that can be: it must not keep a person from signing out.
  func note(
    _ action: AuditEntry.Action, _ what: String, _ reason: String, _ actor: String
  ) {
    if action == .refuse { logger.notice("\(actor) was refused: \(what): \(reason)") }
    do throws(Failure) {
      try record(action, what, reason, actor)
    } catch {
      logger.error("The audit could not be written: \(error.message)")
    }
  }

  static func salt() -> [UInt8] { (0..<16).map { _ in UInt8.random(in: .min ... .max) } }

  static func minutes(_ seconds: Double) -> String {
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
