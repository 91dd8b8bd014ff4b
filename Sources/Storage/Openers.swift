#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Which other processes have a file open, from /proc.
public enum Openers {
  /// Such as `python3 (pid 812)`; of processes of other users only what the kernel lets us see.
  public static func of(_ path: String) -> [String] {
    guard let wanted = FileSystem.target(path) else { return [] }
    let own = String(getpid())
    var found: [String] = []
    for process in (try? FileSystem.names(in: "/proc")) ?? []
    where process != own && process.allSatisfy(\.isNumber) {
      let folder = "/proc/\(process)/fd"
      let hasIt = ((try? FileSystem.names(in: folder)) ?? []).contains { descriptor in
        guard let facts = FileSystem.target("\(folder)/\(descriptor)") else { return false }
        return facts.inode == wanted.inode && facts.device == wanted.device
      }
      if hasIt {
        let name = (try? FileSystem.read("/proc/\(process)/comm")) ?? nil
        let words = name.map { String(decoding: $0, as: UTF8.self).filter { $0 != "\n" } }
        found.append("\(words ?? "a program") (pid \(process))")
      }
    }
    return found
  }
}
