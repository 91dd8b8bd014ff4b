import Glibc
import Migrations
import Storage
import Synchronization
import TestSupport
import Testing
import Updating

/// One copy of a coach on which the verb is run once with something done to it, recovered, and judged.
struct Trial {
  /// What the run was.
  struct Result {
    /// How many calls all processes made, the supervisor's recovery included.
    var calls: Int
  }

  private let prepared: Prepared
  private let shim: Shim
  /// Such as `update/kill/17`.
  private let name: String
  private let coach: TestCoach

  init(_ prepared: Prepared, _ shim: Shim, _ name: String) throws {
    self.prepared = prepared
    self.shim = shim
    self.name = "\(prepared.scenario.rawValue)/\(name)"
    coach = try TestCoach(prepared.image)
  }

  func run() async throws -> Result {
    var application = prepared.scenario.isInUse ? try ConnectedApplication(coach) : nil
    let call = try coach.start(
      coach.arguments(prepared.arguments),
      environment: prepared.scenario.environment(of: coach, shim))
    let limit = Task {
      do { try await Task.sleep(for: .seconds(60)) } catch { return false }
      call.process.signal(SIGKILL)
      return true
    }
    let answer = await call.answer()
    limit.cancel()
    let hangs = await limit.value
    let result = Result(calls: shim.calls(of: coach))
    let done = shim.faults(of: coach)
    guard done > 0 else { return result }
    let isKill = shim.deed == .kill
    let place = shim.last(of: coach)

    var problems = hangs ? ["it hangs"] : []
    if isKill {
      if ![.exited(0), .exited(1), .exited(2), .signalled(SIGKILL)].contains(answer.end) {
        problems.append("it ended so: \(answer.end)")
      }
    } else {
      if case .signalled = answer.end { problems.append("it crashed") }
      if answer.error.contains("ended without a result") { problems.append("its worker crashed") }
    }
    problems += try await judge(answer, &application)
    let bad = problems
    Figures.numbers.withLock {
      if isKill { $0.kills += done } else { $0.faults += 1 }
      if !bad.isEmpty { $0.bad += 1 }
    }
    if !bad.isEmpty {
      Issue.record(
        """
        CHOCK_TORTURE=\(name) (\(place)): \(bad.joined(separator: "; "))
        chock \(prepared.arguments.joined(separator: " ")): \(answer)
        """)
    }
    return result
  }

  /// What is wrong with how it ended.
  private func judge(
    _ answer: TestCoach.Answer, _ application: inout ConnectedApplication?
  ) async throws -> [String] {
    var problems: [String] = []
    let first = try? answer.document(RunDocument.self)
    let plain = prepared.scenario.environment(of: coach, nil)
    let recovered = try await coach.run(["recover", "--json"], environment: plain)
    let second = try? recovered.document(RunDocument.self)
    let files = try sizes()
    let nothing = try await coach.run(["recover", "--json"], environment: plain)
    if (try? nothing.document(RunDocument.self))?.outcome != .nothingToDo || nothing.code != 0 {
      problems.append("a second recovery did something: \(nothing)")
    }
    if try sizes() != files { problems.append("a second recovery changed files") }
    let onDisk = application == nil ? nil : try await coach.fingerprintOnDisk()
    withExtendedLifetime(application) {}
    application = nil

    guard let state = try? State(of: coach) else {
      return problems + ["the database cannot be read: \(recovered)"]
    }
    if let onDisk, onDisk != state.print { problems.append("the log holds something else") }
    let expected = [prepared.before, prepared.after].filter { $0.print == state.print }
    if expected.isEmpty { problems.append("the database is neither old nor new") }
    if !expected.isEmpty, !expected.contains(where: { $0.version == state.version }) {
      problems.append("the ledger says \(state.version ?? "nothing")")
    }
    if !expected.isEmpty, !expected.contains(where: { $0.journalMode == state.journalMode }) {
      problems.append("the journal mode is \(state.journalMode ?? "unknown")")
    }
    if let most = expected.map(\.bytes).max(), state.bytes > most {
      problems.append("\(state.bytes - most) bytes are lost")
    }
    // What it said itself, what recovery said, and what the history says.
    let history = coach.lastRun.flatMap { $0.id == prepared.lastRun ? nil : $0 }
    let counts = [prepared.before.snapshots, prepared.after.snapshots].sorted()
    // An update that was undone keeps what it had changed.
    let rescued = prepared.scenario == .segments && history?.rescueCopy != nil ? 1 : 0
    if !(counts[0]...counts[1] + rescued).contains(state.snapshots) {
      problems.append("\(state.snapshots) snapshots")
    }
    // A full or broken disk may keep no history; a kill has no such excuse.
    if shim.deed == .kill, state.print != prepared.before.print, history == nil {
      problems.append("the history does not know of it")
    }
    let stored = try SnapshotStore(stateFolder: coach.state, chockVersion: "test").list().map(\.id)
    for (who, document) in [("it", first), ("recovery", second), ("history", history)] {
      guard let document, let outcome = document.outcome else { continue }
      // Says that something is left to do, or that nothing is.
      if outcome == .needsRecovery, who == "it" { continue }
      if outcome == .nothingToDo, who == "recovery" || prepared.arguments == ["recover"] {
        continue
      }
      guard let said = prepared.state(saidBy: outcome) else {
        problems.append("\(who) says \(outcome.rawValue)")
        continue
      }
      if said.print != state.print { problems.append("\(who) says \(outcome.rawValue), falsely") }
      if [.committed, .finished, .restored].contains(outcome), who != "history",
        state.snapshots != prepared.after.snapshots
      {
        problems.append("\(who) says \(outcome.rawValue), and its snapshot is not there")
      }
      if outcome == .restored { problems += rescueProblems(document, who) }
      if let copy = document.rescueCopy, !stored.contains(copy) {
        problems.append("\(who) names a rescue copy that is not there")
      }
    }
    if prepared.scenario.hasUnits {
      let running = SampleUnits.running(in: coach)
      if running != ["one.service", "three.service"] { problems.append("there run \(running)") }
      if prepared.scenario != .unhealthy || state.print != prepared.before.print,
        FileSystem.facts("\(coach.state)/safe-mode.json") != nil
      {
        problems.append("it is told of a safe mode")
      }
    }
    if prepared.scenario == .rescueExport { problems += try rescueExportProblems(answer) }
    if prepared.scenario == .factory { problems += try factoryProblems(state) }
    if prepared.scenario == .rollback { problems += try exportProblems(state) }
    return try problems + tidiness()
  }

  private func sizes() throws -> [String: Int64] {
    Dictionary(
      uniqueKeysWithValues: try coach.files().filter { $1.isRegular }.map { ($0, $1.size) })
  }

  /// What a restore has overwritten was newer than the snapshot.
  private func rescueProblems(_ document: RunDocument, _ who: String) -> [String] {
    if prepared.scenario == .setAside {
      let names = document.setAside.flatMap { try? FileSystem.names(in: $0) } ?? []
      let isAll = ["damaged.sqlite", "damaged.sqlite-wal"].allSatisfy(names.contains)
      return isAll ? [] : ["\(who) names no folder with what there was: \(names)"]
    }
    guard let rescue = document.rescueCopy else { return ["\(who) names no rescue copy"] }
    let print = try? SampleDatabase.fingerprint("\(coach.state)/snapshots/\(rescue).sqlite")
    let wanted = prepared.scenario == .unhealthy ? prepared.rescued : prepared.before.print
    return print == wanted ? [] : ["the rescue copy does not hold what there was"]
  }

  /// What a rollback has taken out is in its export; there is none of one that was not committed.
  private func exportProblems(_ state: State) throws -> [String] {
    let names = try coach.files().map(\.0).filter { $0.hasPrefix("state/exports/") }
    guard state.print == prepared.after.print else {
      return names.isEmpty ? [] : ["\(names) is left"]
    }
    let lines = names.filter { $0.hasSuffix("-note.jsonl") }.map {
      TestCoach.text(coach.folder($0))
    }
    guard names.contains(where: { $0.hasSuffix("/export.json") }), lines.count == 1,
      lines[0].split(separator: "\n").count == 21, lines[0].contains("recorded since")
    else { return ["the export does not hold what went: \(names)"] }
    return []
  }

  /// Everything of the owner's is there, or nothing.
  private func factoryProblems(_ state: State) throws -> [String] {
    let audit = try StateStore(stateFolder: coach.state, chockVersion: "test").audit()
    let entries = audit.entries.map(\.action)
    guard state.print == prepared.after.print else {
      let isWhole = state.snapshots == prepared.before.snapshots && !entries.contains(.factoryState)
      return isWhole ? [] : ["\(state.snapshots) snapshots are left, the audit says \(entries)"]
    }
    let kept = try coach.files().filter { name, facts in
      let bytes = facts.isRegular ? try FileSystem.read(coach.folder(name)) ?? [] : []
      return String(decoding: bytes, as: UTF8.self).contains(Scenario.secret)
    }.map(\.0)
    return (kept.isEmpty ? [] : ["\(kept) still hold what was the owner's"])
      + (entries == [.factoryState] && audit.isWhole ? [] : ["the audit says \(entries)"])
  }

  /// Its document comes last: where that is, everything is.
  private func rescueExportProblems(_ answer: TestCoach.Answer) throws -> [String] {
    let names = Set((try? coach.names(in: Scenario.export)) ?? [])
    guard names.contains("rescue.json") else {
      return answer.code == 0 ? ["it says that it wrote \(names)"] : []
    }
    let lines = names.filter { $0.hasSuffix(".jsonl") }.map {
      TestCoach.text(coach.folder("\(Scenario.export)/\($0)"))
    }
    guard lines.count(where: { $0.contains("recorded since") }) == 1,
      TestCoach.text(coach.folder("\(Scenario.export)/rescue.sql")).hasSuffix("COMMIT;\n")
    else { return ["the export is not whole: \(names)"] }
    return []
  }

  /// What lies about.
  private func tidiness() throws -> [String] {
    var problems: [String] = []
    let names = Set(try coach.files().filter { $1.isRegular }.map(\.0))
    for name in names {
      let isKnown =
        [
          "chock.toml", "coach.db", "state/lock", "state/state.db", Shim.counter,
          "state/safe-mode.json",
        ].contains(name)
        // Recovery has nothing to write down of these: SQLite removes it when something is.
        || [.salvage, .rescueExport].contains(prepared.scenario) && name == "state/state.db-journal"
        || ["migrations/", "state/snapshots/", "state/rescue/", "state/exports/", "units/"]
          .contains(
            where: name.hasPrefix)
      if !isKnown { problems.append("\(name) is left") }
      guard name.hasPrefix("state/snapshots/") else { continue }
      if name.hasSuffix(".sqlite") {
        if !names.contains(name.dropLast(".sqlite".count) + ".json") {
          problems.append("\(name) is not described")
        }
      } else if !name.hasSuffix(".json")
        || !names.contains(name.dropLast(".json".count) + ".sqlite")
      {
        problems.append("\(name) is left")
      }
    }
    let store = SnapshotStore(stateFolder: coach.state, chockVersion: "test")
    for document in try store.list()
    where try SampleDatabase.fingerprint("\(store.folder)/\(document.id).sqlite")
      != document.fingerprint
    {
      problems.append("snapshot \(document.id) is not what it says")
    }
    return problems
  }
}
