import FoundationEssentials
import Testing
import Updating

@testable import ControlServer

/// A strict reader of Prometheus' text format 0.0.4, as its documentation has it.
private struct Exposition {
  struct Family {
    var help: String?
    var type: String?
    var samples: [(name: String, labels: [String: String], value: Double)] = []
  }

  var families: [String: Family] = [:]

  init(_ text: String) throws {
    try #require(text.hasSuffix("\n"), "The last line ends, too.")
    var current = ""
    for line in text.dropLast().split(separator: "\n", omittingEmptySubsequences: false) {
      if line.hasPrefix("# ") {
        let words = line.split(separator: " ", maxSplits: 3)
        try #require(words.count == 4, "\(line)")
        current = String(words[2])
        var family = families[current] ?? Family()
        try #require(family.samples.isEmpty, "The lines of \(current) are not together.")
        switch words[1] {
        case "HELP":
          try #require(family.help == nil)
          family.help = String(words[3])
        case "TYPE":
          try #require(family.type == nil)
          try #require(["counter", "gauge", "summary"].contains(words[3]))
          family.type = String(words[3])
        default: Issue.record("\(line)")
        }
        families[current] = family
      } else {
        let sample = try Self.sample(line)
        let isPart = families[current]?.type == "summary"
        let names = isPart ? ["\(current)_sum", "\(current)_count"] : [current]
        try #require(names.contains(sample.name), "\(sample.name) is not of \(current).")
        families[current]?.samples.append(sample)
      }
    }
  }

  private static func sample(_ line: Substring) throws
    -> (name: String, labels: [String: String], value: Double)
  {
    let name = line.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") }
    try #require(name.first.map { $0.isLetter || $0 == "_" } == true, "\(line)")
    var rest = line.dropFirst(name.count)
    var labels: [String: String] = [:]
    if rest.first == "{" {
      rest = rest.dropFirst()
      while rest.first != "}" {
        let label = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
        rest = rest.dropFirst(label.count)
        try #require(!label.isEmpty && rest.hasPrefix("=\""), "\(line)")
        rest = rest.dropFirst(2)
        var value = ""
        while let character = rest.popFirst(), character != "\"" {
          if character == "\\" {
            let escaped = rest.popFirst().flatMap { ["\\": "\\", "\"": "\"", "n": "\n"][$0] }
            value += try #require(escaped, "\(line)")
          } else {
            value.append(character)
          }
        }
        try #require(labels.updateValue(value, forKey: String(label)) == nil, "\(line)")
        if rest.first == "," { rest = rest.dropFirst() }
      }
      rest = rest.dropFirst()
    }
    try #require(rest.first == " ", "\(line)")
    let value = try #require(Double(rest.dropFirst()), "\(line)")
    return (String(name), labels, value)
  }
}

@Suite("Metrics", .timeLimit(.minutes(5)))
struct MetricsTests {
  @Test("Every figure is there, in Prometheus' format, with help and type")
  func figures() async throws {
    try await withServer { server in
      _ = try await server.send("GET", "/livez", host: "evil.example")
      let wrong = #"{"signal": "parking_brake", "value": "engaged", "pin": "1111"}"#
      _ = try await server.send(json: wrong, "POST", "/api/safety/attestations")
      let answer = try await server.send("GET", "/metrics")
      #expect(answer.status == 200)
      #expect(answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8")
      let families = try Exposition(answer.body).families
      for (name, family) in families {
        #expect(family.help?.isEmpty == false && family.type != nil, "\(name)")
        #expect(name.hasSuffix("_total") == (family.type == "counter"), "\(name)")
        let series = family.samples.map { "\($0.name) \($0.labels.sorted { $0.key < $1.key })" }
        #expect(Set(series).count == series.count, "\(name) says something twice.")
      }
      for name in [
        "chock_build_info", "chock_schema_version", "chock_update_state", "chock_updates_total",
        "chock_phase_duration_seconds", "chock_snapshot_bytes",
        "chock_last_verified_snapshot_timestamp_seconds", "chock_precondition_met",
        "chock_auth_failures_total",
      ] {
        #expect(families[name] != nil, "\(name)")
      }
      let states = families["chock_update_state"]?.samples ?? []
      #expect(states.map(\.value).reduce(0, +) == 1)
      #expect(states.first { $0.value == 1 }?.labels == ["state": "problem"])
      let refused = families["chock_auth_failures_total"]?.samples ?? []
      #expect(refused.map(\.value) == [1])
      #expect(families["chock_updates_total"]?.samples.count == 25)
    }
  }

  @Test("Where nobody can read the snapshots, nothing is said of them, and all the rest is")
  func withoutSnapshots() async throws {
    try await withServer { server in
      let folder = server.updater.settings.snapshotsFolder
      try? FileManager.default.removeItem(atPath: folder)
      #expect(FileManager.default.createFile(atPath: folder, contents: nil))
      let answer = try await server.send("GET", "/metrics")
      #expect(answer.status == 200, "\(answer.body)")
      let families = try Exposition(answer.body).families
      #expect(families["chock_snapshots"]?.samples.isEmpty == true)
      #expect(families["chock_build_info"]?.samples.count == 1)
    }
  }

  @Test("Whatever a label says, its line stays one line")
  func escapes() throws {
    var metrics = Metrics()
    let value = "a\\b\"c\nd{}= ,é"
    metrics.add("x", .gauge, "Help.", [("", [("label", value)], 0.25)])
    let sample = try #require(try Exposition(metrics.text).families["x"]?.samples.first)
    #expect(sample.labels == ["label": value])
    #expect(sample.value == 0.25)
  }
}
