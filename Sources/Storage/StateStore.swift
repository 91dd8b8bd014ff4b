import FoundationEssentials
public import Migrations
import SQLite

/// What a full check of a database found.
public struct IntegrityCheck: Codable, Sendable, Equatable {
  public var finishedAt: String
  public var seconds: Double
  /// Nil: it is sound.
  public var problem: String?

  public init(finishedAt: String, seconds: Double, problem: String?) {
    self.finishedAt = finishedAt
    self.seconds = seconds
    self.problem = problem
  }

  /// Nil when the clock says that it is still to come.
  public func ageSeconds(now: String = Timestamp.now()) -> Double? {
    guard let now = Timestamp.date(now), let then = Timestamp.date(finishedAt), then <= now else {
      return nil
    }
    return now.timeIntervalSince(then)
  }
}

/// chock's own memory, `state.db`: how every run ended. Its schema is kept by chock's own engine.
public struct StateStore: Sendable {
  let path: String
  let chockVersion: String
  /// Whether a damaged file is set aside and a new one begun; false for somebody who only looks.
  private let isKept: Bool

  public init(stateFolder: String, chockVersion: String, isKept: Bool = true) {
    path = stateFolder + "/state.db"
    self.chockVersion = chockVersion
    self.isKept = isKept
  }

  private static let schema = [
    (
      "0001_runs.sql",
      """
      -- Description: How every run ended
      CREATE TABLE runs (
        id TEXT PRIMARY KEY NOT NULL,
        started_at TEXT NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document))
      ) STRICT;
      CREATE INDEX runs_started_at ON runs (started_at);
      """
    ),
    (
      "0002_integrity_checks.sql",
      """
      -- Description: What the last full check of a database found
      CREATE TABLE integrity_checks (
        database_path TEXT PRIMARY KEY NOT NULL,
        document TEXT NOT NULL CHECK (json_valid(document))
      ) STRICT;
      """
    ),
    (
      "0003_audit.sql",
      """
      -- Description: Who accepted what, and why
      CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        document TEXT NOT NULL CHECK (json_valid(document)),
        chain TEXT NOT NULL
      ) STRICT;
      CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
      BEGIN SELECT RAISE(ABORT, 'the audit is only written to'); END;
      CREATE TRIGGER audit_is_not_deleted BEFORE DELETE ON audit
      BEGIN SELECT RAISE(ABORT, 'the audit is only written to'); END;
      """
    ),
    (
      "0005_idempotency_keys.sql",
      """
      -- Description: Which request started which run
      CREATE TABLE idempotency_keys (
        id INTEGER PRIMARY KEY,
        key TEXT UNIQUE NOT NULL,
        request TEXT NOT NULL,
        run TEXT NOT NULL
      ) STRICT;
      """
    ),
    (
      "0006_epoch.sql",
      """
      -- Description: Tells this history from every other one
      CREATE TABLE epoch (value TEXT NOT NULL) STRICT;
      INSERT INTO epoch VALUES (hex(randomblob(16)));
      """
    ),
  ]

  /// Begins the history where there is none.
  public func begin() throws(Failure) {
    guard FileSystem.facts(path) == nil else { return }
    _ = try open()
  }

  /// Writes how a run stands; the same run again replaces it, and keeps its place in the order.
  public func save(run id: String, startedAt: String, document: String) throws(Failure) {
    let connection = try open()
    try Database.catching(path) { () throws(SQLiteError) in
      let statement = try connection.prepare(
        """
        INSERT INTO runs VALUES (?1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET started_at = ?2, document = ?3
        """)
      try statement.bind(id, at: 1)
      try statement.bind(startedAt, at: 2)
      try statement.bind(document, at: 3)
      try statement.run()
    }
  }

  /// The documents of the newest runs, newest first: in the order in which they were first written, since the
  /// clock may have gone back. No row is ever deleted, so that their numbers only grow.
  ///
  /// - Parameter before: the id of a run; those that came before it.
  public func runs(limit: Int, before: String? = nil) throws(Failure) -> [String] {
    guard FileSystem.facts(path) != nil else { return [] }
    return try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT document FROM runs"
          + (before == nil ? "" : " WHERE rowid < (SELECT rowid FROM runs WHERE id = ?2)")
          + " ORDER BY rowid DESC LIMIT ?1")
      try statement.bind(Int64(limit), at: 1)
      if let before { try statement.bind(before, at: 2) }
      var documents: [String] = []
      while try statement.step() { documents.append(statement.text(0) ?? "") }
      return documents
    }
  }

  /// The documents of the newest runs of a plan, and of its rehearsals, newest first.
  public func runs(ofPlan hash: String, limit: Int) throws(Failure) -> [String] {
    guard FileSystem.facts(path) != nil else { return [] }
    return try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT document FROM runs WHERE document ->> 'plan_hash' = ?1 ORDER BY rowid DESC LIMIT ?2"
      )
      try statement.bind(hash, at: 1)
      try statement.bind(Int64(limit), at: 2)
      var documents: [String] = []
      while try statement.step() { documents.append(statement.text(0) ?? "") }
      return documents
    }
  }

  /// The document of the newest run that changed the database, or put it back.
  public func newestChange() throws(Failure) -> String? {
    guard FileSystem.facts(path) != nil else { return nil }
    return try asking { connection throws(SQLiteError) in
      try connection.text(
        """
        SELECT document FROM runs
        WHERE document ->> 'kind' IN ('update', 'rollback', 'import', 'restore', 'rescue')
          AND document ->> 'outcome' IN ('committed', 'restored')
        ORDER BY rowid DESC LIMIT 1
        """)
    }
  }

  /// The documents of the runs that changed the version of the database, or may have, in the order in which they were
  /// first written.
  ///
  /// - Parameters:
  ///   - run: the first that counts; nil: from the first on. It is there.
  ///   - end: the first that no longer counts; nil, or unknown: to the last.
  public func versionChanges(
    from run: String? = nil, before end: String? = nil
  ) throws(Failure) -> [String] {
    guard FileSystem.facts(path) != nil else { return [] }
    return try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        """
        SELECT document FROM runs
        WHERE document ->> 'kind' IN ('update', 'rollback', 'restore')
          AND ifnull(document ->> 'outcome', '') NOT IN ('refused', 'rolled_back', 'nothing_to_do')
          AND (?1 IS NULL OR rowid >= (SELECT rowid FROM runs WHERE id = ?1))
          AND rowid < ifnull((SELECT rowid FROM runs WHERE id = ?2), 9223372036854775807)
        ORDER BY rowid
        """)
      if let run { try statement.bind(run, at: 1) }
      if let end { try statement.bind(end, at: 2) }
      var documents: [String] = []
      while try statement.step() { documents.append(statement.text(0) ?? "") }
      return documents
    }
  }

  /// Nil when no run has this id.
  public func run(_ id: String) throws(Failure) -> String? {
    guard FileSystem.facts(path) != nil else { return nil }
    return try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare("SELECT document FROM runs WHERE id = ?1")
      try statement.bind(id, at: 1)
      return try statement.step() ? statement.text(0) : nil
    }
  }

  /// The newest run that was to change the database or to put it back, if there is one, in a history that is like
  /// no other: one that was lost and begun anew never gives the same text again. Nil without a history. A run that
  /// was refused does not count, unless somebody stopped it, nor one that found the database locked.
  public func newestWork() throws(Failure) -> String? {
    guard FileSystem.facts(path) != nil else { return nil }
    return try asking { connection throws(SQLiteError) in
      let run = try connection.text(
        """
        SELECT id FROM runs
        WHERE document ->> 'kind' IN ('update', 'rollback', 'import', 'restore', 'rescue')
          AND document ->> 'outcome' IS NOT 'nothing_to_do'
          AND (document ->> 'outcome' IS NOT 'refused'
            OR document ->> '$.error.code' IS '\(Failure.Code.stopped.rawValue)')
          AND (document ->> 'outcome' IS NOT 'rolled_back'
            OR document ->> '$.error.code' IS NOT '\(Failure.Code.databaseLocked.rawValue)')
        ORDER BY rowid DESC LIMIT 1
        """)
      let epoch = try connection.text("SELECT value FROM epoch")
      return "\(run ?? "nothing") in \(epoch ?? "no epoch")"
    }
  }

  // MARK: Idempotency keys

  /// The request that came with a key, as a digest, and the run that it was to start.
  public func idempotent(_ key: String) throws(Failure) -> (request: String, run: String)? {
    guard FileSystem.facts(path) != nil else { return nil }
    return try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT request, run FROM idempotency_keys WHERE key = ?1")
      try statement.bind(key, at: 1)
      return try statement.step() ? (statement.text(0) ?? "", statement.text(1) ?? "") : nil
    }
  }

  /// Remembers a key, with a thousand others.
  public func save(idempotencyKey key: String, request: String, run: String) throws(Failure) {
    let connection = try open()
    try Database.catching(path) { () throws(SQLiteError) in
      try connection.execute("BEGIN IMMEDIATE")
      let statement = try connection.prepare(
        """
        INSERT INTO idempotency_keys (key, request, run) VALUES (?1, ?2, ?3)
        ON CONFLICT (key) DO UPDATE SET request = ?2, run = ?3
        """)
      try statement.bind(key, at: 1)
      try statement.bind(request, at: 2)
      try statement.bind(run, at: 3)
      try statement.run()
      try connection.execute(
        "DELETE FROM idempotency_keys WHERE id <= (SELECT max(id) FROM idempotency_keys) - 1000")
      try connection.execute("COMMIT")
    }
  }

  /// How often runs of one kind have ended in one way, and how long their phases took.
  public struct Figures: Sendable {
    /// By kind and outcome.
    public var runs: [(kind: String, outcome: String, count: Int64)] = []
    /// By kind and phase: of how many runs, and the seconds of all of them together.
    public var phases: [(kind: String, phase: String, count: Int64, seconds: Double)] = []
  }

  /// Of everything in the history: since no row is ever deleted, they only grow.
  public func figures() throws(Failure) -> Figures {
    guard FileSystem.facts(path) != nil else { return Figures() }
    return try asking { connection throws(SQLiteError) in
      var figures = Figures()
      let runs = try connection.prepare(
        """
        SELECT document ->> 'kind', document ->> 'outcome', count(*) FROM runs
        WHERE document ->> 'outcome' IS NOT NULL GROUP BY 1, 2
        """)
      while try runs.step() {
        figures.runs.append((runs.text(0) ?? "", runs.text(1) ?? "", runs.integer(2)))
      }
      let phases = try connection.prepare(
        """
        SELECT document ->> 'kind', part.value ->> 'phase', count(DISTINCT runs.id),
          total(part.value ->> 'seconds')
        FROM runs, json_each(document, '$.phases') AS part GROUP BY 1, 2
        """)
      while try phases.step() {
        figures.phases.append(
          (phases.text(0) ?? "", phases.text(1) ?? "", phases.integer(2), phases.real(3)))
      }
      return figures
    }
  }

  // MARK: Full checks

  /// Writes what a full check of the database at `path` found; nil forgets it: the next is then due.
  public func save(_ check: IntegrityCheck?, of path: String) throws(Failure) {
    guard check != nil || FileSystem.facts(self.path) != nil else { return }
    let document = try check.map { check throws(Failure) in try JSON.text(check) }
    let connection = try open()
    try Database.catching(self.path) { () throws(SQLiteError) in
      let statement = try connection.prepare(
        document == nil
          ? "DELETE FROM integrity_checks WHERE database_path = ?1"
          : "INSERT OR REPLACE INTO integrity_checks VALUES (?1, ?2)")
      try statement.bind(path, at: 1)
      if let document { try statement.bind(document, at: 2) }
      try statement.run()
    }
  }

  /// Nil when there was none, or something has happened to the database since.
  public func integrityCheck(of path: String) throws(Failure) -> IntegrityCheck? {
    guard FileSystem.facts(self.path) != nil else { return nil }
    let text = try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT document FROM integrity_checks WHERE database_path = ?1")
      try statement.bind(path, at: 1)
      return try statement.step() ? statement.text(0) : nil
    }
    return text.flatMap { try? JSON.decode(IntegrityCheck.self, from: Array($0.utf8)) }
  }

  // MARK: Audit

  /// Adds an entry, chained to the one before it.
  public func append(_ entry: AuditEntry) throws(Failure) {
    let document = try JSON.text(entry)
    let connection = try open()
    try Database.catching(path) { () throws(SQLiteError) in
      try connection.execute("BEGIN IMMEDIATE")
      let last = try connection.text("SELECT chain FROM audit ORDER BY id DESC LIMIT 1")
      let statement = try connection.prepare("INSERT INTO audit (document, chain) VALUES (?1, ?2)")
      try statement.bind(document, at: 1)
      try statement.bind(AuditEntry.chain(document, behind: last), at: 2)
      try statement.run()
      try connection.execute("COMMIT")
    }
  }

  /// The entries, oldest first, and whether each one is still chained to the one before it.
  public func audit() throws(Failure) -> (entries: [AuditEntry], isWhole: Bool) {
    guard FileSystem.facts(path) != nil else { return ([], true) }
    let rows = try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare("SELECT document, chain FROM audit ORDER BY id")
      var rows: [(document: String, chain: String)] = []
      while try statement.step() { rows.append((statement.text(0) ?? "", statement.text(1) ?? "")) }
      return rows
    }
    var entries: [AuditEntry] = []
    var isWhole = true
    var last: String?
    for row in rows {
      if AuditEntry.chain(row.document, behind: last) != row.chain { isWhole = false }
      last = row.chain
      guard let entry = try? JSON.decode(AuditEntry.self, from: Array(row.document.utf8)) else {
        isWhole = false
        continue
      }
      entries.append(entry)
    }
    return (entries, isWhole)
  }

  /// A page of the audit, newest first, and whether each entry of it is still chained to the one before.
  ///
  /// - Parameter before: the number of an entry; those that came before it.
  /// - Returns: `next`, the number behind which older ones are; nil when there are none.
  public func audit(
    limit: Int, before: Int64?
  ) throws(Failure) -> (entries: [AuditEntry], isWhole: Bool, next: Int64?) {
    guard FileSystem.facts(path) != nil else { return ([], true, nil) }
    // One more than asked for: what the last one is chained to.
    var rows = try asking { connection throws(SQLiteError) in
      let statement = try connection.prepare(
        "SELECT id, document, chain FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2")
      try statement.bind(before ?? .max, at: 1)
      try statement.bind(Int64(limit) + 1, at: 2)
      var rows: [(id: Int64, document: String, chain: String)] = []
      while try statement.step() {
        rows.append((statement.integer(0), statement.text(1) ?? "", statement.text(2) ?? ""))
      }
      return rows
    }
    let older = rows.count > limit ? rows.removeLast() : nil
    var entries: [AuditEntry] = []
    var isWhole = true
    for (index, row) in rows.enumerated() {
      let last = index + 1 < rows.count ? rows[index + 1].chain : older?.chain
      if AuditEntry.chain(row.document, behind: last) != row.chain { isWhole = false }
      if let entry = try? JSON.decode(AuditEntry.self, from: Array(row.document.utf8)) {
        entries.append(entry)
      } else {
        isWhole = false
      }
    }
    return (entries, isWhole, older == nil ? nil : rows.last?.id)
  }

  /// A question only reads. When the file cannot answer it, be it damaged or of an older chock, it is
  /// put in order and asked again.
  private func asking<R>(
    _ question: (Connection) throws(SQLiteError) -> R
  ) throws(Failure) -> R {
    func answer(_ connection: Connection) throws(Failure) -> R {
      try Database.catching(path) { () throws(SQLiteError) in try question(connection) }
    }
    do throws(Failure) {
      return try answer(try Database.open(path))
    } catch {
      guard isKept else { throw error }
      return try answer(try open())
    }
  }

  /// A damaged file is kept aside and a new history begun: no snapshot and no run depends on it, and the audit says that it is not whole.
  private func open() throws(Failure) -> Connection {
    do throws(Failure) {
      return try opened()
    } catch {
      guard [.notADatabase, .databaseCorrupt].contains(error.code) else { throw error }
      for suffix in ["-wal", "-shm", "-journal"] { try FileSystem.remove(path + suffix) }
      var kept = path + ".damaged"
      var number = 1
      while FileSystem.facts(kept) != nil {
        number += 1
        kept = path + ".damaged-\(number)"
      }
      try FileSystem.rename(path, to: kept)
      return try opened()
    }
  }

  /// The damaged files that were taken out of use, with what they held.
  public var setAside: [String] {
    let folder = FileSystem.parent(path)
    let names = (try? FileSystem.names(in: folder)) ?? []
    return names.filter { $0.hasPrefix("state.db.damaged") }.map { "\(folder)/\($0)" }
  }

  private func opened() throws(Failure) -> Connection {
    try FileSystem.makeFolder(FileSystem.parent(path))
    let connection = try Database.create(path)
    try Database.catching(path) { () throws(SQLiteError) in
      // As a run does: see Transaction.begin.
      try connection.execute("PRAGMA synchronous = EXTRA")
    }
    var migrations: [Migration] = []
    for (name, text) in Self.schema {
      migrations.append(
        try Migration(fileName: name, path: "built in: state.db \(name)", text: text))
    }
    let catalog = try MigrationCatalog(directory: "built in", migrations: migrations)
    guard let ledger = try LedgerTable.read(connection) else {
      throw Failure(
        .notAllowed, "\(path) is not chock's own state.", file: path,
        howToClear: "Move it away; chock starts a new history. Snapshots are not affected.")
    }
    let plan = try Plan(catalog: catalog, ledger: ledger)
    if !plan.steps.isEmpty {
      let transaction = try Transaction.begin(connection, plan: plan)
      if try LedgerTable.read(connection)?.current == plan.from {
        try transaction.apply(
          plan, ApplyOrder(run: "state", chockVersion: chockVersion), baseline: nil, rehearsal: nil,
          .asRun)
        try transaction.commit()
      }
    }
    return connection
  }
}
