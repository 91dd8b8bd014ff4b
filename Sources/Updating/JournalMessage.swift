package import Logging
import Migrations

/// What chock says in the log of its own doing, by the ids that systemd's journal knows it by: the words for a
/// person stand in `systemd/chock.catalog`, and `journalctl -x` shows them.
package enum JournalMessage: String, CaseIterable, Sendable {
  case runStarted = "d565344753b7417e99aa49ee40ba11aa"
  /// The run did what it was asked for.
  case runDone = "dd9e044a5b5e47d6b3bfb99ee8137b27"
  /// The run was refused, rolled back or undone: the old state is in place.
  case runUndone = "6c43312325174ccc98445d921dfa5785"
  case recoveryMode = "7078a8f321414f50952ae3f39025e840"
}

extension Logger {
  /// Says it with the fields that a log is searched by.
  func tell(
    _ words: String, _ message: JournalMessage? = nil, of run: RunDocument? = nil,
    error: Failure? = nil, at level: Level = .notice
  ) {
    var fields: Metadata = [:]
    fields["message_id"] = message.map { "\($0.rawValue)" }
    fields["run"] = run.map { "\($0.id)" }
    fields["phase"] = run?.phase.map { "\($0.rawValue)" }
    fields["outcome"] = run?.outcome.map { "\($0.rawValue)" }
    fields["code"] = error.map { "\($0.code.rawValue)" }
    log(level: level, "\(words)", metadata: fields)
  }

  /// How a run ended.
  package func tell(_ run: RunDocument) {
    let isGood = [.committed, .finished, .nothingToDo].contains(run.outcome) || run.error == nil
    let reason = run.error.map { ": \($0.message)" } ?? ""
    tell(
      "\(run.kind.rawValue) \(run.id): \(run.outcome?.rawValue ?? "not over")\(reason)",
      isGood ? .runDone : .runUndone, of: run, error: run.error,
      at: isGood ? .notice : run.outcome == .needsRecovery ? .error : .warning)
  }
}
