public import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A process that has a file open.
public struct Opener: Codable, Sendable, Equatable, CustomStringConvertible {
  /// As the kernel has it: at most 15 letters of the program's name.
  public var name: String
  public var pid: Int

  public init(name: String, pid: Int) {
    self.name = name
    self.pid = pid
  }

  public var description: String { "\(name) (pid \(pid))" }
}

/// Which other processes have a database open, from /proc.
public enum Openers {
  /// By their descriptors, as far as the kernel shows us those of other users, and by the locks that they
  /// hold on the database or its shared memory, which it shows to everybody.
  ///
  /// - Parameter withLocks: false leaves out the locks. To list them the kernel waits for all of its
  ///   processors, 10 to 20 ms.
  public static func of(_ path: String, withLocks: Bool = true) -> [Opener] {
    let files = [path, path + "-shm"].compactMap(FileSystem.target)
    guard let database = files.first else { return [] }
    let holders = withLocks ? lockHolders(files) : []
    var found: [Opener] = []
    for process in (try? FileSystem.names(in: "/proc")) ?? [] {
      guard let pid = Int(process), pid != Int(getpid()) else { continue }
      guard holders.contains(pid) || hasOpen(database, pid) else { continue }
      found.append(Opener(name: name(of: process) ?? "a program", pid: pid))
    }
    return found
  }

  /// The same without other processes of chock: a worker, or somebody who asks for the status.
  public static func programs(of path: String, withLocks: Bool = true) -> [Opener] {
    let own = name(of: "self")
    return of(path, withLocks: withLocks).filter { $0.name != own }
  }

  /// Those that have this file open by a descriptor, whatever its name is now.
  static func programs(holding file: FileSystem.Facts) -> [Opener] {
    let own = name(of: "self")
    return ((try? FileSystem.names(in: "/proc")) ?? []).compactMap { process in
      guard let pid = Int(process), hasOpen(file, pid) else { return nil }
      let name = name(of: process) ?? "a program"
      return name == own ? nil : Opener(name: name, pid: pid)
    }
  }

  /// Nil when the process is gone.
  private static func name(of process: String) -> String? {
    ((try? FileSystem.read("/proc/\(process)/comm")) ?? nil).map {
      String(decoding: $0, as: UTF8.self).filter { $0 != "\n" }
    }
  }

  private static func hasOpen(_ file: FileSystem.Facts, _ pid: Int) -> Bool {
    let folder = "/proc/\(pid)/fd"
    return ((try? FileSystem.names(in: folder)) ?? []).contains { descriptor in
      guard let facts = FileSystem.target("\(folder)/\(descriptor)") else { return false }
      return facts.inode == file.inode && facts.device == file.device
    }
  }

  // MARK: One file, several names

  /// SQLite keeps the log beside the name by which the database was opened: a program that uses another name
  /// of the same file has another log, and each of the two would damage what the other has written
  /// (<https://sqlite.org/howtocorrupt.html#_unlinking_or_renaming_a_database_file_while_in_use>).
  ///
  /// - Throws: `.notAllowed` when the file has several names, or a program has another log of it open.
  public static func checkNames(of path: String) throws(Failure) {
    guard let database = FileSystem.target(path) else { return }
    guard database.links < 2 else {
      throw Failure(
        .notAllowed,
        "\(path) has \(database.links) names (hard links). A program that uses another one has a log of its own, and the two would damage the database.",
        file: path,
        howToClear:
          "`find / -xdev -inum \(database.inode)` lists them. Keep one, which the application uses too."
      )
    }
    // Twice: the application may just be closing its log, or opening it.
    guard holderOfAnotherLog(database, path) != nil,
      let program = holderOfAnotherLog(database, path)
    else { return }
    throw Failure(
      .notAllowed,
      "\(program) has the database open with a log that is not \(path)-wal: by another name of the file, or its log was removed. The two logs would damage the database.",
      file: path,
      howToClear: "Stop it, and let it open the database as chock does, in the same folder.")
  }

  private static func holderOfAnotherLog(_ database: FileSystem.Facts, _ path: String) -> Opener? {
    for opener in programs(holding: database) {
      let folder = "/proc/\(opener.pid)/fd"
      let files = ((try? FileSystem.names(in: folder)) ?? []).compactMap { descriptor in
        FileSystem.target("\(folder)/\(descriptor)").map { facts in
          (name: FileSystem.linkText("\(folder)/\(descriptor)"), facts: facts)
        }
      }
      let names = files.filter {
        $0.facts.inode == database.inode && $0.facts.device == database.device
      }.map(\.name)
      let log = FileSystem.target(path + "-wal")
      for (name, facts) in files
      where names.contains(where: { name == "\($0)-wal" || name == "\($0)-wal (deleted)" }) {
        guard facts.inode == log?.inode, facts.device == log?.device else { return opener }
      }
    }
    return nil
  }

  /// From lines such as `1: POSIX  ADVISORY  READ 812 08:02:1234 128 128` (proc_locks(5)).
  private static func lockHolders(_ files: [FileSystem.Facts]) -> Set<Int> {
    guard let bytes = (try? FileSystem.read("/proc/locks")) ?? nil else { return [] }
    var found: Set<Int> = []
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let words = line.split(separator: " ").filter { $0 != "->" }
      guard words.count > 5, let pid = Int(words[4]) else { continue }
      let place = words[5].split(separator: ":")
      guard place.count == 3, let major = UInt64(place[0], radix: 16),
        let minor = UInt64(place[1], radix: 16), let inode = UInt64(place[2])
      else { continue }
      if files.contains(where: {
        $0.inode == inode && $0.device >> 8 & 0xfff == major
          && ($0.device & 0xff | $0.device >> 12 & ~0xff) == minor
      }) {
        found.insert(pid)
      }
    }
    return found
  }
}
