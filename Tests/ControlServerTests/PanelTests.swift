import Testing

@testable import ControlServer

@Suite("The panel", .timeLimit(.minutes(5)))
struct PanelTests {
  @Test("The page is asked for each time, and everything that it links to is kept for ever")
  func assets() async throws {
    try await withServer { server in
      let page = try await server.send("GET", "/")
      #expect(page.status == 200)
      #expect(page.header("content-type") == "text/html; charset=utf-8")
      #expect(page.header("cache-control") == "no-cache")
      #expect(page.header("x-content-type-options") == "nosniff")
      #expect(page.header("referrer-policy") == "no-referrer")
      let policy = try #require(page.header("content-security-policy"))
      #expect(policy.contains("default-src 'self'") && policy.contains("frame-ancestors 'none'"))

      let tag = try #require(page.header("etag"))
      let again = try await server.send("GET", "/", headers: ["If-None-Match: \(tag)"])
      #expect(again.status == 304)
      #expect(again.body.isEmpty)

      let build = try #require(
        page.body.split(separator: "\"").first { $0.hasPrefix("/v/") && $0.hasSuffix("/app.js") }
      ).dropLast("app.js".count)
      #expect(!page.body.contains("BUILD/"))
      #expect(build.count > "/v//".count + 8)
      // href="/v/…/app.css", from "./dom.js", and the languages, which are chosen at run time.
      var seen: Set<Substring> = []
      var bytes = page.body.utf8.count
      var techniciansBytes = 0
      bytes += try await server.send("GET", "/chock-update.js").body.utf8.count
      var waiting =
        links(in: page.body) + ["en.js", "de.js", "technician-en.js", "technician-de.js"]
      while let link = waiting.popLast() {
        guard seen.insert(link).inserted else { continue }
        let file = try await server.send("GET", "\(build)\(link)")
        #expect(file.status == 200, "\(link)")
        #expect(file.header("cache-control") == "public, max-age=31536000, immutable")
        if link.hasSuffix(".js") {
          #expect(file.header("content-type") == "text/javascript; charset=utf-8")
          waiting += links(in: file.body)
          #expect(!file.body.contains("\n//") && !file.body.contains("\t//"), "\(link)")
        }
        if link.hasPrefix("technician") {
          techniciansBytes += file.body.utf8.count
        } else {
          bytes += file.body.utf8.count
        }
      }
      #expect(seen.count > 10)
      // All that an owner loads, in both languages; and what a technician does besides.
      #expect(bytes < 115_000)
      #expect((1000..<30_000).contains(techniciansBytes))
      #expect(try await server.send("GET", "/v/0/app.js").status == 404)
    }
  }

  @Test(
    "A page that the owner has named reads the state, and nothing else; any other reads nothing")
  func embedding() async throws {
    try await withServer { server in
      let script = try await server.send("GET", "/chock-update.js")
      #expect(script.status == 200)
      #expect(script.header("cache-control") == "no-cache")

      let state = "/api/database/status"
      let named = "Origin: http://coach.local:3000"
      let allowed = try await server.send("GET", state, headers: [named])
      #expect(allowed.header("access-control-allow-origin") == "http://coach.local:3000")
      #expect(allowed.header("access-control-allow-credentials") == "true")
      #expect(allowed.header("vary") == "Origin")
      for (path, origin) in [
        (state, "Origin: http://coach.local:3001"), (state, "Origin: null"),
        (state, "Origin: http://coach.local:3000.example.org"), ("/api/safety", named),
        ("/api/database/history", named),
      ] {
        let answer = try await server.send("GET", path, headers: [origin])
        #expect(answer.header("access-control-allow-origin") == nil, "\(path) \(origin)")
      }
      let write = try await server.send(
        json: "{}", "POST", "/api/database/backups", headers: [named])
      #expect(write.status == 403)
      #expect(write.header("access-control-allow-origin") == nil)
    }
  }

  /// The names of files behind `"./`, `"/v/…/` and the like.
  private func links(in text: String) -> [Substring] {
    text.split(whereSeparator: { "\"'()`/".contains($0) })
      .filter { link in
        [".js", ".css", ".svg"].contains { link.hasSuffix($0) }
          && link.allSatisfy { $0.isLetter || $0.isNumber || "._-".contains($0) }
      }
  }
}
