import Dispatch
import Testing
import Updating

@Suite("Event hub")
struct EventHubTests {
  @Test("A subscriber gets every event once, in order, whether it came before or after")
  func joinsWithoutLossOrDouble() async {
    let hub = EventHub(numbers: EventNumbers(first: 100))
    for _ in 0..<10 { hub.publish(.log) }
    await withTaskGroup(of: Void.self) { group in
      group.addTask { for _ in 0..<200 { hub.publish(.progress) } }
      for _ in 0..<8 {
        group.addTask {
          let subscription = hub.subscribe(since: 104)
          var seen = subscription.backlog.events.map(\.seq)
          if seen.last != 309 {
            for await event in subscription.events {
              seen.append(event.seq)
              if event.seq == 309 { break }
            }
          }
          #expect(seen == Array(105...309))
        }
      }
    }
  }

  @Test("What is no longer kept, and what never was, is a gap")
  func gaps() {
    let hub = EventHub(capacity: 4, numbers: EventNumbers(first: 10))
    #expect(!hub.subscribe(since: 9).backlog.gap)
    #expect(hub.subscribe(since: 8).backlog.gap)
    for _ in 0..<6 { hub.publish(.log) }
    #expect(hub.lastSeq == 15)
    #expect(hub.subscribe(since: 11).backlog.events.map(\.seq) == [12, 13, 14, 15])
    #expect(!hub.subscribe(since: 11).backlog.gap)
    // What is kept comes all the same.
    #expect(hub.subscribe(since: 10).backlog.gap)
    #expect(hub.subscribe(since: 10).backlog.events.map(\.seq) == [12, 13, 14, 15])
    #expect(hub.subscribe(since: 3).backlog.events.map(\.seq) == [12, 13, 14, 15])
    #expect(hub.subscribe(since: 16).backlog.gap)
    #expect(hub.subscribe(since: 15).backlog.events.isEmpty)
    #expect(hub.subscribe(since: nil).backlog.events.isEmpty)
  }

  @Test("A subscriber that does not keep up is dropped and nobody waits for it")
  func dropsTheSlow() async {
    let hub = EventHub(numbers: EventNumbers(first: 1))
    let slow = hub.subscribe(since: nil)
    for _ in 0..<(EventHub.subscriberCapacity + 50) { hub.publish(.progress) }
    var count = 0
    for await _ in slow.events { count += 1 }
    #expect(count == EventHub.subscriberCapacity)
  }

  @Test("Who names types is handed those alone, and is not behind because of others")
  func types() async {
    let hub = EventHub(numbers: EventNumbers(first: 1))
    hub.publish(.result)
    hub.publish(.gate)
    let results = hub.subscribe(since: 0, only: [.result])
    #expect(results.backlog.events.map(\.seq) == [1])
    #expect(!hub.isHeard(.gate) && hub.isHeard(.result))
    for _ in 0..<(EventHub.subscriberCapacity + 50) { hub.publish(.gate) }
    let last = hub.publish(.result)
    results.continuation.finish()
    #expect(await results.events.reduce(into: []) { $0.append($1.seq) } == [last])
    #expect(!hub.isHeard(.result))
  }

  @Test("A subscriber that goes while an event is handed out holds nobody up")
  func letsGo() async {
    let hub = EventHub(numbers: EventNumbers(first: 1))
    // The deadlock that this is about takes every thread that could notice it.
    let watchdog = DispatchSource.makeTimerSource(queue: DispatchQueue(label: "watchdog"))
    watchdog.setEventHandler { fatalError("Publishing and leaving wait for each other.") }
    watchdog.schedule(deadline: .now() + 120)
    watchdog.resume()
    defer { watchdog.cancel() }
    let publishing = Task { while !Task.isCancelled { hub.publish(.progress) } }
    for _ in 0..<4000 {
      let listening = (0..<4).map { _ in
        Task { for await _ in hub.subscribe(since: nil).events {} }
      }
      await Task.yield()
      for task in listening { task.cancel() }
      for task in listening { await task.value }
    }
    publishing.cancel()
    #expect(hub.listeners.now == 0)
  }

  @Test("An event carries what its publisher filled in, with number and time")
  func fills() throws {
    let hub = EventHub(numbers: EventNumbers(first: 7))
    #expect(hub.publish(.log) { $0.message = "Hello" } == 7)
    let event = try #require(hub.subscribe(since: 6).backlog.events.first?.event)
    #expect(event.seq == 7)
    #expect(event.message == "Hello")
    #expect(event.at.hasSuffix("Z"))
  }
}
