import HTTPTypes
import Hummingbird
import HummingbirdCore
import NIOCore

/// The panel: static files that are part of the binary.
///
/// The page asks for its files under the number of this build, so that a new binary's page is never mixed with an
/// old one's scripts, and a tablet fetches each file once.
struct PanelRoutes {
  /// Every file of Assets/ but the page. The build embeds each as a constant; only this table makes it
  /// reachable.
  private static let files: [(name: String, type: String, bytes: [UInt8])] = [
    ("api.js", script, PackageResources.api_js),
    ("app.css", "text/css; charset=utf-8", PackageResources.app_css),
    ("app.js", script, PackageResources.app_js),
    ("coach.js", script, PackageResources.coach_js),
    ("de.js", script, PackageResources.de_js),
    ("dialog.js", script, PackageResources.dialog_js),
    ("dom.js", script, PackageResources.dom_js),
    ("en.js", script, PackageResources.en_js),
    ("home.js", script, PackageResources.home_js),
    ("mark.svg", "image/svg+xml", PackageResources.mark_svg),
    ("model.js", script, PackageResources.model_js),
    ("more.js", script, PackageResources.more_js),
    ("run.js", script, PackageResources.run_js),
    ("technician-de.js", script, PackageResources.technician_de_js),
    ("technician-en.js", script, PackageResources.technician_en_js),
    ("technician.js", script, PackageResources.technician_js),
    ("texts.js", script, PackageResources.texts_js),
    ("theme.js", script, PackageResources.theme_js),
  ]

  private static let script = "text/javascript; charset=utf-8"

  func add(to routes: inout RouteTable) {
    let build = Self.fingerprint(
      Self.files.flatMap(\.bytes) + PackageResources.index_html + PackageResources.chock_update_js)
    let page = String(decoding: PackageResources.index_html, as: UTF8.self)
      .replacing("/v/BUILD/", with: "/v/\(build)/")
    // Asked for again each time: both say where the rest is.
    add("/", "text/html; charset=utf-8", Array(page.utf8), build, cache: "no-cache", to: &routes)
    add(
      "/chock-update.js", Self.script, Self.served(PackageResources.chock_update_js), build,
      cache: "no-cache", to: &routes)
    for file in Self.files {
      add(
        "/v/\(build)/\(file.name)", file.type,
        file.name.hasSuffix(".svg") ? file.bytes : Self.served(file.bytes), build,
        cache: "public, max-age=31536000, immutable", to: &routes)
    }
  }

  /// A script or a style sheet without the lines that are empty or comments: those are for who reads the source,
  /// not for each tablet.
  private static func served(_ source: [UInt8]) -> [UInt8] {
    let lines = source.split(separator: UInt8(ascii: "\n")).filter { line in
      let words = line.drop { $0 == UInt8(ascii: "\t") }
      return !words.isEmpty && !words.starts(with: "//".utf8)
        && !(words.starts(with: "/*".utf8) && words.suffix(2).elementsEqual("*/".utf8))
    }
    return Array(lines.joined(separator: [UInt8(ascii: "\n")]))
  }

  private func add(
    _ path: String, _ type: String, _ bytes: [UInt8], _ build: String, cache: String,
    to routes: inout RouteTable
  ) {
    let tag = "\"\(build)\""
    let body = ByteBuffer(bytes: bytes)
    routes.on(.get, path, query: nil, for: .everybody) { request, _ in
      let headers: HTTPFields = [.contentType: type, .eTag: tag, .cacheControl: cache]
      if request.hasAlready(tag) {
        return Response(status: .notModified, headers: headers)
      }
      return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
    }
  }

  /// FNV-1a, 64 bits: enough to tell one build's files from another's.
  private static func fingerprint(_ bytes: [UInt8]) -> String {
    let hash = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) {
      ($0 ^ UInt64($1)) &* 0x100_0000_01b3
    }
    return String(hash, radix: 16)
  }
}
