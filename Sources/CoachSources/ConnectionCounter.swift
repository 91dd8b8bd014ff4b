import Coach
import FoundationEssentials
import Glibc

/// Counts who is connected to the controller's TCP port and so could control the coach.
///
/// It sees the connections of its own network namespace.
struct ConnectionCounter: PollingSource {
  static let interval = Duration.seconds(2)
  static let source = "/proc/net/tcp"

  let port: UInt16

  /// chock's own connections to the controller do not count. One that begins or ends while the kernel's
  /// tables are read can look like a stranger's, but not in two readings.
  mutating func poll() async -> Poll {
    do throws(SmallFile.Failure) {
      var clients = try strangers()
      if !clients.isEmpty { clients.formIntersection(try strangers()) }
      let names = clients.map(\.description).sorted().prefix(8).joined(separator: " ")
      return Poll(
        reports: [
          Report(
            .value(.number(Double(clients.count)), of: "connections", lasting: Self.interval * 3),
            source: Self.source, evidence: names.isEmpty ? nil : names)
        ],
        state: SourceState(
          source: Self.source, isWell: true, words: "Counts the connections to port \(port)."))
    } catch {
      return Poll(
        reports: [Report(.noValue(of: "connections"), source: Self.source)],
        state: SourceState(
          source: Self.source, isWell: false, words: error.words,
          howToClear: "Let the service read /proc."))
    }
  }

  /// The other ends of established connections to the port, without those of this process.
  private func strangers() throws(SmallFile.Failure) -> Set<TCPConnection.Endpoint> {
    let before = try OwnSockets.inodes()
    let table = try TCPConnection.all()
    let own = try OwnSockets.inodes().union(before)
    let ownEnds = Set(table.filter { own.contains($0.inode) }.map(\.local))
    return Set(
      table.filter { $0.local.port == port && $0.isEstablished && !ownEnds.contains($0.remote) }
        .map(\.remote))
  }
}

/// A row of /proc/net/tcp or tcp6 (proc(5)).
struct TCPConnection {
  struct Endpoint: Hashable, CustomStringConvertible {
    /// 4 for IPv4, also where it is mapped into IPv6; else 16.
    var address: [UInt8]
    var port: UInt16

    var description: String {
      withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
        let family = address.count == 4 ? AF_INET : AF_INET6
        guard
          let name = inet_ntop(family, address, text.baseAddress, socklen_t(text.count))
        else { return "port \(port)" }
        return address.count == 4
          ? "\(String(cString: name)):\(port)" : "[\(String(cString: name))]:\(port)"
      }
    }

    /// `0100007F:1F40`: words of 32 bits in this machine's byte order, then the port.
    init?(_ text: Substring) {
      let parts = text.split(separator: ":")
      guard parts.count == 2, let port = UInt16(parts[1], radix: 16) else { return nil }
      var address: [UInt8] = []
      var words = parts[0]
      while !words.isEmpty {
        guard let word = UInt32(words.prefix(8), radix: 16) else { return nil }
        withUnsafeBytes(of: word) { address += $0 }
        words = words.dropFirst(8)
      }
      guard [4, 16].contains(address.count) else { return nil }
      let mapped: [UInt8] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF]
      self.address = address.starts(with: mapped) ? Array(address[12...]) : address
      self.port = port
    }
  }

  var local: Endpoint
  var remote: Endpoint
  var isEstablished: Bool
  var inode: UInt64

  init?(_ line: Substring) {
    let fields = line.split(separator: " ", omittingEmptySubsequences: true)
    guard fields.count > 9, let local = Endpoint(fields[1]), let remote = Endpoint(fields[2]),
      let inode = UInt64(fields[9])
    else { return nil }
    self.local = local
    self.remote = remote
    isEstablished = fields[3] == "01"
    self.inode = inode
  }

  /// For some 30,000 connections.
  private static let limit = 4 << 20

  static func all() throws(SmallFile.Failure) -> [TCPConnection] {
    var text = String(
      decoding: try SmallFile.read("/proc/net/tcp", limit: limit).bytes, as: UTF8.self)
    // A kernel without IPv6 has no tcp6.
    if access("/proc/net/tcp6", F_OK) == 0 {
      text += String(
        decoding: try SmallFile.read("/proc/net/tcp6", limit: limit).bytes, as: UTF8.self)
    }
    return text.split(separator: "\n").compactMap { TCPConnection($0) }
  }
}

/// The sockets that this process has open.
private enum OwnSockets {
  static func inodes() throws(SmallFile.Failure) -> Set<UInt64> {
    let files = FileManager.default
    guard let names = try? files.contentsOfDirectory(atPath: "/proc/self/fd") else {
      throw SmallFile.Failure(words: "/proc/self/fd cannot be read.")
    }
    return Set(
      names.compactMap { name in
        // `socket:[12345]`; one that was closed in the meantime is not there any more.
        let link = try? files.destinationOfSymbolicLink(atPath: "/proc/self/fd/\(name)")
        guard let link, link.hasPrefix("socket:["), link.hasSuffix("]") else { return nil }
        return UInt64(link.dropFirst("socket:[".count).dropLast())
      })
  }
}
