import Glibc

/// A secret in a file, read anew each time: who renews it does not have to tell anybody.
public enum BearerToken {
  private static let limit = 4096

  /// The file's only word.
  ///
  /// - Throws: when others can read the file, and when it holds anything that does not fit into a header
  ///   field.
  public static func read(_ path: String) throws(HTTPFailure) -> String {
    let bytes: [UInt8]
    let mode: mode_t
    do throws(SmallFile.Failure) {
      (bytes, mode) = try SmallFile.read(path, limit: limit)
    } catch {
      throw HTTPFailure("The token is missing: \(error.words)")
    }
    guard mode & 0o007 == 0 else {
      throw HTTPFailure(
        "Others can read the token in \(path); it was not used.",
        howToClear: "`chmod o= \(path)`, and let the server make a new token.")
    }
    let word = bytes.split { $0 == UInt8(ascii: " ") || (9...13).contains($0) }
    guard word.count == 1, let token = word.first, token.allSatisfy({ (0x21...0x7E).contains($0) })
    else {
      throw HTTPFailure(
        "The file \(path) does not hold a token.",
        howToClear: "Put the token into it, and nothing else.")
    }
    return String(decoding: token, as: UTF8.self)
  }
}
