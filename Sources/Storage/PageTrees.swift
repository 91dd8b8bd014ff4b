import Migrations

/// The b-trees of a file, found by its bare pages alone, for where its schema does not lead to them
/// (<https://sqlite.org/fileformat2.html#b_tree_pages>).
struct PageTrees {
  /// What values of one field are stored as: all of them that were seen.
  struct Classes: OptionSet {
    let rawValue: UInt8

    static let null = Classes(rawValue: 1)
    static let integer = Classes(rawValue: 2)
    static let real = Classes(rawValue: 4)
    static let text = Classes(rawValue: 8)
    static let blob = Classes(rawValue: 16)
  }

  struct Tree {
    let root: UInt32
    /// Of a table with rowids; else of an index, or of a table WITHOUT ROWID.
    let isTable: Bool
    /// Whole records.
    var rows: Int64 = 0
    /// How many of them have so many fields.
    var rowsByFields: [Int: Int64] = [:]
    var fields: [Classes] = []
    var lowest = Int64.max
    var highest = Int64.min
    /// How many of its rows each table of the description has in the same way.
    var common: [Int: Int64] = [:]
    /// Each row is one of a schema.
    var isSchema = true

    var mostFields: Int { fields.count }
    var fewestFields: Int { rowsByFields.keys.min() ?? 0 }
  }

  /// But for that of the schema itself, and what the list of free pages names.
  private(set) var trees: [UInt32: Tree] = [:]

  /// - Parameters:
  ///   - samples: rows of a description, and to which of its tables they belong.
  ///   - isListLost: nobody knows where the list of free pages begins.
  init(
    of file: PageFile, samples: [Int: Set<Int>] = [:], isListLost: Bool, stop: StopSignal
  ) throws(Failure) {
    let count = UInt32(clamping: file.pages)
    var parents = [UInt32](repeating: 0, count: Int(count) + 1)
    var kinds = [UInt8](repeating: 0, count: Int(count) + 1)
    var free: Set<UInt32> = isListLost ? [] : file.freePages()
    // What a row holds may look like a part of that list.
    let overflow = isListLost ? try file.overflowPages(stop) : []
    for number in 1...max(1, count) {
      try stop.check()
      guard !file.isPointerMap(number), let page = file.page(number) else { continue }
      if isListLost, !overflow.contains(number), let listed = file.freePages(listedBy: page) {
        free.formUnion(listed)
        free.insert(number)
        continue
      }
      guard let kind = file.kind(of: page, number) else { continue }
      kinds[Int(number)] = kind
      guard kind == 5 || kind == 2 else { continue }
      for (child, _) in file.children(of: page, number == 1 ? 100 : 0)
      where child >= 2 && child <= count && child != number && parents[Int(child)] == 0 {
        parents[Int(child)] = number
      }
    }
    for number in 1...max(1, count) where kinds[Int(number)] != 0 && !free.contains(number) {
      try stop.check()
      var root = number
      var steps = 0
      // A page that lies below itself is nobody's; 64 levels are more than any file has.
      while parents[Int(root)] != 0, kinds[Int(parents[Int(root)])] != 0,
        !free.contains(parents[Int(root)]), steps < 64
      {
        root = parents[Int(root)]
        steps += 1
      }
      guard root != 1, steps < 64, let page = file.page(number) else { continue }
      let kind = kinds[Int(number)]
      let isTable = kind == 13 || kind == 5
      var tree = trees[root] ?? Tree(root: root, isTable: isTable)
      if tree.isTable == isTable, kind != 5 { file.add(page, kind, to: &tree, samples) }
      trees[root] = tree
    }
  }
}

/// A row as it is stored, without its values.
struct StoredRecord {
  var key: Int64?
  var fields: [PageTrees.Classes]
  /// Says what it is, by what of it stands on its page.
  var digest: Int
  var isOfSchema: Bool
}

extension PageFile {
  /// 2, 5, 10 or 13, where a page is one of a b-tree as far as can be told; else nil.
  fileprivate func kind(of page: [UInt8], _ number: UInt32) -> UInt8? {
    let start = number == 1 ? 100 : 0
    let kind = page[start]
    guard [2, 5, 10, 13].contains(kind) else { return nil }
    let header = kind < 8 ? 12 : 8
    let count = Self.count(of: page, start)
    guard start + header + 2 * count <= usable else { return nil }
    let places = cells(of: page, start, header: header)
    guard places.count * 2 >= count else { return nil }
    if kind < 8 {
      let last = page.number(at: start + 8)
      return last >= 2 && last <= UInt32(clamping: pages) && last != number ? kind : nil
    }
    guard count > 0 else {
      // The end of the page is where the first cell of an empty one would be put; 0 stands for 65536.
      let content = Int(page[start + 5]) << 8 | Int(page[start + 6])
      return content == usable & 0xffff ? kind : nil
    }
    // One bad cell makes no other page of it.
    return places.count { record(page, $0, kind) != nil } * 2 >= count ? kind : nil
  }

  /// Nil where there is none that can be right.
  func record(_ page: [UInt8], _ cell: Int, _ kind: UInt8) -> StoredRecord? {
    let (payload, afterSize) = Self.varint(page, kind == 2 ? cell + 4 : cell)
    var begin = afterSize
    var key: Int64?
    if kind == 13 {
      let (rowid, end) = Self.varint(page, afterSize)
      (key, begin) = (rowid, end)
    }
    guard payload > 0, payload < Int64(Int32.max), begin < usable else { return nil }
    let end = begin + localBytes(Int(payload), isTableLeaf: kind == 13)
    guard end <= usable else { return nil }
    let (headerSize, first) = Self.varint(page, begin)
    guard headerSize > 0, headerSize <= payload, begin + Int(headerSize) <= end else { return nil }
    var fields: [PageTrees.Classes] = []
    var lengths: [Int] = []
    var place = first
    var bytes: Int64 = headerSize
    while place < begin + Int(headerSize) {
      let (type, next) = Self.varint(page, place)
      place = next
      let field: (PageTrees.Classes, Int64)
      switch type {
      case 0: field = (.null, 0)
      case 1...4: field = (.integer, type)
      case 5: field = (.integer, 6)
      case 6: field = (.integer, 8)
      case 7: field = (.real, 8)
      case 8, 9: field = (.integer, 0)
      case 12...: field = (type % 2 == 0 ? .blob : .text, (type - 12) / 2)
      default: return nil
      }
      guard field.1 <= payload else { return nil }
      fields.append(field.0)
      lengths.append(Int(field.1))
      bytes += field.1
      // More than a table may have.
      guard fields.count <= 1990 else { return nil }
    }
    guard place == begin + Int(headerSize), bytes == payload else { return nil }
    var hasher = Hasher()
    hasher.combine(key)
    page.withUnsafeBytes {
      hasher.combine(bytes: UnsafeRawBufferPointer(rebasing: $0[begin..<end]))
    }
    let isSchema = fields.count == 5 && Self.isOfSchema(fields, page, place, lengths[0], end)
    return StoredRecord(
      key: key, fields: fields, digest: hasher.finalize(), isOfSchema: isSchema)
  }

  /// Type, name, table, root page, text.
  private static func isOfSchema(
    _ fields: [PageTrees.Classes], _ page: [UInt8], _ values: Int, _ length: Int, _ end: Int
  ) -> Bool {
    guard fields[0] == .text, fields[1] == .text, fields[2] == .text,
      [.integer, .null].contains(fields[3]), [.text, .null].contains(fields[4]),
      values + length <= end
    else { return false }
    // In UTF-16 each second byte is 0.
    let type = String(decoding: page[values..<values + length].filter { $0 != 0 }, as: UTF8.self)
    return ["table", "index", "view", "trigger"].contains(type)
  }

  fileprivate func add(
    _ page: [UInt8], _ kind: UInt8, to tree: inout PageTrees.Tree, _ samples: [Int: Set<Int>]
  ) {
    for cell in cells(of: page, 0, header: kind == 2 ? 12 : 8) {
      guard let record = record(page, cell, kind) else { continue }
      tree.rows += 1
      tree.rowsByFields[record.fields.count, default: 0] += 1
      for (index, classes) in record.fields.enumerated() {
        if index < tree.fields.count {
          tree.fields[index].formUnion(classes)
        } else {
          tree.fields.append(classes)
        }
      }
      if let key = record.key {
        tree.lowest = min(tree.lowest, key)
        tree.highest = max(tree.highest, key)
      }
      for table in samples[record.digest] ?? [] { tree.common[table, default: 0] += 1 }
      if !record.isOfSchema { tree.isSchema = false }
    }
  }

  /// Some rows of a tree by their digests, more of its end than of its front, and its pages.
  func sample(ofTreeAt root: UInt32) -> (digests: Set<Int>, pages: [UInt32]) {
    var digests: Set<Int> = []
    var found: Set<UInt32> = []
    var open = [root]
    while let number = open.popLast() {
      guard found.insert(number).inserted, let page = page(number),
        let kind = kind(of: page, number)
      else { continue }
      let start = number == 1 ? 100 : 0
      if kind < 8 { open += children(of: page, start).map(\.page) }
      guard kind != 5, digests.count < 4000 else { continue }
      let most = digests.count < 800 ? 8 : 1
      for cell in cells(of: page, start, header: kind == 2 ? 12 : 8).prefix(most) {
        if let record = record(page, cell, kind) { digests.insert(record.digest) }
      }
    }
    return (digests, Array(found))
  }

  // MARK: Overflow pages

  /// Pages in which long rows go on, as far as rows lead to them.
  fileprivate func overflowPages(_ stop: StopSignal) throws(Failure) -> Set<UInt32> {
    var found: Set<UInt32> = []
    let last = UInt32(clamping: pages)
    for number in 1...max(1, last) {
      try stop.check()
      guard !isPointerMap(number), let page = page(number), let kind = kind(of: page, number),
        kind != 5
      else { continue }
      for cell in cells(of: page, number == 1 ? 100 : 0, header: kind == 2 ? 12 : 8) {
        guard record(page, cell, kind) != nil, var next = overflow(page, cell, kind) else {
          continue
        }
        while next >= 2, next <= last, found.insert(next).inserted, let page = self.page(next) {
          next = page.number(at: 0)
        }
      }
    }
    return found
  }

  /// Where a row of a leaf goes on; nil where it does not.
  private func overflow(_ page: [UInt8], _ cell: Int, _ kind: UInt8) -> UInt32? {
    let (payload, afterSize) = Self.varint(page, kind == 2 ? cell + 4 : cell)
    let begin = kind == 13 ? Self.varint(page, afterSize).end : afterSize
    let local = localBytes(Int(payload), isTableLeaf: kind == 13)
    guard local < Int(payload), begin + local + 4 <= usable else { return nil }
    return page.number(at: begin + local)
  }

  // MARK: Free pages

  /// What the header's list of free pages names.
  fileprivate func freePages() -> Set<UInt32> {
    guard let first = page(1) else { return [] }
    var free: Set<UInt32> = []
    var trunk = first.number(at: 32)
    while trunk > 0, free.insert(trunk).inserted, let page = page(trunk) {
      guard let listed = freePages(listedBy: page, mayBeEmpty: true) else { break }
      free.formUnion(listed)
      trunk = page.number(at: 0)
    }
    return free
  }

  /// Nil where a page cannot be a part of that list: the next part, how many pages it names, and these.
  fileprivate func freePages(
    listedBy page: [UInt8], mayBeEmpty: Bool = false
  ) -> Set<UInt32>? {
    let last = UInt32(clamping: pages)
    let count = Int(page.number(at: 4))
    guard page.number(at: 0) <= last, mayBeEmpty || count > 0, count <= usable / 4 - 2 else {
      return nil
    }
    var listed: Set<UInt32> = []
    for index in 0..<count {
      let number = page.number(at: 8 + 4 * index)
      guard number >= 2, number <= last, listed.insert(number).inserted else { return nil }
    }
    return listed
  }

  /// Whether a page only says which page belongs to which: files with auto_vacuum have such.
  fileprivate func isPointerMap(_ number: UInt32) -> Bool {
    guard hasPointerMap, number >= 2 else { return false }
    return (Int(number) - 2) % (usable / 5 + 1) == 0
  }

  // MARK: Writing

  /// Makes the first page an empty schema, in a file without free pages and without pages that map others.
  func clearSchema() throws(Failure) {
    try write([0, 0, 0, 0, 0, 0, 0, 0], at: 32)
    try write([0, 0, 0, 0], at: 52)
    try write([0, 0, 0, 0], at: 64)
    try write(emptyLeaf(13) + [UInt8](repeating: 0, count: pageSize - 108), at: 100)
  }

  /// Adds an empty table, or an empty index, at the end.
  func addEmptyTree(isTable: Bool) throws(Failure) -> UInt32 {
    try add(emptyLeaf(isTable ? 13 : 10) + [UInt8](repeating: 0, count: pageSize - 8))
  }

  private func emptyLeaf(_ kind: UInt8) -> [UInt8] {
    [kind, 0, 0, 0, 0, UInt8(usable >> 8 & 0xff), UInt8(usable & 0xff), 0]
  }

  /// Adds inner pages of a table above parts of it that have none.
  ///
  /// - Parameter parts: in the order of their keys, which do not overlap.
  /// - Returns: the root.
  func addTree(above parts: [(page: UInt32, highest: Int64)]) throws(Failure) -> UInt32 {
    var parts = parts
    // A cell has 4 bytes for the child, at most 9 for the key, and 2 in front.
    let most = (usable - 12) / 15
    while parts.count > 1 {
      var above: [(page: UInt32, highest: Int64)] = []
      for start in stride(from: 0, to: parts.count, by: most) {
        let below = parts[start..<min(start + most, parts.count)]
        above.append((try add(inner(Array(below))), below.last?.highest ?? .max))
      }
      parts = above
    }
    return parts.first?.page ?? 0
  }

  private func inner(_ parts: [(page: UInt32, highest: Int64)]) -> [UInt8] {
    var page = [UInt8](repeating: 0, count: pageSize)
    var end = usable
    for (index, part) in parts.dropLast().enumerated() {
      let cell = part.page.bytes + Self.varint(part.highest)
      end -= cell.count
      page.replaceSubrange(end..<end + cell.count, with: cell)
      page[12 + 2 * index] = UInt8(end >> 8)
      page[13 + 2 * index] = UInt8(end & 0xff)
    }
    let count = parts.count - 1
    page[0] = 5
    page[3] = UInt8(count >> 8)
    page[4] = UInt8(count & 0xff)
    page[5] = UInt8(end >> 8 & 0xff)
    page[6] = UInt8(end & 0xff)
    page.replaceSubrange(8..<12, with: (parts.last?.page ?? 0).bytes)
    return page
  }

  private func add(_ page: [UInt8]) throws(Failure) -> UInt32 {
    // SQLite never uses the page in which the locks are (<https://sqlite.org/fileformat2.html#the_lock_byte_page>).
    var number = pages + 1
    if (number - 1) * pageSize == 0x4000_0000 { number += 1 }
    try write(page, at: (number - 1) * pageSize)
    return UInt32(clamping: number)
  }

  private static func varint(_ value: Int64) -> [UInt8] {
    // The long form is always right.
    let bits = UInt64(bitPattern: value)
    let high = (0..<8).map { UInt8(truncatingIfNeeded: bits >> (57 - 7 * $0)) | 0x80 }
    return high + [UInt8(truncatingIfNeeded: bits)]
  }
}
