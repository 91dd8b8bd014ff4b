import Migrations

/// That a person decided or said something which chock cannot judge.
public struct AuditEntry: Codable, Sendable, Equatable {
  public enum Action: String, Codable, Sendable {
    /// An applied file changed, and is taken for what was applied.
    case acceptChecksum = "accept_checksum"
    /// The schema is not what the migrations make, and stays so.
    case acceptDrift = "accept_drift"
    /// A technician said at which version a database is that chock did not know.
    case adopt
    /// What a rescue copy has was written as files, for somebody to take along.
    case exportRescue = "export_rescue"
    /// A person's word for a reading that no device gives.
    case attest
    /// A device has said otherwise.
    case endAttestation = "end_attestation"
    /// A technician has broken a lock of somebody else.
    case breakLock = "break_lock"
    /// What silent devices said of a signal is forgotten.
    case forget
    /// A code was made with which a browser can be paired.
    case makeCode = "make_code"
    case pair
    /// A PIN raised a session, and it fell back.
    case signIn = "sign_in"
    case signOut = "sign_out"
    /// A device or a token was taken out.
    case revoke
    case makeToken = "make_token"
    /// A PIN was set or removed.
    case setPin = "set_pin"
    /// A person agreed to a plan that another one starts.
    case approve
    /// A person consented to an update in a window, and withdrew it or took note that it lapsed.
    case schedule
    case unschedule
    /// A person wants to be reminded, or not to hear of a version.
    case postpone
    /// A person stopped a run, and took note of how one ended.
    case cancel
    case acknowledge
    /// Somebody said that the application is well after an update.
    case confirm
    /// A snapshot is gone for good.
    case deleteSnapshot = "delete_snapshot"
    /// A technician said that all is well again after recovery mode.
    case leaveRecovery = "leave_recovery"
    /// The database and everything of the owner's was erased: the first entry of a new audit.
    case factoryState = "factory_state"
    /// Somebody asked for what is not theirs, or with a wrong PIN or code.
    case refuse
  }

  public var at: String
  /// Who ("cli:root").
  public var actor: String
  public var action: Action
  public var databasePath: String
  public var reason: String
  /// Of the file.
  public var version: String?
  /// The checksum that was applied.
  public var before: String?
  /// The checksum, or the digest of the differences, that is accepted; the reading, the lock, or what the action
  /// is about.
  public var accepted: String

  public init(
    _ action: Action, of databasePath: String, accepted: String, reason: String, actor: String,
    version: String? = nil, before: String? = nil
  ) {
    at = Timestamp.now()
    self.actor = actor
    self.action = action
    self.databasePath = databasePath
    self.reason = reason
    self.version = version
    self.before = before
    self.accepted = accepted
  }

  /// Whether a person may give these words as the reason: `reasonRule`.
  public static func isReason(_ words: String) -> Bool {
    words.contains { !$0.isWhitespace } && words.unicodeScalars.count <= 300
      && words.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
  }

  public static let reasonRule =
    "words on one line, of 300 characters at most, without control characters"

  /// What makes a later change of an entry, or a missing one, noticed: the SHA-256 over it and the one before.
  static func chain(_ document: String, behind last: String?) -> String {
    sha256(Array("\(last ?? "")\n\(document)".utf8))
  }
}
