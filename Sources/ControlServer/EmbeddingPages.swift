import HTTPTypes
import HummingbirdCore

/// Pages of other sites that the owner has named: they may read the state, and nothing else.
///
/// With them the browser sends the session of this device, so that the element `<chock-update>` is told what this
/// person may see. Whatever changes something still has to come from the panel's own page.
struct EmbeddingPages: Sendable {
  private let origins: Set<String>

  /// - Parameter origins: such as `http://coach.local:3000`, as browsers spell them.
  init(origins: [String]) {
    self.origins = Set(origins)
  }

  /// The CORS headers, where the page is one of them and what it asks for is the state.
  func allow(_ request: Request, _ response: inout Response) {
    guard !origins.isEmpty, request.method == .get, request.uri.path == "/api/database/status"
    else { return }
    response.headers[.vary] = "Origin"
    guard let origin = request.headers[.origin], origins.contains(origin) else { return }
    response.headers[.accessControlAllowOrigin] = origin
    response.headers[.accessControlAllowCredentials] = "true"
  }
}
