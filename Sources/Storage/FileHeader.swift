import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The first 100 bytes of a database file, whatever they are
/// (<https://sqlite.org/fileformat2.html#the_database_header>).
struct FileHeader: Equatable {
  private(set) var bytes: [UInt8]

  /// How a file is divided: the size of its pages, and how much is reserved at the end of each, in bytes.
  struct Pages: Hashable {
    var size: Int
    var reserved: Int

    static let sizes = (9...16).map { 1 << $0 }
  }

  /// What is missing at the end of a shorter file is zeros.
  init(of path: String) throws(Failure) {
    bytes = try Self.start(of: path, count: 100)
  }

  private static func start(of path: String, count: Int) throws(Failure) -> [UInt8] {
    let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw FileSystem.failure("open", path) }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: count)
    guard pread(file, &bytes, count, 0) >= 0 else { throw FileSystem.failure("read", path) }
    return bytes
  }

  func write(to path: String) throws(Failure) {
    let file = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw FileSystem.failure("open", path) }
    defer { close(file) }
    guard pwrite(file, bytes, bytes.count, 0) == bytes.count else {
      throw FileSystem.failure("write", path)
    }
  }

  private func number(_ offset: Int) -> Int {
    Int(bytes.number(at: offset))
  }

  // MARK: What it says

  var hasMagic: Bool { bytes.starts(with: PageFile.magic) }

  /// Nil when no file can be divided so.
  var pages: Pages? {
    // 1 stands for 65536.
    let stored = Int(bytes[16]) << 8 | Int(bytes[17])
    let pages = Pages(size: stored == 1 ? 65536 : stored, reserved: Int(bytes[20]))
    return Pages.sizes.contains(pages.size) && pages.reserved <= pages.size - 480 ? pages : nil
  }

  /// Nil when it says neither yes nor no.
  var isWAL: Bool? {
    switch bytes[18] {
    case 1: false
    case 2: true
    default: nil
    }
  }

  private var knowsFormat: Bool { (1...4).contains(number(44)) }
  private var knowsEncoding: Bool { (1...3).contains(number(56)) }
  private var endsInZeros: Bool { bytes[72..<92].allSatisfy { $0 == 0 } }

  /// The numbers of the application and of the schema may be anything. They count where what stands among them is
  /// right but for one.
  private var hasNumbers: Bool {
    [knowsFormat, knowsEncoding, endsInZeros].count { $0 } >= 2
  }

  /// Whether all that can be checked is right.
  ///
  /// - Parameters:
  ///   - size: of the file, in bytes.
  ///   - good: that of a snapshot.
  ///   - byLog: the size of the pages as a log says it, which may know of more pages than the file has.
  func isSound(size: Int64, like good: FileHeader?, byLog: Int?) -> Bool {
    guard hasMagic, let pages, isWAL != nil, (1...2).contains(bytes[19]),
      Array(bytes[21..<24]) == Self.fractions, knowsFormat, knowsEncoding, endsInZeros
    else { return false }
    return pages == good?.pages ?? Pages(size: pages.size, reserved: 0)
      && number(56) == good?.number(56) ?? number(56)
      && (byLog.map { $0 == pages.size } ?? (Int64(number(28)) * Int64(pages.size) == size))
  }

  private static let fractions: [UInt8] = [64, 32, 32]

  // MARK: Making it anew

  /// The same with what can be right of it, and else with what a snapshot says, or what nearly all files have.
  ///
  /// It says that there is no log: a file that is only looked at has none.
  func rebuilt(_ pages: Pages, size: Int64, like good: FileHeader?) -> FileHeader {
    var new = self
    func put(_ values: [UInt8], _ offset: Int) {
      new.bytes.replaceSubrange(offset..<offset + values.count, with: values)
    }
    if !hasNumbers {
      put(good.map { Array($0.bytes[40..<72]) } ?? Array(repeating: 0, count: 32), 40)
    }
    put(PageFile.magic, 0)
    put(pages.size == 65536 ? [0, 1] : [UInt8(pages.size >> 8), 0], 16)
    put([1, 1, UInt8(pages.reserved)] + Self.fractions, 18)
    if !new.knowsFormat { put(good.map { Array($0.bytes[44..<48]) } ?? [0, 0, 0, 4], 44) }
    // It never changes, once there is a table.
    if let good {
      put(Array(good.bytes[56..<60]), 56)
    } else if !new.knowsEncoding {
      put([0, 0, 0, 1], 56)
    }
    put(Array(repeating: 0, count: 20), 72)
    let count = UInt32(truncatingIfNeeded: size / Int64(pages.size))
    put(count.bytes, 28)
    put(Array(bytes[24..<28]), 92)
    return new
  }

  /// Whether it says the same but for what is no loss: the log, and how many pages there are.
  func isSame(as other: FileHeader) -> Bool {
    func kept(_ header: FileHeader) -> [UInt8] {
      Array(header.bytes[0..<18] + header.bytes[20..<24] + header.bytes[40..<92])
    }
    return kept(self) == kept(other)
  }

  /// The size of the pages as the log of a file, or its journal, says it.
  static func pageSize(byLogOf path: String) -> Int? {
    // <https://sqlite.org/fileformat2.html#walformat>, <https://sqlite.org/fileformat2.html#rollbackjournal>
    if let log = try? start(of: path + "-wal", count: 12), log.number(at: 0) & ~1 == 0x377f_0682,
      Pages.sizes.contains(Int(log.number(at: 8)))
    {
      return Int(log.number(at: 8))
    }
    let magic: [UInt8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]
    if let journal = try? start(of: path + "-journal", count: 28), journal.starts(with: magic),
      Pages.sizes.contains(Int(journal.number(at: 24)))
    {
      return Int(journal.number(at: 24))
    }
    return nil
  }
}
