/// What a source says at one time: about a signal, or about an operation that goes on.
public struct Report: Sendable, Hashable {
  public enum Content: Sendable, Hashable {
    /// A value that may be relied on for `lasting`, unless the source says something else before.
    case value(ReadingValue, of: String, lasting: Duration)
    /// The source has nothing to say of it (RV-C's "not available"): what it said before counts no more.
    case noValue(of: String)
    /// The source should know and cannot tell (RV-C's "error"): the signal is there, and unknown.
    case error(of: String)
    /// Something is being moved or switched, for at least so long.
    case activity(id: String, description: String, lasting: Duration)

    /// The signal that it is about; nil for an activity.
    public var signal: String? {
      switch self {
      case .value(_, let signal, _), .noValue(let signal), .error(let signal): signal
      case .activity: nil
      }
    }
  }

  public var content: Content
  /// Who says so: `can0/9C` is the node with the source address 9C (hexadecimal) on the bus can0.
  public var source: String
  /// The raw form, for a technician: `19FFF49C#0000000001FFFBFB`.
  public var evidence: String?
  /// True for a source that may speak against an update and is never the reason to allow one.
  public var vetoOnly: Bool

  public init(
    _ content: Content, source: String, evidence: String? = nil, vetoOnly: Bool = false
  ) {
    self.content = content
    self.source = source
    self.evidence = evidence
    self.vetoOnly = vetoOnly
  }
}
