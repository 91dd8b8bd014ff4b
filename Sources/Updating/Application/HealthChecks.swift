import Coach
import Migrations
import SQLite
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Asks the application how it is. Made before it is started, so that what it does first is noticed.
final class HealthChecks {
  private let checks: [HealthCheck]
  /// What the run has started again, and no check names.
  private let others: [String]
  private let control: ApplicationControl
  private let databasePath: String
  /// Sees what others commit.
  private var connection: Connection?
  private var version: Int64?
  private var wasWritten = false
  /// How often systemd had restarted each unit at the look before.
  private var restarts: [String: Int] = [:]

  /// For one answer.
  private static let patience = 5

  /// - Parameter started: parts of the application that the run starts again. They must not end, whatever the
  ///   config's checks ask: one that crashes and is started again may answer at every look.
  init(_ settings: ApplicationSettings, started: [String], databasePath: String) {
    checks = settings.health
    others = started.filter { !settings.health.contains(.unit($0)) }
    control = ApplicationControl(settings: settings)
    self.databasePath = databasePath
    guard checks.contains(.written) else { return }
    connection = try? Database.open(databasePath)
    version = try? connection?.dataVersion()
  }

  /// What is wrong; nil when all is well.
  func problem() -> String? {
    for check in checks {
      if let problem = problem(with: check) { return problem }
    }
    do throws(Failure) {
      for part in others {
        if let problem = try end(of: part) { return problem }
      }
    } catch {
      return error.message
    }
    return nil
  }

  /// A unit that does its work and ends is well; so only restarts count.
  private func end(of part: String) throws(Failure) -> String? {
    guard part == ApplicationSettings.byCommands else {
      return restart(of: part, try ApplicationControl.unit(part))
    }
    return try control.runs(part) ? nil : "The application does not run."
  }

  private func problem(with check: HealthCheck) -> String? {
    do throws(Failure) {
      switch check {
      case .http(let url, let status, let pointer, let value):
        return try http(url, status, pointer, value)
      case .tcp(let host, let port):
        return Self.connects(host, port) ? nil : "Nobody accepts connections at \(host):\(port)."
      case .command(let command):
        let end = try Program(command: command).run(within: .seconds(Self.patience))
        guard let code = end.code else {
          return "\(command.joined(separator: " ")) did not end within \(Self.patience) s."
        }
        return code == 0 ? nil : "\(command.joined(separator: " ")) ended with \(code)."
      case .unit(let name): return try unit(name)
      case .written:
        return isWritten() ? nil : "The application has not written to the database yet."
      }
    } catch {
      return error.message
    }
  }

  private func unit(_ name: String) throws(Failure) -> String? {
    let unit = try ApplicationControl.unit(name)
    let restart = restart(of: name, unit)
    return unit.isActive ? restart : "\(name) is not active."
  }

  private func restart(of name: String, _ unit: ApplicationControl.Unit) -> String? {
    let before = restarts.updateValue(unit.restarts, forKey: name)
    // Starting it by hand sets the number back.
    guard let before, unit.restarts > before else { return nil }
    return "\(name) was restarted by systemd."
  }

  private func isWritten() -> Bool {
    guard !wasWritten else { return true }
    if connection == nil { connection = try? Database.open(databasePath) }
    guard let now = try? connection?.dataVersion() else { return false }
    wasWritten = version.map { $0 != now } ?? false
    version = version ?? now
    return wasWritten
  }

  /// By curl, as all that chock asks by address (docs/decisions/0042).
  private func http(
    _ url: String, _ status: Int, _ pointer: String?, _ value: String?
  ) throws(Failure) -> String? {
    let end = try Program(
      command: [
        "curl", "--disable", "--silent", "--show-error", "--max-time", "\(Self.patience)",
        "--noproxy", "*", "--proto", "=http", "--max-filesize", "1000000",
        "--write-out", "\n%{http_code}", "--", url,
      ], output: .kept
    ).run(within: .seconds(Self.patience + 2))
    guard end.code == 0, let cut = end.output.lastIndex(of: "\n") else {
      let words = end.output.split(separator: "\n").first { $0.hasPrefix("curl:") }
      return "\(url) does not answer\(words.map { ": \($0)" } ?? "")."
    }
    let answer = end.output[end.output.index(after: cut)...]
    guard answer == "\(status)" else { return "\(url) answered with status \(answer)." }
    guard let pointer, let value else { return nil }
    guard let tree = JSONTree(Array(end.output[..<cut].utf8)), let place = JSONPointer(pointer)
    else { return "\(url) answered with something that is no JSON." }
    let found = place.matches(in: tree).first?.value?.text ?? "nothing"
    return found == value ? nil : "\(url) has \(found) at \(pointer), not \(value)."
  }

  private static func connects(_ host: String, _ port: UInt16) -> Bool {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(host, "\(port)", &hints, &list) == 0 else { return false }
    defer { freeaddrinfo(list) }
    var next = list
    while let address = next?.pointee {
      if connects(address) { return true }
      next = address.ai_next
    }
    return false
  }

  private static func connects(_ address: addrinfo) -> Bool {
    let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let file = socket(address.ai_family, kind | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard file >= 0 else { return false }
    defer { close(file) }
    if connect(file, address.ai_addr, address.ai_addrlen) == 0 { return true }
    guard errno == EINPROGRESS else { return false }
    var request = pollfd(fd: file, events: Int16(POLLOUT), revents: 0)
    guard poll(&request, 1, Int32(patience * 1000)) == 1 else { return false }
    var error: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0
  }
}

extension JSONTree {
  /// As JSON writes it, without quotes; of what has parts only the kind.
  fileprivate var text: String {
    switch self {
    case .null: "null"
    case .flag(let flag): "\(flag)"
    case .number(let number): Int64(exactly: number).map(String.init) ?? "\(number)"
    case .text(let text): text
    case .array: "an array"
    case .object: "an object"
    }
  }
}
