import ArgumentParser
import Migrations
import Updating

struct ScheduleCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "schedule", abstract: "What is decided about the pending update for later.",
    discussion: "The daemon keeps it, also over restarts, and starts the update.",
    subcommands: [Show.self, Window.self, Remind.self, Skip.self, Clear.self],
    defaultSubcommand: Show.self)

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show", abstract: "What is decided, or why it came to nothing.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let schedule = try await session.daemonEngine().status().schedule
        try session.output.result(
          Shown(schedule: schedule),
          schedule?.lines ?? ["Nothing is decided: a pending update is offered."])
        return 0
      }
    }
  }

  struct Window: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "window",
      abstract:
        "Consents to the update in a window to come, at the first moment when the coach is safe.")
    @OptionGroup var globals: Globals
    @OptionGroup var inputs: InputOptions
    @OptionGroup var goal: GoalOptions
    @Option(
      help: "02:00 of the device's clock, or a time as RFC 3339; else the maintenance window.")
    var at: String?
    @Flag(name: .shortAndLong, help: "Consent to the plan that `chock plan` shows.") var yes = false

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let daemon = try await session.daemonEngine()
        let plan = try await daemon.plan(goal.goal)
        let answers = try inputs.values(for: plan.inputs, session)
        if !yes {
          for line in PlanCommand.lines(plan, session.output) { session.output.complain(line) }
        }
        guard yes || session.confirm("Update the database then?") else {
          throw session.noYes("An update")
        }
        return try session.show(
          try await daemon.schedule(goal.goal, inputs: answers, planHash: plan.hash, at: at))
      }
    }
  }

  struct Remind: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remind", abstract: "Says nothing of the update for a while.")
    @OptionGroup var globals: Globals
    @Option(help: ArgumentHelp("Up to 720.", valueName: "number")) var hours = 24.0

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try session.show(try await session.daemonEngine().postpone(.remind, hours: hours))
      }
    }
  }

  struct Skip: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "skip", abstract: "Says nothing of this version any more.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try session.show(try await session.daemonEngine().postpone(.skip, hours: nil))
      }
    }
  }

  struct Clear: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "clear", abstract: "Withdraws it: a pending update is offered again.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.daemonEngine().clearSchedule()
        try session.output.result(Shown(schedule: nil), ["Nothing is decided any more."])
        return 0
      }
    }
  }

  fileprivate struct Shown: Encodable {
    var schema = "chock.SCHEDULE/1"
    var schedule: Schedule?
  }
}

extension Session {
  fileprivate func show(_ schedule: Schedule) throws(Failure) -> Int32 {
    try output.result(ScheduleCommand.Shown(schedule: schedule), schedule.lines)
    return 0
  }
}

extension Schedule {
  fileprivate var lines: [String] {
    let what =
      switch action {
      case .window: "Update to \(version) between \(at ?? "?") and \(until ?? "?")"
      case .remind: "Nothing is said of the update to \(version) until \(at ?? "?")"
      case .skip: "Nothing is said of the update to \(version)"
      }
    return ["\(what) (\(requestedBy))."]
      + (lapsedReason.map {
        ["It came to nothing: \($0)", "`chock schedule clear` takes note of that."]
      } ?? [])
  }
}
