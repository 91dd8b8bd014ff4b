/// What somebody may do: each may do what those before it may.
public enum Role: String, Codable, Sendable, CaseIterable {
  /// Sees everything but the audit.
  case viewer
  /// Says yes to updates, takes snapshots, undoes the newest update.
  case owner
  /// A program, never a person: reads, and says what the coach is doing.
  case controller
  /// Everything else that the interface offers.
  case technician
  /// A technician on a device that is no coach.
  case developer

  /// Whether it may do what `other` may.
  public func includes(_ other: Role) -> Bool {
    // A program never does what a person decides.
    self == .controller
      ? other == .controller || other == .viewer : rank >= other.rank
  }

  /// Whose PIN is asked for; nil where none is.
  public var pinRole: Role? {
    switch self {
    case .viewer, .controller: nil
    case .owner: .owner
    case .technician, .developer: .technician
    }
  }

  private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
}

/// Who asks for something: a person, or a program.
public struct Requester: Sendable, Equatable {
  /// How chock knows.
  public enum Way: Sendable, Equatable {
    /// Over the unix socket, by the kernel's word.
    case socket
    /// A paired browser.
    case device
    /// A browser of this machine that gave a PIN.
    case guest
    /// A program with a token.
    case machine
    /// A browser of this machine that gave nothing.
    case panel
  }

  public var way: Way
  /// Tells persons apart: the second approval has to come from another one. A PIN makes nobody another one:
  /// the person behind a raised session is the device that raised it, and this machine's browsers are one.
  public var id: String
  /// The id of its device.
  public var device: String?
  public var name: String
  public var role: Role
  /// Until when the role is a higher one, in seconds since 1970.
  public var raisedUntil: Double?

  public init(way: Way, id: String, device: String? = nil, name: String, role: Role) {
    self.way = way
    self.id = id
    self.device = device
    self.name = name
    self.role = role
  }

  /// As the history and the audit have it: `cli:root`, `Anna's phone (owner)`.
  public var actor: String { way == .socket ? name : "\(name) (\(role.rawValue))" }

  /// The id of the device or the token that it comes from; nil where there is none.
  public var credential: String? { way == .machine ? id : device }

  public var isTechnician: Bool { role.includes(.technician) }
}
