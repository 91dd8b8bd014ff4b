import HTTPTypes
import Hummingbird
import HummingbirdCore
import Migrations
import NIOCore
import Synchronization
import Updating

/// Where the file for support comes from, and what of it only the daemon has.
public struct Diagnostics: Sendable {
  /// One file, complete.
  public struct File: Sendable {
    /// ASCII letters, digits, `-` and `.`.
    public var name: String
    public var bytes: [UInt8]

    public init(name: String, bytes: [UInt8]) {
      self.name = name
      self.bytes = bytes
    }
  }

  let file: @Sendable () async -> File
  let frames: @Sendable () -> [UInt8]?

  /// - Parameters:
  ///   - file: gathers it; bounded in size and time.
  ///   - frames: what was heard last on the buses, in candump's log format; nil without a bus.
  public init(
    file: @escaping @Sendable () async -> File, frames: @escaping @Sendable () -> [UInt8]?
  ) {
    self.file = file
    self.frames = frames
  }
}

/// `/api/diagnostics`, and the last minutes of the buses.
struct DiagnosticsRoutes: Sendable {
  let diagnostics: Diagnostics?

  /// One at a time: it is up to 20 MB.
  private final class Turn: Sendable {
    private let isTaken = Atomic(false)

    func take() -> Bool {
      isTaken.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged
    }

    func leave() { isTaken.store(false, ordering: .releasing) }
  }

  func add(to routes: inout RouteTable) {
    let turn = Turn()
    routes.on(.get, "/api/diagnostics", for: .role(.owner)) { _, _ in
      guard let diagnostics else {
        throw Failure(.notFound, "This server has no file for support.")
      }
      guard turn.take() else {
        throw Problem(
          Failure(
            .busy, "The file for support is being made for somebody.",
            howToClear: "Try again in a moment."), headers: [.retryAfter: "5"])
      }
      defer { turn.leave() }
      let file = await diagnostics.file()
      return Response(
        status: .ok,
        headers: [
          .contentType: "application/zip", .cacheControl: "no-store",
          .contentDisposition: "attachment; filename=\"\(file.name)\"",
        ],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: file.bytes)))
    }
    routes.on(.get, "/api/safety/frames", for: .role(.technician)) { _, _ in
      guard let frames = diagnostics?.frames() else {
        throw Failure(
          .notFound, "No bus is listened to.", howToClear: "Name one in [[coach.can]].")
      }
      return Response(
        status: .ok,
        headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
        body: ResponseBody(byteBuffer: ByteBuffer(bytes: frames)))
    }
  }
}
