import ArgumentParser
import Coach
import Migrations
import Storage

struct ProfileCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "profile",
    abstract: "The tables by which frames, documents and files become readings.",
    subcommands: [Check.self, Show.self])

  struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check",
      abstract: "Checks a profile, and lists what it reads.",
      discussion: "0, or 65 when something is wrong with it: file, line and what would be right.")

    @OptionGroup var globals: Globals
    @Argument(help: "A TOML file, or the name of a built-in profile.") var file: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let profile = try Profile.load(file)
        let document = Document(
          name: profile.name,
          dgns: profile.dgns.map { "0x" + String($0, radix: 16, uppercase: true) },
          paths: profile.paths, files: profile.files, rows: profile.lines)
        try session.output.result(
          document, ["\(profile.name): good.", ""] + profile.lines.map { "  \($0)" })
        return 0
      }
    }

    private struct Document: Encodable {
      var schema = "chock.PROFILE/1"
      var name: String
      var dgns: [String]
      var paths: [String]
      var files: [String]
      var rows: [String]
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show",
      abstract: "Prints a built-in profile, to be copied and changed; without a name, their names.")

    @OptionGroup var globals: Globals
    @Argument(help: "Such as rvc.") var name: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        guard let name else {
          try session.output.result(Profile.builtInNames, Profile.builtInNames)
          return 0
        }
        guard let text = Profile.text(ofBuiltIn: name) else {
          throw Failure(
            .notFound, "There is no built-in profile \(name).",
            howToClear: "There are \(Profile.builtInNames.joined(separator: ", ")).")
        }
        print(text, terminator: "")
        return 0
      }
    }
  }
}

extension Profile {
  /// - Parameter name: of a built-in one, or a path.
  /// - Throws: `.coachFile` with file and line.
  static func load(_ name: String) throws(Failure) -> Profile {
    if let builtIn = builtIn(name) { return builtIn }
    guard name.contains("/") || name.hasSuffix(".toml") else {
      throw Failure(
        .notFound, "There is no built-in profile \(name).",
        howToClear:
          "There are \(builtInNames.joined(separator: ", ")); a file is named with its path.")
    }
    guard let bytes = try FileSystem.read(name) else {
      throw Failure(.notFound, "There is no profile \(name).", file: name)
    }
    do {
      return try Profile(text: String(decoding: bytes, as: UTF8.self), file: name)
    } catch {
      throw Failure(
        .coachFile, error.message, file: error.file, line: error.line,
        howToClear: error.howToClear)
    }
  }
}
