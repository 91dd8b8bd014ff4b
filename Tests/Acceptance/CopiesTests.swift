import Glibc
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite(
  "Snapshots are kept elsewhere, too, and no update waits for that", .serialized,
  .timeLimit(.minutes(15)))
struct CopiesTests {
  private func config(_ places: String..., more: String = "") -> String {
    "\(TestCoach.development)\n\(more)\n"
      + places.map { "[[snapshots.copies]]\n\($0)\n" }.joined()
  }

  private func names(_ place: String) throws -> [String] {
    try FileSystem.names(in: place + "/chock-snapshots")
  }

  /// Waits until nothing is copied any more and `condition` holds of the only place.
  private func place(
    of daemon: Daemon, _ what: String, _ condition: (CopyPlaceDocument) -> Bool
  ) async throws -> CopyPlaceDocument {
    var found: CopyPlaceDocument?
    try await waitUntil(what) {
      found = try daemon.status().copies.first
      return found.map { !$0.isCopying && condition($0) } ?? false
    }
    return try #require(found)
  }

  private struct List: Decodable {
    var snapshots: [SnapshotDocument]
    var copies: [CopyPlaceDocument]?
  }

  // MARK: A folder

  @Test("After an update its snapshot is elsewhere, and brings the data back when all here is lost")
  func allIsLost() async throws {
    let outer = try TemporaryFolder()
    let folder = outer("usb")
    try FileSystem.makeFolder(folder)
    let coach = try Sample.coach(config: config("path = \"\(folder)\"\nrequire_mount = false"))
    let daemon = try await coach.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed)
    let id = try #require(run.snapshotId)
    let known = try await place(of: daemon, "it is copied") { $0.lastCopyId == id }
    #expect(known.problem == nil && known.lastCopyAgeSeconds != nil)
    #expect(try names(folder) == ["\(id).json", "\(id).sqlite"])
    let list = try JSON.decode(List.self, from: daemon.ask("GET", "/api/database/backups").body)
    #expect(list.copies?.first?.place == folder)
    #expect(list.copies?.first?.snapshots?.map(\.id) == [id])
    let shown = try await coach.run("snapshots")
    #expect(shown.output.contains("\(folder):\(id)"), "\(shown)")
    let metrics = try daemon.ask("GET", "/metrics").text
    #expect(metrics.contains("chock_last_copy_timestamp_seconds{place=\"\(folder)\"} 1"))
    #expect(await daemon.stop() == .exited(0))

    // A new card.
    for name in try FileSystem.names(in: coach.state) {
      try FileSystem.remove("\(coach.state)/\(name)", orFolder: true)
    }
    for ending in ["", "-wal", "-shm"] { try FileSystem.remove(coach.database + ending) }
    let seen = try await coach.run("snapshots", "list", "--from", folder, "--json")
    #expect(try seen.document(List.self).snapshots.map(\.id) == [id], "\(seen)")
    let back = try await coach.run(
      "restore", "--from", "\(folder):\(id)", "--offline", "--yes", "--json")
    #expect(back.code == 0, "\(back)")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
  }

  @Test("With a daemon it is fetched by it, shown what would go, and put back")
  func fetch() async throws {
    let outer = try TemporaryFolder()
    let coach = try Sample.coach(
      config: config("path = \"\(outer.path)\"\nrequire_mount = false"))
    let daemon = try await coach.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    let id = try #require(run.snapshotId)
    _ = try await place(of: daemon, "it is copied") { $0.lastCopyId == id }
    #expect(try daemon.ask("DELETE", "/api/database/backups/\(id)").status == 204)
    // An owner does not; nor does anybody name any folder over the network.
    let refused = try daemon.askOverTCP(
      "POST", "/api/database/copies/\(id)/fetch", #"{"place": "/etc"}"#)
    #expect(refused.status == 403, "\(refused.text)")
    let none = try await coach.run("restore", "--from", "/nonexistent:\(id)", "--yes")
    #expect(none.code == 75 && none.error.contains("CHK-COPY-PLACE"), "\(none)")
    let noYes = try await coach.run("restore", "--from", "\(outer.path):\(id)")
    #expect(noYes.code == 77 && noYes.error.contains("note: only here"), "\(noYes)")
    let restored = try await coach.run("restore", "--from", "\(outer.path):\(id)", "--yes")
    #expect(restored.code == 0, "\(restored)")
    #expect(try coach.fingerprint() == Sample.prints.get().old)
    let history = try await coach.run("history", "--json")
    let kinds = try history.document(HistoryAnswer.self).runs.map(\.kind)
    #expect(kinds.contains(.fetch), "\(kinds)")
    #expect(await daemon.stop() == .exited(0))
  }

  // MARK: Not there

  @Test("A place that is not there is told, once, and is nothing to an update")
  func notThere() async throws {
    let server = try FakeServer { _, _ in .text("{}") }
    let coach = try Sample.coach(
      config: config(
        "label = \"CHOCK-NOT-THERE\"", more: "[notify]\nurl = \"\(server.url)/chock\""))
    let daemon = try await coach.serve()
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed && run.warnings == nil)
    let known = try await place(of: daemon, "it is missed") { $0.problem != nil }
    #expect(known.problem?.code == .copyPlace)
    #expect(known.lastCopyAt == nil)
    let status = try await coach.run("status")
    #expect(status.output.contains("CHOCK-NOT-THERE: no copy yet"), "\(status)")
    #expect(status.output.contains("No stick with the label CHOCK-NOT-THERE is there"))
    let again = try await coach.run("snapshots", "copy")
    #expect(again.code == 75 && again.error.contains("CHK-COPY-PLACE"), "\(again)")
    try await waitUntil("a notice says so") {
      server.requests.contains { $0.contains("copy_failed") && $0.contains("CHOCK-NOT-THERE") }
    }
    #expect(await daemon.stop() == .exited(0))
    #expect(server.requests.count { $0.contains("copy_failed") } == 1)
    #expect(daemon.call.error.split(separator: "Copies of snapshots at").count == 2)
  }

  @Test(
    "A full place, or one that can only be read, is told; what is there stays",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"))
  func fullOrReadOnly() async throws {
    let outer = try TemporaryFolder()
    let full = try Mount(tmpfs: outer("full"), megabytes: 1)
    let locked = outer("locked")
    try FileSystem.makeFolder(locked)
    let readOnly = try Mount(readOnly: locked)
    defer {
      full.detach()
      readOnly.detach()
    }
    let coach = try Sample.coach(
      config: config("path = \"\(full.path)\"", "path = \"\(locked)\""))
    let taken = try await coach.run("snapshots", "take", "--offline")
    #expect(taken.code == 0)
    let copied = try await coach.run("snapshots", "copy", "--offline", "--json")
    let run: RunDocument = try copied.document()
    #expect(run.error?.code == .noSpace, "\(copied)")
    #expect(run.warnings?.map(\.code) == [.copyPlace], "\(copied)")
    #expect(try names(full.path) == [])
    // The space goes while it is written.
    let small = try Mount(tmpfs: outer("small"), megabytes: 7)
    defer { small.detach() }
    try coach.folder.write(
      TestCoach.text(coach.configFile).replacing(full.path, with: small.path), to: "chock.toml")
    let other = try await coach.run("snapshots", "copy", "--offline", "--json")
    #expect(try names(small.path).count == 2, "\(other)")
    let second = try await coach.run("snapshots", "take", "--offline")
    #expect(second.code == 0)
    let failed = try await coach.run("snapshots", "copy", "--offline", "--json")
    #expect(try failed.document(RunDocument.self).error?.code == .noSpace, "\(failed)")
    #expect(try names(small.path).count == 2)
  }

  @Test(
    "A full place gives up the oldest copies beyond keep_at_least for the newest one",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"))
  func fullOfOld() async throws {
    let outer = try TemporaryFolder()
    let coach = try Sample.coach(
      config: config("path = \"\(outer("stick"))\"\nkeep_at_least = 2"))
    func take() async throws -> String {
      let taken = try await coach.run("snapshots", "take", "--offline", "--json")
      return try #require(try taken.document(RunDocument.self).snapshotId)
    }
    var ids: [String] = []
    for _ in 0..<3 { ids.append(try await take()) }
    let size = try #require(FileSystem.facts("\(coach.state)/snapshots/\(ids[0]).sqlite")).size
    // Three, and no fourth.
    let stick = try Mount(tmpfs: outer("stick"), megabytes: Int((3 * size) >> 20) + 3)
    defer { stick.detach() }
    func copied() async throws -> Set<String> {
      let copied = try await coach.run("snapshots", "copy", "--offline")
      #expect(copied.code == 0, "\(copied)")
      return Set(
        try names(stick.path).filter { $0.hasSuffix(".sqlite") }.map { String($0.dropLast(7)) })
    }
    #expect(try await copied() == Set(ids))
    ids.append(try await take())
    #expect(try await copied() == Set(ids.dropFirst()))
    // The oldest is not missed, and takes nobody's place.
    #expect(try await copied() == Set(ids.dropFirst()))
    // The newest two stay, whatever does not fit.
    ids.append(try await take())
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO item (body) SELECT hex(randomblob(100000)) FROM item LIMIT 100")
    _ = try await take()
    let failed = try await coach.run("snapshots", "copy", "--offline", "--json")
    #expect(try failed.document(RunDocument.self).error?.code == .noSpace, "\(failed)")
    #expect(try names(stick.path).count >= 4, "\(failed)")
  }

  // MARK: What somebody has changed

  /// A coach with a copy of a snapshot elsewhere, and none here.
  private func copied(
    _ outer: TemporaryFolder, with sql: String = ""
  ) async throws -> (coach: TestCoach, id: String) {
    let coach = try Sample.coach(
      config: config("path = \"\(outer.path)\"\nrequire_mount = false"))
    if !sql.isEmpty { try SampleDatabase.change(coach.database, sql) }
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let id = try #require(try taken.document(RunDocument.self).snapshotId)
    #expect(try await coach.run("snapshots", "copy", "--offline").code == 0)
    for end in ["json", "sqlite"] {
      try FileSystem.remove("\(coach.state)/snapshots/\(id).\(end)")
    }
    return (coach, id)
  }

  /// Changes a copy, with a description that fits it.
  private func forge(_ outer: TemporaryFolder, _ id: String, _ sql: String) throws {
    let file = outer("chock-snapshots/\(id).sqlite")
    try SampleDatabase.change(file, sql)
    let description = outer("chock-snapshots/\(id).json")
    var document = try JSON.decode(
      SnapshotDocument.self, from: Array(TestCoach.text(description).utf8))
    document.sha256 = sha256(try #require(try FileSystem.read(file)))
    document.sizeBytes = try #require(FileSystem.facts(file)).size
    document.fingerprint = nil
    try FileSystem.replace(description, with: Array(try JSON.text(document).utf8))
  }

  private static let evil = "AFTER INSERT ON item BEGIN DELETE FROM item; END"

  private static func row(
    _ type: String, _ name: String, of table: String = "item", _ sql: String
  ) -> String {
    """
    PRAGMA writable_schema = ON;
    INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
    VALUES ('\(type)', '\(name)', '\(table)', 0, '\(sql)')
    """
  }

  @Test(
    "A copy whose schema nobody here has made is not taken in, and what differs is named",
    arguments: [
      ("CREATE TRIGGER evil \(CopiesTests.evil)", "trigger evil is extra"),
      (
        "CREATE TRIGGER evil AFTER INSERT ON chock_migrations BEGIN DELETE FROM item; END",
        "trigger evil is extra"
      ),
      (
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
        "view endless is extra"
      ),
      ("CREATE TABLE more (id INTEGER)", "table more is extra"),
      ("ALTER TABLE item ADD COLUMN more TEXT", "table item is another one"),
      (
        CopiesTests.row(
          "table", "unknown", of: "unknown", "CREATE VIRTUAL TABLE unknown USING nobody_knows(x)"),
        "table unknown is extra"
      ),
      // Rows that no CREATE makes: SQLite itself may refuse them already.
      (
        CopiesTests.row("table", "sqlite_x", "CREATE TRIGGER sqlite_x \(CopiesTests.evil)"),
        "sqlite_x"
      ),
      (
        CopiesTests.row("nothing", "x", "CREATE TRIGGER x \(CopiesTests.evil)"),
        "(x)"
      ),
    ])
  func foreignSchema(sql: String, difference: String) async throws {
    let outer = try TemporaryFolder()
    let (coach, id) = try await copied(outer)
    try forge(outer, id, sql)
    let before = try coach.fingerprint()
    let refused = try await coach.run(
      "restore", "--from", "\(outer.path):\(id)", "--offline", "--yes")
    #expect(refused.code == 65 && refused.error.contains("CHK-FOREIGN-SNAPSHOT"), "\(refused)")
    #expect(refused.error.contains(difference), "\(refused)")
    // The file that it names is there.
    #expect(refused.error.contains("\(id).sqlite") && !refused.error.contains(".partial"))
    #expect(try coach.names(in: "state/snapshots") == [])
    #expect(try coach.fingerprint() == before)
  }

  @Test("What this controller's own database has beyond its migrations comes back with a copy")
  func knownDrift() async throws {
    let outer = try TemporaryFolder()
    let (coach, id) = try await copied(
      outer, with: "CREATE TRIGGER ours AFTER INSERT ON item BEGIN SELECT 1; END")
    let restored = try await coach.run(
      "restore", "--from", "\(outer.path):\(id)", "--offline", "--yes")
    #expect(restored.code == 0, "\(restored)")
    // On a new card nobody knows it any more.
    try FileSystem.remove("\(coach.state)/snapshots", orFolder: true)
    for ending in ["", "-wal", "-shm"] { try FileSystem.remove(coach.database + ending) }
    let refused = try await coach.run(
      "restore", "--from", "\(outer.path):\(id)", "--offline", "--yes")
    #expect(refused.code == 65 && refused.error.contains("trigger ours is extra"), "\(refused)")
    #expect(refused.error.contains("by hand"), "\(refused)")
  }

  @Test("Where the files cannot make the schema, what acts by itself has to be known here")
  func adopted() async throws {
    let outer = try TemporaryFolder()
    let coach = try TestCoach(
      config: config("path = \"\(outer.path)\"\nrequire_mount = false"),
      migrations: [
        "0001_more.sql": "-- Description: more\nALTER TABLE base ADD COLUMN more TEXT;\n"
      ])
    try SampleDatabase.make(
      coach.database,
      "CREATE TABLE base (id INTEGER, more TEXT); CREATE VIEW ours AS SELECT id FROM base")
    try Creation.adopt(
      coach.database, at: try #require(SchemaVersion("1")),
      catalog: try MigrationCatalog(directory: coach.migrations), run: "test", chockVersion: "test")
    let taken = try await coach.run("snapshots", "take", "--offline", "--json")
    let id = try #require(try taken.document(RunDocument.self).snapshotId)
    #expect(try await coach.run("snapshots", "copy", "--offline").code == 0)
    let words = ["restore", "--from", "\(outer.path):\(id)", "--offline", "--yes"]
    func forget() throws {
      for end in ["json", "sqlite"] {
        try FileSystem.remove("\(coach.state)/snapshots/\(id).\(end)")
      }
    }
    try forget()
    let restored = try await coach.run(words)
    #expect(restored.code == 0, "\(restored)")
    try forget()
    try forge(outer, id, "CREATE TRIGGER evil AFTER INSERT ON base BEGIN DELETE FROM base; END")
    let refused = try await coach.run(words)
    #expect(refused.code == 65 && refused.error.contains("trigger evil is extra"), "\(refused)")
    #expect(!refused.error.contains("ours"), "\(refused)")
  }

  // MARK: Kills

  /// A coach whose snapshots take a moment to be copied.
  private func large(_ place: String, more: String = "") throws -> TestCoach {
    let coach = try Sample.coach(
      config: config("path = \"\(place)\"\nrequire_mount = false\n\(more)"))
    try SampleDatabase.change(
      coach.database,
      "INSERT INTO item (body) SELECT hex(randomblob(100000)) FROM item LIMIT 300")
    return coach
  }

  /// A daemon whose first worker that copies stops itself in the middle of it.
  private func serveStopping(_ coach: TestCoach, copyingTo place: String) async throws -> Daemon {
    var shim = Shim(.stop, at: [2])
    shim.file = "20*"
    shim.role = "worker"
    var environment = shim.environment(of: coach)
    environment["IO_SHIM_UNDER"] = place
    return try await coach.serve(environment: environment)
  }

  /// The worker that has stopped itself.
  private func stopped(_ daemon: Daemon, copyingTo place: String) async throws -> pid_t {
    var found: pid_t?
    try await waitUntil("it is being copied") {
      found = Processes.children(of: daemon.process.pid).first { Processes.state(of: $0) == "T" }
      return found != nil
    }
    #expect(try names(place).contains { $0.contains(".sqlite.") })
    return try #require(found)
  }

  @Test("Killed in the middle, no wrong file has a final name, and the next start cleans up")
  func killed() async throws {
    let outer = try TemporaryFolder()
    let coach = try large(outer.path)
    var daemon = try await serveStopping(coach, copyingTo: outer.path)
    _ = try daemon.ask("POST", "/api/database/backups")
    let worker = try await stopped(daemon, copyingTo: outer.path)
    daemon.process.signal(SIGKILL)
    kill(worker, SIGKILL)
    _ = await daemon.process.ended()
    let left = try names(outer.path)
    #expect(left.allSatisfy { $0.hasSuffix(".partial") }, "\(left)")
    daemon = try await coach.serve()
    let known = try await place(of: daemon, "it is copied after all") { $0.lastCopyId != nil }
    let id = try #require(known.lastCopyId)
    #expect(try names(outer.path) == ["\(id).json", "\(id).sqlite"])
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("A copying that hangs is ended after its time, and an update goes its way meanwhile")
  func hanging() async throws {
    let outer = try TemporaryFolder()
    let coach = try large(outer.path, more: "timeout_seconds = 60")
    let daemon = try await serveStopping(coach, copyingTo: outer.path)
    _ = try daemon.ask("POST", "/api/database/backups")
    _ = try await stopped(daemon, copyingTo: outer.path)
    let run = try await daemon.ended(try daemon.startUpdate())
    #expect(run.outcome == .committed, "\(run)")
    // The newest comes first, so the last one that was copied is the older.
    let file = "\(try #require(run.snapshotId)).sqlite"
    try await waitUntil("it is copied in the end") { try names(outer.path).contains(file) }
    #expect(await daemon.stop() == .exited(0))
  }

  @Test("One that nobody can wait for is told as too slow, and the daemon lives")
  func tooSlow() async throws {
    let outer = try TemporaryFolder()
    let coach = try large(outer.path, more: "timeout_seconds = 20")
    let daemon = try await serveStopping(coach, copyingTo: outer.path)
    _ = try daemon.ask("POST", "/api/database/backups")
    let worker = try await stopped(daemon, copyingTo: outer.path)
    let known = try await place(of: daemon, "it is told") { $0.problem != nil }
    #expect(known.problem?.message.contains("too slow") == true, "\(known)")
    #expect(!Processes.isRunning(worker))
    #expect(try daemon.status().mode == .normal)
    // Twenty seconds can be short on a busy machine.
    var answer = try await coach.run("snapshots", "copy")
    for _ in 0..<5 where answer.code == 75 {
      answer = try await coach.run("snapshots", "copy")
    }
    #expect(answer.code == 0, "\(answer)")
    #expect(try daemon.status().copies.first?.problem == nil)
    #expect(await daemon.stop() == .exited(0))
  }
}

/// A stick: an image on a loop device, with a link as udev makes it.
final class Stick: Sendable {
  let label = "CHK\(UInt32.random(in: 0x1000_0000...(.max)))".prefix(11).description
  let device: String
  private let link: String

  static let types = ["ext4", "vfat"].filter(isPossible)

  /// Why a test of a file system is skipped.
  static let reason =
    "A stick needs root, loop devices, and a kernel and mkfs for its file system; here: \(types)."

  private static func isPossible(_ type: String) -> Bool {
    let known = TestCoach.text("/proc/filesystems").contains("\t\(type)\n")
    let hasTools = ["/usr/sbin/mkfs.\(type)", "/usr/sbin/losetup"].allSatisfy {
      FileSystem.target($0) != nil
    }
    return geteuid() == 0 && known && hasTools && FileSystem.facts("/dev/loop-control") != nil
  }

  init(_ type: String, in folder: TemporaryFolder) async throws {
    let image = folder("stick-\(type).img")
    let file = open(image, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
    try #require(ftruncate(file, 48 << 20) == 0)
    close(file)
    _ = try await Self.run(
      ["/usr/sbin/mkfs.\(type)"] + (type == "ext4" ? ["-q", "-F", "-L"] : ["-n"]) + [label, image],
      folder)
    device = try await Self.run(["/usr/sbin/losetup", "-f", "--show", image], folder)
    link = "/dev/disk/by-label/\(label)"
    try FileSystem.makeFolder(FileSystem.parent(link))
    try #require(symlink(device, link) == 0 || errno == EEXIST)
  }

  @discardableResult
  static func run(_ words: [String], _ folder: TemporaryFolder) async throws -> String {
    let output = folder("tool-\(UInt32.random(in: 0...(.max)))")
    let process = try ChildProcess(
      words[0], Array(words.dropFirst()), output: output, error: output)
    let end = await process.ended()
    let text = TestCoach.text(output)
    try #require(end == .exited(0), "\(words): \(text)")
    return String(text.prefix { $0 != "\n" })
  }

  /// Before the folder that holds its image is removed.
  func remove(_ folder: TemporaryFolder) async {
    unlink(link)
    // Where udev is not, they were made for it.
    rmdir("/dev/disk/by-label")
    rmdir("/dev/disk")
    _ = try? await Self.run(["/usr/sbin/losetup", "-d", device], folder)
  }
}

@Suite("A stick is found by its label", .serialized, .timeLimit(.minutes(15)))
struct StickTests {
  private func mounts(of device: String) -> Int {
    TestCoach.text("/proc/self/mountinfo").split(separator: "\n").count { $0.contains(device) }
  }

  @Test(
    "It is mounted for chock alone, written, read back and unmounted; read again, it brings the data back",
    .enabled(if: !Stick.types.isEmpty, "\(Stick.reason)"), arguments: Stick.types)
  func stick(_ type: String) async throws {
    let folder = try TemporaryFolder()
    let stick = try await Stick(type, in: folder)
    do {
      let coach = try Sample.coach(
        config: "\(TestCoach.development)\n[[snapshots.copies]]\nlabel = \"\(stick.label)\"")
      let daemon = try await coach.serve()
      let run = try await daemon.ended(try daemon.startUpdate())
      let id = try #require(run.snapshotId)
      try await waitUntil("it is copied") {
        let place = try daemon.status().copies.first
        return place?.lastCopyId == id && place?.isCopying == false
      }
      #expect(mounts(of: stick.device) == 0)
      #expect(FileSystem.facts(coach.state + "/stick") == nil)
      let restored = try await coach.run("restore", "--from", "\(stick.label):\(id)", "--yes")
      #expect(restored.code == 0, "\(restored)")
      #expect(try coach.fingerprint() == Sample.prints.get().old)

      // Somebody has mounted it: it is used there, and stays.
      let point = folder("mounted")
      try FileSystem.makeFolder(point)
      try #require(mount(stick.device, point, type, 0, nil) == 0)
      let taken = try await coach.run("snapshots", "take", "--json")
      let second = try #require(try taken.document(RunDocument.self).snapshotId)
      // The one before the restore may have had to wait, and then comes after this one.
      try await waitUntil("the next is copied") {
        let place = try daemon.status().copies.first
        let names = try FileSystem.names(in: "\(point)/chock-snapshots")
        return names.contains("\(second).sqlite") && place?.isCopying == false
      }
      #expect(mounts(of: stick.device) == 1)
      try #require(umount2(point, Int32(MNT_DETACH)) == 0)

      // It is taken out.
      await stick.remove(folder)
      let missing = try await coach.run("snapshots", "copy")
      #expect(missing.code == 75, "\(missing)")
      #expect(await daemon.stop() == .exited(0))
    } catch {
      await stick.remove(folder)
      throw error
    }
  }

  @Test(
    "Where its device cannot be seen, as in a service with PrivateDevices=, it is used where it is mounted",
    .enabled(if: Mount.isPossible, "\(Mount.reason)"))
  func unseen() async throws {
    let outer = try TemporaryFolder()
    let label = "CHK\(UInt32.random(in: 0x1000_0000...(.max)))".prefix(11).description
    let link = "/dev/disk/by-label/\(label)"
    try FileSystem.makeFolder(FileSystem.parent(link))
    try #require(symlink("../../\(label)", link) == 0)
    defer {
      unlink(link)
      // Where udev is not, they were made for it.
      rmdir("/dev/disk/by-label")
      rmdir("/dev/disk")
    }
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[[snapshots.copies]]\nlabel = \"\(label)\"")
    #expect(try await coach.run("snapshots", "take", "--offline").code == 0)
    let missing = try await coach.run("snapshots", "copy", "--offline")
    #expect(missing.code == 75 && missing.error.contains("/dev/\(label)"), "\(missing)")
    let stick = try Mount(tmpfs: outer("stick"), megabytes: 16, source: "/dev/\(label)")
    defer { stick.detach() }
    let copied = try await coach.run("snapshots", "copy", "--offline")
    #expect(copied.code == 0, "\(copied)")
    #expect(
      try FileSystem.names(in: "\(stick.path)/chock-snapshots").contains { $0.hasSuffix(".sqlite") }
    )
  }

  @Test("A label that leads to no stick, or to one with nothing on it, is told")
  func noStick() async throws {
    let coach = try Sample.coach(
      config: "\(TestCoach.development)\n[[snapshots.copies]]\nlabel = \"../../null\"")
    let answer = try await coach.run("snapshots", "copy", "--offline")
    #expect(answer.code == 78, "\(answer)")
  }
}

extension FileSystem {
  /// Removes a file, or a folder with all that is in it.
  fileprivate static func remove(_ path: String, orFolder: Bool) throws(Failure) {
    guard facts(path)?.isDirectory == true else { return try remove(path) }
    for name in try names(in: path) { try remove("\(path)/\(name)", orFolder: true) }
    try removeFolder(path)
  }
}
