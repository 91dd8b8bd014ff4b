import Migrations
import Storage
import TestSupport
import Testing
import Updating

/// What goes wrong in a phase.
enum Fault: Hashable, Sendable {
  /// What can go wrong there by itself.
  case error(Trouble)
  /// The worker is killed.
  case workerKilled
  /// The daemon is killed, and the worker finds itself alone.
  case daemonKilled
  /// The worker does nothing any more, and is killed when the time limit and the grace are over.
  case hang
  /// From then on every call of the worker that changes a file fails, or every one that needs space.
  case eio, enospc
  /// The journal of this phase cannot be written, nor any later one.
  case journal
  /// A reading closes a gate while the worker stands still, which then goes on.
  case gate

  /// A cause that needs no help from outside.
  enum Trouble: Sendable {
    case brokenFile, damagedDatabase, badStatement, badReference, historyGone
    case snapshotGone, snapshotDamaged
  }
}

/// For each phase and fault: which phases the run goes through, how it ends, and what is left.
enum FaultTable {
  /// What the database holds at the end.
  enum Content: Sendable {
    case old, new
    /// A part of the plan: a person is needed.
    case between
  }

  struct Row: Sendable, CustomTestStringConvertible {
    var story = Story.update
    var phase = Phase.plan
    /// The phases up to that one.
    var before: [Phase] = []
    var fault: Fault
    /// The phases from then on, in the document of the run when all is over.
    var chain: [Phase]
    /// How the run ended in the end: after recovery, when it came to that.
    var outcome: Outcome
    var code: Failure.Code?
    var content: Content
    /// Which snapshots are there.
    var left: [SnapshotDocument.Reason]
    /// Of the command that started the run.
    var exit: Int32

    init(
      _ fault: Fault, _ chain: String, _ outcome: Outcome, _ code: Failure.Code?,
      _ content: Content, _ left: String, exit: Int32
    ) {
      self.fault = fault
      self.chain = Self.phases(chain)
      self.outcome = outcome
      self.code = code
      self.content = content
      self.left = left.split(separator: " ").map { $0 == "rescue" ? .beforeRestore : .beforeUpdate }
      self.exit = exit
    }

    static func phases(_ words: String) -> [Phase] {
      words.split(separator: " ").compactMap { Phase(rawValue: String($0)) }
    }

    var testDescription: String { "\(story), \(phase.rawValue): \(fault)" }
  }

  static let rows: [Row] =
    block(
      .update, .plan, after: "",
      [
        .init(.error(.brokenFile), "plan", .refused, .migrationFile, .old, "", exit: 65),
        .init(.workerKilled, "plan", .rolledBack, .interrupted, .old, "", exit: 1),
        .init(.daemonKilled, "plan", .refused, .interrupted, .old, "", exit: 69),
        .init(.hang, "plan", .rolledBack, .timeout, .old, "", exit: 1),
        .init(.eio, "plan", .rolledBack, .interrupted, .old, "", exit: 74),
        .init(.enospc, "plan safety", .refused, .noSpace, .old, "", exit: 75),
        .init(.journal, "plan", .refused, .inputOutput, .old, "", exit: 74),
        // It is noticed when the worker asks.
        .init(.gate, "plan safety", .refused, .gateClosed, .old, "", exit: 75),
      ])
    // What can go wrong by itself is the gate.
    + block(
      .update, .safety, after: "plan",
      [
        .init(.workerKilled, "safety", .rolledBack, .interrupted, .old, "", exit: 1),
        .init(.daemonKilled, "safety", .refused, .interrupted, .old, "", exit: 69),
        .init(.hang, "safety", .rolledBack, .timeout, .old, "", exit: 1),
        .init(.eio, "safety", .rolledBack, .interrupted, .old, "", exit: 74),
        // What comes next is the journal of the next phase.
        .init(.enospc, "safety snapshot", .refused, .noSpace, .old, "", exit: 75),
        .init(.journal, "safety", .refused, .inputOutput, .old, "", exit: 74),
        .init(.gate, "safety", .refused, .gateClosed, .old, "", exit: 75),
      ])
    + block(
      .update, .snapshot, after: "plan safety",
      [
        .init(.error(.damagedDatabase), "snapshot", .refused, .databaseCorrupt, .old, "", exit: 65),
        .init(.workerKilled, "snapshot", .rolledBack, .interrupted, .old, "", exit: 1),
        .init(.daemonKilled, "snapshot", .refused, .interrupted, .old, "", exit: 69),
        .init(.hang, "snapshot", .rolledBack, .timeout, .old, "", exit: 1),
        .init(.eio, "snapshot", .rolledBack, .interrupted, .old, "", exit: 74),
        .init(.enospc, "snapshot", .refused, .noSpace, .old, "", exit: 75),
        .init(.journal, "snapshot", .refused, .inputOutput, .old, "", exit: 74),
        .init(.gate, "snapshot", .refused, .gateClosed, .old, "", exit: 75),
      ])
    + block(
      .update, .rehearse, after: "plan safety snapshot",
      [
        .init(.error(.badStatement), "rehearse", .refused, .statement, .old, "", exit: 1),
        .init(.workerKilled, "rehearse", .rolledBack, .interrupted, .old, "", exit: 1),
        .init(.daemonKilled, "rehearse", .refused, .interrupted, .old, "", exit: 69),
        .init(.hang, "rehearse", .rolledBack, .timeout, .old, "", exit: 1),
        .init(.eio, "rehearse", .rolledBack, .interrupted, .old, "", exit: 74),
        .init(.enospc, "rehearse", .refused, .noSpace, .old, "", exit: 75),
        .init(.journal, "rehearse", .refused, .inputOutput, .old, "", exit: 74),
        .init(.gate, "rehearse", .refused, .gateClosed, .old, "", exit: 75),
      ])
    + block(
      .update, .apply, after: "plan safety snapshot rehearse",
      [
        .init(.error(.badStatement), "apply", .rolledBack, .statement, .old, "before", exit: 1),
        .init(.workerKilled, "apply", .rolledBack, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "apply", .rolledBack, .interrupted, .old, "before", exit: 69),
        .init(.hang, "apply", .rolledBack, .timeout, .old, "before", exit: 1),
        .init(.eio, "apply", .rolledBack, .interrupted, .old, "before", exit: 1),
        .init(.enospc, "apply verify", .rolledBack, .noSpace, .old, "before", exit: 1),
        .init(.journal, "apply", .rolledBack, .inputOutput, .old, "before", exit: 1),
        .init(.gate, "apply", .rolledBack, .gateClosed, .old, "before", exit: 1),
      ])
    + block(
      .update, .verify, after: "plan safety snapshot rehearse apply",
      [
        .init(.error(.badReference), "verify", .rolledBack, .foreignKeys, .old, "before", exit: 1),
        .init(.workerKilled, "verify", .rolledBack, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "verify", .rolledBack, .interrupted, .old, "before", exit: 69),
        .init(.hang, "verify", .rolledBack, .timeout, .old, "before", exit: 1),
        .init(.eio, "verify", .rolledBack, .interrupted, .old, "before", exit: 1),
        .init(.enospc, "verify", .rolledBack, .noSpace, .old, "before", exit: 1),
        .init(.journal, "verify", .rolledBack, .inputOutput, .old, "before", exit: 1),
        .init(.gate, "verify", .rolledBack, .gateClosed, .old, "before", exit: 1),
      ])
    // Nothing can go wrong by itself: the lock is held, and the space is foreseen.
    + block(
      .update, .commit, after: "plan safety snapshot rehearse apply verify",
      [
        .init(.workerKilled, "commit", .rolledBack, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "commit done", .committed, nil, .new, "before", exit: 69),
        .init(.hang, "commit", .rolledBack, .timeout, .old, "before", exit: 1),
        // Whether it came to pass cannot be asked.
        .init(.eio, "commit", .rolledBack, .interrupted, .old, "before", exit: 2),
        .init(.enospc, "commit", .rolledBack, .noSpace, .old, "before", exit: 1),
        .init(.journal, "commit", .rolledBack, .inputOutput, .old, "before", exit: 1),
        // It is too late.
        .init(.gate, "commit done", .committed, nil, .new, "before", exit: 0),
      ])
    + block(
      .update, .done, after: "plan safety snapshot rehearse apply verify commit",
      [
        .init(.error(.historyGone), "done", .committed, nil, .new, "before", exit: 0),
        .init(.workerKilled, "done", .committed, nil, .new, "before", exit: 0),
        .init(.daemonKilled, "done", .committed, nil, .new, "before", exit: 69),
        .init(.hang, "done", .committed, nil, .new, "before", exit: 0),
        .init(.eio, "done", .committed, nil, .new, "before", exit: 0),
        .init(.enospc, "done", .committed, nil, .new, "before", exit: 0),
        .init(.journal, "done", .committed, nil, .new, "before", exit: 0),
        .init(.gate, "done", .committed, nil, .new, "before", exit: 0),
      ])
    + restores + segments

  private static let restores: [Row] =
    block(
      .restore, .plan, after: "",
      [
        .init(.error(.snapshotGone), "plan", .refused, .notFound, .old, "", exit: 66),
        .init(.workerKilled, "plan", .refused, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "plan", .refused, .interrupted, .old, "before", exit: 69),
        .init(.hang, "plan", .refused, .timeout, .old, "before", exit: 1),
        .init(.eio, "plan", .refused, .interrupted, .old, "before", exit: 74),
        .init(.enospc, "plan safety", .refused, .noSpace, .old, "before", exit: 75),
        .init(.journal, "plan", .refused, .inputOutput, .old, "before", exit: 74),
        .init(.gate, "plan safety", .refused, .gateClosed, .old, "before", exit: 75),
      ])
    // What can go wrong by itself is the gate.
    + block(
      .restore, .safety, after: "plan",
      [
        .init(.workerKilled, "safety", .refused, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "safety", .refused, .interrupted, .old, "before", exit: 69),
        .init(.hang, "safety", .refused, .timeout, .old, "before", exit: 1),
        .init(.eio, "safety", .refused, .interrupted, .old, "before", exit: 74),
        .init(.enospc, "safety restore", .refused, .noSpace, .old, "before", exit: 75),
        .init(.journal, "safety", .refused, .inputOutput, .old, "before", exit: 74),
        .init(.gate, "safety", .refused, .gateClosed, .old, "before", exit: 75),
      ])
    + block(
      .restore, .restore, after: "plan safety",
      [
        .init(
          .error(.snapshotDamaged), "restore", .refused, .snapshotDamaged, .old, "before", exit: 65),
        .init(.workerKilled, "restore", .refused, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "restore", .refused, .interrupted, .old, "before", exit: 69),
        .init(.hang, "restore", .refused, .timeout, .old, "before", exit: 1),
        .init(.eio, "restore", .refused, .interrupted, .old, "before", exit: 74),
        .init(.enospc, "restore", .refused, .noSpace, .old, "before", exit: 75),
        .init(.journal, "restore", .refused, .inputOutput, .old, "before", exit: 74),
        .init(.gate, "restore", .refused, .gateClosed, .old, "before", exit: 75),
      ])
    // Nothing can go wrong by itself: the lock is held, and the snapshot was read.
    + block(
      .restore, .commit, after: "plan safety restore",
      [
        .init(.workerKilled, "commit", .refused, .interrupted, .old, "before", exit: 1),
        .init(.daemonKilled, "commit", .restored, nil, .new, "before rescue", exit: 69),
        .init(.hang, "commit", .refused, .timeout, .old, "before", exit: 1),
        .init(.eio, "commit", .refused, .interrupted, .old, "before", exit: 2),
        .init(.enospc, "commit", .refused, .interrupted, .old, "before", exit: 2),
        .init(.journal, "commit", .refused, .inputOutput, .old, "before", exit: 74),
        .init(.gate, "commit", .restored, nil, .new, "before rescue", exit: 0),
      ])

  /// Behind the first of several segments the way back is the snapshot.
  private static let segments: [Row] =
    block(
      .segments, .apply, after: "plan safety snapshot rehearse",
      [
        .init(
          .error(.badStatement), "apply restore", .rolledBack, .statement, .old,
          "before rescue", exit: 1),
        .init(
          .workerKilled, "apply restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 1),
        .init(
          .daemonKilled, "apply restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 69),
        .init(
          .hang, "apply restore", .rolledBack, .timeout, .old, "before rescue", exit: 1),
        .init(
          .eio, "apply restore", .rolledBack, .interrupted, .old, "before rescue", exit: 2),
        .init(
          .enospc, "apply restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 2),
        .init(
          .gate, "apply restore", .rolledBack, .gateClosed, .old, "before rescue", exit: 1),
      ])
    + block(
      .segments, .verify, after: "plan safety snapshot rehearse apply",
      [
        .init(
          .error(.badReference), "verify restore", .rolledBack, .foreignKeys, .old,
          "before rescue", exit: 1),
        .init(
          .workerKilled, "verify restore", .rolledBack, .interrupted, .old,
          "before rescue", exit: 1),
        // Without a journal the way back is not begun either.
        .init(
          .journal, "restore", .rolledBack, .interrupted, .old, "before rescue", exit: 2),
      ])
    + block(
      .segments, .commit, after: "plan safety snapshot rehearse apply verify",
      [
        .init(
          .workerKilled, "commit restore", .rolledBack, .interrupted, .old,
          "before rescue", exit: 1),
        .init(.daemonKilled, "commit done", .committed, nil, .new, "before", exit: 69),
        .init(.gate, "commit done", .committed, nil, .new, "before", exit: 0),
      ])
    + block(
      .segments, .done, after: "plan safety snapshot rehearse apply verify commit",
      [.init(.workerKilled, "done", .committed, nil, .new, "before", exit: 0)])
    // The way back itself.
    + block(
      .undo, .restore, after: "plan safety snapshot apply",
      [
        // There is nothing left to do on its own.
        .init(
          .error(.snapshotDamaged), "restore", .needsRecovery, .snapshotDamaged, .between, "before",
          exit: 2),
        .init(
          .workerKilled, "restore", .rolledBack, .interrupted, .old,
          "before rescue", exit: 1),
        // What began it must not end with the daemon.
        .init(
          .daemonKilled, "restore", .rolledBack, .statement, .old, "before rescue",
          exit: 69),
        .init(
          .hang, "restore", .rolledBack, .timeout, .old, "before rescue", exit: 1),
        .init(
          .eio, "restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 2),
        .init(
          .enospc, "restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 2),
        .init(
          .journal, "restore", .rolledBack, .interrupted, .old, "before rescue",
          exit: 2),
        .init(
          .gate, "restore", .rolledBack, .statement, .old, "before rescue", exit: 1),
      ])

  private static func block(
    _ story: Story, _ phase: Phase, after: String, _ rows: [Row]
  ) -> [Row] {
    rows.map { row in
      var row = row
      row.story = story
      row.phase = phase
      row.before = Row.phases(after)
      return row
    }
  }
}
