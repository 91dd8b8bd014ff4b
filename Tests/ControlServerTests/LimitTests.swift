import NIOCore
import TestSupport
import Testing

@testable import ControlServer

@Suite("Limits", .timeLimit(.minutes(5)))
struct LimitTests {
  @Test("A body that announces 100 MB is refused before it is read")
  func announcedBody() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.send(
          """
          POST /api/database/update HTTP/1.1\r
          Host: \(server.host)\r
          Content-Type: application/json\r
          Content-Length: 104857600\r
          \r
          {
          """)
        let answer = try server.answer(await connection.readToEnd())
        #expect(answer.status == 413)
        #expect(answer.header("connection") == "close")
      }
    }
  }

  @Test("A body without an announced length is cut off at the limit")
  func endlessBody() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.send(
          """
          POST /api/database/update HTTP/1.1\r
          Host: \(server.host)\r
          Content-Type: application/json\r
          Transfer-Encoding: chunked\r
          \r

          """)
        let chunk = "8000\r\n" + String(repeating: " ", count: 0x8000) + "\r\n"
        for _ in 0..<4 { try await connection.send(chunk) }
        #expect(try server.answer(await connection.readToEnd()).status == 413)
      }
    }
  }

  @Test("Who asks before sending a body is told to go on, or at once that it is too long")
  func expectation() async throws {
    try await withServer { server in
      func ask(_ length: Int, then body: String) async throws -> String {
        try await withConnection(to: server) { connection in
          try await connection.send(
            """
            PUT /api/safety/readings/parking_brake HTTP/1.1\r
            Host: \(server.host)\r
            Content-Type: application/json\r
            Content-Length: \(length)\r
            Expect: 100-continue\r
            Connection: close\r
            \r

            """)
          guard !body.isEmpty else { return await connection.readToEnd() }
          let interim = try await connection.take(through: "\r\n\r\n")
          #expect(interim.hasPrefix("HTTP/1.1 100 "), "\(interim)")
          try await connection.send(body)
          return await connection.readToEnd()
        }
      }
      let body = #"{"value": "engaged", "ttl_seconds": 5}"#
      let taken = try await ask(body.utf8.count, then: body)
      #expect(taken.hasPrefix("HTTP/1.1 204 "), "\(taken)")
      let refused = try await ask(104_857_600, then: "")
      #expect(refused.hasPrefix("HTTP/1.1 413 "), "\(refused)")
    }
  }

  @Test("Slowloris: a header that does not end is cut off by the total time")
  func slowHeader() async throws {
    try await withServer(\.headerTime, .milliseconds(200)) { server in
      try await withConnection(to: server) { connection in
        try await connection.send("GET /livez HTTP/1.1\r\nHost: \(server.host)\r\nX-A: b\r\n")
        #expect(await connection.readToEnd().isEmpty)
      }
      // One that says nothing at all fares no better.
      try await withConnection(to: server) { connection in
        #expect(await connection.readToEnd().isEmpty)
      }
    }
  }

  @Test("A body that does not end is cut off by the total time")
  func slowBody() async throws {
    try await withServer(\.bodyTime, .milliseconds(200)) { server in
      try await withConnection(to: server) { connection in
        try await connection.send(
          """
          POST /api/database/update HTTP/1.1\r
          Host: \(server.host)\r
          Content-Type: application/json\r
          Content-Length: 100\r
          \r
          {
          """)
        _ = await connection.readToEnd()
      }
    }
  }

  @Test("A header of more than 16 kB is refused")
  func longHeader() async throws {
    try await withServer { server in
      let answer = try await server.send(
        "GET", "/livez", headers: ["X-Long: " + String(repeating: "a", count: 20_000)])
      #expect(answer.status == 431)
    }
  }

  @Test("What is not HTTP is answered with 400 and a closed connection")
  func garbage() async throws {
    try await withServer { server in
      try await withConnection(to: server) { connection in
        try await connection.send("\u{16}\u{3}\u{1} hello\r\n\r\n")
        #expect(await connection.readToEnd().hasPrefix("HTTP/1.1 400 "))
      }
    }
  }

  @Test("With all connections taken the probes are answered, and everybody else is told to wait")
  func fullHouse() async throws {
    try await withServer(\.maxConnections, 1) { server in
      try await withConnection(to: server) { connection in
        try await connection.openWebSocket(server)
        _ = try await connection.event()
        for path in ["/livez", "/readyz"] {
          #expect(try await server.send("GET", path).status == 200)
        }
        for path in ["/", "/api/database/status", "/api/events", "/ws"] {
          let answer = try await server.send("GET", path)
          #expect(answer.status == 503, "\(path)")
          #expect(answer.body.contains("CHK-BUSY"))
          #expect(answer.header("retry-after") == "2")
          #expect(answer.header("connection") == "close")
        }
        try await withConnection(to: server) { connection in
          try await connection.send(webSocketRequest(server))
          #expect(await connection.readToEnd().hasPrefix("HTTP/1.1 503 "))
        }
        // The unix socket has places of its own.
        let answer = try await server.client.request("GET", "/api/database/status")
        #expect(answer.status == 200)
      }
      // The place is free again.
      try await waitUntil("somebody else gets in") {
        try await server.send("GET", "/api/database/status").status == 200
      }
    }
  }

  @Test("The health check is answered although somebody takes every connection and holds it")
  func healthUnderAttack() async throws {
    try await withServer(\.maxConnections, 4) { server in
      try await withThrowingTaskGroup(of: Void.self) { group in
        let (opened, open) = AsyncStream.makeStream(of: Void.self)
        for _ in 0..<100 {
          group.addTask {
            // A header that does not end, on a connection that is held as long as it lasts.
            try? await withConnection(to: server) { connection in
              try? await connection.send("GET /livez HTTP/1.1\r\nHost: \(server.host)\r\n")
              open.yield()
              _ = await connection.readToEnd()
            }
          }
        }
        var count = 0
        for await _ in opened {
          count += 1
          if count == 100 { break }
        }
        for _ in 0..<5 {
          let answer = try await server.send("GET", "/livez")
          #expect(answer.status == 200)
        }
        group.cancelAll()
      }
    }
  }
}

@Suite("Connection rules")
struct ConnectionRulesTests {
  private let start = NIODeadline.uptimeNanoseconds(0)

  @Test("Header, body and idle times are totals; an answer being made has none")
  func deadlines() {
    var rules = ConnectionRules(limits: .init())
    rules.opened(at: start)
    #expect(rules.deadline == start + .seconds(10))
    rules.requestBegan(keepsAlive: true, at: start + .seconds(9))
    #expect(rules.deadline == start + .seconds(24))
    rules.requestEnded()
    #expect(rules.deadline == nil)
    #expect(rules.responseEnded(at: start + .seconds(30)) == .none)
    #expect(rules.deadline == start + .seconds(90))
    #expect(!rules.isOver(at: start + .seconds(89)))
    #expect(rules.isOver(at: start + .seconds(90)))
  }

  @Test("A client that takes nothing is given up, whatever else it does")
  func stall() {
    var rules = ConnectionRules(limits: .init())
    rules.opened(at: start)
    rules.requestBegan(keepsAlive: true, at: start)
    rules.requestEnded()
    rules.writable(false, at: start)
    #expect(rules.deadline == start + .seconds(30))
    rules.writable(true, at: start + .seconds(1))
    #expect(rules.deadline == nil)
  }

  @Test("After the last answer the client has a second to read it")
  func closing() {
    var rules = ConnectionRules(limits: .init())
    rules.requestBegan(keepsAlive: false, at: start)
    #expect(rules.responseEnded(at: start) == .closeOutput)
    rules.requestEnded()
    #expect(rules.deadline == start + .seconds(1))
  }

  @Test("A stop closes idle connections at once and busy ones after their answer")
  func quiesce() {
    var idle = ConnectionRules(limits: .init())
    idle.opened(at: start)
    #expect(idle.quiesce() == .close)
    var busy = ConnectionRules(limits: .init())
    busy.requestBegan(keepsAlive: true, at: start)
    #expect(busy.quiesce() == .none)
    busy.requestEnded()
    #expect(busy.responseEnded(at: start) == .closeOutput)
  }
}
