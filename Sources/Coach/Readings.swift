/// The last word of one signal: a lease that ends at `expiresAt`.
public struct Reading: Sendable, Hashable {
  public let signal: String
  public let value: ReadingValue
  public let source: String
  public let heardAt: ContinuousClock.Instant
  public let expiresAt: ContinuousClock.Instant
  /// True when a person gave their word for it and no device reported it.
  public let isAttested: Bool

  /// True while the value may be relied on.
  public func isFresh(at now: ContinuousClock.Instant) -> Bool { now < expiresAt }
}

/// A control operation that the controller is in the middle of, such as "slide 1 extending".
public struct Activity: Sendable, Hashable {
  public let id: String
  public let description: String
  public let expiresAt: ContinuousClock.Instant
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

/// What the coach has told so far: the newest reading of each signal, and the operations that go
/// on.
///
/// It has no clock of its own. An expired reading stays, so that a person can be told how old it
/// is.
public struct Readings: Sendable {
  /// The newest reading of each signal that was ever heard.
  public private(set) var readings: [String: Reading] = [:]
  private var activities: [String: Activity] = [:]

  /// Bounds what a faulty client can make chock remember.
  private static let interlockLimit = 64
  private static let activityLimit = 64

  public init() {}

  /// Takes what a device reports; it replaces the signal's former reading, also an attested one.
  ///
  /// - Parameter ttl: How long the value may be relied on: more than zero, at most an hour.
  public mutating func put(
    signal: String, value: ReadingValue, ttl: Duration, source: String,
    now: ContinuousClock.Instant
  ) throws(CoachError) {
    try Self.check(source, field: "source", limit: 64)
    try store(
      signal, value, ttl: ttl, limit: .seconds(3600), source: source, isAttested: false, now: now)
  }

  /// Takes a person's word for a signal that no device reports; the source becomes "attestation by
  /// `person`".
  ///
  /// A fresh report of a device is not overruled: throws then, as for a value or `ttl` (15 minutes
  /// at most) that does not fit.
  public mutating func attest(
    signal: String, value: ReadingValue, ttl: Duration, by person: String,
    now: ContinuousClock.Instant
  ) throws(CoachError) {
    try Self.check(person, field: "by", limit: 64)
    if let reading = readings[signal], !reading.isAttested, reading.isFresh(at: now) {
      throw CoachError(
        "\(reading.source) itself reports \(signal) (\(reading.value)).", field: "signal",
        howToClear: "An attestation is for signals that no device reports.")
    }
    try store(
      signal, value, ttl: ttl, limit: .seconds(900), source: "attestation by \(person)",
      isAttested: true, now: now)
  }

  /// Takes or renews a control operation. `ttl`: more than zero, at most an hour.
  public mutating func putActivity(
    id: String, description: String, ttl: Duration, now: ContinuousClock.Instant
  ) throws(CoachError) {
    try Self.check(id, field: "id", limit: 64)
    try Self.check(description, field: "description", limit: 200)
    try Self.check(ttl, limit: .seconds(3600))
    activities = activities.filter { now < $0.value.expiresAt }
    guard activities[id] != nil || activities.count < Self.activityLimit else {
      throw CoachError(
        "More than \(Self.activityLimit) activities at once are not kept.", field: "id",
        howToClear: "End those that are over, and use one id for one operation.")
    }
    activities[id] = Activity(id: id, description: description, expiresAt: now + ttl)
  }

  /// Ends a control operation; one that is not known has ended already.
  public mutating func endActivity(id: String) {
    activities[id] = nil
  }

  /// The operations that go on, by id.
  public func activities(at now: ContinuousClock.Instant) -> [Activity] {
    activities.values.filter { now < $0.expiresAt }.sorted { $0.id < $1.id }
  }

  /// When the next reading goes stale or the next activity runs out; nil when nothing is left that
  /// could.
  public func nextExpiry(after now: ContinuousClock.Instant) -> ContinuousClock.Instant? {
    let ends = readings.values.map(\.expiresAt) + activities.values.map(\.expiresAt)
    return ends.filter { $0 > now }.min()
  }

  private mutating func store(
    _ signal: String, _ value: ReadingValue, ttl: Duration, limit: Duration, source: String,
    isAttested: Bool, now: ContinuousClock.Instant
  ) throws(CoachError) {
    guard let domain = Signal.domain(of: signal) else {
      throw CoachError(
        "There is no signal \(signal).", field: "signal",
        howToClear: "Use one of \(Signal.names.joined(separator: ", ")).")
    }
    guard domain.contains(value) else {
      throw CoachError(
        "\(signal) cannot be \(value).", field: "value",
        howToClear: "The value must be \(domain.description).")
    }
    try Self.check(ttl, limit: limit)
    let interlocks = readings.keys.count { $0.hasPrefix(Signal.interlockPrefix) }
    guard
      readings[signal] != nil || !signal.hasPrefix(Signal.interlockPrefix)
        || interlocks < Self.interlockLimit
    else {
      throw CoachError(
        "More than \(Self.interlockLimit) interlocks are not kept.", field: "signal",
        howToClear: "Report the interlocks under fixed names.")
    }
    readings[signal] = Reading(
      signal: signal, value: value, source: source, heardAt: now, expiresAt: now + ttl,
      isAttested: isAttested)
  }

  private static func check(_ ttl: Duration, limit: Duration) throws(CoachError) {
    guard ttl > .zero, ttl <= limit else {
      throw CoachError(
        "A time to live of \(ttl) is not possible.", field: "ttl_seconds",
        howToClear: "Give more than 0 and at most \(limit.components.seconds) seconds.")
    }
  }

  /// These texts reach logs and the panel: no control characters, and not without end.
  private static func check(_ text: String, field: String, limit: Int) throws(CoachError) {
    let isPlain = text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    guard isPlain, (1...limit).contains(text.count) else {
      throw CoachError(
        "The \(field) is empty, too long or not plain text.", field: field,
        howToClear: "Give 1 to \(limit) characters on one line.")
    }
  }
}
