#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Whom the kernel ends first where memory runs out: `oom_score_adj` of this process, which what it starts inherits
/// (proc(5)).
enum MemoryScore {
  private static let path = "/proc/self/oom_score_adj"
  /// Before everybody else.
  static let first = Array("1000".utf8)
  static let ordinary = Array("0".utf8)

  /// - Returns: what it was; nil where nobody can say.
  @discardableResult
  static func set(_ score: [UInt8]) -> [UInt8]? {
    let file = open(path, O_RDWR | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var before = [UInt8](repeating: 0, count: 16)
    let count = read(file, &before, before.count)
    _ = pwrite(file, score, score.count, 0)
    return count > 0 ? Array(before[..<count]) : nil
  }
}
