/// Why a reading or an activity was not taken.
public struct CoachError: Error, Sendable, Hashable {
  public var message: String
  /// The field that is wrong, as the control interface spells it: `signal`, `value`, `ttl_seconds`,
  /// …
  public var field: String
  public var howToClear: String

  init(_ message: String, field: String, howToClear: String) {
    self.message = message
    self.field = field
    self.howToClear = howToClear
  }
}
