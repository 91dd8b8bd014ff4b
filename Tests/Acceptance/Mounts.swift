import Glibc
import Migrations
import TestSupport

/// File systems of a test's own. They need root.
final class Mount: Sendable {
  let path: String

  /// Why tests that need one are skipped.
  static let reason = "Mounting a file system needs root."

  static let isPossible: Bool = {
    guard geteuid() == 0, let folder = try? TemporaryFolder() else { return false }
    return (try? Mount(tmpfs: folder("probe"), megabytes: 1)) != nil
  }()

  /// A small file system in memory.
  ///
  /// - Parameter source: what it says to be a mount of.
  convenience init(
    tmpfs path: String, megabytes: Int, source: String = "tmpfs"
  ) throws(Failure) {
    try self.init(path, mkdir: true) {
      mount(source, path, "tmpfs", UInt(MS_NODEV), "size=\(megabytes)m") == 0
    }
  }

  /// The same folder, which can then only be read.
  convenience init(readOnly path: String) throws(Failure) {
    let bind = UInt(MS_BIND)
    let only = bind | UInt(MS_REMOUNT) | UInt(MS_RDONLY)
    try self.init(path, mkdir: false) {
      mount(path, path, nil, bind, nil) == 0 && mount(nil, path, nil, only, nil) == 0
    }
  }

  /// A file, under a second name.
  convenience init(file: String, at path: String) throws(Failure) {
    try self.init(path, mkdir: false) { mount(file, path, nil, UInt(MS_BIND), nil) == 0 }
  }

  private init(_ path: String, mkdir make: Bool, _ attach: () -> Bool) throws(Failure) {
    if make { mkdir(path, 0o755) }
    self.path = path
    guard attach() else {
      throw Failure(.inputOutput, "Not mounted: \(String(cString: strerror(errno))).", file: path)
    }
  }

  /// Before the folder that holds it is removed.
  func detach() { umount2(path, Int32(MNT_DETACH)) }

  deinit { detach() }
}
