import Migrations
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// `safe-mode.json` in the state folder: tells the application that it runs with the schema from before an
/// update with which it was not well. It is there until the next update or restore.
struct SafeMode {
  static let fileName = "safe-mode.json"
  /// Names the file to start commands.
  static let variable = "CHOCK_SAFE_MODE"

  let path: String

  init(stateDirectory: String) {
    path = "\(stateDirectory)/\(Self.fileName)"
  }

  private struct Document: Encodable {
    var schema = "chock.SAFE_MODE/1"
    var run: String
    var since: String
    /// What the database holds.
    var version: String?
    /// What the application was not well with.
    var failedVersion: String?
    var reason: String
  }

  /// For start commands.
  var environment: [String: String] {
    FileSystem.facts(path) == nil ? [:] : [Self.variable: path]
  }

  func begin(_ run: RunDocument, _ reason: Failure) throws(Failure) {
    let document = Document(
      run: run.id, since: Timestamp.now(), version: run.fromVersion,
      failedVersion: run.toVersion, reason: reason.message)
    try FileSystem.replace(path, with: try JSON.encode(document, pretty: true))
    // The application may run as another user.
    chmod(path, 0o644)
  }

  func end() throws(Failure) { try FileSystem.remove(path) }
}
