import Migrations
import Storage
import Updating

/// `chock recover --factory`: says what goes and what does not, asks twice, and does it without a daemon.
struct FactoryReset {
  let session: Session
  /// `--yes`, and the name behind `--really-erase`.
  let isAgreed: Bool
  let name: String?
  let attestations: [String]
  let inputs: InputOptions

  private var settings: UpdateSettings { session.config.settings }
  private var fileName: String {
    settings.databasePath.split(separator: "/").last.map(String.init) ?? settings.databasePath
  }

  func callAsFunction() async throws(Failure) -> Int32 {
    let engine: LocalEngine
    let answers: [String: InputValue]
    do throws(Failure) {
      guard try await session.daemon() == nil else { throw Failure.daemonRuns }
      // Before anybody is asked for anything.
      let plan = try Plan(
        catalog: try MigrationCatalog(directory: settings.migrationsDirectory), ledger: .blank,
        goal: .update(to: nil, outOfOrder: false))
      try agree(to: plan)
      answers = try inputs.values(for: plan.inputs, session)
      engine = try await session.offlineEngine()
      try await session.judge(engine, attesting: attestations)
    } catch {
      return try session.show(.refused(.factory, error))
    }
    return try await session.run(.factory(inputs: answers), on: engine, kind: .factory)
  }

  private func agree(to plan: Plan) throws(Failure) {
    if isAgreed || name != nil || !session.hasPerson {
      guard isAgreed, let name else {
        throw Failure(
          .consentMissing, "The factory state is asked for twice; nothing was changed.",
          howToClear: "Add --yes and --really-erase \(fileName).")
      }
      guard name == fileName else {
        throw Failure(
          .consentMissing,
          "--really-erase names \(name), and the database is \(fileName); nothing was changed.",
          file: settings.databasePath, howToClear: "Make sure that it is the right one.")
      }
      return
    }
    for line in lines(plan) { session.output.complain(line) }
    for (question, answer) in [
      ("Type the name of the database's file (\(fileName)) to go on:", fileName),
      ("Nothing brings it back. Type erase:", "erase"),
    ] {
      guard Session.answer({ session.output.complain(question) }) == answer else {
        throw Failure(.consentMissing, "Nothing was changed.")
      }
    }
  }

  private func lines(_ plan: Plan) -> [String] {
    let there = FactoryState(settings: settings).whatThereIs()
    var lines = [
      session.output.bold("Factory state: this is erased, \(ByteCount.text(there.bytes)) in all"),
      "  \(settings.databasePath), with its log; a new one of version \(plan.to) takes its place",
      "  \(there.snapshots) snapshots, pinned ones too, rescue copies and exports",
      "  history, audit, paired devices, tokens and PINs, in \(settings.stateDirectory)",
      "This is not:",
      "  what the application keeps elsewhere, the config, and the system's log",
    ]
    lines += there.copiesElsewhere.map { "  copies of snapshots at \($0)" }
    lines.append("  pages that the card has freed and not overwritten yet (docs/rescue.md)")
    return lines
  }
}
