import Glibc
public import Migrations
import Storage

/// A folder of its own for one test, removed with it.
public final class TemporaryFolder: Sendable {
  public let path: String

  public init() throws(Failure) {
    var template = Array("/tmp/chock-test-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw Failure(.inputOutput, "No temporary folder could be made.")
    }
    path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  deinit {
    Self.remove(path)
  }

  /// The path of something in the folder.
  public func callAsFunction(_ name: String) -> String { "\(path)/\(name)" }

  /// Writes a file, with the folders above it.
  @discardableResult
  public func write(_ text: String, to name: String) throws(Failure) -> String {
    let file = self(name)
    try FileSystem.makeFolder(FileSystem.parent(file))
    try FileSystem.replace(file, with: Array(text.utf8))
    return file
  }

  private static func remove(_ path: String) {
    if let facts = FileSystem.facts(path), facts.isDirectory {
      // A process that is being killed may still make a file in it: then it is not empty, and once more.
      for _ in 0..<1000 {
        for name in (try? FileSystem.names(in: path)) ?? [] { remove("\(path)/\(name)") }
        if rmdir(path) == 0 || errno != ENOTEMPTY { return }
      }
    } else {
      unlink(path)
    }
  }
}
