import Glibc
public import Migrations
public import Storage
public import Updating

/// A coach of a test's own: database, migrations, state and config in one temporary folder, and the
/// real binary to run on them.
public final class TestCoach: Sendable {
  public let folder: TemporaryFolder
  public let database: String
  public let migrations: String
  public let state: String
  public var socket: String { folder("chock.sock") }
  public var configFile: String { folder("chock.toml") }

  /// The config that most tests use: no gates and no consent, but snapshot and rehearsal.
  public static let development = """
    environment = "development"
    [coach]
    required_gates = []
    """

  /// - Parameters:
  ///   - config: TOML; the paths are added to it.
  ///   - database: where the database is, when not in the folder; likewise `state`.
  public init(
    config: String = development, migrations: [String: String] = [:], database: String? = nil,
    state: String? = nil, migrationsDirectory: String? = nil
  ) throws(Failure) {
    folder = try TemporaryFolder()
    self.database = database ?? folder("coach.db")
    self.state = state ?? folder("state")
    self.migrations = migrationsDirectory ?? folder("migrations")
    try folder.write(
      """
      \(config)
      [database]
      path = "\(self.database)"
      [migrations]
      directory = "\(self.migrations)"
      [state]
      directory = "\(self.state)"
      [server]
      listen = "127.0.0.1:0"
      socket = "\(folder("chock.sock"))"
      [access]
      local = "owner"
      """, to: "chock.toml")
    for (name, text) in migrations { try folder.write(text, to: "migrations/\(name)") }
  }

  /// The binary that is tested: beside the test program, or $CHOCK_TEST_BINARY.
  public static let binary = beside("chock", unless: "CHOCK_TEST_BINARY")

  /// The library of Tests/IOShim, which is preloaded: beside the test program, or $CHOCK_IO_SHIM.
  public static let shim = beside("libIOShim.so", unless: "CHOCK_IO_SHIM")

  private static func beside(_ name: String, unless variable: String) -> String {
    if let path = getenv(variable) { return String(cString: path) }
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let own = String(
      decoding: buffer.prefix(max(0, count)).map(UInt8.init(bitPattern:)), as: UTF8.self)
    return "\(FileSystem.parent(own))/\(name)"
  }

  // MARK: Copying

  /// All files of a coach that nothing runs on, from which copies are made.
  public struct Image: Sendable {
    let path: String
    /// By name; nil is a folder, which comes before what lies in it.
    var files: [(name: String, bytes: [UInt8]?)] = []
  }

  public func image() throws(Failure) -> Image {
    var image = Image(path: folder.path)
    for (name, facts) in try files() {
      image.files.append((name, facts.isDirectory ? nil : try FileSystem.read(folder(name)) ?? []))
    }
    return image
  }

  /// What lies in the folder, but for what the calls of the command line have printed.
  public func files(below name: String = "") throws(Failure) -> [(String, FileSystem.Facts)] {
    var found: [(String, FileSystem.Facts)] = []
    for entry in try FileSystem.names(in: folder(name)) {
      let path = name.isEmpty ? entry : "\(name)/\(entry)"
      guard !entry.hasPrefix("out-"), !entry.hasPrefix("err-"),
        let facts = FileSystem.facts(folder(path)), facts.isDirectory || facts.isRegular
      else { continue }
      found.append((path, facts))
      if facts.isDirectory { found += try files(below: path) }
    }
    return found
  }

  /// A coach of its own that is like the one of the image.
  public init(_ image: Image) throws(Failure) {
    folder = try TemporaryFolder()
    database = folder("coach.db")
    state = folder("state")
    migrations = folder("migrations")
    for (name, bytes) in image.files {
      guard var bytes else {
        try FileSystem.makeFolder(folder(name))
        continue
      }
      if name.hasSuffix(".toml") || name.hasSuffix(".json") {
        let text = String(decoding: bytes, as: UTF8.self)
        bytes = Array(text.split(separator: image.path).joined(separator: folder.path).utf8)
      }
      // Not synced: most of the time of a copy would be that.
      let file = open(folder(name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
      defer { close(file) }
      guard file >= 0, write(file, bytes, bytes.count) == bytes.count else {
        throw Failure(.inputOutput, "The copy could not be written.", file: folder(name))
      }
    }
  }

  // MARK: Running

  /// What a call of the command line gave.
  public struct Answer: Sendable, CustomStringConvertible {
    public var end: ChildProcess.End
    public var output: String
    public var error: String

    public var code: Int32? { if case .exited(let code) = end { code } else { nil } }
    public var description: String { "\(end)\n\(output)\n\(error)" }

    public func document<T: Decodable>(_ type: T.Type = T.self) throws -> T {
      try JSON.decode(type, from: Array(output.utf8))
    }
  }

  /// A call that goes on, with the files that it writes to.
  public struct Call: Sendable {
    public let process: ChildProcess
    // Held, so that it is not removed under the process.
    let folder: TemporaryFolder
    let outputFile: String
    let errorFile: String

    public var output: String { TestCoach.text(outputFile) }
    public var error: String { TestCoach.text(errorFile) }

    public func answer() async -> Answer {
      let end = await process.ended()
      return Answer(end: end, output: output, error: error)
    }
  }

  /// Starts `chock ARGUMENTS` with this coach's config.
  public func start(
    _ arguments: [String], input: String = "/dev/null", environment: [String: String] = [:],
    config: String? = nil, binary: String = binary
  ) throws(Failure) -> Call {
    let number = String(UInt64.random(in: 0...(.max)), radix: 36)
    let (output, error) = (folder("out-\(number)"), folder("err-\(number)"))
    return Call(
      process: try ChildProcess(
        binary, arguments, input: input,
        environment: ["CHOCK_CONFIG": config ?? configFile].merging(environment) { $1 },
        output: output, error: error),
      folder: folder, outputFile: output, errorFile: error)
  }

  /// Runs `chock ARGUMENTS` to its end.
  public func run(
    _ arguments: String..., environment: [String: String] = [:], config: String? = nil
  ) async throws(Failure) -> Answer {
    try await run(arguments, environment: environment, config: config)
  }

  /// Runs `chock ARGUMENTS` with a text on its standard input.
  public func run(_ arguments: [String], input: String) async throws(Failure) -> Answer {
    let number = String(UInt64.random(in: 0...(.max)), radix: 36)
    try folder.write(input, to: "in-\(number)")
    return await (try start(arguments, input: folder("in-\(number)"))).answer()
  }

  public func run(
    _ arguments: [String], environment: [String: String] = [:], config: String? = nil
  ) async throws(Failure) -> Answer {
    await (try start(arguments, environment: environment, config: config)).answer()
  }

  /// Starts the daemon and waits until it answers.
  public func serve(
    _ arguments: [String] = [], environment: [String: String] = [:], binary: String = binary
  ) async throws -> Daemon {
    let call = try start(["serve"] + arguments, environment: environment, binary: binary)
    try await waitUntil("the daemon answers") {
      if let end = call.process.end {
        throw Failure(.noDaemon, "The daemon ended: \(end)\n\(call.error)")
      }
      return call.error.contains("The panel is at")
    }
    return Daemon(call: call, socket: socket)
  }

  // MARK: Looking

  public func fingerprint() throws -> String { try SampleDatabase.fingerprint(database) }

  /// The newest version in the ledger, read without chock's binary.
  public func ledgerVersion() throws -> String? {
    try SampleDatabase.value(
      database, "SELECT max(CAST(version AS INTEGER)) FROM \(LedgerTable.name)")
  }

  /// What lies in a folder below this coach's.
  public func names(in name: String) throws -> [String] { try FileSystem.names(in: folder(name)) }

  public static func text(_ path: String) -> String {
    String(decoding: ((try? FileSystem.read(path)) ?? nil) ?? [], as: UTF8.self)
  }
}

/// A daemon that a test has started.
public struct Daemon: Sendable {
  public let call: TestCoach.Call
  public let socket: String
  public var process: ChildProcess { call.process }

  /// One HTTP request over its unix socket.
  public func ask(
    _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
  ) throws(Failure) -> SocketClient.Answer {
    try SocketClient.request(method, path, body: body, headers: headers, socket: socket)
  }

  /// One HTTP request to the panel's address.
  public func askOverTCP(
    _ method: String, _ path: String, _ body: String? = nil, headers: [String: String] = [:]
  ) throws -> SocketClient.Answer {
    guard let port else {
      throw Failure(.noDaemon, "The daemon has not said where its panel is.")
    }
    return try SocketClient.request(method, path, body: body, headers: headers, port: port)
  }

  /// Of the panel's address; nil before it has said which.
  public var port: UInt16? {
    call.error.split(separator: "The panel is at http://127.0.0.1:").last
      .flatMap { UInt16($0.prefix { $0.isNumber }) }
  }

  public func safety() throws -> SafetyDocument {
    try JSON.decode(SafetyDocument.self, from: ask("GET", "/api/safety").body)
  }

  public func status() throws -> StatusDocument {
    try JSON.decode(StatusDocument.self, from: ask("GET", "/api/database/status").body)
  }

  /// Starts an update, and returns its id.
  public func startUpdate() throws -> String { try begin("/api/database/update") }

  public func startRestore(_ snapshot: String) throws -> String {
    try begin("/api/database/restore/\(snapshot)")
  }

  private func begin(_ path: String) throws -> String {
    let answer = try ask("POST", path, #"{"consent": true}"#)
    guard answer.status == 202 else {
      throw Failure(.inputOutput, "\(path) answered with \(answer.status): \(answer.text)")
    }
    return try JSON.decode(RunDocument.self, from: answer.body).id
  }

  public func run(_ id: String) throws -> RunDocument {
    try JSON.decode(
      RunDocument.self, from: ask("GET", "/api/database/update/\(id)/progress").body)
  }

  /// Waits until a run has ended.
  public func ended(_ id: String) async throws -> RunDocument {
    var document = try run(id)
    try await waitUntil("the run \(id) has ended", within: .seconds(120)) {
      document = try run(id)
      return document.outcome != nil
    }
    return document
  }

  /// An orderly stop.
  @discardableResult
  public func stop() async -> ChildProcess.End {
    process.signal(SIGTERM)
    return await process.ended()
  }

  /// Publishes a reading, as the controller does.
  public func put(_ signal: String, _ value: String, ttl: Double = 600) throws(Failure) {
    let answer = try ask(
      "PUT", "/api/safety/readings/\(signal)", #"{"value": \#(value), "ttl_seconds": \#(ttl)}"#)
    guard answer.status == 204 else {
      throw Failure(.usage, "\(signal) = \(value): \(answer.status) \(answer.text)")
    }
  }

  /// Readings of a coach that stands safely.
  public func park() throws(Failure) {
    for (signal, value) in [
      ("vehicle_speed", "0"), ("parking_brake", "\"engaged\""),
      ("interlock.slide_out", "\"satisfied\""), ("connections", "0"),
      ("active_controls", "\"none\""), ("supply_voltage", "12.8"),
    ] {
      try put(signal, value)
    }
  }
}
