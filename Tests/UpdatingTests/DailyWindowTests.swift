import FoundationEssentials
import Glibc
import Storage
import Testing

@testable import Updating

@Suite("A daily window is one of the device's clock")
struct DailyWindowTests {
  @Test(
    "It ends when the clock shows its end, also when summer begins or ends in it")
  func summer() async {
    // In a process of its own: the time zone is the whole process's.
    await #expect(processExitsWith: .success) {
      setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1)
      tzset()
      func seconds(_ text: String) throws -> Double {
        try #require(Timestamp.date(text)).timeIntervalSince1970
      }
      let window = try #require(DailyWindow("02:00-05:00"))
      for (evening, start, end) in [
        // An ordinary night, the one on which summer begins (02:00 is 03:00), and the one on which it ends.
        ("2027-01-10T20:00:00Z", "2027-01-11T01:00:00Z", "2027-01-11T04:00:00Z"),
        ("2027-03-27T20:00:00Z", "2027-03-28T01:00:00Z", "2027-03-28T03:00:00Z"),
        ("2027-10-30T20:00:00Z", nil, "2027-10-31T04:00:00Z"),
      ] {
        let begins = DailyWindow.next(window.start, after: try seconds(evening))
        // 02:00 is there twice when summer ends.
        if let start { #expect(begins == (try seconds(start))) }
        let ends = window.end(beganAt: begins, minutes: window.start)
        #expect(ends == (try seconds(end)), "\(evening)")
      }
      // Both ends in the hour that is not there.
      let short = try #require(DailyWindow("02:10-02:40"))
      let begins = DailyWindow.next(short.start, after: try seconds("2027-03-27T20:00:00Z"))
      #expect(short.end(beganAt: begins, minutes: short.start) - begins <= 7200)
    }
  }
}
