/// Bytes as people read them.
public enum ByteCount {
  /// In whole kB, MB or GB (powers of 1,000), rounded up: what is needed is never said too small.
  public static func text(_ bytes: Int64) -> String {
    let (unit, name): (Int64, String) =
      switch bytes {
      case ..<1_000_000: (1000, "kB")
      case ..<10_000_000_000: (1_000_000, "MB")
      default: (1_000_000_000, "GB")
      }
    return "\((max(0, bytes) + unit - 1) / unit) \(name)"
  }
}
