public import Migrations
public import Storage

/// A place for copies of snapshots, and how it stands there: in `GET /api/database/backups` with what lies there, in
/// the status without.
public struct CopyPlaceDocument: Codable, Sendable, Equatable {
  /// Its label or path, as the config names it.
  public var place: String
  public var isCopying: Bool
  /// When a snapshot was last copied there and read back, and which; nil: never.
  public var lastCopyAt: String?
  public var lastCopyId: String?
  /// Nil also when the clock says that it is still to come.
  public var lastCopyAgeSeconds: Double?
  /// When it was last tried.
  public var attemptedAt: String?
  /// Why that did not succeed.
  public var problem: Failure?
  /// When chock last saw what lies there.
  public var seenAt: String?
  /// What lay there then, newest first, of whomever.
  public var snapshots: [SnapshotDocument]?
}

/// `copies.json`: what chock remembers of the places for copies. Losing it loses no copy; but what was copied before
/// is then nobody's to remove.
struct CopiesState: Codable, Sendable {
  struct Place: Codable, Sendable {
    var name: String
    var lastCopyAt: String?
    var lastCopyId: String?
    var attemptedAt: String?
    var problem: Failure?
    /// Something may have been left half done.
    var isUnfinished = false
    var seenAt: String?
    var snapshots: [SnapshotDocument] = []
  }

  /// Which chock this is, for places that several share.
  var controller = String(UInt64.random(in: (1 << 60)...UInt64.max), radix: 16)
  private var places: [Place] = []

  subscript(name: String) -> Place {
    get { places.first { $0.name == name } ?? Place(name: name) }
    set { places = places.filter { $0.name != name } + [newValue] }
  }

  /// Where copies may be.
  var names: [String] { places.map(\.name) }

  private static func path(_ stateDirectory: String) -> String { stateDirectory + "/copies.json" }

  static func read(_ stateDirectory: String) -> CopiesState {
    guard let bytes = (try? FileSystem.read(path(stateDirectory))) ?? nil,
      let state = try? JSON.decode(CopiesState.self, from: bytes)
    else { return CopiesState() }
    return state
  }

  func write(_ stateDirectory: String) throws(Failure) {
    try FileSystem.replace(Self.path(stateDirectory), with: try JSON.encode(self, pretty: true))
  }
}
