import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "A full disk refuses or rolls back, and says what is needed and what there is",
  .serialized, .enabled(if: Mount.isPossible, "\(Mount.reason)"))
struct NoSpaceTests {
  /// Writes some 40 MB.
  private static let large = """
    -- Description: Grows a lot
    CREATE TABLE large (id INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT;
    INSERT INTO large (body)
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
    SELECT hex(zeroblob(4000)) FROM n;
    """

  /// - Parameters:
  ///   - state: megabytes of the file system of the state folder, when it is one of its own.
  ///   - database: likewise of the database.
  private func coach(
    state: Int? = nil, database: Int? = nil, update: String = Sample.update, config: String = "",
    _ body: (TestCoach, _ database: String) async throws -> Void
  ) async throws {
    let outer = try TemporaryFolder()
    let mounts = [
      try state.map { try Mount(tmpfs: outer("state"), megabytes: $0) },
      try database.map { try Mount(tmpfs: outer("data"), megabytes: $0) },
    ]
    defer {
      for mount in mounts { mount?.detach() }
      withExtendedLifetime(outer) {}
    }
    try FileSystem.makeFolder(outer("data"))
    let path = outer("data") + "/coach.db"
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n\(config)", update: update, database: path,
      state: outer("state"))
    try await body(coach, path)
    #expect(try SampleDatabase.fingerprint(path) == Sample.prints.get().old)
    let names = try FileSystem.names(in: outer("state"))
    #expect(!names.contains("run.json"))
    #expect(try FileSystem.names(in: outer("state") + "/work") == [])
    let snapshots = try FileSystem.names(in: outer("state") + "/snapshots")
    #expect(snapshots.filter { $0.contains("partial") || $0.contains("-journal") } == [])
  }

  @Test("The daemon starts all the same, and says what is wrong")
  func start() async throws {
    try await coach(state: 1) { coach, _ in
      let file = open("\(coach.state)/full", O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
      let zeros = [UInt8](repeating: 0, count: 4096)
      while write(file, zeros, zeros.count) > 0 {}
      close(file)
      let daemon = try await coach.serve()
      #expect(try daemon.status().mode == .normal)
      let refused = try await coach.run("update", "--json")
      #expect(refused.code != 0)
      #expect(refused.output.contains("CHK-NO-SPACE"), "\(refused)")
      #expect(await daemon.stop() == .exited(0))
    }
  }

  private func saysBoth(_ error: Failure?) {
    #expect(error?.code == .noSpace)
    #expect(error?.message.contains("MB are needed") == true, "\(error?.message ?? "")")
    #expect(error?.message.contains("MB are free") == true)
  }

  @Test("Before the snapshot it is foreseen", .timeLimit(.minutes(15)))
  func snapshotForeseen() async throws {
    try await coach(state: 10) { coach, _ in
      let answer = try await coach.run("update", "--offline", "--json")
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .refused)
      #expect(answer.code == 75)
      saysBoth(run.error)
    }
  }

  @Test("While the snapshot is written it is refused", .timeLimit(.minutes(15)))
  func snapshot() async throws {
    try await coach(state: 24) { coach, _ in
      let daemon = try await coach.serve()
      let folder = coach.state
      let watch = try JournalWatch(folder)
      let id = try daemon.startUpdate()
      let frozen = try #require(
        try await watch.freeze(.snapshot, workerOf: daemon.process.pid))
      // Somebody else takes the space that was there when the run looked.
      try fill(folder + "/filler", leaving: 1 << 20)
      frozen.letGo()
      let run = try await daemon.ended(id)
      #expect(run.outcome == .refused || frozen.phase != .snapshot)
      #expect(run.error?.code == .noSpace, "\(run)")
      try FileSystem.remove(folder + "/filler")
      await daemon.stop()
    }
  }

  @Test("The rehearsal runs out of it on the copy", .timeLimit(.minutes(15)))
  func rehearsal() async throws {
    try await coach(state: 32, update: Self.large) { coach, _ in
      let answer = try await coach.run("update", "--offline", "--json")
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .refused, "\(answer)")
      #expect(run.error?.code == .noSpace)
      #expect(run.phases.last?.phase == .rehearse)
    }
  }

  @Test("What the rehearsal has measured is asked for before apply", .timeLimit(.minutes(15)))
  func applyForeseen() async throws {
    try await coach(database: 24, update: Self.large) { coach, _ in
      let answer = try await coach.run("update", "--offline", "--json")
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .refused, "\(answer)")
      saysBoth(run.error)
    }
  }

  @Test("In the middle of apply it is rolled back", .timeLimit(.minutes(15)))
  func apply() async throws {
    try await coach(database: 24, update: Self.large, config: "[update]\nrehearse = false") {
      coach, _ in
      let answer = try await coach.run("update", "--offline", "--json")
      let run: RunDocument = try answer.document()
      #expect(run.outcome == .rolledBack, "\(answer)")
      #expect(run.error?.code == .noSpace, "\(answer)")
      #expect(run.error?.line == 3)
    }
  }

  private func fill(_ path: String, leaving rest: Int64) throws {
    let free = try FileSystem.availableBytes(at: path)
    let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
    defer { close(file) }
    #expect(posix_fallocate(file, 0, off_t(max(0, free - rest))) == 0)
  }
}
