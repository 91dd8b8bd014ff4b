import Glibc
import Migrations
import TestSupport
import Updating

extension TestCoach {
  /// A person at a terminal, who types each line when a question is on the screen, and what the screen shows.
  func talk(_ lines: [String], _ verb: String = "recover") async throws -> Answer {
    let typed = folder("typed-\(UInt64.random(in: 0...(.max)))")
    guard mkfifo(typed, 0o600) == 0 else { throw Failure(.inputOutput, "mkfifo: \(errno)") }
    // Both ways, so that nobody waits for the other end.
    let keyboard = open(typed, O_RDWR | O_CLOEXEC)
    defer { close(keyboard) }
    let call = try start(
      ["-qec", "cd \(folder.path) && \(TestCoach.binary) \(verb) --no-color", "/dev/null"],
      input: typed, binary: "/usr/bin/script")
    var seen = 0
    for line in lines {
      try await waitUntil("there is a question for \(line)") {
        call.process.end != nil || Self.asks(call.output.utf8.dropFirst(seen))
      }
      seen = call.output.utf8.count
      // Who has ended asks nothing any more.
      guard call.process.end == nil else { break }
      _ = write(keyboard, line + "\n", line.utf8.count + 1)
    }
    return await call.answer()
  }

  /// Whether what has come since the last answer ends with a question; the answer itself is shown, too, and ends its
  /// line.
  private static func asks(_ text: Substring.UTF8View) -> Bool {
    let text = String(decoding: text, as: UTF8.self)
    let lines = text.split(whereSeparator: \.isNewline)
    guard text.contains(where: \.isNewline),
      let last = lines.last(where: { !$0.allSatisfy(\.isWhitespace) })
    else { return false }
    return ["Which ", "Why ", "To which ", "Into which "].contains { last.hasPrefix($0) }
      || last.contains("Type ") || last.contains("[y/N]")
  }

  /// The number of a step on a screen of `chock recover`.
  func step(_ title: String) async throws -> String {
    let screen = try await talk(["q"]).output
    let line = screen.split(whereSeparator: \.isNewline).first { $0.contains(title) }
    guard let number = line?.split(separator: " ").first else {
      throw Failure(.notFound, "\(title) is not on the screen: \(screen)")
    }
    return String(number)
  }
}
