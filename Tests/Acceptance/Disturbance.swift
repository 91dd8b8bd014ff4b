import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What is done to a coach beside its application, and how it has to end.
struct Disturbance: Sendable, CustomTestStringConvertible {
  enum Verb: String, Sendable {
    case update
    /// A statement fails in the live database.
    case rollBack = "an update that fails"
    /// With a VACUUM in the middle, which no transaction holds.
    case segments = "an update in segments"
    /// The same, whose last statement fails: it is undone by the snapshot.
    case undo = "an update in segments that fails"
    case restore
    /// Several, and retention removes all but the last.
    case snapshots
    /// The full check of the idle daemon.
    case check
  }

  /// Where the worker stands still before it is killed.
  enum Point: String, Sendable {
    /// A part of the change is in the log, or in the rollback journal.
    case apply
    case verify
    /// The last pages are about to be written.
    case commit
    /// VACUUM is done, and the ledger does not know of it.
    case betweenSegments = "between segments"
    /// The newer state is being copied.
    case rescue
    /// A part of the snapshot is in the database.
    case putBack = "put back"
    /// It is done, and nobody was told.
    case done
  }

  let verb: Verb
  var point: Point?
  var victim = Victim.both

  var testDescription: String {
    guard let point else { return verb.rawValue }
    return "\(verb.rawValue), \(victim) killed: \(point.rawValue)"
  }

  static let all: [Disturbance] =
    [.init(verb: .update), .init(verb: .rollBack)]
    + [Point.apply, .verify, .commit, .done].flatMap { point in
      [Victim.worker, .both].map { .init(verb: .update, point: point, victim: $0) }
    } + [
      .init(verb: .segments),
      .init(verb: .segments, point: .betweenSegments),
      .init(verb: .undo),
      .init(verb: .undo, point: .rescue),
      .init(verb: .undo, point: .putBack),
      .init(verb: .undo, point: .done),
      .init(verb: .restore),
      .init(verb: .restore, point: .rescue),
      .init(verb: .restore, point: .putBack),
      .init(verb: .restore, point: .done),
      .init(verb: .snapshots),
      .init(verb: .check),
    ]

  static let withRollbackJournal: [Disturbance] = [
    .init(verb: .update), .init(verb: .rollBack),
    .init(verb: .update, point: .commit),
    .init(verb: .segments),
    .init(verb: .undo),
    .init(verb: .undo, point: .done),
    .init(verb: .restore),
    .init(verb: .restore, point: .putBack),
    .init(verb: .snapshots),
  ]

  // MARK: How it ends

  /// Nil: it is no run that would end.
  var outcome: Outcome? {
    switch (verb, point) {
    case (.update, nil), (.update, .done), (.segments, nil): .committed
    case (.restore, nil), (.restore, .done): .restored
    case (.restore, _): .refused
    case (.snapshots, _): .finished
    case (.check, _): nil
    default: .rolledBack
    }
  }

  /// Only then something newer was overwritten.
  var isRescued: Bool {
    outcome == .restored || (outcome == .rolledBack && [.segments, .undo].contains(verb))
  }

  var versionBefore: String { verb == .restore ? "6" : "3" }

  var versionAfter: String {
    switch (verb, outcome) {
    case (.segments, .committed): "8"
    case (.update, .committed), (.restore, .refused): "6"
    default: "3"
    }
  }

  /// Each segment is committed by itself.
  var versionsBetween: [String] { [.segments, .undo].contains(verb) ? ["6", "7"] : [] }

  // MARK: The coach

  private static let vacuum = """
    -- Description: Give free pages back to the disk
    -- Transaction: none
    VACUUM;
    -- Without a lock: the application writes.
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500000)
    SELECT count(*) FROM n;
    """

  /// A coach on which the verb can begin.
  func coach(_ journalMode: String) async throws -> TestCoach {
    let coach = try TestCoach(
      try await SampleCoachImage.made(journalMode, isUpdated: verb == .restore))
    if [.segments, .undo].contains(verb) {
      let last = verb == .undo ? "SELECT broken;" : "CREATE TABLE extra (a TEXT) STRICT;"
      try coach.folder.write(Self.vacuum, to: "migrations/0007_vacuum.sql")
      try coach.folder.write(last, to: "migrations/0008_last.sql")
    }
    if verb == .rollBack {
      try coach.folder.write(
        "UPDATE trips SET title = 'changed';\nINSERT INTO no_such_table VALUES (1);",
        to: "migrations/0007_bad.sql")
    }
    var config = TestCoach.text(coach.configFile)
    // What the rehearsal would find out has to happen in the database itself.
    if verb == .rollBack || verb == .undo { config += "\n[update]\nrehearse = false" }
    if verb == .snapshots { config += "\n[snapshots]\nmax_total_bytes = 1" }
    if verb == .check { config += "\n[integrity]\nidle_minutes = 0" }
    try coach.folder.write(config, to: "chock.toml")
    return coach
  }

  /// Stops the worker at the point.
  func shim(_ journalMode: String) -> Shim {
    let isWAL = journalMode == "WAL"
    var (phase, file, call) = (Phase.apply, nil as String?, 1)
    switch point {
    case nil: return Shim()
    case .apply: (file, call) = (isWAL ? "coach.db-wal" : "coach.db-journal", 40)
    case .verify: phase = .verify
    case .commit: (phase, file, call) = (.commit, isWAL ? "coach.db-wal" : "coach.db", 1)
    // The journal is written three times before.
    case .betweenSegments: (file, call) = ("run.json.partial", 10)
    case .rescue: (phase, call) = (.restore, 60)
    case .putBack: (phase, file, call) = (.restore, isWAL ? "coach.db-wal" : "coach.db", 5)
    case .done: (phase, file) = (commitPhase, "state.db-journal")
    }
    var shim = Shim(.stop, at: [call], phase: phase)
    shim.file = file
    shim.role = "worker"
    return shim
  }

  private var commitPhase: Phase { verb == .undo ? .restore : .commit }
}

/// The sample coach of `make run`, smaller: at version 3, or updated to 6. It is made once.
private actor SampleCoachImage {
  private static let shared = SampleCoachImage()
  private var tasks: [String: Task<TestCoach.Image, any Error>] = [:]

  static func made(_ journalMode: String, isUpdated: Bool) async throws -> TestCoach.Image {
    try await shared.made(journalMode, isUpdated).value
  }

  private func made(
    _ journalMode: String, _ isUpdated: Bool
  ) -> Task<TestCoach.Image, any Error> {
    let key = "\(journalMode) \(isUpdated)"
    let task = tasks[key] ?? Task { try await Self.make(journalMode, isUpdated) }
    tasks[key] = task
    return task
  }

  private static func make(_ journalMode: String, _ isUpdated: Bool) async throws -> TestCoach.Image
  {
    let coach = try TestCoach()
    let (migrations, script) = ("migrations", "Tests/SampleCoach/make-sample-coach.sh")
    // Those that rebuild and backfill the tables that the application writes to.
    for name in try FileSystem.names(in: "\(SampleApplication.folder)/\(migrations)")
    where name < "0007" {
      let text = TestCoach.text("\(SampleApplication.folder)/\(migrations)/\(name)")
      try coach.folder.write(text, to: "\(migrations)/\(name)")
    }
    let made = try SampleApplication.tool(
      "sh", ["\(SampleApplication.folder)/\(script)", coach.database, "2", "3"], coach)
    #expect(await made.ended() == .exited(0), "\(TestCoach.text(coach.folder("tool-err")))")
    try SampleDatabase.change(coach.database, "PRAGMA journal_mode = \(journalMode)")
    #expect(try await coach.run("adopt", "--at", "3").code == 0)
    let verb = isUpdated ? ["update"] : ["snapshots", "take"]
    let answer = try await coach.run(verb + ["--offline"])
    #expect(answer.code == 0, "\(answer)")
    return try coach.image()
  }
}
