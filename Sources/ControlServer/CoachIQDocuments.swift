import Coach
import FoundationEssentials
import Migrations
import Storage
import Updating

// What CoachIQ's panel reads, under its names. Where it asks at a path of chock's own, its fields stand beside
// chock's; its fields are there also when they have no value.

/// `GET /api/database/status`: the newest snapshot also as CoachIQ describes a backup.
struct CoachIQStatus: Encodable {
  let status: StatusDocument
  let snapshotsFolder: String

  private enum Key: CodingKey { case currentVersion, targetVersion, latestBackup, currentJobId }

  func encode(to encoder: any Encoder) throws {
    try status.encode(to: encoder)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(status.currentVersion, forKey: .currentVersion)
    try fields.encode(status.targetVersion, forKey: .targetVersion)
    try fields.encode(status.currentJobId, forKey: .currentJobId)
    try fields.encode(
      status.latestBackup.map { Backup(snapshot: $0, folder: snapshotsFolder) },
      forKey: .latestBackup)
  }

  private struct Backup: Encodable {
    let snapshot: SnapshotDocument
    let folder: String

    private enum Key: CodingKey { case path, schemaVersion, backupType }

    func encode(to encoder: any Encoder) throws {
      try snapshot.encode(to: encoder)
      var fields = encoder.container(keyedBy: Key.self)
      try fields.encode("\(folder)/\(snapshot.id).sqlite", forKey: .path)
      try fields.encode(snapshot.version, forKey: .schemaVersion)
      try fields.encode(snapshot.reason.rawValue, forKey: .backupType)
    }
  }
}

/// `POST /api/database/migrate`, when it was accepted.
struct CoachIQAnswer: Encodable {
  let run: RunDocument

  private enum Key: CodingKey { case success, jobId, message, error, safetyIssues, hint }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(true, forKey: .success)
    try fields.encode(run.id, forKey: .jobId)
    try fields.encode("The update has started.", forKey: .message)
    try fields.encodeNil(forKey: .error)
    try fields.encode([String](), forKey: .safetyIssues)
    try fields.encodeNil(forKey: .hint)
  }
}

/// A refusal of `POST /api/database/migrate`, beside the members of RFC 9457.
struct CoachIQRefusal: Encodable {
  let failure: Failure
  let blockers: [String]

  private enum Key: CodingKey { case success, jobId, message, error, safetyIssues, hint }

  func encode(to encoder: any Encoder) throws {
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(false, forKey: .success)
    try fields.encodeNil(forKey: .jobId)
    try fields.encode(failure.message, forKey: .message)
    try fields.encode(failure.message, forKey: .error)
    try fields.encode(blockers, forKey: .safetyIssues)
    try fields.encode(failure.howToClear, forKey: .hint)
  }
}

/// `GET /api/database/migrate/{job}/status`.
struct CoachIQJob: Encodable {
  let run: RunDocument
  let snapshotsFolder: String

  private struct Step: Encodable {
    var status: CoachIQProgress.Status
    var timestamp: String
    var progress: Int
  }

  private enum Key: CodingKey {
    case id, status, progress, startedAt, targetVersion, steps, backupPath, error, completedAt,
      rollbackStatus,
      rollbackError
  }

  func encode(to encoder: any Encoder) throws {
    let now = CoachIQProgress(run)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(run.id, forKey: .id)
    try fields.encode(now.status, forKey: .status)
    try fields.encode(now.progress, forKey: .progress)
    try fields.encode(run.startedAt, forKey: .startedAt)
    try fields.encode(run.toVersion, forKey: .targetVersion)
    try fields.encode(steps(to: now), forKey: .steps)
    try fields.encode(
      run.snapshotId.map { "\(snapshotsFolder)/\($0).sqlite" }, forKey: .backupPath)
    try fields.encode(run.error?.message, forKey: .error)
    try fields.encode(run.endedAt, forKey: .completedAt)
    try fields.encode(rollbackStatus, forKey: .rollbackStatus)
    try fields.encode(
      run.outcome == .needsRecovery ? run.error?.message : nil, forKey: .rollbackError)
  }

  /// The phases that are over, with the time when each began, and the state it is in now.
  private func steps(to now: CoachIQProgress) -> [Step] {
    var at = Timestamp.date(run.startedAt)
    var steps = run.phases.map { phase in
      let began = at
      at?.addTimeInterval(phase.seconds)
      let status = CoachIQProgress.status(in: phase.phase, of: run.kind)
      return Step(
        status: status, timestamp: began.map(Timestamp.text) ?? run.startedAt,
        progress: Self.usualProgress[status] ?? 0)
    }
    steps.append(
      Step(
        status: now.status, timestamp: run.endedAt ?? at.map(Timestamp.text) ?? run.startedAt,
        progress: now.progress))
    return steps
  }

  /// The percentages that CoachIQ gives its steps.
  private static let usualProgress: [CoachIQProgress.Status: Int] = [
    .initializing: 0, .backingUp: 10, .planning: 30, .migrating: 40,
    .verifying: 85,
    .rollingBack: 90,
  ]

  private var rollbackStatus: String? {
    switch run.outcome {
    case nil: run.phase == .restore && run.kind != .restore ? "in_progress" : nil
    case .rolledBack: "completed"
    case .restored: run.kind == .restore ? nil : "completed"
    case .needsRecovery: "failed"
    case .committed, .finished, .nothingToDo, .refused: nil
    }
  }
}

/// An entry of `GET /api/database/history`.
struct CoachIQHistoryEntry: Encodable {
  let run: RunDocument
  let snapshotsFolder: String

  private struct Details: Encodable {
    let jobId: String
    let backupPath: String?
    let error: String?

    private enum Key: CodingKey { case jobId, backupPath, error }

    func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: Key.self)
      try fields.encode(jobId, forKey: .jobId)
      try fields.encode(backupPath, forKey: .backupPath)
      try fields.encode(error, forKey: .error)
    }
  }

  private enum Key: CodingKey {
    case fromVersion, toVersion, status, durationMs, details, executedAt
  }

  func encode(to encoder: any Encoder) throws {
    try run.encode(to: encoder)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(run.fromVersion, forKey: .fromVersion)
    try fields.encode(run.toVersion, forKey: .toVersion)
    try fields.encode(CoachIQProgress(run).status, forKey: .status)
    try fields.encode(
      Int((run.phases.reduce(0) { $0 + $1.seconds } * 1000).rounded()), forKey: .durationMs)
    try fields.encode(
      Details(
        jobId: run.id, backupPath: run.snapshotId.map { "\(snapshotsFolder)/\($0).sqlite" },
        error: run.error?.message),
      forKey: .details)
    try fields.encode(run.startedAt, forKey: .executedAt)
  }
}

/// `GET /api/database/safety-check`.
struct CoachIQSafetyCheck: Encodable {
  let safety: SafetyDocument

  private struct SystemState: Encodable {
    /// Miles per hour, as CoachIQ counts.
    let vehicleSpeed: Double?
    let parkingBrake: Bool?
    let engineRunning: Bool?
    let transmissionGear: String?

    private enum Key: CodingKey { case vehicleSpeed, parkingBrake, engineRunning, transmissionGear }

    func encode(to encoder: any Encoder) throws {
      var fields = encoder.container(keyedBy: Key.self)
      try fields.encode(vehicleSpeed, forKey: .vehicleSpeed)
      try fields.encode(parkingBrake, forKey: .parkingBrake)
      try fields.encode(engineRunning, forKey: .engineRunning)
      try fields.encode(transmissionGear, forKey: .transmissionGear)
    }
  }

  private struct Interlocks: Encodable {
    let allSatisfied: Bool
    let violations: [String]
  }

  private enum Key: CodingKey { case systemState, interlocks, recommendations }

  func encode(to encoder: any Encoder) throws {
    try safety.encode(to: encoder)
    var fields = encoder.container(keyedBy: Key.self)
    try fields.encode(
      SystemState(
        vehicleSpeed: heard("vehicle_speed").compactMap(Double.init).map { $0 / 1.609344 }.max(),
        parkingBrake: isAll("engaged", heard("parking_brake")),
        engineRunning: isAll("false", heard("engine_running")).map { !$0 },
        transmissionGear: heard("transmission_gear").max { $0 == "park" && $1 != "park" }),
      forKey: .systemState)
    let interlocks = safety.gates.first { $0.id == "interlocks" }
    try fields.encode(
      Interlocks(
        allSatisfied: interlocks.map { $0.state == .satisfied } ?? true,
        violations: interlocks.flatMap { $0.state == .satisfied ? nil : [$0.reason] } ?? []),
      forKey: .interlocks)
    let ways = safety.gates.filter { $0.required && $0.state != .satisfied }
      .compactMap(\.howToClear)
    try fields.encode(ways, forKey: .recommendations)
  }

  /// What the sources say now of a signal. CoachIQ shows one value: of several, the one that speaks against
  /// an update.
  private func heard(_ signal: String) -> [String] {
    safety.gates.flatMap(\.readings).filter { $0.signal == signal && !$0.stale }
      .compactMap(\.value)
  }

  private func isAll(_ word: String, _ heard: [String]) -> Bool? {
    heard.isEmpty ? nil : heard.allSatisfy { $0 == word }
  }
}
