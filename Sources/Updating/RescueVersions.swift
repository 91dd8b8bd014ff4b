import Migrations
import SQLite
import Storage

/// The states that a rescue compares, as far as they can be had at the version of the database.
///
/// A row has no version of its own: put into a database of another one, a value that a migration has converted would
/// be converted once more by the next update, or not at all (docs/decisions/0076-rows-of-another-version.md).
struct RescueVersions {
  struct States {
    var copy: String
    /// Nil where nobody knows what the snapshot had.
    var base: String?
    /// The base as it was, where it was brought to a later version.
    var former: String?
    var leftOut: Rescuer.LeftOut?
    /// The files of states that were brought to a later version are there as long as these are.
    fileprivate var later: [LaterState] = []
  }

  private let context: RunContext
  private let id: String
  private let copy: String
  private let base: String?
  private let live: Connection
  private var settings: UpdateSettings { context.settings }

  init(context: RunContext, copy id: String, _ path: String, base: String?, _ live: Connection) {
    self.context = context
    self.id = id
    copy = path
    self.base = base
    self.live = live
  }

  /// - Throws: why rows of this copy cannot be put into this database; the stop that was requested, `.noSpace`.
  func states() throws(Failure) -> States {
    guard let now = try LedgerTable.read(live) else {
      throw Failure.unadopted(settings.databasePath)
    }
    guard let kept = try LedgerTable.read(try Database.open(copy)) else { throw unknownVersion }
    let former = try base.map { (path) throws(Failure) in
      try LedgerTable.read(try Database.open(path))
    }.flatMap { $0 }
    var states = States(copy: copy, base: former == nil ? nil : base)
    let (ofKept, ofNow) = (Set(kept.versions), Set(now.versions))
    if ofKept.isSubset(of: ofNow) {
      if ofKept != ofNow {
        do throws(Failure) {
          states.copy = try later(copy, kept, as: now, &states).path
        } catch {
          throw refusal(
            error,
            "The rescue copy is at version \(kept.current), and could not be brought to the database's, \(now.current)",
            "`chock rescue export \(id) --to FOLDER` writes its rows as files.")
        }
      }
      try bringBase(former, to: now, &states)
      if ofKept != ofNow {
        try leaveOutUnsteady(copy, kept, states.copy, now, &states)
      } else if let base, let former, let brought = states.base, states.former != nil {
        try leaveOutUnsteady(base, former, brought, now, &states)
      }
    } else if ofNow.isSubset(of: ofKept) {
      try leaveOut(now, kept, former, &states)
    } else {
      throw Failure(
        .notAllowed,
        "The rescue copy has versions that the database has not, and the other way round: no update leads from one to the other.",
        howToClear: "`chock rescue export \(id) --to FOLDER` writes its rows as files.")
    }
    return states
  }

  /// The database is at an older version than the copy: tables whose rows the update in between changes are left out.
  private func leaveOut(
    _ now: Ledger, _ kept: Ledger, _ former: Ledger?, _ states: inout States
  ) throws(Failure) {
    do throws(Failure) {
      let isBase = former?.versions == now.versions
      let newer = try later(
        isBase ? base ?? live.fileName : live.fileName, now, as: kept, &states)
      var tables = newer.changedTables
      if let former, former.versions != now.versions, former.versions != kept.versions,
        let base = states.base
      {
        if Set(former.versions).isSubset(of: kept.versions) {
          tables.formUnion(try later(base, former, as: kept, &states).changedTables)
        } else {
          states.base = nil
        }
      }
      states.leftOut = Rescuer.LeftOut(
        tables, newer: newer.path,
        reason:
          "the update from \(now.current) to \(kept.current) changes rows of this table, and the copy has them as they are at \(kept.current). Update first (`chock update`), then `chock rescue apply \(id)` again"
      )
    } catch {
      throw refusal(
        error,
        "The rescue copy is at version \(kept.current), the database at \(now.current), and which rows the update in between changes cannot be found out",
        "Update first (`chock update`), then `chock rescue apply \(id)` again. Or `chock rescue export \(id) --to FOLDER` writes its rows as files."
      )
    }
  }

  /// What the update itself has changed since the snapshot is nobody's record.
  private func bringBase(
    _ former: Ledger?, to now: Ledger, _ states: inout States
  ) throws(Failure) {
    guard let former, let base, former.versions != now.versions else { return }
    do throws(Failure) {
      states.base = try later(base, former, as: now, &states).path
      states.former = base
    } catch {
      if let requested = context.stop.requested { throw requested }
      guard error.code != .noSpace else { throw error }
      states.base = nil
      context.add(
        warning: Failure(
          error.code,
          "The snapshot that was put back is at version \(former.current), and could not be brought to \(now.current): \(error.message) Only rows that are not there are put in.",
          file: error.file, line: error.line))
    }
  }

  /// Tables of which the update makes something else each time (random keys, the time): what of theirs the owner has
  /// recorded cannot be told from what the update has made.
  private func leaveOutUnsteady(
    _ path: String, _ ledger: Ledger, _ brought: String, _ now: Ledger, _ states: inout States
  ) throws(Failure) {
    // SQLite's clock for statements has seconds.
    context.link.pause(for: .milliseconds(1100))
    let again = try later(path, ledger, as: now, &states)
    let comparison = try Comparer(before: brought, after: again.path, stop: context.stop).run()
    let tables = comparison.tables.filter { $0.added + $0.changed + $0.deleted > 0 }
    guard !tables.isEmpty else { return }
    states.leftOut = Rescuer.LeftOut(
      Set(tables.map { TableKey($0.table) }), newer: states.base ?? brought,
      reason:
        "the update from \(ledger.current) to \(now.current) makes something else of this table each time, so that nobody knows which of its rows were recorded. `chock rescue export \(id) --to FOLDER` writes them as files"
    )
  }

  private func later(
    _ path: String, _ ledger: Ledger, as goal: Ledger, _ states: inout States
  ) throws(Failure) -> LaterState {
    let later = try LaterStates(context: context).make(
      of: path, ledger, to: goal.current, number: states.later.count
    ) { (plan) throws(Failure) in
      guard plan.after == goal.versions else {
        throw Failure(
          .notFound, "No files lead from version \(ledger.current) to this \(goal.current).",
          file: settings.migrationsDirectory)
      }
      let steps = Set(plan.after).subtracting(plan.before)
      return goal.entries.filter { steps.contains($0.version) }.map(\.run)
    }
    states.later.append(later)
    return later
  }

  private var unknownVersion: Failure {
    Failure(
      .unadopted,
      "Nobody knows at which version rescue copy \(id) is: it has no ledger, and its rows may mean something else in this database.",
      howToClear:
        "`chock restore \(id)` puts it in place as a whole; then say its version (`chock adopt --at VERSION`). Or `chock rescue export \(id) --to FOLDER` writes its rows as files."
    )
  }

  private func refusal(_ error: Failure, _ words: String, _ howToClear: String) -> Failure {
    if let requested = context.stop.requested { return requested }
    guard error.code != .noSpace else { return error }
    var failure = error
    failure.message = "\(words): \(error.message)"
    failure.howToClear = howToClear
    return failure
  }
}
