import HTTPTypes
import HummingbirdCore
import Migrations
import Testing
import Updating

@testable import ControlServer

@Suite("Routing and errors", .timeLimit(.minutes(5)))
struct RoutingTests {
  @Test("An unknown path and a wrong method are problem documents, the latter with Allow")
  func notThere() async throws {
    try await withServer { server in
      let missing = try await server.send("GET", "/api/nothing")
      #expect(missing.status == 404)
      #expect(missing.header("content-type") == "application/problem+json")
      #expect(missing.body.contains(#""type":"urn:chock:problem:CHK-NOT-FOUND""#))
      let wrong = try await server.send("DELETE", "/api/database/status")
      #expect(wrong.status == 405)
      #expect(wrong.header("allow") == "GET, HEAD, OPTIONS")
      #expect(wrong.header("content-type") == "application/problem+json")
      #expect(try await server.send("HEAD", "/api/database/status").status == 200)
      // RFC 9110 6.6.1
      #expect(wrong.header("date")?.hasSuffix(" GMT") == true)
    }
  }

  @Test("A body is exact: unknown, wrong and missing fields are named")
  func strictBodies() async throws {
    try await withServer { server in
      let reading = "/api/safety/readings/parking_brake"
      for (path, body, field) in [
        (reading, #"{"value": "engaged", "ttl": 5}"#, "`ttl`"),
        (reading, #"{"value": "engaged", "ttl_seconds": "5"}"#, "`ttl_seconds` must be a number"),
        (reading, #"{"value": "engaged"}"#, "`ttl_seconds` is missing"),
        (reading, #"{"value": [], "ttl_seconds": 5}"#, "`value`"),
        (reading, #"{"value": "engaged", "ttl_seconds": -1}"#, "`ttl_seconds` must be above 0"),
        (reading, "[1]", "JSON object"),
        (reading, #"{"value": "#, "not well-formed"),
        (reading, #"{"value": "engaged", "ttl_seconds": 5,}"#, "a comma too many"),
        (
          reading, #"{"value": "released", "ttl_seconds": 5, "value": "engaged"}"#,
          "`value` is there twice"
        ),
        (
          reading, #"{"value": "released", "ttl_seconds": 5, "v\u0061lue": "engaged"}"#,
          "`value` is there twice"
        ),
        ("/api/safety/activities/slide", #"{"ttl_seconds": 5}"#, "`description` is missing"),
      ] {
        let answer = try await server.send(json: body, "PUT", path)
        #expect(answer.status == 400, "\(body)")
        #expect(answer.body.contains(field), "\(body): \(answer.body)")
      }
      let answer = try await server.send(
        json: #"{"value": "engaged", "ttl_seconds": 5, "source": "test"}"#, "PUT", reading)
      #expect(answer.status == 204)
    }
  }

  @Test("Whatever refuses CoachIQ's request, the answer has its fields")
  func coachIQRefusals() async throws {
    try await withServer { server in
      let path = "/api/database/migrate"
      for answer in [
        try await server.send("GET", path), try await server.send("DELETE", path),
        try await server.send(
          "POST", path, headers: ["Content-Type: application/json", "Origin: http://evil.example"],
          body: "{}"),
        try await server.send(json: "{", "POST", path),
      ] {
        #expect((400..<500).contains(answer.status))
        for field in ["success", "job_id", "message", "error", "safety_issues", "hint"] {
          #expect(answer.body.contains("\"\(field)\":"), "\(answer.status) \(field)")
        }
      }
    }
  }

  @Test("A parameter that is not known, or makes no sense, is named")
  func strictQueries() async throws {
    try await withServer { server in
      for (method, path, word) in [
        ("GET", "/api/database/plan?target_versoin=3", "`target_versoin`"),
        ("GET", "/api/database/plan?out_of_order=yes", "`out_of_order`"),
        ("GET", "/api/database/history?limit=3&page=2", "`page`"),
        ("GET", "/api/events?sicne=3", "`sicne`"),
        ("DELETE", "/api/safety/locks/trip?owenr=me", "`owenr`"),
        ("DELETE", "/api/safety/pin?rolle=technician", "`rolle`"),
        ("GET", "/api/database/status?x=1", "`x`"),
        ("GET", "/ws?since=abc", "`since`"),
      ] {
        let answer = try await server.send(method, path)
        #expect(answer.status == 400, "\(path)")
        #expect(answer.body.contains(word), "\(path): \(answer.body)")
      }
    }
  }

  @Test("A request is for one host, and its body is UTF-8")
  func oneHost() async throws {
    try await withServer { server in
      let twice = try await withConnection(to: server) { connection in
        try await connection.send(
          "GET /livez HTTP/1.1\r\nHost: \(server.host)\r\nHost: other\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
        )
        return await connection.readToEnd()
      }
      #expect(twice.hasPrefix("HTTP/1.1 400 "))
      #expect(twice.split(separator: "HTTP/1.1 ").count == 1)
      let wide = #"{"value": "engaged", "ttl_seconds": 5}"#.utf16.flatMap {
        [UInt8(truncatingIfNeeded: $0), UInt8($0 >> 8)]
      }
      let head = [
        "PUT /api/safety/readings/parking_brake HTTP/1.1", "Host: \(server.host)",
        "Connection: close",
        "Content-Type: application/json", "Content-Length: \(wide.count)", "", "",
      ]
      let answer = try await withConnection(to: server) { connection in
        try await connection.send(Array(head.joined(separator: "\r\n").utf8) + wide)
        return await connection.readToEnd()
      }
      #expect(answer.contains("UTF-8"), "\(answer)")
    }
  }

  @Test("An update names the plan that it consents to")
  func consent() async throws {
    try await withServer { server in
      for path in ["/api/database/update", "/api/database/migrate"] {
        let answer = try await server.send(json: #"{"consent": true}"#, "POST", path)
        #expect(answer.status == 428)
        #expect(answer.body.contains("CHK-CONSENT-MISSING"))
      }
      let forced = try await server.send(
        json: #"{"confirm": true, "force": true}"#, "POST", "/api/database/migrate")
      #expect(forced.status == 403)
      let restore = try await server.send(json: "{}", "POST", "/api/database/restore/any")
      #expect(restore.status == 428)
    }
  }

  @Test("Ids that are no ids, and runs that are not known, are not found")
  func ids() async throws {
    try await withServer { server in
      for id in ["nobody", "..%2f..%2fetc%2fpasswd", String(repeating: "a", count: 65)] {
        let answer = try await server.send("GET", "/api/database/update/\(id)/progress")
        #expect(answer.status == 404, "\(id)")
      }
    }
  }

  @Test("Every code has a title and a status, and nothing internal shows in an unforeseen error")
  func problems() {
    for code in Failure.Code.allCases {
      #expect((400...599).contains(Problem(Failure(code, "x")).response.status.code))
    }
    #expect(Problem(Failure(.gateClosed, "x")).status == .conflict)
    #expect(Problem(Failure(.planChanged, "x")).status == .preconditionFailed)
    #expect(Problem.internalError.status == .internalServerError)
  }
}
