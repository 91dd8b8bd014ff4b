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
      target: target.map(version))
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
      ledger: Ledger(entries: [entry("1")]), target: nil)
    #expect(other.hash != base.hash)
  }

  @Test("An applied file that changed is drift, shown with both digests") func drift() throws {
    let ledger = Ledger(entries: [try entry("1"), try entry("2", checksum: "abc")])
    let error = failure { try Plan(catalog: catalog, ledger: ledger, target: nil) }
    #expect(error.code == .drift)
    #expect(error.file == "/m/0002_step2.sql")
    #expect(error.message.contains("0002_step2.sql") && error.message.contains("abc"))
    #expect(error.message.contains(catalog.migrations[1].checksum))
    #expect(error.howToClear?.contains("new migration") == true)
  }

  @Test("Only an adopted version may have no checksum") func adopted() throws {
    let adopted = Ledger(entries: [try entry("1", checksum: "", kind: .adopted)])
    #expect(try Plan(catalog: catalog, ledger: adopted, target: nil).steps.count == 3)
    let applied = Ledger(entries: [try entry("1", checksum: "")])
    #expect(failure { try Plan(catalog: catalog, ledger: applied, target: nil) }.code == .drift)
    let changed = Ledger(entries: [try entry("1", checksum: "abc", kind: .adopted)])
    #expect(failure { try Plan(catalog: catalog, ledger: changed, target: nil) }.code == .drift)
  }

  @Test("A database adopted at 0 has everything before it") func adoptedAtZero() throws {
    let ledger = Ledger(entries: [try entry("0", checksum: "", kind: .adopted)])
    #expect(try Plan(catalog: catalog, ledger: ledger, target: nil).steps.count == 4)
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
    let error = failure { try Plan(catalog: fewer, ledger: ledger, target: nil) }
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

  @Test("The ledger holds what is in effect: the last word about a version decides")
  func ledger() throws {
    let ledger = Ledger(entries: [
      try entry("3"), try entry("1"), try entry("2"), try entry("3", kind: .rolledBack),
    ])
    #expect(ledger.entries.map(\.name) == ["step1", "step2"])
    #expect(ledger.current == (try version("2")))
    #expect(Ledger(entries: []).current == .zero)
  }
}
