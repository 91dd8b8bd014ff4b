import ArgumentParser
import CoachSources
import ControlServer
import FoundationEssentials
import Glibc
import Migrations
import Storage
import Updating

struct DiagnoseCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "diagnose",
    abstract: "Writes one file for support: what is the matter, and no row of your data.",
    discussion: """
      A ZIP file that any computer opens; begin with summary.html in it. It holds the journal of a run, the \
      history and the audit (checked), the plan, the schema and where it differs, the conditions, the last \
      minutes of the buses, the settings, versions, disk, what the kernel says of the storage, and the log of \
      chock's unit. What is the owner's stays out: rows, answers, names, paths, addresses, PINs and tokens.

      Nothing is changed or locked. It works with and without the daemon, in a run and in recovery mode, with a \
      database, a history or a config that is damaged. What cannot be had says why in its place. With `sudo` it \
      also has the kernel's log.
      """)

  /// So long the coach is listened to where no daemon has done it.
  private static let listening = Duration.seconds(3)

  @OptionGroup var globals: Globals
  @Argument(
    help: "A new file; - for standard output. Else chock-diagnostics-HOST-TIME.zip in this folder.")
  var file: String?

  private struct Answer: Encodable {
    struct Missing: Encodable {
      var part: String
      var why: String
    }

    var schema = "chock.DIAGNOSIS/1"
    var file: String
    var bytes: Int
    var parts: [String]
    var missing: [Missing]
  }

  func run() async throws {
    try await globals.withoutConfig { output throws(Failure) in
      let (config, problem) = Config.forLooking(
        globals.config, environment: ProcessInfo.processInfo.environment)
      guard let config else {
        throw problem ?? Failure(.badConfig, "The config cannot be used.")
      }
      let session = Session(config: config, output: output)
      let diagnosis = Diagnosis(config: config, configProblem: problem) {
        await session.live()
      }
      let archive = await diagnosis.archive()
      let file = file ?? archive.name
      try Self.write(archive.bytes, to: file)
      if file == "-" { return 0 }
      let missing = archive.entries.compactMap { entry in
        entry.missing.map { Answer.Missing(part: entry.name, why: $0) }
      }
      try output.result(
        Answer(
          file: file, bytes: archive.bytes.count, parts: archive.entries.map(\.name),
          missing: missing),
        ["\(file): \(ByteCount.text(Int64(archive.bytes.count))). Send it to whoever helps you."]
          + missing.map { "  without \($0.part): \($0.why)" })
      return 0
    }
  }

  /// Into a new file, readable by its owner alone; what is there already is not overwritten, and no link followed.
  private static func write(_ bytes: [UInt8], to path: String) throws(Failure) {
    let isFile = path != "-"
    let descriptor =
      isFile
      ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600) : STDOUT_FILENO
    guard descriptor >= 0 else {
      let number = errno
      throw Failure(
        .inputOutput,
        number == EEXIST
          ? "\(path) is there already."
          : "\(path) cannot be made: \(String(cString: strerror(number))).",
        file: path, howToClear: "Name a new file: `chock diagnose /media/stick/coach.zip`.")
    }
    var number: Int32 = 0
    var rest = bytes[...]
    while number == 0, !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count > 0 {
        rest = rest.dropFirst(count)
      } else if errno != EINTR {
        number = errno
      }
    }
    guard isFile else {
      guard number == 0 else { throw unwritten("standard output", number) }
      return
    }
    // A stick may be pulled right after.
    if number == 0, fsync(descriptor) != 0 { number = errno }
    if close(descriptor) != 0, number == 0 { number = errno }
    guard number == 0 else {
      unlink(path)
      throw unwritten(path, number)
    }
  }

  private static func unwritten(_ path: String, _ number: Int32) -> Failure {
    let isFull = number == ENOSPC || number == EDQUOT
    return Failure(
      isFull ? .noSpace : .inputOutput,
      isFull
        ? "No space is left for \(path); nothing of it was kept."
        : "\(path) cannot be written: \(String(cString: strerror(number))).",
      file: path,
      howToClear: isFull
        ? "Free some space, or name a file elsewhere, such as on a USB stick, or - for standard output."
        : "Name a file elsewhere, or - for standard output.")
  }

  fileprivate static func listen(_ session: Session) async -> Diagnosis.Live {
    do throws(Failure) {
      let configuration = try session.sources()
      let updater = session.localUpdater()
      await updater.expect(configuration)
      let sources = CoachSources(configuration)
      let isSilent =
        configuration.can.isEmpty && configuration.http.isEmpty && configuration.files.isEmpty
      let task = Task { await updater.listen(to: sources) }
      if !isSilent { try? await Task.sleep(for: listening) }
      let safety = await updater.safety()
      sources.stop()
      _ = await task.value
      return Diagnosis.Live(
        safety: .success(safety),
        frames: sources.recent.map { .success(Diagnosis.candump($0, session.config)) }
          ?? .failure(.noBus))
    } catch {
      return Diagnosis.Live(safety: .failure(error), frames: .failure(.noBus))
    }
  }
}

extension Diagnosis.Missing {
  static var noBus: Self { Self("No bus is configured.") }
}

extension Diagnosis {
  /// A bus that is no interface of the kernel's has a path for a name, which is nobody's business.
  static func candump(_ ring: FrameRing, _ config: Config) -> [UInt8] {
    let names = config.coach.can.map(\.interface)
    return ring.candump { name in
      CleanConfig.interface(name) ?? "bus\((names.firstIndex(of: name) ?? 0) + 1)"
    }
  }
}

extension Session {
  /// What the daemon knows; where none answers, what the coach says in the next seconds.
  fileprivate func live() async -> Diagnosis.Live {
    do throws(Failure) {
      guard let daemon = try await daemon() else { return await DiagnoseCommand.listen(self) }
      let status = try await daemon.status()
      var live = Diagnosis.Live(
        mode: status.mode.rawValue, problem: status.problem,
        safety: .failure(Failure(.noDaemon, "The daemon gave no readings.")),
        frames: .failure(.noBus))
      do throws(Failure) {
        live.safety = .success(try await daemon.safety())
      } catch {
        live.safety = .failure(error)
      }
      do throws(Failure) {
        let answer = try await daemon.client.request("GET", "/api/safety/frames")
        if answer.status == 200 { live.frames = .success(answer.body) }
      } catch {
        live.frames = .failure(.init(Cleaner(config.settings).line(error)))
      }
      return live
    } catch {
      return Diagnosis.Live(
        safety: .failure(error),
        frames: .failure(.init(Cleaner(config.settings).line(error))))
    }
  }

  /// The same in the daemon itself.
  func diagnostics(of updater: Updater, _ sources: CoachSources) -> Diagnostics {
    let config = config
    let frames: @Sendable () -> [UInt8]? = {
      sources.recent.map { Diagnosis.candump($0, config) }
    }
    let diagnosis = Diagnosis(config: config, configProblem: nil) {
      let status = await updater.status()
      return Diagnosis.Live(
        mode: status.mode.rawValue, problem: status.problem,
        safety: .success(await updater.safety()),
        frames: frames().map { .success($0) } ?? .failure(.noBus))
    }
    return Diagnostics(
      file: {
        let archive = await diagnosis.archive()
        return .init(name: archive.name, bytes: archive.bytes)
      }, frames: frames)
  }
}
