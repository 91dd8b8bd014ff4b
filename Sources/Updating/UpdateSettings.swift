public import Coach
public import Storage

/// What kind of device this is; sets the defaults.
public enum Environment: String, Codable, Sendable, CaseIterable {
  /// Consent and snapshot, nothing on its own.
  case production
  /// May migrate on its own; a snapshot is still taken.
  case development
  /// No consent and no snapshot: for automatic tests of an application.
  case testing
}

/// Everything that a run needs to know, resolved from the config. The worker gets it from the daemon.
public struct UpdateSettings: Codable, Sendable, Equatable {
  public var environment: Environment
  public var databasePath: String
  public var migrationsDirectory: String
  public var stateDirectory: String
  /// Start an update without being asked.
  public var autoMigrate: Bool
  public var requireExplicitConsent: Bool
  public var backupBeforeMigrate: Bool
  /// For the statements and checks of a run; a rehearsal has the same time of its own.
  public var migrationTimeoutSeconds: Int
  public var rehearse: Bool
  public var backupRetentionDays: Int
  public var keepAtLeast: Int
  /// 0: no limit.
  public var maxTotalBytes: Int64
  /// Where copies of snapshots are kept, too.
  public var copies: [CopyPlace] = []
  public var safety: SafetyPolicy
  /// For how long a run that has changed nothing yet waits for a gate that has closed, in seconds.
  public var waitForGatesSeconds: Int
  /// When a scheduled update may start, where no other time is named.
  public var maintenanceWindow: DailyWindow
  public var verdicts: Verdicts
  public var application = ApplicationSettings()
  /// Check in a run also what the indexes hold.
  public var integrityCheckInRun: Bool
  /// How often the daemon does so when it has nothing else to do; 0: never.
  public var integrityCheckDays: Int
  /// How long it must have had nothing to do.
  public var integrityCheckIdleMinutes: Int
  /// Files or devices at whose presence the daemon starts in recovery mode.
  public var recoveryTriggers: [String]

  /// The defaults of an environment, for the four paths that have none.
  public init(
    environment: Environment, databasePath: String, migrationsDirectory: String,
    stateDirectory: String
  ) {
    self.environment = environment
    self.databasePath = databasePath
    self.migrationsDirectory = migrationsDirectory
    self.stateDirectory = stateDirectory
    autoMigrate = environment == .testing
    requireExplicitConsent = environment == .production
    backupBeforeMigrate = environment != .testing
    migrationTimeoutSeconds = 300
    rehearse = environment != .testing
    backupRetentionDays = 7
    keepAtLeast = 3
    maxTotalBytes = 0
    verdicts = Verdicts()
    integrityCheckInRun = false
    integrityCheckDays = 7
    integrityCheckIdleMinutes = 10
    recoveryTriggers = [
      "/boot/firmware/CHOCK_RECOVERY", "/boot/CHOCK_RECOVERY",
      // The label of a FAT or exFAT has 11 characters at most.
      "/dev/disk/by-label/CHOCK_RECOV", "/dev/disk/by-label/CHOCK_RECOVERY",
    ]
    waitForGatesSeconds = 120
    maintenanceWindow = .standard
    safety = SafetyPolicy(
      requiredGates: Self.gates(of: environment),
      parkedForSeconds: environment == .production ? 60 : 0)
  }

  /// The gates that a config of production has to name, where it names any.
  public static let gatesOfProduction: Set<GateID> = [
    .parked, .interlocks, .noActiveControls, .disk,
  ]
  /// The gates that production keeps whatever the config names.
  public static let alwaysInProduction: Set<GateID> = [.power, .emergencyStop]

  private static func gates(of environment: Environment) -> Set<GateID> {
    switch environment {
    case .production: developmentGates.union(alwaysInProduction)
    case .development: developmentGates
    case .testing: []
    }
  }

  private static let developmentGates: Set<GateID> =
    gatesOfProduction.union([.emergencyStop, .noActiveConnections, .clock])

  /// Bytes that stay free on every file system: the coach goes on writing while an update runs.
  static let reserveBytes: Int64 = 16 << 20

  public var retention: SnapshotStore.Retention {
    SnapshotStore.Retention(
      days: backupRetentionDays, keepAtLeast: keepAtLeast, maxTotalBytes: maxTotalBytes)
  }

  public var snapshotsFolder: String { stateDirectory + "/snapshots" }
  /// Where a worker mounts a stick for itself.
  var mountPoint: String { stateDirectory + "/stick" }
  /// Where rollbacks write what they take out of the database.
  var exportsFolder: String { stateDirectory + "/exports" }
  /// Where rehearsals take place: beside the snapshots.
  /// What a technician takes along of a rescue copy.
  func rescueExportFolder(of copy: String) -> String { "\(exportsFolder)/rescue-\(copy)" }
  var workFolder: String { stateDirectory + "/work" }
  /// For SQLite's temporary files, which have no name: beside the database, since /tmp may be in memory.
  var temporaryFolder: String { FileSystem.parent(databasePath) }
  func rescueFolder(of run: String) -> String { "\(stateDirectory)/rescue/\(run)" }

  /// Bytes that a run may need in the state folder, before a rehearsal has measured it: the snapshot,
  /// and the log that a rebuild of the largest table writes.
  public func estimatedBytes(database: Int64) -> Int64 {
    database * (backupBeforeMigrate ? 2 : 1) + Self.reserveBytes
  }
}
