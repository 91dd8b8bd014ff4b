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
    let catalog = try MigrationCatalog(directory: catalog.directory, migrations: files)
    let made = try Self.make(catalog) { $0.sample }
    let content = try Content(made)
    warnings = content.rowDifferences(in: try Content(try Self.make(catalog) { $0.sample })).map {
      "Made again, \($0): the baseline keeps those of now."
    }
    // What a person answers about a database without rows must not matter: nobody would be asked.
    let questions = files.flatMap(\.inputs)
    if !questions.isEmpty, warnings.isEmpty,
      let first = content.differences(in: try Content(try Self.make(catalog) { $0.otherSample }))
        .first
    {
      throw Failure(
        .integrity,
        "The answer to a question of the files matters on a new database too: \(first).",
        file: catalog.directory, howToClear: "Squash to a version before the file that asks.")
    }

    var stem = String(last.fileName.dropLast(".sql".count))
    if stem.hasSuffix(".up") { stem.removeLast(".up".count) }
    let fileName = stem + ".baseline.sql"
    let path =
      (catalog.directory.hasSuffix("/") ? catalog.directory : catalog.directory + "/") + fileName
    let text = """
      -- Description: All that the files up to \(version) make of a new database
      -- Squashes: \(MigrationCatalog.digest(of: files))

      \(try Dump(made.connection, content).text)
      """
    let baseline = try Migration(fileName: fileName, path: path, text: text)
    try Self.prove(baseline, catalog, gives: content, made)
    if all.migrations.count > files.count { try Self.prove(baseline, fits: all) }
    try FileSystem.replace(path, with: Array(text.utf8))
    // As the other files are: the daemon's user reads it.
    chmod(path, 0o644)
    self.version = version
    file = path
    self.files = files.count
    rows = content.tables.values.reduce(0) { $0 + $1.rows }
  }

  /// Runs all files, one by one.
  private static func make(
    _ catalog: MigrationCatalog, _ answer: (MigrationInput) -> InputValue
  ) throws(Failure) -> Scratch {
    let scratch = try Scratch()
    for file in catalog.migrations {
      try scratch.apply(catalog, .update(to: file.version, outOfOrder: false), answer)
    }
    return scratch
  }

  private static func prove(
    _ baseline: Migration, _ catalog: MigrationCatalog, gives content: Content, _ made: Scratch
  ) throws(Failure) {
    var catalog = catalog
    try catalog.add(baseline: baseline)
    let scratch = try Scratch()
    try scratch.apply(catalog, .newest)
    var differences = content.differences(in: try Content(scratch))
    for question in [
      "SELECT 'AUTOINCREMENT has counted to ' || group_concat(name || ' ' || seq) FROM (SELECT * FROM sqlite_sequence ORDER BY name)",
      "SELECT 'auto_vacuum is ' || auto_vacuum FROM pragma_auto_vacuum",
      "SELECT 'page_size is ' || page_size FROM pragma_page_size",
      "SELECT 'user_version is ' || user_version FROM pragma_user_version",
      "SELECT 'application_id is ' || application_id FROM pragma_application_id",
    ] {
      // The first one fails where nothing counts.
      let (expected, found) = (
        try? made.connection.text(question), try? scratch.connection.text(question)
      )
      if expected != found {
        differences.append("\(found ?? "nothing counts"), not \(expected ?? "so")")
      }
    }
    try refuse(differences, catalog)
  }

  /// The files behind it have to go on as they would without it.
  private static func prove(
    _ baseline: Migration, fits catalog: MigrationCatalog
  ) throws(Failure) {
    let schema = try make(catalog) { $0.sample }.schema()
    var catalog = catalog
    try catalog.add(baseline: baseline)
    let scratch = try Scratch()
    try scratch.apply(catalog, .newest)
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

  init(_ connection: Connection, _ content: Content) throws(Failure) {
    self.connection = connection
    self.content = content
    try Database.catching("the scratch database") { () throws(SQLiteError) in
      let tables = content.schema.objects.filter { $0.kind == .table }
      add(tables)
      // Those of virtual tables last: a full-text index may read another table.
      for table in tables.filter({ !$0.isVirtual }) + tables.filter(\.isVirtual) {
        try addRows(of: table)
      }
      add(content.schema.objects.filter { $0.kind == .index })
      add(content.schema.objects.filter { $0.kind == .view })
      add(content.schema.objects.filter { $0.kind == .trigger })
    }
  }

  private mutating func add(_ objects: [Schema.Object]) {
    for object in objects { text += "\(object.sql);\n\n" }
  }

  private mutating func addRows(of table: Schema.Object) throws(SQLiteError) {
    guard content.tables[TableKey(table.name)]?.rows ?? 0 > 0 else { return }
    let name = Database.quoted(table.name)
    if try Database.fullTextIndexes(connection).contains(where: {
      TableKey($0) == TableKey(table.name)
    }) {
      text += "INSERT INTO \(name) (\(name)) VALUES ('rebuild');\n\n"
      return
    }
    let list = try connection.prepare("SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0")
    try list.bind(table.name, at: 1)
    var columns: [String] = []
    while try list.step() { columns.append(Database.quoted(list.text(0) ?? "")) }
    if try hasRowids(table) { columns.insert("rowid", at: 0) }
    let order = columns.first == "rowid" ? " ORDER BY rowid" : ""
    let rows = try connection.prepare(
      "SELECT \(columns.map { "quote(\($0))" }.joined(separator: " || ', ' || ")) FROM \(name)\(order)"
    )
    let head = "INSERT INTO \(name) (\(columns.joined(separator: ", "))) VALUES\n  "
    var values: [String] = []
    func close(_ text: inout String) {
      if !values.isEmpty { text += head + values.joined(separator: ",\n  ") + ";\n\n" }
      values = []
    }
    while try rows.step() {
      values.append("(\(rows.text(0) ?? ""))")
      // A statement stays short enough to be read, and below SQLite's limits.
      if values.count == 100 { close(&text) }
    }
    close(&text)
  }

  /// Whether the numbers of its rows have to be said: they are no column, and not 1, 2, 3, as they come.
  private func hasRowids(_ table: Schema.Object) throws(SQLiteError) -> Bool {
    let name = Database.quoted(table.name)
    guard
      (try? connection.integer("SELECT count(*) = max(rowid) FROM \(name)")) == 0
    else { return false }
    let list = try connection.prepare(
      "SELECT count(*) FROM pragma_table_xinfo(?1) WHERE pk = 1 AND upper(type) = 'INTEGER'")
    try list.bind(table.name, at: 1)
    return try list.step() && list.integer(0) == 0
  }
}
