public import Migrations
public import SQLite

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
  /// Bytes that sorting and the like took in temporary files at their peak.
  public let temporaryBytes: Int64
  /// What a rollback takes out of the database.
  public let losses: [Loss]
  /// Where it was written; nil when nothing is lost, or it was not asked for.
  public let exportFolder: String?
  /// What was found and does not stop the run.
  public let warnings: [Failure]
  /// What each segment did.
  private let parts: [Part]

  /// What one segment of the plan did.
  struct Part: Sendable {
    /// Tables that it wrote to, altered, created or dropped, as SQLite's authorizer reported them.
    var touched: Set<TableKey>
    /// Of the whole schema after it.
    var schemaDigest: String
  }

  init(
    planHash: String, statementSeconds: [Double], seconds: Double, peakBytes: Int64,
    temporaryBytes: Int64, losses: [Loss], exportFolder: String?, warnings: [Failure] = [],
    parts: [Part]
  ) {
    self.planHash = planHash
    self.seconds = seconds
    self.peakBytes = peakBytes
    self.temporaryBytes = temporaryBytes
    self.losses = losses
    self.exportFolder = exportFolder
    self.warnings = warnings
    self.parts = parts
    course = statementSeconds.reduce(into: [0]) { course, seconds in
      // Half a millisecond more for each, so that many small ones move a progress bar too.
      course.append((course.last ?? 0) + seconds + 0.0005)
    }
  }

  public var statements: Int { course.count - 1 }

  /// In lower case, sorted.
  public var touchedTables: [String] {
    parts.reduce(into: Set()) { $0.formUnion($1.touched) }.sorted().map(\.text)
  }

  func part(of segment: Plan) -> Part? {
    parts.indices.contains(segment.segment) ? parts[segment.segment] : nil
  }

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
  /// Applies the plan with every check and the commit, in `folder`, and removes what it wrote.
  ///
  /// Nothing is copied: the snapshot is read through a second name in `folder`, and what the plan
  /// changes lives in a write-ahead log beside that name, which is thrown away
  /// (docs/decisions/0023-rehearsal-in-the-log.md).
  ///
  /// - Parameters:
  ///   - exportFolder: where what a rollback takes out is written; nil only counts it.
  ///   - reserveBytes: what has to stay free on the file system of `folder`.
  /// - Throws: what the plan's own failure would be on the live database, or `.noSpace`.
  public func rehearse(
    _ plan: Plan, _ order: ApplyOrder, in folder: String, exportTo exportFolder: String? = nil,
    reserveBytes: Int64
  ) throws(Failure) -> Rehearsal {
    try FileSystem.makeFolder(folder)
    let name = "\(folder)/rehearsal-\(order.run).sqlite"
    defer { Self.removeDatabase(name) }
    if (try? FileSystem.link(path, as: name)) == nil {
      // A file system without second names (FAT).
      try FileSystem.copy(path, to: name, stop: order.stop)
    }
    let started = ContinuousClock.now
    let connection = try Database.open(name, mode: .rehearsal)
    connection.keepLogOnClose()
    // A checkpoint could only fail.
    try Database.catching(name) { () throws(SQLiteError) in
      try connection.execute("PRAGMA wal_autocheckpoint = 0")
    }
    _ = Connection.takeTemporaryPeak()
    let sizeBefore = try Database.bytes(connection)
    var order = order
    let progress = order.progress
    order.progress = { [stop = order.stop] now in
      // What the log takes is not known before; it must not take what the coach needs.
      if let available = try? FileSystem.availableBytes(at: folder), available < reserveBytes {
        stop.request(
          FileSystem.noSpace(
            folder, "\(ByteCount.text(reserveBytes)) have to stay free for the coach"))
      }
      progress(now)
    }
    var parts: [Rehearsal.Part] = []
    let segments = plan.segments
    var statementSeconds: [Double] = []
    var reports: [ApplyReport] = []
    for segment in segments {
      let transaction = try Transaction.begin(connection, plan: segment, durable: false)
      let report = try transaction.apply(
        segment, order, baseline: parts.isEmpty ? baseline : nil, rehearsal: nil, .asRehearsal,
        isLast: segment.segment == segments.count - 1)
      try transaction.commit()
      parts.append(
        Rehearsal.Part(
          touched: report.touchedTables,
          schemaDigest: try Database.catching(name) { () throws(SQLiteError) in
            try Fingerprint.schema(connection)
          }))
      statementSeconds += report.statementSeconds
      reports.append(report)
    }
    let log = FileSystem.facts(name + "-wal")?.size ?? 0
    let lost: (losses: [Loss], folder: String?) =
      plan.direction == .rollback
      ? try losses(of: plan, in: connection, reports, order, exportTo: exportFolder) : ([], nil)
    return Rehearsal(
      planHash: plan.hash, statementSeconds: statementSeconds,
      seconds: (ContinuousClock.now - started).seconds,
      peakBytes: log + max(0, try Database.bytes(connection) - sizeBefore),
      temporaryBytes: Connection.takeTemporaryPeak(), losses: lost.losses,
      exportFolder: lost.folder, warnings: reports.flatMap(\.warnings), parts: parts)
  }

  /// What is in the snapshot and not in the database of `connection`, to which the plan was applied.
  ///
  /// - Parameter folder: where it is written; nil only counts it.
  /// - Returns: the folder too, unless nothing is lost.
  public func losses(
    of plan: Plan, in connection: Connection, _ reports: [ApplyReport], _ order: ApplyOrder,
    exportTo folder: String?
  ) throws(Failure) -> (losses: [Loss], folder: String?) {
    var renames: [TableKey: TableKey] = [:]
    for report in reports {
      for (old, new) in renames { renames[old] = report.renames[new] ?? new }
      renames.merge(report.renames) { first, _ in first }
    }
    let finder = Losses(
      before: try Database.open(path), after: connection, renames: renames,
      touched: reports.reduce(into: []) { $0.formUnion($1.touchedTables) }, stop: order.stop)
    guard let folder else { return (try finder.find(nil), nil) }
    let export = try Export(
      in: folder, run: order.run, databasePath: document.databasePath, from: plan.from, to: plan.to)
    do throws(Failure) {
      return (try finder.find(export), try export.finish())
    } catch {
      try? FileSystem.removeFolder(folder)
      throw error
    }
  }

  public static func removeDatabase(_ path: String) {
    for suffix in ["", "-wal", "-shm", "-journal"] { try? FileSystem.remove(path + suffix) }
  }
}
