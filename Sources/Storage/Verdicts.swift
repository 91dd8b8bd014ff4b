/// What the verification does with each kind of finding.
public struct Verdicts: Codable, Sendable, Equatable {
  public enum Verdict: String, Codable, Sendable, CaseIterable {
    case rollback
    /// The run goes on, and its report says it.
    case warn
  }

  /// A table that loses rows, and no file says so.
  public var rowsLost = Verdict.rollback
  /// An Expect that does not come true.
  public var expectations = Verdict.rollback
  /// Rows that come to point to nothing.
  public var foreignKeys = Verdict.rollback
  /// Rows that pointed to nothing before.
  public var oldForeignKeys = Verdict.warn
  /// Rows of the tables that were looked at that do not keep a constraint of them.
  public var constraints = Verdict.warn

  public init() {}
}
