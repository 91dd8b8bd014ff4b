import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Updating

/// What is done with a small coach while calls fail or kill: each of chock's verbs that change files,
/// in the journal modes that an application may have chosen.
enum Scenario: String, CaseIterable, Sendable {
  case update
  case updateDelete = "update-delete"
  case updateInUse = "update-in-use"
  /// A statement fails in the live database, and everything before it is taken back.
  case failing
  /// Back by a rollback file, with an export of what goes.
  case rollback
  /// What it has taken out is put in again.
  case `import`
  /// With a VACUUM in the middle, which no transaction holds.
  case segments
  /// The last of them fails in the live database, and the snapshot is put back.
  case segmentsUndone = "segments-undone"
  case restore
  case restoreDelete = "restore-delete"
  case restoreInUse = "restore-in-use"
  /// The page size has changed since the snapshot, so the file is replaced.
  case restoreReplace = "restore-replace"
  /// The database cannot be read any more: its files are kept, the log included.
  case setAside = "set-aside"
  case take, prune
  /// Recovery of an update that died in the middle of its commit, and of one that died behind it.
  case recover
  case recoverDelete = "recover-delete"
  case recoverDone = "recover-done"
  /// The application is stopped, started, and found well.
  case application
  /// It is not well with the new state, and the snapshot is put back.
  case unhealthy
  /// What a restore took out is put in again, with the application down; and is written as files.
  case rescueApply = "rescue-apply"
  case rescueExport = "rescue-export"
  /// A leaf is damaged, and what can still be read becomes a snapshot.
  case salvage
  /// Everything of the owner's is erased, with the application down.
  case factory

  var journalMode: String {
    [.updateDelete, .restoreDelete, .recoverDelete].contains(self) ? "DELETE" : "WAL"
  }

  /// What runs and what does not; the units are those of ``SampleUnits``.
  var hasUnits: Bool { [.application, .unhealthy, .rescueApply, .factory].contains(self) }

  /// An application is connected all the time.
  var isInUse: Bool { [.updateInUse, .restoreInUse].contains(self) }

  /// In the coach's folder.
  static let export = "state/exports/rescued"

  /// What the owner has recorded.
  static let secret = "Lake Tahoe, site 12"

  /// What each call of the verb gets.
  func environment(of coach: TestCoach, _ shim: Shim?) -> [String: String] {
    var variables = shim?.environment(of: coach) ?? [:]
    if hasUnits { variables.merge(SampleUnits.environment(of: coach)) { $1 } }
    return variables
  }

  fileprivate static let base = """
    CREATE TABLE item (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    """

  fileprivate static let rows = """
    INSERT INTO item (body)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
    SELECT printf('%d ', i) || hex(zeroblob(500)) FROM n;
    """

  /// Makes the coach on which the verb is then run over and over, and finds out what an undisturbed run
  /// makes of it.
  func prepared() async throws -> Prepared {
    let coach = try TestCoach(
      migrations: ["0001_items.sql": Self.base, "0002_change.sql": Sample.update])
    try SampleDatabase.make(
      coach.database, Self.base + Self.rows, journalMode: journalMode)
    try Creation.adopt(
      coach.database, at: SchemaVersion("1") ?? .zero,
      catalog: try MigrationCatalog(directory: coach.migrations), run: "test",
      chockVersion: "test")
    let (image, arguments) = try await lead(coach)

    let start = try TestCoach(image)
    // What an interrupted update left is no state to come back to.
    let before = arguments == ["recover"] ? nil : try State(of: start)
    let undisturbed = try TestCoach(image)
    let shim = Shim()
    let answer: TestCoach.Answer
    do {
      let application = isInUse ? try ConnectedApplication(undisturbed) : nil
      defer { withExtendedLifetime(application) {} }
      answer = try await undisturbed.run(
        undisturbed.arguments(arguments), environment: environment(of: undisturbed, shim))
    }
    let calls = shim.calls(of: undisturbed)
    let isUndone = [Scenario.failing, .segmentsUndone, .recover, .recoverDelete, .unhealthy]
      .contains(self)
    guard calls > 0, answer.code == (isUndone ? 1 : 0) else {
      throw Failure(.inputOutput, "\(rawValue): \(calls) calls, \(answer)")
    }
    let after = try State(of: undisturbed)
    return Prepared(
      scenario: self, image: image, arguments: arguments, before: before ?? after, after: after,
      calls: calls, lastRun: start.lastRun?.id,
      rescued: try undisturbed.lastRun?.rescueCopy.map(undisturbed.print(ofSnapshot:)))
  }

  /// Brings the coach to where the verb begins.
  ///
  /// - Returns: the coach, and the verb.
  private func lead(_ coach: TestCoach) async throws -> (TestCoach.Image, [String]) {
    let arguments: [String]
    switch self {
    case .update, .updateDelete, .updateInUse: arguments = ["update", "--offline"]
    case .failing:
      let config = TestCoach.text(coach.configFile)
      try coach.folder.write("\(config)\n[update]\nrehearse = false\n", to: "chock.toml")
      try coach.folder.write(
        "\(Sample.update)\nINSERT INTO item (body) VALUES (NULL);",
        to: "migrations/0002_change.sql")
      arguments = ["update", "--offline"]
    case .rollback, .import:
      try coach.folder.write(
        "DROP TABLE note; DROP INDEX item_by_size; ALTER TABLE item DROP COLUMN size;",
        to: "migrations/0002_change.rollback.sql")
      _ = try await coach.run("update", "--offline")
      try SampleDatabase.change(
        coach.database, "INSERT INTO note (item_id, text) VALUES (1, 'recorded since')")
      let rollback = ["rollback", "--to", "1", "--offline", "--yes"]
      if self == .rollback {
        arguments = rollback
      } else {
        let run: RunDocument = try await coach.run(rollback + ["--json"]).document()
        _ = try await coach.run("update", "--offline")
        try SampleDatabase.change(coach.database, "DELETE FROM note")
        arguments = ["import", run.id, "--offline", "--yes"]
      }
    case .segments, .segmentsUndone:
      try coach.folder.write(
        "-- Transaction: none\nPRAGMA auto_vacuum = FULL;\nVACUUM;",
        to: "migrations/0003_vacuum.sql")
      try coach.folder.write(
        self == .segments ? "CREATE TABLE extra (a TEXT) STRICT;" : "SELECT broken;",
        to: "migrations/0004_last.sql")
      if self == .segmentsUndone {
        let config = TestCoach.text(coach.configFile)
        try coach.folder.write("\(config)\n[update]\nrehearse = false\n", to: "chock.toml")
      }
      arguments = ["update", "--offline"]
    case .application, .unhealthy:
      try SampleUnits.add(to: coach, isWell: self == .application)
      arguments = ["update", "--offline"]
    case .rescueApply, .rescueExport:
      let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
      try SampleDatabase.change(coach.database, "INSERT INTO item (body) VALUES ('recorded since')")
      let restored: RunDocument = try await coach.run(
        "restore", updated.snapshotId ?? "", "--offline", "--yes", "--json"
      ).document()
      let copy = restored.rescueCopy ?? ""
      if self == .rescueExport {
        arguments = ["rescue", "export", copy, "--to", "@/\(Self.export)"]
      } else {
        try SampleUnits.add(to: coach, isWell: true)
        arguments = ["rescue", "apply", copy, "--offline", "--yes"]
      }
    case .take: arguments = ["snapshots", "take", "--offline"]
    case .prune:
      for _ in 1...4 {
        _ = try await coach.run("snapshots", "take", "--offline")
      }
      let config = TestCoach.text(coach.configFile)
      try coach.folder.write("\(config)\n[snapshots]\nmax_total_bytes = 1\n", to: "chock.toml")
      arguments = ["snapshots", "prune"]
    case .restore, .restoreDelete, .restoreInUse, .restoreReplace:
      let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
      // Newer than what any snapshot holds.
      try SampleDatabase.change(
        coach.database, "INSERT INTO note (item_id, text) VALUES (1, 'recorded since')")
      if self == .restoreReplace {
        try SampleDatabase.change(
          coach.database,
          "PRAGMA journal_mode = DELETE; PRAGMA page_size = 8192; VACUUM; PRAGMA journal_mode = WAL"
        )
      }
      arguments = ["restore", updated.snapshotId ?? "", "--offline", "--yes"]
    case .setAside:
      let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
      let application = try ConnectedApplication(coach)
      try application.connection.execute(
        "INSERT INTO note (item_id, text) VALUES (1, 'only in the log')")
      try FileSystem.overwrite(coach.database, at: 4 * 4096, with: 0xff, count: 100)
      let image = try coach.image()
      withExtendedLifetime(application) {}
      return (image, ["restore", updated.snapshotId ?? "", "--offline", "--yes"])
    case .salvage:
      _ = try await coach.run("snapshots", "take", "--offline")
      try FileSystem.overwrite(coach.database, at: 4 * 4096, with: 0xff, count: 100)
      arguments = ["rescue", "salvage", "--offline"]
    case .factory:
      // It is in snapshots, one of them pinned, in a rescue copy, in an export, and in the log.
      let updated: RunDocument = try await coach.run("update", "--offline", "--json").document()
      try SampleDatabase.change(
        coach.database, "INSERT INTO item (body) VALUES ('\(Self.secret)')")
      let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
        .document()
      _ = try await coach.run("snapshots", "pin", taken.snapshotId ?? "")
      _ = try await coach.run("restore", updated.snapshotId ?? "", "--offline", "--yes")
      _ = try await coach.run("restore", taken.snapshotId ?? "", "--offline", "--yes")
      for name in ["exports/rescued/item.jsonl", "rescue/run/damaged.sqlite"] {
        try coach.folder.write(Self.secret, to: "state/\(name)")
      }
      try SampleUnits.add(to: coach, isWell: true)
      let application = try ConnectedApplication(coach)
      try application.connection.execute(
        "INSERT INTO item (body) VALUES ('\(Self.secret), again')")
      let image = try coach.image()
      withExtendedLifetime(application) {}
      return (image, ["recover", "--factory", "--yes", "--really-erase", "coach.db"])
    case .recover, .recoverDelete, .recoverDone: return (try await interrupted(coach), ["recover"])
    }
    return (try coach.image(), arguments)
  }

  /// An update that died, and its supervisor with it, when the change was half written, or was
  /// committed and not yet reported.
  private func interrupted(_ coach: TestCoach) async throws -> TestCoach.Image {
    let image = try coach.image()
    let counter = Shim(phase: .commit)
    _ = try await coach.run("update", "--offline", environment: counter.environment(of: coach))
    let calls = counter.calls(of: coach)
    var last: TestCoach.Image?
    for number in 1...max(1, calls) {
      let trial = try TestCoach(image)
      // Every process dies, so that nobody recovers it.
      let kill = Shim(.kill, at: [number], isSticky: true, phase: .commit)
      _ = try await trial.run("update", "--offline", environment: kill.environment(of: trial))
      try FileSystem.remove(trial.folder(Shim.counter))
      let interrupted = try trial.image()
      guard try trial.names(in: "state").contains("run.json") else { break }
      let isDone = try State(of: trial).version == "2"
      if isDone, self == .recoverDone { return interrupted }
      if isDone { break }
      // Right before the call that makes it new, and all before that call is there.
      last = interrupted
    }
    if let last, self != .recoverDone { return last }
    throw Failure(.inputOutput, "\(rawValue): no such interruption was found.")
  }
}

extension TestCoach {
  /// What a call gets: a name that begins with @ is one in this coach's folder.
  func arguments(_ arguments: [String]) -> [String] {
    arguments.map { $0.hasPrefix("@/") ? folder(String($0.dropFirst(2))) : $0 } + ["--json"]
  }

  func print(ofSnapshot id: String) throws -> String {
    try SampleDatabase.fingerprint("\(state)/snapshots/\(id).sqlite")
  }

  /// The newest run in the history.
  var lastRun: RunDocument? {
    (try? StateStore(stateFolder: state, chockVersion: "test").runs(limit: 1))?.first
      .flatMap { try? JSON.decode(RunDocument.self, from: Array($0.utf8)) }
  }

  /// What the next to open it reads when an application that has it open goes without a word: the index of
  /// the log goes with it. Copied by another process, since closing a file drops SQLite's locks.
  func fingerprintOnDisk() async throws -> String {
    let copy = try TemporaryFolder()
    let files = ["", "-wal", "-journal"].map { database + $0 }
      .filter { FileSystem.facts($0) != nil }
    _ = try await ChildProcess(
      "cp", files + [copy.path], output: "/dev/null", error: "/dev/null"
    ).ended()
    try SampleDatabase.change(copy("coach.db"), "PRAGMA user_version = 0")
    return try SampleDatabase.fingerprint(copy("coach.db"))
  }
}

extension FileSystem {
  /// Damages a file where it lies.
  static func overwrite(_ path: String, at offset: Int, with byte: UInt8, count: Int) throws {
    let file = open(path, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let bytes = [UInt8](repeating: byte, count: count)
    guard pwrite(file, bytes, count, offset) == count else {
      throw Failure(.inputOutput, "It could not be damaged.", file: path)
    }
  }
}

/// Three units of a machine whose `systemctl` stands in for systemd's: what is to run has a file, which outlives
/// every process as systemd does. The second one does not run.
enum SampleUnits {
  static let names = ["one.service", "two.service", "three.service"]

  private static let folder = Result { () throws(Failure) in
    let folder = try TemporaryFolder()
    // What it does itself is nobody's call to count.
    try folder.write(
      """
      #!/bin/sh
      unset LD_PRELOAD
      verb=$1
      for unit; do :; done
      case $verb in
      show)
        if [ -e "$SAMPLE_UNITS/$unit" ]; then active=active; else active=inactive; fi
        printf 'LoadState=loaded\\nActiveState=%s\\nSubState=x\\nNRestarts=0\\n' $active ;;
      start) touch "$SAMPLE_UNITS/$unit" ;;
      stop) rm -f "$SAMPLE_UNITS/$unit" ;;
      esac

      """, to: "systemctl")
    chmod(folder("systemctl"), 0o755)
    return folder
  }

  static func add(to coach: TestCoach, isWell: Bool) throws {
    for name in ["one.service", "three.service"] { try coach.folder.write("", to: "units/\(name)") }
    let list = names.map { "\"\($0)\"" }.joined(separator: ", ")
    let config = TestCoach.text(coach.configFile)
    try coach.folder.write(
      """
      \(config)
      [application]
      units = [\(list)]
      watch_hours = 0
      probation_seconds = 0
      unhealthy_seconds = 0
      interval_seconds = 1
      healthy_after = 1
      [[application.health]]
      kind = "command"
      command = ["\(isWell ? "true" : "false")"]
      """, to: "chock.toml")
  }

  static func environment(of coach: TestCoach) -> [String: String] {
    let path = (try? folder.get().path) ?? "/nonexistent"
    return ["SAMPLE_UNITS": coach.folder("units"), "PATH": "\(path):/usr/local/bin:/usr/bin:/bin"]
  }

  /// Those that run.
  static func running(in coach: TestCoach) -> [String] {
    names.filter { FileSystem.facts(coach.folder("units/\($0)")) != nil }
  }
}

/// An application that has the database open.
struct ConnectedApplication {
  let connection: Connection

  init(_ coach: TestCoach) throws {
    connection = try Connection(path: coach.database, mode: .readWrite)
    try connection.execute("SELECT count(*) FROM item")
  }
}

/// A coach as it is when everything has come to rest, and what may lie in its folder then.
struct State: Sendable, Equatable {
  var print: String
  var version: String?
  var journalMode: String?
  var snapshots: Int
  /// Of all files but chock's history, which grows with every run, and the snapshots. Of the database what its
  /// pages take: SQLite cuts a file that shrinks only behind the commit, and a kill there leaves it longer.
  var bytes: Int64

  /// Opens, writes and closes the database as its application would: SQLite empties its log then, and
  /// deletes the journal of a transaction that had changed nothing yet. Of one that is damaged the bytes
  /// count.
  init(of coach: TestCoach) throws {
    var pages: Int64?
    do {
      let application = try ConnectedApplication(coach)
      journalMode = try application.connection.text("PRAGMA journal_mode")
      print = try coach.fingerprint()
      version = try coach.ledgerVersion()
      // What the database itself says stays as it is.
      try application.connection.execute("PRAGMA user_version = 0")
      pages = try Database.bytes(application.connection)
    } catch  where Self.isDamage(error) {
      // But for the header, which counts commits.
      print = "damaged, \((try FileSystem.read(coach.database) ?? []).dropFirst(100).hashValue)"
    }
    let files = try coach.files().filter { $1.isRegular && $0 != Shim.counter }
    snapshots = files.count { $0.0.hasPrefix("state/snapshots/") && $0.0.hasSuffix(".sqlite") }
    bytes = files.filter { !$0.0.hasPrefix("state/state.db") && !$0.0.contains("/snapshots/") }
      .reduce(0) { $0 + ($1.0 == "coach.db" ? pages ?? $1.1.size : $1.1.size) }
  }

  private static func isDamage(_ error: any Error) -> Bool {
    (error as? Failure)?.code == .databaseCorrupt || (error as? SQLiteError)?.kind == .corrupt
  }
}

/// A coach to copy, a verb, and what an undisturbed run of it does.
struct Prepared: Sendable {
  let scenario: Scenario
  let image: TestCoach.Image
  let arguments: [String]
  let before: State
  let after: State
  /// How many calls an undisturbed run makes.
  let calls: Int
  /// With which run the history ends before.
  let lastRun: String?
  /// What its rescue copy holds.
  let rescued: String?

  /// What the database must hold when a run says that it ended so; nil when it must not say so.
  func state(saidBy outcome: Outcome) -> State? {
    switch (outcome, scenario) {
    case (.finished, .take), (.finished, .salvage), (.refused, _), (.rolledBack, _): before
    case (.finished, .factory): after
    case (.committed, .update), (.committed, .updateDelete), (.committed, .updateInUse),
      (.committed, .recoverDone), (.committed, .segments), (.committed, .rollback),
      (.committed, .import), (.committed, .application), (.committed, .rescueApply):
      after
    case (.restored, .restore), (.restored, .restoreDelete), (.restored, .restoreInUse),
      (.restored, .restoreReplace), (.restored, .setAside), (.restored, .unhealthy):
      after
    default: nil
    }
  }
}

/// How Tests/IOShim is told what to do.
struct Shim: Sendable {
  /// `hold` lets the thread wait that makes the call; `stop` stops the process.
  enum Deed: String, Sendable { case kill, stop, hold, eio, enospc }

  static let counter = "calls"
  var deed: Deed?
  var points: [Int]
  var isSticky: Bool
  var phase: Phase?
  /// Nothing but files of this name (or with a * at its end, of this beginning), and processes of this role.
  var file: String?
  var role: String?
  /// Bytes of the database that the storage cannot read.
  var unreadable: (offset: Int, count: Int)?

  init(_ deed: Deed? = nil, at points: [Int] = [], isSticky: Bool = false, phase: Phase? = nil) {
    self.deed = deed
    self.points = points
    self.isSticky = isSticky
    self.phase = phase
  }

  func environment(of coach: TestCoach) -> [String: String] {
    var variables = [
      "LD_PRELOAD": TestCoach.shim, "IO_SHIM_UNDER": coach.folder.path,
      "IO_SHIM_COUNTER": coach.folder(Self.counter),
    ]
    variables["IO_SHIM_DO"] = deed?.rawValue
    if !points.isEmpty { variables["IO_SHIM_AT"] = points.map(String.init).joined(separator: ",") }
    if isSticky { variables["IO_SHIM_FROM"] = "1" }
    variables["IO_SHIM_PHASE"] = phase?.rawValue
    variables["IO_SHIM_ONLY"] = file
    variables["IO_SHIM_ROLE"] = role
    variables["IO_SHIM_UNREADABLE"] = unreadable.map {
      "\(coach.database):\($0.offset):\($0.count)"
    }
    return variables
  }

  /// Lets a thread go on that is held.
  func release(_ coach: TestCoach) {
    let file = open(coach.folder(Self.counter), O_WRONLY | O_CLOEXEC)
    _ = withUnsafeBytes(of: UInt64(2).littleEndian) { pwrite(file, $0.baseAddress, $0.count, 8) }
    close(file)
  }

  private func number(_ index: Int, of coach: TestCoach) -> Int {
    let bytes = ((try? FileSystem.read(coach.folder(Self.counter))) ?? nil) ?? []
    guard bytes.count >= 24 else { return 0 }
    return bytes[(8 * index)..<(8 * index + 8)].reversed().reduce(0) { $0 << 8 | Int($1) }
  }

  /// How many calls all processes together have made.
  func calls(of coach: TestCoach) -> Int { number(0, of: coach) }

  /// At how many calls something was done.
  func faults(of coach: TestCoach) -> Int { number(2, of: coach) }

  /// The last call at which something was done, such as `write /.../coach.db`.
  func last(of coach: TestCoach) -> String {
    let bytes = ((try? FileSystem.read(coach.folder(Self.counter))) ?? nil) ?? []
    return String(decoding: bytes.dropFirst(24).prefix { $0 != 0 }, as: UTF8.self)
      .split(separator: coach.folder.path).joined()
  }
}
