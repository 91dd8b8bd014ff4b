import Glibc

/// A file that is read whole, and in no case for long.
enum SmallFile {
  struct Failure: Error {
    var words: String
  }

  /// The bytes of a regular file (those of sysfs and procfs are) and its mode.
  ///
  /// - Throws: when it cannot be read, is something else (a pipe would keep the reader waiting) or is longer than
  ///   `limit`.
  static func read(_ path: String, limit: Int) throws(Failure) -> (bytes: [UInt8], mode: mode_t) {
    let descriptor = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY)
    guard descriptor >= 0 else { throw failure(path) }
    defer { close(descriptor) }
    var facts = stat()
    guard fstat(descriptor, &facts) == 0 else { throw failure(path) }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      throw Failure(words: "\(path) is not a file.")
    }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: min(limit + 1, 64 << 10))
    while bytes.count <= limit {
      let count = Glibc.read(descriptor, &chunk, chunk.count)
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure(path) }
      if count == 0 { return (bytes, facts.st_mode) }
      bytes += chunk[..<count]
    }
    throw Failure(words: "\(path) is longer than \(limit) bytes.")
  }

  private static func failure(_ path: String) -> Failure {
    Failure(words: "\(path) cannot be read: \(String(cString: strerror(errno))).")
  }
}
