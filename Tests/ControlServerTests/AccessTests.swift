import FoundationEssentials
import Glibc
import HTTPTypes
import Logging
import Migrations
import NIOCore
import Storage
import Testing
import Updating

@testable import ControlServer

/// A name under which the server answers and which is not this machine's own: what comes to it may come
/// from anywhere, through a proxy.
private let elsewhere = "coach.local"

extension LiveServer {
  /// What `chock pair` does.
  fileprivate func code(_ role: Role = .owner) async throws -> String {
    let answer = try await client.request(
      "POST", "/api/pairing", body: Array(#"{"role": "\#(role.rawValue)"}"#.utf8))
    try #require(answer.status == 201)
    return try JSON.decode(PairingDocument.self, from: answer.body).code
  }

  /// Pairs a browser and returns its cookie.
  fileprivate func pair(
    _ name: String, _ role: Role = .owner, pin: String? = nil
  ) async throws -> String {
    let field = pin.map { #", "pin": "\#($0)""# } ?? ""
    let answer = try await ask(
      "POST", "/api/pair", #"{"code": "\#(try await code(role))", "name": "\#(name)"\#(field)}"#)
    try #require(answer.status == 200, "\(answer)")
    return try #require(answer.cookie)
  }

  /// The status of one request to another address of this machine.
  fileprivate func get(_ path: String, host: String, at address: String) async throws -> Int {
    try await withConnection(to: self, at: address) { connection in
      try await connection.send(
        "GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
      return try answer(await connection.readToEnd()).status
    }
  }

  /// One request from elsewhere.
  fileprivate func ask(
    _ method: String, _ path: String, _ body: String? = nil, as cookie: String? = nil,
    headers: [String] = []
  ) async throws -> RawAnswer {
    var fields = headers
    if let cookie { fields.append("Cookie: theme=dark; \(cookie)") }
    if body != nil { fields.append("Content-Type: application/json") }
    return try await send(method, path, host: elsewhere, headers: fields, body: body)
  }
}

extension RawAnswer {
  fileprivate func document<T: Decodable>(_ type: T.Type = T.self) throws -> T {
    try JSON.decode(type, from: Array(body.utf8))
  }

  fileprivate var problem: ProblemAnswer {
    get throws { try document() }
  }

  /// `chock_session=…` of Set-Cookie.
  fileprivate var cookie: String? { header("set-cookie").map { String($0.prefix { $0 != ";" }) } }
}

private struct ProblemAnswer: Decodable {
  struct Blocker: Decodable { var code: String }
  var code: String
  var detail: String
  var howToClear: String?
  var pointer: String?
  var blockers: [Blocker]
}

@Suite("Who may ask for what", .timeLimit(.minutes(5)))
struct AccessTests {
  private static var routes: [RouteTable.Entry] {
    get async throws {
      let folder = try makeFolder()
      defer { removeFolder(folder) }
      let configuration = ServerConfiguration()
      return ControlResponder.routes(
        try await makeUpdater(in: folder), configuration, PanelAddresses(configuration)
      ).entries
    }
  }

  @Test(
    "Every route names who may use it: nobody gets in without signing in, and a viewer changes nothing"
  )
  func everyRoute() async throws {
    let unsafe: Set<HTTPRequest.Method> = [.post, .put, .delete, .patch]
    // What it takes to sign in, and out.
    let forAll: Set<String> = [
      "GET /api/session", "DELETE /api/session", "POST /api/pair", "GET /livez",
    ]
    try await withServer { server in
      let viewer = try await server.pair("Kids", .viewer)
      for route in try await Self.routes {
        let path = route.path.replacing(":id", with: "x")
        let name = "\(route.method.rawValue) \(route.path)"
        let nobody = try await server.ask(route.method.rawValue, path)
        if route.audience == .everybody {
          let isPanel = route.method == .get && !route.path.hasPrefix("/api/")
          #expect(isPanel || forAll.contains(name), "\(name) is open to everybody")
          #expect(nobody.status != 401, "\(name)")
          continue
        }
        #expect(nobody.status == 401, "\(name): \(nobody.status)")
        #expect(nobody.header("www-authenticate") == "Bearer", "\(name)")
        if unsafe.contains(route.method), name != "POST /api/session" {
          let answer = try await server.ask(route.method.rawValue, path, as: viewer)
          #expect(answer.status == 403, "\(name) as a viewer: \(answer.status)")
          #expect(try answer.problem.howToClear != nil, "\(name)")
        }
        if route.audience == .role(.viewer), route.method == .get, path != "/api/events" {
          let answer = try await server.ask("GET", path, as: viewer)
          #expect(![401, 403].contains(answer.status), "\(name) as a viewer: \(answer.status)")
        }
      }
    }
  }

  @Test("This machine's own browser sees and changes nothing, unless the config says otherwise")
  func local() async throws {
    try await withServer(access: AccessPolicy()) { server in
      #expect(try await server.send("GET", "/api/database/status").status == 200)
      let update = try await server.send(
        json: #"{"consent": true}"#, "POST", "/api/database/update")
      #expect(update.status == 403)
      #expect(try update.problem.code == "CHK-NOT-ALLOWED")
      // A proxy asks for somebody else.
      for header in ["X-Forwarded-For: 192.168.1.7", "Forwarded: for=192.168.1.7", "Via: 1.1 p"] {
        let answer = try await server.send("GET", "/api/database/status", headers: [header])
        #expect(answer.status == 401, "\(header)")
      }
    }
    var policy = AccessPolicy()
    policy.local = nil
    try await withServer(access: policy) { server in
      #expect(try await server.send("GET", "/api/database/status").status == 401)
      #expect(try await server.send("GET", "/").status == 200)
      let session = try await server.send("GET", "/api/session")
      #expect(try session.document(SessionDocument.self).role == "none")
    }
    #expect(try SocketAddress(ipAddress: "127.0.0.2", port: 1).isLoopback)
    #expect(try SocketAddress(ipAddress: "::1", port: 1).isLoopback)
    for address in ["192.168.1.7", "10.0.0.1", "fe80::1", "0.0.0.0", "128.0.0.1"] {
      #expect(try !SocketAddress(ipAddress: address, port: 1).isLoopback, "\(address)")
    }
  }

  /// An address of this machine that is not its own alone.
  private static let address = ((try? System.enumerateDevices()) ?? []).compactMap(\.address)
    .first { $0.protocol == .inet && !$0.isLoopback }?.ipAddress

  @Test(
    "Open to the network, nothing but the page and what signs in is there before a device is paired",
    .enabled(if: address != nil))
  func network() async throws {
    let address = try #require(Self.address)
    var policy = AccessPolicy()
    // What this machine may is not what others may.
    policy.local = .owner
    try await withServer(access: policy, listenHost: "0.0.0.0") { server in
      for path in ["/", "/chock-update.js", "/api/session", "/livez"] {
        #expect(
          try await server.get(path, host: "\(address):\(server.port)", at: address) == 200,
          "\(path)")
      }
      for path in ["/api/database/status", "/api/safety", "/ws", "/api/devices"] {
        // Whatever it calls the server.
        for host in [address, "127.0.0.1", "localhost"] {
          #expect(try await server.get(path, host: host, at: address) == 401, "\(host)\(path)")
        }
      }
      let rebound = try await server.get("/", host: "evil.example", at: address)
      #expect(rebound == 403)
      let local = try await server.send("GET", "/api/database/status")
      #expect(local.status == 200)
    }
  }

  @Test("A phone is paired by a code, with a cookie that scripts and other sites do not get")
  func pairing() async throws {
    try await withServer { server in
      let code = try await server.code()
      let asked = try await server.ask(
        "POST", "/api/pair", #"{"code": "\#(code)", "name": "Anna"}"#)
      #expect(asked.status == 400)
      #expect(try asked.problem.code == "CHK-PIN-NEEDED")
      #expect(try asked.problem.pointer == "/pin")
      let paired = try await server.ask(
        "POST", "/api/pair", #"{"code": "\#(code)", "name": "Anna", "pin": "2468"}"#)
      #expect(paired.status == 200)
      let fields = try #require(paired.header("set-cookie"))
      for word in ["chock_session=", "HttpOnly", "SameSite=Strict", "Path=/"] {
        #expect(fields.contains(word))
      }
      let session = try paired.document(SessionDocument.self)
      #expect(session.role == "owner")
      #expect(session.name == "Anna")
      #expect(session.asksPin)
      #expect(session.pins.owner && !session.pins.technician)
      let cookie = try #require(paired.cookie)
      #expect(try await server.ask("GET", "/api/session", as: cookie).document() == session)
      let again = try await server.ask(
        "POST", "/api/pair", #"{"code": "\#(code)", "name": "Eve"}"#)
      #expect(again.status == 403)

      let devices = try await server.ask("GET", "/api/devices", as: cookie)
        .document(DevicesDocument.self).devices
      #expect(devices.map(\.name) == ["Anna"])
      #expect(devices.first?.isThis == true)
      #expect(try await server.ask("DELETE", "/api/session", as: cookie).status == 204)
      #expect(try await server.ask("GET", "/api/database/status", as: cookie).status == 401)
    }
  }

  @Test("Consent, restore and approval ask for the PIN again")
  func asksAgain() async throws {
    try await withServer { server in
      let owner = try await server.pair("Anna", pin: "2468")
      let hash = String(repeating: "ab", count: 32)
      func update(_ pin: String?) async throws -> RawAnswer {
        let field = pin.map { #", "pin": "\#($0)""# } ?? ""
        return try await server.ask(
          "POST", "/api/database/update", #"{"consent": true\#(field)}"#, as: owner,
          headers: ["If-Match: \"\(hash)\""])
      }
      let missing = try await update(nil)
      #expect(missing.status == 403)
      #expect(try missing.problem.code == "CHK-PIN")
      #expect(try missing.problem.pointer == "/pin")
      #expect(try await update("1111").problem.detail == "The PIN is wrong.")
      // Then it is a matter of the database, which these tests do not have.
      #expect(try await update("2468").problem.code == "CHK-DATABASE-MISSING")
      let approval = try await server.ask(
        "POST", "/api/database/approvals", #"{"plan_hash": "\#(hash)"}"#, as: owner)
      #expect(try approval.problem.code == "CHK-PIN")
      // Over the unix socket people have signed in to the machine.
      let root = try await server.client.request(
        "POST", "/api/database/update", headers: [("if-match", "\"\(hash)\"")],
        body: Array(#"{"consent": true}"#.utf8))
      #expect(String(decoding: root.body, as: UTF8.self).contains("CHK-DATABASE-MISSING"))
      for _ in 0..<5 { _ = try await update("1111") }
      let locked = try await update("2468")
      #expect(locked.status == 403)
      #expect(try locked.problem.howToClear?.contains("Wait 5 min") == true)
    }
  }

  @Test(
    "An owner undoes the newest update and nothing else; a technician signs in at the owner's tablet"
  )
  func technician() async throws {
    try await withServer { server in
      let cookie = try await server.pair("Tablet", pin: "2468")
      let set = try await server.client.request(
        "PUT", "/api/safety/pin", body: Array(#"{"pin": "8642", "role": "technician"}"#.utf8))
      #expect(set.status == 204)
      let restore = "/api/database/restore/any"
      let refused = try await server.ask(
        "POST", restore, #"{"consent": true, "pin": "2468"}"#, as: cookie)
      #expect(refused.status == 403)
      #expect(try refused.problem.detail.contains("undoes the newest update"))
      // What would go is for the same eyes.
      let counted = try await server.ask("GET", restore, as: cookie)
      #expect(counted.status == 403)
      #expect(try counted.problem.detail.contains("undoes the newest update"))
      let rescue = "/api/database/rescue/any"
      let rows = #"{"consent": true, "pin": "8642"}"#
      #expect(try await server.ask("POST", rescue, rows, as: cookie).status == 403)
      #expect(try await server.ask("GET", "/api/database/audit", as: cookie).status == 403)

      let raised = try await server.ask(
        "POST", "/api/session", #"{"role": "technician", "pin": "8642"}"#, as: cookie)
      let session = try raised.document(SessionDocument.self)
      #expect(session.role == "technician")
      #expect(session.expiresAt != nil)
      #expect(raised.cookie == nil)
      let asked = try await server.ask(
        "POST", restore, #"{"consent": true, "pin": "2468"}"#, as: cookie)
      #expect(try asked.problem.code == "CHK-PIN")
      let found = try await server.ask(
        "POST", restore, #"{"consent": true, "pin": "8642"}"#, as: cookie)
      #expect(found.status == 404)
      #expect(try await server.ask("GET", restore, as: cookie).status == 404)
      #expect(try await server.ask("POST", rescue, rows, as: cookie).status == 404)
      #expect(try await server.ask("GET", "/api/database/audit", as: cookie).status == 200)
      #expect(try await server.ask("DELETE", "/api/session", as: cookie).status == 204)
      let after = try await server.ask("GET", "/api/session", as: cookie)
      #expect(try after.document(SessionDocument.self).role == "owner")
    }
  }

  @Test("A browser of this machine signs in with a PIN, for 15 minutes")
  func guest() async throws {
    try await withServer(access: AccessPolicy()) { server in
      _ = try await server.pair("Anna", pin: "2468")
      let answer = try await server.send(
        json: #"{"role": "owner", "pin": "2468"}"#, "POST", "/api/session")
      let cookie = try #require(answer.cookie)
      #expect(answer.header("set-cookie")?.contains("Max-Age=900;") == true)
      let session = try await server.send("GET", "/api/session", headers: ["Cookie: \(cookie)"])
      #expect(try session.document(SessionDocument.self).role == "owner")
      let out = try await server.send("DELETE", "/api/session", headers: ["Cookie: \(cookie)"])
      #expect(out.status == 204)
      #expect(out.header("set-cookie")?.contains("Max-Age=0") == true)
      let after = try await server.send("GET", "/api/session", headers: ["Cookie: \(cookie)"])
      #expect(try after.document(SessionDocument.self).role == "viewer")
    }
  }

  @Test("A program with a controller's token reads and says what the coach does, and no more")
  func controller() async throws {
    try await withServer { server in
      let made = try await server.client.request(
        "POST", "/api/tokens", body: Array(#"{"name": "CoachIQ"}"#.utf8))
      #expect(made.status == 201)
      let token = try JSON.decode(TokenDocument.self, from: made.body)
      let bearer = ["Authorization: Bearer \(token.token)"]
      let reading = #"{"value": "engaged", "ttl_seconds": 5}"#
      let path = "/api/safety/readings/parking_brake"
      #expect(try await server.ask("PUT", path, reading, headers: bearer).status == 204)
      let safety = try await server.ask("GET", "/api/safety", headers: bearer)
      #expect(safety.body.contains(#""source":"CoachIQ""#))
      let lock = #"{"owner": "CoachIQ", "reason": "charging", "ttl_seconds": 60}"#
      #expect(
        try await server.ask("PUT", "/api/safety/locks/x", lock, headers: bearer).status == 204)
      for (method, path) in [
        ("POST", "/api/database/update"), ("POST", "/api/safety/attestations"),
        ("GET", "/api/devices"), ("POST", "/api/database/backups"), ("POST", "/api/tokens"),
      ] {
        #expect(try await server.ask(method, path, "{}", headers: bearer).status == 403, "\(path)")
      }
      // An owner says nothing in the name of a device.
      let owner = try await server.pair("Anna", pin: "2468")
      #expect(try await server.ask("PUT", path, reading, as: owner).status == 403)
      // Only as a header, and only as long as it is not revoked.
      #expect(try await server.ask("GET", "/api/safety?token=\(token.token)").status == 401)
      #expect(
        try await server.ask("GET", "/api/safety", as: "chock_session=\(token.token)").status == 401
      )
      let revoked = try await server.client.request("DELETE", "/api/tokens/\(token.id)")
      #expect(revoked.status == 204)
      #expect(try await server.ask("GET", "/api/safety", headers: bearer).status == 401)
      // Also on this machine: a program with a wrong token has to hear of it.
      #expect(try await server.send("GET", "/api/safety", headers: bearer).status == 401)
    }
  }

  @Test("Whoever is not signed in cannot listen, and a device that is removed hears nothing more")
  func listening() async throws {
    try await withServer { server in
      let refused = try await withConnection(to: server) { connection in
        try await connection.send(webSocketRequest(server, host: elsewhere))
        return try server.answer(try await connection.take(through: "\r\n\r\n"))
      }
      #expect(refused.status == 401)
      #expect(try await server.ask("GET", "/api/events").status == 401)

      let cookie = try await server.pair("Kids", .viewer)
      let device = try #require(server.updater.access.devices().first)
      try await withConnection(to: server) { socket in
        try await withConnection(to: server) { stream in
          try await socket.send(
            webSocketRequest(server, host: elsewhere, headers: ["Cookie: \(cookie)"]))
          _ = try await socket.take(through: "\r\n\r\n")
          #expect(try await socket.event().type == .state)
          try await stream.send(
            "GET /api/events HTTP/1.1\r\nHost: \(elsewhere)\r\nCookie: \(cookie)\r\n\r\n")
          _ = try await stream.take(through: "event: state\n")
          let removed = try await server.client.request("DELETE", "/api/devices/\(device.id)")
          #expect(removed.status == 204)
          server.updater.events.publish(.log) { $0.message = "secret" }
          #expect(!(await socket.readToEnd()).contains("secret"))
          #expect(!(await stream.readToEnd()).contains("secret"))
        }
      }
    }
  }

  @Test("With two persons asked for, an update needs another one's word for the same plan")
  func approvals() async throws {
    var policy = AccessPolicy.technician
    policy.approvals = 2
    try await withServer(access: policy) { server in
      let anna = try await server.pair("Anna", pin: "2468")
      let bob = try await server.pair("Bob")
      let hash = String(repeating: "ab", count: 32)
      func update(_ cookie: String) async throws -> RawAnswer {
        try await server.ask(
          "POST", "/api/database/update", #"{"consent": true, "pin": "2468"}"#, as: cookie,
          headers: ["If-Match: \"\(hash)\""])
      }
      func approve(_ cookie: String, _ hash: String) async throws -> Int {
        try await server.ask(
          "POST", "/api/database/approvals", #"{"plan_hash": "\#(hash)", "pin": "2468"}"#,
          as: cookie
        ).status
      }
      let alone = try await update(anna)
      #expect(alone.status == 409)
      #expect(try alone.problem.blockers.map(\.code) == ["CHK-APPROVAL"])
      #expect(try await approve(anna, hash) == 201)
      #expect(try await update(anna).status == 409)
      #expect(try await approve(bob, String(repeating: "cd", count: 32)) == 201)
      #expect(try await update(anna).status == 409)
      #expect(try await approve(bob, hash) == 201)
      #expect(try await update(anna).problem.code == "CHK-DATABASE-MISSING")
    }
  }

  @Test("A technician's lock is not released by naming its owner")
  func locks() async throws {
    try await withServer(access: AccessPolicy()) { server in
      let anna = try await server.pair("Anna", pin: "2468")
      let bob = try await server.pair("Bob")
      let path = "/api/safety/locks/jack"
      let body = #"{"owner": "workshop", "reason": "On the jack.", "ttl_seconds": 600}"#
      let soon = #"{"owner": "workshop", "reason": "x", "ttl_seconds": 0.1}"#
      #expect(try await server.client.request("PUT", path, body: Array(body.utf8)).status == 204)
      #expect(try await server.ask("DELETE", "\(path)?owner=workshop", as: anna).status == 403)
      #expect(try await server.ask("PUT", path, soon, as: anna).status == 403)
      #expect(await server.updater.safety().locks.map(\.id) == ["jack"])
      #expect(
        try await server.client.request("DELETE", "\(path)?owner=workshop", body: nil).status == 204
      )
      // Among owners it is possible, and said.
      #expect(try await server.ask("PUT", path, body, as: anna).status == 204)
      #expect(try await server.ask("DELETE", "\(path)?owner=workshop", as: bob).status == 204)
      #expect(try await server.ask("PUT", path, body, as: anna).status == 204)
      #expect(try await server.ask("DELETE", "\(path)?owner=workshop", as: anna).status == 204)
      let audit = try server.updater.audit(limit: 50, before: nil).entries
      #expect(audit.filter { $0.action == .breakLock }.map(\.actor) == ["Bob (owner)"])
    }
  }

  @Test("PIN brute force over HTTP ends after five tries, whoever tries")
  func bruteForce() async throws {
    try await withServer { server in
      let anna = try await server.pair("Anna", pin: "2468")
      let kids = try await server.pair("Kids", .viewer)
      var answers: [String] = []
      for number in 0..<20 {
        let answer = try await server.ask(
          "POST", "/api/session", #"{"role": "owner", "pin": "\#(1000 + number)"}"#,
          as: number.isMultiple(of: 2) ? kids : anna)
        #expect(answer.status == 403)
        answers.append(try answer.problem.detail)
      }
      #expect(answers.count { $0 == "The PIN is wrong." } == 5)
      // A stranger cannot even try, and so not lock anybody out.
      let stranger = try await server.ask("POST", "/api/session", #"{"role": "owner", "pin": "1"}"#)
      #expect(stranger.status == 401)
    }
  }

  @Test("A user of the unix socket has the role that the config gives, else an owner's")
  func users() async throws {
    let folder = try makeFolder()
    defer { removeFolder(folder) }
    let updater = try await makeUpdater(in: folder)
    var policy = AccessPolicy()
    policy.users = ["coachiq": .controller, "kiosk": .viewer]
    policy.groups = ["service": .technician, "guests": .viewer]
    let who = Identification(access: updater.access, policy: policy, isDevelopment: false)
    func role(_ name: String, _ groups: Set<String> = [], id: UInt32 = 54_321) -> Role {
      who.role(of: .init(id: id, name: name, groups: groups))
    }
    #expect(role("root", id: 0) == .technician)
    #expect(role("chock", id: geteuid()) == .technician)
    #expect(role("anna") == .owner)
    #expect(role("coachiq") == .controller)
    #expect(role("kiosk", ["service"]) == .viewer)
    #expect(role("bob", ["service", "guests", "bob"]) == .technician)
    #expect(role("guest", ["guests"]) == .viewer)
    let bench = Identification(access: updater.access, policy: policy, isDevelopment: true)
    #expect(bench.role(of: .init(id: 0, name: "root", groups: [])) == .developer)
    // The kernel's own tables are read.
    #expect(Identification.User(id: 0, group: 0).name == "root")
    #expect(Identification.User(id: 0, group: 0).groups.contains("root"))
  }

  @Test("Ids are looked up, never joined into a path, and a link in the snapshots folder is none")
  func traversal() async throws {
    let folder = try makeFolder()
    defer { removeFolder(folder) }
    try await withServer(in: folder) { server in
      let snapshots = folder + "/state/snapshots"
      try FileManager.default.createDirectory(
        atPath: snapshots, withIntermediateDirectories: true)
      #expect(symlink("/etc/passwd", snapshots + "/planted.sqlite") == 0)
      for id in [
        "planted", "..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "%2fetc%2fpasswd", "a%00b",
        "..%5c..%5cetc", String(repeating: "a", count: 65),
      ] {
        for (method, path, body) in [
          ("GET", "/api/database/update/\(id)/progress", nil),
          ("POST", "/api/database/backups/\(id)/verify", nil),
          ("DELETE", "/api/database/backups/\(id)", nil),
          ("PUT", "/api/database/backups/\(id)/pin", nil),
          ("POST", "/api/database/restore/\(id)", #"{"consent": true}"#),
          ("GET", "/api/database/restore/\(id)", nil),
          ("POST", "/api/database/rescue/\(id)", #"{"consent": true}"#),
          ("POST", "/api/database/import/\(id)", #"{"consent": true}"#),
          ("DELETE", "/api/devices/\(id)", nil), ("DELETE", "/api/tokens/\(id)", nil),
        ] as [(String, String, String?)] {
          let headers = body == nil ? [] : ["Content-Type: application/json"]
          let answer = try await server.send(method, path, headers: headers, body: body)
          #expect([404, 405].contains(answer.status), "\(method) \(path): \(answer.status)")
        }
      }
      let list = try await server.send("GET", "/api/database/backups")
      #expect(list.body.contains(#""snapshots":[]"#))
      #expect(FileManager.default.fileExists(atPath: "/etc/passwd"))
    }
  }

  @Test("OPTIONS says what is possible, and allows no other site anything")
  func options() async throws {
    try await withServer { server in
      let answer = try await server.send(
        "OPTIONS", "/api/database/backups",
        headers: ["Origin: http://evil.example", "Access-Control-Request-Method: POST"])
      #expect(answer.status == 204)
      #expect(answer.header("allow") == "GET, HEAD, OPTIONS, POST")
      #expect(answer.header("access-control-allow-origin") == nil)
      #expect(try await server.send("OPTIONS", "/api/nothing").status == 404)
    }
  }

  @Test(
    "Open to the network, the server is addressed by its addresses and its own name, and nothing else"
  )
  func hosts() throws {
    let open = RequestGuard(allowedHosts: ["rv.example"], machineName: "coach")
    for host in ["192.168.1.5", "10.0.0.1:8765", "[fd00::1]:8765", "coach.local", "rv.example:80"] {
      try open.check(host: host, origin: "http://\(host)", checksOrigin: true, overSocket: false)
    }
    for host in ["evil.example", "other.local", "192.168.1.5.evil.example", "1.2.3", "[fd00::1"] {
      #expect(throws: Failure.self, "\(host)") {
        try open.check(host: host, origin: nil, checksOrigin: false, overSocket: false)
      }
    }
    let closed = RequestGuard(allowedHosts: [])
    #expect(throws: Failure.self) {
      try closed.check(host: "192.168.1.5", origin: nil, checksOrigin: false, overSocket: false)
    }
  }

  @Test("A body that is wrong is answered with where, as a JSON pointer")
  func pointers() async throws {
    try await withServer { server in
      let reading = "/api/safety/readings/parking_brake"
      for (path, body, pointer) in [
        (reading, #"{"value": "engaged", "ttl/~": 5}"#, "/ttl~1~0"),
        (reading, #"{"value": "engaged", "ttl_seconds": "5"}"#, "/ttl_seconds"),
        (reading, #"{"value": "engaged"}"#, "/ttl_seconds"),
        (reading, #"{"value": [], "ttl_seconds": 5}"#, "/value"),
        (reading, #"{"value": "maybe", "ttl_seconds": 5}"#, "/value"),
        (reading, #"{"value": "engaged", "ttl_seconds": 5000}"#, "/ttl_seconds"),
        (reading, "[1]", ""),
        ("/api/safety/pin", #"{"pin": "1", "role": "owner"}"#, "/pin"),
        ("/api/safety/pin", #"{"pin": "1234", "role": "king"}"#, "/role"),
      ] {
        let answer = try await server.send(json: body, "PUT", path)
        #expect(answer.status == 400, "\(body)")
        #expect(try answer.problem.pointer == pointer, "\(body): \(answer.body)")
      }
      for (path, body, pointer) in [
        ("update", #"{"at": "02:00"}"#, "/at"),
        ("rollback", "{}", ""),
        ("rollback", #"{"rollback_to": "1", "rollback_only": "1"}"#, ""),
        ("rollback", #"{"rollback_to": "x"}"#, "/rollback_to"),
        ("rehearse", #"{"target_version": "1", "rollback_to": "1"}"#, ""),
      ] {
        let answer = try await server.send(json: body, "POST", "/api/database/\(path)")
        #expect(answer.status == 400, "\(body)")
        #expect(try answer.problem.pointer == pointer, "\(body): \(answer.body)")
      }
    }
  }

  @Test("If-None-Match takes lists, weak tags and *")
  func entityTags() async throws {
    try await withServer { server in
      let tag = try #require(try await server.send("GET", "/chock-update.js").header("etag"))
      for value in [tag, "\"x\", \(tag)", "W/\(tag)", "*"] {
        let answer = try await server.send(
          "GET", "/chock-update.js", headers: ["If-None-Match: \(value)"])
        #expect(answer.status == 304, "\(value)")
      }
      let other = try await server.send(
        "GET", "/chock-update.js", headers: ["If-None-Match: \"x\""])
      #expect(other.status == 200)
    }
  }
}
