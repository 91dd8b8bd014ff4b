import Migrations

/// Which tree of a file is which table of a description.
struct Attribution {
  enum Evidence { case place, rows, shape, parts }

  struct Found {
    var root: UInt32
    var evidence: Evidence
    /// Rows with more fields than the table has columns.
    var longer: Int64 = 0
    /// Where the root itself is lost: the parts in the order of their keys.
    var parts: [(page: UInt32, highest: Int64)] = []
  }

  /// By their places among the description's tables.
  private(set) var found: [Int: Found] = [:]
  /// Trees with rows that belong to no table, in the order of their pages, and to which they may.
  private(set) var lost: [(tree: PageTrees.Tree, mayBe: [String])] = []
  /// How many rows have found their table, and fit it.
  private(set) var rows: Int64 = 0
  /// Empty trees of which nobody knows whose they are, with rowids and without.
  private(set) var emptyTrees = (0, 0)

  private let tables: [SchemaDescription.Table]
  private var free: [UInt32: PageTrees.Tree]
  private var open: Set<Int>

  /// - Parameters:
  ///   - description: nil where there is none: then all is lost.
  ///   - known: tables that the file itself still names.
  ///   - roots: of what the file itself still names.
  init(
    _ description: SchemaDescription?, _ trees: PageTrees, known: Set<TableKey>,
    roots: Set<UInt32>
  ) {
    let tables = description?.tables ?? []
    self.tables = tables
    free = trees.trees.filter {
      !roots.contains($0.key) && !($0.value.isSchema && $0.value.rows > 0)
    }
    open = Set(tables.indices.filter { !known.contains(TableKey(tables[$0].name)) })
    takePlaces()
    takeParts(description?.owners ?? [:])
    takeByRows()
    var isMore = true
    while isMore { isMore = takeByShape(.possible) || takeByShape(.natural) }
    for found in found.values where found.longer == 0 {
      for root in found.parts.isEmpty ? [found.root] : found.parts.map(\.page) {
        rows += trees.trees[root]?.rows ?? 0
      }
    }
    // What is in the tree of an index is in its table, too; a table WITHOUT ROWID looks the same.
    for (_, tree) in free.sorted(by: { $0.key < $1.key }) {
      guard tree.rows > 0 else {
        if tree.isTable { emptyTrees.0 += 1 } else { emptyTrees.1 += 1 }
        continue
      }
      guard tree.isTable else { continue }
      lost.append((tree, namesThatFit(tree)))
    }
  }

  /// The best that can be said: of those without a tree, and with values of the right kind.
  private func namesThatFit(_ tree: PageTrees.Tree) -> [String] {
    for fit in [SchemaDescription.Table.Fit.natural, .possible] {
      for among in [open.sorted(), Array(tables.indices)] {
        let names = among.filter { index in
          tables[index].fit(tree).map { $0 >= fit } ?? false
        }.map { tables[$0].name }
        if !names.isEmpty { return names }
      }
    }
    return []
  }

  /// Tables that no tree was found for; those of which there are as many empty trees are empty.
  var withoutTree: [(table: Int, isEmpty: Bool)] {
    let ofRowids = open.count { tables[$0].hasRowid }
    return open.sorted().map { index in
      let isEmpty =
        tables[index].hasRowid
        ? ofRowids <= emptyTrees.0 : open.count - ofRowids <= emptyTrees.1
      return (index, isEmpty)
    }
  }

  private mutating func take(_ table: Int, _ found: Found) {
    self.found[table] = found
    open.remove(table)
    for root in found.parts.isEmpty ? [found.root] : found.parts.map(\.page) { free[root] = nil }
  }

  /// A table that was not made anew is where the snapshot has it. Without a row in common that is believed only of a
  /// file in which no table has moved (VACUUM moves them all), of a tree that has no other table's rows, and where no
  /// row is longer than the table has columns.
  private mutating func takePlaces() {
    let isMoved = open.contains { index in
      tables[index].isRootKnown && free[tables[index].root]?.common[index] == nil
        && free.values.contains { $0.common[index] != nil }
    }
    for isLongerAllowed in [false, true] {
      for index in open.sorted() where tables[index].isRootKnown {
        guard let tree = free[tables[index].root],
          tables[index].fit(tree, isLongerAllowed: isLongerAllowed) != nil,
          tree.common[index] != nil || !isLongerAllowed && !isMoved && tree.common.isEmpty
        else { continue }
        let most = tables[index].columns.count
        let longer = tree.rowsByFields.reduce(0) { $0 + ($1.key > most ? $1.value : 0) }
        take(index, Found(root: tree.root, evidence: .place, longer: longer))
      }
    }
  }

  /// The root of a table is lost, and leaves of it are where the snapshot has them.
  private mutating func takeParts(_ owners: [UInt32: Int]) {
    for index in open.sorted()
    where tables[index].isRootKnown && tables[index].hasRowid && free[tables[index].root] == nil {
      let others = open.subtracting([index])
      var parts: [PageTrees.Tree] = []
      for tree in free.values.sorted(by: { ($0.lowest, $0.root) < ($1.lowest, $1.root) })
      where tree.rows > 0 && owners[tree.root] == index && tables[index].fit(tree) != nil {
        let isSure =
          tree.common[index] != nil
          || !others.contains { tables[$0].fit(tree) != nil }
        if isSure, parts.last.map({ $0.highest < tree.lowest }) ?? true { parts.append(tree) }
      }
      guard let first = parts.first else { continue }
      take(
        index,
        Found(root: first.root, evidence: .parts, parts: parts.map { ($0.root, $0.highest) }))
    }
  }

  /// Rows that are stored as they were in the snapshot.
  private mutating func takeByRows() {
    for index in open.sorted() {
      let trees = free.values.filter { $0.common[index] != nil && tables[index].fit($0) != nil }
      guard trees.count == 1, let tree = trees.first,
        !open.contains(where: { $0 != index && tree.common[$0] != nil })
      else { continue }
      take(index, Found(root: tree.root, evidence: .rows))
    }
  }

  /// Where one tree fits one table and no other, and the other way round. An index may look like a table WITHOUT
  /// ROWID, so that these are not found so.
  private mutating func takeByShape(_ needed: SchemaDescription.Table.Fit) -> Bool {
    func fits(_ index: Int, _ tree: PageTrees.Tree) -> Bool {
      tree.rows > 0 && tables[index].fit(tree).map { $0 >= needed } ?? false
    }
    for index in open.sorted() where tables[index].hasRowid {
      let trees = free.values.filter { fits(index, $0) }
      guard trees.count == 1, let tree = trees.first,
        !open.contains(where: { $0 != index && fits($0, tree) })
      else { continue }
      take(index, Found(root: tree.root, evidence: .shape))
      return true
    }
    return false
  }
}
