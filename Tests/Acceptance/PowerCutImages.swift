import Glibc
import Migrations
import Storage
import TestSupport

/// One call that changed files or made them durable, as the shim's log tells it (Tests/IOShim). Paths are
/// absolute; `id` is the file's device and inode, which stay when it is renamed.
enum DiskOperation: Sendable, Equatable {
  case create(id: String, path: String)
  case makeFolder(path: String)
  case write(id: String, offset: Int, bytes: [UInt8])
  case truncate(id: String, length: Int)
  case sync(id: String, path: String)
  case syncFolder(path: String)
  case rename(from: String, to: String)
  case link(from: String, to: String)
  case unlink(path: String)

  /// Whether the states right before and right after it are the ones that differ most.
  var isDecisive: Bool {
    switch self {
    case .sync, .syncFolder, .rename, .link, .unlink: true
    case .create, .makeFolder, .write, .truncate: false
    }
  }

  /// The environment in which a program's operations below `folder` are logged.
  static func logging(to log: String, under folder: String) -> [String: String] {
    [
      "LD_PRELOAD": TestCoach.shim, "IO_SHIM_UNDER": FileSystem.canonical(folder),
      "IO_SHIM_LOG": log,
    ]
  }

  /// Reads a log, and leaves out what lies outside `root`.
  static func read(_ log: String, below root: String) throws -> [DiskOperation] {
    let bytes = try FileSystem.read(log, limit: 1 << 30) ?? []
    var operations: [DiskOperation] = []
    var position = 0
    while position < bytes.count {
      guard let end = bytes[position...].firstIndex(of: UInt8(ascii: "\n")) else {
        throw Failure(.inputOutput, "The log ends inside a record.", file: log)
      }
      let line = String(decoding: bytes[position..<end], as: UTF8.self)
      let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
      position = end + 1
      func failure() -> Failure {
        Failure(.inputOutput, "A record of the log is not understood: \(line)", file: log)
      }
      guard fields.count >= 4 else { throw failure() }
      let (id, path) = (fields[2], fields[3])
      func number(_ index: Int) throws(Failure) -> Int {
        guard index < fields.count, let number = Int(fields[index]) else { throw failure() }
        return number
      }
      let operation: DiskOperation
      switch fields[0] {
      case "create": operation = .create(id: id, path: path)
      case "open-trunc": operation = .truncate(id: id, length: 0)
      case "write":
        let next = try position + number(5)
        guard next <= bytes.count else { throw failure() }
        operation = try .write(id: id, offset: number(4), bytes: Array(bytes[position..<next]))
        position = next
      case "truncate": operation = try .truncate(id: id, length: number(4))
      case "fsync": operation = .sync(id: id, path: path)
      case "fsyncdir": operation = .syncFolder(path: path)
      case "rename" where fields.count == 5: operation = .rename(from: path, to: fields[4])
      case "link" where fields.count == 5: operation = .link(from: path, to: fields[4])
      case "unlink": operation = .unlink(path: path)
      case "mkdir": operation = .makeFolder(path: path)
      default: throw failure()
      }
      if path == root || path.hasPrefix(root + "/") { operations.append(operation) }
    }
    return operations
  }
}

/// What the power cut takes of that which was not synced.
enum Loss: String, Sendable, CaseIterable {
  /// All of it: data and names.
  case all
  /// Nothing.
  case nothing
  /// The data, while every name is there: `rename` without `fsync` gives an empty file.
  case data
  /// The names, while the data is there.
  case names
  /// Any combination, file by file and block by block.
  case random
}

/// Files as the kernel shows them and as the disk is sure to hold them.
///
/// The rules, each the strictest reading of its source:
/// - Data that was written and not synced since may be on the disk or not, each block for itself, and in
///   any state that it had since the sync: the kernel writes back when it likes (fsync(2)). A block is 4096
///   bytes, or 512: the sector that a device writes as a whole (<https://sqlite.org/atomiccommit.html>, section 2).
/// - `fsync` and `fdatasync` make the data and the size durable, and not the name: "Calling fsync() does
///   not necessarily ensure that the entry in the directory containing the file has also reached disk. For
///   that an explicit fsync() on a file descriptor for the directory is also needed" (fsync(2)).
/// - Names change in order within a folder, since file systems journal them (ext4, "data=ordered": the
///   journal commits metadata in order), so that a prefix of a folder's changes survives. Between two folders no order is assumed.
/// - A size belongs to the metadata of its file: those changes survive in order too, whatever became of the
///   data. A block inside the size that was never written back reads as zeros; one that a surviving
///   truncation has removed never comes back.
/// - `rename` is one change: the new name is never missing ("If newpath already exists, it will be
///   atomically replaced", rename(2)). Over two folders it would be two; nobody here does that.
/// - `-shm` is an index in mapped memory that SQLite never syncs and makes anew
///   (<https://sqlite.org/walformat.html>, section 2.3): images leave it out.
struct Disk: Sendable {
  private enum Change: Sendable {
    case write(offset: Int, bytes: [UInt8])
    case truncate(Int)
  }

  private struct File: Sendable {
    var durable: [UInt8] = []
    var changes: [Change] = []
  }

  private enum Entry: Sendable, Equatable {
    case file(Int)
    case folder
  }

  private struct Naming: Sendable {
    var removed: String?
    var added: (name: String, entry: Entry)?

    func apply(to entries: inout [String: Entry]) {
      if let removed { entries[removed] = nil }
      if let added { entries[added.name] = added.entry }
    }
  }

  private struct Folder: Sendable {
    var durable: [String: Entry] = [:]
    var changes: [Naming] = []
    var current: [String: Entry] = [:]
  }

  let root: String
  private var files: [File] = []
  private var folders: [String: Folder] = [:]
  private var numbers: [String: Int] = [:]

  /// What lies in `root` now, all of it durable. Files are numbered in the order of their paths.
  init(_ root: String) throws(Failure) {
    self.root = root
    try load(root)
  }

  private mutating func load(_ path: String) throws(Failure) {
    var entries: [String: Entry] = [:]
    for name in try FileSystem.names(in: path) {
      let child = "\(path)/\(name)"
      guard let facts = FileSystem.facts(child) else { continue }
      if facts.isDirectory {
        entries[name] = .folder
        try load(child)
      } else {
        numbers["\(facts.device):\(facts.inode)"] = files.count
        entries[name] = .file(files.count)
        files.append(File(durable: try FileSystem.read(child, limit: 1 << 30) ?? []))
      }
    }
    folders[path] = Folder(durable: entries, current: entries)
  }

  /// The number of each file by its path, as the kernel shows them.
  var filePaths: [String: Int] {
    var paths: [String: Int] = [:]
    for (path, folder) in folders {
      for case (let name, .file(let number)) in folder.current { paths["\(path)/\(name)"] = number }
    }
    return paths
  }

  /// The bytes of a file as a program reads them.
  func content(of path: String) -> [UInt8]? {
    filePaths[path].map { Self.current(files[$0]) }
  }

  // MARK: What happens to it

  /// - Throws: when the log does not fit to what was there, so that no image is built on a mistake.
  mutating func apply(_ operation: DiskOperation) throws(Failure) {
    switch operation {
    case .create(let id, let path):
      // An inode's number is given again when its file is gone.
      numbers[id] = files.count
      try change(FileSystem.parent(path), adding: (Self.name(path), .file(files.count)))
      files.append(File())
    case .makeFolder(let path):
      try change(FileSystem.parent(path), adding: (Self.name(path), .folder))
      folders[path] = Folder()
    case .write(let id, let offset, let bytes):
      try files[number(id)].changes.append(.write(offset: offset, bytes: bytes))
    case .truncate(let id, let length): try files[number(id)].changes.append(.truncate(length))
    case .sync(let id, _):
      let number = try number(id)
      files[number] = File(durable: Self.current(files[number]))
    case .syncFolder(let path):
      guard let folder = folders[path] else { throw Self.unknown(path) }
      folders[path] = Folder(durable: folder.current, current: folder.current)
    case .rename(let from, let to):
      guard FileSystem.parent(from) == FileSystem.parent(to) else {
        throw Failure(.inputOutput, "A rename over two folders is not modelled.", file: from)
      }
      let entry = try entry(from)
      try change(
        FileSystem.parent(to), removing: Self.name(from), adding: (Self.name(to), entry))
    case .link(let from, let to):
      try change(FileSystem.parent(to), adding: (Self.name(to), entry(from)))
    case .unlink(let path):
      _ = try entry(path)
      try change(FileSystem.parent(path), removing: Self.name(path))
    }
  }

  private mutating func change(
    _ path: String, removing removed: String? = nil, adding added: (String, Entry)? = nil
  ) throws(Failure) {
    guard folders[path] != nil else { throw Self.unknown(path) }
    let naming = Naming(removed: removed, added: added.map { (name: $0.0, entry: $0.1) })
    folders[path]?.changes.append(naming)
    naming.apply(to: &folders[path, default: Folder()].current)
  }

  private func number(_ id: String) throws(Failure) -> Int {
    guard let number = numbers[id] else { throw Self.unknown(id) }
    return number
  }

  private func entry(_ path: String) throws(Failure) -> Entry {
    guard let entry = folders[FileSystem.parent(path)]?.current[Self.name(path)],
      case .file = entry
    else { throw Self.unknown(path) }
    return entry
  }

  private static func unknown(_ what: String) -> Failure {
    Failure(.inputOutput, "The log names \(what), which is not there.", file: what)
  }

  private static func name(_ path: String) -> String {
    path.split(separator: "/").last.map(String.init) ?? ""
  }

  // MARK: What a power cut leaves

  func image(after loss: Loss, using generator: inout some RandomNumberGenerator) -> DiskImage {
    var image = DiskImage()
    var contents: [Int: [UInt8]] = [:]
    func visit(_ path: String) {
      guard let folder = folders[path] else { return }
      image.folders.append(path)
      let count = folder.changes.count
      let surviving =
        switch loss {
        case .all, .names: 0
        case .nothing, .data: count
        case .random:
          [0, Int.random(in: 0...count, using: &generator), count]
            .randomElement(using: &generator) ?? 0
        }
      var entries = folder.durable
      for naming in folder.changes.prefix(surviving) { naming.apply(to: &entries) }
      for (name, entry) in entries.sorted(by: { $0.key < $1.key }) {
        switch entry {
        case .folder: visit("\(path)/\(name)")
        case .file(let number):
          if name.hasSuffix("-shm") { continue }
          let content =
            contents[number] ?? Self.content(of: files[number], after: loss, using: &generator)
          contents[number] = content
          image.files.append((path: "\(path)/\(name)", number: number, content: content))
        }
      }
    }
    visit(root)
    return image
  }

  private static func content(
    of file: File, after loss: Loss, using generator: inout some RandomNumberGenerator
  ) -> [UInt8] {
    let count = file.changes.count
    guard count > 0 else { return file.durable }
    switch loss {
    case .nothing, .names: return current(file)
    case .all: return file.durable
    case .data:
      // The size is lost too, or it is not and the blocks read as zeros.
      let metadata = Bool.random(using: &generator) ? count : 0
      return content(of: file, metadata: metadata, unit: 4096) { _ in 0 }
    case .random:
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: return file.durable
      case 1: return current(file)
      case let kind:
        return content(
          of: file, metadata: Int.random(in: 0...count, using: &generator),
          unit: kind == 2 ? 4096 : 512
        ) { Int.random(in: 0..<$0, using: &generator) }
      }
    }
  }

  private static func current(_ file: File) -> [UInt8] {
    var content = file.durable
    for change in file.changes {
      switch change {
      case .write(let offset, let bytes):
        content.resize(to: max(content.count, offset + bytes.count))
        content.put(bytes, at: offset)
      case .truncate(let length): content.resize(to: length)
      }
    }
    return content
  }

  /// - Parameters:
  ///   - metadata: how many of the changes have reached the disk as far as they change the size.
  ///   - pick: chooses one of so many versions of a block, the oldest first.
  private static func content(
    of file: File, metadata: Int, unit: Int, pick: (_ versions: Int) -> Int
  ) -> [UInt8] {
    var result = file.durable
    for change in file.changes.prefix(metadata) {
      switch change {
      case .write(let offset, let bytes):
        result.resize(to: max(result.count, offset + bytes.count))
      case .truncate(let length): result.resize(to: length)
      }
    }
    var touching: [Int: [Int]] = [:]
    for case (let index, .write(let offset, let bytes)) in file.changes.enumerated()
    where !bytes.isEmpty {
      for block in offset / unit...(offset + bytes.count - 1) / unit
      where block * unit < result.count {
        touching[block, default: []].append(index)
      }
    }
    let truncations = file.changes.indices.filter {
      if case .truncate = file.changes[$0] { true } else { false }
    }
    for (block, writes) in touching.sorted(by: { $0.key < $1.key }) {
      let start = block * unit
      var first = Array(file.durable.dropFirst(start).prefix(unit))
      first.resize(to: unit)
      var versions = [first]
      changes: for index in (writes + truncations).sorted() {
        switch file.changes[index] {
        case .write(let offset, let bytes):
          var next = versions.last ?? first
          next.put(bytes, at: offset - start)
          versions.append(next)
        case .truncate(let length) where length < start + unit:
          // What is written behind a truncation that is not on the disk went into other blocks.
          if index >= metadata { break changes }
          for index in versions.indices {
            versions[index].resize(to: max(0, length - start))
            versions[index].resize(to: unit)
          }
        case .truncate: break
        }
      }
      result.put(versions[pick(versions.count)], at: start)
    }
    return result
  }
}

extension [UInt8] {
  /// Cuts it off, or adds zeros.
  fileprivate mutating func resize(to count: Int) {
    if count < self.count {
      removeLast(self.count - count)
    } else {
      append(contentsOf: repeatElement(0, count: count - self.count))
    }
  }

  /// Copies the part of `bytes` that falls inside.
  fileprivate mutating func put(_ bytes: [UInt8], at offset: Int) {
    let start = Swift.max(0, offset)
    let end = Swift.min(count, offset + bytes.count)
    guard start < end else { return }
    withUnsafeMutableBytes { target in
      bytes.withUnsafeBytes { source in
        target[start..<end].copyBytes(from: source[start - offset..<end - offset])
      }
    }
  }
}

/// What is found on the disk when the power is back.
struct DiskImage: Sendable {
  var folders: [String] = []
  /// A file with two names is here twice, with the same number.
  var files: [(path: String, number: Int, content: [UInt8])] = []

  func content(of path: String) -> [UInt8]? { files.first { $0.path == path }?.content }

  /// Puts the image in place of what is at `root`.
  ///
  /// - Parameter kept: a second name for each file that has to be the same inode as before, by number:
  ///   power cuts do not change inodes, and chock's restore tells by them which file it sees.
  func write(to root: String, kept: [Int: String]) throws(Failure) {
    try Self.empty(root)
    for folder in folders { try FileSystem.makeFolder(folder) }
    var first: [Int: String] = [:]
    for (path, number, content) in files {
      let origin = first[number] ?? kept[number]
      if let origin, link(origin, path) != 0 {
        throw Failure(.inputOutput, "link: \(String(cString: strerror(errno)))", file: path)
      }
      if first[number] == nil {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        defer { close(file) }
        guard
          content.withUnsafeBytes({ Glibc.write(file, $0.baseAddress, $0.count) }) == content.count
        else {
          throw Failure(.inputOutput, "write: \(String(cString: strerror(errno)))", file: path)
        }
      }
      first[number] = path
    }
  }

  private static func empty(_ folder: String) throws(Failure) {
    for name in try FileSystem.names(in: folder) {
      let path = "\(folder)/\(name)"
      if FileSystem.facts(path)?.isDirectory == true {
        try empty(path)
        rmdir(path)
      } else {
        unlink(path)
      }
    }
  }
}

/// Random numbers that a seed repeats: SplitMix64.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var word = state
    word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
    word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
    return word ^ (word >> 31)
  }
}
