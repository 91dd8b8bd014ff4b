import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// What SQLite would read of the log beside a private copy of a database, and what it passes over without a word
/// (<https://sqlite.org/fileformat2.html#walformat>).
struct WriteAheadLog {
  /// False when its header is damaged: SQLite reads nothing of it.
  private(set) var hasHeader = false
  /// Of the database with all that SQLite reads of the log, in bytes.
  private(set) var databaseBytes: Int64 = 0
  /// Pages of the same log behind the first that is damaged, up to the last commit: SQLite ends there.
  private(set) var passedOver = 0
  private var pageSize = 0
  /// Where the newest committed content of each page stands.
  private var committed: [UInt32: Int] = [:]

  /// Nil where there is none, or nothing in it.
  init?(of database: String, stop: StopSignal) throws(Failure) {
    let file = open(database + "-wal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var facts = stat()
    guard fstat(file, &facts) == 0, facts.st_size > 0 else { return nil }
    func bytes(_ offset: Int, _ count: Int) -> [UInt8]? {
      var bytes = [UInt8](repeating: 0, count: count)
      return pread(file, &bytes, count, off_t(offset)) == count ? bytes : nil
    }
    guard let header = bytes(0, 32), header.number(at: 0) & ~1 == 0x377f_0682,
      FileHeader.Pages.sizes.contains(Int(header.number(at: 8)))
    else { return }
    let isBig = header.number(at: 0) & 1 == 1
    var sum = Self.sum(header[0..<24], (0, 0), isBig: isBig)
    guard sum == (header.number(at: 24), header.number(at: 28)) else { return }
    hasHeader = true
    pageSize = Int(header.number(at: 8))
    var written: [UInt32: Int] = [:]
    var isRead = true
    var frame = 0
    var damagedAt = 0
    while let found = bytes(32 + frame * (pageSize + 24), pageSize + 24) {
      try stop.check()
      frame += 1
      // One of an earlier round of the log has other numbers there.
      let isOfRound = found[8..<16] == header[16..<24]
      if isRead {
        sum = Self.sum(found[24...], Self.sum(found[0..<8], sum, isBig: isBig), isBig: isBig)
        isRead = isOfRound && sum == (found.number(at: 16), found.number(at: 20))
        damagedAt = frame
      }
      if isRead { written[found.number(at: 0)] = 32 + (frame - 1) * (pageSize + 24) + 24 }
      let pages = found.number(at: 4)
      guard isOfRound, pages > 0 else { continue }
      if isRead {
        databaseBytes = Int64(pages) * Int64(pageSize)
        committed.merge(written) { $1 }
        written = [:]
      } else if frame > damagedAt {
        passedOver = frame - damagedAt + 1
      }
    }
  }

  /// Puts what was committed into the file, also where that lacks its first page or has no byte at all: SQLite would
  /// read nothing of the log then. A hole is read as pages that are lost.
  func play(into database: String, stop: StopSignal) throws(Failure) {
    guard databaseBytes > 0 else { return }
    let log = open(database + "-wal", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard log >= 0 else { throw FileSystem.failure("open", database + "-wal") }
    defer { close(log) }
    let file = open(database, O_RDWR | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw FileSystem.failure("open", database) }
    defer { close(file) }
    guard ftruncate(file, off_t(databaseBytes)) == 0 else {
      throw FileSystem.failure("extend", database)
    }
    var page = [UInt8](repeating: 0, count: pageSize)
    for (number, place) in committed.sorted(by: { $0.key < $1.key })
    where number > 0 && Int64(number) * Int64(pageSize) <= databaseBytes {
      try stop.check()
      guard pread(log, &page, pageSize, off_t(place)) == pageSize else {
        throw FileSystem.failure("read", database + "-wal")
      }
      guard
        pwrite(file, page, pageSize, off_t(number - 1) * off_t(pageSize)) == pageSize
      else { throw FileSystem.failure("write", database) }
    }
  }

  private static func sum(
    _ bytes: ArraySlice<UInt8>, _ seed: (UInt32, UInt32), isBig: Bool
  ) -> (UInt32, UInt32) {
    bytes.withUnsafeBytes { words in
      var sum = seed
      for offset in stride(from: 0, to: words.count - 7, by: 8) {
        let first = words.loadUnaligned(fromByteOffset: offset, as: UInt32.self)
        let second = words.loadUnaligned(fromByteOffset: offset + 4, as: UInt32.self)
        sum.0 &+= (isBig ? first.bigEndian : first.littleEndian) &+ sum.1
        sum.1 &+= (isBig ? second.bigEndian : second.littleEndian) &+ sum.0
      }
      return sum
    }
  }
}
