import Glibc
import Logging
import Migrations
import ServiceLifecycle
import Storage
import Subprocess
import SystemPackage
import Updating

/// Tells the controller when an update begins and when it ends, by an address, a unit or both. A hook that
/// fails is logged, and keeps nobody from anything.
struct LockHook: Service {
  let updater: Updater
  let url: String?
  let unit: String?
  let logger: Logger

  private struct Document: Encodable {
    var schema = "chock.LOCK_HOOK/1"
    /// Nil when it is over.
    var updateInProgress: UpdateInProgress?

    private enum Key: CodingKey { case schema, updateInProgress }

    /// With `null` where it is over: what is made for the compiler would leave the key out.
    func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: Key.self)
      try container.encode(schema, forKey: .schema)
      try container.encode(updateInProgress, forKey: .updateInProgress)
    }
  }

  func run() async throws {
    guard url != nil || unit != nil else {
      try? await gracefulShutdown()
      return
    }
    var told: UpdateInProgress?
    // A stream ends when this is too slow for it: the hook may take its time.
    while !Task.isShuttingDownGracefully, !Task.isCancelled {
      let events = updater.events.subscribe(since: nil, only: [.gate]).events
      await tell(await updater.safety(), after: &told)
      for await event in events.cancelOnGracefulShutdown() {
        if let safety = event.event?.safety { await tell(safety, after: &told) }
      }
    }
    // A daemon that stops has ended its run.
    if told != nil { await tell(nil) }
  }

  private func tell(_ safety: SafetyDocument, after told: inout UpdateInProgress?) async {
    guard safety.updateInProgress != told else { return }
    told = safety.updateInProgress
    await tell(told)
  }

  private func tell(_ update: UpdateInProgress?) async {
    if let url, let document = try? JSON.text(Document(updateInProgress: update)) {
      let headers = ["Content-Type: application/json"]
      if let problem = await Posting.send(document, to: url, headers: headers) {
        logger.warning("The controller was not told of the update: \(problem)")
      }
    }
    guard let unit else { return }
    let verb = update == nil ? "stop" : "start"
    do {
      // A manager that does not answer must not keep chock from telling of the next change.
      let result = try await Subprocess.run(
        .name("timeout"), arguments: ["10", "systemctl", verb, "--no-block", unit],
        output: .discarded, error: .string(limit: 4096))
      if !result.terminationStatus.isSuccess {
        logger.warning("systemctl \(verb) \(unit): \(result.standardError)")
      }
    } catch {
      logger.warning("systemctl \(verb) \(unit): \(error)")
    }
  }
}
