/// What the gates need to know besides the coach's readings.
public struct SafetyFacts: Sendable {
  /// Nil when the space could not be measured.
  public var disk: DiskSpace?
  public var clock: ClockFacts
  public var technician: TechnicianNeed
  /// The locks that are held now.
  public var locks: [UpdateLock]
  /// Configured buses that tell of slides and commands, and are not heard.
  public var silentBuses: [String]

  public init(
    disk: DiskSpace?, clock: ClockFacts, technician: TechnicianNeed = .notNeeded,
    locks: [UpdateLock] = [], silentBuses: [String] = []
  ) {
    self.disk = disk
    self.clock = clock
    self.technician = technician
    self.locks = locks
    self.silentBuses = silentBuses
  }
}

/// Bytes on the file system of the state folder.
public struct DiskSpace: Sendable, Hashable {
  public var neededBytes: Int64
  public var availableBytes: Int64

  public init(neededBytes: Int64, availableBytes: Int64) {
    self.neededBytes = neededBytes
    self.availableBytes = availableBytes
  }
}

/// The wall clock, in seconds since 1970. Many boards have none that outlives a power cut.
public struct ClockFacts: Sendable, Hashable {
  public var now: Double
  /// The latest time that chock has written down.
  public var lastSeen: Double?

  public init(now: Double, lastSeen: Double?) {
    self.now = now
    self.lastSeen = lastSeen
  }
}

public enum TechnicianNeed: Sendable, Hashable {
  case notNeeded
  /// The name of a pending file whose header says so.
  case needed(by: String)
  /// A technician has started it, or is about to.
  case present
}
