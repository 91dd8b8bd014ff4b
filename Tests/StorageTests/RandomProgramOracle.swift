import Glibc
import Migrations
import Storage
import TestSupport
import Testing

/// What the plain `sqlite3` shell says: about the content of a database, and about what a program does.
/// Nothing of chock is used here.
struct Oracle {
  let folder: TemporaryFolder

  /// Whether the machine has the shell.
  static let isPossible: Bool = {
    guard let pipe = popen("sqlite3 --version > /dev/null 2>&1", "r") else { return false }
    return pclose(pipe) == 0
  }()

  /// A foreign key that leads nowhere, as `foreign_key_check` lists it.
  struct Orphan: Hashable {
    var table: [UInt8]
    var row: String
    var parent: [UInt8]
  }

  /// All that is to be compared of a database.
  struct State: Equatable {
    /// Rows by name. Names are bytes: Swift calls two spellings of one letter the same, SQLite does not.
    var counts: [[UInt8]: Int] = [:]
    /// Nil: SQLite cannot check them, because a foreign key fits no key.
    var orphans: [Orphan: Int]? = [:]
    var isSound = false
    /// `.dump` without the ledger; then every value with its type, down to the last bit.
    /// As bytes: it is long, and Swift calls different texts equal.
    var content: [UInt8] = []
  }

  private func shell(_ command: String) throws -> (code: Int32, output: [UInt8]) {
    let pipe = try #require(popen(command, "r"))
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let count = fread(&buffer, 1, buffer.count, pipe)
      if count == 0 { break }
      output += buffer[..<count]
    }
    let status = pclose(pipe)
    return (status >> 8 & 0xff, output)
  }

  /// Runs SQL and dot-commands; everything that it printed, errors too.
  @discardableResult
  func run(_ script: String, on path: String, seconds: Double? = nil) throws
    -> (code: Int32, output: String)
  {
    let file = folder("script.sql")
    try write(Array(script.utf8), to: file)
    let limit = seconds.map { "timeout \($0) " } ?? ""
    let (code, output) = try shell("\(limit)sqlite3 -bail -batch '\(path)' < '\(file)' 2>&1")
    return (code, String(decoding: output, as: UTF8.self))
  }

  // MARK: The content

  private static let tables =
    "FROM pragma_table_list WHERE schema = 'main' AND name <> 'chock_migrations'"
    + " AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"

  /// A script that writes the script that shows a database.
  private static let look = """
    SELECT '.print @counts';
    SELECT printf('SELECT ''%s ''||count(*) FROM main."%w";', hex(name), name)
    \(tables) AND type IN ('table', 'virtual') ORDER BY name;
    SELECT '.print @orphans';
    SELECT 'SELECT hex("table") || '' '' || ifnull(rowid, ''-'') || '' '' || hex(parent) FROM pragma_foreign_key_check;';
    SELECT '.print @check';
    SELECT 'PRAGMA quick_check;';
    SELECT '.output "content.txt"';
    SELECT 'PRAGMA user_version; PRAGMA application_id; PRAGMA journal_mode; PRAGMA page_size;';
    SELECT 'BEGIN; DROP TABLE chock_migrations;';
    SELECT '.dump';
    SELECT printf('.print @table %s%sSELECT %s%s FROM main."%w" ORDER BY 1;', hex(t.name), char(10),
      iif(t.wr, '', 'rowid || '' '' || '),
      group_concat(printf(
        'CASE typeof("%w") WHEN ''text'' THEN ''t''||hex(CAST("%w" AS BLOB)) WHEN ''real'' THEN ''r''||hex(ieee754_to_blob("%w")) WHEN ''blob'' THEN ''b''||hex("%w") ELSE quote("%w") END',
        c.name, c.name, c.name, c.name, c.name), '||'' ''||'), t.name)
    FROM (SELECT name, wr \(tables) AND type IN ('table', 'shadow')) AS t,
      pragma_table_xinfo(t.name) AS c WHERE c.hidden <> 1 GROUP BY t.name ORDER BY t.name;
    SELECT 'ROLLBACK;';

    """

  func state(of path: String) throws -> State {
    let file = folder("look.sql")
    try write(Array(Self.look.utf8), to: file)
    try FileSystem.remove(folder("content.txt"))
    let sqlite = "sqlite3 -batch '\(path)'"
    let (code, output) = try shell(
      "cd '\(folder.path)' && \(sqlite) < '\(file)' > show.sql && \(sqlite) < show.sql 2>&1")
    var state = State(content: try FileSystem.read(folder("content.txt")) ?? [])
    var part = ""
    for line in String(decoding: output, as: UTF8.self).split(separator: "\n") {
      if line.hasPrefix("@") {
        part = String(line)
        continue
      }
      let words = line.split(separator: " ")
      switch part {
      case "@counts":
        try #require(words.count == 2, "The oracle failed: \(line)")
        state.counts[Self.name(words[0])] = Int(words[1])
      case "@orphans":
        guard words.count == 3, !line.contains("mismatch") else {
          state.orphans = nil
          continue
        }
        let orphan = Orphan(
          table: Self.name(words[0]), row: String(words[1]), parent: Self.name(words[2]))
        state.orphans?[orphan, default: 0] += 1
      default: state.isSound = line == "ok"
      }
    }
    // An oracle that sees nothing would find everything equal.
    let head = String(decoding: state.content.prefix(200), as: UTF8.self)
    try #require(
      head.contains("PRAGMA foreign_keys=OFF;") && (code == 0 || state.orphans == nil),
      "The oracle failed: \(String(decoding: output.suffix(2000), as: UTF8.self))")
    return state
  }

  private static func name(_ hex: Substring) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = hex[...]
    while rest.count > 1 {
      bytes.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
      rest = rest.dropFirst(2)
    }
    return ProgramMaker.folded(String(decoding: bytes, as: UTF8.self))
  }

  // MARK: The program

  struct Verdict {
    /// Why chock has to refuse it, as the codes one of which it has to give. Empty: it has to accept.
    var reasons: Set<Failure.Code> = []
    /// What may be refused, but need not be.
    var doubts: Set<Failure.Code> = []
    /// What the database holds after it.
    var after: State?
    /// What `sqlite3` said.
    var output = ""
  }

  /// Runs the program on a database of its own, which may be changed, and judges it.
  func judge(_ program: RandomProgram, on path: String, before: State) throws -> Verdict {
    var verdict = Verdict(reasons: program.brokenRules)
    if program.files.contains(where: \.enforcesForeignKeys),
      !program.files.allSatisfy(\.enforcesForeignKeys)
    {
      verdict.reasons.insert(.migrationOrder)
    }
    // On a slow machine its time limit is over before the endless statement is reached.
    if program.isEndless { verdict.doubts.insert(.timeout) }
    // What chock forbids would end this transaction, or go to other files.
    if verdict.reasons.contains(.forbiddenStatement) {
      // Something else may be wrong before it.
      verdict.doubts.formUnion([.statement, .preflight, .validation, .foreignKeys])
      return verdict
    }
    let start = try FileSystem.read(path) ?? []
    let (code, output) = try run(
      Self.script(program), on: path, seconds: program.isEndless ? 0.3 : nil)
    verdict.output = String(output.suffix(2000))
    verdict.reasons.formUnion(Self.complaints(in: output))
    guard code == 0, output.contains("@done") else {
      if code == 124 {
        verdict.reasons.insert(.timeout)
      } else {
        verdict.reasons.insert(.statement)
        if output.contains("FOREIGN KEY") { verdict.reasons.insert(.foreignKeys) }
        // chock counts before it commits, and `sqlite3` did not get so far.
        if output.contains("FOREIGN KEY") { verdict.doubts.formUnion([.rowsLost, .expectation]) }
      }
      return verdict
    }
    let after = try state(of: path)
    verdict.after = after
    if !after.isSound { verdict.reasons.insert(.integrity) }
    judgeOrphans(program, before, after, &verdict)
    judgeRows(program, before, after, &verdict)
    try judgeExpectations(program, from: start, before, after, &verdict)
    return verdict
  }

  /// One transaction, as in chock; the sections of checks are marked in what it prints.
  private static func script(_ program: RandomProgram) -> String {
    let enforced = program.files.contains(where: \.enforcesForeignKeys)
    var lines = [
      ".output /dev/null", ".dbconfig defensive on", ".output",
      "PRAGMA foreign_keys = \(enforced ? "ON" : "OFF");", "BEGIN IMMEDIATE;",
    ]
    for file in program.files {
      lines += [".print @preflight"] + file.preflight + [".print @migrate"] + file.migrate
      lines += [".print @validate"] + file.validate + [".print @end"]
    }
    return (lines + ["COMMIT;", ".print @done", ""]).joined(separator: "\n")
  }

  /// The sections of checks that printed anything.
  private static func complaints(in output: String) -> Set<Failure.Code> {
    var found: Set<Failure.Code> = []
    var part = ""
    // A line without anything is a row too.
    for line in output.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
      if line.hasPrefix("@") {
        part = String(line)
      } else if part == "@preflight", !line.contains("rror") {
        found.insert(.preflight)
      } else if part == "@validate", !line.contains("rror") {
        found.insert(.validation)
      }
    }
    return found
  }

  /// What a table of before is called now: the first of the names that it, or its rebuilt self, has had
  /// and that exists.
  private func now(_ name: [UInt8], _ program: RandomProgram, _ after: State) -> [UInt8] {
    guard after.counts[name] == nil else { return name }
    var names = [name]
    for rename in program.renames {
      let (from, to) = (ProgramMaker.folded(rename.from), ProgramMaker.folded(rename.to))
      if from == name, names[0] != name { names.append(to) }
      for index in names.indices where names[index] == from { names[index] = to }
    }
    return names.first { after.counts[$0] != nil } ?? name
  }

  private func judgeOrphans(
    _ program: RandomProgram, _ before: State, _ after: State, _ verdict: inout Verdict
  ) {
    guard let old = before.orphans, let new = after.orphans else {
      if before.orphans != nil { verdict.reasons.formUnion([.foreignKeys, .inputOutput]) }
      return
    }
    var known: [Orphan: Int] = [:]
    for (orphan, count) in old {
      let moved = Orphan(
        table: now(orphan.table, program, after), row: orphan.row,
        parent: now(orphan.parent, program, after))
      known[moved, default: 0] += count
    }
    guard new.contains(where: { $0.value > known[$0.key, default: 0] }) else { return }
    // Numbers of rows may change in a rebuild: then only how many there are is sure.
    func sums(_ orphans: [Orphan: Int]) -> [Orphan: Int] {
      orphans.reduce(into: [:]) { sums, entry in
        sums[Orphan(table: entry.key.table, row: "", parent: entry.key.parent), default: 0] +=
          entry.value
      }
    }
    let oldSums = sums(known)
    if sums(new).contains(where: { $0.value > oldSums[$0.key, default: 0] }) {
      verdict.reasons.insert(.foreignKeys)
    } else {
      verdict.doubts.insert(.foreignKeys)
    }
  }

  private func judgeRows(
    _ program: RandomProgram, _ before: State, _ after: State, _ verdict: inout Verdict
  ) {
    let declared = Set(program.files.flatMap(\.expectations).map { ProgramMaker.folded($0.table) })
    for (name, count) in before.counts where !declared.contains(name) {
      if after.counts[now(name, program, after), default: 0] < count {
        verdict.reasons.insert(.rowsLost)
      }
    }
  }

  /// What a file declares is about the rows right before it and right behind it: the same program is run up to
  /// there.
  private func judgeExpectations(
    _ program: RandomProgram, from start: [UInt8], _ before: State, _ after: State,
    _ verdict: inout Verdict
  ) throws {
    var had = before.counts
    for (index, file) in program.files.enumerated() {
      let isLast = index == program.files.count - 1
      guard isLast || program.files[index...].contains(where: { !$0.expectations.isEmpty }) else {
        return
      }
      var has = after.counts
      if !isLast {
        var part = program
        part.files = Array(program.files[...index])
        let path = folder("part.db")
        try FileSystem.replace(path, with: start)
        let (code, output) = try run(Self.script(part), on: path, seconds: nil)
        guard code == 0, output.contains("@done") else {
          // A foreign key that only a later file mends.
          verdict.doubts.insert(.expectation)
          return
        }
        has = try state(of: path).counts
      }
      for (table, change) in file.expectations {
        let name = ProgramMaker.folded(table)
        let (old, new) = (had[name, default: 0], has[name, default: 0])
        let least = change.hasPrefix(">=") ? Int(change.dropFirst(3)) : nil
        let isMet = least.map { new >= $0 } ?? (new == old + (Int(change) ?? 0))
        if !isMet { verdict.reasons.insert(.expectation) }
      }
      had = has
    }
  }
}
