import Glibc
import Migrations
import Storage
import TestSupport
import Testing

/// The application of the sample coach, Tests/SampleCoach/writer.py: one thread writes and three read,
/// until it is told to stop.
struct SampleApplication {
  static let folder: String = {
    let parts = #filePath.split(separator: "/").dropLast(3)
    return "/" + parts.joined(separator: "/")
  }()
  private static let program = "\(folder)/Tests/SampleCoach/writer.py"

  /// What each reader asks in each transaction: the version in the ledger, and all of the schema.
  private static let schema = """
    SELECT (SELECT max(CAST(version AS INTEGER)) FROM \(LedgerTable.name)) || ' '
      || group_concat(sql, '; ')
    FROM (SELECT sql FROM sqlite_schema ORDER BY type, name)
    """

  private let coach: TestCoach
  private let process: ChildProcess
  private var log: String { coach.folder("acknowledged") }
  private var beat: String { coach.folder("reads") }

  /// - Parameter isPatient: leaves time between two transactions, where a reader and a writer shut each
  ///   other out.
  init(_ coach: TestCoach, isPatient: Bool) async throws {
    self.coach = coach
    process = try Self.tool(
      "python3",
      [
        Self.program, coach.database, "--log", coach.folder("acknowledged"), "--readers", "3",
        "--interval-ms", isPatient ? "100" : "10", "--pause-ms", isPatient ? "50" : "10",
        "--beat", coach.folder("reads"), "--watch", Self.schema,
      ], coach)
    try await goesOn()
  }

  /// Each starts with an empty output.
  static func tool(_ name: String, _ arguments: [String], _ coach: TestCoach) throws -> ChildProcess
  {
    try FileSystem.remove(coach.folder("tool-out"))
    return try ChildProcess(
      name, arguments, output: coach.folder("tool-out"), error: coach.folder("tool-err"))
  }

  // MARK: While it runs

  /// Waits for ten more transactions of the readers, and of the writer too.
  func goesOn() async throws {
    let (before, written) = (reads, writes)
    try await waitUntil("the application goes on") {
      if let end = process.end {
        throw Failure(.inputOutput, "It ended: \(end)\n\(TestCoach.text(coach.folder("tool-err")))")
      }
      return reads >= before + 10 && writes >= written + 10
    }
  }

  /// Whether the readers make ten more transactions.
  func readsOn() async -> Bool {
    let before = reads
    return (try? await waitUntil("readers go on") { reads >= before + 10 }) != nil
  }

  private var reads: Int64 { FileSystem.facts(beat)?.size ?? 0 }
  private var writes: Int {
    TestCoach.text(log).utf8.count { $0 == UInt8(ascii: "\n") }
  }

  // MARK: Afterwards

  struct Report: Decodable {
    var acknowledged: Int
    var seen: [String]
    var readErrors: [String]
    var writeErrors: [String]

    /// The versions that readers saw, each with how many different schemas it had.
    var schemas: [String: Int] {
      Dictionary(grouping: seen) { String($0.prefix { $0 != " " }) }.mapValues(\.count)
    }
  }

  func stopped() async throws -> Report {
    process.signal(SIGTERM)
    #expect(await process.ended() == .exited(0))
    return try decoded()
  }

  struct Check: Decodable {
    var acknowledged: Int
    var inCopies: Int
    var missing: [String]
  }

  /// Where all that was acknowledged is: in the database, or in the snapshot of this id.
  func check(rescueCopy: String?) async throws -> Check {
    let copy = rescueCopy.map { "\(coach.state)/snapshots/\($0).sqlite" }
    let isThere = copy.map { FileSystem.facts($0) != nil } ?? true
    #expect(isThere, "The rescue copy that is named is not there.")
    let copies = isThere ? copy.map { ["--copy", $0] } ?? [] : []
    let check = try Self.tool(
      "python3", [Self.program, "--check", coach.database, "--log", log] + copies, coach)
    _ = await check.ended()
    return try decoded()
  }

  private func decoded<T: Decodable>() throws -> T {
    try JSON.decode(T.self, from: Array(TestCoach.text(coach.folder("tool-out")).utf8))
  }
}
