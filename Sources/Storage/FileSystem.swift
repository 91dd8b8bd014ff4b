import FoundationEssentials
public import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The few file operations that durability depends on, each with its error checked.
public enum FileSystem {
  public struct Facts: Sendable, Equatable {
    public var size: Int64
    public var isDirectory: Bool
    public var isRegular: Bool
    public var device: UInt64
    public var inode: UInt64
    /// When the content was last written, in seconds since 1970.
    var modifiedSeconds: Int
    var modifiedNanoseconds: Int
    /// How many names it has.
    public var links: Int

    /// The same as RFC 3339. Not stored: most who ask for the facts of a file do not ask for this.
    public var modified: String {
      Timestamp.text(Date(timeIntervalSince1970: Double(modifiedSeconds)))
    }
  }

  /// What is at `path`, links not followed at its end; nil when nothing is there.
  public static func facts(_ path: String) -> Facts? {
    var info = stat()
    guard lstat(path, &info) == 0 else { return nil }
    return facts(info)
  }

  /// What `path` leads to, links followed; nil when nothing is there.
  public static func target(_ path: String) -> Facts? {
    var info = stat()
    guard stat(path, &info) == 0 else { return nil }
    return facts(info)
  }

  private static func facts(_ info: stat) -> Facts {
    let kind = info.st_mode & S_IFMT
    return Facts(
      size: Int64(info.st_size), isDirectory: kind == S_IFDIR, isRegular: kind == S_IFREG,
      device: UInt64(info.st_dev), inode: UInt64(info.st_ino),
      modifiedSeconds: Int(info.st_mtim.tv_sec), modifiedNanoseconds: Int(info.st_mtim.tv_nsec),
      links: Int(info.st_nlink))
  }

  /// What a link says; empty when there is none.
  static func linkText(_ path: String) -> String {
    var buffer = [UInt8](repeating: 0, count: 4096)
    let count = buffer.withUnsafeMutableBytes { bytes in
      bytes.withMemoryRebound(to: CChar.self) { characters in
        characters.baseAddress.map { readlink(path, $0, characters.count) } ?? 0
      }
    }
    return String(decoding: buffer.prefix(max(0, count)), as: UTF8.self)
  }

  /// Whether a file system, or a single file, is mounted exactly at `path`.
  static func isMountPoint(_ path: String) -> Bool {
    let place = canonical(path)
    return Mounted.all().contains { $0.path == place }
  }

  /// Bytes that an ordinary process may still write on the file system that holds `path`, or its
  /// nearest folder that exists.
  public static func availableBytes(at path: String) throws(Failure) -> Int64 {
    var info = statvfs()
    var folder = path
    while statvfs(folder, &info) != 0 {
      guard errno == ENOENT, folder != "/", !folder.isEmpty else {
        throw failure("examine", folder)
      }
      folder = parent(folder)
    }
    return Int64(info.f_bavail) * Int64(info.f_frsize)
  }

  /// The number of the file system that holds `path`, or its nearest folder that exists.
  public static func device(of path: String) -> UInt64 {
    var folder = path
    while folder != "/", folder != "." {
      if let facts = target(folder) { return facts.device }
      folder = parent(folder)
    }
    return target(folder)?.device ?? 0
  }

  /// The path without links, as SQLite names a file; its end need not exist.
  public static func canonical(_ path: String) -> String {
    func resolved(_ path: String) -> String? {
      guard let resolved = realpath(path, nil) else { return nil }
      defer { free(resolved) }
      return String(cString: resolved)
    }
    let name = path.split(separator: "/").last.map(String.init) ?? ""
    return resolved(path) ?? resolved(parent(path)).map { "\($0)/\(name)" } ?? path
  }

  /// Where a symbolic link leads, also when nothing is there; nil when it is none.
  static func linkTarget(_ path: String) -> String? {
    var name = [CChar](repeating: 0, count: Int(PATH_MAX))
    let count = readlink(path, &name, name.count)
    guard count > 0 else { return nil }
    let target = String(decoding: name[..<count].map(UInt8.init(bitPattern:)), as: UTF8.self)
    return canonical(target.hasPrefix("/") ? target : "\(parent(path))/\(target)")
  }

  /// The folder that holds `path`.
  public static func parent(_ path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  /// Makes a folder and those above it, for the owner alone.
  public static func makeFolder(_ path: String) throws(Failure) {
    if let there = target(path) {
      guard there.isDirectory else {
        throw Failure(.inputOutput, "\(path) is not a folder.", file: path)
      }
      return
    }
    let above = parent(path)
    if above != path { try makeFolder(above) }
    guard mkdir(path, 0o750) == 0 || errno == EEXIST else { throw failure("create", path) }
    takeOwner(ofFolderOf: path)
    // What is kept in it is only as durable as its own name. A folder that we may not read (/run) is
    // not for keeping things.
    if access(above, R_OK) == 0 { try sync(above) }
  }

  /// The names in a folder, sorted; empty when the folder does not exist.
  public static func names(in folder: String) throws(Failure) -> [String] {
    guard let stream = opendir(folder) else {
      if errno == ENOENT { return [] }
      throw failure("read", folder)
    }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Reads a small file (at most `limit` bytes); nil when it does not exist.
  public static func read(_ path: String, limit: Int = 16 << 20) throws(Failure) -> [UInt8]? {
    // A pipe would keep the reader waiting.
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else {
      if errno == ENOENT { return nil }
      throw failure("open", path)
    }
    defer { close(file) }
    var facts = stat()
    guard fstat(file, &facts) == 0 else { throw failure("fstat", path) }
    guard facts.st_mode & S_IFMT == S_IFREG else {
      throw Failure(
        .inputOutput, "\(path) is not a file.", file: path, howToClear: "Name a regular file.")
    }
    var content: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = Glibc.read(file, &buffer, buffer.count)
      guard count >= 0 else {
        if errno == EINTR { continue }
        throw failure("read", path)
      }
      if count == 0 { return content }
      content.append(contentsOf: buffer[..<count])
      guard content.count <= limit else {
        throw Failure(.inputOutput, "\(path) is larger than \(limit) bytes.", file: path)
      }
    }
  }

  /// Replaces `path` with `content` so that a reader, also after a power cut, sees the old bytes or
  /// the new ones: temporary file, fsync, rename, fsync of the folder.
  public static func replace(_ path: String, with content: [UInt8]) throws(Failure) {
    let temporary = path + ".partial"
    let file = try create(temporary, O_WRONLY | O_TRUNC)
    do throws(Failure) {
      try writeAll(content, to: file, named: temporary)
      guard fsync(file) == 0 else { throw failure("sync", temporary) }
    } catch {
      close(file)
      unlink(temporary)
      throw error
    }
    do throws(Failure) {
      guard close(file) == 0 else { throw failure("close", temporary) }
      try rename(temporary, to: path)
    } catch {
      unlink(temporary)
      throw error
    }
  }

  static func writeAll(_ bytes: [UInt8], to file: Int32, named path: String) throws(Failure) {
    var offset = 0
    while offset < bytes.count {
      let count = bytes[offset...].withUnsafeBytes { write(file, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure("write", path)
      }
      offset += count
    }
  }

  /// Renames within one file system and makes it durable.
  public static func rename(_ from: String, to path: String) throws(Failure) {
    guard Glibc.rename(from, path) == 0 else { throw failure("rename", from) }
    try sync(parent(path))
  }

  /// Gives a file a second name, where nothing may be yet, and makes it durable.
  static func link(_ from: String, as path: String) throws(Failure) {
    guard Glibc.link(from, path) == 0 else {
      guard errno == EEXIST else { throw failure("create", path) }
      throw Failure(
        .databaseExists, "\(path) exists already; nothing was changed.", file: path,
        howToClear: "Move it away first.")
    }
    try sync(parent(path))
  }

  /// Renames to a name where nothing may be yet, and makes it durable.
  static func rename(_ from: String, toFree path: String) throws(Failure) {
    if Glibc.link(from, path) == 0 {
      try remove(from)
      return try sync(parent(path))
    }
    // FAT has no second names.
    guard errno == EPERM || errno == EOPNOTSUPP, facts(path) == nil else {
      throw failure("create", path)
    }
    try rename(from, to: path)
  }

  /// Removes a file; nothing happens when it is not there.
  public static func remove(_ path: String) throws(Failure) {
    guard unlink(path) != 0, errno != ENOENT else { return }
    let removal = failure("remove", path)
    // On a file system that can only be read, this is said of what is not there, too.
    guard errno != EROFS || facts(path) != nil else { return }
    throw removal
  }

  /// Removes a folder and the files in it, if it is there.
  public static func removeFolder(_ path: String) throws(Failure) {
    guard facts(path) != nil else { return }
    for name in try names(in: path) { try remove("\(path)/\(name)") }
    guard rmdir(path) == 0 || errno == ENOENT else { throw failure("remove", path) }
  }

  /// Opens a file that may be new, for its owner alone.
  static func create(_ path: String, _ how: Int32) throws(Failure) -> Int32 {
    let file = open(path, how | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw failure("create", path) }
    takeOwner(ofFolderOf: path)
    return file
  }

  /// Gives what root makes the owner of the folder that it lies in: the daemon, which is not root, has to use it.
  static func takeOwner(ofFolderOf path: String) {
    var folder = stat()
    guard geteuid() == 0, stat(parent(path), &folder) == 0, folder.st_uid != 0 else { return }
    _ = lchown(path, folder.st_uid, folder.st_gid)
  }

  /// Removes a file, or a folder with everything in it; links are removed, not followed. Nothing happens when it is
  /// not there. Of a folder that something is mounted at, what lies in it goes, and the folder stays.
  public static func removeAll(_ path: String) throws(Failure) {
    guard facts(path)?.isDirectory == true else { return try remove(path) }
    for name in try names(in: path) { try removeAll("\(path)/\(name)") }
    try sync(path)
    guard rmdir(path) == 0 || errno == ENOENT || errno == EBUSY else {
      throw failure("remove", path)
    }
  }

  /// Makes a file's content, or a folder's entries, durable.
  public static func sync(_ path: String) throws(Failure) {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { throw failure("open", path) }
    defer { close(file) }
    guard fsync(file) == 0 else { throw failure("sync", path) }
  }

  /// Calls `body` with the content of a file, piece by piece. Never for a database that this process
  /// has open: closing any descriptor of it would drop SQLite's locks
  /// (<https://sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_>).
  static func forEachChunk(
    of path: String, size: Int = 1 << 20, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw failure("open", path) }
    defer { close(file) }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    defer { buffer.deallocate() }
    while true {
      let count = Glibc.read(file, buffer.baseAddress, size)
      guard count >= 0 else {
        if errno == EINTR { continue }
        throw failure("read", path)
      }
      if count == 0 { return }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  /// Reads a text file line by line; the last one may lack its line end.
  static func forEachLine(
    of path: String, _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    var rest: [UInt8] = []
    try forEachChunk(of: path) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
      rest.append(contentsOf: chunk)
      var start = 0
      while let end = rest[start...].firstIndex(of: UInt8(ascii: "\n")) {
        try body(Array(rest[start..<end]))
        start = end + 1
      }
      rest.removeSubrange(..<start)
    }
    if !rest.isEmpty { try body(rest) }
  }

  /// Copies a file that nobody has open. The new one is not synced.
  static func copy(_ from: String, to path: String, stop: StopSignal) throws(Failure) {
    let file = try create(path, O_WRONLY | O_TRUNC)
    do throws(Failure) {
      try forEachChunk(of: from) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
        try stop.check()
        var offset = 0
        while offset < chunk.count {
          let count = write(file, chunk.baseAddress?.advanced(by: offset), chunk.count - offset)
          if count < 0 {
            if errno == EINTR { continue }
            throw failure("write", path)
          }
          offset += count
        }
      }
    } catch {
      close(file)
      unlink(path)
      throw error
    }
    guard close(file) == 0 else { throw failure("close", path) }
  }

  /// Copies a file as far as its storage can read it: what it cannot becomes zeros.
  ///
  /// - Returns: how many bytes could not be read.
  public static func copyReadable(
    _ from: String, to path: String, stop: StopSignal, progress: (Int64) -> Void
  ) throws(Failure) -> Int64 {
    let source = open(from, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw failure("open", from) }
    defer { close(source) }
    let file = try create(path, O_WRONLY | O_TRUNC)
    defer { close(file) }
    var facts = stat()
    guard fstat(source, &facts) == 0 else { throw failure("look at", from) }
    let size = Int(facts.st_size)
    var buffer = [UInt8](repeating: 0, count: 1 << 18)
    var (offset, lost) = (0, 0)
    while offset < size {
      try stop.check()
      var wanted = min(buffer.count, size - offset)
      var count = pread(source, &buffer, wanted, off_t(offset))
      if count < 0, errno == EINTR { continue }
      if count < 0, errno == EIO {
        // The smallest that storage reads: what is beside it may be readable.
        wanted = min(4096 - offset % 4096, size - offset)
        count = pread(source, &buffer, wanted, off_t(offset))
        if count < 0, errno == EIO {
          for index in 0..<wanted { buffer[index] = 0 }
          (count, lost) = (wanted, lost + wanted)
        }
      }
      guard count >= 0 else { throw failure("read", from) }
      // It became shorter: whoever asks compares the two.
      guard count > 0 else { break }
      try writeAll(Array(buffer[..<count]), to: file, named: path)
      offset += count
      progress(Int64(offset))
    }
    return Int64(lost)
  }

  /// A write did not fit; says how much is free now.
  static func noSpace(_ path: String, _ words: String) -> Failure {
    let free = (try? availableBytes(at: path)).map { ", \($0 / 1000) kB are free" } ?? ""
    return Failure(
      .noSpace, "No space is left for \(path)\(free): \(words).", file: path,
      howToClear: "Free space on the file system that holds \(parent(path)).")
  }

  /// The failure that `errno` stands for.
  static func failure(_ verb: String, _ path: String) -> Failure {
    let number = errno
    let words = String(cString: strerror(number))
    if number == ENOSPC || number == EDQUOT {
      return noSpace(path, "could not \(verb) it: \(words)")
    }
    return Failure(
      .inputOutput, "Could not \(verb) \(path): \(words).", file: path,
      howToClear: number == EACCES || number == EPERM
        ? "Check the owner and the permissions of \(path)." : nil)
  }
}

/// One run at a time over all processes: an flock that the kernel releases when the holder dies.
public final class RunLock: Sendable {
  private let file: Int32

  /// Nil when another process holds the lock.
  ///
  /// - Throws: `.inputOutput` when the lock file cannot be opened.
  public init?(folder: String) throws(Failure) {
    try FileSystem.makeFolder(folder)
    let path = folder + "/lock"
    let file = try FileSystem.create(path, O_RDWR)
    guard flock(file, LOCK_EX | LOCK_NB) == 0 else {
      close(file)
      return nil
    }
    self.file = file
  }

  deinit {
    close(file)
  }
}

/// Says that this process counts on what a state folder holds: an flock on the folder itself, which the kernel
/// releases when the holder dies.
public final class FolderHold: Sendable {
  private let file: Int32

  /// Nil when another process holds it in a way that rules this one out.
  ///
  /// - Parameter isShared: with others that share it; false: alone.
  /// - Throws: `.inputOutput` when the folder cannot be opened.
  public init?(folder: String, isShared: Bool) throws(Failure) {
    try FileSystem.makeFolder(folder)
    let file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard file >= 0 else { throw FileSystem.failure("open", folder) }
    guard flock(file, (isShared ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0 else {
      close(file)
      return nil
    }
    self.file = file
  }

  deinit {
    close(file)
  }
}
