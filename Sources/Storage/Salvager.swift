public import Migrations
import SQLite

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What of one table could be read.
public struct SalvagedTable: Codable, Sendable, Equatable {
  public var table: String
  /// Rows that are in the result.
  public var read: Int64 = 0
  /// Stretches of the table that could not be read.
  public var unreadablePlaces: Int64 = 0
  /// Rows that one of its indexes still counts and that could not be read; nil where no index tells.
  public var lost: Int64?
  /// Rows that a constraint of their table refuses, of which two were read with one key.
  public var refused: Int64 = 0
  /// Some of them: `rowid 12: UNIQUE constraint failed: trips.id`.
  public var examples: [String] = []
  /// Why nothing of it is in the result.
  public var problem: String?

  public var isWhole: Bool { unreadablePlaces == 0 && refused == 0 && problem == nil }
}

/// What became of a damaged database.
public struct Salvage: Codable, Sendable, Equatable {
  public var tables: [SalvagedTable] = []
  /// What of the file as a whole, or of its schema, could not be read or made again.
  public var problems: [String] = []
  /// The snapshot whose schema was taken, since the file's own could not be read.
  public var schemaFrom: String?
  /// The newest good snapshot, and how the result differs from it; nil when there is none.
  public var comparedWith: String?
  /// The version of that snapshot; nil when it is not known.
  public var comparedVersion: String?
  public var differences: [TableDifference]?
  public var sameTables: Int?

  public init() {}
}

/// Reads out of a damaged database what SQLite can still read, into a new one.
///
/// Every table is read by itself in the order of its key; where that fails leaf by leaf, and then row by row.
public struct Salvager {
  /// A snapshot of the same database that is known to be good.
  public struct Good {
    public var id: String
    public var path: String
    public var version: String?
    /// Whether an update, a rollback or a restore may have come after it. Then its ledger, and maybe its schema, is
    /// of another version than the damaged database was.
    public var isOutdated: Bool
    var journalMode: String?

    public init(_ document: SnapshotDocument, path: String, isOutdated: Bool = false) {
      (id, version, self.path) = (document.id, document.version, path)
      self.isOutdated = isOutdated
      journalMode = document.journalMode
    }
  }

  /// A copy that nobody else uses, with its log and its journal beside it; it is written to.
  let damaged: String
  /// Where the new database is made; nothing is there.
  let result: String
  /// Newest first.
  let good: [Good]
  /// The version that the database was at when it was damaged, as chock's history says; nil: it does not say.
  let lastVersion: String?
  let stop: StopSignal
  let progress: (_ table: String, _ rows: Int64) -> Void

  public init(
    of damaged: String, into result: String, good: [Good], lastVersion: String? = nil,
    stop: StopSignal,
    progress: @escaping (_ table: String, _ rows: Int64) -> Void = { _, _ in }
  ) {
    (self.damaged, self.result, self.good) = (damaged, result, good)
    self.lastVersion = lastVersion
    (self.stop, self.progress) = (stop, progress)
  }

  /// - Throws: `.notADatabase` or `.databaseCorrupt` when nothing can be read, `.noSpace`, the stop that was
  ///   requested. What was made so far is the caller's to remove.
  public func run() throws(Failure) -> Salvage {
    var salvage = Salvage()
    do throws(Failure) {
      // As the application had it: a snapshot of the result says so, and its restore brings it back.
      let isWAL = try FileHeader(of: damaged).isWAL ?? (good.first?.journalMode == "wal")
      let (source, isSchemaWhole) = try opened(&salvage)
      try fill(source, isSchemaWhole: isSchemaWhole, &salvage)
      if isWAL {
        try execute(
          "PRAGMA journal_mode = WAL",
          try Database.catching(result) { () throws(SQLiteError) in
            try Connection(path: result, mode: .readWrite)
          })
      }
    } catch {
      throw stop.requested ?? error
    }
    return salvage
  }

  // MARK: Making it open

  /// The damaged file as far as SQLite opens it: with its log, and a header and a schema that can be read.
  private func opened(
    _ salvage: inout Salvage
  ) throws(Failure) -> (Connection, isSchemaWhole: Bool) {
    try mendHeader(&salvage)
    try PageFile(damaged)?.setPageCount()
    try readLog(&salvage)
    try PageFile(damaged)?.setPageCount()
    if let connection = try? connect(), (try? isSchemaWhole(connection)) == true {
      return (connection, true)
    }
    // A schema from before fits as long as the ledger is the same: root pages stay where they are.
    for candidate in good {
      guard let good = try PageFile(candidate.path, isReadOnly: true),
        let file = try PageFile(damaged), let former = try file.takeSchema(from: good)
      else { continue }
      try file.setPageCount()
      if let connection = try? connect(), (try? isSchemaWhole(connection)) == true,
        fits(candidate, connection)
      {
        salvage.schemaFrom = candidate.id
        salvage.problems.append(
          "Its schema could not be read; that of snapshot \(candidate.id) was taken.\(doubt(of: candidate, connection))"
        )
        return (connection, true)
      }
      try file.put(back: former)
    }
    guard let connection = try? connect(), try !objects(connection).isEmpty else {
      throw Failure(
        .databaseCorrupt,
        good.isEmpty
          ? "Its schema is lost, and there is no good snapshot to take that from."
          : "Its schema is lost, and that of no good snapshot leads to its rows: it was at another version, or they are lost, too.",
        file: damaged, howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    salvage.problems.append("A part of its schema could not be read, nor what belongs to it.")
    return (connection, false)
  }

  /// What is to be said of a schema that may be of another version.
  private func doubt(of candidate: Good, _ connection: Connection) -> String {
    guard candidate.isOutdated, ((try? LedgerTable.read(connection)) ?? nil) == nil else {
      return ""
    }
    let known = lastVersion.map { " chock's history says that the database was at \($0)." } ?? ""
    return
      " It is that of version \(candidate.version ?? "?").\(known) What a later version has more, tables and columns, is not in the result."
  }

  /// Whether the ledger says the version of a snapshot, or cannot be read.
  private func fits(_ good: Good, _ connection: Connection) -> Bool {
    guard let ledger = (try? LedgerTable.read(connection)).flatMap({ $0 }) else { return true }
    return ledger.current.description == good.version
  }

  /// Makes a header that cannot be right be that of a database again. What is lost of it is tried: the header that
  /// leads to the most rows is taken.
  private func mendHeader(_ salvage: inout Salvage) throws(Failure) {
    let own = try FileHeader(of: damaged)
    let goodHeaders = good.compactMap { try? FileHeader(of: $0.path) }
    let size = FileSystem.facts(damaged)?.size ?? 0
    let byLog = FileHeader.pageSize(byLogOf: damaged)
    guard !own.isSound(size: size, like: goodHeaders.first, byLog: byLog) else { return }
    let usual = goodHeaders.first?.pages?.reserved ?? 0
    // Of those that lead to as many rows the first is taken.
    let said =
      [byLog.map { FileHeader.Pages(size: $0, reserved: usual) }] + goodHeaders.map(\.pages)
      + [own.hasMagic ? own.pages : nil]
    let any = FileHeader.Pages.sizes.map { FileHeader.Pages(size: $0, reserved: 0) }
    var best: (header: FileHeader, rows: Int)?
    var tried: Set<FileHeader.Pages> = []
    for pages in said.compactMap(\.self) + any where tried.insert(pages).inserted {
      let header = own.rebuilt(pages, size: size, like: goodHeaders.first)
      try header.write(to: damaged)
      let rows = try rowsInReach()
      if rows > best?.rows ?? -1 { best = (header, rows) }
    }
    guard let best, best.rows > 0 || said.contains(where: { $0 != nil }) else {
      throw Failure(
        .notADatabase,
        "It is no SQLite database, or its first page is lost, and there is no good snapshot to take that from.",
        file: damaged, howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    try best.header.write(to: damaged)
    if !best.header.isSame(as: own) {
      salvage.problems.append("A part of its header could not be read.")
    }
  }

  /// To how many rows the schema leads, by the bare pages of the file without its log.
  private func rowsInReach() throws(Failure) -> Int {
    try stop.check()
    guard let pages = try PageFile(damaged, isReadOnly: true),
      let connection = try? Connection(path: damaged, mode: .damagedAlone)
    else { return 0 }
    let objects = try objects(connection)
    var rows = objects.count
    for object in objects where object.type == "table" {
      guard let root = UInt32(exactly: object.root), root > 0 else { continue }
      try pages.forEachLeaf(ofTableAt: root) { (leaf) throws(Failure) in
        rows += leaf.keys.count
        try stop.check()
      }
    }
    return rows
  }

  private func connect() throws(Failure) -> Connection {
    let connection = try Database.catching(damaged) { () throws(SQLiteError) in
      try Connection(path: damaged, mode: .damaged)
    }
    let stop = stop
    connection.interrupt { stop.requested != nil }
    return connection
  }

  /// Moves what the log holds into the file, or plays the journal back. Where that fails they are left out.
  private func readLog(_ salvage: inout Salvage) throws(Failure) {
    func isThere(_ suffix: String) -> Bool { (FileSystem.facts(damaged + suffix)?.size ?? 0) > 0 }
    if let journal = RollbackJournal(of: damaged), !journal.isWhole({ _, _ in nil }) {
      let lost = try journal.playBack(into: damaged, stop: stop)
      if lost > 0 {
        salvage.problems.append(
          "Its journal is damaged: what an unfinished transaction has changed is in the result where \(lost == 1 ? "a page" : "\(lost) pages") of it could not be read."
        )
      }
      try FileSystem.remove(damaged + "-journal")
    }
    if let log = try WriteAheadLog(of: damaged, stop: stop) {
      if !log.hasHeader {
        salvage.problems.append("Its log could not be read: the log's header is damaged.")
      }
      if log.passedOver > 0 {
        salvage.problems.append(
          "Its log is damaged in its middle: what was committed with the last \(log.passedOver) pages of it is missing."
        )
      }
      // SQLite moves no log into a file that lacks more than the log has. The hole is read as pages that are lost.
      if log.databaseBytes > FileSystem.facts(damaged)?.size ?? 0,
        truncate(damaged, off_t(log.databaseBytes)) != 0
      {
        throw FileSystem.failure("extend", damaged)
      }
    }
    let sidecars = ["-wal", "-journal"].filter(isThere)
    do throws(SQLiteError) {
      let connection = try Connection(path: damaged, mode: .damaged)
      _ = try connection.integer("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)")
      try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
      try connection.execute("PRAGMA journal_mode = DELETE")
    } catch {
      // The schema is looked at again.
      if !sidecars.isEmpty, isThere("-wal") || isThere("-journal") {
        salvage.problems.append("Its log could not be read: \(error.message).")
      }
    }
    for suffix in ["-wal", "-shm", "-journal"] { try FileSystem.remove(damaged + suffix) }
    // A file in WAL mode wants its log; bytes 18 and 19 are 1 without.
    try PageFile(damaged)?.leaveWAL()
  }

  /// Whether all of the schema can be read, and SQLite knows each of its tables.
  private func isSchemaWhole(_ connection: Connection) throws(Failure) -> Bool {
    try Database.catching(damaged) { () throws(SQLiteError) in
      let known = Set(try names(connection).map(TableKey.init))
      let list = try connection.prepare(
        "SELECT name FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")
      while try list.step() {
        guard known.contains(TableKey(list.text(0) ?? "")) else { return false }
      }
      return true
    }
  }

  private func names(_ connection: Connection) throws(SQLiteError) -> [String] {
    let list = try connection.prepare("SELECT name FROM pragma_table_list WHERE schema = 'main'")
    var names: [String] = []
    while try list.step() { names.append(list.text(0) ?? "") }
    return names
  }

  // MARK: Making the new one

  private struct Object {
    var type: String
    var name: String
    var root: Int64
    var sql: String
  }

  private func fill(
    _ source: Connection, isSchemaWhole: Bool, _ salvage: inout Salvage
  ) throws(Failure) {
    let objects = try self.objects(source)
    guard objects.contains(where: { $0.type == "table" }) else {
      throw Failure(
        .databaseCorrupt, "No table could be read out of it.", file: damaged,
        howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    let target = try made(like: source)
    let pages = try PageFile(damaged)
    let reader = SalvagedRows(
      source: source, target: target, pages: pages, stop: stop, progress: progress)
    func make(_ object: Object) throws(Failure) -> String? {
      do throws(SQLiteError) {
        try target.execute(object.sql)
        return nil
      } catch {
        guard error.kind != .full else { throw Database.failure(error, result) }
        return error.message
      }
    }
    let virtual = try Database.catching(damaged) { () throws(SQLiteError) in
      try VirtualTable.all(in: source)
    }
    let ordinary = Set(
      try Database.catching(damaged) { () throws(SQLiteError) in
        try Database.tables(source)
      }.map(TableKey.init))
    var tables = objects.filter { $0.type == "table" && ordinary.contains(TableKey($0.name)) }
    try execute("BEGIN", target)
    for table in tables {
      guard let problem = try make(table) else { continue }
      salvage.tables.append(SalvagedTable(table: table.name, problem: problem))
      tables.removeAll { $0.name == table.name }
    }
    // Before the rows come, so that each that does not fit is refused by itself.
    let indexes = objects.filter { $0.type == "index" }
    let unique = indexes.filter { index in
      let words = SQLToken.all(of: index.sql).prefix(2)
      return words.last?.isWord("unique") == true
    }
    for index in unique { try note(try make(index), index, &salvage) }
    for table in tables {
      salvage.tables.append(try reader.copy(table.name, root: table.root))
    }
    for table in virtual where table.rows != .none {
      guard let object = objects.first(where: { $0.name == table.name }) else { continue }
      if let problem = try make(object) {
        salvage.tables.append(SalvagedTable(table: table.name, problem: problem))
      } else if let copied = try reader.copy(
        table, roots: Dictionary(objects.map { ($0.name, $0.root) }) { first, _ in first })
      {
        salvage.tables.append(copied)
      }
    }
    for table in virtual where table.rows == .none {
      guard let object = objects.first(where: { $0.name == table.name }) else { continue }
      try note(try make(object), object, &salvage)
    }
    guard salvage.tables.contains(where: { $0.read > 0 || $0.isWhole }) else {
      throw Failure(
        .databaseCorrupt, "No row could be read out of it.", file: damaged,
        howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    let rest =
      indexes.filter { index in !unique.contains { $0.name == index.name } }
      + objects.filter { $0.type == "view" } + objects.filter { $0.type == "trigger" }
    for object in rest {
      try stop.check()
      try note(try make(object), object, &salvage)
    }
    try copySequences(source, target)
    if !isLedgerWhole(target, salvage, isSchemaWhole: isSchemaWhole) {
      try mendLedger(source, target, objects, &salvage)
    }
    try execute("COMMIT", target)
    if hasStatistics(source) { try? target.execute("ANALYZE") }
    try Database.check(target, .full, file: result, failingAs: .databaseCorrupt)
    salvage.tables.sort { TableKey($0.table) < TableKey($1.table) }
  }

  // MARK: The ledger

  /// A ledger of which rows are missing says a wrong version: it becomes that of a good snapshot with the same schema,
  /// else there is none, and a person says the version.
  private func mendLedger(
    _ source: Connection, _ target: Connection, _ objects: [Object], _ salvage: inout Salvage
  ) throws(Failure) {
    for candidate in good
    where !candidate.isOutdated && isLedger(of: candidate, thatOf: source, target, objects) {
      try takeLedger(of: candidate, target)
      salvage.problems.append(
        "Its ledger could not be read; that of snapshot \(candidate.id) was taken, which has the same schema."
      )
      return
    }
    try execute("DROP TABLE IF EXISTS main.chock_migrations", target)
    let known =
      lastVersion.map {
        " chock's history says that it was at \($0). Once it is restored, look whether it is, and say so: `chock adopt --at \($0)`."
      } ?? " Once it is restored, say its version: `chock adopt --at VERSION`."
    salvage.problems.append(
      "Its ledger could not be read, and no good snapshot is known to be of the same version.\(known)"
    )
  }

  private func isLedgerWhole(
    _ target: Connection, _ salvage: Salvage, isSchemaWhole: Bool
  ) -> Bool {
    guard let table = salvage.tables.first(where: { TableKey($0.table) == .ledger }) else {
      // Nobody has adopted it, or the schema no longer says so.
      return isSchemaWhole
    }
    guard table.isWhole || (table.lost == 0 && table.refused == 0) else { return false }
    do throws(Failure) {
      _ = try LedgerTable.read(target)
      return true
    } catch {
      return false
    }
  }

  /// Whether a snapshot has the same schema, and its ledger every version that can still be read of this one.
  private func isLedger(
    of candidate: Good, thatOf source: Connection, _ target: Connection, _ objects: [Object]
  ) -> Bool {
    func schema(_ objects: [Object]) -> Set<[String]> {
      Set(
        objects.filter { TableKey($0.name) != .ledger }.map { [$0.type, $0.name, $0.sql] })
    }
    func versions(_ connection: Connection, _ way: String = "") -> Set<SchemaVersion>? {
      guard
        let list = try? connection.prepare("SELECT version FROM main.chock_migrations \(way)")
      else { return nil }
      var versions: Set<SchemaVersion> = []
      do throws(SQLiteError) {
        while try list.step() {
          if let version = list.text(0).flatMap({ SchemaVersion($0) }) { versions.insert(version) }
        }
      } catch {
        return nil
      }
      return versions
    }
    guard let snapshot = try? Database.open(candidate.path),
      let theirs = try? self.objects(snapshot), schema(theirs) == schema(objects),
      let known = versions(snapshot), known.isSuperset(of: versions(target) ?? [])
    else { return false }
    // Its index holds the versions, too.
    return versions(source, "INDEXED BY sqlite_autoindex_chock_migrations_1").map { $0 == known }
      ?? true
  }

  private func takeLedger(of candidate: Good, _ target: Connection) throws(Failure) {
    let snapshot = try Database.open(candidate.path)
    try Database.catching(result) { () throws(SQLiteError) in
      try LedgerTable.create(target)
      let isVersion = "kind NOT IN ('begun', 'imported')"
      try target.execute("DELETE FROM main.chock_migrations WHERE \(isVersion)")
      let rows = try snapshot.prepare("SELECT * FROM main.chock_migrations WHERE \(isVersion)")
      let insert = try target.prepare(
        "INSERT OR REPLACE INTO main.chock_migrations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")
      while try rows.step() {
        insert.reset()
        for column in Int32(0)..<8 { try insert.bind(rows, column: column, at: column + 1) }
        try insert.run()
      }
    }
  }

  private func note(
    _ problem: String?, _ object: Object, _ salvage: inout Salvage
  ) throws(Failure) {
    guard let problem else { return }
    salvage.problems.append("The \(object.type) \(object.name) is not there: \(problem).")
  }

  private func hasStatistics(_ source: Connection) -> Bool {
    (try? source.integer("SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_stat1'"))
      == 1
  }

  /// In the order in which they were made, as far as they can be read.
  private func objects(_ source: Connection) throws(Failure) -> [Object] {
    var objects: [Object] = []
    do throws(SQLiteError) {
      let list = try source.prepare(
        "SELECT type, name, rootpage, sql FROM main.sqlite_schema ORDER BY rowid")
      while try list.step() {
        // What SQLite makes by itself has none.
        guard let sql = list.text(3), let name = list.text(1), !name.hasPrefix("sqlite_") else {
          continue
        }
        objects.append(
          Object(type: list.text(0) ?? "", name: name, root: list.integer(2), sql: sql))
      }
    } catch {
      try stop.check()
    }
    return objects
  }

  private func made(like source: Connection) throws(Failure) -> Connection {
    let target = try Database.create(result)
    func number(_ name: String) -> Int64 { (try? source.integer("PRAGMA main.\(name)")) ?? 0 }
    let encoding = (try? source.text("PRAGMA encoding")) ?? "UTF-8"
    // What an older application wrote against a CHECK is no damage; nor is what points to a row that is lost.
    try execute(
      """
      PRAGMA page_size = \(number("page_size")); PRAGMA encoding = '\(encoding)';
      PRAGMA auto_vacuum = \(number("auto_vacuum")); PRAGMA synchronous = OFF;
      PRAGMA journal_mode = MEMORY; PRAGMA ignore_check_constraints = ON;
      PRAGMA foreign_keys = OFF; PRAGMA application_id = \(number("application_id"));
      PRAGMA user_version = \(number("user_version"))
      """, target)
    return target
  }

  private func execute(_ sql: String, _ connection: Connection) throws(Failure) {
    try Database.catching(connection.fileName) { () throws(SQLiteError) in
      try connection.execute(sql)
    }
  }

  /// A number that AUTOINCREMENT has given is never given again.
  private func copySequences(_ source: Connection, _ target: Connection) throws(Failure) {
    guard let known = try? Database.sequences(source), !known.isEmpty else { return }
    let made = Set(
      try Database.catching(result) { () throws(SQLiteError) in
        try Database.tables(target)
      }.map(TableKey.init))
    for (table, number) in known where made.contains(table) {
      try Database.catching(result) { () throws(SQLiteError) in
        let update = try target.prepare(
          "UPDATE main.sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1 COLLATE NOCASE")
        try update.bind(table.text, at: 1)
        try update.bind(number, at: 2)
        let before = target.totalChanges
        try update.run()
        guard target.totalChanges == before else { return }
        let insert = try target.prepare(
          """
          INSERT INTO main.sqlite_sequence (name, seq)
          SELECT name, ?2 FROM main.sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE
          """)
        try insert.bind(table.text, at: 1)
        try insert.bind(number, at: 2)
        try insert.run()
      }
    }
  }
}
