/// The last word of one source on one signal: a lease that ends at `expiresAt`.
public struct Reading: Sendable, Hashable {
  public let signal: String
  public let value: ReadingValue
  public let source: String
  /// The raw form, where there is one.
  public let evidence: String?
  public let heardAt: ContinuousClock.Instant
  public fileprivate(set) var expiresAt: ContinuousClock.Instant
  /// Since when the source says so without a gap.
  public let since: ContinuousClock.Instant
  /// True when a person gave their word for it and no device reported it.
  public let isAttested: Bool
  /// True when it may speak against an update and is never the reason to allow one.
  public let vetoOnly: Bool

  /// True while the value may be relied on.
  public func isFresh(at now: ContinuousClock.Instant) -> Bool { now < expiresAt }
}

/// A control operation that the controller is in the middle of, such as "slide 1 extending".
public struct Activity: Sendable, Hashable {
  public let id: String
  public let description: String
  public let expiresAt: ContinuousClock.Instant
}

/// The last word of a source that spoke against an update: it outlasts the source's silence, and a restart.
public struct LastWord: Codable, Sendable, Hashable {
  public let signal: String
  public let value: ReadingValue
  public let source: String
  public let vetoOnly: Bool
}

/// What the coach has told so far: the last word of each source on each signal, and the operations that
/// go on.
///
/// It has no clock of its own. An expired reading stays, so that a person can be told how old it is.
public struct Readings: Sendable {
  private var bySignal: [String: [String: Reading]] = [:]
  /// How many readings there are.
  private var count = 0
  private var activities: [String: Activity] = [:]
  /// Signals that a configured source has to report.
  private var expected: [String: String] = [:]
  /// Signals of which a device only ever said that it cannot tell.
  private var faulty: [String: String] = [:]
  /// When a device last said that the coach is not parked.
  private(set) var unparkedAt: ContinuousClock.Instant?
  /// When there were more sources than are kept; nil when there never were.
  private(set) var overflowedAt: ContinuousClock.Instant?
  /// Grows when ``lastWords`` change.
  public private(set) var lastWordsVersion = 0

  /// Bounds what a faulty client can make chock remember.
  private static let interlockLimit = 64
  private static let activityLimit = 64
  private static let faultyLimit = 256
  /// A bus can name 254 sources and 256 instances of a device.
  private static let readingLimit = 4096

  private static let attestation = "attestation by"

  public init() {}

  /// Every reading, by signal and source.
  public var all: [Reading] {
    bySignal.keys.sorted().flatMap(readings)
  }

  /// What every source last said of a signal, by source.
  public func readings(of signal: String) -> [Reading] {
    let all = bySignal[signal] ?? [:]
    return all.count < 2 ? Array(all.values) : all.values.sorted { $0.source < $1.source }
  }

  func contains(where isIt: (Reading) -> Bool) -> Bool {
    bySignal.values.contains { $0.values.contains(where: isIt) }
  }

  /// Every signal that is known to be there, in no order.
  var signals: Set<String> { Set(bySignal.keys).union(expected.keys).union(faulty.keys) }

  /// Says that a source is there which reports these signals: until it does, they are unknown.
  public mutating func expect(_ signals: [String], from source: String) {
    for signal in signals { expected[signal] = source }
  }

  func source(expectedFor signal: String) -> String? { expected[signal] ?? faulty[signal] }

  /// Takes what a source of chock's own says.
  ///
  /// - Returns: the attestations that it ends.
  public mutating func take(_ report: Report, now: ContinuousClock.Instant) -> [Reading] {
    switch report.content {
    case .value(let value, let signal, let ttl):
      guard Signal.domain(of: signal)?.contains(value) == true else { return [] }
      return store(
        signal, value, ttl: ttl, source: report.source, evidence: report.evidence,
        vetoOnly: report.vetoOnly, now: now)
    case .noValue(let signal):
      bySignal[signal]?[report.source]?.expiresAt = now
      return []
    case .error(let signal):
      guard Signal.domain(of: signal) != nil else { return [] }
      bySignal[signal]?[report.source]?.expiresAt = now
      if bySignal[signal]?[report.source] == nil, faulty.count < Self.faultyLimit {
        faulty[signal] = report.source
      }
      return []
    case .activity(let id, let description, let ttl):
      activities[id] = Activity(id: id, description: description, expiresAt: now + ttl)
      // A bus has so many nodes and so many kinds of commands.
      if activities.count > Self.readingLimit {
        activities = activities.filter { now < $0.value.expiresAt }
      }
      return []
    }
  }

  /// Takes what a client reports.
  ///
  /// - Parameter ttl: How long the value may be relied on: more than zero, at most an hour.
  /// - Returns: the attestations that it ends.
  @discardableResult
  public mutating func put(
    signal: String, value: ReadingValue, ttl: Duration, source: String,
    now: ContinuousClock.Instant
  ) throws(CoachError) -> [Reading] {
    try Self.check(source, field: "source", limit: 64)
    // `can0/9C` is a node of a bus, and files and addresses have a slash too: nobody else may speak for
    // them, or for a person.
    guard !source.contains("/"), !source.hasPrefix(Self.attestation) else {
      throw CoachError(
        "The source cannot be called \(source).", field: "source",
        howToClear: "Names with a slash, and those of attestations, are chock's own.")
    }
    guard signal != Signal.clock else {
      throw CoachError(
        "That the clock is right is a person's word.", field: "signal",
        howToClear: "`chock coach attest clock=right`, on the device.")
    }
    try Self.check(signal, value)
    try Self.check(ttl, limit: .seconds(3600))
    let named = bySignal.keys.count { $0.contains(".") }
    guard bySignal[signal] != nil || !signal.contains(".") || named < Self.interlockLimit else {
      throw CoachError(
        "More than \(Self.interlockLimit) interlocks are not kept.", field: "signal",
        howToClear: "Report the interlocks under fixed names.")
    }
    return store(
      signal, value, ttl: ttl, source: source, evidence: nil, vetoOnly: false, now: now)
  }

  /// Takes a person's word for a signal that no device reports; the source becomes "attestation by
  /// `person`".
  ///
  /// A fresh report of a device is not overruled, and that the coach moves can never be attested away:
  /// once a device has said so, a device must say that it stands.
  ///
  /// - Throws: then, and for what the policy does not allow, and for a value or `ttl` (15 minutes at most)
  ///   that does not fit.
  public mutating func attest(
    signal: String, value: ReadingValue, ttl: Duration, by person: String, policy: SafetyPolicy,
    now: ContinuousClock.Instant
  ) throws(CoachError) {
    try Self.check(person, field: "by", limit: 64)
    try Self.check(signal, value)
    try Self.check(ttl, limit: .seconds(900))
    if let objection = objection(to: value, signal, policy: policy, now: now) { throw objection }
    for old in readings(of: signal) where old.isAttested { remove(old) }
    let source = "\(Self.attestation) \(person)"
    insert(
      Reading(
        signal: signal, value: value, source: source, evidence: nil, heardAt: now,
        expiresAt: now + ttl, since: now, isAttested: true, vetoOnly: false))
  }

  /// Why nobody's word for this value is taken now; nil when it is.
  func objection(
    to value: ReadingValue, _ signal: String, policy: SafetyPolicy, now: ContinuousClock.Instant
  ) -> CoachError? {
    guard policy.allowsAttestation(of: signal) else {
      return CoachError(
        "Nobody's word is taken for \(signal).", field: "signal",
        howToClear: "coach.may_attest in the config lists what may be attested.")
    }
    let devices = readings(of: signal).filter { !$0.isAttested }
    if let device = devices.first(where: {
      $0.isFresh(at: now)
        && (!Signal.agree($0.value, value, on: signal)
          || (!$0.vetoOnly && contradiction(to: $0, at: now) == nil))
    }) {
      return CoachError(
        "\(device.source) itself reports \(signal) (\(device.value)).", field: "signal",
        howToClear: "An attestation is for signals that no device reports.")
    }
    guard signal == Signal.vehicleSpeed, !Signal.isMoving(value),
      let moving = Self.newest(of: devices.filter(Self.isMoving))
    else { return nil }
    // A source whose word is not enough cannot take it back either.
    let standing = Self.newest(of: devices.filter { !$0.vetoOnly && !Signal.isMoving($0.value) })
    if let standing, standing.heardAt > moving.heardAt { return nil }
    return CoachError(
      "The last that \(moving.source) said is that the coach moves.", field: "signal",
      howToClear: "Switch the ignition on, until it reports that the coach stands.")
  }

  /// Who spoke against an update, where this fresh reading does not, and has been silent since. A person's
  /// word that was given later covers it.
  func contradiction(to reading: Reading, at now: ContinuousClock.Instant) -> Reading? {
    let all = readings(of: reading.signal)
    let attestedAt = all.lazy.filter { $0.isAttested && $0.isFresh(at: now) }.map(\.heardAt).max()
    return Self.newest(
      of: all.filter { silent in
        !silent.isFresh(at: now) && !silent.isAttested && !silent.vetoOnly
          && Signal.outlastsSilence(silent.value, silent.signal)
          && !Signal.agree(silent.value, reading.value, on: silent.signal)
          && (attestedAt.map { $0 < silent.heardAt } ?? true)
      })
  }

  // MARK: What outlasts silence

  /// The last words that speak against an update. Those of sources that may only veto count while they
  /// are heard: they may be alarms, which nobody takes back. That the coach moves, nobody forgets.
  public var lastWords: [LastWord] {
    all.filter(Self.isLastWord).map {
      LastWord(signal: $0.signal, value: $0.value, source: $0.source, vetoOnly: $0.vetoOnly)
    }
  }

  private static func isLastWord(_ reading: Reading) -> Bool {
    !reading.isAttested && Signal.outlastsSilence(reading.value, reading.signal)
      && (!reading.vetoOnly || isMoving(reading))
  }

  private static func isMoving(_ reading: Reading) -> Bool {
    reading.signal == Signal.vehicleSpeed && Signal.isMoving(reading.value)
  }

  /// Takes over the last words of before a restart, as readings that have expired.
  public mutating func takeOver(_ words: [LastWord], now: ContinuousClock.Instant) {
    for word in words where Signal.domain(of: word.signal)?.contains(word.value) == true {
      guard bySignal[word.signal]?[word.source] == nil, makeRoom(at: now) else { continue }
      insert(
        Reading(
          signal: word.signal, value: word.value, source: word.source, evidence: nil, heardAt: now,
          expiresAt: now, since: now, isAttested: false, vetoOnly: word.vetoOnly))
    }
  }

  /// Forgets what silent devices said of a signal, such as one that is no longer in the coach.
  ///
  /// - Returns: what is forgotten.
  /// - Throws: when nothing is known of it, a device still reports it, or the last word is that the coach
  ///   moves.
  public mutating func forget(
    _ signal: String, now: ContinuousClock.Instant
  ) throws(CoachError) -> [Reading] {
    let said = readings(of: signal).filter { !$0.isAttested }
    guard !said.isEmpty || faulty[signal] != nil else {
      throw CoachError(
        "No device has reported \(signal).", field: "signal",
        howToClear: "`chock coach watch` shows what was reported.")
    }
    if let device = said.first(where: { $0.isFresh(at: now) }) {
      throw CoachError(
        "\(device.source) reports \(signal) (\(device.value)).", field: "signal",
        howToClear: "Only what is silent can be forgotten.")
    }
    if let moving = said.first(where: Self.isMoving) {
      throw CoachError(
        "The last that \(moving.source) said is that the coach moves.", field: "signal",
        howToClear: "A device or the controller has to report that it stands.")
    }
    faulty[signal] = nil
    for reading in said { remove(reading) }
    return said
  }

  private static func newest(of readings: [Reading]) -> Reading? {
    readings.max { $0.heardAt < $1.heardAt }
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

  /// When time alone may change the verdict next: a reading goes stale, an activity runs out, or the coach
  /// has been parked for long enough. Nil when nothing is left that could.
  public func nextChange(
    after now: ContinuousClock.Instant, _ policy: SafetyPolicy
  ) -> ContinuousClock.Instant? {
    let wait = Duration.seconds(policy.parkedForSeconds)
    var next: ContinuousClock.Instant?
    func consider(_ instant: ContinuousClock.Instant) {
      if instant > now, next.map({ instant < $0 }) ?? true { next = instant }
    }
    for reading in bySignal.values.lazy.flatMap(\.values) {
      consider(reading.expiresAt)
      if reading.isFresh(at: now) { consider(reading.since + wait) }
    }
    for activity in activities.values { consider(activity.expiresAt) }
    if let unparkedAt { consider(unparkedAt + wait) }
    return next
  }

  private mutating func store(
    _ signal: String, _ value: ReadingValue, ttl: Duration, source: String, evidence: String?,
    vetoOnly: Bool, now: ContinuousClock.Instant
  ) -> [Reading] {
    let before = bySignal[signal]?[source]
    if before == nil, !makeRoom(at: now) { return [] }
    let goesOn = before.map {
      $0.isFresh(at: now) && Signal.agree($0.value, value, on: signal)
    }
    insert(
      Reading(
        signal: signal, value: value, source: source, evidence: evidence, heardAt: now,
        expiresAt: now + ttl, since: goesOn == true ? before?.since ?? now : now,
        isAttested: false, vetoOnly: vetoOnly))
    let isUnparked = Signal.speaksAgainstParked(value, signal)
    // Of two sources that were heard together, the earlier may come later.
    if isUnparked { unparkedAt = unparkedAt.map { max($0, now) } ?? now }
    return endAttestations(at: now) {
      ($0.signal == signal && !Signal.agree($0.value, value, on: signal))
        // Whoever attested that the coach is parked was wrong, or is not any more.
        || (signal == Signal.vehicleSpeed && isUnparked)
    }
  }

  private mutating func endAttestations(
    at now: ContinuousClock.Instant, where isEnded: (Reading) -> Bool
  ) -> [Reading] {
    let ended = bySignal.values.flatMap { $0.values.filter { $0.isAttested && isEnded($0) } }
    for reading in ended { remove(reading) }
    return ended.filter { $0.isFresh(at: now) }
  }

  /// False when everything that is kept is still good.
  private mutating func makeRoom(at now: ContinuousClock.Instant) -> Bool {
    guard count >= Self.readingLimit else { return true }
    // A flood must not make each of its frames dear.
    if let overflowedAt, now - overflowedAt < .seconds(1) { return false }
    let stale = bySignal.values.lazy.flatMap(\.values).filter { !$0.isFresh(at: now) }
    guard let oldest = stale.min(by: { $0.heardAt < $1.heardAt }) else {
      overflowedAt = now
      return false
    }
    remove(oldest)
    return true
  }

  private mutating func insert(_ reading: Reading) {
    let former = bySignal[reading.signal, default: [:]].updateValue(
      reading, forKey: reading.source)
    if former == nil { count += 1 }
    if (former.map(Self.isLastWord) ?? false) != Self.isLastWord(reading) { lastWordsVersion += 1 }
  }

  private mutating func remove(_ reading: Reading) {
    if bySignal[reading.signal]?.removeValue(forKey: reading.source) != nil {
      count -= 1
      if Self.isLastWord(reading) { lastWordsVersion += 1 }
    }
    if bySignal[reading.signal]?.isEmpty == true { bySignal[reading.signal] = nil }
  }

  private static func check(_ signal: String, _ value: ReadingValue) throws(CoachError) {
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
  }

  private static func check(_ ttl: Duration, limit: Duration) throws(CoachError) {
    guard ttl > .zero, ttl <= limit else {
      throw CoachError(
        "A time to live of \(ttl) is not possible.", field: "ttl_seconds",
        howToClear: "Give more than 0 and at most \(limit.components.seconds) seconds.")
    }
  }

  /// These texts reach logs and the panel: no control characters, and not without end.
  static func check(_ text: String, field: String, limit: Int) throws(CoachError) {
    let isPlain = text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    guard isPlain, (1...limit).contains(text.count) else {
      throw CoachError(
        "The \(field) is empty, too long or not plain text.", field: field,
        howToClear: "Give 1 to \(limit) characters on one line.")
    }
  }
}
