import ArgumentParser
import Migrations
import Storage
import Updating

struct RescueCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "rescue",
    abstract: "What a restore took out of the database: looked at, exported, put in again.",
    discussion: """
      A restore keeps the newer state as a rescue copy, whether a person asked for it or chock undid an update. What \
      is in that copy and not in the snapshot that was put back can be put in again.
      """,
    subcommands: [List.self, Show.self, Salvage.self, Export.self, Apply.self],
    defaultSubcommand: List.self)

  private static func lines(_ rescue: RescueCopy) -> [String] {
    let snapshot = rescue.snapshot ?? "unknown, or gone"
    return [
      SnapshotsCommand.line(rescue.copy),
      rescue.copy.reason == .salvage
        ? "  what could be read of a damaged database, compared with snapshot \(snapshot)"
        : "  taken before snapshot \(snapshot) was put back",
    ]
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list",
      abstract: "The rescue copies, newest first, and files that were set aside.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let document = try RescueCopies(settings: session.config.settings).list()
        var lines = document.copies.flatMap(RescueCommand.lines)
        lines += document.setAside.map { "Set aside: \($0.folder) (not readable as a database)" }
        try session.output.result(document, lines.isEmpty ? ["No rescue copy."] : lines)
        return 0
      }
    }
  }

  struct Show: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "show",
      abstract:
        "How many rows it has otherwise than the snapshot that was put back, or a salvage is compared with."
    )
    @OptionGroup var globals: Globals
    @Argument(help: "The id, from `chock rescue list`.") var id: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let found = try RescueCopies(settings: session.config.settings).show(id)
        let base = found.rescue.snapshot.map { "snapshot \($0)" } ?? "the database"
        var lines = RescueCommand.lines(found.rescue)
        lines += found.tables.map {
          Output.line(
            $0, "in the copy", "in \(base)", isSalvage: found.rescue.copy.mayBeDamaged)
        }
        if found.tables.isEmpty { lines.append("It holds the same rows as \(base).") }
        if let order = Output.order(
          of: id, at: found.rescue.copy.version, after: found.baseVersion)
        {
          lines.append(order)
        }
        lines += Output.note(
          found.rescue.copy.version, found.baseVersion,
          "what the update itself has changed is counted, too")
        if let missing = found.missing {
          lines.append(
            "\(missing) \(missing == 1 ? "row of it is" : "rows of it are") not in the database.")
        }
        try session.output.result(found, lines)
        return 0
      }
    }
  }

  struct Salvage: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "salvage",
      abstract: "Reads out of a damaged database what can still be read, into a snapshot.",
      discussion: """
        Works on a copy; the damaged files stay as they are. The result is compared, table by table, with the newest \
        good snapshot. It is a snapshot itself, and a rescue copy: `chock restore`, `chock diff`, `chock rescue show` and \
        `chock rescue apply` take it.
        """)
    @OptionGroup var globals: Globals
    @Flag(help: "Without a daemon.") var offline = false
    @Argument(
      help: "The run that set the damaged files aside, from `chock rescue list`; else the database."
    )
    var setAsideBy: String?

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.run(
          .salvage(setAsideBy), on: try await session.toolEngine(offline: offline),
          kind: .salvage)
      }
    }
  }

  struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "export",
      abstract: "Writes what it has otherwise as files: JSON lines for each table, and SQL.")
    @OptionGroup var globals: Globals
    @Argument(help: "The id, from `chock rescue list`.") var id: String
    @Option(help: ArgumentHelp("A folder that is not there yet, or empty.", valueName: "folder"))
    var to: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let rescues = RescueCopies(settings: session.config.settings)
        let isSalvage = try rescues.find(id).copy.copy.mayBeDamaged
        let document = try rescues.export(id, to: to, by: Session.user)
        try session.output.result(
          document,
          document.tables.map {
            "\($0.file ?? "no file"): "
              + Output.line(
                $0.difference, "in the copy", "in the older state", isSalvage: isSalvage)
          } + ["Written to \(document.folder), for its owner only."])
        return 0
      }
    }
  }

  struct Apply: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "apply",
      abstract: "Puts in again what the copy has, as far as the database can hold it.",
      discussion: """
        One transaction, with snapshot and checks. A row that has changed in the database as well stays as it is \
        there, and is listed, like one that a constraint refuses or that has no place. Of a salvage only rows that \
        are not there are put in: a row that it has otherwise may be damaged. Where the copy is at a newer version than \
        the database, tables whose rows the update in between changes are left out: update first, then apply it.
        """)
    @OptionGroup var globals: Globals
    @OptionGroup var offline: OfflineOptions
    @Argument(help: "The id, from `chock rescue list`.") var id: String
    @Option(name: .customLong("table"), help: "Only this table. May be repeated.")
    var tables: [String] = []
    @Flag(help: "Also take out rows that the newer state did not have any more.")
    var deletions = false
    @Flag(help: "Of a salvage, also take rows that it has otherwise; their values may be damaged.")
    var changes = false
    @Flag(help: "Put in nothing when something has to be left out.") var strict = false
    @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let rows = Rescuer.Request(
          tables: tables.isEmpty ? nil : tables, deletes: deletions, isStrict: strict,
          changes: changes)
        return try await session.putIn(
          .rescue(id, rows), kind: .rescue, offline, isAgreed: yes,
          question: changes
            ? "Put in what rescue copy \(id) has? Of a salvage, values that it has otherwise may be damaged."
            : "Put in what rescue copy \(id) has?",
          without: session.noYes(
            "Putting rows in again",
            howToClear: "`chock rescue show \(id)` says what it has; add --yes."))
      }
    }
  }
}
