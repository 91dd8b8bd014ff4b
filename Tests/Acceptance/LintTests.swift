import Storage
import TestSupport
import Testing

@Suite("chock lint")
struct LintCommandTests {
  private struct Answer: Decodable {
    var schema: String
    var errors: Int
    var warnings: Int
    var findings: [Finding]

    struct Finding: Decodable {
      var rule: String
      var severity: String
      var file: String
      var line: Int
      var message: String
      var safeWay: String
    }
  }

  private static let files = [
    "0001_tanks.sql": "CREATE TABLE tank (id INTEGER PRIMARY KEY, name TEXT);",
    "0001_tanks.rollback.sql": "DROP TABLE tank;",
    "0002_names.sql": "\nALTER TABLE tank DROP COLUMN name;",
    "0002_names.rollback.sql": "ALTER TABLE tank ADD COLUMN name TEXT;",
  ]

  @Test("A folder, a file, and what is released; without a database", .timeLimit(.minutes(15)))
  func folder() async throws {
    let coach = try TestCoach(migrations: Self.files)
    let all = try await coach.run("lint", "--json")
    #expect(all.code == 65, "\(all)")
    let answer: Answer = try all.document()
    #expect(answer.schema == "chock.LINT/1")
    #expect((answer.errors, answer.warnings) == (1, 1))
    #expect(answer.findings.map(\.rule) == ["destructive", "incompatible"])
    #expect(answer.findings.map(\.severity) == ["error", "warning"])
    #expect(answer.findings.map(\.line) == [2, 2])
    #expect(answer.findings.first?.file == coach.migrations + "/0002_names.sql")
    #expect(answer.findings.first?.safeWay.contains("Destructive: yes") == true)

    #expect(try await coach.run("lint", coach.migrations + "/0001_tanks.sql").code == 0)
    #expect(try await coach.run("lint", coach.migrations + "/0002_names.sql").code == 65)
    #expect(try await coach.run("lint", "--after", "2").code == 0)
    #expect(try await coach.run("lint", "--after", "1").code == 65)
    #expect(try coach.names(in: "").filter { $0.hasPrefix("coach.db") || $0 == "state" } == [])

    try coach.folder.write(
      "-- Destructive: yes\n" + (Self.files["0002_names.sql"] ?? ""),
      to: "migrations/0002_names.sql")
    #expect(try await coach.run("lint").code == 0)
    #expect(try await coach.run("lint", "--strict").code == 65)
  }

  @Test("In words: place, rule, and the safe way", .timeLimit(.minutes(15)))
  func words() async throws {
    let coach = try TestCoach(migrations: Self.files)
    let text = try await coach.run("lint").output
    let place = "\(coach.migrations)/0002_names.sql:2"
    #expect(text.contains("\(place): error destructive: The column name of tank goes.\n  Safe: "))
    #expect(text.contains("\(place): warning incompatible: "))
    #expect(text.contains("Errors: 1, warnings: 1."))
    #expect(try await coach.run("lint", "--after", "2").output == "Nothing found.\n")
  }

  @Test("It explains its rules", .timeLimit(.minutes(15))) func explain() async throws {
    let coach = try TestCoach()
    let rules = try await coach.run("lint", "--rules")
    #expect(rules.code == 0)
    #expect(rules.output.contains("rename-first: "))
    let one = try await coach.run("lint", "--explain", "rename-first")
    #expect(one.output.contains("ALTER TABLE tank_new RENAME TO tank;"), "\(one)")
    let unknown = try await coach.run("lint", "--explain", "renamefirst")
    #expect(unknown.code == 64)
    #expect(unknown.error.contains("Did you mean rename-first?"))
  }

  @Test("What is no folder of migrations", .timeLimit(.minutes(15))) func missing() async throws {
    let coach = try TestCoach()
    #expect(try await coach.run("lint").code == 66)
    #expect(try await coach.run("lint", "/nowhere").code == 66)
    #expect(try await coach.run("lint", coach.configFile).code == 64)
    try coach.folder.write("CREATE", to: "migrations/0001_a.sql")
    try coach.folder.write("", to: "migrations/b.sql")
    let bad = try await coach.run("lint", "--json")
    #expect(bad.code == 65)
    #expect(
      try bad.document(Answer.self).findings.map(\.rule).sorted() == [
        "fails", "file", "missing-rollback",
      ])
  }
}
