import ArgumentParser
import ControlServer
import Migrations
import Storage
import Updating

struct SnapshotsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshots", abstract: "Lists, takes, checks and removes snapshots.",
    subcommands: [
      List.self, Take.self, Verify.self, Pin.self, Unpin.self, Delete.self, Prune.self,
      Copy.self,
    ],
    defaultSubcommand: List.self)

  static func line(_ snapshot: SnapshotDocument) -> String {
    let version = snapshot.version.map { "version \($0)" } ?? "not adopted"
    return
      "\(snapshot.id)  \(version)  \(ByteCount.text(snapshot.sizeBytes))  \(snapshot.reason.rawValue)"
      + (snapshot.pinned ? "  pinned" : "") + (snapshot.damage == nil ? "" : "  damaged")
  }

  /// A place, and what lies there.
  static func lines(_ place: CopyPlaceDocument) -> [String] {
    let seen = place.seenAt.map { " (seen \($0))" } ?? ""
    let there = (place.snapshots ?? []).map { "  \(place.place):\(line($0))" }
    return ["At \(place.place)\(seen):\(there.isEmpty ? " nothing that chock knows of." : "")"]
      + there + (place.problem.map { ["  \($0.message) [\($0.code.rawValue)]"] } ?? [])
  }

  private struct Found: Encodable {
    var schema = "chock.COPIES/1"
    var place: String
    var snapshots: [SnapshotDocument]
  }

  private struct Removed: Encodable {
    var schema: String
    var removed: [String]
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The snapshots, newest first, and the copies elsewhere.")
    @OptionGroup var globals: Globals
    @Option(
      help: ArgumentHelp(
        "Look what copies there are at a place now: the label of a stick, or a path.",
        valueName: "place"))
    var from: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        if let from { return try await look(from, session) }
        let engine = try await session.lookingEngine()
        let snapshots = try await engine.snapshots()
        let copies = try await engine.copies()
        try session.output.result(
          SnapshotsDocument(snapshots: snapshots, copies: copies),
          (snapshots.isEmpty ? ["No snapshot yet."] : snapshots.map(SnapshotsCommand.line))
            + copies.flatMap(SnapshotsCommand.lines))
        return 0
      }
    }

    /// In this process: whoever calls may be able to mount what the daemon cannot.
    private func look(_ place: String, _ session: Session) async throws(Failure) -> Int32 {
      let engine = LocalEngine(updater: session.localUpdater(), approvals: 1)
      let started = try await engine.updater.startFetch(
        of: nil, from: place, isAnyPlace: true, requestedBy: Session.user)
      let run = try await session.ended(started.id, on: engine)
      if let error = run.error { throw error }
      let found = await engine.updater.found(by: run.id)
      try session.output.result(
        Found(place: place, snapshots: found),
        found.isEmpty
          ? ["There are no copies of snapshots at \(place)."]
          : found.map { "\(place):\(SnapshotsCommand.line($0))" })
      return 0
    }
  }

  struct Copy: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "copy",
      abstract: "Copies what is missing, or one snapshot, to each place that the config names.")
    @OptionGroup var globals: Globals
    @Flag(help: "Without a daemon.") var offline = false
    @Argument(help: "The id; else all that are missing there.") var id: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.run(
          .copy(id), on: try await session.runningEngine(offline: offline), kind: .copy)
      }
    }
  }

  struct Take: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "take", abstract: "Takes a verified snapshot now.")
    @OptionGroup var globals: Globals
    @Flag(help: "Without a daemon.") var offline = false

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.run(
          .snapshot, on: try await session.runningEngine(offline: offline), kind: .snapshot)
      }
    }
  }

  struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "verify",
      abstract: "Reads a snapshot and compares it with its digest; else all of them.")
    @OptionGroup var globals: Globals
    @Flag(help: "Without a daemon.") var offline = false
    @Flag(help: "Also restore it into a file of its own beside the database, for a test.")
    var restore = false
    @Argument(help: "The id; else all.") var id: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let engine = try await session.runningEngine(offline: offline)
        var ids = [id].compactMap { $0 }
        if ids.isEmpty { ids = try await engine.snapshots().map(\.id) }
        var worst: Int32 = 0
        for id in ids {
          worst = max(
            worst,
            try await session.run(.verify(id, restore: restore), on: engine, kind: .verify))
        }
        return worst
      }
    }
  }

  struct Pin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "pin", abstract: "Keeps a snapshot from retention.")
    @OptionGroup var globals: Globals
    @Argument var id: String

    func run() async throws { try await globals.setPinned(true, id) }
  }

  struct Unpin: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "unpin", abstract: "Gives a snapshot back to retention.")
    @OptionGroup var globals: Globals
    @Argument var id: String

    func run() async throws { try await globals.setPinned(false, id) }
  }

  struct Delete: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "delete", abstract: "Removes a snapshot.")
    @OptionGroup var globals: Globals
    @Argument var id: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.lookingEngine().deleteSnapshot(id)
        try session.output.result(
          Removed(schema: "chock.DELETED/1", removed: [id]), ["Removed \(id)."])
        return 0
      }
    }
  }

  struct Prune: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "prune",
      abstract: "Removes what retention no longer wants; never the newest good one.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let removed = try await session.localUpdater().prune()
        try session.output.result(
          Removed(schema: "chock.PRUNED/1", removed: removed),
          removed.isEmpty ? ["Nothing to remove."] : removed.map { "Removed \($0)." })
        return 0
      }
    }
  }
}

extension Globals {
  fileprivate func setPinned(_ pinned: Bool, _ id: String) async throws {
    try await session { session throws(Failure) in
      let snapshot = try await session.lookingEngine().setPinned(pinned, snapshot: id)
      try session.output.result(snapshot, [SnapshotsCommand.line(snapshot)])
      return 0
    }
  }
}
