import Authoring
import Coach
import FoundationEssentials
import Migrations
import SQLite
import Storage
import Updating

// What is in the file for support.
extension Diagnosis {
  private static let historyBytes = 3_000_000

  /// In the order in which they are had: what a dead disk cannot keep away comes first.
  func parts(_ findings: Findings) -> [Part] {
    func reading(
      _ name: String, _ about: String, _ megabytes: Double,
      _ body: @escaping @Sendable () throws(Missing) -> [UInt8]
    ) -> Part {
      Part(name: name, about: about, mostBytes: Int(megabytes * 1_000_000), work: .reading(body))
    }
    func asking(
      _ name: String, _ about: String, _ megabytes: Double,
      _ body: @escaping @Sendable () async throws(Missing) -> [UInt8]
    ) -> Part {
      Part(name: name, about: about, mostBytes: Int(megabytes * 1_000_000), work: .asking(body))
    }
    let coach = Asked(live)
    return [
      reading("versions.json", "chock, SQLite, kernel, operating system, clock", 0.1) {
        () throws(Missing) in try versions(findings)
      },
      reading("config.json", "the settings, without names, paths and secrets", 0.2) {
        () throws(Missing) in try configuration(findings)
      },
      reading("kernel.log", "what the kernel says of the storage", 1) { () throws(Missing) in
        let lines = try Machine.kernelLines()
        findings.note(
          "Kernel", nil,
          lines.isEmpty ? "nothing of the storage" : "\(lines.count) lines of the storage")
        return Self.text(lines)
      },
      asking("daemon.log", "the log of chock's unit", 2) { () async throws(Missing) in
        try await DaemonLog.read()
      },
      asking("gates.json", "the conditions, and what the coach has said", 1) {
        () async throws(Missing) in try self.gates(await coach.facts, findings)
      },
      asking("bus.log", "the last minutes of the buses, as candump writes them", 4) {
        () async throws(Missing) in
        try await coach.facts.frames.get()
      },
      reading("disk.json", "space, file system and how it is mounted", 0.1) {
        () throws(Missing) in try disk(findings)
      },
      reading("run.json", "the journal of a run that has not ended", 0.5) { () throws(Missing) in
        try journal(findings)
      },
      reading("history.json", "how the runs ended, newest first", 3) { () throws(Missing) in
        try history(findings)
      },
      reading("audit.json", "who decided what, and whether an entry was changed", 3) {
        () throws(Missing) in try audit(findings)
      },
      reading("snapshots.json", "the snapshots, and what chock keeps beside them", 0.5) {
        () throws(Missing) in try snapshots(findings)
      },
      reading(
        "errors.json", "how many errors the application counts, against before the update", 0.1
      ) {
        () throws(Missing) in try errors(findings)
      },
      reading("database.json", "the database as a file, and its ledger", 0.5) {
        () throws(Missing) in try database(findings)
      },
      reading("plan.json", "what an update would do", 1) { () throws(Missing) in
        try plan(findings)
      },
      reading("schema.sql", "the schema of the database", 1) { () throws(Missing) in
        try missing { () throws(Failure) in
          Array(try Schema(try connection()).text.utf8)
        }
      },
      reading("schema-diff.txt", "where it is not what the migrations make", 1) {
        () throws(Missing) in try drift(findings)
      },
    ]
  }

  /// What is asked once and used twice.
  private final class Asked: Sendable {
    private let task: Task<Live, Never>

    init(_ live: @escaping @Sendable () async -> Live) { task = Task { await live() } }

    var facts: Live { get async { await task.value } }
  }

  static func text(_ lines: [String]) -> [UInt8] {
    Array(lines.map { $0 + "\n" }.joined().utf8)
  }

  private func document(_ document: some Encodable) throws(Missing) -> [UInt8] {
    try missing { () throws(Failure) in try JSON.encode(document, pretty: true) }
  }

  /// What chock finds wrong becomes the reason for what is not there.
  private func missing<R>(_ body: () throws(Failure) -> R) throws(Missing) -> R {
    do throws(Failure) {
      return try body()
    } catch {
      throw Missing(cleaner.line(error))
    }
  }

  // MARK: The machine

  private struct Versions: Encodable {
    struct Library: Encodable {
      var program: String
      var version: String
      var hasWalResetBug: Bool
    }

    var chock: String
    var sqlite: String
    var sqliteHasWalResetBug: Bool
    /// Of the programs that have the database open.
    var librariesOfOthers: [Library]
    var kernel: String
    var machine: String
    var system: String?
    var model: String?
    var processors: Int
    var memoryBytes: Int64?
    var uptimeSeconds: Double?
    var clock: String
    var timeZone: String?
  }

  private func versions(_ findings: Findings) throws(Missing) -> [UInt8] {
    let (kernel, machine) = Machine.kernel
    let own = SQLiteLibrary(path: "", version: Connection.sqliteVersion)
    findings.note("chock", nil, "\(Chock.version), SQLite \(own.version), \(kernel) \(machine)")
    let users = Openers.programs(of: settings.databasePath, withLocks: false)
    return try document(
      Versions(
        chock: Chock.version, sqlite: own.version, sqliteHasWalResetBug: own.hasWALResetBug,
        librariesOfOthers: users.flatMap { user in
          SQLiteLibrary.loaded(by: user.pid).map {
            .init(program: user.name, version: $0.version, hasWalResetBug: $0.hasWALResetBug)
          }
        }, kernel: kernel, machine: machine, system: Machine.system, model: Machine.model,
        processors: ProcessInfo.processInfo.processorCount, memoryBytes: Machine.memoryBytes,
        uptimeSeconds: Machine.uptimeSeconds, clock: Timestamp.now(), timeZone: Machine.timeZone))
  }

  private func configuration(_ findings: Findings) throws(Missing) -> [UInt8] {
    if let configProblem {
      let isMissing = configProblem.file.map { $0.hasPrefix("/") && FileSystem.target($0) == nil }
      let words =
        isMissing == true
        ? "There is no config file where one is named." : cleaner.line(configProblem)
      findings.note("Config", false, words)
      throw Missing(words)
    }
    findings.note(
      "Config", true,
      config.file == nil
        ? "no file: the defaults and the environment" : "read, \(settings.environment.rawValue)")
    return try document(CleanConfig(config))
  }

  private func disk(_ findings: Findings) throws(Missing) -> [UInt8] {
    let places = [
      ("database", FileSystem.parent(settings.databasePath)), ("state", settings.stateDirectory),
      ("migrations", settings.migrationsDirectory),
    ]
    let disks = places.compactMap { Machine.Disk($0.0, at: $0.1) }
    guard !disks.isEmpty else { throw Missing("No file system can be examined.") }
    for disk in disks where disk.use != "migrations" {
      let isGood = !disk.isReadOnly && disk.availableBytes > 10_000_000
      findings.note(
        "Disk of the \(disk.use)", isGood,
        "\(ByteCount.text(disk.availableBytes)) of \(ByteCount.text(disk.totalBytes)) free, \(disk.fileSystem ?? "unknown")"
          + (disk.isReadOnly ? ", can only be read" : ""))
    }
    return try document(disks)
  }

  // MARK: The coach

  private struct Gates: Encodable {
    /// Of the daemon.
    var mode: String
    var problem: Cleaner.Problem?
    var safety: CleanSafety?
    var missing: String?
  }

  private func gates(_ facts: Live, _ findings: Findings) throws(Missing) -> [UInt8] {
    findings.note(
      "Daemon", facts.mode.map { $0 == StatusDocument.Mode.normal.rawValue },
      facts.mode.map { "runs, \($0) mode" } ?? "does not answer")
    if let problem = facts.problem { findings.note("Problem", false, cleaner.line(problem)) }
    var gates = Gates(
      mode: facts.mode ?? "no daemon", problem: facts.problem.map(cleaner.problem))
    switch facts.safety {
    case .success(let safety):
      gates.safety = CleanSafety(safety, cleaner)
      let closed = safety.gates.filter { $0.required && $0.state != .satisfied }
      findings.note(
        "Conditions", closed.isEmpty,
        closed.isEmpty
          ? "all that are required hold" : "in the way: \(closed.map(\.id).joined(separator: ", "))"
      )
    case .failure(let failure):
      gates.missing = cleaner.line(failure)
    }
    return try document(gates)
  }

  // MARK: chock's memory

  /// Somebody who looks does not put a damaged file in order.
  private var store: StateStore {
    StateStore(
      stateFolder: settings.stateDirectory, chockVersion: Chock.version, isKept: false)
  }

  private struct Journal: Encodable {
    /// Whether there is a run that has not ended.
    var isOpen: Bool
    var run: CleanRun?
    /// Of a run: whether a process still works at it.
    var isActive: Bool?
    var phase: String?
    var partialCommit: String?
    var hasBegunRestore: Bool?
    var holdsApplication: Bool?
    var recoveries: Int?
  }

  private func journal(_ findings: Findings) throws(Missing) -> [UInt8] {
    let found: OpenRun?
    do throws(Failure) {
      found = try OpenRun(stateDirectory: settings.stateDirectory)
    } catch {
      findings.note("Journal", false, cleaner.line(error))
      throw Missing(cleaner.line(error))
    }
    guard let found else {
      findings.note("Journal", true, "no run is in progress, and none was interrupted")
      return try document(Journal(isOpen: false))
    }
    // Looked up, not tried: to take the lock would keep a run from beginning.
    let holders = Openers.of("\(settings.stateDirectory)/lock", withLocks: false)
    let words = "\(found.run.kind.rawValue), in the phase \(found.phase.rawValue)"
    findings.note(
      "Journal", holders.isEmpty ? false : nil,
      holders.isEmpty ? "interrupted: \(words)" : "in progress: \(words)")
    return try document(
      Journal(
        isOpen: true, run: CleanRun(found.run, cleaner), isActive: !holders.isEmpty,
        phase: found.phase.rawValue, partialCommit: found.partialCommit,
        hasBegunRestore: found.hasBegunRestore, holdsApplication: found.holdsApplication,
        recoveries: found.recoveries))
  }

  private struct History: Encodable {
    var runs: [CleanRun]
    /// Damaged files that were taken out of use.
    var setAside: Int
    /// Entries that cannot be understood.
    var unreadable: Int
  }

  private func history(_ findings: Findings) throws(Missing) -> [UInt8] {
    let texts: [String]
    do throws(Failure) {
      texts = try store.runs(limit: 300)
    } catch {
      findings.note("History", false, cleaner.line(error))
      throw Missing(cleaner.line(error))
    }
    let runs = texts.compactMap {
      try? JSON.decode(RunDocument.self, from: Array($0.utf8))
    }
    if let last = runs.first {
      let isGood: Bool? =
        switch last.outcome {
        case .committed, .finished, .nothingToDo, .restored: true
        case .needsRecovery: false
        default: nil
        }
      findings.note(
        "Last run", isGood,
        "\(last.kind.rawValue): \(last.outcome?.rawValue ?? "not ended"), \(last.endedAt ?? last.startedAt)"
          + (last.error.map { " [\($0.code.rawValue)]" } ?? ""))
    }
    var history = History(
      runs: runs.map { CleanRun($0, cleaner) }, setAside: store.setAside.count,
      unreadable: texts.count - runs.count)
    while true {
      let bytes = try document(history)
      if bytes.count <= Self.historyBytes || history.runs.count < 2 { return bytes }
      history.runs.removeLast(history.runs.count / 2)
    }
  }

  private struct Audit: Encodable {
    /// Whether each entry is chained to the one before it, from the first to the last.
    var isWhole: Bool
    /// How many there are; the newest of them are here, oldest first.
    var count: Int
    var setAside: Int
    var entries: [CleanAuditEntry]
  }

  private func audit(_ findings: Findings) throws(Missing) -> [UInt8] {
    do throws(Failure) {
      let (entries, isWhole) = try store.audit()
      let aside = store.setAside.count
      findings.note(
        "Audit", isWhole && aside == 0,
        (isWhole
          ? "all \(entries.count) entries are chained to the ones before them"
          : "entries were changed, or are missing")
          + (aside > 0 ? "; \(aside) damaged files were set aside" : ""))
      let shown = entries.suffix(5000).map { CleanAuditEntry($0, cleaner) }
      return try JSON.encode(
        Audit(isWhole: isWhole, count: entries.count, setAside: aside, entries: shown),
        pretty: true)
    } catch {
      findings.note("Audit", false, cleaner.line(error))
      throw Missing(cleaner.line(error))
    }
  }

  private struct Snapshots: Encodable {
    struct Snapshot: Encodable {
      var id: String
      var createdAt: String
      var version: String?
      var sizeBytes: Int64
      var reason: String
      var pinned: Bool
      var verifiedAt: String?
      var isOfThisDatabase: Bool
      /// What the full check finds in it.
      var damage: String?
    }

    struct File: Encodable {
      var name: String
      var bytes: Int64
    }

    var snapshots: [Snapshot]
    /// In the state folder, those that chock itself has named.
    var files: [File]
    /// How many others there are.
    var others: Int
  }

  private func snapshots(_ findings: Findings) throws(Missing) -> [UInt8] {
    try missing { () throws(Failure) in
      let all = try SnapshotStore(
        stateFolder: settings.stateDirectory, chockVersion: Chock.version
      ).list()
      let own = all.filter { (try? $0.checkBelongs(to: settings.databasePath)) != nil }
      findings.note(
        "Snapshots", own.isEmpty ? nil : true,
        own.first.map { "\(own.count), the newest of \($0.createdAt)" } ?? "none")
      let names = try FileSystem.names(in: settings.stateDirectory)
      return try JSON.encode(
        Snapshots(
          snapshots: all.filter { Self.isId($0.id) }.map { snapshot in
            .init(
              id: snapshot.id, createdAt: snapshot.createdAt, version: snapshot.version,
              sizeBytes: snapshot.sizeBytes, reason: snapshot.reason.rawValue,
              pinned: snapshot.pinned, verifiedAt: snapshot.verifiedAt,
              isOfThisDatabase: own.contains(snapshot),
              damage: snapshot.damage.map(cleaner.damage))
          },
          files: names.filter(StateFiles.all.contains).map { name in
            .init(
              name: name,
              bytes: FileSystem.facts("\(settings.stateDirectory)/\(name)")?.size ?? 0)
          }, others: names.count { !StateFiles.all.contains($0) }), pretty: true)
    }
  }

  /// `20260101T120000Z-...`; another file of that folder may be anybody's.
  private static func isId(_ id: String) -> Bool {
    id.utf8.count <= 64 && id.prefix(8).allSatisfy(\.isNumber) && id.dropFirst(8).hasPrefix("T")
      && id.dropFirst(9).allSatisfy { $0.isNumber || $0.isLowercase || "Z._-".contains($0) }
  }

  /// Counters by their number: their names are of the config.
  private struct Errors: Encodable {
    struct Counter: Encodable {
      var kind: String
      var perHourBefore: Double?
      var errors: Double?
      var perHour: Double?
      var hasWarned: Bool
      var isCounted: Bool
    }

    var run: String?
    var secondsLeft: Double?
    var counters: [Counter]
  }

  private func errors(_ findings: Findings) throws(Missing) -> [UInt8] {
    guard let watch = ErrorWatchDocument(settings) else {
      throw Missing("No errors of the application are counted here, or none have been so far.")
    }
    let warned = watch.counters.count { $0.warning != nil }
    let silent = watch.counters.count { $0.problem != nil }
    findings.note(
      "Errors", warned > 0 ? false : nil,
      (warned > 0
        ? "clearly more than before the update"
        : watch.run == nil ? "no update is watched" : "no more than before the update")
        + (silent > 0 ? "; \(silent) of \(watch.counters.count) cannot be counted" : ""))
    return try document(
      Errors(
        run: watch.run, secondsLeft: watch.secondsLeft,
        counters: watch.counters.map { counter in
          .init(
            kind: counter.url == nil ? "journal" : "metric", perHourBefore: counter.perHourBefore,
            errors: counter.errors, perHour: counter.perHour, hasWarned: counter.warning != nil,
            isCounted: counter.problem == nil)
        }))
  }

  // MARK: The database

  /// Only read; also what an application that was killed has left is not played back.
  private func connection() throws(Failure) -> Connection {
    try Database.checkFile(settings.databasePath)
    let connection = try Database.catching(settings.databasePath) { () throws(SQLiteError) in
      try Connection(path: settings.databasePath, mode: .readOnly, busyTimeout: 500)
    }
    connection.setDefensive()
    connection.keepLogOnClose()
    let end = ContinuousClock.now + Self.partTime
    connection.interrupt { .now > end }
    return connection
  }

  private struct DatabaseFacts: Encodable {
    struct Row: Encodable {
      var version: String
      var appliedAt: String
      var durationMs: Int64
      var kind: String
      var checksum: String
      var chockVersion: String
    }

    var bytes: Int64
    var writeAheadLogBytes: Int64?
    var journalBytes: Int64?
    var modified: String
    var names: Int
    var sqliteCode: String?
    var pageSize: Int64?
    var pages: Int64?
    var freePages: Int64?
    var journalMode: String?
    var encoding: String?
    var userVersion: Int64?
    var applicationId: Int64?
    var adopted: Bool?
    var version: String?
    var hasBegunRun: Bool?
    var ledger: [Row]?
    var openers: [String]
    var lastFullCheck: IntegrityCheck?
    var problem: Cleaner.Problem?
  }

  private func database(_ findings: Findings) throws(Missing) -> [UInt8] {
    let path = settings.databasePath
    guard let file = FileSystem.target(path) else {
      findings.note("Database", false, "missing")
      throw Missing("There is no database.")
    }
    var facts = DatabaseFacts(
      bytes: file.size, writeAheadLogBytes: FileSystem.target(path + "-wal")?.size,
      journalBytes: FileSystem.target(path + "-journal")?.size, modified: file.modified,
      names: file.links, openers: Openers.programs(of: path, withLocks: false).map(\.description))
    if var check = (try? store.integrityCheck(of: path)) ?? nil {
      check.problem = check.problem.map { _ in "damage" }
      facts.lastFullCheck = check
    }
    do throws(Failure) {
      let connection = try connection()
      try Database.catching(path) { () throws(SQLiteError) in
        facts.pageSize = try connection.integer("PRAGMA page_size")
        facts.pages = try connection.integer("PRAGMA page_count")
        facts.freePages = try connection.integer("PRAGMA freelist_count")
        facts.journalMode = try connection.text("PRAGMA journal_mode")
        facts.encoding = try connection.text("PRAGMA encoding")
        facts.userVersion = try connection.integer("PRAGMA user_version")
        facts.applicationId = try connection.integer("PRAGMA application_id")
      }
      let ledger = try LedgerTable.read(connection)
      facts.adopted = ledger != nil
      facts.version = ledger?.current.description
      facts.hasBegunRun = ledger?.begun != nil
      facts.ledger = ledger?.entries.map(Self.row)
      findings.note(
        "Database", ledger == nil ? nil : true,
        "opens, \(ByteCount.text(file.size)), "
          + (ledger.map { "version \($0.current)" } ?? "not adopted"))
    } catch {
      facts.problem = cleaner.problem(error)
      findings.note("Database", false, cleaner.line(error))
    }
    return try document(facts)
  }

  /// The application can write into the ledger, too.
  private static func row(_ entry: LedgerEntry) -> DatabaseFacts.Row {
    func plain(_ text: String, _ signs: String = "") -> String {
      text.isEmpty || Cleaner.isPlain(text, besides: signs) ? text : "…"
    }
    return DatabaseFacts.Row(
      version: entry.version.description, appliedAt: plain(entry.appliedAt, ":-."),
      durationMs: entry.durationMs, kind: entry.kind.rawValue, checksum: plain(entry.checksum),
      chockVersion: plain(entry.chockVersion, ".-"))
  }

  private struct CleanPlan: Encodable {
    struct Input: Encodable {
      var name: String
      var question: String
    }

    var fromVersion: String
    var toVersion: String
    var hash: String
    var migrations: [PlanDocument.PlannedMigration]
    var skipped: [PlanDocument.PlannedMigration]
    var inputs: [Input]
    var neededBytes: Int64
  }

  private func plan(_ findings: Findings) throws(Missing) -> [UInt8] {
    do throws(Failure) {
      let connection = try connection()
      guard let ledger = try LedgerTable.read(connection) else {
        throw Failure(.unadopted, "Nobody has adopted the database.")
      }
      let plan = try Plan(
        catalog: try MigrationCatalog(directory: settings.migrationsDirectory), ledger: ledger)
      findings.note(
        "Update", true,
        plan.steps.isEmpty
          ? "nothing is pending" : "\(plan.steps.count) pending, \(plan.from) to \(plan.to)")
      return try JSON.encode(
        CleanPlan(
          fromVersion: plan.from.description, toVersion: plan.to.description, hash: plan.hash,
          migrations: plan.steps.map { .init($0) }, skipped: plan.skipped.map { .init($0) },
          inputs: plan.inputs.map { .init(name: $0.name, question: $0.question) },
          neededBytes: settings.estimatedBytes(database: try Database.bytes(connection))),
        pretty: true)
    } catch {
      findings.note("Update", false, cleaner.line(error))
      throw Missing(cleaner.line(error))
    }
  }

  private func drift(_ findings: Findings) throws(Missing) -> [UInt8] {
    do throws(Failure) {
      let found = try Drift.find(
        in: try connection(), try MigrationCatalog(directory: settings.migrationsDirectory))
      let accepted = try? store.acceptance(of: found, in: [settings.databasePath])
      findings.note(
        "Schema", found.isEmpty ? true : accepted == nil ? false : nil,
        found.isEmpty
          ? "what the migrations make"
          : "differs in \(found.count) \(found.count == 1 ? "place" : "places")"
            + (accepted == nil ? "" : ", accepted"))
      guard !found.isEmpty else { return Array("No difference.\n".utf8) }
      return Self.text(
        found.map { difference in
          "\(difference.kind.rawValue): \(difference.object.rawValue) \(difference.name)\n"
            + (difference.expected.map { "  expected: \($0)\n" } ?? "")
            + (difference.found.map { "  found: \($0)\n" } ?? "")
        })
    } catch {
      findings.note("Schema", nil, "cannot be compared: \(cleaner.line(error))")
      throw Missing(cleaner.line(error))
    }
  }
}
