import Migrations
import Storage
import Subprocess
import Synchronization
import SystemPackage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// One worker as its supervisor sees it: started, listened to, told to stop, and killed if it must be.
final class WorkerProcess: Sendable {
  /// How long a worker has to stop by itself before it is killed.
  static let grace = Duration.seconds(10)

  private enum Command: Sendable {
    case send(SupervisorMessage)
    case kill
  }

  private let order: WorkOrder
  private let executable: String
  private let commands: AsyncStream<Command>
  private let command: AsyncStream<Command>.Continuation
  private let cause = Mutex<Failure?>(nil)
  private let limit = Mutex<Task<Void, Never>?>(nil)

  init(_ order: WorkOrder, executable: String) {
    self.order = order
    self.executable = executable
    (commands, command) = AsyncStream.makeStream()
  }

  func send(_ message: SupervisorMessage) {
    command.yield(.send(message))
  }

  /// Asks for a stop, and ends the process when it does not come within the grace time.
  func stop(_ reason: Failure) {
    let isFirst = cause.withLock { cause in
      defer { cause = cause ?? reason }
      return cause == nil
    }
    if isFirst || reason.code == .interrupted { send(.stop(reason)) }
    // A second reason must not give it more time.
    guard isFirst else { return }
    setLimit(Self.grace, because: reason)
  }

  /// Kills the process now.
  func kill(because reason: Failure) {
    cause.withLock { $0 = $0 ?? reason }
    command.yield(.kill)
  }

  /// Kills the process when it has not ended within `duration`; replaces the limit before.
  ///
  /// - Parameter evenWhenStopped: also the limit that a stop has set, which stays otherwise.
  func limit(to duration: Duration, evenWhenStopped: Bool, because reason: Failure) {
    guard evenWhenStopped || cause.withLock({ $0 == nil }) else { return }
    setLimit(duration, because: reason)
  }

  private func setLimit(_ duration: Duration, because reason: Failure) {
    limit.withLock { limit in
      limit?.cancel()
      limit = Task {
        try? await Task.sleep(for: duration)
        guard !Task.isCancelled else { return }
        cause.withLock { $0 = $0 ?? reason }
        command.yield(.kill)
      }
    }
  }

  /// How the process ended: with a result, or without one and why it was stopped from outside.
  struct End: Sendable {
    var result: RunDocument?
    var cause: Failure?
    var words: String
  }

  /// Runs it to its end.
  func run(_ receive: @escaping @Sendable (WorkerMessage) async -> Void) async -> End {
    var options = PlatformOptions()
    // Its own process group: an interrupt from the terminal reaches the supervisor alone, which then
    // asks for an orderly stop.
    options.processGroupID = 0
    // Whoever says something to a worker that has just ended must live on.
    signal(SIGPIPE, SIG_IGN)
    defer { limit.withLock { $0?.cancel() } }
    do {
      let order = try line(order)
      let ended = try await Subprocess.run(
        .path(FilePath(executable)),
        arguments: .init(executablePathOverride: "chock", remainingValues: ["worker"]),
        platformOptions: options,
        input: .inputWriter, output: .sequence, error: .currentStandardError
      ) { execution in
        _ = try await execution.standardInputWriter.write(order)
        return try await withThrowingTaskGroup(of: RunDocument?.self) { group in
          group.addTask {
            var result: RunDocument?
            for try await line in execution.standardOutput.strings() {
              guard let message = try? JSON.decode(WorkerMessage.self, from: Array(line.utf8))
              else { continue }
              if case .result(let document) = message { result = document }
              await receive(message)
            }
            return result
          }
          group.addTask { [commands] in
            for await command in commands {
              switch command {
              // A worker that has just ended no longer listens.
              case .send(let message):
                _ = try? await execution.standardInputWriter.write(try self.line(message))
              case .kill: try? execution.send(signal: .kill)
              }
            }
            return nil
          }
          let result = try await group.next() ?? nil
          group.cancelAll()
          try? await execution.standardInputWriter.finish()
          return result
        }
      }
      return End(
        result: ended.closureResult, cause: cause.withLock { $0 },
        words: "\(ended.terminationStatus)")
    } catch {
      return End(result: nil, cause: cause.withLock { $0 }, words: "\(error)")
    }
  }

  private func line(_ value: some Encodable) throws(Failure) -> [UInt8] {
    try JSON.encode(value) + [UInt8(ascii: "\n")]
  }
}
