import FoundationEssentials
import Migrations
import Testing

@Suite struct SchemaVersionTests {
  @Test(
    "Every accepted spelling is read",
    arguments: [
      ("0004", "4"), ("4", "4"), ("V4", "4"), ("phase1_004", "1.4"), ("1.2", "1.2"), ("1_2", "1.2"),
      ("20250101120000", "20250101120000"), ("0", "0"), ("0000", "0"), ("0.0", "0"),
    ])
  func reads(text: String, description: String) {
    #expect(SchemaVersion(text)?.description == description)
  }

  @Test(
    "Anything else is no version",
    arguments: [
      "", "x", "V", "4x", "-1", "+4", "1.", ".1", "1__2", "phase1", "phase1_2_3", "٤",
      "99999999999999999999",
    ])
  func refuses(text: String) {
    #expect(SchemaVersion(text) == nil)
  }

  @Test("The order is natural") func order() throws {
    let texts = ["0", "1", "1.4", "1.10", "2", "9", "10", "20250101120000"]
    let versions = try texts.map(version)
    #expect(versions.reversed().sorted() == versions)
    #expect(versions.first == .zero)
  }

  @Test("In JSON it is its text") func coding() throws {
    let json = try JSONEncoder().encode([version("phase1_004")])
    #expect(String(decoding: json, as: UTF8.self) == #"["1.4"]"#)
    #expect(try JSONDecoder().decode([SchemaVersion].self, from: json) == [version("1.4")])
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode([SchemaVersion].self, from: Data(#"["x"]"#.utf8))
    }
  }
}

@Suite struct NearestTests {
  @Test(
    "A slip of the finger finds what was meant",
    arguments: [
      ("Requries", "Requires"), ("timeout", "Timeout"), ("Descripton", "Description"),
      ("Expct", "Expect"),
    ])
  func near(text: String, meant: String) {
    #expect(nearest(to: text, among: ["Description", "Requires", "Timeout", "Expect"]) == meant)
  }

  @Test("What resembles nothing gets no suggestion") func far() {
    #expect(nearest(to: "Copyright", among: ["Description", "Requires", "Timeout"]) == nil)
    #expect(nearest(to: "xy", among: ["ab"]) == nil)
    #expect(nearest(to: "", among: ["a"]) == nil)
    #expect(nearest(to: "a", among: []) == nil)
  }
}
