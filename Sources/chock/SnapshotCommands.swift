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
    ],
    defaultSubcommand: List.self)

  static func line(_ snapshot: SnapshotDocument) -> String {
    let version = snapshot.version.map { "version \($0)" } ?? "not adopted"
    return
      "\(snapshot.id)  \(version)  \(ByteCount.text(snapshot.sizeBytes))  \(snapshot.reason.rawValue)"
      + (snapshot.pinned ? "  pinned" : "")
  }

  private struct Removed: Encodable {
    var schema: String
    var removed: [String]
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The snapshots, newest first.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let snapshots = try await session.lookingEngine().snapshots()
        try session.output.result(
          SnapshotsDocument(snapshots: snapshots),
          snapshots.isEmpty ? ["No snapshot yet."] : snapshots.map(SnapshotsCommand.line))
        return 0
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
    @Argument(help: "The id; else all.") var id: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let engine = try await session.runningEngine(offline: offline)
        var ids = [id].compactMap { $0 }
        if ids.isEmpty { ids = try await engine.snapshots().map(\.id) }
        var worst: Int32 = 0
        for id in ids {
          worst = max(worst, try await session.run(.verify(id), on: engine, kind: .verify))
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
