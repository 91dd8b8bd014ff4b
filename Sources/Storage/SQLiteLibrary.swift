/// A copy of SQLite that a program has loaded.
public struct SQLiteLibrary: Sendable, Hashable {
  public var path: String
  public var version: String

  public init(path: String, version: String) {
    self.path = path
    self.version = version
  }

  /// Two programs that checkpoint at the same moment may corrupt a WAL database, from SQLite 3.7.0 to 3.51.2
  /// (<https://sqlite.org/wal.html#walresetbug>).
  public var hasWALResetBug: Bool {
    let numbers = version.split(separator: ".").compactMap { Int($0) }
    return numbers.lexicographicallyPrecedes([3, 51, 3])
      && !numbers.lexicographicallyPrecedes([3, 7, 0])
  }

  /// The shared libraries of a process, as far as the kernel shows them to us. One that is part of the
  /// program itself has no name of its own and is not found.
  public static func loaded(by pid: Int) -> [SQLiteLibrary] {
    guard let maps = (try? FileSystem.read("/proc/\(pid)/maps")) ?? nil else { return [] }
    // Such as `7f1c8000-7f1c9000 r--p 00000000 08:01 1234   /usr/lib/libsqlite3.so.0.8.6` (proc_pid_maps(5)).
    let paths = String(decoding: maps, as: UTF8.self).split(separator: "\n").compactMap { line in
      line.split(separator: " ", maxSplits: 5).dropFirst(5).first.map {
        String($0.drop { $0 == " " })
      }
    }
    return Set(paths.filter { $0.contains("sqlite") }).sorted().compactMap { path in
      version(of: path).map { SQLiteLibrary(path: path, version: $0) }
    }
  }

  /// SQLite keeps its version as a text of its own, between two zero bytes, such as `3.40.1`.
  private static func version(of path: String) -> String? {
    guard let bytes = (try? FileSystem.read(path)) ?? nil else { return nil }
    return bytes.split(separator: 0).lazy.filter { (6...8).contains($0.count) }.first { text in
      let numbers = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
      return numbers.count == 3 && numbers[0] == [UInt8(ascii: "3")]
        && numbers.allSatisfy { !$0.isEmpty && $0.allSatisfy { (0x30...0x39).contains($0) } }
    }.map { String(decoding: $0, as: UTF8.self) }
  }
}
