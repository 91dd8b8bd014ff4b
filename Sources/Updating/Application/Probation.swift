/// Judges by what the looks at the application have found; the times come from its caller.
struct Probation {
  enum Judgement: Equatable {
    case goOn, healthy, unhealthy
  }

  /// How long it lasts.
  let length: Duration
  private let unhealthyFor: Duration
  private let healthyAfter: Int
  private var good = 0
  /// So often it was well and then no longer.
  private(set) var falls = 0
  private var wasHealthy = false
  /// Since the first bad look of those that no row of good ones has ended.
  private var unhealthySince: Duration?

  /// As often as it may fall before it counts as crash-looping.
  static let maximumFalls = 3

  init(_ settings: ApplicationSettings, length: Duration) {
    self.length = length
    unhealthyFor = .seconds(settings.unhealthySeconds)
    healthyAfter = settings.healthyAfter
  }

  /// - Parameter time: since the probation began.
  mutating func note(isHealthy: Bool, at time: Duration) -> Judgement {
    guard isHealthy else {
      good = 0
      if wasHealthy { falls += 1 }
      wasHealthy = false
      let since = unhealthySince ?? time
      unhealthySince = since
      return falls >= Self.maximumFalls || time - since >= unhealthyFor ? .unhealthy : .goOn
    }
    good += 1
    // One good look among bad ones is no health; but only a bad one condemns, however seldom somebody looks.
    guard good >= healthyAfter else { return .goOn }
    wasHealthy = true
    unhealthySince = nil
    return time >= length ? .healthy : .goOn
  }
}
