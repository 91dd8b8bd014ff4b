import Migrations
import TOMLKit
import Updating

// `[application]` and `[[application.health]]`.
extension Config {
  mutating func readApplication(
    _ reader: Reader, _ health: [HealthCheck], _ metrics: [WatchedMetrics]
  ) throws(Failure) {
    var application = ApplicationSettings()
    if let mode = try reader.choice(
      .applicationMode, of: ApplicationSettings.Mode.allCases.map(\.rawValue)
    ).flatMap(ApplicationSettings.Mode.init) {
      application.mode = mode
    }
    if let (units, place) = try reader.list(.applicationUnits) {
      for unit in units { try Self.checkUnit(unit, place) }
      if let twice = units.first(where: { unit in units.count { $0 == unit } > 1 }) {
        throw place.saying("\(twice) is there twice.", "Name each unit once.")
      }
      application.units = units
    }
    try readCommands(reader, into: &application)
    try reader.number(.applicationStopTimeout, 1...3600, into: &application.stopTimeoutSeconds)
    try reader.number(.applicationStartTimeout, 1...3600, into: &application.startTimeoutSeconds)
    if let policy = try reader.choice(
      .applicationInRecovery, of: ApplicationSettings.InRecovery.allCases.map(\.rawValue)
    ).flatMap(ApplicationSettings.InRecovery.init) {
      application.inRecovery = policy
    }
    try reader.number(.applicationProbation, 0...86_400, into: &application.probationSeconds)
    try reader.number(.applicationInterval, 1...60, into: &application.intervalSeconds)
    try reader.number(.applicationUnhealthy, 0...3600, into: &application.unhealthySeconds)
    try reader.number(.applicationHealthyAfter, 1...100, into: &application.healthyAfter)
    application.health = health
    try reader.number(.applicationWatchHours, 0...720, into: &application.watchHours)
    try reader.number(
      .applicationWatchInterval, 1...3600, into: &application.watchIntervalSeconds)
    application.watchMetrics = metrics
    settings.application = application
  }

  private func readCommands(
    _ reader: Reader, into application: inout ApplicationSettings
  ) throws(Failure) {
    let keys: [Key] = [.applicationStop, .applicationStart, .applicationIsRunning]
    var commands: [[String]] = []
    var place: Failure?
    for key in keys {
      guard let (command, there) = try reader.list(key) else { continue }
      guard command.first?.isEmpty == false else {
        throw there.saying(
          "\(key.rawValue) names no program.", "Such as [\"/usr/bin/app\", \"stop\"].")
      }
      place = there
      commands.append(command)
    }
    guard let place else { return }
    guard commands.count == keys.count else {
      throw place.saying(
        "An application with commands needs all three of stop, start and is_running.",
        "What did not run is not started, so chock has to be able to ask.")
    }
    application.commands = ApplicationSettings.Commands(
      stop: commands[0], start: commands[1], isRunning: commands[2])
  }

  fileprivate static func checkUnit(_ unit: String, _ place: Failure) throws(Failure) {
    let known = ["service", "target", "socket", "timer", "path", "mount", "scope", "slice"]
    let isName = unit.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || "_-.@:\\".contains($0))
    }
    guard isName, unit.utf8.count < 256, !unit.hasPrefix("-"), !unit.hasPrefix("."),
      let kind = unit.split(separator: ".").last, known.contains(String(kind)), unit.contains(".")
    else {
      throw place.saying("\(unit) is no unit of systemd.", "Such as \"coachiq.service\".")
    }
  }
}

/// `[[application.health]]`.
enum HealthConfig {
  private static let keys = [
    "http": ["kind", "url", "status", "pointer", "value"], "tcp": ["kind", "host", "port"],
    "command": ["kind", "command"], "unit": ["kind", "unit"], "written": ["kind"],
  ]

  static func read(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) -> [HealthCheck] {
    var checks: [HealthCheck] = []
    for row in try CoachConfig.Row.all(value, .health, in: text, file: file) {
      let kind = try row.text("kind")
      guard let known = keys[kind] else {
        throw row.place.saying(
          "There is no check of the kind \(kind).",
          "The kinds are \(keys.keys.sorted().joined(separator: ", ")).")
      }
      try row.check(known)
      checks.append(try check(kind, row, row.table, row.place))
    }
    return checks
  }

  private static func check(
    _ kind: String, _ row: CoachConfig.Row, _ table: TOMLTable, _ place: Failure
  ) throws(Failure) -> HealthCheck {
    switch kind {
    case "http":
      let url = try CoachConfig.url(try row.text("url"), place)
      try checkHere(url, place)
      let pointer = table["pointer"] == nil ? nil : try row.text("pointer")
      let value = table["value"].flatMap {
        $0.string ?? $0.int.map(String.init) ?? $0.bool.map { "\($0)" }
          ?? $0.double.map { "\($0)" }
      }
      guard (pointer == nil) == (table["value"] == nil), pointer?.hasPrefix("/") != false,
        table["value"] == nil || value != nil
      else {
        throw place.saying(
          "A pointer and its value belong together.", "Such as pointer = \"/ok\", value = true.")
      }
      return .http(
        url: url, status: try number(table, "status", 100...599, or: 200, place),
        pointer: pointer, value: value)
    case "tcp":
      let port = try number(table, "port", 1...65_535, or: nil, place)
      return .tcp(
        host: try row.text("host", or: "127.0.0.1"), port: UInt16(clamping: port))
    case "command":
      let command = table["command"]?.array.map { $0.compactMap(\.string) } ?? []
      guard let first = command.first, !first.isEmpty,
        command.count == table["command"]?.array?.count
      else {
        throw place.saying(
          "A check of the kind command has a list of texts.",
          "Such as command = [\"/usr/bin/app\", \"health\"].")
      }
      return .command(command)
    case "unit":
      let unit = try row.text("unit")
      try Config.checkUnit(unit, place)
      return .unit(unit)
    default: return .written
    }
  }

  /// chock asks the application beside it, and nobody else.
  fileprivate static func checkHere(_ url: String, _ place: Failure) throws(Failure) {
    let host = url.dropFirst("http://".count).prefix { $0 != "/" && $0 != ":" }
    let isHere = host == "localhost" || host.hasPrefix("127.")
    guard url.hasPrefix("http://"), isHere else {
      throw place.saying(
        "\(url) is not on this machine.", "Such as \"http://127.0.0.1:8000/health\".")
    }
  }

  private static func number(
    _ table: TOMLTable, _ key: String, _ range: ClosedRange<Int>, or other: Int?,
    _ place: Failure
  ) throws(Failure) -> Int {
    guard let number = table[key] == nil ? other : table[key]?.int, range.contains(number) else {
      throw place.saying(
        "application.health.\(key) is no number from \(range.lowerBound) to \(range.upperBound).",
        "Write \(key) = NUMBER.")
    }
    return number
  }
}

/// `[[application.watch_metrics]]`.
enum WatchConfig {
  static func read(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) -> [WatchedMetrics] {
    var all: [WatchedMetrics] = []
    for row in try CoachConfig.Row.all(value, .metrics, in: text, file: file) {
      try row.check(["url", "names"])
      let url = try CoachConfig.url(try row.text("url"), row.place)
      try HealthConfig.checkHere(url, row.place)
      let names = row.table["names"]?.array.map { $0.compactMap(\.string) } ?? []
      guard !names.isEmpty, names.count == row.table["names"]?.array?.count,
        names.allSatisfy(isName), Set(names).count == names.count
      else {
        throw row.place.saying(
          "\(Config.List.metrics.rawValue).names is no list of figures.",
          "Such as names = [\"coachiq_errors_total\"].")
      }
      guard !all.contains(where: { $0.url == url }) else {
        throw row.place.saying("\(url) is there twice.", "Name each address once.")
      }
      all.append(WatchedMetrics(url: url, names: names))
    }
    return all
  }

  /// As Prometheus has it: letters, digits, `_` and `:`, without a digit at the beginning.
  private static func isName(_ text: String) -> Bool {
    text.utf8.count <= 200 && text.first?.isNumber == false
      && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "_:".contains($0)) }
  }
}
