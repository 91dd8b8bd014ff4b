import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The journal beside a database that takes back an unfinished transaction: pages as they were before it
/// (<https://sqlite.org/fileformat2.html#the_rollback_journal>).
///
/// SQLite plays it back up to the first page whose checksum is wrong, and then removes it, with all that follows.
final class RollbackJournal {
  private static let magic: [UInt8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]

  private let path: String
  private let file: Int32
  private let size: Int

  /// Nil where there is none, or none that SQLite would play back: its first byte is 0.
  init?(of database: String) {
    path = FileSystem.canonical(database) + "-journal"
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    var facts = stat()
    var first: UInt8 = 0
    guard fstat(file, &facts) == 0, pread(file, &first, 1, 0) == 1, first != 0 else {
      close(file)
      return nil
    }
    self.file = file
    size = Int(facts.st_size)
  }

  deinit { close(file) }

  // MARK: Its parts

  /// SQLite syncs a part before it changes the pages of it in the database, and then begins the next one.
  private struct Part {
    /// Where its header stands.
    var start: Int
    /// How many pages it says it has; nil: as many as the file has room for. 0 until it is synced.
    var count: Int?
    var seed: UInt32
    /// Of the database before the transaction, in pages.
    var databasePages: UInt32
    var sector: Int
    var pageSize: Int

    var first: Int { start + sector }
    var record: Int { pageSize + 8 }

    func belongs(to other: Part) -> Bool {
      (databasePages, sector, pageSize) == (other.databasePages, other.sector, other.pageSize)
    }
  }

  private func bytes(_ offset: Int, _ count: Int) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    return pread(file, &bytes, count, off_t(offset)) == count ? bytes : nil
  }

  private func part(at offset: Int) -> Part? {
    guard let header = bytes(offset, 28), header.starts(with: Self.magic) else { return nil }
    let count = header.number(at: 8)
    let sector = Int(header.number(at: 20))
    let pageSize = Int(header.number(at: 24))
    guard (5...16).contains(where: { sector == 1 << $0 }), FileHeader.Pages.sizes.contains(pageSize)
    else { return nil }
    return Part(
      start: offset, count: count == .max ? nil : Int(count), seed: header.number(at: 12),
      databasePages: header.number(at: 16), sector: sector, pageSize: pageSize)
  }

  /// The page of a part, if it is what was written.
  private func page(_ index: Int, of part: Part) -> (number: UInt32, content: [UInt8])? {
    guard let record = bytes(part.first + index * part.record, part.record) else { return nil }
    let content = Array(record[4..<4 + part.pageSize])
    let sum = stride(from: part.pageSize - 200, to: 0, by: -200).reduce(part.seed) {
      $0 &+ UInt32(content[$1])
    }
    let number = record.number(at: 0)
    guard number > 0, sum == record.number(at: part.pageSize + 4) else { return nil }
    return (number, content)
  }

  /// How many pages there is room for from a part to the end of the file.
  private func room(_ part: Part) -> Int { max(0, size - part.first) / part.record }

  private func next(after end: Int, _ sector: Int) -> Int { (end + sector - 1) / sector * sector }

  /// A part that follows somewhere, of the same transaction as far as can be told.
  private func part(behind offset: Int, of first: Part) -> Part? {
    for place in stride(from: next(after: offset, first.sector), to: size, by: first.sector) {
      if let part = part(at: place), part.belongs(to: first), page(0, of: part) != nil {
        return part
      }
    }
    return nil
  }

  // MARK: Whether it is whole

  /// Whether playing it back brings all of the former state.
  ///
  /// What was being written when the power was cut is never whole. The database has not been touched for it then: it
  /// still has each of its pages.
  ///
  /// - Parameter current: a page of the database as it is; nil beyond its end.
  func isWhole(_ current: (_ number: UInt32, _ size: Int) -> [UInt8]?) -> Bool {
    guard let first = part(at: 0) else { return size < 28 }
    var part = first
    while true {
      let count = part.count ?? room(part)
      let isCounted = (0..<count).allSatisfy { page($0, of: part) != nil }
      if !isCounted || count == 0 {
        return self.part(behind: part.first, of: first) == nil
          && (0..<room(part)).allSatisfy { index in
            page(index, of: part).map { current($0.number, part.pageSize) == $0.content } ?? true
          }
      }
      let end = next(after: part.first + count * part.record, part.sector)
      guard let following = self.part(at: end) else {
        return self.part(behind: end, of: first) == nil
      }
      part = following
    }
  }

  // MARK: Playing it back by ourselves

  /// Puts every page that can still be read into a private copy of the database.
  ///
  /// - Returns: about how many pages are lost.
  func playBack(into path: String, stop: StopSignal) throws(Failure) -> Int {
    let places = stride(from: 0, to: size, by: 512)
    guard let first = places.lazy.compactMap({ self.part(at: $0) }).first else { return 1 }
    let database = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
    guard database >= 0 else { throw FileSystem.failure("open", path) }
    defer { close(database) }
    var done: Set<UInt32> = []
    // Behind a header that is gone nobody knows what a right page is.
    var lost = first.start / first.record
    var part: Part? = first
    while let now = part {
      let following = self.part(behind: now.first, of: first)
      let room = max(0, (following?.start ?? size) - now.first) / now.record
      var read = 0
      for index in 0..<room {
        try stop.check()
        guard let (number, content) = page(index, of: now) else { continue }
        read += 1
        guard number <= now.databasePages, done.insert(number).inserted else { continue }
        guard
          pwrite(database, content, content.count, off_t(number - 1) * off_t(now.pageSize))
            == content.count
        else { throw FileSystem.failure("write", path) }
      }
      let count = now.count ?? 0
      lost += max(0, min(count, room) - read)
      if let following {
        let end = next(after: now.first + count * now.record, now.sector)
        lost += max(0, following.start - end) / now.record
      }
      part = following
    }
    let bytes = off_t(first.databasePages) * off_t(first.pageSize)
    if FileSystem.facts(path)?.size ?? 0 > bytes, bytes > 0, ftruncate(database, bytes) != 0 {
      throw FileSystem.failure("cut", path)
    }
    return lost
  }
}
