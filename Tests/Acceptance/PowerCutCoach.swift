import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Updating

/// A coach on which one command of the real binary is recorded, and on whose disk the power is then cut
/// as often as one likes.
final class PowerCutCoach: Sendable {
  enum Kind: String, Sendable, CaseIterable {
    case update, restore
    /// A restore over a database of another page size: by a rename of the file.
    case replace
    case snapshot, prune
    /// The recovery after a power cut in an update: the power is cut again.
    case recovery
    /// An update whose worker is killed when its commit is written and not yet synced; what the recovery
    /// then says has to be true whatever a power cut takes.
    case killed
    /// An update with which the application is not well: the snapshot is put back.
    case unhealthy
    /// What a restore took out is put in again.
    case rescue
  }

  enum Mode: String, Sendable, CaseIterable {
    case wal, delete
    /// WAL, and the application has the database open.
    case connected
  }

  struct Scenario: Sendable, CustomStringConvertible {
    var kind: Kind
    var mode: Mode
    var description: String { "\(kind.rawValue)/\(mode.rawValue)" }
  }

  /// What the database holds when the command was undone or has not begun, and when it is done.
  struct Contents: Sendable {
    var undone: String
    var done: String
    /// What it has to hold from when a result was reported.
    var reported: String
    var versions: [String: String]
  }

  /// From which number of operations on something holds.
  struct Milestones: Sendable {
    var commitBegins = Int.max
    /// What was done is told as done from here on.
    var isReported = Int.max
    /// The run's journal is gone for good.
    var hasEnded = Int.max
    var run: String?
  }

  let scenario: Scenario
  /// From the durable state `start`, what the command did.
  let operations: [DiskOperation]
  private let start: Disk
  let coach: TestCoach
  private let outer: TemporaryFolder
  private let kept: [Int: String]
  let contents: Contents
  let milestones: Milestones
  /// The snapshots that were there at the start, and those at the end.
  let snapshots: (start: [SnapshotDocument], end: [SnapshotDocument])

  var root: String { outer("disk") }
  var database: String { coach.database }
  var store: SnapshotStore {
    SnapshotStore(stateFolder: coach.state, chockVersion: "test")
  }

  // MARK: Recording

  /// Few rows: a power cut is over every page, and a page more shows nothing new.
  private static let rows = """
    INSERT INTO item (body)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
    SELECT printf('%d ', i) || hex(zeroblob(1500)) FROM n;
    """
  /// What the application wrote last: of a WAL database it is in the log.
  private static let lastRow = "INSERT INTO item (body) VALUES ('written last');"
  private static let newerRow = "INSERT INTO note (item_id, text) VALUES (1, 'since the update');"

  private static let rescuedRow = "INSERT INTO item (body) VALUES ('since the update');"

  private static let unwell = """
    [application]
    mode = "read_only"
    watch_hours = 0
    probation_seconds = 0
    unhealthy_seconds = 0
    interval_seconds = 1
    [[application.health]]
    kind = "command"
    command = ["false"]
    """

  private static let pruning = """
    [snapshots]
    keep_at_least = 1
    max_total_bytes = 1
    """

  init(_ scenario: Scenario, seed: UInt64) async throws {
    self.scenario = scenario
    outer = try TemporaryFolder()
    let root = outer("disk")
    try FileSystem.makeFolder(root + "/data")
    coach = try TestCoach(
      // Written only into the config of the command that prunes: taking one would prune too.
      config: TestCoach.development,
      migrations: ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update],
      database: root + "/data/coach.db", state: root + "/state")
    let path = coach.database
    let journalMode = scenario.mode == .delete ? "DELETE" : "WAL"
    try SampleDatabase.make(path, Sample.base + Self.rows, journalMode: journalMode)
    try Creation.adopt(
      path, at: SchemaVersion("1") ?? .zero,
      catalog: try MigrationCatalog(directory: coach.migrations), run: "test",
      chockVersion: "test")
    try Self.write(Self.lastRow, path)
    let oldPrint = try Self.copyPrint(path, outer, then: "")
    let newPrint = try Self.copyPrint(path, outer, then: Sample.change)
    var contents = Contents(
      undone: oldPrint, done: newPrint, reported: newPrint,
      versions: [oldPrint: "1", newPrint: "2"])

    var arguments = ["update", "--offline", "--json"]
    var config: String?
    var kill: Int?
    switch scenario.kind {
    case .update: break
    case .unhealthy:
      let text = TestCoach.text(coach.configFile)
      try coach.folder.write(text + "\n" + Self.unwell, to: "chock.toml")
      contents.reported = oldPrint
    case .rescue:
      let updated: RunDocument = try await Self.succeed(coach, arguments).document()
      try Self.write(Self.rescuedRow, path)
      let restored: RunDocument = try await Self.succeed(
        coach, ["restore", updated.snapshotId ?? "", "--yes", "--offline", "--json"]
      ).document()
      contents.done = try Self.copyPrint(path, outer, then: Self.rescuedRow)
      contents.reported = contents.done
      contents.versions = [oldPrint: "1", contents.done: "1"]
      arguments = ["rescue", "apply", restored.rescueCopy ?? "", "--yes", "--offline", "--json"]
    case .restore, .replace:
      let updated = try await Self.succeed(coach, arguments)
      let run: RunDocument = try updated.document()
      if scenario.kind == .replace {
        try SampleDatabase.change(
          path,
          "PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = \(journalMode)"
        )
      }
      try Self.write(Self.newerRow, path)
      let newerPrint = try Self.copyPrint(path, outer, then: "")
      contents = Contents(
        undone: newerPrint, done: oldPrint, reported: oldPrint,
        versions: [newerPrint: "2", oldPrint: "1"])
      arguments = ["restore", run.snapshotId ?? "", "--yes", "--offline", "--json"]
    case .snapshot:
      arguments = ["snapshots", "take", "--offline", "--json"]
      (contents.done, contents.reported) = (oldPrint, oldPrint)
    case .prune:
      for _ in 0..<3 {
        _ = try await Self.succeed(coach, ["snapshots", "take", "--offline", "--json"])
      }
      try coach.folder.write(
        TestCoach.text(coach.configFile) + "\n" + Self.pruning, to: "prune.toml")
      config = coach.folder("prune.toml")
      arguments = ["snapshots", "prune", "--json"]
      (contents.done, contents.reported) = (oldPrint, oldPrint)
    case .recovery:
      // Where it is the database's turn to recover: the commit has begun.
      let update = try await PowerCutCoach(
        Scenario(kind: .update, mode: scenario.mode), coach, outer, arguments, config: nil,
        contents)
      var generator = SeededGenerator(seed: seed)
      let first = update.milestones.commitBegins
      let position = Int.random(in: first..<update.milestones.isReported, using: &generator)
      try update.write(
        PowerCut(position: position, loss: .random, seed: generator.next()))
      let print = try Self.copyPrint(path, outer, then: "")
      (contents.undone, contents.done, contents.reported) = (print, print, print)
      arguments = ["recover", "--json"]
    case .killed:
      let update = try await PowerCutCoach(
        Scenario(kind: .update, mode: scenario.mode), coach, outer, arguments, config: nil,
        contents)
      try update.write(PowerCut(position: 0, loss: .all, seed: seed))
      kill = update.lastSync
      // Who is connected knows nothing of a commit that is not yet in the index of the log.
      if scenario.mode == .connected { contents.reported = oldPrint }
    }
    (operations, start, kept, milestones, snapshots) = try await Self.record(
      scenario, coach, outer, arguments, config: config, kill: kill)
    self.contents = contents
  }

  /// Records on a coach that is there already.
  private init(
    _ scenario: Scenario, _ coach: TestCoach, _ outer: TemporaryFolder, _ arguments: [String],
    config: String?, _ contents: Contents
  ) async throws {
    (self.scenario, self.coach, self.outer, self.contents) = (scenario, coach, outer, contents)
    (operations, start, kept, milestones, snapshots) = try await Self.record(
      scenario, coach, outer, arguments, config: config)
  }

  private static func record(
    _ scenario: Scenario, _ coach: TestCoach, _ outer: TemporaryFolder, _ arguments: [String],
    config: String?, kill: Int? = nil
  ) async throws -> (
    [DiskOperation], Disk, [Int: String], Milestones,
    (start: [SnapshotDocument], end: [SnapshotDocument])
  ) {
    let store = SnapshotStore(stateFolder: coach.state, chockVersion: "test")
    let root = outer("disk")
    let before = try store.list()
    let start = try Disk(root)
    let vault = outer("kept-\(arguments[0])-\(kill ?? 0)")
    try FileSystem.makeFolder(vault)
    var kept: [Int: String] = [:]
    for (path, number) in start.filePaths {
      kept[number] = "\(vault)/\(number)"
      guard link(path, "\(vault)/\(number)") == 0 else {
        throw Failure(.inputOutput, "A second name could not be given.", file: path)
      }
    }
    let application =
      scenario.mode == .connected ? try Connection(path: coach.database, mode: .readWrite) : nil
    application?.keepLogOnClose()
    _ = try application?.integer("SELECT count(*) FROM item")
    let log = outer("log-\(arguments[0])-\(kill ?? 0)")
    var environment = DiskOperation.logging(to: log, under: outer.path)
    environment["IO_SHIM_LINKS"] = "1"
    if let kill {
      environment["IO_SHIM_COUNTER"] = outer("counter")
      environment["IO_SHIM_PHASE"] = Phase.commit.rawValue
      environment["IO_SHIM_DO"] = "kill"
      environment["IO_SHIM_AT"] = "\(kill)"
    }
    let answer = try await coach.run(arguments, environment: environment, config: config)
    withExtendedLifetime(application) {}
    // What a recovery reports depends on what it found.
    let isUnwell = scenario.kind == .unhealthy && answer.code == 1
    guard answer.code == 0 || arguments[0] == "recover" || kill != nil || isUnwell else {
      throw Failure(.inputOutput, "The command to record failed: \(arguments)\n\(answer)")
    }
    let operations = try DiskOperation.read(log, below: root)
    guard !operations.isEmpty else {
      throw Failure(.inputOutput, "Nothing was recorded: \(answer)", file: log)
    }
    return (
      operations, start, kept, try milestones(scenario, operations, start, coach),
      (start: before, end: try store.list())
    )
  }

  private struct JournalAnswer: Decodable {
    var phase: Phase
    var run: RunDocument
  }

  private static func milestones(
    _ scenario: Scenario, _ operations: [DiskOperation], _ start: Disk, _ coach: TestCoach
  ) throws -> Milestones {
    var (disk, milestones) = (start, Milestones())
    let journal = coach.state + "/run.json"
    var (isDone, isRemoved) = (false, false)
    for (index, operation) in operations.enumerated() {
      try disk.apply(operation)
      switch operation {
      case .rename(_, journal):
        let bytes = disk.content(of: journal) ?? []
        let written = try JSON.decode(JournalAnswer.self, from: bytes)
        milestones.run = written.run.id
        if written.phase == .commit {
          milestones.commitBegins = min(milestones.commitBegins, index + 1)
        }
        isDone = written.phase == .done
      case .unlink(journal): isRemoved = true
      case .syncFolder(coach.state):
        // A phase is published when its journal is durable; a result, when the journal is gone.
        if isRemoved { milestones.hasEnded = min(milestones.hasEnded, index + 1) }
        if isDone || isRemoved { milestones.isReported = min(milestones.isReported, index + 1) }
      default: break
      }
    }
    // A command without a journal has reported at its end.
    if milestones.run == nil {
      milestones.isReported = operations.count
      milestones.hasEnded = operations.count
    }
    return milestones
  }

  /// The number of the last sync of the commit, counted from its journal on: the log's, or the folder's after
  /// the rollback journal has gone.
  private var lastSync: Int {
    let data = FileSystem.parent(database)
    let commit = operations.indices.filter {
      milestones.commitBegins <= $0 && $0 < milestones.isReported
    }
    let last = commit.last {
      switch operations[$0] {
      case .sync(_, let path): path.hasPrefix(data)
      case .syncFolder(let path): path == data
      default: false
      }
    }
    return (last ?? 0) - milestones.commitBegins + 1
  }

  private static func succeed(_ coach: TestCoach, _ arguments: [String]) async throws
    -> TestCoach.Answer
  {
    let answer = try await coach.run(arguments)
    guard answer.code == 0 else { throw Failure(.inputOutput, "\(arguments): \(answer)") }
    return answer
  }

  /// As an application that leaves its log behind.
  private static func write(_ sql: String, _ path: String) throws {
    let connection = try Connection(path: path, mode: .readWrite)
    connection.keepLogOnClose()
    try connection.execute("PRAGMA wal_autocheckpoint = 0")
    try connection.execute(sql)
  }

  /// The fingerprint of a copy, after some SQL, found out without chock's engine; the original stays
  /// as it is, its log included.
  private static func copyPrint(
    _ path: String, _ outer: TemporaryFolder, then sql: String
  ) throws -> String {
    for suffix in ["", "-wal", "-journal"] {
      unlink(outer("copy.db\(suffix)"))
      guard let bytes = try FileSystem.read(path + suffix) else { continue }
      try FileSystem.replace(outer("copy.db\(suffix)"), with: bytes)
    }
    try SampleDatabase.change(outer("copy.db"), sql + ";SELECT 1")
    return try SampleDatabase.fingerprint(outer("copy.db"))
  }

  // MARK: Cutting

  /// Puts on the disk what the power cut leaves.
  @discardableResult
  func write(_ cut: PowerCut, lying: Bool = false) throws -> DiskImage {
    var disk = start
    for operation in operations.prefix(cut.position) {
      if lying, case .sync = operation { continue }
      try disk.apply(operation)
    }
    var generator = SeededGenerator(seed: cut.seed)
    let image = disk.image(after: cut.loss, using: &generator)
    try image.write(to: root, kept: kept)
    return image
  }

  /// The end, and then points right before and after syncs and changes of names, points while the commit
  /// is made, and any others; half of them with losses at random.
  func cuts(_ count: Int, seed: UInt64) -> [PowerCut] {
    var generator = SeededGenerator(seed: seed)
    var decisive: [Int] = []
    for (index, operation) in operations.enumerated() where operation.isDecisive {
      if decisive.last != index { decisive.append(index) }
      decisive.append(index + 1)
    }
    let commit =
      milestones.commitBegins < milestones.isReported
      ? Array(milestones.commitBegins...milestones.isReported) : []
    // What was reported when the power went has to be there, whatever is lost.
    var cuts = [PowerCut(position: operations.count, loss: .all, seed: generator.next())]
    while cuts.count < count {
      let kind = Int.random(in: 0..<5, using: &generator)
      let position =
        switch kind {
        case 0: Int.random(in: 0...operations.count, using: &generator)
        case 1...2 where !commit.isEmpty: commit.randomElement(using: &generator) ?? 0
        default: decisive.randomElement(using: &generator) ?? 0
        }
      let loss =
        Int.random(in: 0..<2, using: &generator) == 0
        ? .random : Loss.allCases.randomElement(using: &generator) ?? .all
      cuts.append(PowerCut(position: position, loss: loss, seed: generator.next()))
    }
    return cuts
  }

  func name(_ cut: PowerCut) -> String {
    let place =
      cut.position < operations.count ? "before \(operations[cut.position].words)" : "at the end"
    return
      "\(scenario)/\(cut.position)/\(cut.loss.rawValue)/\(cut.seed) (\(place), of \(operations.count))"
  }
}

/// A power cut after so many operations.
struct PowerCut: Sendable {
  var position: Int
  var loss: Loss
  var seed: UInt64
}

extension DiskOperation {
  /// For a report.
  var words: String {
    func name(_ path: String) -> String {
      path.split(separator: "/").last.map(String.init) ?? path
    }
    return switch self {
    case .create(_, let path): "create \(name(path))"
    case .makeFolder(let path): "mkdir \(name(path))"
    case .write(let id, let offset, let bytes): "write \(id) \(offset) \(bytes.count)"
    case .truncate(let id, let length): "truncate \(id) \(length)"
    case .sync(_, let path): "fsync \(name(path))"
    case .syncFolder(let path): "fsync \(name(path))/"
    case .rename(let from, let to): "rename \(name(from)) \(name(to))"
    case .link(let from, let to): "link \(name(from)) \(name(to))"
    case .unlink(let path): "unlink \(name(path))"
    }
  }
}
