import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// The sample coach of `make run`, smaller, with an application that reads and writes all the time.
@Suite("An application goes on while its database is updated", .serialized)
struct WriterTests {
  private static let sources: String = {
    let parts = #filePath.split(separator: "/").dropLast(3)
    return "/" + parts.joined(separator: "/")
  }()

  private struct Report: Decodable {
    var acknowledged: Int
    var reads: Int
    var readErrors: [String]
    var writeErrors: [String]
  }

  private struct Check: Decodable { var missing: [String] }

  @Test(
    "Nothing that the application got an OK for is missing after an update", .timeLimit(.minutes(2))
  )
  func committed() async throws {
    try await update(extra: [:], outcome: .committed, version: "6")
  }

  @Test("Nor after one that was rolled back", .timeLimit(.minutes(2)))
  func rolledBack() async throws {
    let bad = """
      -- Description: Fails after some work
      -- Requires: 0006
      UPDATE sensor_readings SET raw_value = raw_value + 1;
      INSERT INTO no_such_table VALUES (1);
      """
    try await update(extra: ["0007_bad.sql": bad], outcome: .rolledBack, version: "3")
  }

  private func update(extra: [String: String], outcome: Outcome, version: String) async throws {
    let migrations = Self.sources + "/migrations"
    // What the rehearsal would find out has to happen in the database itself.
    let rehearse = outcome == .committed
    let coach = try TestCoach(config: "\(TestCoach.development)\n[update]\nrehearse = \(rehearse)")
    for name in try FileSystem.names(in: migrations) {
      try coach.folder.write(TestCoach.text("\(migrations)/\(name)"), to: "migrations/\(name)")
    }
    for (name, text) in extra { try coach.folder.write(text, to: "migrations/\(name)") }
    let scripts = Self.sources + "/Tests/SampleCoach"
    let made = try tool("sh", ["\(scripts)/make-sample-coach.sh", coach.database, "4", "3"], coach)
    #expect(await made.ended() == .exited(0), "\(TestCoach.text(coach.folder("tool-err")))")
    #expect(try await coach.run("adopt", "--at", "3").code == 0)

    let log = coach.folder("acknowledged")
    let writer = try tool(
      "python3", ["\(scripts)/writer.py", coach.database, "--log", log, "--readers", "3"], coach)
    try await waitUntil("the writer writes") { lines(log) > 20 }
    let answer = try await coach.run("update", "--offline", "--json")
    let run: RunDocument = try answer.document()
    #expect(run.outcome == outcome, "\(answer)")
    #expect(run.error?.code == (outcome == .committed ? nil : .statement), "\(answer)")
    let after = lines(log)
    try await waitUntil("the writer goes on") { lines(log) > after + 20 }
    writer.signal(SIGTERM)
    #expect(await writer.ended() == .exited(0))

    let report: Report = try decoded(coach)
    #expect(report.readErrors == [])
    #expect(report.writeErrors == [])
    #expect(report.reads > 0)
    let check = try tool(
      "python3", ["\(scripts)/writer.py", coach.database, "--log", log, "--check"], coach)
    #expect(await check.ended() == .exited(0))
    let result: Check = try decoded(coach)
    #expect(result.missing == [])
    #expect(try coach.ledgerVersion() == version)
  }

  /// Each starts with an empty output.
  private func tool(_ name: String, _ arguments: [String], _ coach: TestCoach) throws
    -> ChildProcess
  {
    let (output, error) = (coach.folder("tool-out"), coach.folder("tool-err"))
    try FileSystem.remove(output)
    return try ChildProcess(name, arguments, output: output, error: error)
  }

  private func decoded<T: Decodable>(_ coach: TestCoach) throws -> T {
    try JSON.decode(T.self, from: Array(TestCoach.text(coach.folder("tool-out")).utf8))
  }

  private func lines(_ path: String) -> Int {
    TestCoach.text(path).utf8.count { $0 == UInt8(ascii: "\n") }
  }
}
