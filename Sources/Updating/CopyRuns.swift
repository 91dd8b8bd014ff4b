import Authoring
import Migrations
import SQLite
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Brings one place for copies up to date, or copies one snapshot there. Without the lock: it only reads here, and no
/// update waits for it.
struct CopyRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    // The disk's priority follows from it.
    _ = nice(19)
    do throws(Failure) {
      let (place, copies) = try context.copies(isReadOnly: false)
      try copies.removeLeftovers()
      var there = try copies.list()
      context.report(there)
      var good: Set<String> = []
      func prune() throws(Failure) {
        let removed = try copies.prune(
          place.retention, of: there, knownGood: good, stop: context.stop)
        there.removeAll { removed.contains($0.id) }
      }
      /// Where it does not fit, the oldest copies there go first.
      func copyMakingRoom(_ id: String) throws(Failure) -> SnapshotDocument {
        do throws(Failure) {
          return try copies.copy(id, stop: context.stop, progress: context.copyProgress)
        } catch  where error.code == .noSpace {
          let removed = try copies.makeRoom(
            for: id, keeping: place.retention.keepAtLeast, of: there, knownGood: good,
            stop: context.stop)
          guard !removed.isEmpty else { throw error }
          there.removeAll { removed.contains($0.id) }
          return try copies.copy(id, stop: context.stop, progress: context.copyProgress)
        }
      }
      var wanted: [String]
      if let id = context.order.snapshot {
        let digest = try context.snapshots.find(id).document.sha256
        wanted = there.contains { $0.id == id && $0.sha256 == digest } ? [] : [id]
      } else {
        wanted = try copies.missing(place.retention, beside: there).map(\.id)
        // What goes anyhow makes room.
        try prune()
      }
      var damaged: Failure?
      for id in wanted {
        do throws(Failure) {
          let copy = try copyMakingRoom(id)
          there = [copy] + there.filter { $0.id != id }
          there.sort { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
          good.insert(id)
          context.report(there, copied: id)
        } catch  where error.code == .notFound && context.order.snapshot == nil {
          // Retention has taken it here meanwhile.
        } catch  where error.code == .noSpace && isEnough(there, without: id, place.retention) {
          // The newest are there; older ones would only take their room.
        } catch  where error.code == .snapshotDamaged {
          // The others are not worse for it.
          damaged = damaged ?? error
        }
      }
      if context.order.snapshot == nil { try prune() }
      context.report(there)
      if let damaged { throw damaged }
      return context.answer(.finished)
    } catch {
      return context.answer(.refused, error)
    }
  }

  /// Whether a place that is full holds as many copies of this chock as it has to, all newer than this one.
  private func isEnough(
    _ there: [SnapshotDocument], without id: String, _ retention: SnapshotStore.Retention
  ) -> Bool {
    guard context.order.snapshot == nil, let left = try? context.snapshots.find(id).document
    else { return false }
    return there.count {
      $0.copiedBy == context.order.controller
        && ($0.createdAt, $0.id) > (left.createdAt, left.id)
    } >= max(1, retention.keepAtLeast)
  }
}

/// Fetches a snapshot from another place, as one that somebody else may have made; or only says what there is.
struct FetchRun {
  let context: RunContext

  func callAsFunction() -> RunDocument {
    do throws(Failure) {
      let (_, copies) = try context.copies(isReadOnly: true)
      context.report(try copies.list())
      guard let id = context.order.snapshot else { return context.answer(.finished) }
      let settings = context.settings
      let live = try? Database.open(settings.databasePath)
      let applicationID = try live.map { live throws(Failure) in
        try Database.catching(settings.databasePath) { () throws(SQLiteError) in
          try live.integer("PRAGMA application_id") ?? 0
        }
      }
      let catalog = try MigrationCatalog(directory: settings.migrationsDirectory)
      context.set(
        snapshot: try context.snapshots.takeIn(
          id, from: copies, catalog: catalog, applicationID: applicationID,
          differences: { (foreign, ledger) throws(Failure) in
            try ForeignSchema.differences(in: foreign, catalog) {
              (live.map { [$0] } ?? []) + snapshots(at: ledger.current)
            }.map(Self.words)
          }, stop: context.stop, progress: context.copyProgress))
      return context.answer(.finished)
    } catch {
      return context.answer(.refused, error)
    }
  }

  /// What this controller keeps of a version, opened.
  private func snapshots(at version: SchemaVersion) -> [Connection] {
    let known = (try? context.snapshots.list()) ?? []
    return known.filter { $0.version == version.description }.compactMap {
      guard let path = try? context.snapshots.find($0.id).path else { return nil }
      return try? Connection(path: path, mode: .foreign)
    }
  }

  /// Such as `trigger evil is extra`. Whoever made it may have chosen a name that does something to a terminal.
  private static func words(_ difference: Schema.Difference) -> String {
    let name = difference.name.unicodeScalars.prefix(64)
      .map { $0.isASCII && $0.value > 0x20 && $0.value != 0x7f ? Character($0) : "?" }
    let kind =
      switch difference.kind {
      case .extra: "is extra"
      case .changed: "is another one"
      case .missing: "is missing"
      }
    return "\(difference.object) \(String(name)) \(kind)"
  }
}

extension RunContext {
  fileprivate func copies(
    isReadOnly: Bool
  ) throws(Failure) -> (place: CopyPlace, copies: SnapshotCopies) {
    guard let place = order.place else { throw Failure(.usage, "No place is named.") }
    let opened = try place.open(mountPoint: settings.mountPoint, isReadOnly: isReadOnly)
    return (
      place,
      SnapshotCopies(
        in: try opened.folder(isMade: !isReadOnly), owner: order.controller ?? "",
        store: snapshots, database: settings.databasePath)
    )
  }

  /// Tells the supervisor what lies there.
  fileprivate func report(_ there: [SnapshotDocument], copied id: String? = nil) {
    link.send(.place(PlaceReport(snapshots: there, copied: id)))
  }
}
