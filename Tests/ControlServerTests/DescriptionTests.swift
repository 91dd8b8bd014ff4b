import FoundationEssentials
import HTTPTypes
import Storage
import Testing
import Updating

@testable import ControlServer

@Suite("openapi.json and asyncapi.json", .timeLimit(.minutes(5)))
struct DescriptionTests {
  /// Keys of which the values do not matter.
  private struct Document: Decodable {
    struct Item: Decodable {
      var ref: String?
      var methods: Set<String>

      init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        ref = try? container.decode([String: String].self)["$ref"]
        let keys = (try? container.decode([String: Ignored].self).keys).map(Set.init) ?? []
        methods = keys.intersection(["get", "put", "post", "delete", "patch"])
      }
    }

    struct Components: Decodable { var pathItems: [String: Item] }

    var openapi: String
    var paths: [String: Item]
    var components: Components
  }

  private struct Ignored: Decodable { init(from decoder: any Decoder) {} }

  /// `GET /api/x/{}`
  private static func line(_ method: some StringProtocol, _ path: String) -> String {
    let parts = path.split(separator: "/").map { part in
      part.hasPrefix(":") || part.hasPrefix("{") ? "{}" : String(part)
    }
    return "\(method.uppercased()) /\(parts.joined(separator: "/"))"
  }

  @Test("Every route is in openapi.json, and everything in it is a route")
  func routes() async throws {
    try await withServer { server in
      let answer = try await server.send("GET", "/openapi.json")
      #expect(answer.status == 200)
      #expect(answer.header("content-type") == "application/json")
      let document = try JSONDecoder().decode(Document.self, from: Data(answer.body.utf8))
      #expect(document.openapi.hasPrefix("3.1"))
      var described: Set<String> = []
      for (path, item) in document.paths {
        let name = item.ref?.split(separator: "/").last.map(String.init)
        let methods = name.map { document.components.pathItems[$0]?.methods ?? [] } ?? item.methods
        #expect(!methods.isEmpty, "\(path)")
        for method in methods { described.insert(Self.line(method, path)) }
      }
      var panel = RouteTable()
      PanelRoutes().add(to: &panel)
      let files = Set(panel.entries.map(\.path))
      let configuration = ServerConfiguration()
      let routes = ControlResponder.routes(
        server.updater, configuration, PanelAddresses(configuration))
      let answered = Set(
        routes.entries.filter { !files.contains($0.path) }
          .map { Self.line($0.method.rawValue, $0.path) })
      #expect(described == answered)
    }
  }

  @Test("asyncapi.json names every type of event")
  func events() async throws {
    struct Document: Decodable {
      struct Components: Decodable { var messages: [String: Ignored] }
      var asyncapi: String
      var components: Components
    }
    try await withServer { server in
      let answer = try await server.send("GET", "/asyncapi.json")
      #expect(answer.status == 200)
      let document = try JSONDecoder().decode(Document.self, from: Data(answer.body.utf8))
      #expect(document.asyncapi.hasPrefix("3.0"))
      #expect(
        Set(document.components.messages.keys) == Set(Event.EventType.allCases.map(\.rawValue)))
    }
  }
}
