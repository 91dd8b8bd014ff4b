import Glibc
public import Migrations
import SQLite
import Storage

/// One file that makes of an empty database what all files up to a version make of it.
public struct Squash: Sendable, Encodable {
  public var schema = "chock.SQUASH/1"
  public var version: SchemaVersion
  /// The path of the file.
  public var file: String
  /// How many files it stands for.
  public var files: Int
  public var rows: Int64
  /// What is worth a look.
  public var warnings: [String]

  /// Writes the baseline file of a version. It takes effect on new databases only; older ones go through the files.
  ///
  /// It is proven before it is written: on a database of its own it has to make the same schema and the same rows.
  ///
  /// - Throws: `.notFound` for a version that no file has, `.integrity` where one file cannot do the same.
  public init(_ catalog: MigrationCatalog, to version: SchemaVersion) throws(Failure) {
    let files = try catalog.upTo(version)
    guard let last = files.last else {
      throw Failure(.usage, "No file has version 0.", howToClear: "Choose the version of a file.")
    }
    let all = try MigrationCatalog(directory: catalog.directory, migrations: catalog.migrations)
    let made = try Self.make(all, upTo: version, checkingAnswers: true)
    let content = try Content(made)
    guard !content.schema.objects.isEmpty else {
      throw Failure(
        .usage, "The files up to \(version) make nothing.", file: catalog.directory,
        howToClear: "Squash to a later version.")
    }
    warnings = try Self.warnings(files, made, content, again: try Self.make(all, upTo: version))

    var stem = String(last.fileName.dropLast(".sql".count))
    if stem.hasSuffix(".up") { stem.removeLast(".up".count) }
    let fileName = stem + ".baseline"
    let path =
      (catalog.directory.hasSuffix("/") ? catalog.directory : catalog.directory + "/") + fileName
    let head = "-- Description: All that the files up to \(version) make of a new database\n"
    let body = "\n\(try Dump(made.connection, content).text)"
    let digest = MigrationCatalog.digest(of: files, by: head + body)
    let text = "\(head)-- Squashes: \(digest)\n\(body)"
    // Line ends of a file do not count, and so cannot be kept.
    try Self.refuse(
      text.utf8.contains(13) ? ["a value or statement holds a carriage return"] : [], all)
    let baseline = try Migration(fileName: fileName, path: path, text: text)
    try Self.prove(
      baseline, try MigrationCatalog(directory: catalog.directory, migrations: files),
      gives: content, made)
    if all.migrations.count > files.count { try Self.prove(baseline, fits: all) }

    try FileSystem.replace(path, with: Array(text.utf8))
    // As the other files are: the daemon's user reads it.
    chmod(path, 0o644)
    // One of this version by an older name.
    for name in try FileSystem.names(in: catalog.directory)
    where name.hasSuffix(".baseline") && name != fileName {
      let other = catalog.directory + "/" + name
      let text = String(decoding: try FileSystem.read(other) ?? [], as: UTF8.self)
      if (try? Migration(fileName: name, path: other, text: text))?.version == version {
        try FileSystem.remove(other)
      }
    }
    self.version = version
    file = path
    self.files = files.count
    rows = content.tables.values.reduce(0) { $0 + $1.rows }
  }

  /// Runs the files, one by one.
  private static func make(
    _ catalog: MigrationCatalog, upTo version: SchemaVersion, checkingAnswers: Bool = false
  ) throws(Failure) -> Scratch {
    let scratch = try Scratch()
    for file in try catalog.upTo(version) {
      if checkingAnswers, !file.inputs.isEmpty {
        try checkAnswers(file, on: try Scratch(copyOf: scratch))
      }
      try scratch.apply(catalog, .update(to: file.version, outOfOrder: false))
    }
    return scratch
  }

  /// What a person answers must not matter on a new database: of a baseline nobody is asked.
  ///
  /// It does not where a statement with an answer only goes over the rows of tables that have none.
  private static func checkAnswers(_ file: Migration, on scratch: Scratch) throws(Failure) {
    let connection = scratch.connection
    for section in file.migrate {
      for statement in SQLStatement.all(of: section) {
        let isHarmless = try Database.catching(file.path) { () throws(SQLiteError) in
          var tables: Set<String> = []
          connection.authorize { request in
            switch request.action {
            case .read, .update, .delete:
              if request.trigger == nil, let table = request.first { tables.insert(table) }
            default: break
            }
            return true
          }
          defer { connection.authorize(nil) }
          let prepared = try connection.prepare(statement.text)
          let hasAnswer = !prepared.parameters.isEmpty && !prepared.isReadOnly
          var isEmpty = !tables.isEmpty
          for table in tables where hasAnswer {
            if try connection.prepare("SELECT 1 FROM \(Database.quoted(table))").step() {
              isEmpty = false
            }
          }
          let changes = try connection.integer("SELECT total_changes()")
          try prepared.bindSamples(of: file)
          try prepared.run()
          let changed = try connection.integer("SELECT total_changes()") != changes
          return !hasAnswer || (isEmpty && !changed)
        }
        guard !isHarmless else { continue }
        throw Failure(
          .integrity,
          "The answer to a question of \(file.fileName) matters on a new database too, and of a baseline nobody would be asked.",
          file: file.path, line: statement.line,
          howToClear: "Squash to a version before \(file.version).")
      }
    }
  }

  private static func warnings(
    _ files: [Migration], _ made: Scratch, _ content: Content, again: Scratch
  ) throws(Failure) -> [String] {
    var warnings = content.rowDifferences(in: try Content(again)).map {
      "Made again, \($0): the baseline keeps those of now."
    }
    let words: Set = [
      "current_timestamp", "current_date", "current_time", "random", "randomblob", "'now'",
    ]
    for file in files where content.tables.values.contains(where: { $0.rows > 0 }) {
      let tokens = file.migrate.flatMap { SQLToken.all(of: $0.text) }
      guard let word = tokens.first(where: { words.contains($0.meaning) }) else { continue }
      warnings.append(
        "\(file.fileName) says \(word.text): rows that it makes of that are in the baseline as they came out now."
      )
    }
    if (try? made.connection.integer("SELECT 1 FROM sqlite_stat1")) == 1 {
      warnings.append("The statistics that ANALYZE has collected are not in the baseline.")
    }
    return warnings
  }

  private static func prove(
    _ baseline: Migration, _ catalog: MigrationCatalog, gives content: Content, _ made: Scratch
  ) throws(Failure) {
    var catalog = catalog
    try catalog.add(baseline: baseline)
    let scratch = try Scratch()
    try scratch.apply(catalog, .newest)
    let found = try Content(scratch)
    var differences =
      content.differences(in: found) + content.headerDifferences(in: found)
      + content.sequenceDifferences(in: found)
    // Also the numbers of rows, to which others may refer, and what a full-text index knows of itself.
    try Database.catching("the scratch database") { () throws(SQLiteError) in
      for (_, table) in content.tables.sorted(by: { $0.key < $1.key }) {
        for name in [table.name, table.name + "_config", table.name + "_docsize"] {
          let expected = try hash(name, made.connection)
          if try expected != hash(name, scratch.connection) {
            differences.append(
              "\(name) would number its rows in another way, or be set in another way")
          }
        }
      }
      let page = "SELECT page_size || ', ' || auto_vacuum FROM pragma_page_size, pragma_auto_vacuum"
      if try made.connection.text(page) != scratch.connection.text(page) {
        differences.append("page_size or auto_vacuum is set")
      }
    }
    try refuse(differences, catalog)
  }

  /// Of all rows with their numbers, where they have any; nil where there is no such table.
  private static func hash(_ table: String, _ connection: Connection) throws(SQLiteError)
    -> [UInt64]?
  {
    let source = "FROM \(Database.quoted(table))"
    let numbered = try? connection.prepare("SELECT rowid, * \(source)")
    guard let rows = numbered ?? (try? connection.prepare("SELECT * \(source)")) else { return nil }
    let hash = try rows.hashRows()
    return [UInt64(hash.rows), hash.high, hash.low]
  }

  /// The files behind it have to go on as they would without it.
  private static func prove(
    _ baseline: Migration, fits catalog: MigrationCatalog
  ) throws(Failure) {
    let schema = try make(catalog, upTo: catalog.latest).schema()
    var catalog = catalog
    try catalog.add(baseline: baseline)
    let scratch = try Scratch()
    for file in catalog.migrations where file.version >= baseline.version {
      try scratch.apply(catalog, .update(to: file.version, outOfOrder: false))
    }
    let found = schema.differences(in: try scratch.schema())
    try refuse(found.map { "the \($0.object) \($0.name) would be another one" }, catalog)
  }

  private static func refuse(
    _ differences: [String], _ catalog: MigrationCatalog
  ) throws(Failure) {
    guard let first = differences.first else { return }
    throw Failure(
      .integrity, "One file cannot do the same: \(first).", file: catalog.directory,
      howToClear: "Squash to a version before the file that makes the difference.")
  }
}

/// A database as a script: tables, rows, indexes, views and triggers, in an order in which nothing fires.
private struct Dump {
  private let connection: Connection
  private let content: Content
  private(set) var text = ""

  /// - Throws: `.integrity` for rows that cannot be written.
  init(_ connection: Connection, _ content: Content) throws(Failure) {
    self.connection = connection
    self.content = content
    do throws(SQLiteError) {
      let tables = content.schema.objects.filter { $0.kind == .table }
      add(tables)
      for table in tables where !table.isVirtual { try addRows(of: table.name) }
      add(content.schema.objects.filter { $0.kind == .index })
      add(content.schema.objects.filter { $0.kind == .view })
      // A full-text index may read a table or a view.
      for table in try VirtualTable.all(in: connection) { try addRows(of: table) }
      add(content.schema.objects.filter { $0.kind == .trigger })
    } catch {
      throw Failure(.integrity, "The database cannot be written as a script: \(error.message).")
    }
  }

  private mutating func add(_ objects: [Schema.Object]) {
    for object in objects { text += "\(object.sql);\n\n" }
  }

  private mutating func addRows(of table: VirtualTable) throws(SQLiteError) {
    let name = Database.quoted(table.name)
    switch table.rows {
    case .none: break
    case .own: try addRows(of: table.name, withNumbers: table.module.hasPrefix("fts"))
    case .indexed: text += "INSERT INTO \(name) (\(name)) VALUES ('rebuild');\n\n"
    case .contentless:
      guard try connection.prepare("SELECT 1 FROM \(name)").step() else { return }
      throw SQLiteError(code: 1, message: "nobody can read back what is in \(table.name)")
    }
  }

  private mutating func addRows(
    of table: String, withNumbers: Bool? = nil
  ) throws(SQLiteError) {
    guard content.tables[TableKey(table)]?.rows ?? 0 > 0 else { return }
    let name = Database.quoted(table)
    let list = try connection.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")
    try list.bind(table, at: 1)
    var columns: [String] = []
    while try list.step() { columns.append(Database.quoted(list.text(0) ?? "")) }
    // Rows are numbered as they come: in their order, and with their numbers where these are not 1, 2, 3.
    let hasNumbers = (try? connection.prepare("SELECT rowid FROM \(name)")) != nil
    if hasNumbers {
      let isCounted = try connection.integer(
        "SELECT min(rowid) = 1 AND max(rowid) = count(*) FROM \(name)")
      if withNumbers ?? (isCounted == 0), !columns.contains("\"rowid\"") {
        columns.insert("rowid", at: 0)
      }
    }
    let rows = try connection.prepare(
      "SELECT \(columns.map { "quote(\($0))" }.joined(separator: ", ")) FROM \(name)"
        + (hasNumbers ? " ORDER BY rowid" : ""))
    let head = "INSERT INTO \(name) (\(columns.joined(separator: ", "))) VALUES\n  "
    var values: [String] = []
    func close(_ text: inout String) {
      if !values.isEmpty { text += head + values.joined(separator: ",\n  ") + ";\n\n" }
      values = []
    }
    while try rows.step() {
      let row = columns.indices.map { Self.literal(rows.text(Int32($0)) ?? "NULL") }
      values.append("(\(row.joined(separator: ", ")))")
      // A statement stays short enough to be read, and below SQLite's limits.
      if values.count == 100 { close(&text) }
    }
    close(&text)
  }

  /// What `quote()` gave, but for infinity, which it writes as a word that SQLite does not read.
  private static func literal(_ quoted: String) -> String {
    switch quoted {
    case "Inf": "9e999"
    case "-Inf": "-9e999"
    default: quoted
    }
  }
}
