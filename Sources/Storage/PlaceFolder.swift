import CLinux
import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// chock's folder at a place where others write too: a stick, a network share. Every file is named relative to the
/// folder that was opened, and no link is followed.
public final class PlaceFolder {
  /// For messages.
  let path: String
  private let folder: Int32
  private let holder: OpenedPlace
  /// More names than chock would ever write.
  private static let mostNames = 100_000

  init(_ name: String, in root: String, isMade: Bool, holding holder: OpenedPlace) throws(Failure) {
    path = "\(root)/\(name)"
    self.holder = holder
    let above = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard above >= 0 else { throw Self.failure("open", root) }
    defer { close(above) }
    if isMade {
      guard mkdirat(above, name, 0o700) == 0 || errno == EEXIST else {
        throw Self.failure("create", path)
      }
    }
    folder = openat(above, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
    guard folder >= 0 else {
      guard errno != ENOENT else {
        throw Failure(
          .notFound, "There are no copies of snapshots at \(root).", file: path,
          howToClear: "The copies lie in a folder \(name) there.")
      }
      guard errno != ELOOP, errno != ENOTDIR else {
        throw Failure(
          .copyPlace, "\(path) is a link or a file, and has to be a folder.", file: path,
          howToClear: "Take it away; chock makes its own folder.")
      }
      throw Self.failure("open", path)
    }
    if isMade {
      Self.give(folder, theOwnerOf: above)
      try Self.syncFolder(above, root)
    }
  }

  deinit { close(folder) }

  /// Sorted.
  func names() throws(Failure) -> [String] {
    let copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard copy >= 0 else { throw Self.failure("read", path) }
    guard let stream = fdopendir(copy) else {
      close(copy)
      throw Self.failure("read", path)
    }
    defer { closedir(stream) }
    var names: [String] = []
    errno = 0
    while let entry = readdir(stream) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
      guard names.count <= Self.mostNames else {
        throw Failure(
          .copyPlace, "\(path) holds more than \(Self.mostNames) files.", file: path,
          howToClear: "Look what they are; chock keeps a few there.")
      }
      errno = 0
    }
    // A stick that was pulled ends a list, too.
    guard errno == 0 else { throw Self.failure("read", path) }
    return names.sorted()
  }

  /// The size of a regular file; nil for what is none, or not there.
  func size(of name: String) -> Int64? {
    var info = stat()
    guard fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0,
      info.st_mode & S_IFMT == S_IFREG
    else { return nil }
    return Int64(info.st_size)
  }

  /// Bytes that may still be written.
  func availableBytes() throws(Failure) -> Int64 {
    var info = statvfs()
    guard fstatvfs(folder, &info) == 0 else { throw Self.failure("examine", path) }
    return Int64(info.f_bavail) * Int64(info.f_frsize)
  }

  /// The most bytes of one file; nil where no snapshot comes near it.
  func mostBytesOfFile() -> Int64? {
    chock_is_on_fat(folder) == 1 ? Int64(UInt32.max) : nil
  }

  /// Calls `body` with a file's content, piece by piece; what the kernel keeps in memory of it is read anew.
  func forEachChunk(
    of name: String, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Void
  ) throws(Failure) {
    let file = try openRegular(name)
    defer { close(file) }
    // Only what is on the disk already can be dropped; a file is synced before it is read back.
    posix_fadvise(file, 0, 0, Int32(POSIX_FADV_DONTNEED))
    posix_fadvise(file, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
      let count = Glibc.read(file, buffer.baseAddress, buffer.count)
      guard count >= 0 else {
        if errno == EINTR { continue }
        throw Self.failure("read", "\(path)/\(name)")
      }
      if count == 0 { return }
      try body(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
    }
  }

  /// A small file; nil when there is none, or it is no regular file or larger than `limit`.
  func read(_ name: String, limit: Int) throws(Failure) -> [UInt8]? {
    guard let size = size(of: name), size <= limit else { return nil }
    var content: [UInt8] = []
    do throws(Failure) {
      try forEachChunk(of: name) { (chunk: UnsafeRawBufferPointer) throws(Failure) in
        content.append(contentsOf: chunk)
        guard content.count <= limit else { throw Self.tooLarge(name) }
      }
    } catch  where error.code == .notFound {
      return nil
    }
    return content
  }

  private static func tooLarge(_ name: String) -> Failure {
    Failure(.foreignSnapshot, "\(name) is larger than it says.")
  }

  private func openRegular(_ name: String) throws(Failure) -> Int32 {
    // A pipe would keep the reader waiting.
    let file = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
    guard file >= 0 else {
      guard ![ENOENT, ELOOP].contains(errno) else { throw absent(name) }
      throw Self.failure("open", "\(path)/\(name)")
    }
    var info = stat()
    guard fstat(file, &info) == 0, info.st_mode & S_IFMT == S_IFREG else {
      close(file)
      throw absent(name)
    }
    return file
  }

  private func absent(_ name: String) -> Failure {
    Failure(.notFound, "There is no file \(name) in \(path).", file: "\(path)/\(name)")
  }

  /// A file that is being written.
  struct Writing: ~Copyable {
    fileprivate let file: Int32
    fileprivate let path: String
    private var unsynced = 0

    fileprivate init(_ file: Int32, _ path: String) {
      self.file = file
      self.path = path
    }

    mutating func append(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
      var offset = 0
      while offset < bytes.count {
        let count = write(file, bytes.baseAddress?.advanced(by: offset), bytes.count - offset)
        if count < 0 {
          if errno == EINTR { continue }
          throw PlaceFolder.failure("write", path)
        }
        offset += count
      }
      // What waits in memory would all have to be waited for at the end, with no look at a stop.
      unsynced += bytes.count
      guard unsynced >= 16 << 20 else { return }
      try sync()
      unsynced = 0
    }

    mutating func append(_ bytes: [UInt8]) throws(Failure) {
      try bytes.withUnsafeBufferPointer { (buffer) throws(Failure) in
        try append(UnsafeRawBufferPointer(buffer))
      }
    }

    func sync() throws(Failure) {
      guard fsync(file) == 0 else { throw PlaceFolder.failure("sync", path) }
    }

    deinit { close(file) }
  }

  /// As `FileSystem.takeOwner`, by what is open: the path may lead elsewhere by now.
  private static func give(_ file: Int32, theOwnerOf folder: Int32) {
    var facts = stat()
    guard geteuid() == 0, fstat(folder, &facts) == 0, facts.st_uid != 0 else { return }
    _ = fchown(file, facts.st_uid, facts.st_gid)
  }

  /// A new file; what had this name before is removed.
  func create(_ name: String) throws(Failure) -> Writing {
    try remove(name)
    let file = openat(
      folder, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard file >= 0 else { throw Self.failure("create", "\(path)/\(name)") }
    Self.give(file, theOwnerOf: folder)
    return Writing(file, "\(path)/\(name)")
  }

  /// Renames and makes it durable.
  func rename(_ name: String, to other: String) throws(Failure) {
    guard renameat(folder, name, folder, other) == 0 else {
      throw Self.failure("rename", "\(path)/\(name)")
    }
    try Self.syncFolder(folder, path)
  }

  /// Nothing happens when it is not there.
  func remove(_ name: String) throws(Failure) {
    guard unlinkat(folder, name, 0) == 0 || errno == ENOENT else {
      throw Self.failure("remove", "\(path)/\(name)")
    }
  }

  func sync() throws(Failure) { try Self.syncFolder(folder, path) }

  private static func syncFolder(_ folder: Int32, _ path: String) throws(Failure) {
    // Some network file systems cannot sync a folder; the server keeps its names by itself.
    guard fsync(folder) == 0 || [EINVAL, ENOTSUP, EBADF].contains(errno) else {
      throw failure("sync", path)
    }
  }

  /// What `errno` means at a place that may be pulled, full or write-protected at any time.
  private static func failure(_ verb: String, _ path: String) -> Failure {
    let number = errno
    let words = String(cString: strerror(number))
    switch number {
    case ENOSPC, EDQUOT:
      return Failure(
        .noSpace, "No space is left for a copy: could not \(verb) \(path): \(words).", file: path,
        howToClear: "Remove something from it, or let retention there keep less.")
    case EROFS, EACCES, EPERM:
      return Failure(
        .copyPlace, "Copies cannot be written: could not \(verb) \(path): \(words).", file: path,
        howToClear: "Look for its write protection, and for whom it is mounted.")
    case EFBIG:
      return Failure(
        .copyPlace, "The file system there does not hold a file of this size (FAT: 4 GB).",
        file: path, howToClear: "Format the stick with exFAT or ext4.")
    case EIO, ENODEV, ENXIO, ESTALE, ETIMEDOUT, EHOSTDOWN, EHOSTUNREACH, ENOTCONN, ECOMM:
      return Failure(
        .copyPlace,
        "The place for copies does not answer: could not \(verb) \(path): \(words). Was it pulled out?",
        file: path,
        howToClear: "Put it in again. When it stays so, unmount it first, or use another one.")
    default:
      return Failure(.copyPlace, "Could not \(verb) \(path): \(words).", file: path)
    }
  }
}
