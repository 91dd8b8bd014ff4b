/// The application that writes the database: how it is stopped and started, and how it shows that it is well.
public struct ApplicationSettings: Codable, Sendable, Equatable {
  public enum Mode: String, Codable, Sendable, CaseIterable {
    /// It is down while a run changes the database.
    case stop
    /// It stays up. While the change is applied it reads the old state and cannot write.
    case readOnly = "read_only"
  }

  /// What becomes of it in recovery mode: nobody knows what the database holds.
  public enum InRecovery: String, Codable, Sendable, CaseIterable {
    /// What chock has stopped stays down.
    case down
    /// It is started, and chock holds the write lock.
    case readOnly = "read_only"
    /// It is started, and may write.
    case start
  }

  /// For an application that is no unit of systemd. Each is a program and its arguments; no shell reads them.
  public struct Commands: Codable, Sendable, Equatable {
    /// Stops it, or asks it to stop.
    public var stop: [String]
    /// Has it started, and returns; harmless when it runs.
    public var start: [String]
    /// Ends with 0 while it runs, and with 1 to 125 when it does not.
    public var isRunning: [String]

    public init(stop: [String], start: [String], isRunning: [String]) {
      self.stop = stop
      self.start = start
      self.isRunning = isRunning
    }
  }

  public var mode = Mode.stop
  /// Units of systemd, in the order in which they are stopped.
  public var units: [String] = []
  public var commands: Commands?
  /// For all of them together.
  public var stopTimeoutSeconds = 90
  public var startTimeoutSeconds = 90
  public var inRecovery = InRecovery.down

  public var health: [HealthCheck] = []
  /// For how long after an update the application has to show that it is well.
  public var probationSeconds = 60
  /// The time between two looks.
  public var intervalSeconds = 2
  /// For how long it may be unwell, at its start too.
  public var unhealthySeconds = 30
  /// So many looks in a row have to find it well before it counts as well.
  public var healthyAfter = 3

  /// For how many hours after an update errors are compared with those before; 0: they are not counted.
  public var watchHours = 72
  /// The time between two counts.
  public var watchIntervalSeconds = 300
  /// Figures that count errors, beside what journald has of the units.
  public var watchMetrics: [WatchedMetrics] = []

  public init() {}

  /// Whether a run stops it.
  var isStopped: Bool { mode == .stop && !parts.isEmpty }

  /// What `parts` calls the application that has commands.
  static let byCommands = "application"

  /// What is stopped, in this order.
  var parts: [String] { commands == nil ? units : units + [Self.byCommands] }
}

/// Figures at an address, in Prometheus' text format.
public struct WatchedMetrics: Codable, Sendable, Equatable {
  /// On this machine.
  public var url: String
  /// Those that count errors.
  public var names: [String]

  public init(url: String, names: [String]) {
    self.url = url
    self.names = names
  }
}

/// One question to the application; all of them have to be answered well.
public enum HealthCheck: Codable, Sendable, Equatable {
  /// - Parameters:
  ///   - url: on this machine.
  ///   - pointer: a place in the answer (RFC 6901); nil: only the status counts.
  ///   - value: what has to be there, as JSON writes it without quotes.
  case http(url: String, status: Int, pointer: String?, value: String?)
  /// Somebody accepts connections there.
  case tcp(host: String, port: UInt16)
  /// It ends with 0.
  case command([String])
  /// It is active, and was not restarted since the look before.
  case unit(String)
  /// The database was written since the application was started.
  case written
}
