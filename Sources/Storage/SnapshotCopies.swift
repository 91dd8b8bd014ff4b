import Crypto
import FoundationEssentials
public import Migrations

/// Copies of snapshots at another place: `ID.sqlite` and `ID.json`, as in the folder of snapshots.
///
/// A copy exists from the moment its `ID.sqlite` has its final name, which it gets when what was written has been
/// read back. What does not say that this chock has put it there is never removed.
public struct SnapshotCopies {
  let folder: PlaceFolder
  /// Which chock this is: several may share a place.
  let owner: String
  let store: SnapshotStore
  let database: String

  public init(in folder: PlaceFolder, owner: String, store: SnapshotStore, database: String) {
    self.folder = folder
    self.owner = owner
    self.store = store
    self.database = database
  }

  private var ending: String { ".\(owner).partial" }

  /// Removes what an interrupted copying of this chock left.
  public func removeLeftovers() throws(Failure) {
    let names = Set(try folder.names())
    for name in names {
      guard name.hasSuffix(ending) || name.hasSuffix(".json") else { continue }
      if name.hasSuffix(".json") {
        // A description that was written before its copy got its name.
        guard !names.contains(name.dropLast(".json".count) + ".sqlite"),
          let document = try? description(String(name.dropLast(".json".count))),
          document.copiedBy == owner
        else { continue }
      }
      try folder.remove(name)
    }
  }

  /// The copies there whose descriptions can be read, of whomever, newest first.
  ///
  /// - Throws: `.copyPlace`.
  public func list() throws(Failure) -> [SnapshotDocument] {
    var found: [SnapshotDocument] = []
    for name in try folder.names() where name.hasSuffix(".sqlite") {
      do throws(Failure) {
        found.append(try description(String(name.dropLast(".sqlite".count))))
      } catch {
        guard [.foreignSnapshot, .notFound].contains(error.code) else { throw error }
      }
    }
    return found.sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
  }

  /// - Throws: `.notFound`, `.foreignSnapshot` for a description that chock would not have written.
  public func description(_ id: String) throws(Failure) -> SnapshotDocument {
    let path = "\(folder.path)/\(id).json"
    guard let bytes = try folder.read("\(id).json", limit: ForeignSnapshot.mostBytes) else {
      throw Failure(
        .notFound, "There is no description of a snapshot \(id) in \(folder.path).", file: path,
        howToClear: "`chock snapshots list --from PLACE` shows what there is.")
    }
    return try ForeignSnapshot.document(bytes, id: id, path: path)
  }

  /// Which snapshots from here belong there by its retention and are not there, newest first.
  public func missing(
    _ retention: SnapshotStore.Retention, beside there: [SnapshotDocument]
  ) throws(Failure) -> [SnapshotDocument] {
    try Self.missing(in: store, of: database, owner: owner, retention, beside: there)
  }

  /// The same without a look at the place.
  public static func missing(
    in store: SnapshotStore, of database: String, owner: String,
    _ retention: SnapshotStore.Retention, beside there: [SnapshotDocument],
    now: String = Timestamp.now()
  ) throws(Failure) -> [SnapshotDocument] {
    let local = try own(store, database)
    let wanted = kept(
      by: retention, of: local + there.filter { $0.copiedBy == owner },
      pinned: Set(local.filter(\.pinned).map(\.id)), now: now)
    return local.filter { snapshot in
      // Without a digest nobody could tell whether a copy of it is whole.
      snapshot.sha256 != nil && wanted.contains(snapshot.id)
        && !there.contains { $0.id == snapshot.id && $0.sha256 == snapshot.sha256 }
    }
  }

  private static func own(
    _ store: SnapshotStore, _ database: String
  ) throws(Failure) -> [SnapshotDocument] {
    try store.list().filter {
      !$0.databasePath.isEmpty && (try? $0.checkBelongs(to: database)) != nil
    }
  }

  /// What retention keeps: also the newest in any case, and what is pinned here.
  static func kept(
    by retention: SnapshotStore.Retention, of documents: [SnapshotDocument], pinned: Set<String>,
    now: String
  ) -> Set<String> {
    var ids: Set<String> = []
    var kept = documents.filter { ids.insert($0.id).inserted }
      .sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
    let newest = kept.first?.id
    let oldest = Timestamp.date(now)?.addingTimeInterval(-86_400 * Double(retention.days))
    kept = kept.enumerated().filter { index, document in
      guard index >= max(1, retention.keepAtLeast), !pinned.contains(document.id), let oldest,
        let created = Timestamp.date(document.createdAt)
      else { return true }
      return created >= oldest
    }.map(\.element)
    while retention.maxTotalBytes > 0,
      kept.reduce(0, { $0 + $1.sizeBytes }) > retention.maxTotalBytes,
      let index = kept.lastIndex(where: { $0.id != newest && !pinned.contains($0.id) })
    {
      kept.remove(at: index)
    }
    return Set(kept.map(\.id))
  }

  /// Copies one snapshot: temporary name, fsync, read back and compare with its digest, rename, fsync of the folder.
  ///
  /// - Returns: what the copy says about itself.
  /// - Throws: `.copyPlace`, `.noSpace`, `.snapshotDamaged` (the snapshot here, or the copy as it was read back), or
  ///   the stop that was requested. Nothing with a final name is left then.
  public func copy(
    _ id: String, stop: StopSignal,
    progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> SnapshotDocument {
    var (source, document) = try store.find(id)
    guard let digest = document.sha256 else {
      throw Failure(
        .snapshotDamaged, "The description of snapshot \(id) is lost: no copy could be checked.",
        file: source, howToClear: "`chock snapshots verify \(id)` makes a new one.")
    }
    try checkFits(document)
    let partial = "\(id).sqlite\(ending)"
    do throws(Failure) {
      guard try write(source, to: partial, document.sizeBytes, stop, progress) == digest else {
        throw Failure(
          .snapshotDamaged, "Snapshot \(id) is not what was written: its digest differs.",
          file: source, howToClear: "Use another snapshot: `chock snapshots list`.")
      }
      guard try readBack(partial, document.sizeBytes, stop, progress) == digest else {
        throw Failure(
          .snapshotDamaged, "What \(folder.path) gives back is not what was written to it.",
          file: "\(folder.path)/\(id).sqlite",
          howToClear: "Use another stick or disk: this one loses data.")
      }
      document.copiedBy = owner
      document.pinned = false
      document.verifiedAt = Timestamp.now()
      try describe(document)
      try folder.rename(partial, to: "\(id).sqlite")
      return document
    } catch {
      try? folder.remove(partial)
      throw error
    }
  }

  private func checkFits(_ document: SnapshotDocument) throws(Failure) {
    if let most = folder.mostBytesOfFile(), document.sizeBytes > most {
      throw Failure(
        .copyPlace,
        "Snapshot \(document.id) has \(ByteCount.text(document.sizeBytes)), and a file on FAT holds 4 GB at most.",
        file: folder.path, howToClear: "Format the stick with exFAT or ext4.")
    }
    let needed = Self.needed(document)
    let available = try folder.availableBytes()
    guard available >= needed else {
      throw Failure(
        .noSpace,
        "There is too little space for a copy: \(ByteCount.text(needed)) are needed, \(ByteCount.text(available)) are free.",
        file: folder.path,
        howToClear: "Remove something from it, or let retention there keep less.")
    }
  }

  /// With the description, and what the file system itself needs.
  private static func needed(_ document: SnapshotDocument) -> Int64 {
    document.sizeBytes + 1 << 20
  }

  /// - Returns: the digest of what was read here.
  private func write(
    _ source: String, to partial: String, _ total: Int64, _ stop: StopSignal,
    _ progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> String {
    var hash = SHA256()
    var done: Int64 = 0
    var file = try folder.create(partial)
    try FileSystem.forEachChunk(of: source) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
      try stop.check()
      hash.update(bufferPointer: chunk)
      try file.append(chunk)
      done += Int64(chunk.count)
      progress("copy elsewhere", done, total)
    }
    try file.sync()
    return Fingerprint.hex(hash.finalize())
  }

  private func readBack(
    _ name: String, _ total: Int64, _ stop: StopSignal,
    _ progress: (_ step: String, _ done: Int64, _ total: Int64) -> Void
  ) throws(Failure) -> String {
    var hash = SHA256()
    var done: Int64 = 0
    try folder.forEachChunk(of: name) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
      try stop.check()
      hash.update(bufferPointer: chunk)
      done += Int64(chunk.count)
      progress("read back", done, total)
    }
    return Fingerprint.hex(hash.finalize())
  }

  private func describe(_ document: SnapshotDocument) throws(Failure) {
    let bytes = try JSON.encode(document, pretty: true)
    let partial = "\(document.id).json\(ending)"
    do throws(Failure) {
      var file = try folder.create(partial)
      try file.append(bytes)
      try file.sync()
      try folder.rename(partial, to: "\(document.id).json")
    } catch {
      try? folder.remove(partial)
      throw error
    }
    guard try folder.read("\(document.id).json", limit: ForeignSnapshot.mostBytes) == bytes else {
      throw Failure(
        .snapshotDamaged, "What \(folder.path) gives back is not what was written to it.",
        file: "\(folder.path)/\(document.id).json",
        howToClear: "Use another stick or disk: this one loses data.")
    }
  }

  private func isWhole(_ document: SnapshotDocument, _ stop: StopSignal) throws(Failure) -> Bool {
    try readBack("\(document.id).sqlite", document.sizeBytes, stop) { _, _, _ in }
      == document.sha256
  }

  /// Removes what retention no longer wants there; never the newest good one, nor what this chock has not put
  /// there.
  ///
  /// - Parameter good: copies that were just read back.
  /// - Returns: the ids that were removed.
  public func prune(
    _ retention: SnapshotStore.Retention, of there: [SnapshotDocument], knownGood good: Set<String>,
    stop: StopSignal, now: String = Timestamp.now()
  ) throws(Failure) -> [String] {
    let mine = there.filter { $0.copiedBy == owner }
    let local = try Self.own(store, database)
    let wanted = Self.kept(
      by: retention, of: local + mine, pinned: Set(local.filter(\.pinned).map(\.id)), now: now)
    let surplus = mine.filter { !wanted.contains($0.id) }
    return try remove(Array(surplus.reversed()), of: mine, knownGood: good, stop)
  }

  /// Removes as many of the oldest copies of this chock as make room for a newer snapshot.
  ///
  /// - Parameter count: so many of the newest stay, and what is pinned here, and the newest good one.
  /// - Returns: the ids that were removed; none where that would not be enough.
  public func makeRoom(
    for id: String, keeping count: Int, of there: [SnapshotDocument], knownGood good: Set<String>,
    stop: StopSignal
  ) throws(Failure) -> [String] {
    let wanted = try store.find(id).document
    let pinned = Set(try Self.own(store, database).filter(\.pinned).map(\.id))
    let mine = there.filter { $0.copiedBy == owner }
      .sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }
    var missing = Self.needed(wanted) - (try folder.availableBytes())
    var surplus: [SnapshotDocument] = []
    for document in mine.dropFirst(max(1, count)).reversed() where missing > 0 {
      guard !pinned.contains(document.id),
        (document.createdAt, document.id) < (wanted.createdAt, wanted.id)
      else { continue }
      surplus.append(document)
      missing -= document.sizeBytes
    }
    guard missing <= 0 else { return [] }
    return try remove(surplus, of: mine, knownGood: good, stop)
  }

  /// Removes copies, but for the newest good one of `mine`.
  private func remove(
    _ surplus: [SnapshotDocument], of mine: [SnapshotDocument], knownGood good: Set<String>,
    _ stop: StopSignal
  ) throws(Failure) -> [String] {
    guard !surplus.isEmpty else { return [] }
    // Looked for by its digest, and only when something is about to go.
    var newestGood: String?
    for document in mine where newestGood == nil && document.isComplete {
      let isGood =
        if good.contains(document.id) { true } else { try isWhole(document, stop) }
      if isGood { newestGood = document.id }
    }
    guard let newestGood else { return [] }
    var removed: [String] = []
    for document in surplus where document.id != newestGood {
      try folder.remove("\(document.id).sqlite")
      try folder.remove("\(document.id).json")
      removed.append(document.id)
    }
    if !removed.isEmpty { try folder.sync() }
    return removed
  }
}
