import Migrations

/// The name of a table as SQLite compares it: without regard to the case of ASCII letters, and byte
/// by byte otherwise. Swift's strings would take `É` and `é`, or two spellings of one accent, for the
/// same name; to SQLite they are two tables.
public struct TableKey: Hashable, Comparable, Sendable {
  let bytes: [UInt8]

  public init(_ name: String) {
    bytes = Array(SQLName.lowered(name).utf8)
  }

  static let ledger = TableKey(LedgerTable.name)

  /// The name in ASCII lower case.
  public var text: String { String(decoding: bytes, as: UTF8.self) }

  func hasPrefix(_ prefix: TableKey) -> Bool { bytes.starts(with: prefix.bytes) }

  /// Whether a virtual table of the name `other` would keep its content in a table of this name.
  func isShadow(of other: TableKey) -> Bool {
    bytes.starts(with: other.bytes + [UInt8(ascii: "_")])
  }

  public static func < (left: TableKey, right: TableKey) -> Bool {
    left.bytes.lexicographicallyPrecedes(right.bytes)
  }
}
