public import Migrations
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// How many errors the application makes, against before the update: in the status.
public struct ErrorWatchDocument: Codable, Sendable, Equatable {
  public struct Counter: Codable, Sendable, Equatable {
    /// The unit, or the name of a figure.
    public var name: String
    /// Where the figure is; nil: lines of journald.
    public var url: String?
    /// In an hour, before the update, or, where none is watched, until now; nil before it is known.
    public var perHourBefore: Double?
    /// Since the update.
    public var errors: Double?
    public var perHour: Double?
    /// There are more than before.
    public var warning: Failure?
    /// Why they cannot be counted at the moment.
    public var problem: String?
  }

  /// The update that is watched; nil when none is.
  public var run: String?
  /// What it came to.
  public var version: String?
  /// How long it is still watched, in seconds of a machine that runs.
  public var secondsLeft: Double?
  public var counters: [Counter]

  /// As it was last written down; nil where nothing is counted, or nothing is known.
  public init?(_ settings: UpdateSettings) {
    guard let watch = ErrorWatch.read(settings.stateDirectory),
      let document = watch.document(settings.application)
    else { return nil }
    self = document
  }

  init(run: String?, version: String?, secondsLeft: Double?, counters: [Counter]) {
    self.run = run
    self.version = version
    self.secondsLeft = secondsLeft
    self.counters = counters
  }
}

/// A time that no clock moves: which boot, and how long ago that was.
struct BootTime: Codable, Sendable, Equatable {
  var boot: String
  /// Seconds.
  var since: Double

  static func now() -> BootTime {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    let bytes = (try? FileSystem.read("/proc/sys/kernel/random/boot_id", limit: 64)) ?? nil
    return BootTime(
      boot: String(decoding: (bytes ?? []).filter { $0 > 32 }, as: UTF8.self),
      since: Double(time.tv_sec) + Double(time.tv_nsec) / 1e9)
  }

  /// Seconds since then in which the machine ran, as far as they are known.
  func elapsed(since then: BootTime) -> Double {
    boot == then.boot ? max(0, since - then.since) : since
  }
}

/// What one look has found of one source.
enum ErrorReading: Sendable {
  /// A figure; it begins anew when the application does.
  case value(Double)
  /// Lines behind the cursor of the last look, and the cursor from here on.
  case lines(Int, cursor: String)
  /// The first look into journald: where its end is, and what was before.
  case begun(cursor: String, past: [ErrorHour])
  case problem(String)
}

/// `error-watch.json`: the errors of the newest hours, and how they compare with those before the update. Losing it
/// loses no more than that.
struct ErrorWatch: Codable, Sendable, Equatable {
  struct Counter: Codable, Sendable, Equatable {
    var key: String
    var hours: [ErrorHour] = []
    /// Of a figure, at the last look.
    var value: Double?
    /// In journald.
    var cursor: String?
    var seen: BootTime?
    var problem: String?
    /// While an update is watched.
    var before: ErrorLevel?
    var since: [ErrorHour] = []
    var warning: Failure?
  }

  struct Watched: Codable, Sendable, Equatable {
    var run: String
    var version: String?
    /// For how long it has been, in seconds.
    var seconds = 0.0
  }

  static let fileName = "error-watch.json"

  var counters: [Counter] = []
  var watched: Watched?
  /// The newest run that has changed the database, as far as the watch knows.
  var newestRun: String?
  var seen: BootTime?

  // MARK: Counting

  /// Takes what was found at a look.
  ///
  /// - Parameters:
  ///   - isQuiet: false while the application is stopped and started: what it says then is not counted.
  /// - Returns: the problems that have come and gone, for the log.
  mutating func note(
    _ readings: [(source: ErrorSource, reading: ErrorReading)], at now: BootTime, hours: Int,
    counting isQuiet: Bool
  ) -> [String] {
    var news: [String] = []
    if watched != nil, let seen { watched?.seconds += now.elapsed(since: seen) }
    seen = now
    counters = readings.map { source, reading in
      var counter = counters.first { $0.key == source.key } ?? Counter(key: source.key)
      let elapsed = counter.seen.map(now.elapsed(since:)) ?? 0
      var errors: Double?
      switch reading {
      case .value(let value):
        // One that falls has begun anew, at 0.
        errors = counter.value.map { value < $0 ? value : value - $0 }
        counter.value = value
      case .lines(let count, let cursor):
        errors = Double(count)
        counter.cursor = cursor
      case .begun(let cursor, let past):
        counter.cursor = cursor
        if counter.hours.isEmpty { counter.hours = past }
      case .problem(let words):
        if counter.problem == nil { news.append(words) }
        counter.problem = words
        return counter
      }
      if counter.problem != nil { news.append("The errors of \(source.name) are counted again.") }
      counter.problem = nil
      counter.seen = now
      guard let errors, isQuiet else { return counter }
      if watched == nil {
        counter.hours.add(errors: errors, seconds: elapsed, keeping: hours)
      } else {
        counter.since.add(errors: errors, seconds: elapsed, keeping: hours)
      }
      return counter
    }
    return news
  }

  /// From now on errors are compared with those of before.
  ///
  /// - Parameter least: what was observed for less has no level.
  mutating func begin(_ run: String, version: String?, least seconds: Double, hours: Int) {
    end(hours: hours)
    newestRun = run
    watched = Watched(run: run, version: version)
    for index in counters.indices where counters[index].hours.seconds >= seconds {
      counters[index].before = ErrorLevel(counters[index].hours)
    }
  }

  /// What was counted since becomes what was before the next update.
  mutating func end(hours: Int) {
    watched = nil
    for index in counters.indices {
      let all = counters[index].hours + counters[index].since
      counters[index].hours = Array(all.suffix(hours))
      counters[index].since = []
      counters[index].before = nil
      counters[index].warning = nil
    }
  }

  /// - Returns: what is to be told of, each once.
  mutating func judge(_ sources: [ErrorSource]) -> [Failure] {
    guard let watched else { return [] }
    var told: [Failure] = []
    for index in counters.indices {
      let counter = counters[index]
      guard counter.warning == nil, let before = counter.before,
        before.isExceeded(by: counter.since),
        let source = sources.first(where: { $0.key == counter.key })
      else { continue }
      let warning = Failure(
        .moreErrors,
        "\(source.name) has counted \(Int(counter.since.errors)) errors in \(Self.hours(counter.since.seconds)) with version \(watched.version ?? "?"); before the update it was \(Self.text(before.perHour)) an hour.",
        howToClear: source.url == nil
          ? "`journalctl -u \(source.name) -p err` shows them. The database is left as it is."
          : "The application's log says which. The database is left as it is.")
      counters[index].warning = warning
      told.append(warning)
    }
    return told
  }

  private static func hours(_ seconds: Double) -> String {
    seconds < 2 * ErrorHour.length
      ? "\(max(1, Int((seconds / 60).rounded()))) min" : "\(Int(seconds / ErrorHour.length)) h"
  }

  private static func text(_ value: Double) -> String {
    value >= 10 ? "\(Int(value.rounded()))" : "\((value * 10).rounded() / 10)"
  }

  // MARK: Telling

  func document(_ settings: ApplicationSettings) -> ErrorWatchDocument? {
    let sources = settings.errorSources
    guard !sources.isEmpty else { return nil }
    return ErrorWatchDocument(
      run: watched?.run, version: watched?.version,
      secondsLeft: watched.map {
        max(0, Double(settings.watchHours) * ErrorHour.length - $0.seconds)
      },
      counters: sources.map { source in
        let counter = counters.first { $0.key == source.key }
        let isWatched = watched != nil
        return ErrorWatchDocument.Counter(
          name: source.name, url: source.url,
          perHourBefore: isWatched
            ? counter?.before?.perHour
            : counter.flatMap { $0.hours.seconds > 0 ? $0.hours.perHour : nil },
          errors: isWatched ? counter?.since.errors : nil,
          perHour: isWatched ? counter?.since.perHour : nil, warning: counter?.warning,
          problem: counter?.problem)
      })
  }

  // MARK: The file

  static func read(_ stateDirectory: String) -> ErrorWatch? {
    guard let bytes = (try? FileSystem.read("\(stateDirectory)/\(fileName)")) ?? nil else {
      return nil
    }
    return try? JSON.decode(ErrorWatch.self, from: bytes)
  }

  func write(_ stateDirectory: String) throws(Failure) {
    try FileSystem.replace("\(stateDirectory)/\(Self.fileName)", with: try JSON.encode(self))
  }
}
