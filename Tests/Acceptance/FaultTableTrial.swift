import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What a run is to do.
enum Story: CaseIterable, Sendable {
  case update, restore
  /// An update with a VACUUM in the middle, which no transaction holds.
  case segments
  /// The same, whose last statement fails: it is undone by the snapshot.
  case undo

  private static let rows = """
    INSERT INTO item (body)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
    SELECT printf('%d ', i) || hex(zeroblob(500)) FROM n;
    """
  fileprivate static let last = "CREATE TABLE extra (a TEXT) STRICT;\n"

  private static let config = """
    environment = "development"
    [coach]
    required_gates = ["parked"]
    """

  /// A coach to copy, the command, and what the database holds before, after and in between.
  struct Start: Sendable {
    var image: TestCoach.Image
    var arguments: [String]
    var old: String
    var new: String
    var between: String
    /// With which run the history ends.
    var lastRun: String?
  }

  private static let starts: [Story: Task<Start, any Error>] = Dictionary(
    uniqueKeysWithValues: allCases.map { story in (story, Task { try await story.made() }) })

  func start() async throws -> Start {
    guard let start = Self.starts[self] else { throw Failure(.notFound, "\(self)") }
    return try await start.value
  }

  private func made() async throws -> Start {
    var migrations = ["0001_items.sql": Sample.base, "0002_change.sql": Sample.update]
    if self == .segments || self == .undo {
      migrations["0003_vacuum.sql"] = "-- Transaction: none\nPRAGMA auto_vacuum = FULL;\nVACUUM;"
      migrations["0004_last.sql"] = self == .undo ? "SELECT broken;" : Self.last
    }
    let coach = try TestCoach(config: Self.config, migrations: migrations)
    try SampleDatabase.make(coach.database, Sample.base + Self.rows)
    try Creation.adopt(
      coach.database, at: SchemaVersion("1") ?? .zero,
      catalog: try MigrationCatalog(directory: coach.migrations), run: "test",
      chockVersion: "test")
    let first = try coach.fingerprint()
    var arguments = ["update", "--yes"]
    if self == .restore {
      let answer = try await coach.run(
        "update", "--offline", "--attest", "vehicle_speed=0", "--attest", "parking_brake=engaged",
        "--json")
      let snapshot = try #require(try answer.document(RunDocument.self).snapshotId)
      try SampleDatabase.change(
        coach.database, "INSERT INTO note (item_id, text) VALUES (1, 'recorded since')")
      arguments = ["restore", snapshot, "--yes"]
    }
    let folder = try TemporaryFolder()
    let between = folder("between.db")
    try SampleDatabase.make(between, Sample.base + Self.rows + Sample.change)
    let changed = try SampleDatabase.fingerprint(between)
    try SampleDatabase.change(between, Self.last)
    let all = try SampleDatabase.fingerprint(between)
    return Start(
      image: try coach.image(), arguments: arguments, old: try coach.fingerprint(),
      new: self == .restore ? first : self == .update ? changed : all, between: changed,
      lastRun: coach.lastRun?.id)
  }
}

extension FaultTable.Row {
  /// An error of the update itself comes where it is wanted only when the rehearsal has not found it.
  var skipsRehearsal: Bool {
    switch fault {
    case .error(.badStatement), .error(.badReference), .gate: [.apply, .verify].contains(phase)
    default: false
    }
  }

  /// The phases before as they are then.
  var way: [Phase] { before.filter { $0 != .rehearse || !skipsRehearsal } }

  /// The worker stands still, and what is done to it comes from here.
  var isFrozen: Bool {
    switch fault {
    case .daemonKilled, .gate, .error(.brokenFile), .error(.historyGone), .error(.snapshotGone),
      .error(.snapshotDamaged):
      true
    default: false
    }
  }

  /// Right before the next phase is journaled, so that it is that one in which it is noticed.
  var isAtEnd: Bool { [.gate, .enospc].contains(fault) && phase == .plan }

  /// At which call of the phase: the first syncs the journal that names it, and it is not yet published.
  var call: Int { story == .segments && phase == .apply ? 40 : isFrozen ? 1 : 2 }

  /// With which call the journal of the phase begins. Of several segments each is journaled before it is
  /// committed, with three calls.
  private var journalCall: Int { before.last == .apply && story != .update ? 7 : 1 }

  var shim: Shim {
    var shim: Shim
    switch fault {
    case .error where !isFrozen: shim = Shim()
    // Who is stopped and loses its parent gets a SIGHUP.
    case .daemonKilled: shim = Shim(.hold, at: [call], phase: phase)
    case .error, .gate, .hang: shim = Shim(.stop, at: [call], phase: phase)
    case .workerKilled: shim = Shim(.kill, at: [call], phase: phase)
    case .eio: shim = Shim(.eio, at: [call], isSticky: true, phase: phase)
    case .enospc: shim = Shim(.enospc, at: [call], isSticky: true, phase: phase)
    case .journal: shim = Shim(.eio, at: [journalCall], isSticky: true, phase: before.last)
    }
    if fault == .journal || isAtEnd { shim.file = "run.json.partial" }
    shim.role = "worker"
    return shim
  }
}

/// One row of the table, carried out on a copy of a coach.
struct FaultTrial {
  private let row: FaultTable.Row
  private let start: Story.Start
  private let coach: TestCoach

  init(_ row: FaultTable.Row) async throws {
    self.row = row
    start = try await row.story.start()
    coach = try TestCoach(start.image)
    try prepare()
  }

  private func prepare() throws {
    // A worker that stands still has not said yet in which phase it is: nobody is to wait for a gate.
    var config = TestCoach.text(coach.configFile) + "\n[update]\nwait_for_gates_seconds = 0\n"
    if row.skipsRehearsal || row.story == .undo { config += "rehearse = false\n" }
    if row.fault == .hang { config += "migration_timeout_seconds = 1\n" }
    try coach.folder.write(config, to: "chock.toml")
    let isSegmented = row.story == .segments
    let file = "migrations/\(isSegmented ? "0004_last" : "0002_change").sql"
    let update = isSegmented ? Story.last : Sample.update
    let endless = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
    switch (row.fault, row.phase) {
    case (.error(.badStatement), _):
      try coach.folder.write("\(update)\nINSERT INTO item (body) VALUES (NULL);", to: file)
    case (.error(.badReference), _):
      try coach.folder.write(
        "\(update)\nINSERT INTO note (item_id, text) VALUES (999, 'of no item');", to: file)
    case (.error(.damagedDatabase), _):
      // The head of a page of the table.
      try FileSystem.overwrite(coach.database, at: 4 * 4096, with: 0xff, count: 100)
    // It is stopped in the phase, however late it hears of it.
    case (.gate, .rehearse), (.gate, .apply):
      try coach.folder.write("\(update)\n\(endless) SELECT count(*) FROM n;", to: file)
    // The checks take a while, and it hears of it meanwhile.
    case (.gate, .verify):
      try coach.folder.write(
        """
        \(update)
        CREATE TABLE many (i INTEGER REFERENCES item (id)) STRICT;
        \(endless) INSERT INTO many SELECT i % 20 + 1 FROM n LIMIT 200000;
        """, to: file)
    default: break
    }
  }

  func run() async throws {
    let old = try print()
    let shim = row.shim
    var daemon = try await coach.serve(environment: shim.environment(of: coach))
    let first = daemon
    try daemon.put("vehicle_speed", "0")
    try daemon.put("parking_brake", "\"engaged\"")
    let client = try coach.start(start.arguments + ["--json"])
    if row.isFrozen { try await interfere(shim, daemon) }
    let answer = await client.answer()
    if shim.deed != nil { #expect(shim.faults(of: coach) > 0, "Nothing was done to it.") }

    // The fault has gone when the daemon comes back.
    let isOver = try !coach.names(in: "state").contains("run.json")
    if row.fault == .daemonKilled || (!isOver && row.outcome != .needsRecovery) {
      if row.fault != .daemonKilled { #expect(await daemon.stop() == .exited(0)) }
      daemon = try await coach.serve()
    }
    let mode = try daemon.status().mode
    #expect(await daemon.stop() == .exited(0))
    // A history that cannot be written does not know of the run.
    let history = coach.lastRun.flatMap { $0.id == start.lastRun ? nil : $0 }
    let run = try #require(history ?? (try? answer.document()), "\(answer)")
    try judge(run, answer, published: published(by: first), mode, old)
  }

  /// Does to the worker, or beside it, what the row says.
  private func interfere(_ shim: Shim, _ daemon: Daemon) async throws {
    // Nobody would find it any more.
    defer { shim.release(coach) }
    var found: JournalWatch.Frozen?
    try await waitUntil("the worker stands still") {
      guard shim.faults(of: coach) > 0,
        let worker = Processes.children(of: daemon.process.pid).first,
        shim.deed == .hold || Processes.state(of: worker) == "T"
      else { return false }
      found = JournalWatch.Frozen(worker: worker, phase: row.phase)
      return true
    }
    let frozen = try #require(found)
    defer { frozen.letGo() }
    let told = row.call > 1 || row.isAtEnd ? row.way + [row.phase] : row.way
    try await waitUntil("the daemon knows the phase") { published(by: daemon) == told }
    switch row.fault {
    case .daemonKilled:
      daemon.process.signal(SIGKILL)
      _ = await daemon.process.ended()
      shim.release(coach)
      try await waitUntil("the worker has gone") { !frozen.isRunning }
    case .gate:
      try daemon.put("parking_brake", "\"released\"")
      guard row.code == .gateClosed else { break }
      try await waitUntil("the worker is told to stop") { frozen.isTold }
    case .error(.brokenFile):
      try coach.folder.write("-- Nothing: known\nSELECT 1;", to: "migrations/0002_change.sql")
    case .error(.historyGone):
      try FileSystem.remove("\(coach.state)/state.db")
      try FileSystem.makeFolder("\(coach.state)/state.db")
    case .error(.snapshotGone):
      for name in try coach.names(in: "state/snapshots") {
        try FileSystem.remove("\(coach.state)/snapshots/\(name)")
      }
    case .error(.snapshotDamaged):
      let name = try coach.names(in: "state/snapshots").first { $0.hasSuffix(".sqlite") }
      let file = "\(coach.state)/snapshots/\(try #require(name))"
      var bytes = try #require(try FileSystem.read(file))
      bytes[bytes.count / 2] ^= 1
      try FileSystem.replace(file, with: bytes)
    default: break
    }
  }

  /// Each phase that the daemon has told its log and all who listen; a recovery goes on in the same.
  private func published(by daemon: Daemon) -> [Phase] {
    var phases: [Phase] = []
    for line in daemon.call.error.utf8.split(separator: UInt8(ascii: "\n")) {
      let words = line.split(separator: UInt8(ascii: " ")).map { String(Substring($0)) }
      guard words.contains("[Updating]"), words.count > 3, words[words.count - 2].hasSuffix(":"),
        let phase = words.last.flatMap(Phase.init(rawValue:)), phase != phases.last
      else { continue }
      phases.append(phase)
    }
    return phases
  }

  private func print() throws -> String {
    if row.fault == .error(.damagedDatabase) {
      return "\((try FileSystem.read(coach.database) ?? []).hashValue)"
    }
    return try coach.fingerprint()
  }

  private func judge(
    _ run: RunDocument, _ answer: TestCoach.Answer, published: [Phase],
    _ mode: StatusDocument.Mode, _ old: String
  ) throws {
    let store = SnapshotStore(stateFolder: coach.state, chockVersion: "test")
    let left = try store.list()
    let now = try print()
    let content = [FaultTable.Content.old: old, .new: start.new, .between: start.between]
    func words(
      _ phases: [Phase], _ outcome: Outcome?, _ code: Failure.Code?, _ isContent: Bool,
      _ left: [SnapshotDocument.Reason], _ exit: Int32?
    ) -> String {
      """
      \(phases.map(\.rawValue).joined(separator: " ")): \(outcome?.rawValue ?? "?") \
      \(code?.rawValue ?? "-"), \(isContent ? "\(row.content)" : "other content"), \
      \(left.map(\.rawValue).sorted()), exit \(exit ?? -1)
      """
    }
    let ended = words(
      run.phases.map(\.phase), run.outcome, run.error?.code, now == content[row.content],
      left.map(\.reason), answer.code)
    let wanted = words(row.way + row.chain, row.outcome, row.code, true, row.left, row.exit)
    #expect(ended == wanted, "\(run.error?.message ?? "")\n\(answer)")
    // The last phases may be those of another life of the daemon.
    #expect(
      (row.way + row.chain).starts(with: published) && published.starts(with: row.way),
      "\(published)")
    #expect(mode == (row.outcome == .needsRecovery ? .recovery : .normal))

    for snapshot in left where row.fault != .error(.snapshotDamaged) {
      #expect(
        try SampleDatabase.fingerprint("\(store.folder)/\(snapshot.id).sqlite")
          == snapshot.fingerprint)
    }
    guard row.outcome != .needsRecovery else { return }
    let files = try coach.files().filter { $1.isRegular }.map(\.0).filter {
      !$0.hasPrefix("migrations/")
        && ![
          "chock.toml", "coach.db", "coach.db-wal", "coach.db-shm", "state/lock", "state/state.db",
          "state/last-words.json", "state/event-numbers",
          Shim.counter,
        ].contains($0)
    }
    #expect(files.count == 2 * left.count, "\(files)")
  }
}
