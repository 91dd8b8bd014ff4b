/// Somebody's word that no update is to start, until a time.
public struct UpdateLock: Codable, Sendable, Hashable {
  public let id: String
  public let owner: String
  public let reason: String
  /// Seconds since 1970, for people and for the next start.
  public let expiresAt: Double
  /// Who took it, whatever name was given as the owner's; nil in a file of an older chock.
  public let takenBy: String?
  /// A technician took it: somebody else who is none does not release it.
  public let isTechnicians: Bool?

  /// - Throws: ``CoachError`` for a name, an owner, a reason or a time that cannot be.
  public init(
    id: String, owner: String, reason: String, ttlSeconds: Double, now: Double,
    takenBy: String? = nil, isTechnicians: Bool? = nil
  ) throws(CoachError) {
    guard Signal.isName(id) else {
      throw CoachError(
        "A lock cannot be called so.", field: "id",
        howToClear: "Use 1 to 64 letters, digits, _ and -.")
    }
    try Readings.check(owner, field: "owner", limit: 64)
    try Readings.check(reason, field: "reason", limit: 200)
    guard ttlSeconds > 0, ttlSeconds <= Self.longest else {
      throw CoachError(
        "A time to live of \(ttlSeconds) s is not possible.", field: "ttl_seconds",
        howToClear: "Give more than 0 and at most \(Int(Self.longest)) seconds.")
    }
    self.id = id
    self.owner = owner
    self.reason = reason
    self.takenBy = takenBy
    self.isTechnicians = isTechnicians
    expiresAt = now + ttlSeconds
  }

  /// A week: who forgets a lock has not locked the device for good.
  private static let longest = 604_800.0

  /// A clock that went back makes it longer: somebody's lock does not vanish by that, and a technician can
  /// break it.
  public func isHeld(at now: Double) -> Bool { now < expiresAt }

  /// False for what no lock can be, such as after somebody has edited the file.
  public var isValid: Bool { Signal.isName(id) && expiresAt.isFinite }
}
