import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// The panel: static files that are part of the binary.
struct PanelRoutes {
  /// Every file of Assets/. The build embeds each as a constant; only this table makes it
  /// reachable.
  private static let files: [(path: String, type: String, bytes: [UInt8])] = [
    ("/", html, PackageResources.index_html),
    ("/api.js", script, PackageResources.api_js),
    ("/app.css", style, PackageResources.app_css),
    ("/app.js", script, PackageResources.app_js),
    ("/attest.js", script, PackageResources.attest_js),
    ("/available.js", script, PackageResources.available_js),
    ("/conditions.js", script, PackageResources.conditions_js),
    ("/dom.js", script, PackageResources.dom_js),
    ("/failure.js", script, PackageResources.failure_js),
    ("/index.html", html, PackageResources.index_html),
    ("/lists.js", script, PackageResources.lists_js),
    ("/mark.svg", image, PackageResources.mark_svg),
    ("/model.js", script, PackageResources.model_js),
    ("/questions.js", script, PackageResources.questions_js),
    ("/running.js", script, PackageResources.running_js),
    ("/texts.js", script, PackageResources.texts_js),
    ("/theme.js", script, PackageResources.theme_js),
  ]

  private static let html = "text/html; charset=utf-8"
  private static let style = "text/css; charset=utf-8"
  private static let script = "text/javascript; charset=utf-8"
  private static let image = "image/svg+xml"

  func add(to routes: inout RouteTable) {
    for file in Self.files {
      let tag = "\"\(Self.fingerprint(file.bytes))\""
      let body = ByteBuffer(bytes: file.bytes)
      routes.on(.get, file.path, for: .everybody) { request, _ in
        // Always asked again, so that a new binary's page is never mixed with an old one's scripts.
        let headers: HTTPFields = [
          .contentType: file.type, .eTag: tag, .cacheControl: "no-cache",
        ]
        if request.hasAlready(tag) {
          return Response(status: .notModified, headers: headers)
        }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
      }
    }
  }

  /// FNV-1a, 64 bits: enough to tell one build's file from another's.
  private static func fingerprint(_ bytes: [UInt8]) -> String {
    let hash = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
    return String(hash, radix: 16)
  }
}
