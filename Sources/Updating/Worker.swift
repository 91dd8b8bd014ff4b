import Dispatch
public import Migrations
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The child process that does one run: the whole flow is in it, and it can be killed at any instant
/// without harm.
public enum Worker {
  /// Reads the order from standard input, does it, reports on standard output.
  ///
  /// - Returns: the process's exit code.
  public static func main() -> Int32 {
    // Snapshots hold what the owner recorded: they are for nobody else.
    umask(0o077)
    // Where memory runs out, the worker goes, and the daemon puts the database back.
    MemoryScore.set(MemoryScore.first)
    do throws(Failure) {
      let (link, order) = try WorkerLink.start()
      link.send(.result(result(of: order, link)))
      return WorkerExit.reported
    } catch {
      return WorkerExit.badOrder
    }
  }

  private static func result(of order: WorkOrder, _ link: WorkerLink) -> RunDocument {
    let context = RunContext(order, link)
    // Held until the process ends. The full check only reads, and ends as soon as another run begins.
    let lock: RunLock?
    do throws(Failure) {
      lock =
        [.copy, .fetch].contains(order.kind) || order.kind == .check && order.check == nil
        ? nil : try acquireLock(order, link)
    } catch {
      return context.answer(.refused, error)
    }
    return withExtendedLifetime(lock) {
      setenv("SQLITE_TMPDIR", order.settings.temporaryFolder, 1)
      // These change nothing that recovery would look at, and leave its journal alone.
      if ![.recover, .check, .copy, .fetch, .salvage].contains(order.kind),
        JournalFile(stateDirectory: order.settings.stateDirectory).exists
      {
        return context.answer(.refused, Failure.interruptedRun)
      }
      return switch order.kind {
      case .update, .rollback, .rehearse: UpdateRun(context: context)()
      case .import: ImportRun(context: context)()
      case .rescue: RescueRun(context: context)()
      case .salvage: SalvageRun(context: context)()
      case .snapshot: SnapshotRun(context: context)()
      case .verify: VerifyRun(context: context)()
      case .restore: RestoreRun(context: context)()
      case .check:
        order.check.map { AskedCheckRun(context: context, kind: $0)() }
          ?? CheckRun(context: context)()
      case .copy: CopyRun(context: context)()
      case .fetch: FetchRun(context: context)()
      case .factory: FactoryRun(context: context)()
      case .recover: RecoveryRun(context)() ?? context.answer(.nothingToDo)
      }
    }
  }

  /// The lock of the run before may take a moment to go: its worker is still rolling back.
  private static func acquireLock(
    _ order: WorkOrder, _ link: WorkerLink
  ) throws(Failure) -> RunLock {
    let deadline = ContinuousClock.now + .seconds(order.kind == .recover ? 30 : 0)
    while true {
      if let lock = try RunLock(folder: order.settings.stateDirectory) { return lock }
      try link.stop.check()
      guard ContinuousClock.now < deadline else { throw Failure.runActive }
      // The kernel tells nobody when it releases an flock of another process.
      _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(50))
    }
  }
}

extension Failure {
  public static var interruptedRun: Failure {
    Failure(
      .interrupted, "A run was interrupted and has to be recovered first.",
      howToClear: "`chock recover`, or start the daemon, which does it by itself.")
  }

  public static var runActive: Failure {
    Failure(
      .runActive, "Another run is active.",
      howToClear: "`chock status` shows it; wait until it has ended.")
  }
}
