import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What a migration asks is answered, bound and written down")
struct InputTests {
  private static let change = """
    -- Input: unit TEXT "Which unit?" default 'kg' choices 'kg', 'lb'
    -- Input: factor REAL "How heavy?" range 0..10
    -- @preflight
    SELECT 'no ' || :unit WHERE :unit = '';
    -- @migrate
    CREATE TABLE answer (unit TEXT, factor REAL);
    INSERT INTO answer VALUES (:unit, :factor);
    -- @validate
    SELECT 'not there' WHERE NOT EXISTS (SELECT 1 FROM answer WHERE unit = :unit);
    """

  @Test("An answer is a value and never SQL", .timeLimit(.minutes(15)))
  func bound() async throws {
    let coach = try Sample.coach(
      update: """
        -- Input: unit TEXT "Which unit?"
        CREATE TABLE answer (unit TEXT);
        INSERT INTO answer VALUES (:unit);
        """)
    let nasty = "'); DROP TABLE item; --"
    let run: RunDocument = try await coach.run(
      "update", "--offline", "--json", "--input", "unit=\(nasty)"
    ).document()
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.inputs == ["unit": .text(nasty)])
    #expect(try SampleDatabase.value(coach.database, "SELECT unit FROM answer") == nasty)
    #expect(coach.lastRun?.inputs == ["unit": .text(nasty)])
  }

  @Test("A default is taken, and what has none is asked for", .timeLimit(.minutes(15)))
  func defaults() async throws {
    let coach = try Sample.coach(update: Self.change)
    let plan: PlanDocument = try await coach.run("plan", "--json").document()
    #expect(plan.inputs.map(\.name) == ["unit", "factor"])
    let unanswered = try await coach.run("update", "--offline")
    #expect(unanswered.code == 64)
    #expect(unanswered.error.contains("How heavy?"), "\(unanswered)")
    for (input, words) in [
      ("factor=11", "too large"), ("factor=x", "is not a number"), ("fcator=1", "mean factor?"),
    ] {
      let answer = try await coach.run("update", "--offline", "--input", input)
      #expect(answer.code == 64)
      #expect(answer.error.contains(words), "\(answer)")
    }
    #expect(try coach.ledgerVersion() == "1")
    let run: RunDocument = try await coach.run(
      "update", "--offline", "--json", "--input", "factor=2"
    ).document()
    #expect(run.inputs?["unit"] == .text("kg"))
    #expect(
      try SampleDatabase.value(coach.database, "SELECT unit || typeof(factor) FROM answer")
        == "kgreal")
  }

  @Test("The daemon takes them from the command line", .timeLimit(.minutes(15)))
  func daemon() async throws {
    let coach = try Sample.coach(update: Self.change)
    let daemon = try await coach.serve()
    let refused = try await coach.run("update", "--yes", "--json")
    #expect(refused.code == 64, "\(refused)")
    let run: RunDocument = try await coach.run(
      "update", "--yes", "--json", "--input", "factor=2.5", "--input", "unit=lb"
    ).document()
    #expect(run.outcome == .committed, "\(run)")
    #expect(run.inputs == ["unit": .text("lb"), "factor": .real(2.5)])
    #expect(await daemon.stop() == .exited(0))
  }

  @Test(
    "A parameter that no header declares is refused, with its line", .timeLimit(.minutes(15)),
    arguments: [":other", "?", "?1", "$unit", "@unit"])
  func undeclared(parameter: String) async throws {
    let coach = try Sample.coach(
      update: "-- Input: unit TEXT \"?\" default 'a'\nSELECT :unit;\nSELECT \(parameter);")
    let run: RunDocument = try await coach.run("update", "--offline", "--json").document()
    #expect(run.outcome == .refused)
    #expect(run.error?.code == .statement)
    #expect(run.error?.line == 3)
    #expect(run.error?.message.contains("has the parameter \(parameter)") == true, "\(run)")
  }
}
