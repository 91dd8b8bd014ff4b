import FoundationEssentials
import Migrations
import Storage
import Subprocess
import SystemPackage

/// The log of chock's unit, from journald: what systemd says of it whole, and of chock's own lines the part that
/// is the same on every coach.
enum DaemonLog {
  static let unit = "chock.service"
  private static let most = 4000

  static func read() async throws(Diagnosis.Missing) -> [UInt8] {
    let bytes: [UInt8]
    do {
      let result = try await Subprocess.run(
        .name("journalctl"),
        arguments: [
          "--unit", unit, "--lines", "\(most)", "--output", "json", "--no-pager", "--quiet",
          "--output-fields=MESSAGE,PRIORITY,SYSLOG_IDENTIFIER,_PID",
        ], input: .none, output: .bytes(limit: 16 << 20), error: .discarded)
      guard result.terminationStatus.isSuccess else {
        throw Diagnosis.Missing("journalctl could not be asked: \(result.terminationStatus).")
      }
      bytes = result.standardOutput
    } catch let missing as Diagnosis.Missing {
      throw missing
    } catch {
      throw Diagnosis.Missing("journalctl could not be asked: there is none, or it says too much.")
    }
    let lines = bytes.split(separator: UInt8(ascii: "\n")).compactMap { line(Array($0)) }
    guard !lines.isEmpty else {
      throw Diagnosis.Missing(
        "journald has no line of \(unit) that this user may read; perhaps `sudo chock diagnose`.")
    }
    return Diagnosis.text(lines)
  }

  private struct Entry: Decodable {
    var message: String?
    var time: String?
    var program: String?
    var pid: String?
    var priority: String?

    enum CodingKeys: String, CodingKey {
      case message = "MESSAGE"
      case time = "__REALTIME_TIMESTAMP"
      case program = "SYSLOG_IDENTIFIER"
      case pid = "_PID"
      case priority = "PRIORITY"
    }
  }

  static func line(_ bytes: [UInt8]) -> String? {
    // A message that is no text is an array of numbers.
    guard let entry = try? JSONDecoder().decode(Entry.self, from: Data(bytes)),
      let message = entry.message
    else { return nil }
    let time =
      entry.time.flatMap { Double($0) }.map { Timestamp.text(secondsSince1970: $0 / 1_000_000) }
    let program = entry.program == "systemd" ? "systemd" : "chock"
    let words = program == "systemd" ? ofSystemd(message) : own(message, entry.priority)
    let pid = entry.pid.flatMap { Int($0) }.map { "[\($0)]" } ?? ""
    return "\(time ?? "?") \(program)\(pid): \(words)"
  }

  /// systemd's words are its own, with the unit's name and description.
  private static func ofSystemd(_ message: String) -> String {
    message.hasPrefix(unit) || message.hasPrefix("Start") || message.hasPrefix("Stop")
      || message.hasPrefix("Scheduled") || message.hasPrefix("Failed") ? message : "…"
  }

  /// How chock's lines begin, as far as that is the same everywhere; what follows may name somebody or something.
  static let beginnings = [
    "The panel is at http://", "The coach's network can reach it",
    "The database passed its full check.",
    "Full check of the database: ", "Recovery mode: ", "The run waits: ", "The run goes on.",
    "The automatic update did not start: ", "The audit could not be written: ",
    "What the coach last said is not known: ",
    "What the coach last said could not be written down: ",
    "The number of a result could not be written: ", "The controller was not told of the update: ",
    "The errors of the application: ", "Errors of the application are compared with before",
    "The watch after the update is over", "systemctl ", "A request failed",
  ]

  /// A severity of syslog(3); below notice it says nothing.
  private static let severities = ["3": "error", "4": "warning", "5": "notice"]

  /// The message, or where standard error was read as swift-log writes it: `TIME LEVEL LABEL: … MESSAGE`.
  private static func own(_ message: String, _ priority: String?) -> String {
    let levels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
    let level =
      message.split(separator: " ").prefix(3).map(String.init).first(where: levels.contains)
      ?? priority.flatMap { severities[$0] }
    let code = message.split(whereSeparator: { " =,:\"[]".contains($0) })
      .compactMap { Failure.Code(rawValue: String($0)) }.first
    let beginning = beginnings.first(where: message.contains)
    let words = [
      level, beginning, code.map { "[\($0.rawValue)]" },
      beginning == nil && code == nil ? "(\(message.utf8.count) bytes)" : nil,
    ].compactMap { $0 }
    return words.joined(separator: " ")
  }
}
