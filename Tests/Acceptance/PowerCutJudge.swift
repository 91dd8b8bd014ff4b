import Migrations
import Storage
import TestSupport
import Updating

/// What must hold after a power cut and a recovery.
extension PowerCutCoach {
  /// Cuts the power, recovers, and says what is not as promised.
  ///
  /// - Parameter lying: the card calls synced what it has not written.
  func problems(after cut: PowerCut, lying: Bool = false) async throws -> [String] {
    let image = try write(cut, lying: lying)
    var problems: [String] = []
    let answer = try await coach.run("recover", "--json")
    do {
      try await judge(cut, answer, &problems)
    } catch {
      problems.append("\(error)")
    }
    if !problems.isEmpty {
      problems.append("recover: \(answer)")
      problems.append(
        "on the disk was: "
          + image.files.map { "\($0.path.dropFirst(root.count + 1)) \($0.content.count)" }
          .joined(separator: ", "))
    }
    return problems
  }

  private func judge(
    _ cut: PowerCut, _ answer: TestCoach.Answer, _ problems: inout [String]
  ) async throws {
    let print = try coach.fingerprint()
    func expect(_ isTrue: Bool, _ words: @autoclosure () -> String) {
      if !isTrue { problems.append(words()) }
    }
    let (isUndone, isDone) = (print == contents.undone, print == contents.done)
    expect(isUndone || isDone, "The content is neither old nor new.")
    if cut.position < milestones.commitBegins, milestones.run != nil {
      expect(isUndone, "The content changed before the commit began.")
    }
    if cut.position >= milestones.isReported {
      expect(print == contents.reported, "What was reported is not there.")
    }
    let version = try coach.ledgerVersion()
    expect(version == contents.versions[print], "The ledger says \(version ?? "nothing").")
    let integrity = try SampleDatabase.value(database, "PRAGMA integrity_check")
    expect(integrity == "ok", "integrity_check: \(integrity ?? "nothing")")

    let recovered: RunDocument = try answer.document()
    switch recovered.outcome {
    case .committed:
      expect(
        isDone && (scenario.kind == .rescue || version == "2"),
        "It calls committed what is not there.")
    case .restored:
      expect(
        scenario.kind == .unhealthy ? isUndone : isDone, "It calls restored what is not there.")
    case .rolledBack, .refused:
      // An update that is rolled back is at 1; a restore that is not, at what was there.
      expect(isUndone, "It calls undone what was done.")
      if recovered.kind == .update { expect(version == "1", "It calls undone what was done.") }
    case .nothingToDo, .finished: break
    case .needsRecovery, nil: problems.append("Recovery did not come to an end.")
    }
    if cut.position >= milestones.hasEnded {
      expect(recovered.outcome == .nothingToDo, "A run that had ended was recovered again.")
    }
    try judgeHistory(cut, version, expect)
    try judgeSnapshots(cut, print, recovered, expect)
    try judgeTidiness(expect)

    let again = try await coach.run("recover", "--json")
    let outcome = try again.document(RunDocument.self).outcome
    expect(again.code == 0 && outcome == .nothingToDo, "A second recovery had to do: \(again)")
    expect(try coach.fingerprint() == print, "A second recovery changed the content.")
  }

  /// The history says about the run what the database says.
  private func judgeHistory(
    _ cut: PowerCut, _ version: String?, _ expect: (Bool, @autoclosure () -> String) -> Void
  ) throws {
    guard let id = milestones.run else { return }
    let run = try StateStore(stateFolder: coach.state, chockVersion: "test").run(id)
      .map { try JSON.decode(RunDocument.self, from: Array($0.utf8)) }
    if cut.position >= milestones.hasEnded {
      expect(run?.outcome != nil, "The history does not know the run that was reported.")
    }
    switch run?.outcome {
    case .committed:
      expect(version == (scenario.kind == .rescue ? "1" : "2"), "The history says committed.")
    case .rolledBack: expect(version == "1", "The history says rolled back.")
    case .restored: expect(version == "1", "The history says restored.")
    default: break
    }
    let isDamaged = try FileSystem.names(in: coach.state).contains { $0.hasSuffix(".damaged") }
    expect(!isDamaged, "The history was damaged.")
  }

  private func judgeSnapshots(
    _ cut: PowerCut, _ print: String, _ recovered: RunDocument,
    _ expect: (Bool, @autoclosure () -> String) -> Void
  ) throws {
    let names = try FileSystem.names(in: store.folder)
    for name in names {
      let isPart =
        name.hasSuffix(".json") && names.contains(name.dropLast(".json".count) + ".sqlite")
        || name.hasSuffix(".sqlite") && names.contains(name.dropLast(".sqlite".count) + ".json")
      expect(isPart, "\(name) is an orphan.")
    }
    let there = try store.list()
    for document in there {
      expect(document.sha256 != nil, "\(document.id) has no digest.")
      do {
        _ = try store.verify(document.id)
      } catch {
        expect(false, "\(document.id) does not verify: \(error)")
      }
    }
    // Promise 2: what is not in the database any more is in a snapshot.
    let (start, end) = (Set(snapshots.start.map(\.id)), Set(snapshots.end.map(\.id)))
    let ids = Set(there.map(\.id))
    expect(start.intersection(end).isSubset(of: ids), "A snapshot was lost.")
    expect(
      ids.isSubset(
        of: start.union(end).union([recovered.snapshotId, recovered.rescueCopy].compactMap { $0 })),
      "An unknown snapshot."
    )
    switch scenario.kind {
    case .update where print == contents.done, .restore where print == contents.done,
      .replace where print == contents.done:
      expect(
        there.contains { $0.fingerprint == contents.undone },
        "No snapshot holds what was there before.")
    default: break
    }
    if let rescue = recovered.rescueCopy {
      expect(ids.contains(rescue), "The rescue copy \(rescue) is not there.")
    }
    if cut.position >= milestones.hasEnded {
      expect(ids == end, "The snapshots are not those that were reported: \(ids), not \(end).")
    }
  }

  private func judgeTidiness(_ expect: (Bool, @autoclosure () -> String) -> Void) throws {
    let state = try FileSystem.names(in: coach.state)
    expect(
      !state.contains { $0.hasPrefix("run.json") || $0.hasSuffix(".partial") },
      "The state folder holds \(state).")
    let work = try FileSystem.names(in: coach.state + "/work")
    expect(work.isEmpty, "state/work holds \(work).")
    let data = try FileSystem.names(in: FileSystem.parent(database))
    // A journal that begins with a zero is not hot: SQLite leaves it there until it writes again
    // (<https://sqlite.org/fileformat2.html#the_rollback_journal>).
    let journal = try FileSystem.read(database + "-journal")
    let isCold = journal?.first ?? 0 == 0
    expect(
      Set(data).isSubset(of: ["coach.db", "coach.db-wal", "coach.db-shm", "coach.db-journal"])
        && isCold, "Beside the database lies \(data).")
  }
}
