public import Migrations
import SQLite

/// What the plan did to a copy of the snapshot: the evidence that it works on this database.
public struct Rehearsal: Sendable {
  public let planHash: String
  /// When each statement began, in the order of the plan, and when the last one ended: seconds from
  /// the first.
  private let course: [Double]
  /// Of statements and checks together.
  public let seconds: Double
  /// Bytes that the apply needs beside the database at its peak: write-ahead log and growth.
  public let peakBytes: Int64
  /// In lower case, sorted.
  public let touchedTables: [String]

  init(
    planHash: String, statementSeconds: [Double], seconds: Double, peakBytes: Int64,
    touchedTables: [String]
  ) {
    self.planHash = planHash
    self.seconds = seconds
    self.peakBytes = peakBytes
    self.touchedTables = touchedTables
    course = statementSeconds.reduce(into: [0]) { course, seconds in
      // Half a millisecond more for each, so that many small ones move a progress bar too.
      course.append((course.last ?? 0) + seconds + 0.0005)
    }
  }

  public var statements: Int { course.count - 1 }

  /// How much of the whole is done, 0...1, if every statement takes as long as here; nil when the
  /// rehearsal had no such statement.
  public func fraction(at now: ApplyProgress) -> Double? {
    guard now.statement < statements, let whole = course.last else { return nil }
    let begin = course[now.statement]
    let length = course[now.statement + 1] - begin
    return (begin + min(now.running.seconds, length * 0.95)) / whole
  }
}

extension Snapshot {
  /// Applies the plan to a copy in `folder`, with every check and the commit, and removes the copy.
  ///
  /// - Throws: what the plan's own failure would be on the live database, or `.noSpace`.
  public func rehearse(
    _ plan: Plan, in folder: String, run: String, chockVersion: String, stop: StopSignal,
    deadline: ContinuousClock.Instant?, progress: (ApplyProgress) -> Void
  ) throws(Failure) -> Rehearsal {
    try FileSystem.makeFolder(folder)
    let copy = "\(folder)/rehearsal-\(run).sqlite"
    defer { Self.removeDatabase(copy) }
    try FileSystem.copy(path, to: copy, stop: stop)
    let started = ContinuousClock.now
    let sizeBefore = FileSystem.facts(copy)?.size ?? 0
    let connection = try Database.openForWriting(copy)
    // The log is never checkpointed, so that its length at the end is the peak.
    try Database.catching(copy) { () throws(SQLiteError) in
      try connection.execute("PRAGMA journal_mode = WAL")
    }
    let transaction = try Transaction.begin(connection, plan: plan, durable: false)
    let report = try transaction.apply(
      plan, baseline: baseline, stop: stop, deadline: deadline, run: run,
      chockVersion: chockVersion, progress: progress, verifying: {})
    try transaction.commit()
    let wal = FileSystem.facts(copy + "-wal")?.size ?? 0
    let growth = max(0, try Database.bytes(connection) - sizeBefore)
    return Rehearsal(
      planHash: plan.hash, statementSeconds: report.statementSeconds,
      seconds: (ContinuousClock.now - started).seconds, peakBytes: wal + growth,
      touchedTables: report.touchedTables.sorted())
  }

  static func removeDatabase(_ path: String) {
    for suffix in ["", "-wal", "-shm", "-journal"] { try? FileSystem.remove(path + suffix) }
  }
}
