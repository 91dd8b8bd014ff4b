import CoachSources
import Migrations
import TOMLKit

/// Where the coach's readings come from: `[[coach.can]]`, `[[coach.http]]` and `[[coach.file]]`, and who is
/// told of an update.
struct CoachConfig: Sendable {
  /// A bus, and the profile of what is said on it.
  struct CAN: Sendable {
    var interface: String
    var profile: String
  }

  /// Documents that are asked for again and again.
  struct HTTP: Sendable {
    var address: SourceConfiguration.HTTPAddress
    var profile: String
    var everySeconds: Double
    var tokenFile: String?
    /// False only for a source that knows by itself whether the coach is parked.
    var vetoOnly: Bool
  }

  /// Files such as those of sysfs, read again and again.
  struct Files: Sendable {
    var profile: String
    var everySeconds: Double
  }

  var can: [CAN] = []
  var http: [HTTP] = []
  var files: [Files] = []
  /// Established connections to it are counted as active control connections.
  var controllerPort: UInt16?
  /// Is told with a POST when an update begins and when it ends.
  var lockHook: String?
  /// Is started when an update begins and stopped when it ends.
  var lockUnit: String?

  mutating func readBuses(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) {
    for row in try Row.all(value, .can, in: text, file: file) {
      try row.check(["interface", "profile"])
      can.append(
        CAN(
          interface: try Self.interface(try row.text("interface"), row.place),
          profile: try row.text("profile", or: "rvc")))
    }
    try Self.checkOnce(can.map(\.interface), .can, file)
  }

  mutating func readControllers(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) {
    for row in try Row.all(value, .http, in: text, file: file) {
      try row.check(["url", "profile", "every_seconds", "token_file", "veto_only"])
      http.append(
        HTTP(
          address: try Self.address(try row.text("url"), row.place),
          profile: try row.text("profile", or: "coachiq"),
          everySeconds: try row.seconds(),
          tokenFile: row.table["token_file"] == nil ? nil : try row.text("token_file"),
          vetoOnly: try row.flag("veto_only", or: true)))
    }
    try Self.checkOnce(http.map(\.address.url), .http, file)
  }

  mutating func readFiles(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) {
    for row in try Row.all(value, .file, in: text, file: file) {
      try row.check(["profile", "every_seconds"])
      files.append(
        Files(
          profile: try row.text("profile", or: "raspberry-pi"), everySeconds: try row.seconds()))
    }
  }

  private static func checkOnce(
    _ names: [String], _ list: Config.List, _ file: String
  ) throws(Failure) {
    guard let twice = names.first(where: { name in names.count { $0 == name } > 1 }) else { return }
    throw Failure(.badConfig, list.rawValue, file: file).saying(
      "\(twice) is there twice.", "Name each source once.")
  }

  /// - Throws: `.badConfig` for what cannot be the name of a bus.
  private static func interface(_ text: String, _ place: Failure) throws(Failure) -> String {
    // IFNAMSIZ in <linux/if.h> and sun_path in <linux/un.h>, each with a zero byte at the end.
    if text.hasPrefix("unix:") {
      let path = text.dropFirst("unix:".count)
      guard path.hasPrefix("/"), path.utf8.count < 108 else {
        throw place.saying(
          "\(text) is no socket.", "An absolute path of at most 107 bytes behind unix:.")
      }
    } else if text.utf8.count >= 16 {
      throw place.saying(
        "\(text) is no interface: its name is too long.", "Such as \"can0\": at most 15 bytes.")
    }
    return text
  }

  private static func address(
    _ url: String, _ place: Failure
  ) throws(Failure) -> SourceConfiguration.HTTPAddress {
    guard let address = SourceConfiguration.HTTPAddress(url) else {
      throw place.saying(
        "\(url) is not an address that chock can ask.",
        "http://HOST:PORT, such as \"http://127.0.0.1:8000\"; the paths are in the profile.")
    }
    return address
  }

  /// - Throws: `.badConfig` unless it is `http://HOST[:PORT]` or `https://…`, with a path perhaps.
  static func url(_ text: String, _ place: Failure) throws(Failure) -> String {
    let scheme = ["http://", "https://"].first { text.hasPrefix($0) } ?? text
    let rest = text.dropFirst(scheme.count)
    // Not quoted: what is wrong with a config goes into the log.
    guard !rest.prefix(while: { $0 != "/" }).contains("@") else {
      throw place.saying(
        "An address may not have a user or a password in it.",
        "Write it without what is before the @.")
    }
    let host = rest.prefix { $0 != "/" && $0 != ":" }
    let port = rest.dropFirst(host.count).prefix { $0 != "/" }
    let isPort = port.isEmpty || UInt16(port.dropFirst()).map { $0 > 0 } ?? false
    guard !host.isEmpty, isPort, text.allSatisfy({ $0.isASCII && !$0.isWhitespace }) else {
      throw place.saying(
        "\(text) is not an address that chock can reach.", "Such as \"http://127.0.0.1:8000\".")
    }
    return text
  }

  /// One table of a list.
  struct Row {
    let name: String
    let table: TOMLTable
    let place: Failure

    /// - Parameter text: the file's, in which each table's header has a line.
    static func all(
      _ value: any TOMLValueConvertible, _ list: Config.List, in text: String, file: String
    ) throws(Failure) -> [Row] {
      let name = list.rawValue
      let lines = text.split(separator: "\n", omittingEmptySubsequences: false).enumerated()
        .compactMap {
          $1.filter { $0 != " " && $0 != "\t" }.hasPrefix("[[\(name)]]") ? $0 + 1 : nil
        }
      var place = Failure(.badConfig, name, file: file)
      func isNoList() -> Failure {
        place.saying("\(name) is no list of tables.", "Write [[\(name)]] above each of them.")
      }
      guard value.type == .array, let array = value.array else { throw isNoList() }
      var rows: [Row] = []
      for (index, element) in array.enumerated() {
        place.line = index < lines.count ? lines[index] : nil
        guard let table = element.table else { throw isNoList() }
        rows.append(Row(name: name, table: table, place: place))
      }
      return rows
    }

    func check(_ known: [String]) throws(Failure) {
      for key in table.keys where !known.contains(key) {
        throw place.saying(
          "There is no key \(name).\(key).",
          nearest(to: key, among: known).map { "Did you mean \($0)?" }
            ?? "The keys are \(known.joined(separator: ", ")).")
      }
    }

    func text(_ key: String, or other: String? = nil) throws(Failure) -> String {
      guard let value = table[key] else {
        guard let other else {
          throw place.saying("[[\(name)]] has no \(key).", "Add \(key) = \"…\".")
        }
        return other
      }
      guard value.type == .string, let text = value.string, !text.isEmpty else {
        throw place.saying("\(name).\(key) has a value of the wrong kind.", "It is text in quotes.")
      }
      return text
    }

    func flag(_ key: String, or other: Bool) throws(Failure) -> Bool {
      guard let value = table[key] else { return other }
      guard value.type == .bool, let flag = value.bool else {
        throw place.saying("\(name).\(key) has a value of the wrong kind.", "It is true or false.")
      }
      return flag
    }

    func seconds() throws(Failure) -> Double {
      guard let value = table["every_seconds"] else { return 2 }
      guard let seconds = value.double ?? value.int.map(Double.init), (0.2...60).contains(seconds)
      else {
        throw place.saying(
          "\(name).every_seconds is out of range.", "It is a number from 0.2 to 60.")
      }
      return seconds
    }
  }
}
