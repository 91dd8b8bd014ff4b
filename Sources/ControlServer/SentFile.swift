import Glibc
import Migrations
import NIOCore

/// A file on its way to somebody, read piece by piece: it may be larger than the memory.
actor SentFile {
  private static let piece = 1 << 16

  /// Bytes, when it was opened.
  nonisolated let size: Int
  private let descriptor: Int32
  private var left: Int

  /// - Throws: `.inputOutput` when it cannot be opened.
  init(_ path: String) throws(Failure) {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    var facts = stat()
    guard file >= 0, fstat(file, &facts) == 0 else {
      if file >= 0 { close(file) }
      throw Failure(.inputOutput, "The file could not be opened.", file: path)
    }
    descriptor = file
    size = Int(facts.st_size)
    left = size
  }

  deinit { close(descriptor) }

  /// The next piece; nil behind the last one.
  ///
  /// - Throws: `.inputOutput`; an answer whose length was announced then ends too early, which everybody notices.
  func read() throws(Failure) -> ByteBuffer? {
    guard left > 0 else { return nil }
    let wanted = min(Self.piece, left)
    var bytes = [UInt8](repeating: 0, count: wanted)
    let count = Glibc.read(descriptor, &bytes, wanted)
    guard count > 0 else {
      throw Failure(.inputOutput, "The file could not be read to its end.")
    }
    left -= count
    return ByteBuffer(bytes: bytes[..<count])
  }
}
