public import Migrations
public import Storage

/// What restores have kept of the newer states that they replaced.
public struct RescueCopies: Sendable {
  let settings: UpdateSettings
  let store: SnapshotStore
  let history: StateStore

  public init(settings: UpdateSettings) {
    self.settings = settings
    store = SnapshotStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
    history = StateStore(stateFolder: settings.stateDirectory, chockVersion: Chock.version)
  }

  /// Of a copy that can be compared, and of files that were set aside because they could not be read.
  public func list() throws(Failure) -> RescueCopiesDocument {
    var copies: [RescueCopy] = []
    for copy in try store.list() where Self.reasons.contains(copy.reason) {
      copies.append(RescueCopy(copy: copy, snapshot: snapshot(before: copy)))
    }
    var setAside: [RescueCopiesDocument.SetAside] = []
    let folder = FileSystem.parent(settings.rescueFolder(of: "x"))
    for run in try FileSystem.names(in: folder) {
      let files = try FileSystem.names(in: "\(folder)/\(run)")
      guard !files.isEmpty else { continue }
      setAside.append(.init(run: run, folder: "\(folder)/\(run)", files: files))
    }
    return RescueCopiesDocument(copies: copies, setAside: setAside)
  }

  private static let reasons: [SnapshotDocument.Reason] = [.beforeRestore, .salvage]

  /// One of them.
  ///
  /// - Throws: `.notFound`, `.notAllowed` for the copy of another database.
  public func find(_ id: String) throws(Failure) -> (path: String, copy: RescueCopy) {
    let (path, document) = try store.find(id)
    guard Self.reasons.contains(document.reason) else {
      throw Failure(
        .notAllowed, "Snapshot \(id) is no rescue copy: it was not taken before a restore.",
        howToClear:
          "`chock rescue list` shows those there are; `chock restore` puts any snapshot back."
      )
    }
    try document.checkBelongs(to: settings.databasePath)
    return (path, RescueCopy(copy: document, snapshot: snapshot(before: document)))
  }

  /// The main file of the damaged database that this run set aside.
  ///
  /// - Throws: `.notFound`; the run is looked up, never joined into a path.
  func setAside(by run: String) throws(Failure) -> String {
    guard let found = try list().setAside.first(where: { $0.run == run }),
      found.files.contains(Restorer.damagedFile)
    else {
      throw Failure(
        .notFound, "No files were set aside by run \(run).",
        howToClear: "`chock rescue list` shows those there are.")
    }
    return "\(found.folder)/\(Restorer.damagedFile)"
  }

  /// How many rows it has otherwise than the snapshot that was put back, and how many that the database has not.
  ///
  /// - Throws: `.notFound`, `.notAllowed`; what is wrong with a file; the stop that was requested.
  public func show(_ id: String, stop: StopSignal = StopSignal()) throws(Failure) -> RescueDocument
  {
    var document = try compare(id, stop: stop)
    document.missing = try missing(of: id, stop: stop)
    return document
  }

  /// The same without what the database has.
  func compare(_ id: String, stop: StopSignal) throws(Failure) -> RescueDocument {
    let (path, rescue) = try find(id)
    let comparison = try Comparer(before: try base(of: rescue), after: path, stop: stop).run()
    return RescueDocument(
      rescue: rescue, baseVersion: try baseVersion(of: rescue), tables: comparison.tables,
      sameTables: comparison.sameTables)
  }

  /// - Returns: nil while the database cannot be read: then nobody can say.
  func missing(of id: String, stop: StopSignal) throws(Failure) -> Int64? {
    let (path, _) = try find(id)
    do throws(Failure) {
      return try Comparer(before: settings.databasePath, after: path, stop: stop).run().tables
        .reduce(0) { $0 + $1.added }
    } catch {
      try stop.check()
      return nil
    }
  }

  /// Writes what it has otherwise as files. Who had it done is in the audit.
  ///
  /// - Parameters:
  ///   - folder: made, or empty.
  ///   - person: who asked for it.
  /// - Throws: what ``RescueExport/write(before:after:to:copy:snapshot:mayBeDamaged:stop:)`` throws; `.notFound`,
  ///   `.notAllowed`.
  public func export(
    _ id: String, to folder: String, by person: String, stop: StopSignal = StopSignal()
  ) throws(Failure) -> RescueExport.Document {
    let (path, rescue) = try find(id)
    let base = try base(of: rescue)
    try history.append(
      AuditEntry(
        .exportRescue, of: settings.databasePath, accepted: id, reason: "to take its rows along",
        actor: person))
    return try RescueExport.write(
      before: base, after: path, to: folder, copy: id, snapshot: rescue.snapshot,
      mayBeDamaged: rescue.copy.mayBeDamaged, stop: stop)
  }

  /// The same in the state folder, in place of an older one.
  func exportForDownload(
    _ id: String, by person: String, stop: StopSignal
  ) throws(Failure) -> RescueExport.Document {
    let (_, rescue) = try find(id)
    let folder = settings.rescueExportFolder(of: id)
    let partial = folder + ".partial"
    try FileSystem.removeAll(partial)
    // As text, and as SQL.
    try FileSystem.makeFolder(settings.exportsFolder)
    try Space.check([
      Space.Need(rescue.copy.sizeBytes * 3, at: settings.exportsFolder, for: "the export")
    ])
    do throws(Failure) {
      var document = try export(id, to: partial, by: person, stop: stop)
      document.folder = folder
      try FileSystem.replace(
        "\(partial)/\(RescueExport.documentName)", with: try JSON.encode(document, pretty: true))
      try FileSystem.removeAll(folder)
      try FileSystem.rename(partial, to: folder)
      return document
    } catch {
      try? FileSystem.removeAll(partial)
      throw error
    }
  }

  func exportedFile(_ name: String, of id: String) throws(Failure) -> String {
    _ = try find(id)
    let folder = settings.rescueExportFolder(of: id)
    guard let bytes = try FileSystem.read("\(folder)/\(RescueExport.documentName)"),
      let document = try? JSON.decode(RescueExport.Document.self, from: bytes)
    else {
      throw Failure(
        .notFound, "The rescue copy \(id) has not been exported.",
        howToClear: "Export it first: POST /api/database/rescue/\(id)/export.")
    }
    guard document.files.contains(name) else {
      throw Failure(
        .notFound, "There is no such file in the export.",
        howToClear: "There are: \(document.files.joined(separator: ", ")).")
    }
    return "\(folder)/\(name)"
  }

  /// The file of the state that it is compared with: the snapshot that was put back, else the database.
  public func base(of copy: RescueCopy) throws(Failure) -> String {
    guard let id = copy.snapshot else { return settings.databasePath }
    return try store.find(id).path
  }

  /// The version of that state; nil when it is not known.
  private func baseVersion(of copy: RescueCopy) throws(Failure) -> String? {
    try LedgerTable.read(try Database.open(try base(of: copy)))?.current.description
  }

  /// The snapshot that the restore put back, if the history knows it and it is still there.
  private func snapshot(before copy: SnapshotDocument) -> String? {
    guard let run = copy.run, let text = (try? history.run(run)).flatMap({ $0 }),
      let document = try? JSON.decode(RunDocument.self, from: Array(text.utf8)),
      let snapshot = copy.reason == .salvage
        ? document.salvage?.comparedWith : document.snapshotId,
      document.rescueCopy == copy.id || copy.reason == .salvage
    else { return nil }
    return (try? store.find(snapshot)) == nil ? nil : snapshot
  }
}

/// A rescue copy, and the snapshot whose restore it was taken before; of a salvage, the good one that it is compared
/// with.
public struct RescueCopy: Codable, Sendable, Equatable {
  public var copy: SnapshotDocument
  /// Nil when it is gone, or nobody knows it.
  public var snapshot: String?
}

/// `chock rescue list --json`.
public struct RescueCopiesDocument: Codable, Sendable, Equatable {
  public var schema = "chock.RESCUES/1"
  public var copies: [RescueCopy]
  /// The files of databases that could not be read.
  public var setAside: [SetAside]

  public struct SetAside: Codable, Sendable, Equatable {
    public var run: String
    public var folder: String
    public var files: [String]
  }
}

/// `chock rescue show --json`, `GET /api/database/rescue/{id}`.
public struct RescueDocument: Codable, Sendable, Equatable {
  public var schema = "chock.RESCUE/1"
  public var rescue: RescueCopy
  /// Of what it is compared with; nil when it is not known.
  public var baseVersion: String?
  /// What differs: `before` is the snapshot that was put back, `after` the copy.
  public var tables: [TableDifference]
  public var sameTables: Int
  /// Rows of the copy that the database has not, over all tables; nil when nobody can tell.
  public var missing: Int64?
}

/// What is in the database and not in a snapshot: `GET /api/database/restore/{id}`. It goes when that is put back,
/// into a rescue copy.
public struct LossDocument: Codable, Sendable, Equatable {
  public var schema = "chock.LOSS/1"
  public var snapshotId: String
  public var snapshotVersion: String?
  public var takenAt: String
  public var currentVersion: String?
  /// Rows over all tables: recorded since, changed since, and deleted since, which come back.
  public var added: Int64
  public var changed: Int64
  public var deleted: Int64
  /// Those that differ: `before` is the snapshot, `after` the database.
  public var tables: [TableDifference]
  public var sameTables: Int

  /// Compares; reads every row of both.
  ///
  /// - Throws: what is wrong with one of the two; the stop that was requested.
  init(_ settings: UpdateSettings, _ path: String, _ snapshot: SnapshotDocument, stop: StopSignal)
    throws(Failure)
  {
    let comparison = try Comparer(before: path, after: settings.databasePath, stop: stop).run()
    snapshotId = snapshot.id
    snapshotVersion = snapshot.version
    takenAt = snapshot.createdAt
    currentVersion = try LedgerTable.read(try Database.open(settings.databasePath))?.current
      .description
    tables = comparison.tables
    sameTables = comparison.sameTables
    added = tables.reduce(0) { $0 + $1.added }
    changed = tables.reduce(0) { $0 + $1.changed }
    deleted = tables.reduce(0) { $0 + $1.deleted }
  }
}
