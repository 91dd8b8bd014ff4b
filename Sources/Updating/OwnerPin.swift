import Crypto
import CryptoExtras
import FoundationEssentials
public import Migrations
import Storage

/// The owner's PIN: a slow hash of it in a file, with a lock-out that outlives a restart.
struct OwnerPin {
  private struct Document: Codable {
    var salt: [UInt8]
    var hash: [UInt8]
    var failures = 0
    /// Seconds since 1970.
    var lockedUntil = 0.0
  }

  private let path: String
  /// So many wrong tries in a row lock it.
  private static let tries = 5
  /// For so many seconds, twice as long with each further five, up to a day.
  private static let lockSeconds = 300.0

  init(stateDirectory: String) {
    path = stateDirectory + "/owner-pin.json"
  }

  var isSet: Bool { FileSystem.facts(path) != nil }

  /// - Throws: `.usage` unless it has 4 to 12 digits.
  func set(_ pin: String) throws(Failure) {
    guard (4...12).contains(pin.utf8.count), pin.utf8.allSatisfy({ (48...57).contains($0) }) else {
      throw Failure(.usage, "A PIN has 4 to 12 digits.", howToClear: "Choose another one.")
    }
    let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
    try write(Document(salt: salt, hash: try Self.hash(pin, salt)))
  }

  func remove() throws(Failure) {
    guard FileSystem.facts(path) != nil else { return }
    try FileSystem.remove(path)
  }

  /// A try is written down as failed before it is looked at: a power cut must not give another one.
  ///
  /// - Throws: `.notAllowed`.
  func check(_ pin: String?, now: Double = Date().timeIntervalSince1970) throws(Failure) {
    guard let bytes = try FileSystem.read(path) else {
      throw Failure(
        .notAllowed, "This needs the owner's PIN, and none is set.",
        howToClear: "A technician sets one: `chock pin set`, on the device.")
    }
    guard var document = try? JSON.decode(Document.self, from: bytes),
      (0...1_000_000_000).contains(document.failures),
      (0...253_402_300_800).contains(document.lockedUntil)
    else {
      throw Failure(
        .notAllowed, "The owner's PIN cannot be read.", file: path,
        howToClear: "A technician sets a new one: `chock pin set`, on the device.")
    }
    guard let pin else {
      throw Failure(
        .notAllowed, "This needs the owner's PIN.", howToClear: "Enter the PIN.")
    }
    guard now >= document.lockedUntil else {
      let minutes = Int(((document.lockedUntil - now) / 60).rounded(.up))
      throw Failure(
        .notAllowed, "The PIN was wrong too often.",
        howToClear: "Wait \(minutes) min, or let a technician set a new one: `chock pin set`.")
    }
    document.failures += 1
    if document.failures % Self.tries == 0 {
      let times = document.failures / Self.tries - 1
      document.lockedUntil = now + min(86_400, Self.lockSeconds * Double(1 << min(times, 9)))
    }
    try write(document)
    // Compared in constant time: SHA-256 of both, which SwiftCrypto compares so.
    guard
      SHA256.hash(data: try Self.hash(pin, document.salt)) == SHA256.hash(data: document.hash)
    else {
      throw Failure(.notAllowed, "The PIN is wrong.", howToClear: "Try again.")
    }
    document.failures = 0
    document.lockedUntil = 0
    try write(document)
  }

  private func write(_ document: Document) throws(Failure) {
    try FileSystem.replace(path, with: try JSON.encode(document))
  }

  /// scrypt (RFC 7914) with 16 MB: a tenth of a second on a small board, for each of ten thousand PINs.
  private static func hash(_ pin: String, _ salt: [UInt8]) throws(Failure) -> [UInt8] {
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

extension Updater {
  /// - Throws: `.usage` unless it has 4 to 12 digits.
  public func setPin(_ pin: String) throws(Failure) {
    try FileSystem.makeFolder(settings.stateDirectory)
    try OwnerPin(stateDirectory: settings.stateDirectory).set(pin)
  }

  public func removePin() throws(Failure) {
    try OwnerPin(stateDirectory: settings.stateDirectory).remove()
  }

  /// - Throws: `.notAllowed` unless it is the owner's.
  public func checkPin(_ pin: String?) throws(Failure) {
    try OwnerPin(stateDirectory: settings.stateDirectory).check(pin)
  }
}
