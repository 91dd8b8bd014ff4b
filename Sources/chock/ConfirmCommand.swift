import ArgumentParser
import Migrations
import Updating

struct ConfirmCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "confirm",
    abstract: "Says that the application is well after an update, and ends its probation early.")

  @OptionGroup var globals: Globals
  @Argument(help: "The run; the one in progress when none is named.") var id: String?

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let daemon = try await session.daemonEngine()
      let status = try await daemon.status()
      guard let id = id ?? status.currentJobId else {
        throw Failure(
          .notFound, "No run is in progress: there is nothing to confirm.",
          howToClear: "`chock history` says how the last one ended.")
      }
      return try session.show(try await daemon.confirm(id))
    }
  }
}
