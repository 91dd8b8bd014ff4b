/// The application that writes the database: how it is stopped and started, and how it shows that it is well.
public struct ApplicationSettings: Codable, Sendable, Equatable {
  public enum Mode: String, Codable, Sendable, CaseIterable {
    /// It is down while a run changes the database.
    case stop
    /// It stays up. While the change is applied it reads the old state and cannot write.
    case readOnly = "read_only"
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
  /// Start it also when nobody knows what the database holds, and a person is needed.
  public var startWhenUnsure = false

  public var health: [HealthCheck] = []
  /// For how long after an update the application has to show that it is well.
  public var probationSeconds = 60
  /// The time between two looks.
  public var intervalSeconds = 2
  /// For how long it may be unwell, at its start too.
  public var unhealthySeconds = 30
  /// So many looks in a row have to find it well before it counts as well.
  public var healthyAfter = 3

  public init() {}

  /// Whether a run stops it.
  var isStopped: Bool { mode == .stop && !parts.isEmpty }

  /// What `parts` calls the application that has commands.
  static let byCommands = "application"

  /// What is stopped, in this order.
  var parts: [String] { commands == nil ? units : units + [Self.byCommands] }
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
