import ArgumentParser
import Coach
import CoachSources
import Glibc
import Migrations
import Storage
import Synchronization

struct RecordCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "record",
    abstract: "Writes every frame of a bus into a file, in candump's log format.",
    discussion: """
      For a technician who asks what the coach said: `chock coach replay` and the can-utils read it. Ends with \
      Ctrl-C, or after --for. It listens beside the daemon, and disturbs nothing.
      """)

  @OptionGroup var globals: Globals
  @Argument(help: "A new file; - for standard output.") var file: String
  @Option(help: "The bus; else the first one of the config.") var interface: String?
  @Option(name: .customLong("for"), help: ArgumentHelp("End after so long.", valueName: "seconds"))
  var seconds: Double?

  private struct Answer: Encodable {
    var schema = "chock.RECORD/1"
    var file: String
    var interface: String
    var frames: Int
  }

  func validate() throws {
    guard seconds.map({ $0 > 0 && $0 <= 31_536_000 }) ?? true else {
      throw ValidationError("--for is above 0 and at most a year.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      guard let interface = interface ?? session.config.coach.can.first?.interface else {
        throw Failure(
          .usage, "No bus is configured.", howToClear: "Name it: --interface can0.")
      }
      let output = try open()
      session.output.complain("Recording \(interface); Ctrl-C ends it.")
      let frames = try record(interface, to: output)
      // With the frames on standard output, nothing else belongs there.
      if file == "-" { return 0 }
      try session.output.result(
        Answer(file: file, interface: interface, frames: frames),
        ["\(frames) frames of \(interface) are in \(file)."])
      return 0
    }
  }

  /// What is there already is not overwritten.
  private func open() throws(Failure) -> Int32 {
    if file == "-" { return STDOUT_FILENO }
    let descriptor = Glibc.open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else {
      throw Failure(
        .inputOutput,
        errno == EEXIST
          ? "\(file) is there already."
          : "\(file) cannot be made: \(String(cString: strerror(errno))).",
        file: file, howToClear: "Name a new file.")
    }
    return descriptor
  }

  private func record(_ interface: String, to output: Int32) throws(Failure) -> Int {
    Interrupt.catchIt()
    var frames = 0
    var size: off_t = 0
    var error: Int32?
    func take(_ line: CandumpLine) {
      guard error == nil else { return }
      let bytes = Array((line.text + "\n").utf8)
      error = write(bytes, to: output)
      guard error == nil else {
        // Half a line would make the whole recording one that cannot be replayed. What stands in somebody
        // else's file is not ours to cut.
        if file != "-" { ftruncate(output, size) }
        return
      }
      frames += 1
      size += off_t(bytes.count)
    }
    let deadline = seconds.map { ContinuousClock.now + .seconds($0) }
    do throws(CANRecorder.Failure) {
      try CANRecorder.record(
        interface, until: deadline, isStopped: { Interrupt.isRaised || error != nil }, take)
    } catch {
      throw Failure(.inputOutput, error.words, howToClear: error.howToClear)
    }
    if let error {
      throw Failure(
        .inputOutput, "\(file) cannot be written: \(String(cString: strerror(error))).",
        file: file, howToClear: "Free some space; the frames so far are in it.")
    }
    return frames
  }

  /// - Returns: the number of the error that kept it from being written whole.
  private func write(_ bytes: [UInt8], to output: Int32) -> Int32? {
    var rest = bytes[...]
    while !rest.isEmpty {
      // A disk that fills up takes a part first.
      let count = rest.withUnsafeBytes { Glibc.write(output, $0.baseAddress, $0.count) }
      guard count > 0 else { return errno }
      rest = rest.dropFirst(count)
    }
    return nil
  }
}

/// Ctrl-C, as a flag: what a signal handler may do.
private enum Interrupt {
  private static let flag = Atomic(false)

  static func catchIt() {
    signal(SIGINT) { _ in Interrupt.flag.store(true, ordering: .relaxed) }
  }

  static var isRaised: Bool { flag.load(ordering: .relaxed) }
}
