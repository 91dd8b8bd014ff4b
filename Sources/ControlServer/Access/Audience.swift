import HTTPTypes
import Migrations
public import Updating

/// Who may use a route: every route of the table names one.
enum Audience: Sendable, Equatable {
  /// Also who is not signed in: what a browser needs in order to sign in.
  case everybody
  /// A role, and those that may do what it may.
  case role(Role)
  /// People from the owner on, and programs of the coach.
  case ownersAndControllers

  func admits(_ role: Role?) -> Bool {
    switch self {
    case .everybody: true
    case .role(let least): role.map { $0.includes(least) } ?? false
    case .ownersAndControllers:
      role.map { $0.includes(.owner) || $0.includes(.controller) } ?? false
    }
  }

  /// - Throws: 401 for nobody, 403 for who may not.
  func admit(_ requester: Requester?) throws(Problem) {
    guard !admits(requester?.role) else { return }
    guard let requester else { throw Problem.notSignedIn }
    throw Problem(
      Failure(
        .notAllowed, "This needs \(words); \(requester.name) is \(requester.role.words).",
        howToClear: clear))
  }

  private var words: String {
    switch self {
    case .everybody: "nobody"
    case .role(let role): role.words
    case .ownersAndControllers: Role.owner.words
    }
  }

  private var clear: String {
    switch self {
    case .role(.technician), .role(.developer):
      "Let a technician sign in with the PIN, or do it on the device (sudo chock)."
    case .role(.controller):
      "Give the program a token: `chock token create NAME`, on the device."
    default: "Sign in with the owner's PIN, or pair this device: `chock pair`, on the device."
    }
  }
}

extension Role {
  /// With its article.
  var words: String { (self == .owner ? "an " : "a ") + rawValue }
}

extension Problem {
  /// RFC 9110 15.5.2: a 401 says how to sign in. Browsers do not ask for a Bearer token by themselves.
  static var notSignedIn: Problem {
    Problem(
      Failure(
        .notSignedIn, "Nobody is signed in here.",
        howToClear: "Pair this device: `chock pair`, on the device, shows a code."),
      headers: [.wwwAuthenticate: "Bearer"])
  }
}

/// What the config says of those who may ask.
public struct AccessPolicy: Sendable, Equatable {
  /// What a browser or a program of this machine may do without signing in; nil: nothing.
  public var local: Role? = .viewer
  /// How many persons have to agree to an update: 1 or 2.
  public var approvals = 1
  /// What users may do over the unix socket, by name; others are owners, root and chock's own user
  /// technicians.
  public var users: [String: Role] = [:]
  /// The same for the members of groups.
  public var groups: [String: Role] = [:]

  public init() {}
}
