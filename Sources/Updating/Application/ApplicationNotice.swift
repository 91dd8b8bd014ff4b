import Migrations
import Storage

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file in the state folder that tells the application how it is started. Start commands get its path in a
/// variable.
struct ApplicationNotice: Sendable {
  let path: String
  private let variable: String

  private init(_ name: String, in stateDirectory: String, variable: String) {
    path = "\(stateDirectory)/\(name)"
    self.variable = variable
  }

  /// With the schema from before an update with which it was not well: until the next update or restore.
  static func safeMode(_ stateDirectory: String) -> Self {
    Self("safe-mode.json", in: stateDirectory, variable: "CHOCK_SAFE_MODE")
  }

  /// It can only read, since a person is needed: as long as chock holds the write lock.
  static func recoveryMode(_ stateDirectory: String) -> Self {
    Self("recovery-mode.json", in: stateDirectory, variable: "CHOCK_RECOVERY_MODE")
  }

  struct SafeMode: Encodable {
    var schema = "chock.SAFE_MODE/1"
    var run: String
    var since = Timestamp.now()
    /// What the database holds.
    var version: String?
    /// What the application was not well with.
    var failedVersion: String?
    var reason: String
  }

  struct RecoveryMode: Encodable {
    var schema = "chock.RECOVERY_MODE/1"
    var since = Timestamp.now()
    var readOnly = true
    var reason: String
    var code: String
  }

  /// For start commands.
  var environment: [String: String] { FileSystem.facts(path) == nil ? [:] : [variable: path] }

  func begin(_ document: some Encodable) throws(Failure) {
    try FileSystem.replace(path, with: try JSON.encode(document, pretty: true))
    // The application may run as another user.
    chmod(path, 0o644)
  }

  func end() throws(Failure) { try FileSystem.remove(path) }
}
