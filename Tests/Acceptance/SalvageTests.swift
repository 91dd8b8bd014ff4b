import ControlServer
import Glibc
import Migrations
import SQLite
import Storage
import TestSupport
import Testing
import Updating

@Suite("What can still be read of a damaged database is read, and put in again")
struct SalvageTests {
  /// A coach that was updated, with a snapshot; used since; then a part of a table is overwritten.
  private func damaged() async throws -> (coach: TestCoach, snapshot: String) {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let taken: RunDocument = try await coach.run("snapshots", "take", "--offline", "--json")
      .document()
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO item (id, body) VALUES (90000, 'recorded'); PRAGMA wal_checkpoint(TRUNCATE)")
    let page = try #require(
      Int(
        try SampleDatabase.value(
          coach.database,
          "SELECT min(pageno) FROM dbstat WHERE name = 'item' AND pagetype = 'leaf'") ?? ""))
    try overwritePage(page, of: coach)
    return (coach, try #require(taken.snapshotId))
  }

  private func overwritePage(_ page: Int, of coach: TestCoach) throws {
    let size = try #require(
      Int(try SampleDatabase.value(coach.database, "PRAGMA page_size") ?? ""))
    let file = open(coach.database, O_WRONLY | O_CLOEXEC)
    defer { close(file) }
    let garbage = [UInt8](repeating: 0xa5, count: size)
    #expect(pwrite(file, garbage, size, off_t((page - 1) * size)) == size)
  }

  private func noLeftovers(_ coach: TestCoach) throws -> Bool {
    try FileSystem.names(in: coach.state + "/snapshots").allSatisfy { !$0.contains("partial") }
  }

  @Test(
    "After a restore, what the damaged files still hold is put in again", .timeLimit(.minutes(15)))
  func setAside() async throws {
    let (coach, snapshot) = try await damaged()
    let restored: RunDocument = try await coach.run(
      "restore", snapshot, "--offline", "--yes", "--json"
    ).document()
    #expect(restored.outcome == .restored && restored.setAside != nil, "\(restored)")
    let fingerprint = try coach.fingerprint()
    let salvaged: RunDocument = try await coach.run(
      "rescue", "salvage", restored.id, "--offline", "--json"
    ).document()
    #expect(salvaged.outcome == .finished, "\(salvaged)")
    let id = try #require(salvaged.snapshotId)
    #expect(try coach.fingerprint() == fingerprint)
    #expect(try noLeftovers(coach))

    let shown = try await coach.run("rescue", "show", id)
    #expect(shown.output.contains("item: 1 more"), "\(shown)")
    #expect(!shown.output.contains("deleted"), "\(shown)")
    let refused = try await coach.run("rescue", "apply", id, "--deletions", "--offline", "--yes")
    #expect(refused.code == 77, "\(refused)")
    let applied: RunDocument = try await coach.run(
      "rescue", "apply", id, "--offline", "--yes", "--json"
    ).document()
    #expect(applied.outcome == .committed, "\(applied)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 90000")
        == "recorded")
    // What the damage took is there from the snapshot.
    let count = "SELECT count(*) FROM item"
    let before = try SampleDatabase.value(coach.state + "/snapshots/\(snapshot).sqlite", count)
    let after = try SampleDatabase.value(coach.database, count)
    #expect(after.flatMap { Int($0) } == before.flatMap { Int($0) }.map { $0 + 1 })
  }

  @Test("A damaged value never takes the place of a good one, unless a person says so")
  func damagedValue() async throws {
    let (coach, snapshot) = try await damaged()
    // Inside a value SQLite notices nothing.
    var bytes = try #require(try FileSystem.read(coach.database))
    let places = Self.places(of: "777 000", in: bytes)
    #expect(places.count == 2)
    for place in places { bytes[place + 5] = UInt8(ascii: "X") }
    try FileSystem.replace(coach.database, with: bytes)
    #expect(try await coach.run("restore", snapshot, "--offline", "--yes").code == 0)
    let list: RescueCopiesDocument = try await coach.run("rescue", "list", "--json").document()
    let salvaged: RunDocument = try await coach.run(
      "rescue", "salvage", try #require(list.setAside.first?.run), "--offline", "--json"
    ).document()
    let id = try #require(salvaged.snapshotId)

    let applied: RunDocument = try await coach.run(
      "rescue", "apply", id, "--offline", "--yes", "--json"
    ).document()
    #expect(applied.outcome == .committed, "\(applied)")
    for table in ["item", "note"] {
      let rescued = try #require(applied.rescued?.first { $0.table == table })
      #expect(rescued.changed == 0 && rescued.conflicts == 1, "\(rescued)")
      #expect(rescued.examples.first?.row == "id = 777")
    }
    // All that was there is as it was, and what was recorded since is there, too.
    let good = coach.state + "/snapshots/\(snapshot).sqlite"
    let before = try Comparer(before: good, after: coach.database).run()
    #expect(before.tables.map(\.table) == ["item"], "\(before)")
    #expect(before.tables.first?.added == 1 && before.tables.first?.changed == 0, "\(before)")
    let folder = coach.folder("out")
    #expect(try await coach.run("rescue", "export", id, "--to", folder).code == 0)
    let script = TestCoach.text("\(folder)/rescue.sql")
    #expect(script.contains("INSERT INTO \"item\""))
    #expect(!script.contains("\nUPDATE ") && !script.contains("\nDELETE "), "\(script)")

    let taken: RunDocument = try await coach.run(
      "rescue", "apply", id, "--changes", "--offline", "--yes", "--json"
    ).document()
    #expect(taken.rescued?.map(\.changed) == [1, 1], "\(taken)")
    #expect(
      try SampleDatabase.value(coach.database, "SELECT substr(body, 1, 8) FROM item WHERE id = 777")
        == "777 0X00")
  }

  private static func places(of text: String, in bytes: [UInt8]) -> [Int] {
    let word = Array(text.utf8)
    return bytes.withUnsafeBufferPointer { bytes in
      (0...(bytes.count - word.count)).filter { place in
        bytes[place] == word[0] && bytes[place..<place + word.count].elementsEqual(word)
      }
    }
  }

  @Test("Without its ledger, and with no snapshot of its version, it is adopted after its restore")
  func lostLedger() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    try SampleDatabase.change(coach.database, "PRAGMA wal_checkpoint(TRUNCATE)")
    let page = try #require(
      Int(
        try SampleDatabase.value(
          coach.database, "SELECT pageno FROM dbstat WHERE name = 'chock_migrations'") ?? ""))
    try overwritePage(page, of: coach)
    let salvaged: RunDocument = try await coach.run("rescue", "salvage", "--offline", "--json")
      .document()
    let id = try #require(salvaged.snapshotId)
    #expect(
      salvaged.salvage?.problems.contains { $0.contains("chock adopt --at") } == true,
      "\(salvaged)")
    let list = try await coach.run("rescue", "list")
    #expect(list.output.contains("could be read of a damaged database"), "\(list)")
    #expect(!list.output.contains("was put back"), "\(list)")
    #expect(try await coach.run("restore", id, "--offline", "--yes").code == 0)
    let update = try await coach.run("update", "--offline", "--yes", "--json")
    let refused: RunDocument = try update.document()
    #expect(refused.error?.code == .unadopted, "\(update)")
    #expect(try await coach.run("adopt", "--at", "2", "--yes").code == 0)
    let done: RunDocument = try await coach.run("update", "--offline", "--yes", "--json")
      .document()
    #expect(done.outcome == .nothingToDo && done.fromVersion == "2", "\(done)")
    #expect(try SampleDatabase.value(coach.database, "SELECT count(*) FROM note") == "1000")
  }

  @Test("The database itself, by a daemon in recovery mode: nothing but a snapshot is made")
  func live() async throws {
    let (coach, snapshot) = try await damaged()
    let damagedFile = try FileSystem.read(coach.database)
    let daemon = try await coach.serve(["--recovery"])
    let answer = try daemon.askOverTCP("POST", "/api/database/salvage", "{}")
    #expect(answer.status == 403, "\(answer.text)")
    let run: RunDocument = try await coach.run("rescue", "salvage", "--json").document()
    #expect(run.outcome == .finished, "\(run)")
    let id = try #require(run.snapshotId)
    #expect(try FileSystem.read(coach.database) == damagedFile)
    let compared = try await coach.run("diff", snapshot, id)
    #expect(compared.output.contains("item"), "\(compared)")
    // It is a snapshot like any other.
    #expect(try await coach.run("snapshots", "verify", id).code == 0)
    #expect(try await coach.run("restore", id, "--yes").code == 0)
    #expect(
      try SampleDatabase.value(coach.database, "SELECT body FROM item WHERE id = 90000")
        == "recorded")
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("Where nothing can be read it says so and leaves nothing behind")
  func nothing() async throws {
    let (coach, _) = try await damaged()
    let unknown = try await coach.run("rescue", "salvage", "../snapshots", "--offline")
    #expect(unknown.code == 66 && unknown.error.contains("chock rescue list"), "\(unknown)")
    try FileSystem.replace(coach.database, with: [UInt8](repeating: 0x5a, count: 100_000))
    // The snapshot's own schema leads to nothing either.
    let garbage = try await coach.run("rescue", "salvage", "--offline", "--json")
    #expect(garbage.code == 65, "\(garbage)")
    #expect(!(garbage.output + garbage.error).contains("partial"), "\(garbage)")
    try FileSystem.replace(coach.database, with: [])
    let empty = try await coach.run("rescue", "salvage", "--offline")
    #expect(empty.code == 65 && empty.error.contains("0 bytes"), "\(empty)")
    try FileSystem.replace(coach.database, with: [UInt8](repeating: 0x5a, count: 100_000))
    for id in try await snapshots(coach) { _ = try await coach.run("snapshots", "delete", id) }
    let alone = try await coach.run("rescue", "salvage", "--offline")
    #expect(alone.code == 65 && alone.error.contains("no good snapshot"), "\(alone)")
    try FileSystem.remove(coach.database)
    #expect(try await coach.run("rescue", "salvage", "--offline").code == 66)
    #expect(try noLeftovers(coach))
  }

  private func snapshots(_ coach: TestCoach) async throws -> [String] {
    let list: SnapshotsDocument = try await coach.run("snapshots", "list", "--json").document()
    return list.snapshots.map(\.id)
  }

  @Test("What it has otherwise than the newest good snapshot is told table by table")
  func compared() async throws {
    let (coach, _) = try await damaged()
    let run = try await coach.run("rescue", "salvage", "--offline", "--json")
    let document: RunDocument = try run.document()
    let salvage = try #require(document.salvage)
    #expect(salvage.comparedWith != nil && salvage.differences?.isEmpty == false, "\(salvage)")
    let item = try #require(salvage.tables.first { $0.table == "item" })
    #expect(item.unreadablePlaces == 1 && item.read > 0, "\(item)")
    let difference = try #require(salvage.differences?.first { $0.table == "item" })
    #expect(difference.deleted > 0 && difference.added == 1, "\(difference)")
    #expect(try noLeftovers(coach))
  }

  @Test("A worker that dies beside an interrupted run leaves that one to the person")
  func workerDies() async throws {
    let (coach, _) = try await damaged()
    try FileSystem.replace(coach.state + "/run.json", with: Array("{".utf8))
    var shim = Shim(.stop, at: [1])
    shim.file = "salvage.partial"
    shim.role = "worker"
    let daemon = try await coach.serve(["--recovery"], environment: shim.environment(of: coach))
    let child = try await killedWorker(of: daemon)
    let ended = try await daemon.ended(child)
    #expect(ended.outcome == .refused && ended.error?.code == .interrupted, "\(ended)")
    #expect(try FileSystem.read(coach.state + "/run.json") == Array("{".utf8))
    #expect(try daemon.status().mode == .recovery)
    #expect(await daemon.stop() == .exited(0))
  }

  /// The id of a run whose worker is killed where it has stopped itself.
  private func killedWorker(of daemon: Daemon) async throws -> String {
    let began = try daemon.ask("POST", "/api/database/salvage", "{}")
    let run = try JSON.decode(RunDocument.self, from: began.body)
    try await waitUntil("the worker stands still and is killed") {
      Processes.children(of: daemon.process.pid).contains {
        Processes.state(of: $0) == "T" && kill($0, SIGKILL) == 0
      }
    }
    return run.id
  }

  @Test("What the storage cannot read is counted, and everything else is read")
  func badBlocks() async throws {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    try SampleDatabase.change(coach.database, "PRAGMA wal_checkpoint(TRUNCATE)")
    let leaves = try #require(
      try SampleDatabase.value(
        coach.database,
        "SELECT group_concat(pageno) FROM dbstat WHERE name = 'item' AND pagetype = 'leaf'"
      )?.split(separator: ",").compactMap { Int($0) })
    let before = try FileSystem.read(coach.database)
    var shim = Shim()
    // A block at a place where none begins for who reads in large pieces.
    shim.unreadable = ((leaves[leaves.count / 2] - 1) * 4096, 4096)
    let run: RunDocument = try await coach.run(
      "rescue", "salvage", "--offline", "--json", environment: shim.environment(of: coach)
    ).document()
    #expect(run.outcome == .finished, "\(run)")
    let salvage = try #require(run.salvage)
    #expect(
      salvage.problems.first == "The storage could not read \(ByteCount.text(4096)) of its file.",
      "\(salvage.problems)")
    let item = try #require(salvage.tables.first { $0.table == "item" })
    #expect(item.unreadablePlaces == 1 && item.read >= 996 && item.read < 1000, "\(item)")
    #expect(item.lost == 1000 - item.read, "\(item)")
    #expect(salvage.tables.first { $0.table == "note" }?.isWhole == true)
    #expect(try FileSystem.read(coach.database) == before)
    // A first page that cannot be read is the snapshot's.
    shim.unreadable = (0, 4096)
    let first: RunDocument = try await coach.run(
      "rescue", "salvage", "--offline", "--json", environment: shim.environment(of: coach)
    ).document()
    #expect(first.outcome == .finished, "\(first)")
    #expect(first.salvage?.schemaFrom != nil, "\(first)")
    #expect(first.salvage?.tables.first { $0.table == "item" }?.read == 1000)
    #expect(try noLeftovers(coach))
  }

  /// A healthy coach in WAL mode whose application has it open, with two tables of as many rows.
  private func paired() async throws -> (TestCoach, Connection) {
    let coach = try Sample.coach()
    #expect(try await coach.run("update", "--offline", "--yes").code == 0)
    let application = try Connection(path: coach.database, mode: .readWrite)
    try application.execute(
      "CREATE TABLE a (x); CREATE TABLE b (x); PRAGMA wal_autocheckpoint = 3")
    return (coach, application)
  }

  private static let both = "BEGIN; INSERT INTO a VALUES (1); INSERT INTO b VALUES (1); COMMIT"

  @Test("A program that writes while it is copied: the result is the database at one moment")
  func writer() async throws {
    let (coach, application) = try await paired()
    try application.execute(Self.both)
    var shim = Shim(.hold, at: [2])
    shim.file = "salvage.partial"
    shim.role = "worker"
    let call = try coach.start(
      ["rescue", "salvage", "--offline", "--json"], environment: shim.environment(of: coach))
    try await waitUntil("the copy has begun") { shim.faults(of: coach) == 1 }
    // Some of it goes into the file, and some into the log.
    for _ in 1...20 { try application.execute(Self.both) }
    shim.release(coach)
    let run: RunDocument = try await call.answer().document()
    #expect(run.outcome == .finished, "\(run)")
    let snapshot = "\(coach.state)/snapshots/\(try #require(run.snapshotId)).sqlite"
    for table in ["a", "b"] {
      #expect(try SampleDatabase.value(snapshot, "SELECT count(*) FROM \(table)") == "21")
      #expect(try application.integer("SELECT count(*) FROM \(table)") == 21)
    }
    #expect(run.salvage?.tables.allSatisfy { $0.isWhole } == true, "\(run)")
    #expect(try noLeftovers(coach))
  }

  @Test("A program that never stops writing is named, and nothing is made")
  func restlessWriter() async throws {
    let (coach, application) = try await paired()
    let before = try await snapshots(coach)
    var shim = Shim(.stop, at: [1], isSticky: true)
    shim.file = "salvage.partial"
    shim.role = "worker"
    let call = try coach.start(
      ["rescue", "salvage", "--offline", "--json"], environment: shim.environment(of: coach))
    var rows: Int64 = 0
    while call.process.end == nil {
      for worker in Processes.children(of: call.process.pid)
      where Processes.state(of: worker) == "T" {
        try application.execute(Self.both)
        rows += 1
        _ = kill(worker, SIGCONT)
      }
      try await Task.sleep(for: .milliseconds(1))
    }
    let answer = await call.answer()
    #expect(answer.code == 75, "\(answer)")
    let run: RunDocument = try answer.document()
    #expect(run.error?.code == .databaseLocked, "\(run)")
    #expect(run.error?.howToClear?.contains("Stop it: ") == true, "\(run)")
    #expect(try application.integer("SELECT count(*) FROM a") == rows && rows > 3)
    #expect(try await snapshots(coach) == before)
    #expect(try noLeftovers(coach))
  }

  @Test("Killed in the middle it leaves the damaged files and no snapshot")
  func killed() async throws {
    let (coach, _) = try await damaged()
    let before = try await snapshots(coach)
    let damagedFile = try FileSystem.read(coach.database)
    let daemon = try await coach.serve(["--recovery"])
    let began = try daemon.ask("POST", "/api/database/salvage", "{}")
    #expect(began.status == 202, "\(began.text)")
    let second = try daemon.ask("POST", "/api/database/salvage", "{}")
    #expect(second.status == 202 || second.text.contains("CHK-RUN-ACTIVE"), "\(second.text)")
    daemon.process.signal(SIGKILL)
    _ = await daemon.process.ended()
    _ = try await coach.run("recover")
    #expect(try FileSystem.read(coach.database) == damagedFile)
    #expect(try noLeftovers(coach))
    #expect(Set(before).isSubset(of: try await snapshots(coach)))
  }
}
