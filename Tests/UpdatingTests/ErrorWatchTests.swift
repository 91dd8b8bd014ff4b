import Migrations
import Storage
import TestSupport
import Testing

@testable import Updating

@Suite("Errors after an update are told when they are clearly more than before")
struct ErrorWatchTests {
  /// Hours with so many errors each.
  private func hours(_ errors: Double...) -> [ErrorHour] {
    errors.map { ErrorHour(seconds: 3600, errors: $0) }
  }

  private func level(_ errors: Double, hours: Int) -> ErrorLevel {
    ErrorLevel(Array(repeating: ErrorHour(seconds: 3600, errors: errors), count: hours))
  }

  @Test("As many as before are no news, nor a few where there were none")
  func same() {
    #expect(!level(10, hours: 72).isExceeded(by: hours(10, 12, 9, 18)))
    #expect(!level(0, hours: 72).isExceeded(by: hours(1, 0, 2, 0, 1)))
    #expect(!level(0, hours: 72).isExceeded(by: []))
    // The worst hour before is what an hour may be like.
    #expect(!ErrorLevel(hours(0, 0, 50, 0, 0, 0)).isExceeded(by: hours(0, 60)))
  }

  @Test("One bad hour, and a rate that stays up")
  func more() {
    #expect(level(0, hours: 72).isExceeded(by: hours(5)))
    #expect(level(10, hours: 72).isExceeded(by: hours(0, 0, 40)))
    #expect(level(10, hours: 72).isExceeded(by: Array(repeating: hours(24)[0], count: 72)))
    #expect(level(0, hours: 72).isExceeded(by: Array(repeating: hours(1)[0], count: 40)))
  }

  @Test("A short time before says little of rare errors, and enough of many")
  func short() {
    let short = ErrorLevel([ErrorHour(seconds: 1800, errors: 0)])
    #expect(!short.isExceeded(by: Array(repeating: hours(1)[0], count: 40)))
    #expect(short.isExceeded(by: [ErrorHour(seconds: 60, errors: 6)]))
    let noisy = ErrorLevel([ErrorHour(seconds: 600, errors: 20)])
    #expect(!noisy.isExceeded(by: hours(130, 110)))
    #expect(noisy.isExceeded(by: hours(300)))
  }

  @Test("What came in many hours that nobody saw is no bad hour")
  func unseen() {
    #expect(!level(2, hours: 72).isExceeded(by: [ErrorHour(seconds: 36_000, errors: 20)]))
  }

  private static let figure = ErrorSource.metric(
    url: "http://127.0.0.1:9100/metrics", name: "errors_total")

  private func boot(_ since: Double, _ boot: String = "a") -> BootTime {
    BootTime(boot: boot, since: since)
  }

  /// What is counted of a figure's values, one a minute.
  private func counted(_ values: [Double]) -> [ErrorHour] {
    var watch = ErrorWatch()
    for (minute, value) in values.enumerated() {
      _ = watch.note(
        [(Self.figure, .value(value))], at: boot(Double(minute) * 60), hours: 72, counting: true)
    }
    return watch.counters[0].hours
  }

  @Test(
    "A figure that falls back has begun anew, and nothing is counted twice or less than not at all")
  func reset() {
    #expect(counted([7]) == [ErrorHour(seconds: 0, errors: 0)] || counted([7]).isEmpty)
    #expect(counted([7, 9, 2, 2, 3]).errors == 2 + 2 + 0 + 1)
    #expect(counted([7, 9, 2, 2, 3]).seconds == 240)
    #expect(counted([7, 0, 0]).errors == 0)
  }

  @Test("Hours are those of a machine that runs, over restarts and whatever the clock says")
  func time() throws {
    var watch = ErrorWatch()
    func look(_ value: Double, _ at: BootTime) {
      _ = watch.note([(Self.figure, .value(value))], at: at, hours: 72, counting: true)
    }
    look(0, boot(100))
    watch.begin("run", version: "2", least: 0, hours: 72)
    look(1, boot(160))
    // The daemon was away for an hour; what is written down survives it.
    let folder = try TemporaryFolder()
    try watch.write(folder.path)
    watch = try #require(ErrorWatch.read(folder.path))
    look(2, boot(3760))
    #expect(watch.watched?.seconds == 3660)
    // The machine was off for a month, and has run for a minute.
    look(3, boot(60, "b"))
    #expect(watch.watched?.seconds == 3720)
    #expect(watch.counters[0].since.seconds == 3720)
    #expect(watch.counters[0].since.errors == 2 + 1)
    // A boot time that goes back takes nothing away.
    look(3, boot(10, "b"))
    #expect(watch.watched?.seconds == 3720)
  }

  @Test("Only the newest hours are kept")
  func few() {
    #expect(counted((0..<600).map(Double.init)).count == 10)
    var hours: [ErrorHour] = []
    for _ in 0..<200 { hours.add(errors: 1, seconds: 3600, keeping: 72) }
    #expect(hours.count == 72)
  }

  @Test("Each is told once, and what was seen is the level of the next update")
  func once() {
    var watch = ErrorWatch()
    func look(_ value: Double, _ minute: Double) {
      _ = watch.note(
        [(Self.figure, .value(value))], at: boot(minute * 60), hours: 72, counting: true)
    }
    for minute in 0...60 { look(0, Double(minute)) }
    watch.begin("first", version: "2", least: 3000, hours: 72)
    look(50, 61)
    #expect(watch.judge([Self.figure]).map(\.code) == [.moreErrors])
    look(100, 62)
    #expect(watch.judge([Self.figure]) == [])
    #expect(watch.counters[0].warning != nil)
    watch.begin("second", version: "3", least: 3000, hours: 72)
    #expect(watch.counters[0].warning == nil)
    #expect(watch.counters[0].before?.most == 100)
    look(150, 63)
    #expect(watch.judge([Self.figure]) == [])
  }

  @Test("Without a level nothing is told")
  func noLevel() {
    var watch = ErrorWatch()
    _ = watch.note([(Self.figure, .value(0))], at: boot(0), hours: 72, counting: true)
    watch.begin("run", version: "2", least: 600, hours: 72)
    _ = watch.note([(Self.figure, .value(900))], at: boot(60), hours: 72, counting: true)
    #expect(watch.judge([Self.figure]) == [])
  }

  @Test("A problem is said once, and its end")
  func problems() {
    var watch = ErrorWatch()
    func look(_ reading: ErrorReading, _ second: Double) -> [String] {
      watch.note([(Self.figure, reading)], at: boot(second), hours: 72, counting: true)
    }
    #expect(look(.problem("gone"), 0) == ["gone"])
    #expect(look(.problem("still gone"), 1) == [])
    #expect(watch.counters[0].problem == "still gone")
    #expect(look(.value(5), 2).count == 1)
    #expect(look(.value(6), 3) == [])
    #expect(watch.counters[0].hours.errors == 1)
  }

  @Test("Figures are read as Prometheus writes them")
  func text() {
    let text = """
      # HELP errors_total Errors
      # TYPE errors_total counter
      errors_total{kind="a}b\\" "} 3 1700000000000
      errors_total{kind="c"}\t4.5e1
      errors_total_of_others 100
      errors_total NaN
      errors_total{broken 7
      requests_total 12
      """
    #expect(ErrorMetrics.value(of: "errors_total", in: text) == 48)
    #expect(ErrorMetrics.value(of: "requests_total", in: text) == 12)
    #expect(ErrorMetrics.value(of: "errors", in: text) == nil)
    #expect(ErrorMetrics.value(of: "errors_total", in: "") == nil)
  }
}
