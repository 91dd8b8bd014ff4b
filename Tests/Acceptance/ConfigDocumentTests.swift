import Coach
import ControlServer
import Foundation
import Migrations
import Storage
import TestSupport
import Testing
import Updating

@testable import chock

@Suite("docs/configuration.md is true")
struct ConfigDocumentTests {
  /// A row of its tables: a key by its whole name.
  struct Row {
    var key: String
    var initial: String
    var values: String
  }

  private static let docs = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent().appending(path: "docs")

  private static func lines() throws -> [Substring] {
    try String(contentsOf: docs.appending(path: "configuration.md"), encoding: .utf8)
      .split(separator: "\n", omittingEmptySubsequences: false)
  }

  /// The rows, those of lists of tables by the name of their list.
  private func rows() throws -> (plain: [Row], lists: [String: [Row]]) {
    var plain: [Row] = []
    var lists: [String: [Row]] = [:]
    var section = ""
    var isList = false
    for line in try Self.lines() {
      if line.hasPrefix("## ") {
        isList = line.hasPrefix("## [[")
        section = line.hasPrefix("## [") ? line.dropFirst(3).filter { !"[]".contains($0) } : ""
      }
      guard line.hasPrefix("| `") else { continue }
      let cells = line.components(separatedBy: " | ")
      try #require(cells.count == 4, "\(line)")
      let key = cells[0].filter { !"|` ".contains($0) }
      let row = Row(
        key: isList || section.isEmpty ? key : "\(section).\(key)", initial: cells[1],
        values: cells[2])
      if isList { lists[section, default: []].append(row) } else { plain.append(row) }
    }
    return (plain, lists)
  }

  private func config(_ text: String, _ variables: [String: String] = [:]) throws -> Config {
    let folder = try TemporaryFolder()
    try folder.write(text, to: "chock.toml")
    return try Config.load(folder("chock.toml"), environment: variables)
  }

  @Test("It has every key of the code, and no other")
  func keys() throws {
    let (plain, lists) = try rows()
    #expect(plain.map(\.key).sorted() == Config.Key.allCases.map(\.rawValue).sorted())
    #expect(lists.keys.sorted() == Config.List.allCases.map(\.rawValue).sorted())
  }

  @Test(
    "Its lists of tables have every key of the code, and no other", arguments: Config.List.allCases)
  func tables(_ list: Config.List) throws {
    let documented = try #require(try rows().lists[list.rawValue])
    // What the code knows, it names when it meets something else.
    var known: Set<String> = []
    let kinds = list == .health ? ["http", "tcp", "command", "unit", "written"] : [""]
    for kind in kinds {
      let first = kind.isEmpty ? "" : "kind = \"\(kind)\"\n"
      let failure = #expect(throws: Failure.self) {
        _ = try config("[[\(list.rawValue)]]\n\(first)qqqqqqqqqqqqqqqq = 1")
      }
      let words = try #require(failure?.howToClear)
      let names = try #require(words.split(separator: "The keys are ").last)
      known.formUnion(names.filter { $0 != "." }.components(separatedBy: ", "))
    }
    #expect(documented.map(\.key).sorted() == known.sorted())
  }

  @Test("Its defaults are those of the code")
  func defaults() throws {
    let configs = try Environment.allCases.map {
      ($0.rawValue, try config("environment = \"\($0.rawValue)\""))
    }
    for row in try rows().plain {
      guard let key = Config.Key(rawValue: row.key) else { continue }
      // The environment itself is read from an empty file.
      let values =
        key == .environment
        ? [Self.text(key, of: try config(""))] : configs.map { Self.text(key, of: $0.1) }
      let wanted =
        Set(values).count == 1
        ? values[0] : zip(configs, values).map { "\($0.0) \($1)" }.joined(separator: ", ")
      #expect(row.initial == wanted, "\(row.key)")
    }
  }

  @Test("Its limits and choices are those of the code")
  func limits() throws {
    for row in try rows().plain {
      guard let key = Config.Key(rawValue: row.key) else { continue }
      // Too small for every number, and no word of any choice.
      do {
        _ = try config("", [key.variable: "-1"])
      } catch let failure as Failure {
        let words = failure.howToClear ?? ""
        if words.hasPrefix("It is at least "), words.hasSuffix(".") {
          let range = words.dropFirst("It is at least ".count).dropLast()
            .components(separatedBy: " and at most ")
          let wanted = range.count == 2 ? "\(range[0]) to \(range[1])" : "\(range[0]) or more"
          #expect(row.values.hasSuffix(wanted), "\(row.key)")
        } else if words.hasPrefix("It is from ") {
          #expect(
            row.values.hasSuffix(words.dropFirst("It is from ".count).dropLast()), "\(row.key)")
        } else {
          for list in ["It is one of ", "The gates are ", "What can be is ", "There are "]
          where words.hasPrefix(list) {
            let choices = words.dropFirst(list.count).dropLast().components(separatedBy: ", ")
            let cell = row.values.dropFirst(row.values.hasPrefix("of ") ? 3 : 0)
            #expect(cell == choices.map { "`\($0)`" }.joined(separator: ", "), "\(row.key)")
          }
        }
      }
    }
  }

  @Test("Defaults within its lists of tables are those of the code")
  func tableDefaults() throws {
    let config = try config(
      """
      [[coach.can]]
      interface = "can0"
      [[coach.http]]
      url = "http://127.0.0.1:8000"
      [[coach.file]]
      [[snapshots.copies]]
      path = "/mnt/nas"
      [[application.health]]
      kind = "http"
      url = "http://127.0.0.1:8000/health"
      [[application.health]]
      kind = "tcp"
      port = 8000
      """)
    let http = try #require(config.coach.http.first)
    let copies = try #require(config.settings.copies.first)
    let health = config.settings.application.health
    guard case .http(_, let status, _, _) = health.first, case .tcp(let host, _) = health.last
    else {
      Issue.record("\(health)")
      return
    }
    let wanted = [
      "coach.can.profile": "`\"\(try #require(config.coach.can.first).profile)\"`",
      "coach.http.profile": "`\"\(http.profile)\"`",
      "coach.http.every_seconds": "`\(http.everySeconds.formatted())`",
      "coach.http.veto_only": "`\(http.vetoOnly)`",
      "coach.file.profile": "`\"\(try #require(config.coach.files.first).profile)\"`",
      "coach.file.every_seconds":
        "`\(try #require(config.coach.files.first).everySeconds.formatted())`",
      "snapshots.copies.require_mount": "`\(copies.requiresMount)`",
      "snapshots.copies.timeout_seconds": "`\(copies.timeoutSeconds)`",
      "application.health.status": "`\(status)`",
      "application.health.host": "`\"\(host)\"`",
    ]
    #expect(copies.retention == config.settings.retention)
    var documented: [String: String] = [:]
    for (list, rows) in try rows().lists {
      for row in rows where row.initial.hasPrefix("`") {
        documented["\(list).\(row.key)"] = row.initial
      }
    }
    #expect(documented == wanted)
  }

  @Test("Each of its examples is accepted, and all of them together")
  func examples() throws {
    var blocks: [String] = []
    var block: String?
    for line in try Self.lines() {
      if line == "```toml" {
        block = ""
      } else if line == "```", let text = block {
        blocks.append(text)
        block = nil
      } else {
        block?.append(line + "\n")
      }
    }
    #expect(
      blocks.count == Set(try rows().plain.map { $0.key.prefix { $0 != "." } }).count
        + Config.List.allCases.count)
    for block in blocks { _ = try config(block) }
    _ = try config(blocks.joined())
  }

  @Test("The commented example has every key too, and no other")
  func commentedExample() throws {
    let file = Self.docs.appending(path: "chock.example.toml")
    // A line that would be a key or a section without its #.
    let lines = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map { line in
      let text = line.drop { $0 == "#" || $0 == " " }
      let name = text.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
      let isKey = !name.isEmpty && text.dropFirst(name.count).hasPrefix(" = ")
      return line.hasPrefix("#") && (isKey || text.hasPrefix("[")) ? text : line
    }
    var names: Set<String> = []
    var section = ""
    for line in lines where !line.hasPrefix("#") {
      if line.hasPrefix("[") {
        section = line.drop { $0 == "[" }.prefix { $0 != "]" } + "."
      } else if line.contains(" = ") {
        names.insert(section + line.prefix { $0 != " " })
      }
    }
    let (plain, lists) = try rows()
    let wanted =
      plain.map(\.key) + lists.flatMap { list, rows in rows.map { "\(list).\($0.key)" } }
    #expect(names.symmetricDifference(wanted).sorted() == [])
  }

  /// A value as the page has it: TOML, in back quotes.
  private static func text(_ key: Config.Key, of config: Config) -> String {
    let settings = config.settings
    let application = settings.application
    return switch key {
    case .environment: quoted(settings.environment.rawValue)
    case .databasePath: quoted(settings.databasePath)
    case .migrationsDirectory: quoted(settings.migrationsDirectory)
    case .stateDirectory: quoted(settings.stateDirectory)
    case .autoMigrate: plain(settings.autoMigrate)
    case .requireExplicitConsent: plain(settings.requireExplicitConsent)
    case .backupBeforeMigrate: plain(settings.backupBeforeMigrate)
    case .migrationTimeoutSeconds: plain(settings.migrationTimeoutSeconds)
    case .rehearse: plain(settings.rehearse)
    case .waitForGates: plain(settings.waitForGatesSeconds)
    case .maintenanceWindow: quoted(settings.maintenanceWindow.description)
    case .backupRetentionDays: plain(settings.backupRetentionDays)
    case .keepAtLeast: plain(settings.keepAtLeast)
    case .maxTotalBytes: plain(settings.maxTotalBytes)
    case .rowsLost: quoted(settings.verdicts.rowsLost.rawValue)
    case .expectations: quoted(settings.verdicts.expectations.rawValue)
    case .foreignKeys: quoted(settings.verdicts.foreignKeys.rawValue)
    case .oldForeignKeys: quoted(settings.verdicts.oldForeignKeys.rawValue)
    case .constraints: quoted(settings.verdicts.constraints.rawValue)
    case .integrityDays: plain(settings.integrityCheckDays)
    case .integrityIdleMinutes: plain(settings.integrityCheckIdleMinutes)
    case .integrityInRun: plain(settings.integrityCheckInRun)
    case .recoveryTriggers: list(settings.recoveryTriggers)
    case .listen: quoted("\(config.server.listenHost):\(config.server.listenPort)")
    case .socket: quoted(config.server.socketPath ?? "")
    case .allowedHosts: list(config.server.allowedHosts)
    case .embedOrigins: list(config.server.embedOrigins)
    case .local: quoted(config.server.access.local?.rawValue ?? "none")
    case .approvals: plain(config.server.access.approvals)
    case .users: list(Array(config.server.access.users.keys))
    case .groups: list(Array(config.server.access.groups.keys))
    case .notifyURL: config.notify.url ?? "–"
    case .notifyNtfy: config.notify.ntfyURL ?? "–"
    case .notifyToken: config.notify.tokenFile ?? "–"
    case .notifyEvents: config.notify.events == Set(Notice.Event.allCases) ? "all" : "some"
    case .requiredGates:
      list(GateID.allCases.filter(settings.safety.requiredGates.contains).map(\.rawValue))
    case .parkedFor: plain(settings.safety.parkedForSeconds)
    case .minimumVolts: plain(settings.safety.minimumVolts)
    case .interlocks: settings.safety.interlocks.map(list) ?? "–"
    case .requireSecured: list(settings.safety.requireSecured)
    case .mayAttest: settings.safety.mayAttest == SafetyPolicy.attestable ? "all" : "some"
    case .controllerPort: config.coach.controllerPort.map(plain) ?? "–"
    case .lockHook: config.coach.lockHook ?? "–"
    case .lockUnit: config.coach.lockUnit ?? "–"
    case .applicationMode: quoted(application.mode.rawValue)
    case .applicationUnits: list(application.units)
    case .applicationStop: application.commands.map { list($0.stop) } ?? "–"
    case .applicationStart: application.commands.map { list($0.start) } ?? "–"
    case .applicationIsRunning: application.commands.map { list($0.isRunning) } ?? "–"
    case .applicationStopTimeout: plain(application.stopTimeoutSeconds)
    case .applicationStartTimeout: plain(application.startTimeoutSeconds)
    case .applicationInRecovery: quoted(application.inRecovery.rawValue)
    case .applicationProbation: plain(application.probationSeconds)
    case .applicationInterval: plain(application.intervalSeconds)
    case .applicationUnhealthy: plain(application.unhealthySeconds)
    case .applicationHealthyAfter: plain(application.healthyAfter)
    case .applicationWatchHours: plain(application.watchHours)
    case .applicationWatchInterval: plain(application.watchIntervalSeconds)
    }
  }

  private static func plain(_ value: some CustomStringConvertible) -> String { "`\(value)`" }
  private static func quoted(_ text: String) -> String { "`\"\(text)\"`" }
  private static func list(_ texts: [String]) -> String {
    "`[\(texts.map { "\"\($0)\"" }.joined(separator: ", "))]`"
  }
}
