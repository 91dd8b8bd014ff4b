import Foundation
import Migrations
import TestSupport
import Testing

@Suite("docs/failures.md is true")
struct FailureDocumentTests {
  private let root = URL(filePath: #filePath).deletingLastPathComponent()
    .deletingLastPathComponent().deletingLastPathComponent()

  private func document() throws -> String {
    try String(contentsOf: root.appending(path: "docs/failures.md"), encoding: .utf8)
  }

  @Test("It has every code, in the words of `chock explain`")
  func codes() throws {
    let rows = Failure.Code.allCases.map { code in
      let words = code.explanation
      return "| `\(code.rawValue)` | \(words.meaning) | \(words.done) | \(words.next) |\n"
    }
    let table =
      "| code | when it comes | what chock has done | what to do next |\n|---|---|---|---|\n"
    let wanted = table + rows.joined()
    #expect(try document().hasSuffix(wanted), "It should end with:\n\(wanted)")
  }

  @Test("Each of its rows names tests that there are")
  func tests() throws {
    var tests = ""
    let files = FileManager.default.enumerator(
      at: root.appending(path: "Tests"), includingPropertiesForKeys: nil,
      options: .skipsHiddenFiles)
    while let file = files?.nextObject() as? URL {
      guard file.pathExtension == "swift" else { continue }
      tests += try String(contentsOf: file, encoding: .utf8)
    }
    let rows = try document().split(separator: "\n").filter {
      $0.hasPrefix("|") && !$0.hasPrefix("|---") && !$0.hasPrefix("| `CHK")
        && !$0.hasPrefix("| what happens") && !$0.hasPrefix("| code")
    }
    #expect(rows.count > 20)
    for row in rows {
      let names = row.split(separator: "|").last?.split(separator: "\"").filter {
        $0.contains { $0.isLetter }
      }
      #expect(names?.isEmpty == false, "\(row)")
      for name in names ?? [] {
        #expect(tests.contains("(\"\(name)\"") || tests.contains("\n    \"\(name)\""), "\(name)")
      }
    }
  }

  @Test("A code is explained, also in other letters, and one that is none names the nearest")
  func explain() async throws {
    let coach = try TestCoach()
    let shown = try await coach.run("explain", "gate-closed")
    #expect(shown.code == 0)
    #expect(shown.output.contains(Failure.Code.gateClosed.explanation.next), "\(shown)")
    let all = try await coach.run("explain", "--json")
    for code in Failure.Code.allCases { #expect(all.output.contains("\"\(code.rawValue)\"")) }
    let none = try await coach.run("explain", "CHK-GATE-CLOSE")
    #expect(none.code == 66)
    #expect(none.error.contains("CHK-GATE-CLOSED"), "\(none)")
    // It works where the config does not.
    try coach.folder.write("nonsense = ", to: "chock.toml")
    #expect(try await coach.run("explain", "CHK-CONFIG").code == 0)
  }
}
