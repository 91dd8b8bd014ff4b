import ArgumentParser
import Glibc
import Migrations
import Updating

struct PinCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin",
    abstract: "The PINs of owner and technician, which the panel asks for.",
    discussion: """
      The owner's is asked for when an owner consents, undoes or attests, the technician's when a technician \
      signs in at somebody's device, restores or rolls back. Five wrong ones lock it for five minutes, and \
      longer each time, also over a restart.
      """,
    subcommands: [Set.self, Remove.self])

  struct Set: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set",
      abstract: "Sets a new PIN of 4 to 12 digits, read from standard input; also ends a lock-out.")

    @OptionGroup var globals: Globals
    @OptionGroup var options: Options

    func run() async throws {
      try await globals.session { session throws(Failure) in
        guard let pin = Self.read() else {
          throw Failure(.usage, "No PIN was given.", howToClear: "Type it, or pipe it in.")
        }
        try await session.lookingEngine().setPin(pin, of: options.role)
        try session.output.result(
          Answer(role: options.role, pinSet: true), ["The \(options.role.rawValue)'s PIN is set."])
        return 0
      }
    }

    /// Not as an argument, which every user of the machine can see; from a terminal without an echo.
    private static func read() -> String? {
      guard isatty(STDIN_FILENO) == 1 else { return readLine() }
      var before = termios()
      tcgetattr(STDIN_FILENO, &before)
      var silent = before
      silent.c_lflag &= ~tcflag_t(ECHO)
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
      defer { tcsetattr(STDIN_FILENO, TCSAFLUSH, &before) }
      print("New PIN: ", terminator: "")
      fflush(nil)
      defer { print("") }
      return readLine()
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove",
      abstract: "Removes a PIN: without it nobody attests at the panel, and consent asks for none.",
      aliases: ["clear"])

    @OptionGroup var globals: Globals
    @OptionGroup var options: Options

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.lookingEngine().setPin(nil, of: options.role)
        try session.output.result(
          Answer(role: options.role, pinSet: false),
          ["The \(options.role.rawValue)'s PIN is removed."])
        return 0
      }
    }
  }

  struct Options: ParsableArguments {
    @Option(help: "owner or technician.") var role = Role.owner

    func validate() throws {
      guard role.pinRole == role else {
        throw ValidationError("--role is owner or technician.")
      }
    }
  }

  private struct Answer: Encodable {
    var schema = "chock.PIN/1"
    var role: Role
    var pinSet: Bool
  }
}
