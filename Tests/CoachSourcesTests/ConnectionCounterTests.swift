import Coach
import Dispatch
import Glibc
import Synchronization
import TestSupport
import Testing

@testable import CoachSources

@Suite("Connections to the controller are counted, but for chock's own", .timeLimit(.minutes(5)))
struct ConnectionCounterTests {
  private func count(_ port: UInt16) async throws -> Double {
    var counter = ConnectionCounter(port: port)
    let poll = await counter.poll()
    try #require(poll.state.isWell && poll.reports.count == 1, "\(poll.state)")
    guard
      case .value(.number(let count), of: "connections", lasting: .seconds(6)) =
        poll.reports[0].content
    else {
      Issue.record("\(poll.reports)")
      return -1
    }
    #expect(poll.reports[0].source == "/proc/net/tcp")
    return count
  }

  @Test("A stranger counts as long as it is connected, and chock itself does not")
  func strangers() async throws {
    let folder = try TemporaryFolder()
    let (listener, port) = try listenOnLoopback()
    defer { close(listener) }
    #expect(try await count(port) == 0)
    let own = try SocketClient.connected(to: port)
    defer { close(own) }
    #expect(try await count(port) == 0)

    let stranger = try ChildProcess(
      "bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port); exec sleep 1000"],
      output: folder("output"), error: folder("error"))
    try await waitUntil("the stranger counts") { try await count(port) == 1 }
    let second = try ChildProcess(
      "bash", ["-c", "exec 3<>/dev/tcp/127.0.0.1/\(port); exec sleep 1000"],
      output: folder("output"), error: folder("error"))
    try await waitUntil("both count") { try await count(port) == 2 }
    stranger.signal(SIGKILL)
    second.signal(SIGKILL)
    try await waitUntil("nobody is left") { try await count(port) == 0 }
  }

  @Test("chock's own short connections never count")
  func ownAreNeverCounted() async throws {
    let (listener, port) = try listenOnLoopback()
    defer { close(listener) }
    let isDone = Mutex(false)
    // A queue of its own, because it blocks.
    DispatchQueue(label: "own connections").async {
      for _ in 0..<500 {
        guard let own = try? SocketClient.connected(to: port) else { break }
        // Without TIME_WAIT, which would fill the kernel's table.
        var reset = linger(l_onoff: 1, l_linger: 0)
        setsockopt(own, SOL_SOCKET, SO_LINGER, &reset, socklen_t(MemoryLayout<linger>.size))
        let other = accept(listener, nil, nil)
        close(own)
        close(other)
      }
      isDone.withLock { $0 = true }
    }
    repeat { #expect(try await count(port) == 0) } while !isDone.withLock { $0 }
  }

  @Test("A row of the kernel's table is read, and an IPv4 address in IPv6 is the same one")
  func rows() throws {
    let row = try #require(
      TCPConnection(
        "   1: 0100007F:1F40 0201A8C0:C001 01 00000000:00000000 00:00000000 00000000  1000 0 31337 1 0 20 4 30 10 -1"
      ))
    #expect(
      row.local.description == "127.0.0.1:8000" && row.remote.description == "192.168.1.2:49153")
    #expect(row.isEstablished && row.inode == 31337)
    let mapped = try #require(
      TCPConnection(
        "   0: 0000000000000000FFFF00000100007F:1F40 0000000000000000FFFF00000201A8C0:C001 06 00000000:00000000 00:00000000 00000000 0 0 0 1 0"
      ))
    #expect(mapped.local == row.local && mapped.remote == row.remote && !mapped.isEstablished)
    let six = try #require(
      TCPConnection.Endpoint("00000000000000000000000001000000:0050"))
    #expect(six.description == "[::1]:80")
    for bad in ["", "  sl  local_address rem_address   st", "0: zz:1 0:1 01 1 1 1 1 1 1"] {
      #expect(TCPConnection(bad[...]) == nil)
    }
  }
}
