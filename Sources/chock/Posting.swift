import Subprocess
import SystemPackage

/// A document that is sent to somebody who wants to know: by curl, which speaks TLS with the system's
/// certificates (docs/decisions/0042).
enum Posting {
  /// - Parameters:
  ///   - url: `http://…` or `https://…`
  ///   - headers: `Name: value`
  /// - Returns: why it did not arrive; nil when it did.
  static func send(_ body: String, to url: String, headers: [String]) async -> String? {
    // On standard input: what stands in arguments can be read by every program of the machine.
    let lines =
      ["url = \(quoted(url))", "data-raw = \(quoted(body))"]
      + headers.map { "header = \(quoted($0))" }
    do {
      let result = try await Subprocess.run(
        .name("curl"),
        arguments: [
          "--disable", "--silent", "--show-error", "--fail", "--max-time", "10",
          "--proto", "=http,https", "--config", "-",
        ],
        input: .string(lines.joined(separator: "\n")), output: .discarded,
        error: .string(limit: 4096))
      guard !result.terminationStatus.isSuccess else { return nil }
      let words = result.standardError.filter { !$0.isNewline }
      return words.isEmpty ? "curl ended with \(result.terminationStatus)." : words
    } catch {
      return "curl could not be started: \(error)"
    }
  }

  /// As curl's config files have it (curl(1), --config).
  private static func quoted(_ text: String) -> String {
    var quoted = "\""
    for character in text.unicodeScalars {
      switch character {
      case "\"": quoted += "\\\""
      case "\\": quoted += "\\\\"
      case "\n": quoted += "\\n"
      case "\r": quoted += "\\r"
      case "\t": quoted += "\\t"
      default: quoted.unicodeScalars.append(character)
      }
    }
    return quoted + "\""
  }
}
