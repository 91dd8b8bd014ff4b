import NIOCore
import Synchronization

/// The places for connections of one listener.
///
/// Where all are taken, somebody may have taken them to be a nuisance, and whoever watches over the
/// daemon must still get its answer. So there are spare places, for one short question each, and nobody
/// keeps one for long: with all of those taken, too, a new connection takes that of the oldest.
final class ConnectionPlaces: Sendable {
  private struct State {
    var ordinary = 0
    /// Oldest first.
    var spare: [any Channel] = []
  }

  private let limit: Int
  private let state = Mutex(State())

  static let spareLimit = 32

  init(limit: Int) {
    self.limit = limit
  }

  /// How many ordinary places are taken.
  var taken: Int { state.withLock { $0.ordinary } }

  /// Takes a place for a connection, for as long as it is open.
  ///
  /// - Returns: whether it is a spare one.
  func enter(_ channel: any Channel) -> Bool {
    let (isSpare, displaced) = state.withLock { state -> (Bool, (any Channel)?) in
      guard state.ordinary >= limit else {
        state.ordinary += 1
        return (false, nil)
      }
      state.spare.append(channel)
      return (true, state.spare.count > Self.spareLimit ? state.spare.removeFirst() : nil)
    }
    displaced?.close(promise: nil)
    channel.closeFuture.whenComplete { [self] _ in
      state.withLock { state in
        if isSpare {
          state.spare.removeAll { $0 === channel }
        } else {
          state.ordinary -= 1
        }
      }
    }
    return isSpare
  }
}
