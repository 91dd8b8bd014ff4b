import ArgumentParser
import Migrations

struct ExplainCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "What a code means, what chock has done, and what to do next.",
    discussion:
      "Without a code: all of them. docs/failures.md has the same, and what leads to each.")

  @OptionGroup var globals: Globals
  @Argument(help: "Such as CHK-GATE-CLOSED, or GATE-CLOSED.") var code: String?

  func run() async throws {
    try await globals.withoutConfig { output throws(Failure) in
      guard let code else {
        try output.result(
          All(codes: Failure.Code.allCases.map(Explained.init)),
          Failure.Code.allCases.map { "\($0.rawValue): \($0.explanation.meaning)" })
        return 0
      }
      let explained = Explained(try Self.find(code))
      try output.result(explained, explained.lines(output))
      return 0
    }
  }

  private static func find(_ text: String) throws(Failure) -> Failure.Code {
    let name = text.uppercased().replacing("_", with: "-")
    let whole = name.hasPrefix("CHK-") ? name : "CHK-\(name)"
    if let code = Failure.Code(rawValue: whole) { return code }
    let near = nearest(to: whole, among: Failure.Code.allCases.map(\.rawValue))
    throw Failure(
      .notFound, "There is no code \(text.prefix(60)).",
      howToClear: near.map { "Did you mean \($0)?" } ?? "`chock explain` lists all of them.")
  }

  private struct All: Encodable {
    var schema = "chock.CODES/1"
    var codes: [Explained]
  }

  private struct Explained: Encodable {
    var schema = "chock.CODE/1"
    var code: String
    var meaning: String
    var done: String
    var next: String
    var exitCode: Int32

    init(_ code: Failure.Code) {
      self.code = code.rawValue
      meaning = code.explanation.meaning
      done = code.explanation.done
      next = code.explanation.next
      exitCode = Failure(code, "").exitCode
    }

    func lines(_ output: Output) -> [String] {
      [
        output.bold(code), meaning, "chock     \(done)", "You       \(next)",
        "Exit code \(exitCode)",
      ]
    }
  }
}
