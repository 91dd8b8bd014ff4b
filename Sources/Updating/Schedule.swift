import FoundationEssentials
import Glibc
import Migrations
import Storage

/// What a person has decided to do later about a pending update; at most one thing at a time.
public struct Schedule: Codable, Sendable, Equatable {
  public enum Action: String, Codable, Sendable, CaseIterable {
    /// Update within a time, if the coach is safe then.
    case window
    /// Say nothing of it until a time.
    case remind
    /// Say nothing of this version.
    case skip
  }

  public var action: Action
  /// The version that the update leads to.
  public var version: String
  /// The beginning of the window, or when to remind.
  public var at: String?
  /// The end of the window: from then on the consent counts no more.
  public var until: String?
  public var requestedBy: String
  public var createdAt: String
  /// Why nothing will come of it; it stays until a person has seen it.
  public var lapsedReason: String?
}

extension Schedule {
  static func seconds(_ text: String?) -> Double? {
    text.flatMap(Timestamp.date)?.timeIntervalSince1970
  }

  /// - Throws: `.inputOutput` for what nobody can have scheduled.
  func check() throws(Failure) {
    let isWhole =
      switch action {
      case .window:
        if let at = Self.seconds(at), let until = Self.seconds(until) {
          // A day at most, and it may be the one on which summer ends.
          at < until && until - at <= 25 * 3600
        } else {
          false
        }
      case .remind: Self.seconds(at) != nil
      case .skip: true
      }
    guard isWhole, Self.seconds(createdAt) != nil else {
      throw Failure(.inputOutput, "This is no schedule.")
    }
  }
}

/// A schedule with what it takes to keep it: in a file that outlives a restart.
struct ScheduleFile {
  struct Document: Codable {
    var schedule: Schedule
    /// Of a window: what the person has consented to.
    var planHash: String?
    var goal = Goal.newest
    var inputs: [String: InputValue] = [:]
    var isTechnician = false
    /// Of the device or token that it came from.
    var credential: String?
    /// Of the device of the second person, where two had to agree.
    var approver: String?
  }

  private let path: String

  init(stateDirectory: String) {
    path = stateDirectory + "/schedule.json"
  }

  /// - Throws: `.inputOutput` when it cannot be read, or says what no schedule says.
  func read() throws(Failure) -> Document? {
    guard FileSystem.facts(path) != nil else { return nil }
    do {
      let document = try FileSystem.read(path).map { try JSON.decode(Document.self, from: $0) }
      if let document { try document.schedule.check() }
      return document
    } catch {
      throw Failure(
        .inputOutput, "\(path) is damaged, so nobody knows what was scheduled.", file: path)
    }
  }

  /// What cannot be read is kept beside it.
  func setAside() throws(Failure) {
    guard FileSystem.facts(path) != nil else { return }
    let aside = path + ".damaged"
    // A folder does not replace a file, nor a file a folder.
    if FileSystem.facts(aside)?.isDirectory == true {
      try FileSystem.removeFolder(aside)
    } else {
      try FileSystem.remove(aside)
    }
    try FileSystem.rename(path, to: aside)
  }

  func write(_ document: Document?) throws(Failure) {
    // Somebody's folder in its place: nothing could be scheduled any more.
    if FileSystem.facts(path)?.isDirectory == true { try setAside() }
    if let document {
      try FileSystem.replace(path, with: try JSON.encode(document, pretty: true))
    } else if FileSystem.facts(path) != nil {
      try FileSystem.remove(path)
    }
  }
}

/// A window of every day, in the device's own time zone: `02:00-05:00`.
public struct DailyWindow: Codable, Sendable, Equatable, CustomStringConvertible {
  /// In minutes since midnight.
  public let start: Int
  public let length: Int

  /// Nil when the text is none, or the window is empty.
  public init?(_ text: String) {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false)
    guard ends.count == 2, let start = Self.minutes(ends[0]), let end = Self.minutes(ends[1]),
      start != end
    else { return nil }
    self.start = start
    // Over midnight, where it ends before it begins.
    length = (end - start + 1440) % 1440
  }

  static let standard = DailyWindow(start: 120, length: 180)

  private init(start: Int, length: Int) {
    self.start = start
    self.length = length
  }

  /// As it is written: `02:00-05:00`.
  public var description: String {
    func clock(_ minutes: Int) -> String {
      [minutes / 60 % 24, minutes % 60].map { $0 < 10 ? "0\($0)" : "\($0)" }.joined(separator: ":")
    }
    return "\(clock(start))-\(clock(start + length))"
  }

  /// `02:00` in minutes since midnight.
  static func minutes(_ text: some StringProtocol) -> Int? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.count == 2 }),
      let hours = UInt8(parts[0]), let minutes = UInt8(parts[1]), hours < 24, minutes < 60
    else { return nil }
    return Int(hours) * 60 + Int(minutes)
  }

  /// When a window that began at a time of the device's clock ends: at a time of that clock, too. On the days
  /// on which summer begins or ends it is an hour shorter or longer.
  ///
  /// - Parameter minutes: since midnight, of its beginning.
  func end(beganAt start: Double, minutes: Int) -> Double {
    let end = Self.next((minutes + length) % 1440, after: start)
    let usual = start + Double(length) * 60
    // An end that the clock never shows would be that of the day after.
    return abs(end - usual) <= 7200 ? end : usual
  }

  /// The next time that the device's clock shows so many minutes after midnight, in seconds since 1970.
  static func next(_ minutes: Int, after now: Double) -> Double {
    var seconds = time_t(now)
    var date = tm()
    localtime_r(&seconds, &date)
    for day in 0...2 {
      var candidate = date
      candidate.tm_mday += Int32(day)
      candidate.tm_hour = Int32(minutes / 60)
      candidate.tm_min = Int32(minutes % 60)
      candidate.tm_sec = 0
      // The system knows whether it is summer on that day.
      candidate.tm_isdst = -1
      let time = Double(mktime(&candidate))
      if time > now { return time }
    }
    return now + 86_400
  }
}
