import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// The bare pages of a database file that SQLite cannot make sense of
/// (<https://sqlite.org/fileformat2.html>). The file is a private copy: it is written to.
final class PageFile {
  let path: String
  let pageSize: Int
  /// Without what is reserved at the end of each page.
  let usable: Int
  /// Whether pages of it only say which page belongs to which (auto_vacuum).
  let hasPointerMap: Bool
  private let file: Int32

  static let magic = Array("SQLite format 3\0".utf8)

  /// Nil when it has no header of a database.
  init?(_ path: String, isReadOnly: Bool = false) throws(Failure) {
    let file = open(path, (isReadOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { throw FileSystem.failure("open", path) }
    var header = [UInt8](repeating: 0, count: 100)
    // 1 stands for 65536.
    let read = pread(file, &header, 100, 0)
    let stored = Int(header[16]) << 8 | Int(header[17])
    let size = stored == 1 ? 65536 : stored
    guard read == 100, header.starts(with: Self.magic), size >= 512, size & (size - 1) == 0,
      Int(header[20]) <= size - 480
    else {
      close(file)
      return nil
    }
    self.path = path
    self.file = file
    pageSize = size
    usable = size - Int(header[20])
    hasPointerMap = header.number(at: 52) > 0
  }

  deinit { close(file) }

  /// How many whole pages the file has.
  var pages: Int {
    var facts = stat()
    guard fstat(file, &facts) == 0 else { return 0 }
    return Int(facts.st_size) / pageSize
  }

  /// Nil beyond the last page.
  func page(_ number: UInt32) -> [UInt8]? {
    guard number >= 1, number <= pages else { return nil }
    var bytes = [UInt8](repeating: 0, count: pageSize)
    guard pread(file, &bytes, pageSize, off_t(number - 1) * off_t(pageSize)) >= 0 else {
      return nil
    }
    return bytes
  }

  func write(_ bytes: [UInt8], at offset: Int) throws(Failure) {
    guard pwrite(file, bytes, bytes.count, off_t(offset)) == bytes.count else {
      throw FileSystem.failure("write", path)
    }
  }

  /// Makes the header say as many pages as there are: SQLite refuses all of a file that is shorter than that.
  /// SQLite would read what is missing of a page that was cut off as zeros, and take them for somebody's; so that
  /// page goes.
  func setPageCount() throws(Failure) {
    guard let first = page(1) else { return }
    guard ftruncate(file, off_t(pages) * off_t(pageSize)) == 0 else {
      throw FileSystem.failure("cut", path)
    }
    // At 28 the number of pages, which counts when 92 holds the same as the change counter at 24.
    try write(UInt32(truncatingIfNeeded: pages).bytes, at: 28)
    try write(Array(first[24..<28]), at: 92)
  }

  func cut(to bytes: Int) throws(Failure) {
    guard ftruncate(file, off_t(bytes)) == 0 else { throw FileSystem.failure("cut", path) }
  }

  /// Makes the header say that no log belongs to the file
  /// (<https://sqlite.org/fileformat2.html#file_format_version_numbers>).
  func leaveWAL() throws(Failure) { try write([1, 1], at: 18) }

  /// A leaf of a table, or what stands in the place of one.
  struct Leaf {
    /// The keys that belong there, by the inner pages above it.
    var low: Int64
    var high: Int64
    /// Of its cells, as far as they belong there; empty where it is no leaf.
    var keys: [Int64]
    /// How many cells it says it has.
    var cells: Int
  }

  /// Goes through the leaves of a table in their order. Below an inner page that is gone nothing is found.
  func forEachLeaf(
    ofTableAt root: UInt32, _ body: (Leaf) throws(Failure) -> Void
  ) throws(Failure) {
    var found: Set<UInt32> = []
    var open = [(page: root, low: Int64.min, high: Int64.max)]
    while let (number, low, high) = open.popLast() {
      let page = found.insert(number).inserted ? self.page(number) : nil
      let start = number == 1 ? 100 : 0
      guard let page, page[start] == 5 else {
        let cells = page.map { $0[start] == 13 ? self.cells(of: $0, start, header: 8) : [] } ?? []
        let keys = cells.compactMap { cell -> Int64? in
          guard let page else { return nil }
          let (payload, end) = Self.varint(page, cell)
          // A row has a header, of which the first byte says how long it is. Zeros are no row.
          guard payload > 0 else { return nil }
          let key = Self.varint(page, end).value
          return key >= low && key <= high ? key : nil
        }
        let count = page.map { $0[start] == 13 ? Self.count(of: $0, start) : 0 } ?? 0
        try body(Leaf(low: low, high: high, keys: keys, cells: count))
        continue
      }
      // A key that is nonsense, because it is not between those beside it, parts nothing.
      var (below, parts) = (low, [(page: UInt32, low: Int64, high: Int64)]())
      for (child, key) in children(of: page, start) {
        let end = key.map { $0 >= below && $0 <= high ? $0 : high } ?? high
        parts.append((child, below, end))
        if let key, key >= below, key < high { below = key + 1 }
      }
      open += parts.reversed()
    }
  }

  /// Of an inner page of a table: each child with the greatest key in it; the last has none.
  func children(of page: [UInt8], _ start: Int) -> [(page: UInt32, key: Int64?)] {
    var children: [(UInt32, Int64?)] = []
    for cell in cells(of: page, start, header: 12) where cell + 4 < pageSize {
      children.append((page.number(at: cell), Self.varint(page, cell + 4).value))
    }
    children.append((page.number(at: start + 8), nil))
    return children
  }

  static func count(of page: [UInt8], _ start: Int) -> Int {
    Int(page[start + 3]) << 8 | Int(page[start + 4])
  }

  func cells(of page: [UInt8], _ start: Int, header: Int) -> [Int] {
    (0..<Self.count(of: page, start)).compactMap { index in
      let place = start + header + 2 * index
      guard place + 1 < pageSize else { return nil }
      let cell = Int(page[place]) << 8 | Int(page[place + 1])
      return cell >= start + header && cell < usable ? cell : nil
    }
  }

  /// How much of a row stands on its own page; the rest is in overflow pages
  /// (<https://sqlite.org/fileformat2.html#b_tree_pages>).
  func localBytes(_ payload: Int, isTableLeaf: Bool) -> Int {
    let most = isTableLeaf ? usable - 35 : (usable - 12) * 64 / 255 - 23
    guard payload > most else { return payload }
    let least = (usable - 12) * 32 / 255 - 23
    let local = least + (payload - least) % (usable - 4)
    return local <= most ? local : least
  }

  /// A number of 1 to 9 bytes, and where it ends.
  static func varint(_ page: [UInt8], _ offset: Int) -> (value: Int64, end: Int) {
    var value: UInt64 = 0
    for index in 0..<9 {
      guard offset + index < page.count else { return (Int64(bitPattern: value), page.count) }
      let byte = page[offset + index]
      if index == 8 { return (Int64(bitPattern: value << 8 | UInt64(byte)), offset + 9) }
      value = value << 7 | UInt64(byte & 0x7f)
      if byte < 0x80 { return (Int64(bitPattern: value), offset + index + 1) }
    }
    return (Int64(bitPattern: value), offset + 9)
  }
}
