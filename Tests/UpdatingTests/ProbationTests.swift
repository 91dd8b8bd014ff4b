import Testing

@testable import Updating

@Suite("Probation judges by what the looks have found")
struct ProbationJudgementTests {
  /// The judgement after each look, one a second: `+` is well, `-` is not.
  private func judge(
    _ looks: String, length: Int = 5, unhealthy: Int = 4, after: Int = 2
  ) -> (Probation.Judgement, at: Int) {
    var settings = ApplicationSettings()
    settings.unhealthySeconds = unhealthy
    settings.healthyAfter = after
    var probation = Probation(settings, length: .seconds(length))
    for (second, look) in looks.enumerated() {
      let judgement = probation.note(isHealthy: look == "+", at: .seconds(second))
      if judgement != .goOn { return (judgement, second) }
    }
    return (.goOn, looks.count)
  }

  @Test("It is well at the end of its time, and not before")
  func well() {
    #expect(judge("+++++++") == (.healthy, 5))
    #expect(judge("--+++++") == (.healthy, 5))
    #expect(judge("-++++-++") == (.healthy, 7))
  }

  @Test("It is given up when it is not well for too long, at its start too")
  func unhealthy() {
    #expect(judge("------") == (.unhealthy, 4))
    #expect(judge("++------") == (.unhealthy, 6))
  }

  @Test("One good look among bad ones is no health")
  func flicker() {
    #expect(judge("-+-+-+-+", length: 60).0 == .unhealthy)
  }

  @Test("One that falls again and again is given up")
  func falls() {
    #expect(judge("++-++-++-++", length: 60) == (.unhealthy, 8))
  }

  @Test("One that alternates ends all the same")
  func ends() {
    #expect(judge(String(repeating: "+-", count: 20), length: 0).0 == .unhealthy)
    #expect(judge("++", length: 0) == (.healthy, 1))
  }
}
