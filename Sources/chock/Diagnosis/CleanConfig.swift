import Coach
import Migrations
import Updating

/// The config without anything that could be a secret or a name: of each key either its value, where that can
/// only be a number, a switch or one of a few words, or that it is set.
struct CleanConfig: Encodable {
  struct Source: Encodable {
    var kind: String
    /// Of a bus.
    var interface: String?
    var profile: String
    var everySeconds: Double?
    var hasToken: Bool?
    var vetoOnly: Bool?
  }

  var environment: String
  var values: [String: String]
  var sources: [Source]
  var healthChecks: [String]

  init(_ config: Config) {
    environment = config.settings.environment.rawValue
    values = config.given.reduce(into: [:]) { values, entry in
      values[entry.key.rawValue] = Self.text(entry.key, entry.value.content)
    }
    sources =
      config.coach.can.map {
        Source(
          kind: "can", interface: Self.interface($0.interface), profile: Self.profile($0.profile))
      }
      + config.coach.http.map {
        Source(
          kind: "http", profile: Self.profile($0.profile), everySeconds: $0.everySeconds,
          hasToken: $0.tokenFile != nil, vetoOnly: $0.vetoOnly)
      }
      + config.coach.files.map {
        Source(kind: "file", profile: Self.profile($0.profile), everySeconds: $0.everySeconds)
      }
    healthChecks = config.settings.application.health.map { check in
      switch check {
      case .http: "http"
      case .tcp: "tcp"
      case .command: "command"
      case .unit: "unit"
      case .written: "written"
      }
    }
  }

  /// Such as `can0`; nil for a path.
  static func interface(_ name: String) -> String? {
    let kind = ["can", "vcan", "slcan"].first {
      name.hasPrefix($0) && !name.dropFirst($0.count).isEmpty
        && name.dropFirst($0.count).allSatisfy { $0.isASCII && $0.isNumber }
    }
    return kind == nil ? nil : name
  }

  private static func profile(_ name: String) -> String {
    Profile.builtIn(name) == nil ? "another" : name
  }

  private static func text(_ key: Config.Key, _ content: Config.Value.Content) -> String {
    switch content {
    case .number(let number): "\(number)"
    case .decimal(let number): "\(number)"
    case .flag(let flag): "\(flag)"
    case .text(let text): isWord(text, of: key) ? text : "set"
    case .list(let list):
      list.allSatisfy { isWord($0, of: key) }
        ? list.joined(separator: ", ")
        : "set, \(list.count) \(list.count == 1 ? "entry" : "entries")"
    case .other: "set"
    }
  }

  /// Whether a text can be shown: what the config takes for this key is one of a few words.
  private static func isWord(_ text: String, of key: Config.Key) -> Bool {
    switch key {
    case .environment, .rowsLost, .expectations, .foreignKeys, .oldForeignKeys, .constraints,
      .local,
      .applicationMode, .applicationInRecovery, .requiredGates, .mayAttest, .notifyEvents:
      Cleaner.isPlain(text, besides: "_")
    case .maintenanceWindow: text.allSatisfy { "0123456789:-".contains($0) }
    // From an environment variable, numbers and switches are texts.
    case .autoMigrate, .requireExplicitConsent, .backupBeforeMigrate, .migrationTimeoutSeconds,
      .rehearse, .waitForGates, .backupRetentionDays, .keepAtLeast, .maxTotalBytes, .integrityDays,
      .integrityIdleMinutes, .integrityInRun, .approvals, .parkedFor, .minimumVolts,
      .controllerPort, .applicationStopTimeout, .applicationStartTimeout,
      .applicationProbation, .applicationInterval,
      .applicationUnhealthy, .applicationHealthyAfter, .applicationWatchHours,
      .applicationWatchInterval:
      ["true", "false"].contains(text) || Double(text) != nil
    case .databasePath, .migrationsDirectory, .stateDirectory, .recoveryTriggers, .listen, .socket,
      .allowedHosts, .embedOrigins, .users, .groups, .notifyURL, .notifyNtfy, .notifyToken,
      .interlocks, .requireSecured, .lockHook, .lockUnit, .applicationUnits, .applicationStop,
      .applicationStart, .applicationIsRunning:
      false
    }
  }
}
