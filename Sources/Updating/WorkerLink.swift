import Coach
import Dispatch
import Migrations
import Storage
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A worker's end of the two pipes to its supervisor.
final class WorkerLink: Sendable {
  let stop: StopSignal
  private let verdicts: Mailbox<SafetyVerdict>
  private let holds: Mailbox<Held>
  private let confirmed: Confirmation
  /// For how long a supervisor may read nothing, in seconds: for longer than it waits for a worker.
  private let patience: UInt32
  /// Progress is sent at most so often; a terminal or a browser cannot show more.
  private static let interval = Duration.milliseconds(50)
  private let lastProgress = Mutex<(at: ContinuousClock.Instant, kind: Substring)?>(nil)

  /// Reads one line, the order, and from then on listens in a thread of its own.
  ///
  /// - Throws: `.usage` when the order cannot be read.
  static func start() throws(Failure) -> (WorkerLink, WorkOrder) {
    // A supervisor that is gone must end in a rollback, not in a signal.
    signal(SIGPIPE, SIG_IGN)
    var input = LineReader(descriptor: STDIN_FILENO)
    guard let line = input.next(), let order = try? JSON.decode(WorkOrder.self, from: line) else {
      throw Failure(
        .usage, "chock worker is started by chock itself, with an order on standard input.")
    }
    return (WorkerLink(input, order.settings), order)
  }

  private init(_ input: LineReader, _ settings: UpdateSettings) {
    let stop = StopSignal()
    let verdicts = Mailbox<SafetyVerdict>()
    let holds = Mailbox<Held>()
    let confirmed = Confirmation()
    self.stop = stop
    self.verdicts = verdicts
    self.holds = holds
    self.confirmed = confirmed
    let grace = Int(WorkerProcess.grace.components.seconds)
    patience = UInt32(clamping: settings.migrationTimeoutSeconds + 2 * grace)
    // A queue of its own: reading blocks until the supervisor is gone.
    DispatchQueue(label: "supervisor").async {
      var input = input
      while let line = input.next() {
        switch try? JSON.decode(SupervisorMessage.self, from: line) {
        case .safety(let verdict): verdicts.put(verdict)
        case .stop(let failure):
          stop.request(failure)
          verdicts.close()
          // A gate that closed too late stops nobody who watches.
          if failure.code == .interrupted { confirmed.end() }
        case .confirm(let person): confirmed.put(person)
        case .hold(let held): holds.put(held)
        case nil: break
        }
      }
      stop.request(
        Failure(
          .interrupted, "The daemon that supervised the run has ended.",
          howToClear: "Start it again: nothing was changed."))
      verdicts.close()
      holds.close()
      confirmed.end()
    }
  }

  /// Who has said that the application is well.
  var confirmation: String? { confirmed.person }

  /// The supervisor ends, or is gone.
  var isAlone: Bool { confirmed.isOver }

  /// Waits for so long, or until a stop or a confirmation comes.
  func pause(for duration: Duration) { confirmed.wait(duration) }

  func send(_ message: WorkerMessage) {
    if case .progress(let progress) = message {
      let isDue = lastProgress.withLock { last in
        let now = ContinuousClock.now
        // Migrations with their lines follow each other too fast: they are one kind of step.
        let kind = progress.step.prefix { $0 != " " }
        if let last, now - last.at < Self.interval, last.kind == kind { return false }
        last = (now, kind)
        return true
      }
      guard isDue else { return }
    }
    guard var line = try? JSON.encode(message) else { return }
    line.append(UInt8(ascii: "\n"))
    // Behind a supervisor that is suspended, a worker must not keep its lock: SIGALRM ends it.
    alarm(patience)
    defer { alarm(0) }
    var offset = 0
    while offset < line.count {
      let count = line[offset...].withUnsafeBytes { write(STDOUT_FILENO, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        stop.request(Failure(.interrupted, "The daemon that supervised the run has ended."))
        return
      }
      offset += count
    }
  }

  /// Asks the supervisor for the gates as they stand now.
  ///
  /// - Parameter wait: for how long a closed gate may take to open; the supervisor tells each change.
  /// - Throws: `.gateClosed` when one that is required is not satisfied, or nobody answers; the stop that
  ///   was requested meanwhile.
  func permit(waiting wait: Duration) throws(Failure) -> SafetyPermit {
    let deadline = ContinuousClock.now + wait
    send(.askSafety)
    guard var verdict = verdicts.take(within: .seconds(10)) else { throw try nobodyAnswered() }
    while true {
      if let permit = SafetyPermit(verdict) { return permit }
      guard .now < deadline else { throw Failure.gates(verdict) }
      // A little more than the supervisor waits, so that it is the one who says why.
      guard let next = verdicts.take(within: deadline - .now + .seconds(10)) else {
        throw try nobodyAnswered()
      }
      verdict = next
    }
  }

  /// Asks the supervisor to hold the database for reading before the application is started.
  ///
  /// - Returns: also `.notWanted` when there is no supervisor any more: the next one begins anew.
  func hold() -> Held {
    send(.askHold)
    return holds.take(within: .seconds(60)) ?? .notWanted
  }

  private func nobodyAnswered() throws(Failure) -> Failure {
    try stop.check()
    return Failure(.gateClosed, "The conditions of the coach are not known: nobody answered.")
  }
}

extension Failure {
  /// Why the gates forbid it.
  static func gates(_ verdict: SafetyVerdict) -> Failure {
    // Several gates may ask for the same thing: say it once.
    var ways: [String] = []
    for way in verdict.blockers.compactMap(\.howToClear) where !ways.contains(way) {
      ways.append(way)
    }
    return Failure(
      .gateClosed, verdict.blockers.map(\.reason).joined(separator: " "),
      howToClear: ways.joined(separator: " "))
  }
}

/// Hands a confirmation to the thread that does the work, and wakes it.
private final class Confirmation: Sendable {
  private let content = Mutex<(person: String?, isOver: Bool)>((nil, false))
  private let signal = DispatchSemaphore(value: 0)

  var person: String? { content.withLock { $0.person } }
  var isOver: Bool { content.withLock { $0.isOver } }

  func put(_ person: String) {
    content.withLock { $0.person = $0.person ?? person }
    signal.signal()
  }

  /// Nobody will confirm any more.
  func end() {
    content.withLock { $0.isOver = true }
    signal.signal()
  }

  func wait(_ duration: Duration) { _ = signal.wait(timeout: .now() + duration.seconds) }
}

/// Hands answers from the reading thread to the one that does the work.
private final class Mailbox<Answer: Sendable>: Sendable {
  private let content = Mutex<(answer: Answer?, isOver: Bool)>((nil, false))
  private let signal = DispatchSemaphore(value: 0)

  func put(_ answer: Answer) {
    content.withLock { $0.answer = answer }
    signal.signal()
  }

  /// No answer matters any more: whoever waits for one need not.
  func close() {
    content.withLock { $0.isOver = true }
    signal.signal()
  }

  /// Nil when none came in time or none can come any more.
  func take(within limit: Duration) -> Answer? {
    let deadline = DispatchTime.now() + limit.seconds
    while true {
      let (answer, isOver) = content.withLock { content in
        defer { content.answer = nil }
        return content
      }
      if let answer { return answer }
      guard !isOver, signal.wait(timeout: deadline) == .success else { return nil }
    }
  }
}

/// Lines from a descriptor, without their line ends.
struct LineReader: Sendable {
  let descriptor: Int32
  private var pending: [UInt8] = []

  init(descriptor: Int32) {
    self.descriptor = descriptor
  }

  /// Waits for the next line; nil at the end of file.
  mutating func next() -> [UInt8]? {
    while true {
      if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
        let line = Array(pending[..<end])
        pending.removeSubrange(...end)
        return line
      }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = read(descriptor, &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      pending.append(contentsOf: buffer[..<count])
    }
  }
}
