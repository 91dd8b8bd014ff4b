import Migrations
import Storage
import Updating

/// Keeps out of the file for support what is the owner's: it lets through what is known to be none of theirs, and
/// nothing else (docs/decisions/0053).
struct Cleaner: Sendable {
  /// What stands for a path; the longest path comes first.
  private let roots: [(path: String, word: String)]
  private let migrations: String
  /// Interfaces, profiles and addresses of this machine that name no person.
  private let sources: Set<String>

  init(_ settings: UpdateSettings, sources: Set<String> = []) {
    migrations = settings.migrationsDirectory
    self.sources = sources
    let paths = [
      (settings.databasePath, "DATABASE"), (settings.stateDirectory, "STATE"),
      (settings.migrationsDirectory, "MIGRATIONS"),
    ]
    let both = paths + paths.map { (FileSystem.canonical($0.0), $0.1) }
    roots = both.filter { $0.0.utf8.count > 2 }.map { (path: $0.0, word: $0.1) }
      .sorted { $0.path.utf8.count > $1.path.utf8.count }
  }

  // MARK: Paths and texts

  /// A path without the names in it: those of migration files are their author's, the others may be anybody's.
  func place(_ path: String) -> String {
    if path.hasPrefix(migrations + "/") {
      let name = path.dropFirst(migrations.count + 1)
      if Self.isFileName(name) { return String(name) }
    }
    if Config.Key.allCases.contains(where: { path == "environment variable \($0.variable)" }) {
      return path
    }
    guard let root = roots.first(where: { path.hasPrefix($0.path) }) else { return "PATH" }
    return path == root.path ? root.word : "\(root.word)…"
  }

  private static func isFileName(_ name: Substring) -> Bool {
    name.hasSuffix(".sql") && isPlain(name, besides: "._-")
  }

  /// Letters, digits and a few signs of ASCII, and not many of them.
  static func isPlain(_ text: some StringProtocol, besides signs: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 100
      && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || signs.contains($0)) }
  }

  /// chock's own words about files: without the names of files and the numbers of rows.
  func words(_ text: String, about file: String? = nil) -> String {
    var text = text
    // Before the roots: a path with blanks in it is no word.
    if let file, file.utf8.count > 2 { text = text.replacing(file, with: place(file)) }
    for (path, word) in roots { text = text.replacing(path, with: word) }
    var wasRow = false
    let words = text.split(separator: " ", omittingEmptySubsequences: false).map { word in
      defer { wasRow = ["row", "rowid"].contains(word.lowercased()) }
      if wasRow { return "…" }
      if let root = roots.first(where: { word.hasPrefix($0.word) })?.word {
        let rest = word.dropFirst(root.count)
        let isWhole = rest.allSatisfy { ".,:;)".contains($0) }
        return isWhole ? String(word) : "\(root)…"
      }
      return word.contains("/") && word != "I/O" ? "PATH" : String(word)
    }
    return words.joined(separator: " ")
  }

  /// What SQLite's full check finds, line by line: with the names of tables and indexes, without the numbers of rows.
  /// A line that does not begin as SQLite's do may be anybody's.
  func damage(_ text: String) -> String {
    let said = "The database failed its check: "
    let isSaid = text.hasPrefix(said)
    let lines = text.dropFirst(isSaid ? said.count : 0)
      .split { $0.isNewline || $0 == ";" }.map { $0.drop { $0 == " " } }
      .filter { !$0.hasPrefix("*** in database ") }
    let known = lines.filter { line in Self.findings.contains { line.hasPrefix($0) } }
    let others = lines.count - known.count
    return
      (known.map { words(String($0)) } + (others > 0 ? ["… (\(others) more)"] : []))
      .joined(separator: "; ")
  }

  /// How what `PRAGMA integrity_check` says begins (<https://sqlite.org/pragma.html#pragma_integrity_check>), in
  /// SQLite 3.40 and later.
  private static let findings = [
    "Tree ", "Page ", "On page ", "On tree page ", "Main freelist: ", "Freelist: ", "Outstanding ",
    "Pointer map page ", "Bad ptr map entry ", "Failed to read ptrmap ", "Fragmentation of ",
    "Multiple uses for byte ", "max rootpage ", "incremental_vacuum enabled ",
    "database disk image is malformed", "row ", "wrong # of entries in index ",
    "non-unique entry in index ", "rowid not at end-of-record for row ", "index ",
    "unable to validate the inverted index", "malformed inverted index for FTS",
    "2nd reference to page ", "invalid page number ", "unable to get the page",
    "btreeInitPage() returns error code ", "Child page depth differs", "Rowid ", "freelist leaf ",
  ]

  // MARK: Failures

  /// A failure by its code, with its own words only where these cannot hold what somebody wrote.
  struct Problem: Encodable, Sendable {
    var code: String
    var meaning: String
    var next: String
    var message: String?
    var file: String?
    var line: Int?
  }

  func problem(_ failure: Failure) -> Problem {
    Problem(
      code: failure.code.rawValue, meaning: failure.code.explanation.meaning,
      next: failure.code.explanation.next, message: message(of: failure),
      file: failure.file.map(place), line: failure.line)
  }

  /// One line.
  func line(_ failure: Failure) -> String {
    "\(message(of: failure) ?? failure.code.explanation.meaning) [\(failure.code.rawValue)]"
      + (failure.line.map { " \(failure.file.map(place) ?? "line"):\($0)" } ?? "")
  }

  /// Nil where it may quote a row, a person or the config.
  private func message(of failure: Failure) -> String? {
    switch failure.code {
    case .migrationsMissing, .migrationOrder, .rollbackMissing, .databaseNewer, .unadopted,
      .databaseMissing, .databaseExists, .databaseEmpty, .noSpace, .noDaemon, .runActive,
      .timeout, .interrupted, .rowsLost, .planChanged, .consentMissing, .drift,
      .forbiddenStatement:
      return words(failure.message, about: failure.file)
    case .notADatabase, .databaseCorrupt, .databaseReadOnly, .databaseLocked, .inputOutput,
      .statement, .integrity, .foreignKeys, .snapshotDamaged, .needsPerson, .recoveryMode:
      // What SQLite says is its own, or a trigger's of the application.
      guard !failure.message.contains("SQLite") || Self.isOfSQLite(failure.message) else {
        return nil
      }
      return words(failure.message, about: failure.file)
    case .usage, .badConfig, .coachFile, .notAllowed, .notSignedIn, .pin, .pinNeeded, .approval,
      .keyReused, .notFound, .input, .migrationFile, .gateClosed, .busy, .application,
      .applicationStop,
      .copyPlace, .foreignSnapshot, .preflight, .stopped, .validation, .expectation, .conflict,
      .applicationUnhealthy, .moreErrors:
      return nil
    }
  }

  /// The beginnings of what SQLite itself says; names in it are those of the schema.
  private static let phrases = [
    "no such table", "no such column", "no such index", "no such function", "no such collation",
    "UNIQUE constraint failed: ", "NOT NULL constraint failed: ", "CHECK constraint failed: ",
    "FOREIGN KEY constraint failed", "datatype mismatch", "duplicate column name", "near \"",
    "database is locked", "database disk image is malformed", "disk I/O error",
    "file is not a database", "attempt to write a readonly database",
    "unable to open database file", "database or disk is full", "database table is locked",
    "cannot store ", "cannot drop ", "cannot add ", "out of memory", "string or blob too big",
    "incomplete input", "interrupted", "locking protocol", "not an error",
  ]

  private static func isOfSQLite(_ message: String) -> Bool {
    phrases.contains { message.contains(": \($0)") }
  }

  // MARK: People and sources

  /// In which role somebody did something, and whether it was the same one: never the name.
  func person(_ actor: String) -> String {
    actor.split(separator: ", approved by ").map { one in
      if ["auto", "panel"].contains(one) { return String(one) }
      let role =
        Role.allCases.first { one.hasSuffix(" (\($0.rawValue))") }?.rawValue
        ?? (one.hasPrefix("cli:") ? "cli" : "somebody")
      return "\(role) #\(sha256(Array(one.utf8)).prefix(6))"
    }.joined(separator: " and ")
  }

  /// A source of readings: by its name where the config's is that of a bus, or chock's own.
  func source(_ name: String) -> String {
    // A node of a bus stands behind its interface.
    let bus = sources.first { name == $0 || name.hasPrefix("\($0)/") }
    let node = bus.map { name.dropFirst($0.count) } ?? ""
    return bus != nil && (node.isEmpty || Self.isPlain(node, besides: "/"))
      ? name : "source #\(sha256(Array(name.utf8)).prefix(6))"
  }
}
