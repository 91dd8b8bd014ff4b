import Migrations
import Storage
import TestSupport
import Testing

@Suite("Figures of the history")
struct FigureTests {
  @Test("Runs are counted by kind and outcome, and the phases of all of them are added up")
  func figures() throws {
    let folder = try TemporaryFolder()
    let store = StateStore(stateFolder: folder("state"), chockVersion: "test")
    #expect(try store.figures().runs.isEmpty)
    for (id, outcome, phases) in [
      ("a", "committed", #"{"phase": "plan", "seconds": 0.5}, {"phase": "apply", "seconds": 2}"#),
      ("b", "committed", #"{"phase": "plan", "seconds": 1}, {"phase": "plan", "seconds": 1}"#),
      ("c", "refused", ""),
    ] {
      try store.save(
        run: id, startedAt: "",
        document: #"{"kind": "update", "outcome": "\#(outcome)", "phases": [\#(phases)]}"#)
    }
    // One that has not ended.
    try store.save(run: "d", startedAt: "", document: #"{"kind": "update", "phases": []}"#)
    let figures = try store.figures()
    #expect(figures.runs.map(\.count) == [2, 1])
    #expect(figures.runs.map(\.outcome) == ["committed", "refused"])
    #expect(figures.phases.map(\.phase) == ["apply", "plan"])
    #expect(figures.phases.map(\.count) == [1, 2])
    #expect(figures.phases.map(\.seconds) == [2, 2.5])
  }
}
