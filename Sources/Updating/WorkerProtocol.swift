import Coach
import Migrations
import Storage

/// What a worker is to do: the first line on its standard input.
struct WorkOrder: Codable, Sendable {
  var run: String
  var kind: RunKind
  var settings: UpdateSettings
  var requestedBy: String
  /// chock is in recovery mode.
  var isInRecovery = false
  var goal = Goal.newest
  /// What a person gave to the plan's inputs.
  var inputs: [String: InputValue] = [:]
  /// The plan that a person said yes to.
  var consentedPlan: String?
  /// For `import`: the run whose export it is, and whether it wins over what is there now.
  var export: String?
  var replaces = false
  /// For `restore` and `verify`; for `rescue` the rescue copy.
  var snapshot: String?
  /// For `rescue`.
  var rescue: Rescuer.Request?
  /// For `verify`: it is restored into a file of its own, too.
  var testsRestore = false
  /// For `check`: what a person asked for; nil is the full one in idle time.
  var check: CheckKind?
  /// For `salvage`: the run that set the damaged files aside; nil is the database itself.
  var setAsideBy: String?
  /// For `copy` and `fetch`: where, and which chock this is.
  var place: CopyPlace?
  var controller: String?
  /// For `recover`: why the run before was ended from outside.
  var cause: Failure?
}

/// What the supervisor tells a worker: one JSON line each.
enum SupervisorMessage: Codable, Sendable {
  /// The answer to `askSafety`.
  case safety(SafetyVerdict)
  /// Stop at the next safe point and put everything back. End of file means the same.
  case stop(Failure)
  /// A person, or the application itself, says that it is well.
  case confirm(String)
  /// The answer to `askHold`.
  case hold(Held)
}

/// Whether an application that is about to be started can only read.
enum Held: String, Codable, Sendable {
  /// It may write: there is no recovery mode, or no policy that says so.
  case notWanted
  case held
  /// It must not be started.
  case impossible
}

/// What a worker reports: one JSON line each.
enum WorkerMessage: Codable, Sendable {
  case phase(Phase)
  case progress(WorkerProgress)
  case log(String)
  /// What lies at the place of a `copy` or `fetch`.
  case place(PlaceReport)
  /// The worker waits for `SupervisorMessage.safety`.
  case askSafety
  /// The worker is about to start the application, and waits for `SupervisorMessage.hold`.
  case askHold
  /// The run is over; the worker exits after it.
  case result(RunDocument)
}

struct PlaceReport: Codable, Sendable {
  var snapshots: [SnapshotDocument]
  /// The one that has just been copied and read back.
  var copied: String?
}

struct WorkerProgress: Codable, Sendable {
  var step: String
  var message: String
  var done: Int64?
  var total: Int64?
  /// Of the phase, 0...1.
  var fraction: Double?
}

/// What a worker's exit code says beside its result.
enum WorkerExit {
  /// The result was reported.
  static let reported: Int32 = 0
  /// The order could not be read.
  static let badOrder: Int32 = 64
}
