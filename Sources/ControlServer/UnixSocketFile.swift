import FoundationEssentials
import Glibc
import Migrations

/// The place of the unix socket in the file system.
///
/// The server binds `PATH.new` and renames it once its permissions are right, so that under the
/// real name there is never a socket that more people can open than should.
struct UnixSocketFile: Sendable {
  let path: String
  var temporaryPath: String { path + ".new" }

  /// - Throws: `Failure(.badConfig)` for a path that the kernel cannot take.
  init(path: String) throws(Failure) {
    self.path = path
    // sun_path holds 108 bytes with the final zero (unix(7)).
    guard path.hasPrefix("/"), path.utf8.count + ".new".utf8.count < 108 else {
      throw Failure(
        .badConfig, "server.socket must be an absolute path of at most 103 bytes.", file: path)
    }
  }

  /// Refuses where a server answers or something else than a socket lies; removes what a crash left
  /// behind.
  func makeRoom() throws(Failure) {
    try removeDeadSocket(temporaryPath)
    try removeDeadSocket(path)
  }

  /// Gives the bound socket its permissions (0660) and its name.
  func publish() throws(Failure) {
    guard chmod(temporaryPath, 0o660) == 0, rename(temporaryPath, path) == 0 else {
      throw Failure(.inputOutput, "The socket cannot be put in place: \(lastError()).", file: path)
    }
  }

  func remove() {
    unlink(temporaryPath)
    unlink(path)
  }

  private func removeDeadSocket(_ path: String) throws(Failure) {
    // Of the path itself: a link is not followed.
    guard let attributes = try? FileManager.default.attributesOfItem(atPath: path) else { return }
    guard attributes[.type] as? FileAttributeType == .typeSocket else {
      throw Failure(
        .badConfig, "In place of the socket there is something else.", file: path,
        howToClear: "Remove it, or set server.socket to another path.")
    }
    guard !answers(path) else {
      throw Failure(
        .runActive, "Another chock daemon is listening on this socket.", file: path,
        howToClear: "Stop it first (systemctl stop chock).")
    }
    guard unlink(path) == 0 else {
      throw Failure(
        .inputOutput, "The old socket cannot be removed: \(lastError()).", file: path)
    }
  }

  private func answers(_ path: String) -> Bool {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    // Anything but "nobody listens" is taken for a living server: never take a socket away from
    // one.
    return result == 0 || errno != ECONNREFUSED
  }

  private func lastError() -> String {
    let number = errno
    return strerror(number).map { String(cString: $0) } ?? "error \(number)"
  }
}
