import Coach
import Glibc
import Migrations
import Storage
import Updating

/// Results to standard output, progress and failures to standard error.
struct Output: Sendable {
  let json: Bool
  private let showsProgress: Bool
  private let isTerminal: Bool
  private let hasColor: Bool

  init(json: Bool, noColor: Bool, quiet: Bool) {
    self.json = json
    isTerminal = isatty(STDERR_FILENO) == 1
    showsProgress = !quiet
    hasColor = !noColor && getenv("NO_COLOR") == nil && isatty(STDOUT_FILENO) == 1
  }

  /// Prints a result: the document with `--json`, else the lines.
  func result(_ document: some Encodable, _ lines: [String]) throws(Failure) {
    if json {
      print(try JSON.text(document))
    } else {
      for line in lines { print(line) }
    }
  }

  /// Standard output is kept back where it is no terminal.
  func flush() { fflush(nil) }

  private struct ErrorDocument: Encodable {
    var schema = "chock.ERROR/1"
    var error: Failure
  }

  func failure(_ failure: Failure) {
    if json, let text = try? JSON.text(ErrorDocument(error: failure)) { print(text) }
    complain("chock: " + Self.words(failure).joined(separator: "\n  "))
  }

  /// What a failure says, a line each.
  static func words(_ failure: Failure) -> [String] {
    var lines = ["\(failure.message) [\(failure.code.rawValue)]"]
    if let file = failure.file {
      lines.append("at \(file)" + (failure.line.map { ":\($0)" } ?? ""))
    }
    if let statement = failure.statement {
      lines += statement.split(separator: "\n").map { "| \($0)" }
    }
    if let howToClear = failure.howToClear { lines.append("To do: \(howToClear)") }
    return lines
  }

  func complain(_ text: String) {
    endProgress()
    write(text + "\n")
  }

  // MARK: Progress

  func progress(_ event: Event) {
    // A warning is no progress: it is said in any case.
    if event.type == .log { return complain(event.message ?? "") }
    guard showsProgress else { return }
    switch event.type {
    case .phase where !isTerminal:
      write("\(event.phase?.rawValue ?? "")\n")
    case .phase, .progress:
      guard isTerminal else { return }
      let percent = event.fraction.map { "\(Int($0 * 100)) %" } ?? ""
      let filled = Int((event.fraction ?? 0) * 24)
      let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 24 - filled)
      let words = event.message ?? event.phase?.rawValue ?? ""
      write("\r\u{1B}[K[\(bar)] \(percent)  \(words.prefix(60))")
    default: break
    }
  }

  /// The same of what is done beside the runs.
  func progress(_ run: RunDocument) {
    guard showsProgress, isTerminal, let message = run.message else { return }
    let percent = run.done.flatMap { done in
      run.total.flatMap { $0 > 0 ? " \(done * 100 / $0) %" : nil }
    }
    write("\r\u{1B}[K\(message.prefix(60))\(percent ?? "")")
  }

  func endProgress() {
    if isTerminal, showsProgress { write("\r\u{1B}[K") }
  }

  private func write(_ text: String) {
    let bytes = Array(text.utf8)
    _ = bytes.withUnsafeBytes { Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
  }

  /// True where a table can be drawn anew in its place.
  var isLive: Bool { !json && isatty(STDOUT_FILENO) == 1 }

  /// Prints lines; live, in the place of those before.
  func screen(_ lines: [String], isLive: Bool) {
    // Home, each line with what was behind it cleared, then everything below.
    let text =
      isLive
      ? "\u{1B}[H" + lines.map { $0 + "\u{1B}[K\n" }.joined() + "\u{1B}[J"
      : lines.map { $0 + "\n" }.joined()
    print(text, terminator: "")
    flush()
  }

  // MARK: Words

  func line(_ gate: GateDocument) -> String {
    let mark = mark(gate.state == .satisfied ? true : gate.state == .violated ? false : nil)
    let clear = gate.state == .satisfied ? "" : gate.howToClear.map { " \($0)" } ?? ""
    return "\(mark) \(gate.title): \(gate.reason)\(clear)"
      + (gate.required ? "" : " (not required)")
  }

  func bold(_ text: String) -> String { hasColor ? "\u{1B}[1m\(text)\u{1B}[0m" : text }

  func mark(_ isGood: Bool?) -> String {
    switch isGood {
    case true: hasColor ? "\u{1B}[32m✓\u{1B}[0m" : "✓"
    case false: hasColor ? "\u{1B}[31m✗\u{1B}[0m" : "✗"
    case nil: hasColor ? "\u{1B}[33m?\u{1B}[0m" : "?"
    }
  }

  static func seconds(_ seconds: Double) -> String {
    seconds < 10 ? "\((seconds * 10).rounded() / 10) s" : "\(Int(seconds.rounded())) s"
  }

  /// The first of many names, and how many more there are.
  private static func list(_ names: [String], most: Int = 8) -> String {
    let more = names.count - most
    return names.prefix(most).joined(separator: ", ") + (more > 0 ? " and \(more) more" : "")
  }

  private static func line(_ table: ImportedTable) -> String {
    let counts = [
      (table.added, "added"), (table.filled, "filled"), (table.same, "there already"),
      (table.conflicts, "with something else by now"),
    ]
    let words = counts.filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }.joined(separator: ", ")
    let examples = table.examples.isEmpty ? "" : " (\(table.examples.joined(separator: "; ")))"
    return "\(table.table): \(words.isEmpty ? "nothing" : words)\(examples)"
  }

  /// What a rollback takes out of the database.
  func lines(losses: [Loss]) -> [String] {
    losses.map { loss in
      let what = loss.columns.map { "the values of \($0.joined(separator: ", ")) in " } ?? ""
      let only = loss.isUnreadable == true ? ", which cannot be read: only in the snapshot" : ""
      return "Goes: \(what)\(loss.rows) \(loss.rows == 1 ? "row" : "rows") of \(loss.table)\(only)"
    }
  }

  /// What a restore takes out of the database.
  func lines(_ losses: LossDocument) -> [String] {
    let versions =
      losses.snapshotVersion == losses.currentVersion
      ? "" : " (version \(losses.snapshotVersion ?? "?"), now \(losses.currentVersion ?? "?"))"
    guard !losses.tables.isEmpty else {
      return ["The database holds the same rows as the snapshot of \(losses.takenAt)\(versions)."]
    }
    return ["Otherwise than in the snapshot of \(losses.takenAt)\(versions):"]
      + losses.tables.map { "  " + Self.line($0, "here", "in the snapshot") }
      + Self.note(
        losses.currentVersion, losses.snapshotVersion,
        "what the update itself has changed is counted, too")
  }

  /// How many rows of a table differ.
  ///
  /// - Parameters:
  ///   - after: where the later state is; likewise `before`.
  ///   - isSalvage: the later state is what could be read: what it has not may be lost, and was not deleted.
  static func line(
    _ table: TableDifference, _ after: String, _ before: String, isSalvage: Bool = false
  ) -> String {
    func rows(_ count: Int64) -> String { "\(count) \(count == 1 ? "row" : "rows")" }
    func columns(_ names: [String]?, _ values: Int64, _ side: String) -> String? {
      guard let names else { return nil }
      let filled = values > 0 ? ", with values in \(rows(values))" : ""
      return
        "\(names.count == 1 ? "column" : "columns") \(names.joined(separator: ", ")) only \(side)\(filled)"
    }
    var words: [String] = []
    switch table.only {
    case .after: words.append("only \(after), \(rows(table.rowsAfter))")
    case .before: words.append("only \(before), \(rows(table.rowsBefore))")
    case nil:
      words += [
        (table.added, isSalvage ? "more" : "added"),
        (table.changed, isSalvage ? "otherwise" : "changed"),
        (table.deleted, isSalvage ? "not there" : "deleted"),
      ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
    }
    words += [
      columns(table.columnsAfter, table.valuesAfter, after),
      columns(table.columnsBefore, table.valuesBefore, before),
      table.isByCount == true ? "its rows cannot be told apart, and differ" : nil,
    ].compactMap { $0 }
    return "\(table.table): \(words.joined(separator: ", "))"
  }

  /// That two states are at different versions.
  static func note(_ copy: String?, _ other: String?, _ words: String) -> [String] {
    guard let copy, let other, copy != other else { return [] }
    return ["They are at different versions, \(copy) and \(other): \(words)."]
  }

  /// What comes first where a copy is of a newer version than the database; nil where nothing has to.
  static func order(of copy: String, at version: String?, after other: String?) -> String? {
    guard let newer = version.flatMap({ SchemaVersion($0) }),
      let older = other.flatMap({ SchemaVersion($0) }), newer > older
    else { return nil }
    return
      "When the application's software is mended: update first (`chock update`), then `chock rescue apply \(copy)` puts in what was recorded with version \(newer)."
  }

  /// What became of the rows of a rescue copy.
  private func lines(rescued tables: [RescuedTable]) -> [String] {
    guard !tables.isEmpty else { return ["It has nothing that the snapshot had not."] }
    return tables.flatMap { table in
      let counts = [
        (table.added, "added"), (table.changed, "changed"), (table.deleted, "deleted"),
        (table.same, "there already"), (table.conflicts, "left out"),
        (table.withoutPlace, "with something that has no place here"),
        (table.keptDeletions, "not in the copy, which stay"),
      ].filter { $0.0 > 0 }.map { "\($0.0) \($0.1)" }
      if let reason = table.leftOut {
        return ["\(table.table): \(counts.joined(separator: ", "))", "  left out: \(reason)."]
      }
      let more = table.conflicts - Int64(table.examples.count)
      return ["\(table.table): \(counts.joined(separator: ", "))"]
        + table.examples.map { "  left out: \($0.row): \($0.reason)" }
        + (more > 0 ? ["  and \(more) more: `chock diff live ID --rows` shows all"] : [])
    }
  }

  /// What could be read of each table, and how that differs from a good snapshot.
  private func lines(_ salvage: Salvage, _ id: String, at version: String?) -> [String] {
    var lines = salvage.problems
    for table in salvage.tables {
      if let problem = table.problem {
        lines.append("\(mark(false)) \(table.table): nothing: \(problem)")
        continue
      }
      var words = ["\(table.read) rows read"]
      if table.unreadablePlaces > 0 {
        words.append(
          table.unreadablePlaces == 1
            ? "1 place could not be read" : "\(table.unreadablePlaces) places could not be read")
        words.append(
          table.lost.map { "\($0) rows lost" } ?? "nobody knows how many rows were there")
      }
      if table.refused > 0 { words.append("\(table.refused) rows refused") }
      if let longer = table.longer { words.append("\(longer) rows with more fields than it has") }
      lines.append("\(mark(table.isWhole)) \(table.table): \(words.joined(separator: ", "))")
      lines += table.examples.map { "    refused: \($0)" }
    }
    guard let base = salvage.comparedWith else {
      return lines + ["There is no good snapshot to compare it with."]
    }
    lines.append("Compared with snapshot \(base):")
    lines += (salvage.differences ?? []).map {
      "  \($0.table): \($0.added) rows more, \($0.changed) changed, \($0.deleted) not there"
    }
    lines.append("  \(salvage.sameTables ?? 0) tables hold the same rows.")
    return lines + way(salvage, base, id, version)
  }

  /// What can be done with a salvage. Its rows only fit a database of its own version.
  private func way(
    _ salvage: Salvage, _ base: String, _ id: String, _ version: String?
  ) -> [String] {
    let place = "`chock restore \(id)` puts it in place."
    guard let version else { return [place] }
    let update =
      version == salvage.comparedVersion
      ? "" : " `chock update --to \(version)` (the salvage is at \(version)),"
    return [
      "\(place) Or `chock restore \(base)`,\(update) then `chock rescue apply \(id)`, which puts in the rows that it has more."
    ]
  }

  /// For an update that its application was not well with.
  static func order(of run: RunDocument) -> String? {
    guard run.kind == .update, run.outcome == .restored, let copy = run.rescueCopy else {
      return nil
    }
    return order(of: copy, at: run.toVersion, after: run.fromVersion)
  }

  /// How a run ended, for a person.
  func lines(_ run: RunDocument) -> [String] {
    var lines: [String] = []
    let from = run.fromVersion ?? "?"
    switch run.outcome {
    case .committed:
      if run.kind == .rescue {
        lines.append(bold("Put in what rescue copy \(run.rescueCopy ?? "?") has."))
        lines += self.lines(rescued: run.rescued ?? [])
        break
      }
      if run.kind == .import {
        lines.append(bold("Imported into version \(run.toVersion ?? "?")."))
        lines += (run.imported ?? []).map(Self.line)
        break
      }
      let verb = run.kind == .rollback ? "Rolled back" : "Updated"
      lines.append(bold("\(verb) to version \(run.toVersion ?? "?") (from \(from))."))
    case .nothingToDo:
      lines.append(
        run.kind == .recover
          ? "Nothing to recover: no run was interrupted."
          : "Nothing to do: the database is at version \(run.toVersion ?? from).")
    case .refused where run.kind == .check && run.found != nil: lines += run.found ?? []
    case .refused where run.kind == .verify && run.snapshotId != nil:
      lines.append(bold("Snapshot \(run.snapshotId ?? "?") is not good. Nothing was changed."))
    case .refused where run.kind == .copy: lines.append(bold("Not everything was copied."))
    case .refused: lines.append(bold("Refused. Nothing was changed."))
    case .rolledBack: lines.append(bold("Put back to version \(from). Nothing was lost."))
    case .restored where [.update, .rollback].contains(run.kind):
      lines.append(
        bold("Put back to version \(from): the application was not well with the new one."))
    case .restored:
      lines.append(
        bold("Restored snapshot \(run.snapshotId ?? "?") (version \(run.toVersion ?? "unknown"))."))
    case .needsRecovery:
      lines.append(bold("A person is needed. Nothing more is changed on its own."))
    case .finished:
      let words =
        switch run.kind {
        case .rehearse: "The rehearsal went well: the update would succeed."
        case .salvage: bold("What could be read is snapshot \(run.snapshotId ?? "?").")
        case .check where run.found == nil: "The database is sound: nothing was found."
        case .check: "The database is sound; these rows do not keep what their tables say:"
        case .copy: "Copied, and read back."
        case .fetch: "Fetched snapshot \(run.snapshotId ?? "?"): it is what was copied, and sound."
        case .factory:
          bold(
            "Factory state: a new database of version \(run.toVersion ?? "?"), and nothing else.")
        case .verify where run.isTestRestored == true:
          "Snapshot \(run.snapshotId ?? "?") restores to what was kept."
        case .verify: "Snapshot \(run.snapshotId ?? "?") is what was written, and sound."
        default: "Done."
        }
      lines.append(words)
      if run.kind == .check { lines += run.found ?? [] }
      if let erased = run.erased {
        lines.append(
          "Erased: the database, \(erased.snapshots) snapshots and everything beside them, \(ByteCount.text(erased.bytes))."
        )
        lines += erased.copiesElsewhere.map { "Not erased: copies of snapshots at \($0)" }
      }
      if let salvage = run.salvage {
        lines += self.lines(salvage, run.snapshotId ?? "ID", at: run.fromVersion)
      }
    case nil where run.phase == .prove:
      lines.append("The application is on probation; chock goes on with it at its next start.")
    case nil: lines.append("Still running: \(run.phase?.rawValue ?? "").")
    }
    if let rehearsal = run.rehearsal {
      lines.append(
        "Rehearsal: \(rehearsal.statements) statements in \(Self.seconds(rehearsal.seconds)); needs \(ByteCount.text(rehearsal.peakBytes)) beside the database; touches \(Self.list(rehearsal.touchedTables))."
      )
    }
    lines += (run.warnings ?? []).map { "Warning: \($0.message)" }
    lines += self.lines(losses: run.rehearsal?.losses ?? [])
    if run.kind == .rollback, let folder = run.exportFolder {
      lines.append("What went is kept in \(folder)")
    }
    if let snapshot = run.snapshotId, [.update, .rollback, .rescue, .snapshot].contains(run.kind) {
      lines.append("Snapshot: \(snapshot)")
    }
    if let rescue = run.rescueCopy, run.kind != .rescue {
      lines.append("What was there before the restore: snapshot \(rescue)")
      lines += Self.order(of: run).map { [$0] } ?? []
    }
    if let folder = run.setAside { lines.append("The damaged files are kept in \(folder)") }
    if !run.phases.isEmpty {
      lines.append(
        "Took: "
          + run.phases.map { "\($0.phase.rawValue) \(Self.seconds($0.seconds))" }
          .joined(separator: ", "))
    }
    return lines
  }
}
