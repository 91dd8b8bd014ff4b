public import Storage

/// `GET /api/session`: who asks, and what of them is asked.
public struct SessionDocument: Codable, Sendable, Equatable {
  public var schema = "chock.SESSION/1"
  /// `none`, or a role.
  public var role: String
  public var name: String?
  /// The id of the device.
  public var device: String?
  /// Tells persons apart: an approval counts for whoever has another one.
  public var person: String?
  /// When the role falls back to the device's own.
  public var expiresAt: String?
  /// Which PINs are set.
  public var pins: Pins
  /// Consent and restore need a PIN from this session.
  public var asksPin: Bool
  /// How many persons have to agree to an update.
  public var approvals: Int

  public struct Pins: Codable, Sendable, Equatable {
    public var owner: Bool
    public var technician: Bool
  }

  public init(_ requester: Requester?, _ access: Access, approvals: Int) {
    role = requester?.role.rawValue ?? "none"
    name = requester?.name
    device = requester?.device
    person = requester?.id
    expiresAt = requester?.raisedUntil.map { Timestamp.text(secondsSince1970: $0) }
    pins = Pins(owner: access.isPinSet(.owner), technician: access.isPinSet(.technician))
    asksPin = requester.map(access.asksPin) ?? false
    self.approvals = approvals
  }
}

/// `POST /api/pairing`, `chock pair`.
public struct PairingDocument: Codable, Sendable, Equatable {
  public var schema = "chock.PAIRING/1"
  /// Eight digits.
  public var code: String
  public var role: Role
  public var expiresAt: String
  /// Where the panel is.
  public var addresses: [String] = []

  public init(code: String, role: Role, expiresAt: String) {
    self.code = code
    self.role = role
    self.expiresAt = expiresAt
  }
}

/// A paired device, or the token of a program: never its secret.
public struct CredentialDocument: Codable, Sendable, Equatable {
  public var id: String
  public var name: String
  public var role: Role
  public var pairedAt: String
  /// As far as it was written down.
  public var lastSeen: String?
  /// It is the one that asks.
  public var isThis: Bool?

  init(_ credential: AccessFile.Credential) {
    id = credential.id
    name = credential.name
    role = credential.role
    pairedAt = credential.since
    lastSeen = credential.lastSeen
  }
}

/// `GET /api/devices`.
public struct DevicesDocument: Codable, Sendable, Equatable {
  public var schema = "chock.DEVICES/1"
  public var devices: [CredentialDocument]

  public init(devices: [CredentialDocument]) { self.devices = devices }
}

/// `GET /api/tokens`.
public struct TokensDocument: Codable, Sendable, Equatable {
  public var schema = "chock.TOKENS/1"
  public var tokens: [CredentialDocument]

  public init(tokens: [CredentialDocument]) { self.tokens = tokens }
}

/// `POST /api/tokens`: the only time that the token is shown.
public struct TokenDocument: Codable, Sendable, Equatable {
  public var schema = "chock.TOKEN/1"
  public var id: String
  public var name: String
  public var role: Role
  public var token: String
}

/// `GET /api/database/audit`, newest first.
public struct AuditPage: Codable, Sendable, Equatable {
  public var schema = "chock.AUDIT/1"
  /// No entry of this page was changed, and none is missing between them.
  public var isWhole: Bool
  /// Damaged files that were taken out of use.
  public var setAside: [String]
  public var entries: [AuditEntry]
  /// For `before`; nil when there are no older ones.
  public var nextBefore: Int64?
}

/// `POST /api/database/approvals`, `chock approve`.
public struct ApprovalDocument: Codable, Sendable, Equatable {
  public var schema = "chock.APPROVAL/1"
  public var planHash: String
  /// Who agrees.
  public var by: String
  /// As in the session of who agrees: names may be the same.
  public var person: String
  public var expiresAt: String

  public init(planHash: String, by requester: Requester, expiresAt: String) {
    self.planHash = planHash
    by = requester.actor
    person = requester.id
    self.expiresAt = expiresAt
  }
}
