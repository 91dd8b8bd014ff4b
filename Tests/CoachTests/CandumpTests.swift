import Coach
import Testing

@Suite("candump's log format is read and written")
struct CandumpTests {
  @Test(
    "A line is written as it was read",
    arguments: [
      "(1436509052.249713) can0 19FFF494#0102030405060708", "(1436509052.000001) vcan1 7DF#",
      "(0.000000) can0 000#00", "(1436509052.249713) can0 123#R", "(1.500000) can0 19FFF494#R8",
      "(1.500000) slcan-1.x 1FFFFFFF#DEADBEEF", "(1.500000) can0 20000004#0004000000000000",
      "(1793318400.999999) can0 18EEFF00#00",
    ])
  func roundTrip(line: String) throws {
    #expect(try #require(CandumpLine(line[...])).text == line)
  }

  @Test("The kinds of frames are told apart by their identifiers")
  func kinds() throws {
    func frame(_ text: String) -> CANFrame? { CandumpLine("(1.0) can0 \(text)"[...])?.frame }
    #expect(frame("19FFF494#0102") == CANFrame(id: 0x19FF_F494, data: [1, 2]))
    #expect(frame("00000123#") == CANFrame(id: 0x123, data: []))
    #expect(frame("123#FF") == CANFrame(id: 0x123, data: [255], kind: .standard))
    #expect(frame("123#R") == CANFrame(id: 0x123, data: [], kind: .standard, isRemote: true))
    #expect(frame("123#r4")?.length == 4)
    #expect(frame("20000040#") == CANFrame(id: 0x40, data: [], kind: .error))
    // A length code of 14 for 8 bytes, which some devices send.
    #expect(frame("19FFF494#0102030405060708_E")?.length == 8)
  }

  @Test("Spellings of other tools are read, too")
  func spellings() throws {
    let line = try #require(CandumpLine("(1.25) can0 19fff494#0a R\r"[...]))
    #expect(
      line
        == CandumpLine(
          seconds: 1.25, bus: "can0", frame: CANFrame(id: 0x19FF_F494, data: [10])))
    #expect(CandumpLine("  (1)\tcan0  123#  T"[...])?.seconds == 1)
  }

  @Test(
    "What is no line is none",
    arguments: [
      "", " ", "# a comment", "can0 123#00", "(1.0) 123#00", "1.0 can0 123#00", "() can0 123#00",
      "(x) can0 123#00", "(1.0 can0 123#00", "(-1.0) can0 123#00", "(nan) can0 123#00",
      "(inf) can0 123#00", "(1e9) can0 123#00", "(1.0.0) can0 123#00",
      "(99999999999999) can0 123#00", "(1.0) can0 123", "(1.0) can0 #00", "(1.0) can0 12#00",
      "(1.0) can0 1234#00", "(1.0) can0 800#00", "(1.0) can0 123456789#00",
      "(1.0) can0 40000000#00", "(1.0) can0 80000123#00", "(1.0) can0 60000004#00",
      "(1.0) can0 12G#00", "(1.0) can0 +12#00", "(1.0) can0 123#0", "(1.0) can0 123#0G",
      "(1.0) can0 123#+1", "(1.0) can0 123#112233445566778899", "(1.0) can0 123##1112233",
      "(1.0) can0 123#R9", "(1.0) can0 123#R10", "(1.0) can0 123#RX", "(1.0) can0 20000004#R",
      "(1.0) can0 123#00_E", "(1.0) can0 123#0102030405060708_E_E", "(1.0) can0 123#00 X",
      "(1.0) can0 123#00 R R", "(１.0) can0 123#00", "(1.0) can0 123#é", "(1.0) can0 ١٢٣#00",
    ])
  func none(line: String) {
    #expect(CandumpLine(line[...]) == nil)
  }

  @Test("Impossible times are written as the nearest that a log can have")
  func times() {
    let frame = CANFrame(id: 0x123, data: [], kind: .standard)
    func text(_ seconds: Double) -> String {
      CandumpLine(seconds: seconds, bus: "can0", frame: frame).text
    }
    #expect(text(-5) == "(0.000000) can0 123#")
    #expect(text(.infinity) == "(100000000000.000000) can0 123#")
    #expect(text(.nan) == "(0.000000) can0 123#")
    #expect(text(1.9999999) == "(2.000000) can0 123#")
  }
}
