import ArgumentParser
import Glibc
import Migrations

struct PinCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pin", abstract: "The owner's PIN: asked for when the owner attests a reading.",
    subcommands: [Set.self, Clear.self])

  struct Set: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "set",
      abstract: "Sets a new PIN of 4 to 12 digits, read from standard input; also ends a lock-out.")

    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        guard let pin = Self.read() else {
          throw Failure(.usage, "No PIN was given.", howToClear: "Type it, or pipe it in.")
        }
        try await session.lookingEngine().setPin(pin)
        try session.output.result(Answer(pinSet: true), ["The PIN is set."])
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

  struct Clear: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "clear", abstract: "Removes the PIN: the owner can attest nothing without one.")

    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.lookingEngine().setPin(nil)
        try session.output.result(Answer(pinSet: false), ["The PIN is removed."])
        return 0
      }
    }
  }

  private struct Answer: Encodable {
    var schema = "chock.PIN/1"
    var pinSet: Bool
  }
}
