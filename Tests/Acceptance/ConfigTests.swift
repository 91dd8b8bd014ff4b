import Migrations
import Storage
import TestSupport
import Testing
import Updating

@Suite("The config is one file, over which environment variables win", .serialized)
struct ConfigTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var text: String
    /// What the message says.
    var words: [String]
    /// What it must not repeat.
    var never: String?
  }

  @Test(
    "What is wrong in it is named with its line and what would be right", .timeLimit(.minutes(15)),
    arguments: [
      Case(
        testDescription: "unknown key", text: "[update]\nauto_migrat = true",
        words: ["chock.toml:2", "update.auto_migrat", "Did you mean update.auto_migrate?"]),
      Case(
        testDescription: "unknown section", text: "\n[updates]\nauto_migrate = true",
        words: ["chock.toml:2", "Did you mean [update]?"]),
      Case(
        testDescription: "wrong type", text: "[snapshots]\nbackup_retention_days = \"7\"",
        words: ["chock.toml:2", "a whole number"]),
      Case(
        testDescription: "out of range", text: "[snapshots]\nkeep_at_least = 0",
        words: ["chock.toml:2", "at least 1"]),
      Case(
        testDescription: "unknown environment", text: "environment = \"prodution\"",
        words: ["chock.toml:1", "Did you mean production?"]),
      Case(
        testDescription: "a header that no table has", text: "[ä]", words: ["chock.toml:1"]),
      Case(
        testDescription: "unknown key of a bus", text: "\n[[coach.can]]\ninterfaces = \"can0\"",
        words: ["chock.toml:2", "coach.can.interfaces", "Did you mean interface?"]),
      Case(
        testDescription: "a bus twice",
        text: "[[coach.can]]\ninterface = \"can0\"\n[[coach.can]]\ninterface = \"can0\"",
        words: ["can0 is there twice"]),
      Case(
        testDescription: "no list of buses", text: "[coach]\ncan = \"can0\"",
        words: ["[[coach.can]]"]),
      Case(
        testDescription: "an address that cannot be asked",
        text: "[[coach.http]]\nurl = \"https://coach\"", words: ["http://127.0.0.1:8000"]),
      Case(
        testDescription: "an address without a port",
        text: "\n[[coach.http]]\nurl = \"http://coach\"",
        words: ["chock.toml:2", "http://127.0.0.1:8000"]),
      Case(
        testDescription: "an address with a path",
        text: "[[coach.http]]\nurl = \"http://coach:8000/api\"",
        words: ["chock.toml:1", "the paths are in the profile"]),
      Case(
        testDescription: "an interface that no kernel has",
        text:
          "[[coach.can]]\ninterface = \"can0\"\n[[coach.can]]\ninterface = \"can4567890123456\"",
        words: ["chock.toml:3", "at most 15 bytes"]),
      Case(
        testDescription: "a socket whose path is too long",
        text: "[[coach.can]]\ninterface = \"unix:/\(String(repeating: "x", count: 107))\"",
        words: ["chock.toml:1", "at most 107 bytes"]),
      Case(
        testDescription: "a socket with a relative path",
        text: "[[coach.can]]\ninterface = \"unix:bus\"", words: ["chock.toml:1", "absolute"]),
      Case(
        testDescription: "polled too often",
        text: "[[coach.http]]\nurl = \"http://x:1\"\nevery_seconds = 0",
        words: ["from 0.2 to 60"]),
      Case(
        testDescription: "a password in an address",
        text: "[coach]\nlock_hook_url = \"http://me:geheim@x/\"",
        words: ["chock.toml:2", "may not have a user or a password"], never: "geheim"),
      Case(
        testDescription: "what cannot be attested",
        text: "[coach]\nmay_attest = [\"emergency_stop\"]",
        words: ["chock.toml:2", "emergency_stop cannot be attested"]),
      Case(
        testDescription: "volts out of range", text: "[coach]\nminimum_volts = 240.5",
        words: ["chock.toml:2", "from 0 to 100"]),
      Case(
        testDescription: "copies nowhere", text: "\n[[snapshots.copies]]\nkeep_at_least = 3",
        words: ["chock.toml:2", "a label or a path"]),
      Case(
        testDescription: "copies at two places in one",
        text: "[[snapshots.copies]]\nlabel = \"A\"\npath = \"/mnt\"",
        words: ["chock.toml:1", "a label or a path"]),
      Case(
        testDescription: "copies in a relative folder",
        text: "[[snapshots.copies]]\npath = \"mnt\"", words: ["chock.toml:1", "Begin it with /"]),
      Case(
        testDescription: "a folder as a label", text: "[[snapshots.copies]]\nlabel = \"/mnt\"",
        words: ["chock.toml:1", "a folder is a path"]),
      Case(
        testDescription: "unknown key of copies",
        text: "[[snapshots.copies]]\nlabel = \"A\"\nkeep_at_leas = 3",
        words: ["chock.toml:1", "Did you mean keep_at_least?"]),
      Case(
        testDescription: "a place for copies twice",
        text:
          "[[snapshots.copies]]\nlabel = \"A\"\n[[snapshots.copies]]\nlabel = \"A\"",
        words: ["chock.toml:3", "twice"]),
      Case(
        testDescription: "no list of copies", text: "[snapshots]\ncopies = \"/mnt\"",
        words: ["[[snapshots.copies]]"]),
      Case(
        testDescription: "no TOML", text: "environment = production",
        words: ["chock.toml:1", "TOML"]),
      Case(
        testDescription: "production without gates",
        text: "environment = \"production\"\n[coach]\nrequired_gates = []",
        words: ["chock.toml:3", "parked", "Production"]),
      Case(
        testDescription: "production that migrates by itself",
        text: "[update]\nauto_migrate = true", words: ["chock.toml:2", "auto_migrate"]),
      Case(
        testDescription: "unknown gate", text: "[coach]\nrequired_gates = [\"parkd\"]",
        words: ["chock.toml:2", "Did you mean parked?"]),
    ])
  func wrong(_ wrong: Case) async throws {
    let coach = try TestCoach(config: wrong.text)
    for arguments in [["status"], ["update", "--offline"], ["serve"]] {
      let answer = try await coach.run(arguments)
      #expect(answer.code == 78, "\(answer)")
      for word in wrong.words { #expect(answer.error.contains(word), "\(word) in: \(answer)") }
      if let never = wrong.never { #expect(!answer.error.contains(never), "\(answer)") }
    }
    #expect(try !coach.names(in: "").contains("state"))
  }

  @Test("The commented example is accepted", .timeLimit(.minutes(15)))
  func example() async throws {
    let top = "/" + #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
    let file = "\(top)/docs/chock.example.toml"
    let coach = try TestCoach(config: "")
    let answer = try await coach.run(
      ["status", "--json"],
      environment: [
        "CHOCK_DATABASE_PATH": coach.database, "CHOCK_STATE_DIRECTORY": coach.folder("state"),
        "CHOCK_MIGRATIONS_DIRECTORY": coach.folder("migrations"),
        "CHOCK_SERVER_SOCKET": coach.folder("chock.sock"),
      ], config: file)
    #expect(answer.code == 0, "\(answer)")
  }

  @Test(
    "A database where chock keeps its own files is refused, and left alone",
    .timeLimit(.minutes(15)),
    arguments: ["state/work/coach.db", "state/snapshots/coach.sqlite", "state/state.db"])
  func databaseInStateFolder(name: String) async throws {
    let coach = try TestCoach()
    try coach.folder.write("", to: name)
    try SampleDatabase.make(coach.folder(name), Sample.base)
    let config = TestCoach.text(coach.configFile)
    let text = config.split(separator: "coach.db").joined(separator: name)
    try coach.folder.write(text, to: "chock.toml")
    let before = try FileSystem.read(coach.folder(name))
    let answer = try await coach.run("recover")
    #expect(answer.code == 78, "\(answer)")
    #expect(try FileSystem.read(coach.folder(name)) == before)
  }

  @Test("A relative path is refused", .timeLimit(.minutes(15)))
  func relative() async throws {
    let coach = try TestCoach(database: "coach.db")
    let answer = try await coach.run("status")
    #expect(answer.code == 78)
    #expect(answer.error.contains("chock.toml:5"), "\(answer)")
  }

  @Test("A config file that is not there", .timeLimit(.minutes(15)))
  func missing() async throws {
    let coach = try TestCoach()
    for answer in [
      try await coach.run("status", "--config", coach.folder("other.toml")),
      try await coach.run("--config", coach.folder("other.toml"), "status"),
      try await coach.run("status", config: coach.folder("other.toml")),
    ] {
      #expect(answer.code == 78)
      #expect(answer.error.contains("other.toml"))
    }
  }

  @Test("An environment variable wins over the file", .timeLimit(.minutes(15)))
  func variable() async throws {
    let coach = try TestCoach(config: "environment = \"testing\"")
    let status: StatusDocument = try await coach.run(
      "status", "--json",
      environment: [
        "CHOCK_ENVIRONMENT": "development", "CHOCK_DATABASE_PATH": coach.folder("other.db"),
      ]
    ).document()
    #expect(status.environment == "development")
    #expect(status.databasePath == coach.folder("other.db"))
    let plain: StatusDocument = try await coach.run("status", "--json").document()
    #expect(plain.environment == "testing")
  }

  @Test("A variable that is no setting, or has a wrong value, is refused", .timeLimit(.minutes(15)))
  func wrongVariable() async throws {
    let coach = try TestCoach()
    let unknown = try await coach.run(
      "status", environment: ["CHOCK_UPDATE_AUTO_MIGRAT": "true"])
    #expect(unknown.code == 78)
    #expect(unknown.error.contains("Did you mean CHOCK_UPDATE_AUTO_MIGRATE?"), "\(unknown)")
    let wrong = try await coach.run("status", environment: ["CHOCK_UPDATE_AUTO_MIGRATE": "yes"])
    #expect(wrong.code == 78)
    #expect(wrong.error.contains("CHOCK_UPDATE_AUTO_MIGRATE"))
  }
}
