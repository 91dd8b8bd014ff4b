import Dispatch
import FoundationEssentials
import Migrations
import Storage
import Synchronization
import Updating

/// One file for support: what is the matter with chock and the database on this machine, without a row of the
/// owner's data. It takes no lock, writes nothing but its result, and what cannot be had says why in its place.
struct Diagnosis: Sendable {
  /// What only a running daemon knows, or somebody who listens to the coach.
  struct Live: Sendable {
    var mode: String?
    var problem: Failure?
    var safety: Result<SafetyDocument, Failure>
    /// In candump's log format.
    var frames: Result<[UInt8], Missing>
  }

  /// Why a part is not there, in words that hold nothing of the owner's.
  struct Missing: Error {
    var why: String

    init(_ why: String) { self.why = why }
  }

  /// One file in it.
  struct Part: Sendable {
    enum Work: Sendable {
      /// Blocks, on a thread of its own.
      case reading(@Sendable () throws(Missing) -> [UInt8])
      case asking(@Sendable () async throws(Missing) -> [UInt8])
    }

    var name: String
    var about: String
    /// Of a log the end is kept, and nothing of a document that is larger.
    var mostBytes: Int
    var work: Work
  }

  /// How a part came out.
  struct Entry: Sendable {
    var name: String
    var about: String
    var bytes: [UInt8]
    /// Why it is not there.
    var missing: String?
  }

  /// What the summary says of one thing.
  struct Finding: Sendable {
    var subject: String
    /// Nil: neither good nor bad.
    var isGood: Bool?
    var found: String
  }

  /// What the parts find, for the summary.
  final class Findings: Sendable {
    private let found = Mutex<[Finding]>([])

    func note(_ subject: String, _ isGood: Bool?, _ text: String) {
      found.withLock { $0.append(Finding(subject: subject, isGood: isGood, found: text)) }
    }

    var all: [Finding] { found.withLock { $0 } }
  }

  struct Archive: Sendable {
    var name: String
    var bytes: [UInt8]
    var entries: [Entry]
  }

  let config: Config
  /// Why it is not the config of the file.
  let configProblem: Failure?
  /// Why nothing of the coach is in it, or what is.
  let live: @Sendable () async -> Live

  var settings: UpdateSettings { config.settings }
  var cleaner: Cleaner {
    Cleaner(
      settings,
      sources: Set(
        config.coach.can.map(\.interface).filter { CleanConfig.interface($0) != nil }
          + ["raspberry-pi", "/proc/net/tcp"]))
  }

  /// For one part: a disk or a daemon that does not answer must not keep the others away.
  static let partTime = Duration.seconds(6)
  /// For all of them.
  static let wholeTime = Duration.seconds(30)
  /// For all of them together, the summary too.
  static let mostBytes = 20_000_000

  /// Gathers all of it; never fails.
  func archive() async -> Archive {
    let findings = Findings()
    let deadline = ContinuousClock.now + Self.wholeTime
    let now = Date()
    var entries: [Entry] = []
    for part in parts(findings) { entries.append(await entry(part, until: deadline)) }
    let stamp = Self.stamp(now)
    let title = "chock-diagnostics-\(Machine.hostName)-\(stamp)"
    let page = DiagnosisPage(
      title: title, at: Timestamp.text(now), findings: findings.all, entries: entries)
    var zip = ZipArchive(at: Int(now.timeIntervalSince1970))
    zip.add("\(title)/summary.html", Array(page.html.utf8))
    for entry in entries { zip.add("\(title)/\(entry.name)", entry.bytes) }
    return Archive(name: "\(title).zip", bytes: zip.whole, entries: entries)
  }

  /// `20260101T120000Z`.
  private static func stamp(_ date: Date) -> String {
    Timestamp.text(date).prefix { $0 != "." }.filter { $0 != "-" && $0 != ":" } + "Z"
  }

  private func entry(_ part: Part, until deadline: ContinuousClock.Instant) async -> Entry {
    var entry = Entry(name: part.name, about: part.about, bytes: [], missing: nil)
    let time = min(Self.partTime, deadline - .now)
    switch time > .zero ? await Self.run(part.work, within: time) : nil {
    case .success(let bytes) where bytes.count <= part.mostBytes:
      entry.bytes = bytes
    case .success(let bytes) where part.name.hasSuffix(".log"):
      // From the beginning of a line.
      let tail = bytes.suffix(part.mostBytes).drop { $0 != UInt8(ascii: "\n") }.dropFirst()
      entry.bytes = Array(tail)
    case .success(let bytes):
      entry.missing = "It has \(bytes.count) bytes: more than there is place for."
    case .failure(let missing):
      entry.missing = missing.why
    case nil:
      entry.missing = "There was no answer within \(Int(max(0, time.seconds).rounded())) s."
    }
    if let missing = entry.missing {
      entry.bytes =
        part.name.hasSuffix(".json")
        ? ((try? JSON.encode(["missing": missing], pretty: true)) ?? [])
        : Array("Not there: \(missing)\n".utf8)
    }
    return entry
  }

  /// Nil when the time is over; what goes on then is left alone.
  private static func run(_ work: Part.Work, within limit: Duration) async -> Outcome? {
    await withCheckedContinuation { continuation in
      let first = First(continuation)
      var task: Task<Void, Never>?
      switch work {
      case .reading(let body):
        DispatchQueue(label: "diagnosis").async {
          first.resume(Result { () throws(Missing) in try body() })
        }
      case .asking(let body):
        task = Task {
          do throws(Missing) {
            first.resume(.success(try await body()))
          } catch {
            first.resume(.failure(error))
          }
        }
      }
      DispatchQueue.global().asyncAfter(deadline: .now() + limit.seconds) { [task] in
        first.resume(nil)
        task?.cancel()
      }
    }
  }

  private typealias Outcome = Result<[UInt8], Missing>

  /// Whoever comes first goes on; the others are late.
  private final class First: Sendable {
    private let waiting: Mutex<CheckedContinuation<Outcome?, Never>?>

    init(_ continuation: CheckedContinuation<Outcome?, Never>) {
      waiting = Mutex(continuation)
    }

    func resume(_ outcome: Outcome?) {
      let continuation = waiting.withLock { waiting in
        defer { waiting = nil }
        return waiting
      }
      continuation?.resume(returning: outcome)
    }
  }
}
