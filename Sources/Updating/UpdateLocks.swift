import Coach
import FoundationEssentials
import Migrations
import Storage

/// Who holds updates back: in memory, and in a file that outlives a power cut.
struct UpdateLocks {
  private let path: String
  private var locks: [UpdateLock]
  /// Bounds what a faulty client can make chock remember.
  private static let limit = 64

  /// A file that cannot be read holds updates back until a technician looks at it.
  init(stateDirectory: String) {
    path = stateDirectory + "/locks.json"
    guard FileSystem.facts(path) != nil else {
      locks = []
      return
    }
    do {
      locks = try FileSystem.read(path).map { try JSON.decode([UpdateLock].self, from: $0) } ?? []
      guard locks.allSatisfy(\.isValid) else {
        throw Failure(.inputOutput, "No lock is like that.")
      }
    } catch {
      let lock = try? UpdateLock(
        id: "unreadable", owner: "chock",
        reason: "\(path) cannot be read, so nobody knows who held updates back.",
        ttlSeconds: 86_400, now: Self.now)
      locks = lock.map { [$0] } ?? []
    }
  }

  /// Those that are held now, by id.
  var held: [UpdateLock] {
    let now = Self.now
    return locks.filter { $0.isHeld(at: now) }.sorted { $0.id < $1.id }
  }

  /// Seconds until the next one ends; nil when none is held.
  var secondsToNextEnd: Double? { held.map { $0.expiresAt - Self.now }.min() }

  /// Takes a lock, or renews one of the same owner.
  ///
  /// - Throws: `.usage`, `.notAllowed` when somebody else holds one of that name; why it cannot be written.
  mutating func put(
    id: String, owner: String, reason: String, ttlSeconds: Double, by person: Requester
  ) throws(Failure) {
    let lock: UpdateLock
    do throws(CoachError) {
      lock = try UpdateLock(
        id: id, owner: owner, reason: reason, ttlSeconds: ttlSeconds, now: Self.now,
        takenBy: person.id, isTechnicians: person.isTechnician)
    } catch {
      throw Failure(error)
    }
    let others = held.filter { $0.id != id }
    if let present = held.first(where: { $0.id == id }) {
      guard present.owner == owner else {
        throw Failure(
          .notAllowed, "The lock \(id) is held by \(present.owner).",
          howToClear: "Take one of another name.")
      }
      // To renew it is to say when it ends.
      try Self.check(present, for: person)
    }
    guard others.count < Self.limit else {
      throw Failure(
        .usage, "More than \(Self.limit) locks at once are not kept.",
        howToClear: "Release those that are over.")
    }
    try replace(with: others + [lock])
  }

  /// The owner's name alone releases nothing: everybody can read it.
  private static func check(_ lock: UpdateLock, for person: Requester) throws(Failure) {
    guard lock.isTechnicians != true || lock.takenBy == person.id || person.isTechnician else {
      throw Failure(
        .notAllowed, "The lock \(lock.id) was taken by a technician.",
        howToClear: "A technician releases it: `chock coach unlock \(lock.id)`.")
    }
  }

  /// - Parameters:
  ///   - owner: whose lock it must be; nil for a technician, who may break any.
  ///   - person: who wants to release it.
  /// - Throws: `.notFound`; `.notAllowed` when somebody else holds it.
  func find(id: String, owner: String?, by person: Requester) throws(Failure) -> UpdateLock {
    guard let lock = held.first(where: { $0.id == id }) else {
      throw Failure(
        .notFound, "Nobody holds a lock \(id).",
        howToClear: held.isEmpty
          ? "No lock is held." : "There are: \(held.map(\.id).joined(separator: ", ")).")
    }
    guard owner == nil || owner == lock.owner else {
      throw Failure(
        .notAllowed, "The lock \(id) is held by \(lock.owner).",
        howToClear: "Its owner releases it; a technician breaks it: `chock coach unlock \(id)`.")
    }
    if owner != nil { try Self.check(lock, for: person) }
    return lock
  }

  mutating func remove(_ lock: UpdateLock) throws(Failure) {
    try replace(with: held.filter { $0.id != lock.id })
  }

  private mutating func replace(with new: [UpdateLock]) throws(Failure) {
    try FileSystem.replace(path, with: try JSON.encode(new, pretty: true))
    locks = new
  }

  static var now: Double { Date().timeIntervalSince1970 }
}

extension Failure {
  init(_ error: CoachError) {
    self.init(
      .usage, "\(error.field): \(error.message)", howToClear: error.howToClear,
      // Ids are in the path, and so are most signals.
      pointer: ["id", "by", "signal"].contains(error.field) ? nil : "/\(error.field)")
  }
}
