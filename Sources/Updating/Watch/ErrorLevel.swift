/// Errors that were counted while an application was observed, in about an hour of observation; the newest one of
/// a list is still being filled.
struct ErrorHour: Codable, Sendable, Equatable {
  static let length = 3600.0

  var seconds = 0.0
  var errors = 0.0
}

extension [ErrorHour] {
  /// Hours of observation, not of the clock: one that jumps changes nothing, and a coach that was off was not
  /// observed.
  mutating func add(errors: Double, seconds: Double, keeping most: Int) {
    if last.map({ $0.seconds >= ErrorHour.length }) ?? true { append(ErrorHour()) }
    self[count - 1].errors += errors
    self[count - 1].seconds += seconds
    if count > most { removeFirst(count - most) }
  }

  var seconds: Double { reduce(0) { $0 + $1.seconds } }
  var errors: Double { reduce(0) { $0 + $1.errors } }
  /// Errors in an hour on average.
  var perHour: Double { seconds > 0 ? errors / seconds * ErrorHour.length : 0 }
}

/// How many errors an application made before an update.
struct ErrorLevel: Codable, Sendable, Equatable {
  var seconds: Double
  var errors: Double
  /// In its worst hour.
  var most: Double

  init(_ hours: [ErrorHour]) {
    seconds = hours.seconds
    errors = hours.errors
    most = Swift.max(hours.perHour, hours.map(\.errors).max() ?? 0)
  }

  var perHour: Double { seconds > 0 ? errors / seconds * ErrorHour.length : 0 }

  /// A handful is no news, whatever was before.
  private static let few = 4.0

  /// Whether these are more than chance makes of this level: in the newest hour, or over all of them.
  ///
  /// Errors that come by chance vary by about the square root of their number; with three times that, and twice
  /// the level, few coaches are told for nothing. Three more than were counted before are taken for the level: in a
  /// short time none may have come by chance.
  func isExceeded(by hours: [ErrorHour]) -> Bool {
    guard let newest = hours.last, seconds > 0 else { return false }
    let errorsInAnHour = newest.errors / Swift.max(1, newest.seconds / ErrorHour.length)
    let worst = 2 * most + Self.few
    if errorsInAnHour > worst { return true }
    let expected = (errors + 3) / seconds * hours.seconds
    // Errors come in bursts: one like the worst hour before is none.
    return hours.errors > Swift.max(worst, 2 * expected + 3 * expected.squareRoot() + Self.few)
  }
}
