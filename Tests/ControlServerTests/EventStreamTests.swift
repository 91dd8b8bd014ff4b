import ControlServer
import FoundationEssentials
import Glibc
import Migrations
import Testing
import Updating

@Suite("Event stream and unix socket", .timeLimit(.minutes(5)))
struct EventStreamTests {
  @Test("Server-Sent Events start with the state and resume by Last-Event-ID")
  func serverSentEvents() async throws {
    try await withServer { server in
      let start = server.updater.events.lastSeq
      for _ in 0..<3 { server.updater.events.publish(.progress) }
      try await withConnection(to: server) { connection in
        try await connection.send(
          "GET /api/events HTTP/1.1\r\nHost: \(server.host)\r\nLast-Event-ID: \(start + 1)\r\n\r\n")
        let head = try await connection.take(through: "\r\n\r\n")
        #expect(head.contains("text/event-stream"))
        #expect(try await connection.take(through: "\n\n").contains("retry: "))
        for (number, type) in [
          (start + 1, "state"), (start + 2, "progress"), (start + 3, "progress"),
        ] {
          let event = try await connection.take(through: "\n\n")
          #expect(event.contains("id: \(number)\nevent: \(type)\ndata: {"))
        }
      }
      #expect(try await server.send("GET", "/api/events?since=x").status == 400)
    }
  }

  @Test("A silent stream is kept alive by comments")
  func keepAlive() async throws {
    try await withServer(\.keepAliveInterval, .milliseconds(50)) { server in
      try await withConnection(to: server) { connection in
        try await connection.send("GET /api/events HTTP/1.1\r\nHost: \(server.host)\r\n\r\n")
        #expect(try await connection.take(through: ": still here\n\n").contains("event: state"))
      }
    }
  }

  @Test("The command line's client reads answers and follows events over the unix socket")
  func client() async throws {
    try await withServer { server in
      let answer = try await server.client.request("GET", "/api/database/status")
      #expect(answer.status == 200)
      #expect(answer.header("Content-Type") == "application/json")
      #expect(String(decoding: answer.body, as: UTF8.self).contains("chock.STATUS/1"))
      let put = try await server.client.request(
        "PUT", "/api/safety/activities/slide",
        body: Array(#"{"description": "slide 1 extending", "ttl_seconds": 5}"#.utf8))
      #expect(put.status == 204)

      var types: [Event.EventType] = []
      for try await event in server.client.events() {
        types.append(event.type)
        if types.count == 1 { server.updater.events.publish(.log) { $0.message = "two" } }
        if event.message == "two" { break }
      }
      #expect(types.first == .state)
      #expect(types.last == .log)
    }
  }

  @Test("Who asks over the unix socket is known by the kernel's word")
  func peer() async throws {
    try await withServer { server in
      let put = try await server.client.request(
        "PUT", "/api/safety/readings/parking_brake",
        body: Array(#"{"value": "engaged", "ttl_seconds": 60}"#.utf8))
      #expect(put.status == 204)
      let user = try #require(getpwuid(getuid()).map { String(cString: $0.pointee.pw_name) })
      let safety = try await server.client.request("GET", "/api/safety")
      #expect(String(decoding: safety.body, as: UTF8.self).contains(#""source":"cli:\#(user)""#))
    }
  }

  @Test("Without a daemon the client says so")
  func noDaemon() async throws {
    let client = ControlClient(socketPath: "/nonexistent/chock.sock")
    let failure = await #expect(throws: Failure.self) {
      try await client.request("GET", "/livez")
    }
    #expect(failure?.code == .noDaemon)
    let second = await #expect(throws: Failure.self) {
      for try await _ in client.events() {}
    }
    #expect(second?.code == .noDaemon)
  }

  @Test("The socket is for its owner and group, and goes away with the server")
  func socketFile() async throws {
    let folder = try makeFolder()
    defer { removeFolder(folder) }
    try await withServer(in: folder) { server in
      let attributes = try FileManager.default.attributesOfItem(atPath: server.socketPath)
      #expect(attributes[.type] as? FileAttributeType == .typeSocket)
      #expect(attributes[.posixPermissions] as? UInt == 0o660)
    }
    #expect(access(folder + "/chock.sock", F_OK) != 0)
  }

  @Test("A socket that a crash left behind is replaced; one that answers, or another file, is not")
  func staleSocket() async throws {
    let folder = try makeFolder()
    defer { removeFolder(folder) }
    let path = folder + "/chock.sock"
    try leaveDeadSocket(at: path)
    try await withServer(in: folder) { server in
      let before = try await server.client.request("GET", "/livez")
      #expect(before.status == 200)
      let second = await #expect(throws: Failure.self) { try await withServer(in: folder) { _ in } }
      #expect(second?.code == .runActive)
      let after = try await server.client.request("GET", "/livez")
      #expect(after.status == 200)
    }
    close(creat(path, 0o600))
    let third = await #expect(throws: Failure.self) { try await withServer(in: folder) { _ in } }
    #expect(third?.code == .badConfig)
    #expect(access(path, F_OK) == 0)
  }

  @Test("The server stops although event streams are open", .timeLimit(.minutes(5)))
  func stops() async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      let (opened, open) = AsyncStream.makeStream(of: Void.self)
      try await withServer { server in
        group.addTask {
          for try await event in server.client.events() where event.type == .state { open.yield() }
        }
        group.addTask {
          try await withConnection(to: server) { connection in
            try await connection.openWebSocket(server)
            open.yield()
            _ = await connection.readToEnd()
          }
        }
        var count = 0
        for await _ in opened {
          count += 1
          if count == 2 { break }
        }
      }
      try await group.waitForAll()
    }
  }

  private func leaveDeadSocket(at path: String) throws {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(result == 0)
  }
}
