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
  /// Rows with more fields than the table has columns by the schema that was taken; nil: none. With all their fields
  /// they are in `lost_and_found`.
  public var longer: Int64?
  /// Why nothing of it is in the result.
  public var problem: String?

  public var isWhole: Bool {
    unreadablePlaces == 0 && refused == 0 && problem == nil && longer == nil
  }
}

/// Rows that belong together and to no table that is known. They are in the table `lost_and_found` of the result.
public struct LostRows: Codable, Sendable, Equatable {
  /// The first page of their tree: `rootpgno` there.
  public var page: Int64
  public var rows: Int64
  /// How many fields the longest has.
  public var fields: Int
  /// The tables whose rows look like these.
  public var mayBe: [String]
}

/// What became of a damaged database.
public struct Salvage: Codable, Sendable, Equatable {
  public var tables: [SalvagedTable] = []
  /// What of the file as a whole, or of its schema, could not be read or made again.
  public var problems: [String] = []
  /// The snapshot whose schema was taken, since the file's own could not be read.
  public var schemaFrom: String?
  /// Rows whose table nobody knows; nil: none.
  public var lost: [LostRows]?
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
  /// Those that it may have been at, the likeliest first.
  let versions: [String]
  /// Carries the migrations up to a version out on a copy of a snapshot.
  let bring: (Good, _ version: String) throws(Failure) -> LaterState
  let stop: StopSignal
  let progress: (_ table: String, _ rows: Int64) -> Void

  public init(
    of damaged: String, into result: String, good: [Good], lastVersion: String? = nil,
    versions: [String] = [], stop: StopSignal,
    bring: @escaping (Good, _ version: String) throws(Failure) -> LaterState = Self.noFiles,
    progress: @escaping (_ table: String, _ rows: Int64) -> Void = { _, _ in }
  ) {
    (self.damaged, self.result, self.good) = (damaged, result, good)
    self.lastVersion = lastVersion
    self.versions = versions.isEmpty ? lastVersion.map { [$0] } ?? [] : versions
    (self.stop, self.bring, self.progress) = (stop, bring, progress)
  }

  /// For who has no migration files.
  public static func noFiles(_ good: Good, _ version: String) throws(Failure) -> LaterState {
    throw Failure(.migrationsMissing, "There are no migration files.")
  }

  /// - Throws: `.notADatabase` or `.databaseCorrupt` when nothing can be read, `.noSpace`, the stop that was
  ///   requested. What was made so far is the caller's to remove.
  public func run() throws(Failure) -> Salvage {
    var salvage = Salvage()
    do throws(Failure) {
      // As the application had it: a snapshot of the result says so, and its restore brings it back.
      let hasLog = (FileSystem.facts(damaged + "-wal")?.size ?? 0) > 0
      let isWAL =
        try FileHeader(of: damaged).isWAL ?? (hasLog || good.first?.journalMode == "wal")
      try fill(try opened(&salvage), &salvage)
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
  private func opened(_ salvage: inout Salvage) throws(Failure) -> SalvageSource {
    let isHollow = FileSystem.facts(damaged)?.size == 0
    let byLog = FileHeader.pageSize(byLogOf: damaged)
    try readLog(&salvage)
    guard FileSystem.facts(damaged)?.size ?? 0 > 0 else {
      throw Failure(
        .databaseEmpty,
        "\(damaged) is empty (0 bytes), and nothing that was committed can be read in its log.",
        file: damaged, howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    if isHollow {
      salvage.problems.append(
        "It is empty (0 bytes): only what its log holds could be read.")
    }
    let isHeaderMended = try mendHeader(&salvage, byLog: byLog)
    try PageFile(damaged)?.setPageCount()
    try leaveLog(&salvage)
    try PageFile(damaged)?.setPageCount()
    if !isHollow, let connection = try? connect(), (try? isSchemaWhole(connection)) == true {
      return SalvageSource(
        connection: connection, objects: try objects(connection), isSchemaWhole: true,
        autoVacuum: number("auto_vacuum", connection))
    }
    guard let file = try PageFile(damaged) else {
      throw Failure(.notADatabase, "It is no SQLite database.", file: damaged)
    }
    return try LostSchema(
      of: damaged, file, good: good, versions: versions, lastVersion: lastVersion,
      isHeaderMended: isHeaderMended, stop: stop, bring: bring
    ) { () throws(Failure) in try connect() }.found(&salvage)
  }

  /// Makes a header that cannot be right be that of a database again. What is lost of it is tried: the header that
  /// leads to the most rows is taken.
  ///
  /// - Returns: whether it was mended.
  private func mendHeader(_ salvage: inout Salvage, byLog: Int?) throws(Failure) -> Bool {
    let own = try FileHeader(of: damaged)
    let goodHeaders = good.compactMap { try? FileHeader(of: $0.path) }
    let size = FileSystem.facts(damaged)?.size ?? 0
    guard !own.isSound(size: size, like: goodHeaders.first, byLog: byLog) else { return false }
    let usual = goodHeaders.first?.pages?.reserved ?? 0
    // Of those that lead to as many rows the first is taken.
    let said =
      [byLog.map { FileHeader.Pages(size: $0, reserved: usual) }] + goodHeaders.map(\.pages)
      + [own.hasMagic ? own.pages : nil]
    let any = FileHeader.Pages.sizes.map { FileHeader.Pages(size: $0, reserved: 0) }
    var best: (header: FileHeader, rows: (Int, Int))?
    var tried: Set<FileHeader.Pages> = []
    for pages in said.compactMap(\.self) + any where tried.insert(pages).inserted {
      let header = own.rebuilt(pages, size: size, like: goodHeaders.first)
      try header.write(to: damaged)
      let rows = try rowsInReach()
      if rows > best?.rows ?? (-1, -1) { best = (header, rows) }
      // Without a schema each further look reads the whole file.
      if rows.byPages > 0, pages.size == byLog || goodHeaders.contains(where: { $0.pages == pages })
      {
        break
      }
    }
    guard let best, best.rows > (0, 0) || said.contains(where: { $0 != nil }) else {
      throw Failure(
        .notADatabase,
        "It is no SQLite database, or its first page is lost, and there is no good snapshot to take that from.",
        file: damaged, howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    try best.header.write(to: damaged)
    if !best.header.isSame(as: own) {
      salvage.problems.append("A part of its header could not be read.")
    }
    return true
  }

  /// To how many rows the schema leads, by the bare pages of the file; and where it leads nowhere, how many there are.
  private func rowsInReach() throws(Failure) -> (bySchema: Int, byPages: Int) {
    try stop.check()
    guard let pages = try PageFile(damaged, isReadOnly: true) else { return (0, 0) }
    let connection = try? Connection(path: damaged, mode: .damagedAlone)
    let objects = try connection.map { (open) throws(Failure) in try self.objects(open) } ?? []
    guard !objects.isEmpty else {
      let trees = try PageTrees(of: pages, isListLost: true, stop: stop).trees
      return (0, trees.values.reduce(0) { $0 + Int(clamping: $1.rows) })
    }
    var rows = objects.count
    for object in objects where object.type == "table" {
      guard let root = UInt32(exactly: object.root), root > 0 else { continue }
      try pages.forEachLeaf(ofTableAt: root) { (leaf) throws(Failure) in
        rows += leaf.keys.count
        try stop.check()
      }
    }
    return (rows, 0)
  }

  private func connect() throws(Failure) -> Connection {
    let connection = try Database.catching(damaged) { () throws(SQLiteError) in
      try Connection(path: damaged, mode: .damaged)
    }
    let stop = stop
    connection.interrupt { stop.requested != nil }
    return connection
  }

  private func isThere(_ suffix: String) -> Bool {
    (FileSystem.facts(damaged + suffix)?.size ?? 0) > 0
  }

  /// Moves what the log holds into the file, and plays a damaged journal back. What belongs to a whole journal is
  /// SQLite's to do.
  private func readLog(_ salvage: inout Salvage) throws(Failure) {
    if let journal = RollbackJournal(of: damaged), !journal.isWhole({ _, _ in nil }) {
      let lost = try journal.playBack(into: damaged, stop: stop)
      if lost > 0 {
        salvage.problems.append(
          "Its journal is damaged: what an unfinished transaction has changed is in the result where \(lost == 1 ? "a page" : "\(lost) pages") of it could not be read."
        )
      }
      try FileSystem.remove(damaged + "-journal")
    }
    guard !isThere("-journal"), let log = try WriteAheadLog(of: damaged, stop: stop) else { return }
    if !log.hasHeader {
      salvage.problems.append("Its log could not be read: the log's header is damaged.")
    }
    if log.passedOver > 0 {
      salvage.problems.append(
        "Its log is damaged in its middle: what was committed with the last \(log.passedOver) pages of it is missing."
      )
    }
    try log.play(into: damaged, stop: stop)
    for suffix in ["-wal", "-shm"] { try FileSystem.remove(damaged + suffix) }
  }

  /// Has SQLite play the journal back. Where that fails it is left out.
  private func leaveLog(_ salvage: inout Salvage) throws(Failure) {
    let sidecars = ["-wal", "-journal"].filter(isThere)
    if !sidecars.isEmpty {
      do throws(SQLiteError) {
        let connection = try Connection(path: damaged, mode: .damaged)
        _ = try connection.integer("SELECT count(*) FROM (SELECT 1 FROM sqlite_schema LIMIT 1)")
        try connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        try connection.execute("PRAGMA journal_mode = DELETE")
      } catch {
        // The schema is looked at again.
        if isThere("-wal") || isThere("-journal") {
          salvage.problems.append("Its log could not be read: \(error.message).")
        }
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

  private func fill(_ found: SalvageSource, _ salvage: inout Salvage) throws(Failure) {
    let (source, objects) = (found.connection, found.objects)
    guard objects.contains(where: { $0.type == "table" }) || !found.lost.isEmpty else {
      throw Failure(
        .databaseCorrupt, "No table could be read out of it.", file: damaged,
        howToClear: "Restore a snapshot: `chock snapshots list`.")
    }
    let target = try made(like: source, autoVacuum: found.autoVacuum)
    let pages = try PageFile(damaged)
    let reader = SalvagedRows(
      source: source, target: target, pages: pages, stop: stop, progress: progress)
    func make(_ object: SalvagedObject) throws(Failure) -> String? {
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
      var copied = try reader.copy(table.name, root: table.root)
      if found.missing.contains(TableKey(table.name)) { copied.unreadablePlaces += 1 }
      copied.longer = found.longer[TableKey(table.name)]
      salvage.tables.append(copied)
    }
    try copyLost(found.lost, reader, target, &salvage)
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
    if let version = found.versionOfSchema {
      try execute("DROP TABLE IF EXISTS main.chock_migrations", target)
      salvage.problems.append(
        "Its ledger is left out, since the schema is that of version \(version). Once it is restored, look whether it is, and say so: `chock adopt --at \(version)`."
      )
    } else if !isLedgerWhole(target, salvage, isSchemaWhole: found.isSchemaWhole) {
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
    _ source: Connection, _ target: Connection, _ objects: [SalvagedObject],
    _ salvage: inout Salvage
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
    of candidate: Good, thatOf source: Connection, _ target: Connection, _ objects: [SalvagedObject]
  ) -> Bool {
    func schema(_ objects: [SalvagedObject]) -> Set<[String]> {
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
    _ problem: String?, _ object: SalvagedObject, _ salvage: inout Salvage
  ) throws(Failure) {
    guard let problem else { return }
    salvage.problems.append("The \(object.type) \(object.name) is not there: \(problem).")
  }

  private func hasStatistics(_ source: Connection) -> Bool {
    (try? source.integer("SELECT count(*) FROM main.sqlite_schema WHERE name = 'sqlite_stat1'"))
      == 1
  }

  /// In the order in which they were made, as far as they can be read; without SQLite's own.
  private func objects(_ source: Connection) throws(Failure) -> [SalvagedObject] {
    let objects = SalvagedObject.readable(source).filter { !$0.isOfSQLite }
    try stop.check()
    return objects
  }

  /// Rows that belong to no table go into one of their own, as the shell's `.recover` has it.
  private func copyLost(
    _ lost: [SalvageSource.LostTree], _ reader: SalvagedRows, _ target: Connection,
    _ salvage: inout Salvage
  ) throws(Failure) {
    guard let most = lost.map(\.rows.fields).max() else { return }
    let taken = Set(
      try Database.catching(result) { () throws(SQLiteError) in try names(target) }
        .map(TableKey.init))
    var name = "lost_and_found"
    var number = 0
    while taken.contains(TableKey(name)) {
      number += 1
      name = "lost_and_found_\(number)"
    }
    let fields = (0..<most).map { "c\($0)" }
    try execute(
      "CREATE TABLE main.\(name) (\((["rootpgno INTEGER", "may_be TEXT", "id INTEGER"] + fields).joined(separator: ", ")))",
      target)
    var whole = SalvagedTable(table: name)
    for tree in lost {
      let copied = try reader.copy(tree, into: name)
      whole.read += copied.read
      whole.unreadablePlaces += copied.unreadablePlaces
      whole.refused += copied.refused
      whole.problem = whole.problem ?? copied.problem
    }
    salvage.tables.append(whole)
    salvage.lost = lost.map(\.rows)
  }

  private func made(like source: Connection, autoVacuum: Int64) throws(Failure) -> Connection {
    let target = try Database.create(result)
    func number(_ name: String) -> Int64 { self.number(name, source) }
    let encoding = (try? source.text("PRAGMA encoding")) ?? "UTF-8"
    // What an older application wrote against a CHECK is no damage; nor is what points to a row that is lost.
    try execute(
      """
      PRAGMA page_size = \(number("page_size")); PRAGMA encoding = '\(encoding)';
      PRAGMA auto_vacuum = \(autoVacuum); PRAGMA synchronous = OFF;
      PRAGMA journal_mode = MEMORY; PRAGMA ignore_check_constraints = ON;
      PRAGMA foreign_keys = OFF; PRAGMA application_id = \(number("application_id"));
      PRAGMA user_version = \(number("user_version"))
      """, target)
    return target
  }

  private func number(_ name: String, _ connection: Connection) -> Int64 {
    (try? connection.integer("PRAGMA main.\(name)")) ?? 0
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
