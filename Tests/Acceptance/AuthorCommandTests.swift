import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("Those who write migrations are told at once what is wrong")
struct AuthorCommandTests {
  @Test("new writes two files that check then proves", .timeLimit(.minutes(15)))
  func newAndCheck() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    let new = try await coach.run("new", "Keep", "the", "size")
    #expect(new.code == 0 && new.output.contains("/0003_keep_the_size.rollback.sql"), "\(new)")
    #expect(try await coach.run("check").code == 65)
    try coach.folder.write(
      "CREATE TABLE size (id);", to: "migrations/0003_keep_the_size.sql")
    try coach.folder.write("DELETE FROM item;", to: "migrations/0003_keep_the_size.rollback.sql")
    let before = try coach.fingerprint()
    let wrong = try await coach.run("check")
    #expect(wrong.code == 65, "\(wrong)")
    #expect(wrong.output.contains("0003_keep_the_size.rollback.sql"), "\(wrong)")
    try coach.folder.write("DROP TABLE size;", to: "migrations/0003_keep_the_size.rollback.sql")
    let right = try await coach.run("check")
    #expect(right.code == 0, "\(right)")
    #expect(right.output.contains("a copy of \(coach.database)"), "\(right)")
    #expect(try coach.fingerprint() == before)
  }

  @Test("dev tries each save, and leaves the database alone", .timeLimit(.minutes(15)))
  func dev() async throws {
    let coach = try Sample.coach()
    let before = try FileSystem.read(coach.database)
    let call = try coach.start(["dev"])
    func waitFor(_ words: String) async throws {
      try await waitUntil("it says \(words)") { call.output.contains(words) }
    }
    try await waitFor("Plan 1 -> 2")
    try await waitFor("Good.")
    try coach.folder.write("SELECT broken;", to: "migrations/0003_more.sql")
    try await waitFor("0003_more.sql")
    try await waitFor("no such column: broken")
    try await waitFor("Not yet.")
    try coach.folder.write("CREATE TABLE more (id);", to: "migrations/0003_more.sql")
    try await waitFor("Plan 1 -> 3")
    try await waitFor("warning missing-rollback")
    call.process.signal(2)
    #expect(await call.process.ended() == .signalled(2))
    #expect(try FileSystem.read(coach.database) == before)
  }

  @Test("A new database is made by the baseline, an old one by the files", .timeLimit(.minutes(15)))
  func squash() async throws {
    let coach = try Shipped.coach()
    for name in try FileSystem.names(in: Shipped.migrations) {
      try coach.folder.write(
        TestCoach.text("\(Shipped.migrations)/\(name)"), to: "own/\(name)")
    }
    try coach.folder.write(
      TestCoach.text(coach.configFile).split(separator: Shipped.migrations).joined(
        separator: coach.folder("own")), to: "chock.toml")
    let plain = try Shipped.coach()
    #expect(try await plain.run("init").code == 0)
    let squashed = try await coach.run("squash", "--to", "18")
    #expect(squashed.code == 0, "\(squashed)")
    let new = try await coach.run("init")
    #expect(new.code == 0, "\(new)")
    #expect(try Shipped.schema(coach.database) == Shipped.schema(plain.database))
    #expect(
      try SampleDatabase.value(
        coach.database, "SELECT count(DISTINCT duration_ms) FROM chock_migrations")
        != "19")
    #expect(try await coach.run("diff").code == 0)
    let back = try await coach.run("rollback", "--to", "3", "--offline", "--yes")
    #expect(back.code == 0, "\(back)")
    #expect(try await coach.run("update", "--offline").code == 0)
    #expect(try Shipped.schema(coach.database) == Shipped.schema(plain.database))
  }
}

@Suite("What does not fit is accepted by a person with a reason, or not at all")
struct RepairTests {
  @Test("A changed file and drift, once each, and the audit says who", .timeLimit(.minutes(15)))
  func repair() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    #expect(try await coach.run("repair").code == 0)
    let file = "migrations/0002_change.sql"
    try coach.folder.write("\(TestCoach.text(coach.folder(file)))\n-- later", to: file)
    try SampleDatabase.change(coach.database, "CREATE TABLE dealer (id)")
    let before = try coach.fingerprint()
    #expect(try await coach.run("plan").code == 65)
    let doctor = try await coach.run("doctor")
    #expect(doctor.code == 65 && doctor.output.contains("in 1 place"), "\(doctor)")
    let shown = try await coach.run("repair")
    #expect(shown.code == 65 && shown.output.contains("extra table dealer"), "\(shown)")
    #expect(try await coach.run("repair", "--yes").code == 64)
    let long = String(repeating: "x", count: 301)
    for reason in [" ", long] {
      let answer = try await coach.run("repair", "--reason", reason, "--yes")
      #expect(answer.code == 64 && answer.error.contains("300 characters"), "\(answer)")
    }
    // Nobody is there to be asked.
    #expect(try await coach.run("repair", "--reason", "why").code == 77)
    #expect(try await coach.run("audit").output.contains("Nothing yet"))

    let accepted = try await coach.run("repair", "--reason", "the dealer's own", "--yes")
    #expect(accepted.code == 0, "\(accepted)")
    #expect(try coach.fingerprint() == before)
    for verb in ["plan", "diff", "repair", "doctor"] {
      let answer = try await coach.run(verb)
      #expect(answer.code == 0, "\(answer)")
    }
    let audit = try await coach.run("audit")
    #expect(audit.code == 0)
    #expect(audit.output.split(separator: "\n").count == 2)
    #expect(audit.output.contains("the dealer's own"))

    // More of it is not what was accepted.
    try SampleDatabase.change(coach.database, "CREATE TABLE another (id)")
    #expect(try await coach.run("diff").code == 65)
  }

  @Test("An audit that somebody has changed says so", .timeLimit(.minutes(15)))
  func chain() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    for table in ["one", "two", "three"] {
      try SampleDatabase.change(coach.database, "CREATE TABLE \(table) (id)")
      #expect(try await coach.run("repair", "--reason", table, "--yes").code == 0)
    }
    let state = coach.state + "/state.db"
    #expect(throws: (any Error).self) {
      try SampleDatabase.change(state, "DELETE FROM audit WHERE id = 2")
    }
    #expect(try await coach.run("audit").code == 0)
    try SampleDatabase.change(
      state, "DROP TRIGGER audit_is_not_deleted; DELETE FROM audit WHERE id = 2")
    let answer = try await coach.run("audit")
    #expect(answer.code == 65, "\(answer)")
  }

  @Test(
    "A history that is damaged twice is kept twice, and the audit says so", .timeLimit(.minutes(15))
  )
  func damaged() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    try SampleDatabase.change(coach.database, "CREATE TABLE dealer (id)")
    for number in 1...2 {
      #expect(try await coach.run("repair", "--reason", "why \(number)", "--yes").code == 0)
      #expect(try await coach.run("audit").code == (number == 1 ? 0 : 65))
      for suffix in ["-wal", "-shm", "-journal"] {
        try FileSystem.remove("\(coach.state)/state.db\(suffix)")
      }
      try FileSystem.replace("\(coach.state)/state.db", with: Array("garbage, and more of it".utf8))
      let answer = try await coach.run("audit")
      #expect(answer.code == 65 && answer.error.contains("state.db.damaged"), "\(answer)")
    }
    #expect(try FileSystem.names(in: coach.state).count { $0.contains(".damaged") } == 2)
    #expect(try await coach.run("doctor").output.contains("state.db.damaged-2"))
  }

  @Test("A reason cannot look like another entry", .timeLimit(.minutes(15)))
  func forged() async throws {
    let coach = try Sample.coach()
    _ = try await coach.run("update", "--offline")
    try SampleDatabase.change(coach.database, "CREATE TABLE dealer (id)")
    #expect(try await coach.run("repair", "--reason", "ok\nforged", "--yes").code == 64)
  }

  @Test("Not over a run that was interrupted", .timeLimit(.minutes(15)))
  func interrupted() async throws {
    let coach = try Sample.coach()
    try SampleDatabase.change(coach.database, "CREATE TABLE dealer (id)")
    try FileSystem.makeFolder(coach.state)
    try FileSystem.replace(coach.state + "/run.json", with: Array("{}".utf8))
    let answer = try await coach.run("repair", "--reason", "why", "--yes")
    #expect(answer.code != 0, "\(answer)")
    #expect(try await coach.run("audit").output.contains("Nothing yet"))
  }
}
