public import Coach

/// Which sources there are, and what their words mean.
public struct SourceConfiguration: Sendable {
  public var can: [CAN] = []
  public var http: [HTTP] = []
  public var files: [Files] = []
  /// The TCP port of this machine at which the controller takes connections: they are counted. Nil where
  /// there is none.
  public var controllerPort: UInt16?

  public init() {}

  /// A CAN bus.
  public struct CAN: Sendable {
    /// An interface (`can0`), or `unix:/PATH`: a SOCK_SEQPACKET socket that gives a `struct can_frame` a
    /// message, such as a bridge to another machine.
    public var interface: String
    public var profile: Profile

    public init(interface: String, profile: Profile) {
      self.interface = interface
      self.profile = profile
    }
  }

  /// Where an HTTP server listens: `http://HOST:PORT`; an IPv6 address stands in brackets.
  public struct HTTPAddress: Sendable, Hashable {
    public let url: String
    let host: String
    let port: Int

    /// Nil for anything else; also without a port, and with a path.
    public init?(_ url: String) {
      guard url.hasPrefix("http://"), let colon = url.lastIndex(of: ":"),
        let port = UInt16(url[colon...].dropFirst()), port > 0
      else { return nil }
      let name = url[..<colon].dropFirst("http://".count)
      let isAddress = name.hasPrefix("[") && name.hasSuffix("]")
      let host = isAddress ? name.dropFirst().dropLast() : name
      let isPlain = host.utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"):
          true
        case UInt8(ascii: ":"): isAddress
        default: false
        }
      }
      guard isPlain, !host.isEmpty else { return nil }
      self.url = url
      self.host = String(host)
      self.port = Int(port)
    }
  }

  /// An HTTP server that answers with JSON.
  public struct HTTP: Sendable {
    public var address: HTTPAddress
    public var profile: Profile
    /// From the beginning of one poll to that of the next.
    public var interval: Duration
    /// A file with a bearer token that others cannot read; nil where the server asks for none.
    public var tokenFile: String?
    /// True when it may speak against an update and is never the reason to allow one.
    public var vetoOnly: Bool
    /// For one answer, from the connection to its last byte.
    var timeLimit = Duration.seconds(5)

    public init(
      address: HTTPAddress, profile: Profile, every interval: Duration, tokenFile: String? = nil,
      vetoOnly: Bool
    ) {
      self.address = address
      self.profile = profile
      self.interval = interval
      self.tokenFile = tokenFile
      self.vetoOnly = vetoOnly
    }
  }

  /// Files of the kernel, such as those of the Raspberry Pi's own sensors.
  public struct Files: Sendable {
    public var profile: Profile
    /// From the beginning of one look to that of the next.
    public var interval: Duration

    public init(profile: Profile, every interval: Duration) {
      self.profile = profile
      self.interval = interval
    }
  }
}
