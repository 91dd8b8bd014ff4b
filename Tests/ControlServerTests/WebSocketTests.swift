import ControlServer
import Storage
import TestSupport
import Testing
import Updating

func webSocketRequest(
  _ server: LiveServer, path: String = "/ws", host: String? = nil, headers: [String] = []
) -> String {
  let lines = [
    "GET \(path) HTTP/1.1", "Host: \(host ?? server.host)", "Upgrade: websocket",
    "Connection: Upgrade", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  ]
  return (lines + headers).joined(separator: "\r\n") + "\r\n\r\n"
}

struct Frame: Equatable {
  var opcode: UInt8
  var payload: [UInt8]

  /// As a server sends it: never masked.
  static func parse(_ bytes: ArraySlice<UInt8>) -> (Frame, length: Int)? {
    let bytes = Array(bytes)
    guard bytes.count >= 2 else { return nil }
    var length = Int(bytes[1] & 0x7F)
    var start = 2
    for (marker, size) in [(126, 2), (127, 8)] where length == marker && start == 2 {
      guard bytes.count >= 2 + size else { return nil }
      length = bytes[2..<(2 + size)].reduce(0) { $0 << 8 | Int($1) }
      start = 2 + size
      break
    }
    guard bytes.count >= start + length else { return nil }
    return (
      Frame(opcode: bytes[0] & 0x0F, payload: Array(bytes[start..<(start + length)])),
      start + length
    )
  }

  /// As a client sends it.
  func masked() -> [UInt8] {
    let mask: [UInt8] = [1, 2, 3, 4]
    return [0x80 | opcode, 0x80 | UInt8(payload.count)] + mask
      + payload.enumerated().map { $1 ^ mask[$0 % 4] }
  }

  var closeCode: Int? {
    opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil
  }
}

extension RawConnection {
  func openWebSocket(_ server: LiveServer, path: String = "/ws") async throws {
    try await send(webSocketRequest(server, path: path))
    let head = try await take(through: "\r\n\r\n")
    #expect(head.hasPrefix("HTTP/1.1 101 "))
    // RFC 6455 1.3, the accept value of its sample key.
    #expect(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
  }

  func frame() async throws -> Frame { try await take(Frame.parse) }

  func event() async throws -> Event {
    let frame = try await frame()
    try #require(frame.opcode == 1)
    return try JSON.decode(Event.self, from: frame.payload)
  }
}

@Suite("WebSocket", .timeLimit(.minutes(5)))
struct WebSocketTests {
  @Test("The first message is the whole state; then every event follows")
  func stateFirst() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        let state = try await connection.event()
        #expect(state.type == .state)
        #expect(state.status != nil)
        #expect(state.seq == server.updater.events.lastSeq)
        server.updater.events.publish(.log) { $0.message = "one" }
        server.updater.events.publish(.log) { $0.message = "two" }
        #expect(try await connection.event().message == "one")
        #expect(try await connection.event().message == "two")
      }
    }
  }

  @Test("Who comes back with a number gets what was missed, and numbers never go back")
  func resumes() async throws {
    try await withServer { server in
      let start = server.updater.events.lastSeq
      for _ in 0..<5 { server.updater.events.publish(.progress) }
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server, path: "/ws?since=\(start + 2)")
        var numbers: [UInt64] = []
        for _ in 0..<4 { numbers.append(try await connection.event().seq) }
        #expect(numbers == [start + 2, start + 3, start + 4, start + 5])
      }
    }
  }

  @Test("Who was away too long gets the state and is told so")
  func gap() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server, path: "/ws?since=\(UInt64.max)")
        #expect(try await connection.event().type == .state)
        let gap = try await connection.event()
        #expect(gap.type == .gap)
        #expect(gap.seq == server.updater.events.lastSeq)
      }
    }
  }

  @Test("Pings are answered and the closing handshake is completed")
  func pingAndClose() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = try await connection.event()
        try await connection.send(Frame(opcode: 9, payload: [7, 8]).masked())
        #expect(try await connection.frame() == Frame(opcode: 10, payload: [7, 8]))
        try await connection.send(Frame(opcode: 1, payload: Array("chatter".utf8)).masked())
        try await connection.send(Frame(opcode: 8, payload: [3, 232]).masked())
        #expect(try await connection.frame().closeCode == 1000)
        #expect(await connection.readToEnd().isEmpty)
      }
    }
  }

  @Test("An unmasked frame ends the connection with a protocol error")
  func unmasked() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = try await connection.event()
        try await connection.send([0x81, 2, 104, 105])
        #expect(try await connection.frame().closeCode == 1002)
        #expect(await connection.readToEnd().isEmpty)
      }
    }
  }

  @Test("A frame that announces 300 MB is refused at its header")
  func hugeFrame() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = try await connection.event()
        try await connection.send(
          [0x82, 0xFF, 0, 0, 0, 0, 0x11, 0xE1, 0xA3, 0, 1, 2, 3, 4])
        #expect(try await connection.frame().closeCode == 1009)
        #expect(await connection.readToEnd().isEmpty)
      }
    }
  }

  @Test("A listener that does not answer pings is dropped", .timeLimit(.minutes(5)))
  func silence() async throws {
    try await withServer(\.pingInterval, .milliseconds(100)) { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = await connection.readToEnd()
      }
    }
  }

  @Test("A listener that does not read is dropped; nobody waits for it and nothing piles up")
  func slowListener() async throws {
    try await withServer(\.pingInterval, .seconds(4)) { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = try await connection.event()
        let long = String(repeating: "x", count: 10_000)
        for _ in 0..<5000 { server.updater.events.publish(.log) { $0.message = long } }
        // Everything would be 50 MB; what is there is what the buffers held when the server gave
        // up.
        #expect(await connection.readToEnd().utf8.count < 25_000_000)
      }
    }
  }

  @Test("A listener that answers pings and takes nothing is hung up on")
  func stalled() async throws {
    var limits = ServerConfiguration.Limits.forTests
    limits.stallTime = .seconds(1)
    limits.pingInterval = .seconds(60)
    try await withServer(limits: limits) { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        // More than the buffers of both sides hold, and not so many that it is dropped for that.
        let long = String(repeating: "x", count: 200_000)
        for _ in 0..<(EventHub.subscriberCapacity - 6) {
          server.updater.events.publish(.log) { $0.message = long }
        }
        try await waitUntil("it is gone") {
          try? await connection.send(Frame(opcode: 10, payload: []).masked())
          return server.updater.events.listeners.now == 0
        }
      }
    }
  }

  @Test(
    "What a client sends right behind its handshake is read as frames",
    arguments: [
      (
        Frame(opcode: 9, payload: Array("early".utf8)).masked(),
        Frame(opcode: 10, payload: Array("early".utf8))
      ),
      (Array("x".utf8) + [0], Frame(opcode: 8, payload: [0x03, 0xEA])),
      (Array("GET / HTTP/1.1\r\n\r\n".utf8), Frame(opcode: 8, payload: [0x03, 0xEA])),
    ])
  func early(bytes: [UInt8], answer: Frame) async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.send(Array(webSocketRequest(server).utf8) + bytes)
        #expect(try await connection.take(through: "\r\n\r\n").hasPrefix("HTTP/1.1 101 "))
        var frame = try await connection.frame()
        while frame.opcode == 1 { frame = try await connection.frame() }
        #expect(frame == answer)
      }
      let alive = try await server.send("GET", "/livez")
      #expect(alive.status == 200)
    }
  }

  @Test("A listener that was dropped comes back with its number and misses nothing")
  func resumesAfterDrop() async throws {
    try await withServer { server in
      let events = server.updater.events
      // Half of what is kept, and more than one listener may be behind.
      let count = EventHub.capacity / 2
      let seen = try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        let seen = try await connection.event().seq
        for _ in 0..<count { events.publish(.progress) }
        return seen
      }
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server, path: "/ws?since=\(seen)")
        #expect(try await connection.event().type == .state)
        for number in 1...UInt64(count) {
          let event = try await connection.event()
          #expect(event.type == .progress)
          #expect(event.seq == seen + number)
        }
      }
    }
  }

  @Test("When the server stops, listeners are told that it is going away")
  func goingAway() async throws {
    let (messages, message) = AsyncStream.makeStream(of: Int?.self)
    try await withThrowingTaskGroup(of: Void.self) { group in
      try await withServer { server in
        let (opened, open) = AsyncStream.makeStream(of: Void.self)
        group.addTask {
          // Whatever fails is told by the test, which does not wait for what will not come.
          defer {
            open.finish()
            message.finish()
          }
          try await withConnection(to: server) { connection in
            try await connection.openWebSocket(server)
            _ = try await connection.event()
            open.yield()
            message.yield(try await connection.frame().closeCode)
            // The server may be gone by then.
            try? await connection.send(Frame(opcode: 8, payload: [3, 233]).masked())
          }
        }
        for await _ in opened { break }
      }
      var told: Int?
      for await code in messages { told = code }
      #expect(told == 1001)
    }
  }

  @Test("A plain request to the WebSocket's address is told what it is")
  func plainRequest() async throws {
    try await withServer { server in
      let answer = try await server.send("GET", "/ws")
      #expect(answer.status == 426)
      #expect(answer.header("upgrade") == "websocket")
    }
  }

  @Test("A wish for another protocol is ignored and the request answered")
  func otherProtocol() async throws {
    try await withServer { server in
      for headers in [["Upgrade: h2c"], ["Upgrade: websocket", "Sec-WebSocket-Version: 8"]] {
        let answer = try await server.send("GET", "/livez", headers: headers)
        #expect(answer.status == 200, "\(headers)")
      }
      let old = try await server.send(
        "GET", "/ws",
        headers: ["Upgrade: websocket", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: eA=="])
      #expect(old.status == 426)
    }
  }
}
