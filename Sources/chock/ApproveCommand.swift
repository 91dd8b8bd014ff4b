import ArgumentParser
import Migrations
import Updating

struct ApproveCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "approve",
    abstract: "Agrees to the plan that another person starts, for 15 minutes.",
    discussion: "Where the config asks for two persons (access.approvals).")

  @OptionGroup var globals: Globals
  @OptionGroup var goal: GoalOptions
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let daemon = try await session.daemonEngine()
      let plan = try await daemon.plan(goal.goal)
      if !yes {
        for line in PlanCommand.lines(plan, session.output) { session.output.complain(line) }
      }
      guard yes || session.confirm("Do you agree that another person starts this?") else {
        throw session.noYes("An approval")
      }
      let approval = try await daemon.approve(plan.hash)
      try session.output.result(
        approval, ["\(approval.by) agrees until \(approval.expiresAt)."])
      return 0
    }
  }
}
