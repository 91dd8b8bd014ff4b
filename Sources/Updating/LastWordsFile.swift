import Coach
import Migrations
import Storage

/// What spoke against an update when chock was last heard of: a restart must not make it forgotten, because
/// a person could then vouch for the contrary.
struct LastWordsFile: Sendable {
  private let path: String

  init(stateDirectory: String) {
    path = stateDirectory + "/last-words.json"
  }

  /// - Throws: `.inputOutput`, or why the file is no JSON.
  func read() throws(Failure) -> [LastWord] {
    guard let bytes = try FileSystem.read(path) else { return [] }
    do {
      return try JSON.decode([LastWord].self, from: bytes)
    } catch {
      throw Failure(.inputOutput, "\(path) is damaged.", file: path)
    }
  }

  /// Off the caller's actor: a card takes its time.
  @concurrent
  func write(_ words: [LastWord]) async throws(Failure) {
    try FileSystem.replace(path, with: try JSON.encode(words, pretty: true))
  }
}
