import Migrations
import SQLite

/// A damaged file that can be read table by table.
struct SalvageSource {
  /// A tree that belongs to no table, and the name by which it is read.
  struct LostTree {
    var name: String
    var root: Int64
    var rows: LostRows
  }

  let connection: Connection
  /// What the result gets.
  var objects: [SalvagedObject]
  /// Whether all that belongs to it is known.
  var isSchemaWhole: Bool
  /// `PRAGMA auto_vacuum` of the file as it was.
  var autoVacuum: Int64
  var lost: [LostTree] = []
  /// Tables of which no page could be found.
  var missing: Set<TableKey> = []
  /// How many rows have more fields than their table has columns.
  var longer: [TableKey: Int64] = [:]
  /// Of the schema, where the ledger says another one; nil where they are the same, or nobody knows.
  var versionOfSchema: String?
}

/// Finds which pages of a file belong to which table where its schema, or a part of it, is lost
/// (docs/decisions/0077-a-schema-that-is-lost.md).
///
/// What the file still says of itself counts. What it says no more is described by a good snapshot, brought to the
/// version that the file was at; then the schema is written anew into the private copy, so that SQLite reads it.
struct LostSchema {
  private let path: String
  private let file: PageFile
  private let good: [Salvager.Good]
  private let versions: [String]
  private let lastVersion: String?
  private let stop: StopSignal
  private let bring: (Salvager.Good, _ version: String) throws(Failure) -> LaterState
  private let connect: () throws(Failure) -> Connection
  /// Where the list of free pages begins is lost with the header.
  private let isListLost: Bool
  private let first: [UInt8]
  private let bytes: Int
  private let autoVacuum: Int64

  init(
    of path: String, _ file: PageFile, good: [Salvager.Good], versions: [String],
    lastVersion: String?, isHeaderMended: Bool, stop: StopSignal,
    bring: @escaping (Salvager.Good, _ version: String) throws(Failure) -> LaterState,
    connect: @escaping () throws(Failure) -> Connection
  ) throws(Failure) {
    self.path = path
    self.file = file
    self.good = good
    self.versions = versions
    self.lastVersion = lastVersion
    self.stop = stop
    self.bring = bring
    self.connect = connect
    guard let first = file.page(1) else {
      throw Failure(.notADatabase, "It has no page.", file: path)
    }
    self.first = first
    bytes = file.pages * file.pageSize
    isListLost = isHeaderMended || ![5, 13].contains(first[100])
    // <https://sqlite.org/fileformat2.html#the_database_header>
    autoVacuum = first.number(at: 52) == 0 ? 0 : first.number(at: 64) == 0 ? 1 : 2
  }

  /// What is read, and as what.
  private struct Reading {
    var description: SchemaDescription?
    var attribution: Attribution
  }

  /// - Throws: `.databaseCorrupt` where no row can be read; the stop that was requested, `.noSpace`.
  func found(_ salvage: inout Salvage) throws(Failure) -> SalvageSource {
    var own = (try? connect()).map(ownObjects) ?? []
    let trees = try PageTrees(of: file, isListLost: isListLost, stop: stop)
    own += try strayObjects(trees, besides: own)
    // What the file still names is known if it is there.
    let known = own.filter { object in
      object.type == "table"
        && (object.root == 0 || trees.trees[UInt32(clamping: object.root)] != nil)
    }
    // Made on copies, which are there as long as these are.
    var later: [LaterState] = []
    defer { withExtendedLifetime(later) {} }
    var problems: [String] = []
    var descriptions = try self.descriptions(&later, &problems)
    var isSaid: String?
    while true {
      let reading = try read(descriptions, own, known, isSaid)
      guard
        !known.isEmpty || !reading.attribution.found.isEmpty || !reading.attribution.lost.isEmpty
      else {
        throw Failure(
          .databaseCorrupt,
          good.isEmpty
            ? "Its schema is lost, there is no good snapshot to take that from, and no row could be found."
            : "Its schema is lost, and no row could be found.",
          file: path, howToClear: "Restore a snapshot: `chock snapshots list`.")
      }
      var source = try write(reading, own, known)
      let ledger = source.missing.contains(.ledger) ? nil : ledgerVersion(source.connection)
      if let ledger, isSaid == nil, ledger != reading.description?.version, !good.isEmpty {
        isSaid = ledger
        problems = []
        if !descriptions.contains(where: { $0.version == ledger }),
          let one = try description(at: ledger, &later, &problems)
        {
          descriptions.insert(one, at: 0)
        }
        if descriptions.contains(where: { $0.version == ledger }) { continue }
      }
      salvage.problems += problems
      if own.isEmpty, let ledger, let version = reading.description?.version, version != ledger {
        source.versionOfSchema = version
      }
      tell(reading, own, ledger, &salvage)
      return source
    }
  }

  private func ledgerVersion(_ connection: Connection) -> String? {
    let ledger = (try? LedgerTable.read(connection)) ?? nil
    return ledger?.current.description
  }

  // MARK: What the file says itself

  /// Leaf by leaf, so that what stands behind one that is lost is read, too.
  private func ownObjects(_ connection: Connection) -> [SalvagedObject] {
    var objects: [SalvagedObject] = []
    try? file.forEachLeaf(ofTableAt: 1) { leaf in
      objects += SalvagedObject.readable(
        connection, where: "rowid BETWEEN \(leaf.low) AND \(leaf.high)")
    }
    return objects
  }

  /// Leaves of the schema that no inner page leads to any more.
  private func strayObjects(
    _ trees: PageTrees, besides own: [SalvagedObject]
  ) throws(Failure) -> [SalvagedObject] {
    let leaves = trees.trees.values.filter { $0.isSchema && $0.rows > 0 && $0.isTable }
    guard !leaves.isEmpty else { return [] }
    let connection = try withSchema(
      leaves.map { tree in
        SalvagedObject(
          type: "table", name: "chock_leaf_\(tree.root)", table: "chock_leaf_\(tree.root)",
          root: Int64(tree.root), sql: "CREATE TABLE chock_leaf_\(tree.root) (a, b, c, d, e)")
      })
    var known = Set(own.map { [$0.type, TableKey($0.name).text] })
    var objects: [SalvagedObject] = []
    for tree in leaves.sorted(by: { $0.root < $1.root }) {
      let list = try? connection.prepare("SELECT a, b, c, d, e FROM chock_leaf_\(tree.root)")
      while let list, (try? list.step()) == true {
        if let object = SalvagedObject(list),
          known.insert([object.type, TableKey(object.name).text]).inserted
        {
          objects.append(object)
        }
      }
    }
    return objects
  }

  // MARK: What describes the rest

  private func descriptions(
    _ later: inout [LaterState], _ problems: inout [String]
  ) throws(Failure) -> [SchemaDescription] {
    var all: [SchemaDescription] = []
    for version in versions {
      if let one = try description(at: version, &later, &problems) { all.append(one) }
    }
    for good in good where !all.contains(where: { !$0.isBrought && $0.good.id == good.id }) {
      try stop.check()
      if let one = try described(good, at: good.path, good.version) { all.append(one) }
    }
    return all
  }

  /// By a snapshot of that version, or by the newest one that the migration files bring there.
  private func description(
    at version: String, _ later: inout [LaterState], _ problems: inout [String]
  ) throws(Failure) -> SchemaDescription? {
    if let same = good.first(where: { $0.version == version }) {
      return try described(same, at: same.path, version)
    }
    var failure: Failure?
    for good in good {
      do throws(Failure) {
        let state = try bring(good, version)
        later.append(state)
        return try described(good, at: state.path, version)
      } catch {
        try stop.check()
        guard error.code != .noSpace else { throw error }
        failure = failure ?? error
      }
    }
    if let failure {
      problems.append(
        "The schema of version \(version) could not be made from the migration files: \(failure.message)"
      )
    }
    return nil
  }

  /// Nil where it tells nothing.
  private func described(
    _ good: Salvager.Good, at path: String, _ version: String?
  ) throws(Failure) -> SchemaDescription? {
    do throws(Failure) {
      return try SchemaDescription(good, at: path, version: version)
    } catch {
      try stop.check()
      return nil
    }
  }

  /// By the one that the most rows fit; of those alike by the first.
  private func read(
    _ descriptions: [SchemaDescription], _ own: [SalvagedObject], _ known: [SalvagedObject],
    _ version: String?
  ) throws(Failure) -> Reading {
    let names = Set(known.map { TableKey($0.name) })
    let roots = Set(own.map { UInt32(clamping: $0.root) })
    let said = descriptions.filter { $0.version == version }
    var best: Reading?
    for one in said.isEmpty ? descriptions : said {
      let trees = try scan(one)
      let attribution = Attribution(one, trees, known: names, roots: roots)
      if attribution.rows > best?.attribution.rows ?? -1 {
        best = Reading(description: one, attribution: attribution)
      }
    }
    if let best { return best }
    return Reading(
      description: nil, attribution: Attribution(nil, try scan(nil), known: names, roots: roots))
  }

  private func scan(_ description: SchemaDescription?) throws(Failure) -> PageTrees {
    try restore()
    return try PageTrees(
      of: file, samples: description?.samples ?? [:], isListLost: isListLost, stop: stop)
  }

  // MARK: Writing it anew

  private func restore() throws(Failure) {
    try file.write(first, at: 0)
    try file.cut(to: bytes)
  }

  private func write(
    _ reading: Reading, _ own: [SalvagedObject], _ known: [SalvagedObject]
  ) throws(Failure) -> SalvageSource {
    try restore()
    // A table whose root is gone is described by the snapshot, if that has it.
    let described = Set(reading.description?.tables.map { TableKey($0.name) } ?? [])
    let there = Set(known.map { TableKey($0.name) })
    var objects = own.filter { object in
      let name = TableKey(object.name)
      return object.type != "table" || there.contains(name) || !described.contains(name)
    }
    let names = Set(objects.map { [$0.type, TableKey($0.name).text] })
    var entries = objects.filter { $0.type == "table" || ($0.type == "index" && $0.root > 0) }
    var missing: Set<TableKey> = []
    var longer: [TableKey: Int64] = [:]
    var lost: [SalvageSource.LostTree] = []
    func add(_ tree: PageTrees.Tree, _ root: UInt32, _ mayBe: [String]) {
      let name = "chock_lost_\(tree.root)"
      let fields = (0..<tree.mostFields).map { "c\($0)" }.joined(separator: ", ")
      entries.append(
        SalvagedObject(
          type: "table", name: name, table: name, root: Int64(root),
          sql: "CREATE TABLE \(name) (\(fields))"))
      lost.append(
        SalvageSource.LostTree(
          name: name, root: Int64(root),
          rows: LostRows(
            page: Int64(tree.root), rows: tree.rows, fields: tree.mostFields, mayBe: mayBe)))
    }
    if let description = reading.description {
      let all = try PageTrees(of: file, isListLost: isListLost, stop: stop)
      var roots: [TableKey: Int64] = [:]
      for (index, found) in reading.attribution.found {
        let table = description.tables[index]
        let root =
          found.parts.isEmpty ? found.root : try file.addTree(above: found.parts)
        roots[TableKey(table.name)] = Int64(root)
        if found.longer > 0, let tree = all.trees[found.root] {
          longer[TableKey(table.name)] = found.longer
          if tree.isTable { add(tree, root, [table.name]) }
        }
        if found.evidence == .parts { missing.insert(TableKey(table.name)) }
      }
      for (index, isEmpty) in reading.attribution.withoutTree {
        let table = description.tables[index]
        roots[TableKey(table.name)] = Int64(try file.addEmptyTree(isTable: table.hasRowid))
        if !isEmpty { missing.insert(TableKey(table.name)) }
      }
      for object in description.objects
      where !names.contains([object.type, TableKey(object.name).text]) {
        var object = object
        object.root = roots[TableKey(object.name)] ?? 0
        if object.type == "table" { entries.append(object) }
        objects.append(object)
      }
    }
    for (tree, mayBe) in reading.attribution.lost { add(tree, tree.root, mayBe) }
    return SalvageSource(
      connection: try withSchema(entries), objects: objects.filter { !$0.isOfSQLite },
      isSchemaWhole: reading.description != nil, autoVacuum: autoVacuum, lost: lost,
      missing: missing, longer: longer)
  }

  /// The private copy with a schema of these alone.
  private func withSchema(_ entries: [SalvagedObject]) throws(Failure) -> Connection {
    try file.clearSchema()
    try file.setPageCount()
    try Database.catching(path) { () throws(SQLiteError) in
      let connection = try Connection(path: path, mode: .readWrite)
      try connection.execute(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA writable_schema = ON; BEGIN")
      let insert = try connection.prepare(
        "INSERT INTO main.sqlite_schema VALUES (?1, ?2, ?3, ?4, ?5)")
      for entry in entries {
        insert.reset()
        for (index, text) in [(1, entry.type), (2, entry.name), (3, entry.table), (5, entry.sql)] {
          try insert.bind(text, at: Int32(index))
        }
        try insert.bind(entry.root, at: 4)
        try insert.run()
      }
      try connection.execute("COMMIT")
    }
    return try connect()
  }

  // MARK: What is told

  private func tell(
    _ reading: Reading, _ own: [SalvagedObject], _ ledger: String?, _ salvage: inout Salvage
  ) {
    let what = own.isEmpty ? "Its schema" : "A part of its schema"
    guard let description = reading.description else {
      salvage.problems.append(
        own.isEmpty
          ? "Its schema is lost, and there is no good snapshot to take that from: nobody knows what its rows belong to. Tables WITHOUT ROWID look like indexes, and are not in the result."
          : "A part of its schema could not be read, and there is no good snapshot to take that from."
      )
      tell(lost: reading.attribution, &salvage)
      return
    }
    salvage.schemaFrom = description.good.id
    let way =
      description.isBrought
      ? ", brought to version \(description.version ?? "?") with the migration files" : ""
    salvage.problems.append(
      "\(what) could not be read; that of snapshot \(description.good.id) was taken\(way).\(doubt(of: description, ledger))"
    )
    for (index, found) in reading.attribution.found.sorted(by: { $0.key < $1.key }) {
      let name = description.tables[index].name
      switch found.evidence {
      case .place: break
      case .rows:
        salvage.problems.append(
          "Table \(name) was found at page \(found.root) by rows that the snapshot has, too.")
      case .shape:
        salvage.problems.append(
          "Table \(name) was found at page \(found.root) by the shape of its rows alone: look whether they are its own."
        )
      case .parts:
        salvage.problems.append(
          "The root of table \(name) is lost; leaves that stand where the snapshot has some of it were read."
        )
      }
      if found.longer > 0 {
        salvage.problems.append(
          "\(found.longer) rows of table \(name) have more fields than the \(description.tables[index].columns.count) columns of that schema: it is of another version. What is more is in the table lost_and_found alone."
        )
      }
    }
    for (index, isEmpty) in reading.attribution.withoutTree where !isEmpty {
      salvage.problems.append(
        "No page of table \(description.tables[index].name) could be found for certain: it is there without rows."
      )
    }
    tell(lost: reading.attribution, &salvage)
  }

  private func tell(lost attribution: Attribution, _ salvage: inout Salvage) {
    guard !attribution.lost.isEmpty else { return }
    let parts = attribution.lost.prefix(20).map { tree, mayBe in
      "page \(tree.root): \(tree.rows) of \(tree.mostFields) fields"
        + (mayBe.isEmpty ? "" : ", maybe of \(mayBe.joined(separator: " or "))")
    }
    let more = attribution.lost.count - parts.count
    salvage.problems.append(
      "\(attribution.lost.reduce(0) { $0 + $1.tree.rows }) rows belong to no table for certain. They are in the table lost_and_found (\(parts.joined(separator: "; "))\(more > 0 ? "; and \(more) more" : ""))."
    )
  }

  /// What is to be said of a schema that may be of another version.
  private func doubt(of description: SchemaDescription, _ ledger: String?) -> String {
    if let ledger {
      return ledger == description.version
        ? ""
        : " It is that of version \(description.version ?? "?"), and the ledger says that the database was at \(ledger)."
    }
    guard description.version != lastVersion || lastVersion == nil, description.good.isOutdated
    else { return "" }
    let known = lastVersion.map { " chock's history says that the database was at \($0)." } ?? ""
    return
      " It is that of version \(description.version ?? "?").\(known) What a later version has more is not in its tables."
  }
}
