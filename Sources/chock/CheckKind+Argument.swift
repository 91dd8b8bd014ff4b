public import ArgumentParser
public import Storage

extension CheckKind: ExpressibleByArgument {
  /// `foreign-keys`; the interface spells it with an underscore.
  public init?(argument: String) {
    self.init(rawValue: argument == "foreign-keys" ? Self.foreignKeys.rawValue : argument)
  }

  public static var allValueStrings: [String] { ["quick", "full", "foreign-keys"] }
}
