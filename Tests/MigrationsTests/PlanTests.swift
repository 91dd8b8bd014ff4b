import Migrations
import Testing

@Suite struct PlanTests {
  let catalog: MigrationCatalog

  init() throws {
    catalog = try MigrationCatalog(
      directory: "/m",
      migrations: (1...4).map { try migration("SELECT \($0);", "000\($0)_step\($0).sql") })
  }

  func entry(
    _ number: String, checksum: String? = nil, kind: LedgerEntry.Kind = .applied
  ) throws -> LedgerEntry {
    let version = try version(number)
    let file = catalog.migrations.first { $0.version == version }
    return LedgerEntry(
      version: version, name: file?.name ?? "gone", checksum: checksum ?? file?.checksum ?? "?",
      appliedAt: "2025-01-01T12:00:00Z", durationMs: 1, run: "r", chockVersion: "0", kind: kind)
  }

  func plan(_ numbers: [String], to target: String? = nil) throws -> Plan {
    try Plan(
      catalog: catalog, ledger: Ledger(entries: numbers.map { try entry($0) }),
      goal: .update(to: target.map(version), outOfOrder: false))
  }

  @Test("What is pending is planned in order") func pending() throws {
    let plan = try plan(["1", "2"])
    #expect(plan.from == (try version("2")))
    #expect(plan.to == (try version("4")))
    #expect(plan.steps.map(\.name) == ["step3", "step4"])
  }

  @Test("A target ends the plan") func target() throws {
    let plan = try plan([], to: "0002")
    #expect(plan.from == .zero)
    #expect(plan.to == (try version("2")))
    #expect(plan.steps.map(\.name) == ["step1", "step2"])
  }

  @Test("Nothing pending is an empty plan") func nothing() throws {
    for plan in [
      try plan(["1", "2", "3", "4"]), try plan(["1", "2"], to: "2"), try plan([], to: "0"),
    ] {
      #expect(plan.steps.isEmpty)
      #expect(plan.from == plan.to)
    }
  }

  @Test("The hash stands for from, to and every file's content") func hash() throws {
    let base = try plan(["1"])
    #expect(base.hash.utf8.count == 64)
    #expect(try plan(["1"]).hash == base.hash)
    #expect(try plan(["1", "2"]).hash != base.hash)
    #expect(try plan(["1"], to: "3").hash != base.hash)
    var changed = catalog.migrations
    changed[3] = try migration("SELECT 5;", "0004_step4.sql")
    let other = try Plan(
      catalog: MigrationCatalog(directory: "/m", migrations: changed),
      ledger: Ledger(entries: [entry("1")]))
    #expect(other.hash != base.hash)
  }

  @Test("An applied file that changed is drift, shown with both digests") func drift() throws {
    let ledger = Ledger(entries: [try entry("1"), try entry("2", checksum: "abc")])
    let error = failure { try Plan(catalog: catalog, ledger: ledger) }
    #expect(error.code == .drift)
    #expect(error.file == "/m/0002_step2.sql")
    #expect(error.message.contains("0002_step2.sql") && error.message.contains("abc"))
    #expect(error.message.contains(catalog.migrations[1].checksum))
    #expect(error.howToClear?.contains("new migration") == true)
  }

  @Test("Only an adopted version may have no checksum") func adopted() throws {
    let adopted = Ledger(entries: [try entry("1", checksum: "", kind: .adopted)])
    #expect(try Plan(catalog: catalog, ledger: adopted).steps.count == 3)
    let applied = Ledger(entries: [try entry("1", checksum: "")])
    #expect(failure { try Plan(catalog: catalog, ledger: applied) }.code == .drift)
    let changed = Ledger(entries: [try entry("1", checksum: "abc", kind: .adopted)])
    #expect(failure { try Plan(catalog: catalog, ledger: changed) }.code == .drift)
  }

  @Test("A database adopted at 0 has everything before it") func adoptedAtZero() throws {
    let ledger = Ledger(entries: [try entry("0", checksum: "", kind: .adopted)])
    #expect(try Plan(catalog: catalog, ledger: ledger).steps.count == 4)
  }

  @Test("A newer database is told what to install") func newer() {
    let error = failure { try plan(["1", "2", "3", "4", "7"]) }
    #expect(error.code == .databaseNewer)
    #expect(error.message.contains("7 (gone)") && error.message.contains("end at 4"))
    #expect(error.howToClear?.contains("version 7") == true)
  }

  @Test("An applied version whose file is gone is refused") func gone() throws {
    let fewer = try MigrationCatalog(
      directory: "/m", migrations: catalog.migrations.filter { $0.name != "step2" })
    let ledger = Ledger(entries: [try entry("1"), try entry("2")])
    let error = failure { try Plan(catalog: fewer, ledger: ledger) }
    #expect(error.code == .migrationOrder)
    #expect(error.message.contains("Version 2 (step2)"))
  }

  @Test("A pending file older than the newest applied is refused by name") func outOfOrder() {
    let error = failure { try plan(["1", "3"]) }
    #expect(error.code == .migrationOrder)
    #expect(error.file == "/m/0002_step2.sql")
    #expect(error.message.contains("0002_step2.sql"))
  }

  @Test("An unknown target is refused with the nearest version") func unknownTarget() {
    let error = failure { try plan(["1"], to: "9") }
    #expect(error.code == .notFound)
    #expect(error.message.contains("version 9") && error.message.contains("The nearest is 4."))
  }

  @Test("A target behind the database points at the way back") func backwards() {
    for target in ["1", "0"] {
      let error = failure { try plan(["1", "2"], to: target) }
      #expect(error.code == .usage)
      #expect(error.howToClear?.contains("chock restore") == true)
    }
  }

  @Test("The ledger holds what is in effect, and what was rolled back")
  func ledger() throws {
    let ledger = Ledger(entries: [
      try entry("3", kind: .rolledBack), try entry("2"), try entry("1"),
    ])
    #expect(ledger.entries.map(\.name) == ["step1", "step2"])
    #expect(ledger.rolledBack.map(\.name) == ["step3"])
    #expect(ledger.current == (try version("2")))
    #expect(Ledger(entries: []).current == .zero)
  }
}

@Suite("A way back is planned from the newest to the oldest, or not at all")
struct RollbackPlanTests {
  let catalog: MigrationCatalog

  init() throws {
    var migrations: [Migration] = []
    var rollbacks: [SchemaVersion: Migration] = [:]
    for number in 1...5 {
      // 4 needs 2; 5 has no rollback file.
      let header = number == 4 ? "-- Requires: 2\n" : ""
      migrations.append(
        try migration("\(header)SELECT \(number);", "000\(number)_step\(number).sql"))
      guard number < 5 else { continue }
      rollbacks[try version("\(number)")] = try migration(
        "SELECT -\(number);", "000\(number)_step\(number).rollback.sql")
    }
    catalog = try MigrationCatalog(
      directory: "/m", migrations: migrations, rollbacks: rollbacks)
  }

  func plan(_ numbers: [Int], back: [Int] = [], _ goal: Goal) throws -> Plan {
    func entry(_ number: Int, _ kind: LedgerEntry.Kind) throws -> LedgerEntry {
      let file = catalog.migrations[number - 1]
      return LedgerEntry(
        version: file.version, name: file.name, checksum: file.checksum, appliedAt: "",
        durationMs: 1, run: "r", chockVersion: "0", kind: kind)
    }
    return try Plan(
      catalog: catalog,
      ledger: Ledger(
        entries: numbers.map { try entry($0, .applied) } + back.map { try entry($0, .rolledBack) }),
      goal: goal)
  }

  @Test("To a version") func back() throws {
    let plan = try plan([1, 2, 3, 4], .rollback(to: version("1")))
    #expect(plan.direction == .rollback)
    #expect(plan.steps.map(\.fileName) == [4, 3, 2].map { "000\($0)_step\($0).rollback.sql" })
    #expect(plan.from == (try version("4")))
    #expect(plan.to == (try version("1")))
    #expect(plan.after == [try version("1")])
    #expect(try self.plan([1, 2, 3, 4], .rollback(to: version("2"))).hash != plan.hash)
    #expect(try self.plan([1, 2], .rollback(to: .zero)).after.isEmpty)
  }

  @Test("One alone, when nothing in the database requires it") func only() throws {
    let plan = try plan([1, 2, 3, 4], .rollbackOnly(version("3")))
    #expect(plan.steps.map(\.name) == ["step3"])
    #expect(plan.from == plan.to)
    #expect(plan.after == [1, 2, 4].compactMap { SchemaVersion("\($0)") })
    let error = failure { try self.plan([1, 2, 3, 4], .rollbackOnly(version("2"))) }
    #expect(error.code == .migrationOrder)
    #expect(error.message.contains("0004_step4.sql requires version 2"))
    #expect(error.line == 1)
    #expect(try self.plan([1, 2, 3], .rollbackOnly(version("2"))).steps.count == 1)
  }

  @Test("Twice is nothing to do") func twice() throws {
    #expect(try plan([1, 2], back: [3, 4], .rollback(to: version("2"))).steps.isEmpty)
    #expect(try plan([1, 2, 4], back: [3], .rollbackOnly(version("3"))).steps.isEmpty)
  }

  @Test("Without a rollback file, ahead or unknown it is refused") func refused() {
    let missing = failure { try plan([1, 2, 3, 4, 5], .rollback(to: version("3"))) }
    #expect(missing.code == .rollbackMissing)
    #expect(missing.message.contains("0005_step5.sql"))
    #expect(missing.howToClear?.contains("chock restore") == true)
    #expect(failure { try plan([1, 2], .rollback(to: version("3"))) }.code == .usage)
    #expect(failure { try plan([1, 2], .rollback(to: version("9"))) }.code == .notFound)
    #expect(failure { try plan([1, 2], .rollbackOnly(version("9"))) }.code == .notFound)
  }

  @Test("What was taken back alone is left out of the next update, until it is asked for")
  func again() throws {
    let plan = try plan([1, 2, 4], back: [3], .newest)
    #expect(plan.steps.map(\.name) == ["step5"])
    #expect(plan.skipped.map(\.name) == ["step3"])
    let all = try self.plan([1, 2, 4], back: [3], .update(to: nil, outOfOrder: true))
    #expect(all.steps.map(\.name) == ["step3", "step5"])
    #expect(all.skipped.isEmpty)
    // From the newest on everything is pending as ever.
    #expect(try self.plan([1], back: [2, 3], .newest).steps.count == 4)
  }

  @Test("What needs it is refused until it is there") func needed() throws {
    let error = failure { try plan([1, 3], back: [2], .newest) }
    #expect(error.code == .migrationOrder)
    #expect(error.message.contains("0004_step4.sql requires version 2, which was rolled back"))
    #expect(error.howToClear?.contains("--out-of-order") == true)
  }

  @Test("Two files may ask for the same, in the same words") func inputs() throws {
    func plan(_ second: String) throws -> Plan {
      let files = try ["-- Input: n INTEGER \"How many?\" range 1..9", second].enumerated().map {
        try migration("\($1)\nSELECT :n;", "000\($0 + 1)_x.sql")
      }
      return try Plan(
        catalog: MigrationCatalog(directory: "/m", migrations: files), ledger: Ledger(entries: []))
    }
    let same = try plan("-- Phase: 1\n-- Input: n INTEGER \"How many?\" range 1..9")
    #expect(same.inputs.count == 1)
    #expect(try same.values(["n": .text("4")]) == ["n": .integer(4)])
    #expect(failure { try same.values([:]) }.message == "The plan asks: How many?")
    #expect(failure { try same.values(["n1": .integer(4)]) }.message.contains("Did you mean n?"))
    let other = failure { try plan("-- Input: n INTEGER \"How many?\"") }
    #expect(other.code == .migrationFile)
    #expect(other.file == "/m/0002_x.sql" && other.line == 1)
  }
}
