import ControlServer
import Glibc
import Storage
import UnixSignals

/// A daemon that could not start, under a service manager that will try again: slower and slower, up to a minute.
/// systemd can do that itself (`RestartSteps=`) from 254 on, and Debian 12 has 252.
enum FailedStart {
  /// `RestartSec=` of the unit.
  private static let restart = 2
  /// Its `RestartPreventExitStatus=`: a usage error, a bad config.
  private static let final: [Int32] = [64, 78]
  /// How often it has failed, in the unit's own folder below /run, which systemd keeps over its own restarts
  /// (`RuntimeDirectoryPreserve=restart`); nil where there is none.
  private static let file = getenv("RUNTIME_DIRECTORY").map {
    String(cString: $0) + "/failed-starts"
  }

  /// The daemon is ready: the next failure is the first again.
  static func forget() {
    if let file { unlink(file) }
  }

  /// Waits before the process ends with this code, unless it is told to stop.
  static func end(with code: Int32) async {
    guard !final.contains(code) else {
      // Each connection that waits would be the next start, at once.
      (try? InheritedSocket())?.turnAway()
      return
    }
    guard let file else { return }
    let text = ((try? FileSystem.read(file, limit: 16)) ?? nil) ?? []
    let failures = min(6, 1 + (Int(String(decoding: text, as: UTF8.self)) ?? 0))
    try? FileSystem.replace(file, with: Array(String(failures).utf8))
    let pause = min(60, 1 << failures) - restart
    guard pause > 0 else { return }
    let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
    ServiceManager().tell("STATUS=Could not start; tries again in \(pause + restart) s")
    await withTaskGroup { group in
      group.addTask { for await _ in signals { return } }
      group.addTask { try? await Task.sleep(for: .seconds(pause)) }
      await group.next()
      group.cancelAll()
    }
  }
}
