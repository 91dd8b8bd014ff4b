import Coach
import ControlServer
import Migrations
import Storage
import TOMLKit
import Updating

/// The config: one TOML file, over which environment variables win.
struct Config {
  var settings: UpdateSettings
  var server: ServerConfiguration
  var coach: CoachConfig
  var notify = NotifyConfig()
  /// What the file and the environment say, as it was written.
  var given: [Key: Value]
  /// The file that was read; nil when there is none and everything came from the environment.
  var file: String?

  static let defaultPath = "/etc/chock/chock.toml"

  /// Every key but those in lists of tables. The name of the environment variable follows from it.
  enum Key: String, CaseIterable {
    case environment
    case databasePath = "database.path"
    case migrationsDirectory = "migrations.directory"
    case stateDirectory = "state.directory"
    case autoMigrate = "update.auto_migrate"
    case requireExplicitConsent = "update.require_explicit_consent"
    case backupBeforeMigrate = "update.backup_before_migrate"
    case migrationTimeoutSeconds = "update.migration_timeout_seconds"
    case rehearse = "update.rehearse"
    case waitForGates = "update.wait_for_gates_seconds"
    case maintenanceWindow = "update.maintenance_window"
    case backupRetentionDays = "snapshots.backup_retention_days"
    case keepAtLeast = "snapshots.keep_at_least"
    case maxTotalBytes = "snapshots.max_total_bytes"
    case rowsLost = "verify.rows_lost"
    case expectations = "verify.expectations"
    case foreignKeys = "verify.foreign_keys"
    case oldForeignKeys = "verify.old_foreign_keys"
    case constraints = "verify.constraints"
    case integrityDays = "integrity.every_days"
    case integrityIdleMinutes = "integrity.idle_minutes"
    case integrityInRun = "integrity.in_run"
    case recoveryTriggers = "recovery.triggers"
    case listen = "server.listen"
    case socket = "server.socket"
    case allowedHosts = "server.allowed_hosts"
    case embedOrigins = "server.embed_origins"
    case local = "access.local"
    case approvals = "access.approvals"
    case users = "access.users"
    case groups = "access.groups"
    case notifyURL = "notify.url"
    case notifyNtfy = "notify.ntfy_url"
    case notifyToken = "notify.token_file"
    case notifyEvents = "notify.events"
    case requiredGates = "coach.required_gates"
    case parkedFor = "coach.parked_for_seconds"
    case minimumVolts = "coach.minimum_volts"
    case interlocks = "coach.interlocks"
    case requireSecured = "coach.require_secured"
    case mayAttest = "coach.may_attest"
    case controllerPort = "coach.controller_port"
    case lockHook = "coach.lock_hook_url"
    case lockUnit = "coach.lock_unit"
    case applicationMode = "application.mode"
    case applicationUnits = "application.units"
    case applicationStop = "application.stop"
    case applicationStart = "application.start"
    case applicationIsRunning = "application.is_running"
    case applicationStopTimeout = "application.stop_timeout_seconds"
    case applicationStartTimeout = "application.start_timeout_seconds"
    case applicationInRecovery = "application.in_recovery"
    case applicationProbation = "application.probation_seconds"
    case applicationInterval = "application.interval_seconds"
    case applicationUnhealthy = "application.unhealthy_seconds"
    case applicationHealthyAfter = "application.healthy_after"
    case applicationWatchHours = "application.watch_hours"
    case applicationWatchInterval = "application.watch_interval_seconds"

    /// Such as `CHOCK_UPDATE_AUTO_MIGRATE`.
    var variable: String {
      "CHOCK_" + rawValue.uppercased().map { $0 == "." ? "_" : String($0) }.joined()
    }
  }

  /// The lists of tables, which have no variables.
  enum List: String, CaseIterable {
    case can = "coach.can"
    case http = "coach.http"
    case file = "coach.file"
    case health = "application.health"
    case metrics = "application.watch_metrics"
    case copies = "snapshots.copies"
  }

  /// Reads `--config FILE`, else $CHOCK_CONFIG, else /etc/chock/chock.toml where it exists.
  ///
  /// - Throws: `.badConfig` with the file and the line (or the variable), and what would be right.
  static func load(
    _ option: String?, environment variables: [String: String]
  ) throws(Failure) -> Config {
    let named = option ?? variables["CHOCK_CONFIG"]
    let path = named ?? defaultPath
    var values: [Key: Value] = [:]
    var file: String?
    var coach = CoachConfig()
    var health: [HealthCheck] = []
    var metrics: [WatchedMetrics] = []
    var copies: [CopiesConfig.Place] = []
    if let bytes = try FileSystem.read(path) {
      values = try parse(
        String(decoding: bytes, as: UTF8.self), file: path, into: &coach, &health, &metrics, &copies
      )
      file = path
    } else if named != nil {
      throw Failure(
        .badConfig, "There is no config file at \(path).", file: path,
        howToClear: "Name the right file with --config or CHOCK_CONFIG.")
    }
    try readVariables(variables, into: &values)
    return try Config(values, coach, health, metrics, copies, file: file)
  }

  /// The config for somebody who looks at what is wrong: where it cannot be used, the defaults, with the paths
  /// that it names.
  static func forLooking(
    _ option: String?, environment variables: [String: String]
  ) -> (config: Config?, problem: Failure?) {
    do throws(Failure) {
      return (try load(option, environment: variables), nil)
    } catch {
      let paths: [Key] = [.databasePath, .migrationsDirectory, .stateDirectory, .socket]
      let path = option ?? variables["CHOCK_CONFIG"] ?? defaultPath
      let text = ((try? FileSystem.read(path)) ?? nil).map { String(decoding: $0, as: UTF8.self) }
      let table = text.flatMap { try? TOMLTable(string: $0) }
      var values: [Key: Value] = [:]
      for key in paths {
        let names = key.rawValue.split(separator: ".").map(String.init)
        guard
          let found = variables[key.variable]
            ?? table?[names[0]]?.table?[names[1]]?.string
        else { continue }
        values[key] = Value(content: .text(found), place: Failure(.badConfig, key.rawValue))
      }
      let config =
        (try? Config(values, CoachConfig(), [], [], [], file: nil))
        ?? (try? Config([:], CoachConfig(), [], [], [], file: nil))
      return (config, error)
    }
  }

  /// chock removes its own files by their names.
  private static func checkApart(_ settings: UpdateSettings) throws(Failure) {
    let state = FileSystem.canonical(settings.stateDirectory) + "/"
    guard settings.databasePath.hasPrefix(state) else { return }
    let name = String(settings.databasePath.dropFirst(state.count))
    guard StateFiles.mayBeOwn(name) else { return }
    throw Failure(
      .badConfig,
      "The database cannot be \(settings.databasePath): chock keeps its own files there.",
      file: settings.databasePath,
      howToClear: "Set state.directory to a folder of its own.")
  }

  private init(
    _ values: [Key: Value], _ coach: CoachConfig, _ health: [HealthCheck],
    _ metrics: [WatchedMetrics], _ copies: [CopiesConfig.Place], file: String?
  ) throws(Failure) {
    self.coach = coach
    given = values
    let reader = Reader(values: values)
    let environment =
      try reader.choice(.environment, of: Environment.allCases.map(\.rawValue))
      .flatMap(Environment.init(rawValue:)) ?? .production
    settings = UpdateSettings(
      environment: environment,
      // Links are followed here, once: the files beside the database lie beside its target.
      databasePath: FileSystem.canonical(
        try reader.path(.databasePath) ?? "/var/lib/coachiq/database/coachiq.db"),
      migrationsDirectory: try reader.path(.migrationsDirectory) ?? "/usr/share/coachiq/migrations",
      stateDirectory: try reader.path(.stateDirectory) ?? "/var/lib/chock")
    try Self.checkApart(settings)
    server = ServerConfiguration(
      listenHost: "127.0.0.1", listenPort: 8765, socketPath: "/run/chock/chock.sock")
    self.file = file
    try reader.flag(.autoMigrate, into: &settings.autoMigrate)
    try reader.flag(.requireExplicitConsent, into: &settings.requireExplicitConsent)
    try reader.flag(.backupBeforeMigrate, into: &settings.backupBeforeMigrate)
    try reader.flag(.rehearse, into: &settings.rehearse)
    try reader.number(.migrationTimeoutSeconds, 1...86_400, into: &settings.migrationTimeoutSeconds)
    try reader.number(.waitForGates, 0...86_400, into: &settings.waitForGatesSeconds)
    if let (text, place) = try reader.text(.maintenanceWindow) {
      guard let window = DailyWindow(text) else {
        throw place.saying(
          "\(text) is no window.", "Such as \"02:00-05:00\", in the device's time.")
      }
      settings.maintenanceWindow = window
    }
    try reader.number(.backupRetentionDays, 0...36_500, into: &settings.backupRetentionDays)
    try reader.number(.keepAtLeast, 1...10_000, into: &settings.keepAtLeast)
    var maxTotalBytes = Int(settings.maxTotalBytes)
    try reader.number(.maxTotalBytes, 0...Int.max, into: &maxTotalBytes)
    settings.maxTotalBytes = Int64(maxTotalBytes)
    try readCopies(copies)
    try reader.number(.integrityDays, 0...3650, into: &settings.integrityCheckDays)
    try reader.number(.integrityIdleMinutes, 0...10_080, into: &settings.integrityCheckIdleMinutes)
    try reader.flag(.integrityInRun, into: &settings.integrityCheckInRun)
    if let (paths, place) = try reader.list(.recoveryTriggers) {
      guard paths.allSatisfy({ $0.hasPrefix("/") }) else {
        throw place.saying(
          "recovery.triggers has a path that is not whole.", "Such as \"/boot/CHOCK_RECOVERY\".")
      }
      settings.recoveryTriggers = paths
    }
    if let path = try reader.path(.socket) { server.socketPath = path }
    if let (hosts, _) = try reader.list(.allowedHosts) { server.allowedHosts = hosts }
    try readEmbedding(reader)
    try readListen(reader)
    try readAccess(reader)
    try readVerdicts(reader)
    try readGates(reader)
    try readCoach(reader)
    try readNotify(reader)
    try readApplication(reader, health, metrics)
    try checkProduction(reader)
  }

  private mutating func readCoach(_ reader: Reader) throws(Failure) {
    try reader.number(.parkedFor, 0...3600, into: &settings.safety.parkedForSeconds)
    if let (volts, place) = try reader.decimal(.minimumVolts) {
      guard (0...100).contains(volts) else {
        throw place.saying("coach.minimum_volts is \(volts).", "It is from 0 to 100.")
      }
      settings.safety.minimumVolts = volts
    }
    settings.safety.interlocks = try reader.list(.interlocks)?.0
    if let (kinds, _) = try reader.list(.requireSecured) { settings.safety.requireSecured = kinds }
    if let (signals, place) = try reader.list(.mayAttest) {
      for signal in signals where !SafetyPolicy.attestable.contains(signal) {
        throw place.saying(
          "\(signal) cannot be attested.",
          "What can be is \(SafetyPolicy.attestable.sorted().joined(separator: ", ")).")
      }
      settings.safety.mayAttest = Set(signals)
    }
    var port = 0
    try reader.number(.controllerPort, 1...65_535, into: &port)
    coach.controllerPort = UInt16(exactly: port).flatMap { $0 > 0 ? $0 : nil }
    if let (url, place) = try reader.text(.lockHook) {
      coach.lockHook = try CoachConfig.url(url, place)
    }
    coach.lockUnit = try reader.text(.lockUnit)?.0
  }

  private mutating func readNotify(_ reader: Reader) throws(Failure) {
    if let (url, place) = try reader.text(.notifyURL) {
      notify.url = try CoachConfig.url(url, place)
    }
    if let (url, place) = try reader.text(.notifyNtfy) {
      notify.ntfyURL = try CoachConfig.url(url, place)
    }
    notify.tokenFile = try reader.path(.notifyToken)
    guard let (names, place) = try reader.list(.notifyEvents) else { return }
    notify.events = []
    for name in names {
      guard let event = Notice.Event(rawValue: name) else {
        throw place.saying(
          "Nothing is told of \(name).",
          "There are \(Notice.Event.allCases.map(\.rawValue).joined(separator: ", ")).")
      }
      notify.events.insert(event)
    }
  }

  private mutating func readListen(_ reader: Reader) throws(Failure) {
    guard let (text, place) = try reader.text(.listen) else { return }
    let host =
      text.prefix { $0 != "]" }.contains("[")
      ? text.dropFirst().prefix { $0 != "]" } : text.prefix { $0 != ":" }
    let end = text.dropFirst(text.hasPrefix("[") ? host.count + 2 : host.count)
    guard end.hasPrefix(":"), let port = Int(end.dropFirst()), (0...65_535).contains(port),
      host == "localhost" || ServerConfiguration.isAddress(String(host))
    else {
      throw place.saying(
        "\(text) is not an address of this machine.",
        "Such as \"127.0.0.1:8765\", or \"0.0.0.0:8765\" for the coach's network too.")
    }
    server.listenHost = host == "localhost" ? "127.0.0.1" : String(host)
    server.listenPort = port
  }

  /// Origins as browsers spell them: an asterisk, a path or a stray slash would match no page, or all.
  private mutating func readEmbedding(_ reader: Reader) throws(Failure) {
    guard let (origins, place) = try reader.list(.embedOrigins) else { return }
    for origin in origins {
      let scheme = ["http://", "https://"].first { origin.hasPrefix($0) }
      let host = origin.dropFirst(scheme?.count ?? 0)
      let isHost = host.allSatisfy { "abcdefghijklmnopqrstuvwxyz0123456789.-:[]".contains($0) }
      guard scheme != nil, !host.isEmpty, isHost else {
        throw place.saying(
          "\(origin) is not the origin of a page.", "Such as \"http://coach.local:3000\".")
      }
    }
    server.embedOrigins = origins
  }

  private mutating func readAccess(_ reader: Reader) throws(Failure) {
    let roles = [Role.viewer, .owner].map(\.rawValue)
    if let local = try reader.choice(.local, of: ["none"] + roles) {
      server.access.local = Role(rawValue: local)
    }
    try reader.number(.approvals, 1...2, into: &server.access.approvals)
    server.access.users = try reader.roles(.users)
    server.access.groups = try reader.roles(.groups)
  }

  private mutating func readVerdicts(_ reader: Reader) throws(Failure) {
    let keys: [(Key, WritableKeyPath<Verdicts, Verdicts.Verdict>)] = [
      (.rowsLost, \.rowsLost), (.expectations, \.expectations), (.foreignKeys, \.foreignKeys),
      (.oldForeignKeys, \.oldForeignKeys), (.constraints, \.constraints),
    ]
    let defaults = Verdicts()
    for (key, path) in keys {
      let words = Verdicts.Verdict.allCases.map(\.rawValue)
      guard let verdict = try reader.choice(key, of: words).flatMap(Verdicts.Verdict.init) else {
        continue
      }
      if settings.environment == .production, defaults[keyPath: path] == .rollback,
        verdict == .warn, let place = reader.place(key)
      {
        throw place.saying(
          "Production rolls back what \(key.rawValue) is about.",
          "Remove it, or set environment to development or testing on a machine that is no coach.")
      }
      settings.verdicts[keyPath: path] = verdict
    }
  }

  private mutating func readGates(_ reader: Reader) throws(Failure) {
    guard let (names, place) = try reader.list(.requiredGates) else { return }
    var gates: Set<GateID> = []
    for name in names {
      guard let gate = GateID(rawValue: name) else {
        let known = GateID.allCases.map(\.rawValue)
        throw place.saying(
          "There is no gate \(name).",
          nearest(to: name, among: known).map { "Did you mean \($0)?" }
            ?? "The gates are \(known.joined(separator: ", ")).")
      }
      gates.insert(gate)
    }
    let missing = UpdateSettings.gatesOfProduction.subtracting(gates)
    if settings.environment == .production, !missing.isEmpty {
      throw place.saying(
        "Production does not do without \(missing.map(\.rawValue).sorted().joined(separator: ", ")).",
        "Add them, or set environment to development or testing on a machine that is no coach.")
    }
    settings.safety.requiredGates = gates
    if settings.environment == .production {
      settings.safety.requiredGates.formUnion(UpdateSettings.alwaysInProduction)
    }
  }

  private func checkProduction(_ reader: Reader) throws(Failure) {
    guard settings.environment == .production else { return }
    if settings.autoMigrate, let place = reader.place(.autoMigrate) {
      throw place.saying(
        "auto_migrate is for development and testing only.",
        "Remove it: in production a person starts each update.")
    }
  }
}
