import Coach

/// Lets through what is news: a full bus repeats itself 1,800 times a second. It has no clock of its own.
///
/// A value goes through at once when it differs from what the same node last said of the signal, else
/// when its lease is due for renewal. So no lease ends earlier than it should by more than the renewal
/// interval, and none ends later.
struct FrameSieve {
  private static let renewal = Duration.seconds(1)
  /// Bounds what a babbling bus can make chock remember; what is forgotten is let through once more.
  private static let limit = 4096

  /// Most data groups say with their first byte which part or device they are about.
  private struct FrameKey: Hashable {
    var id: UInt32
    var first: UInt8
  }
  fileprivate struct Topic: Hashable {
    enum Subject: Hashable {
      case signal(String)
      case activity(String)
    }
    var sourceAddress: UInt8
    var subject: Subject
  }
  private struct Seen {
    var length: Int
    var data: UInt64
    var due: ContinuousClock.Instant
    var generation: UInt64
  }

  private var seen: [FrameKey: Seen] = [:]
  private var said: [Topic: (content: Report.Content, due: ContinuousClock.Instant)] = [:]
  /// Counts, for each source address, how often it changed its mind: then a frame that says again what it
  /// said before may be news.
  private var generations = [UInt64](repeating: 0, count: 256)

  /// What is news in a frame. `decode` is not asked about a frame that repeats itself.
  mutating func news(
    in frame: CANFrame, at now: ContinuousClock.Instant, decode: (CANFrame) -> [Report]
  ) -> [Report] {
    let key = FrameKey(id: frame.id, first: frame[0])
    let address = frame.sourceAddress
    if let last = seen[key], last.data == frame.data, last.length == frame.length, now < last.due,
      last.generation == generations[Int(address)]
    {
      return []
    }
    var due = now + Self.renewal
    let news = decode(frame).filter { report in
      let topic = Topic(sourceAddress: address, subject: report.content.subject)
      let last = said[topic]
      if let last, last.content == report.content, now < last.due {
        due = min(due, last.due)
        return false
      }
      if let last, last.content != report.content { generations[Int(address)] += 1 }
      if said.count >= Self.limit { said = [:] }
      let end = now + min(Self.renewal, report.content.lasting / 2)
      said[topic] = (report.content, end)
      due = min(due, end)
      return true
    }
    if seen.count >= Self.limit { seen = [:] }
    seen[key] = Seen(
      length: frame.length, data: frame.data, due: due, generation: generations[Int(address)])
    return news
  }
}

extension Report.Content {
  fileprivate var subject: FrameSieve.Topic.Subject {
    switch self {
    case .value(_, of: let signal, lasting: _), .noValue(of: let signal), .error(of: let signal):
      .signal(signal)
    case .activity(let id, description: _, lasting: _): .activity(id)
    }
  }

  fileprivate var lasting: Duration {
    switch self {
    case .value(_, of: _, let lasting), .activity(_, description: _, let lasting): lasting
    case .noValue, .error: .seconds(3600)
    }
  }
}
