extension [UInt8] {
  /// The number of four bytes that stands there, the highest byte first, as in all files of SQLite.
  func number(at offset: Int) -> UInt32 {
    self[offset..<offset + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }
}

extension UInt32 {
  /// The same the other way round.
  var bytes: [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: self >> $0) } }
}
