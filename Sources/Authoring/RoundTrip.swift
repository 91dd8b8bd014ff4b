public import Migrations
import SQLite
import Storage

/// A migration that was applied to a scratch database, taken back, and applied again.
public struct RoundTrip: Sendable, Encodable {
  public var version: SchemaVersion
  public var file: String
  /// Nil when there is no way back: then it was applied once only.
  public var rollbackFile: String?
  public var upSeconds: Double?
  public var downSeconds: Double?
  /// What is wrong; the first that could not be applied is the last that was tried.
  public var problems: [Failure] = []
  /// What is worth a look: rows that come out otherwise each time.
  public var warnings: [String] = []

  /// Applies what is pending, file by file. Inputs get their default, or a value that they accept.
  ///
  /// - Parameter tell: called with each as it is done.
  /// - Throws: why there is no plan; what is wrong with one file is in its `problems`.
  public static func all(
    _ catalog: MigrationCatalog, on scratch: Scratch, _ tell: (RoundTrip) -> Void = { _ in }
  ) throws(Failure) -> [RoundTrip] {
    guard let ledger = try LedgerTable.read(scratch.connection) else {
      throw Failure(
        .unadopted, "chock does not know at which version the database is.",
        howToClear: "`chock adopt` looks, and says it once.")
    }
    var trips: [RoundTrip] = []
    var catalog = catalog
    catalog.baselines = []
    var state = try Content(scratch)
    for step in try Plan(catalog: catalog, ledger: ledger).steps {
      let rollback = catalog.rollbacks[step.version]
      var trip = RoundTrip(
        version: step.version, file: step.path, rollbackFile: rollback?.path)
      do throws(Failure) {
        state = try trip.go(catalog, rollback, on: scratch, from: state)
      } catch {
        trip.problems.append(error)
      }
      tell(trip)
      trips.append(trip)
      guard try LedgerTable.read(scratch.connection)?.current == step.version else { break }
    }
    return trips
  }

  /// - Returns: what the database is like afterwards.
  private mutating func go(
    _ catalog: MigrationCatalog, _ rollback: Migration?, on scratch: Scratch, from before: Content
  ) throws(Failure) -> Content {
    func timed(_ goal: Goal) throws(Failure) -> Double {
      let started = ContinuousClock.now
      try scratch.apply(catalog, goal)
      return (ContinuousClock.now - started).seconds
    }
    let up = Goal.update(to: version, outOfOrder: false)
    upSeconds = try timed(up)
    let after = try Content(scratch)
    guard let rollback else { return after }
    do throws(Failure) {
      downSeconds = try timed(.rollbackOnly(version))
    } catch {
      problems.append(error)
      return after
    }
    let down = try Content(scratch)
    let isMeant = catalog.migrations.contains { $0.version == version && $0.isDestructive }
    let rows = before.rowDifferences(in: down)
    let wrong =
      before.schemaDifferences(in: down) + before.indexDifferences(in: down)
      + before.headerDifferences(in: down) + (isMeant ? [] : rows)
    problems += wrong.map {
      Failure(
        .integrity, "After the way back \($0).", file: rollback.path,
        howToClear: "Bring back exactly what was there before \(version).")
    }
    // What a migration removes for good is in a snapshot only.
    warnings += ((isMeant ? rows : []) + before.sequenceDifferences(in: down)).map {
      "After the way back \($0)."
    }
    try scratch.apply(catalog, up)
    let again = try Content(scratch)
    problems += after.schemaDifferences(in: again).map {
      Failure(
        .integrity, "Applied again, \($0).", file: file,
        howToClear: "Let the rollback file remove all that this file makes.")
    }
    warnings += after.rowDifferences(in: again).map {
      "Applied again, \($0): it comes out otherwise each time."
    }
    return again
  }
}
