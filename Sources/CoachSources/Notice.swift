/// A document that is sent to somebody who wants to know.
public enum Notice {
  /// Sends it with a POST.
  ///
  /// - Parameter url: `http://HOST:PORT/PATH`
  /// - Returns: why it did not arrive; nil when it did.
  public static func post(_ document: [UInt8], to url: String) async -> String? {
    let rest = url.hasPrefix("http://") ? url.dropFirst("http://".count) : ""
    let authority = rest.prefix { $0 != "/" }
    let path = rest.dropFirst(authority.count)
    let parts = authority.split(separator: ":")
    guard let host = parts.first, let port = parts.count == 2 ? UInt16(parts[1]) : 80 else {
      return "\(url) is not an address that chock can reach."
    }
    let request = HTTPRequest(
      host: String(host), port: Int(port), path: path.isEmpty ? "/" : String(path),
      document: document)
    do {
      _ = try await request.body(within: .seconds(5))
      return nil
    } catch {
      return error.words
    }
  }
}
