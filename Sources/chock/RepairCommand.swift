import ArgumentParser
import Authoring
import Migrations
import Storage
import Updating

struct RepairCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "repair",
    abstract:
      "Accepts an applied file that has changed, or a schema that somebody else has changed.",
    discussion: """
      Changes neither schema nor rows. The ledger gets the checksum of the file as it is now; who accepted \
      what, and why, is written into the audit. Without --reason it only shows what there is: 0 nothing, 65 \
      something.
      """)

  @OptionGroup var globals: Globals
  @Option(
    help: ArgumentHelp(
      "Why it is right as it is; a person will read it in `chock audit`.", valueName: "words"))
  var reason: String?
  @Flag(name: .shortAndLong, help: "Do not ask.") var yes = false

  func validate() throws {
    guard reason != nil || !yes else { throw ValidationError("Give a --reason.") }
    try reason.map(checkReason)
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let updater = session.localUpdater()
      if reason != nil { try await updater.checkCanMend() }
      let found = try await updater.repair()
      let lines = Self.lines(found)
      guard found.isNeeded, let reason else {
        try session.output.result(found, lines)
        return found.isNeeded ? 65 : 0
      }
      if !yes {
        for line in lines { session.output.complain(line) }
        guard session.confirm("Accept this?") else {
          throw session.noYes("A repair")
        }
      }
      _ = try await updater.accept(seen: found.hash, reason: reason, by: Session.user)
      try session.output.result(found, lines + ["Accepted: \(reason)"])
      return 0
    }
  }

  private static func lines(_ found: Repair) -> [String] {
    var lines = found.files.flatMap { file in
      [
        "\(file.file) changed after it was applied:", "  SHA-256 was \(file.before)",
        "  SHA-256 is  \(file.now)",
      ]
    }
    if !found.drift.isEmpty {
      lines.append(
        "The schema is not what the applied migrations make (`chock diff` shows it in full):")
      lines += found.drift.map { "  \($0.kind) \($0.object) \($0.name)" }
    }
    if let problem = found.driftProblem {
      lines.append("Whether the schema has drifted cannot be told: \(problem.message)")
    }
    if let accepted = found.accepted {
      lines.append("  accepted by \(accepted.actor) at \(accepted.at): \(accepted.reason)")
    }
    if !found.isNeeded {
      lines.append("Nothing to repair.")
    }
    return lines
  }
}

/// - Throws: what is wrong with words that a person will read in the audit.
func checkReason(_ words: String) throws(ValidationError) {
  guard AuditEntry.isReason(words) else {
    throw ValidationError("--reason must be \(AuditEntry.reasonRule).")
  }
}

struct AuditCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "audit",
    abstract: "Who accepted, attested, paired or broke what, and why; oldest first.",
    discussion: """
      Each entry is chained to the one before it. 0, or 65 when one was changed, one is missing between \
      others, or a damaged history was set aside, and the entries with it.
      """
  )

  @OptionGroup var globals: Globals

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let (entries, isWhole) = try session.history.audit()
      try session.output.result(
        AuditDocument(isWhole: isWhole, setAside: session.history.setAside, entries: entries),
        entries.isEmpty ? ["Nothing yet."] : entries.map(Self.line))
      if !isWhole {
        session.output.complain("chock: Entries of the audit were changed, or are missing.")
      }
      let aside = session.history.setAside
      if !aside.isEmpty {
        session.output.complain(
          "chock: Older entries may be in \(aside.joined(separator: ", ")): the history was damaged."
        )
      }
      return isWhole && aside.isEmpty ? 0 : 65
    }
  }

  private static func line(_ entry: AuditEntry) -> String {
    let what =
      switch entry.action {
      case .acceptChecksum:
        "accepted the changed file of version \(entry.version ?? "?") of \(entry.databasePath)"
      case .acceptDrift: "accepted drift of the schema of \(entry.databasePath)"
      case .adopt: "adopted \(entry.databasePath) at version \(entry.accepted)"
      case .exportRescue: "exported the rescue copy \(entry.accepted)"
      case .attest: "attested \(entry.accepted)"
      case .endAttestation: "\(entry.accepted) ended"
      case .breakLock: "broke the lock \(entry.accepted)"
      case .forget: "had \(entry.accepted) forgotten"
      case .makeCode: "made a pairing code (\(entry.accepted))"
      case .pair: "was paired"
      case .signIn: "signed in as \(entry.accepted)"
      case .signOut: "signed out as \(entry.accepted)"
      case .revoke: "took out \(entry.accepted)"
      case .makeToken: "made a token for \(entry.accepted)"
      case .setPin: "PIN of the \(entry.accepted)"
      case .approve: "agreed to the plan \(entry.accepted)"
      case .schedule: "consented to the update to \(entry.accepted)"
      case .unschedule: "withdrew what was decided of the update to \(entry.accepted)"
      case .postpone: "put off the update to \(entry.accepted)"
      case .cancel: "cancelled the run \(entry.accepted)"
      case .confirm: "confirmed the update \(entry.accepted)"
      case .acknowledge: "took note of the run \(entry.accepted)"
      case .deleteSnapshot: "deleted the snapshot \(entry.accepted)"
      case .leaveRecovery: "ended recovery mode (\(entry.accepted))"
      case .factoryState: "went back to the factory state of version \(entry.accepted)"
      case .refuse: "was refused \(entry.accepted)"
      }
    return "\(entry.at)  \(entry.actor)  \(what): \(entry.reason)"
  }

  private struct AuditDocument: Encodable {
    var schema = "chock.AUDIT/1"
    var isWhole: Bool
    /// Damaged files that were taken out of use.
    var setAside: [String]
    var entries: [AuditEntry]
  }
}
