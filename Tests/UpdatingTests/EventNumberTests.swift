import Storage
import TestSupport
import Testing

@testable import Updating

@Suite("Event numbers")
struct EventNumberTests {
  private func take(_ count: Int, from numbers: inout EventNumbers) -> [UInt64] {
    (0..<count).map { _ in numbers.take() }
  }

  @Test("Each life's numbers are above those of the one before, however far the clock was set back")
  func risesOverRestarts() throws {
    let folder = try TemporaryFolder()
    var last: UInt64 = 0
    for count in [1, 70_000, 3, 0, 65_536, 2] {
      var numbers = EventNumbers(stateDirectory: folder.path)
      #expect(numbers.next > last)
      for number in take(count, from: &numbers) {
        #expect(number > last)
        last = number
      }
    }
    // A clock that is right again is behind what was reserved while it was wrong.
    let ahead: UInt64 = 4_000_000_000_000
    try FileSystem.replace(folder("event-numbers"), with: Array("\(ahead)".utf8))
    var numbers = EventNumbers(stateDirectory: folder.path)
    #expect(take(1, from: &numbers) == [ahead])
    #expect(EventNumbers(stateDirectory: folder.path).next > ahead)
  }

  @Test("The file is written once in many events")
  func isWrittenSeldom() throws {
    let folder = try TemporaryFolder()
    var numbers = EventNumbers(stateDirectory: folder.path)
    #expect(FileSystem.facts(folder("event-numbers")) == nil)
    _ = numbers.take()
    let written = FileSystem.facts(folder("event-numbers"))
    _ = take(60_000, from: &numbers)
    #expect(FileSystem.facts(folder("event-numbers")) == written)
  }

  @Test("Without the file, or with one that makes no sense, the clock has to do")
  func clock() throws {
    let folder = try TemporaryFolder()
    let first = EventNumbers(stateDirectory: folder.path).next
    for text in ["", "nonsense", "99999999999999999999999", "9007199254740993"] {
      try FileSystem.replace(folder("event-numbers"), with: Array(text.utf8))
      let next = EventNumbers(stateDirectory: folder.path).next
      #expect(next >= first && next < first + 3_600_000, "\(text)")
    }
  }

  @Test("Results of a life before come with their numbers to whoever was away, and a gap is told")
  func formerResults() throws {
    let hub = EventHub(numbers: EventNumbers(first: 1000))
    hub.remember([5, 7, 1000].map { Event(seq: $0, at: "", type: .result) })
    hub.publish(.log)
    #expect(hub.subscribe(since: 5).backlog.events.map(\.seq) == [7, 1000])
    #expect(hub.subscribe(since: 5).backlog.gap)
    #expect(hub.subscribe(since: 6).backlog.events.map(\.type) == [.result, .log])
    #expect(hub.subscribe(since: 999).backlog.events.map(\.seq) == [1000])
    #expect(!hub.subscribe(since: 999).backlog.gap)
  }
}
