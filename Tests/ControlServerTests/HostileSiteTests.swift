import ControlServer
import Storage
import Testing
import Updating

@Suite("Pages of other sites", .timeLimit(.minutes(5)))
struct HostileSiteTests {
  @Test("DNS rebinding: a name that is not ours gets nothing, not even the panel")
  func rebinding() async throws {
    try await withServer { server in
      for host in [
        "evil.example", "evil.example:\(server.port)", "127.0.0.1.evil.example", "[::1",
        "localhost:x",
      ] {
        for path in ["/", "/api/database/status", "/ws", "/livez"] {
          let answer = try await server.send("GET", path, host: host)
          #expect(answer.status == 403, "\(host)\(path)")
        }
      }
      // And it is remembered that somebody tried, once.
      let audit = try server.updater.audit(limit: 10, before: nil).entries
      #expect(audit.map(\.accepted) == ["a foreign Host or Origin"])
      for host in ["127.0.0.1", "localhost:9", "[::1]:8765", "LOCALHOST", "coach.local:80"] {
        let answer = try await server.send("GET", "/livez", host: host)
        #expect(answer.status == 200, "\(host)")
      }
    }
  }

  @Test("A request without a Host is refused over TCP")
  func noHost() async throws {
    try await withServer { server in
      let answer = try await withConnection(to: server) { connection in
        try await connection.send("GET /livez HTTP/1.0\r\n\r\n")
        return try server.answer(await connection.readToEnd())
      }
      #expect(answer.status == 403)
    }
  }

  @Test("CSRF: a form of another page cannot change anything")
  func form() async throws {
    try await withServer { server in
      let path = "/api/database/update"
      let form = "Content-Type: application/x-www-form-urlencoded"
      #expect(
        try await server.send("POST", path, headers: [form], body: "consent=true").status == 415)
      #expect(
        try await server.send(
          "POST", path, headers: ["Content-Type: text/plain"], body: "{\"consent\": true}"
        ).status == 415)
      // Whatever else a form, or a page's fetch without asking first, can say that it sends.
      for type in ["multipart/form-data; boundary=x", "text/html", "application/json-seq", ""] {
        let answer = try await server.send(
          "POST", "/api/database/restore/x", headers: ["Content-Type: \(type)"],
          body: "{\"consent\": true}")
        #expect(answer.status == 415, "\(type)")
      }
      for origin in ["http://evil.example", "null", "https://\(server.host)", "http://127.0.0.1"] {
        for (method, path) in [
          ("POST", path), ("POST", "/api/database/backups"), ("DELETE", "/api/database/backups/x"),
          ("PUT", "/api/safety/activities/x"),
        ] {
          let answer = try await server.send(method, path, headers: ["Origin: \(origin)"])
          #expect(answer.status == 403, "\(origin) \(method) \(path)")
          #expect(answer.body.contains("CHK-NOT-ALLOWED"))
        }
      }
      let own = "Origin: http://\(server.host)"
      #expect(
        try await server.send("DELETE", "/api/safety/activities/x", headers: [own]).status == 204)
    }
  }

  @Test("Cross-site WebSocket: a page of another site cannot listen")
  func webSocket() async throws {
    try await withServer { server in
      for origin in ["http://evil.example", "null", "http://localhost"] {
        let answer = try await withConnection(to: server) { connection in
          try await connection.send(
            webSocketRequest(server, headers: ["Origin: \(origin)"]))
          return try server.answer(try await connection.take(through: "\r\n\r\n"))
        }
        #expect(answer.status == 403, "\(origin)")
      }
      let rebound = try await withConnection(to: server) { connection in
        try await connection.send(webSocketRequest(server, host: "evil.example"))
        return try server.answer(try await connection.take(through: "\r\n\r\n"))
      }
      #expect(rebound.status == 403)
    }
  }

  @Test("Over the unix socket the name does not matter: its file permissions decide")
  func unixSocket() async throws {
    try await withServer { server in
      let answer = try await server.client.request(
        "DELETE", "/api/safety/activities/x", headers: [("host", "anything")])
      #expect(answer.status == 204)
    }
  }
}
