import Glibc
import Migrations

/// Tells when files of a folder are saved: inotify(7).
struct FolderWatch: ~Copyable {
  private let folder: String
  private let descriptor: Int32

  /// - Throws: `.inputOutput` when the folder cannot be watched.
  init(_ folder: String) throws(Failure) {
    self.folder = folder
    descriptor = inotify_init1(Int32(IN_CLOEXEC))
    let events =
      IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
    guard descriptor >= 0, inotify_add_watch(descriptor, folder, UInt32(events)) >= 0 else {
      throw Failure(
        .inputOutput, "\(folder) cannot be watched: \(String(cString: strerror(errno))).",
        file: folder, howToClear: "Check the folder, and fs.inotify.max_user_watches.")
    }
  }

  deinit { close(descriptor) }

  /// Waits until SQL files have been saved, renamed or removed, and nothing more happens for a tenth of a second.
  ///
  /// - Returns: their names, sorted.
  /// - Throws: `.inputOutput` when the folder is gone.
  func next() throws(Failure) -> [String] {
    var names: Set<String> = []
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
      let ready = poll(&waiting, 1, names.isEmpty ? -1 : 100)
      if ready == 0 { return names.sorted() }
      if ready < 0, errno == EINTR { continue }
      let count = ready < 0 ? -1 : read(descriptor, &buffer, buffer.count)
      guard count > 0 else {
        throw Failure(.inputOutput, "\(folder) cannot be watched any more.", file: folder)
      }
      var offset = 0
      let head = MemoryLayout<inotify_event>.size
      while offset + head <= count {
        let event = buffer.withUnsafeBytes {
          $0.loadUnaligned(fromByteOffset: offset, as: inotify_event.self)
        }
        if event.mask & UInt32(IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED) != 0 {
          throw Failure(
            .migrationsMissing, "The migrations folder \(folder) is gone.", file: folder,
            howToClear: "Start `chock dev` again when it is there.")
        }
        let start = offset + head
        offset = start + Int(event.len)
        let name = String(
          decoding: buffer[start..<min(offset, count)].prefix { $0 != 0 }, as: UTF8.self)
        if event.mask & UInt32(IN_Q_OVERFLOW) != 0 { names.insert("more than could be counted") }
        if name.hasSuffix(".sql") || name.hasSuffix(".baseline"), !name.hasPrefix(".") {
          names.insert(name)
        }
      }
    }
  }
}
