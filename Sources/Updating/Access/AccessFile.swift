import Crypto
import CryptoExtras
import Migrations
import Storage

/// What is kept of those who may ask, in a file for chock alone: `access.json`.
struct AccessFile: Codable, Sendable, Equatable {
  /// A paired device, or a program. Of its token only the SHA-256 is kept.
  struct Credential: Codable, Sendable, Equatable {
    var id: String
    var name: String
    var role: Role
    var tokenHash: String
    var since: String
    var lastSeen: String?
  }

  struct Pin: Codable, Sendable, Equatable {
    var salt: [UInt8]
    var hash: [UInt8]
    var tries = Tries()
  }

  var devices: [Credential] = []
  var tokens: [Credential] = []
  /// By role.
  var pins: [String: Pin] = [:]
  var pairing = Tries()
}

/// Wrong tries in a row, and the lock-out that follows; written down, so that it outlives a restart.
struct Tries: Codable, Sendable, Equatable {
  private(set) var failures = 0
  /// Seconds since 1970.
  private(set) var lockedUntil = 0.0

  /// So many lock.
  private static let most = 5
  /// For so many seconds, twice as long with each further five, up to a day.
  private static let lockSeconds = 300.0
  private static let longestSeconds = 86_400.0

  /// A try counts as failed before it is looked at: a power cut must not give another one.
  mutating func count(now: Double) {
    // A damaged file may hold any number.
    failures = min(max(0, failures), 1_000_000) + 1
    guard failures % Self.most == 0 else { return }
    let times = min(failures / Self.most - 1, 9)
    lockedUntil = now + min(Self.longestSeconds, Self.lockSeconds * Double(1 << times))
  }

  /// Seconds; zero when it is not locked. A clock that jumps back locks for a day at most.
  func secondsLeft(now: Double) -> Double {
    max(0, min(lockedUntil - now, Self.longestSeconds))
  }
}

/// The slow hash of PINs: scrypt (RFC 7914) with 16 MB, a tenth of a second on a small board for each of
/// ten thousand PINs. An actor, so that many tries at once do not take 16 MB each.
actor SlowHash {
  func callAsFunction(_ pin: String, _ salt: [UInt8]) throws(Failure) -> [UInt8] {
    do {
      let key = try KDF.Scrypt.deriveKey(
        from: Array(pin.utf8), salt: salt, outputByteCount: 32, rounds: 16_384, blockSize: 8,
        parallelism: 1)
      return key.withUnsafeBytes { Array($0) }
    } catch {
      throw Failure(.inputOutput, "The PIN could not be hashed: \(error)")
    }
  }
}

enum Secret {
  /// 256 bits of the kernel's random numbers (getrandom(2)), as hex digits.
  static func token() -> String {
    (0..<4).map { _ in
      let digits = String(UInt64.random(in: .min ... .max), radix: 16)
      return String(repeating: "0", count: 16 - digits.count) + digits
    }.joined()
  }

  /// Eight digits.
  static func code() -> String {
    String(String(UInt32.random(in: 100_000_000...199_999_999)).dropFirst())
  }

  /// An id that nobody has to guess.
  static func id() -> String { String(token().prefix(8)) }

  /// In constant time: SwiftCrypto compares digests so.
  static func equal(_ one: [UInt8], _ other: [UInt8]) -> Bool {
    SHA256.hash(data: one) == SHA256.hash(data: other)
  }
}
