import Coach
import Testing

@Suite("A profile is a file that a technician can edit")
struct ProfileTests {
  struct Case: CustomTestStringConvertible, Sendable {
    var testDescription: String
    var text: String
    var line: Int?
    /// What the message or the way out says.
    var words: [String]

    init(_ description: String, _ text: String, line: Int?, _ words: String...) {
      testDescription = description
      self.text = text
      self.line = line
      self.words = words
    }

    /// A row whose lines are 2 to 6 of the file, with more or other ones.
    init(
      _ description: String, signal: String = "parking_brake", dgn: String = "0x1FFF4",
      at: String = "\"4.0-1\"", map: String = "{ 0 = \"released\", 1 = \"engaged\" }",
      and more: String = "expires_after_seconds = 5.5", line: Int?, _ words: String...
    ) {
      testDescription = description
      text = """
        name = "Ours"
        [[signal]]
        signal = "\(signal)"
        dgn = \(dgn)
        at = \(at)
        map = \(map)
        \(more)
        """
      self.line = line
      self.words = words
    }
  }

  static let wrong = [
    Case("no TOML", "name = Ours", line: 1, "not valid TOML"),
    Case("an unclosed table", "name = \"Ours\"\n[[signal", line: 2, "not valid TOML"),
    Case("a half of a text", "name = \"Ours\"\n\0[[signal]]", line: nil, "not plain text"),
    Case("empty", "", line: nil, "needs name", "name = "),
    Case("no name", "extends = \"rvc\"", line: nil, "needs name"),
    Case("an empty name", "\nname = \"\"", line: 2, "name is empty"),
    Case("a name of the wrong kind", "name = 1", line: 1, "wrong kind", "text in quotes"),
    Case("no rows", "name = \"Ours\"", line: nil, "no rows", "[[signal]]", "extends"),
    Case("no such base", "name = \"Ours\"\nextends = \"rv-c\"", line: 2, "rv-c", "rvc, rvc-multi"),
    Case(
      "an unknown key", "name = \"Ours\"\nextend = \"rvc\"", line: 2, "no key extend", "extends"),
    Case(
      "an unknown table", "name = \"Ours\"\n\n[[signals]]\nat = \"1\"", line: 3, "no key signals"),
    Case(
      "a table that is none", "name = \"Ours\"\nsignal = 1", line: 2, "wrong kind", "[[signal]]"),
    Case(
      "rows in one line", "name = \"Ours\"\nsignal = [{ signal = \"ignition\" }]", line: nil,
      "exactly one of dgn, pointer and file"),

    Case("an unknown key of a row", and: "expires_after = 5", line: 7, "no key expires_after"),
    Case(
      "a key of another kind of row", and: "expires_after_seconds = 5\nbit = 1", line: 8,
      "no key bit"),
    Case(
      "two places", and: "expires_after_seconds = 5\nfile = \"/x\"", line: 8, "exactly one of"),
    Case(
      "an unknown signal", signal: "parking_break", line: 3, "There is no signal parking_break",
      "parking_brake", "interlock.NAME"),
    Case("an impossible name", signal: "interlock.a b", line: 3, "no signal interlock.a b"),
    Case(
      "a name too long for all instances",
      signal: "interlock.\(String(repeating: "x", count: 62)){instance}",
      and: "expires_after_seconds = 5\ninstance = \"0\"", line: 3, "There is no signal"),
    Case(
      "an impossible value", map: "{ 0 = \"released\", 1 = \"set\" }", line: 6,
      "parking_brake cannot be set", "engaged, released"),
    Case("a value of the wrong type", map: "{ 0 = false }", line: 6, "cannot be false"),
    Case(
      "a number that is too high", signal: "vehicle_speed", map: "{ 0 = 301 }", line: 6,
      "cannot be 301", "0 to 300"),
    Case("a value that is a list", map: "{ 0 = [1] }", line: 6, "wrong kind"),
    Case("an empty map", map: "{ }", line: 6, "wrong kind"),
    Case("a map that is none", map: "\"on\"", line: 6, "wrong kind", "a table"),
    Case(
      "a raw value that is none", map: "{ on = \"released\" }", line: 6, "on is no raw value",
      "126-250"),
    Case("a range downwards", map: "{ \"1-0\" = \"released\" }", line: 6, "1-0 is no raw value"),
    Case("a negative raw value", map: "{ -1 = \"released\" }", line: 6, "-1 is no raw value"),
    Case(
      "a raw value that means error", map: "{ 2 = \"released\" }", line: 6, "highest value",
      "is 1, not 2", "not available"),
    Case(
      "a range over its end", at: "\"4\"", map: "{ \"0-253\" = \"released\" }", line: 6, "not 253"),
    Case(
      "overlapping ranges", at: "\"4\"", map: "{ \"1-3\" = \"released\", \"3-4\" = \"engaged\" }",
      line: 6, "1-3", "3-4"),
    Case(
      "one raw value in two spellings", map: "{ 1 = \"released\", 0x1 = \"engaged\" }", line: 6,
      "same raw value"),
    Case("a byte too far", at: "\"8\"", line: 5, "8 is no place", "from 0 to 7"),
    Case("a span over the end", at: "\"6-8\"", line: 5, "6-8 is no place"),
    Case("a span downwards", at: "\"3-2\"", line: 5, "3-2 is no place"),
    Case("a bit too far", at: "\"4.6-8\"", line: 5, "4.6-8 is no place"),
    Case("bits of two bytes", at: "\"3-4.0\"", line: 5, "3-4.0 is no place"),
    Case("a field with letters", at: "\"b4\"", line: 5, "b4 is no place"),
    Case("a field that is a number", at: "4.0", line: 5, "wrong kind", "text in quotes"),
    Case("an empty field", at: "\"\"", line: 5, "no place"),
    Case("a data group too high", dgn: "0x20000", line: 4, "dgn cannot be 131072", "131071"),
    Case("a data group below zero", dgn: "-1", line: 4, "dgn cannot be -1"),
    Case("a data group as text", dgn: "\"1FFF4\"", line: 4, "wrong kind", "whole number"),
    Case("never expiring", and: "note = \"x\"", line: 2, "needs expires_after_seconds"),
    Case("expiring at once", and: "expires_after_seconds = 0", line: 7, "cannot last 0 seconds"),
    Case(
      "expiring too late", and: "expires_after_seconds = 86401", line: 7, "cannot last 86401",
      "86400"),
    Case("expiring never", and: "expires_after_seconds = inf", line: 7, "wrong kind"),
    Case("expiring at no time", and: "expires_after_seconds = nan", line: 7, "wrong kind"),
    Case("a note that is none", and: "expires_after_seconds = 5\nnote = 1", line: 8, "wrong kind"),
    Case(
      "veto_only of the wrong kind", and: "expires_after_seconds = 5\nveto_only = \"yes\"", line: 8,
      "true or false"),
    Case(
      "a scale of words", and: "expires_after_seconds = 5\nscale = 2", line: 8,
      "parking_brake has no scale"),
    Case(
      "a scale of zero", signal: "supply_voltage", map: "{ 0 = 0 }",
      and: "expires_after_seconds = 5\nscale = 0", line: 8, "not 0"),
    Case(
      "an offset without a scale", signal: "supply_voltage", map: "{ 0 = 0 }",
      and: "expires_after_seconds = 5\noffset = 1", line: 8, "belongs to a scale"),
    Case(
      "a valid range that is none", signal: "supply_voltage", map: "{ 0 = 0 }",
      and: "expires_after_seconds = 5\nscale = 1\nvalid = \"low\"", line: 9, "low is no range"),
    Case(
      "a valid range over its end", signal: "supply_voltage", at: "\"0\"", map: "{ 0 = 0 }",
      and: "expires_after_seconds = 5\nscale = 1\nvalid = \"0-255\"", line: 9, "not 255"),
    Case(
      "an instance from nowhere", signal: "interlock.slide_{instance}", map: "{ 0 = \"violated\" }",
      line: 3, "Nothing says what {instance} is"),
    Case(
      "an instance for nothing", and: "expires_after_seconds = 5\ninstance = \"0\"", line: 8,
      "same signal", "{instance}"),
    Case(
      "a key in a frame", signal: "interlock.slide_{key}", map: "{ 0 = \"violated\" }", line: 3,
      "Nothing says what {key} is"),
    Case(
      "a condition that is none", and: "expires_after_seconds = 5\nwhen = 1", line: 8, "wrong kind"),
    Case(
      "an empty list of conditions", and: "expires_after_seconds = 5\nwhen = []", line: 8,
      "wrong kind"),
    Case(
      "a condition without a value", and: "expires_after_seconds = 5\nwhen = { at = \"0\" }",
      line: 8, "needs is"),
    Case(
      "a condition nowhere", and: "expires_after_seconds = 5\nwhen = { at = \"9\", is = 1 }",
      line: 8, "9 is no place"),
    Case(
      "a condition that never holds",
      and: "expires_after_seconds = 5\nwhen = { at = \"0\", is = 256 }", line: 8, "0 is never 256"),
    Case(
      "a condition with another key",
      and: "expires_after_seconds = 5\nwhen = { at = \"0\", equals = 1 }", line: 8, "no key equals"),
    Case(
      "a source address too high", and: "expires_after_seconds = 5\nsources = \"9, 256\"", line: 8,
      "256 is no source address"),
    Case(
      "no source address", and: "expires_after_seconds = 5\nsources = \"\"", line: 8,
      "no source address"),

    Case(
      "no meaning",
      "name = \"Ours\"\n\n[[signal]]\nsignal = \"ignition\"\ndgn = 1\nat = \"0\"\nexpires_after_seconds = 1",
      line: 3, "what the values of ignition mean"),
    Case(
      "no field",
      "name = \"Ours\"\n[[signal]]\nsignal = \"ignition\"\ndgn = 1\nmap = { 1 = \"on\" }\nexpires_after_seconds = 1",
      line: 2, "needs at"),
    Case(
      "no signal",
      "name = \"Ours\"\n[[signal]]\ndgn = 1\nat = \"0\"\nmap = { 1 = \"on\" }\nexpires_after_seconds = 1",
      line: 2, "needs signal"),
  ]

  static func row(_ text: String, _ rest: String = "") -> String {
    """
    name = "Ours"
    [[signal]]
    signal = "in_tow"
    map = { true = true, 0 = false }
    expires_after_seconds = 5
    \(text)
    \(rest)
    """
  }

  static let wrongElsewhere = [
    Case("a pointer without a path", row("pointer = \"/a\""), line: 2, "needs path"),
    Case(
      "a path that would be two lines", row("pointer = \"/a\"", "path = \"/a\\r\\nX: y\""), line: 7,
      "no path of an HTTP request"),
    Case(
      "a path with a space", row("pointer = \"/a\"", "path = \"/a b\""), line: 7,
      "no path of an HTTP request"),
    Case(
      "a path without a slash", row("pointer = \"/a\"", "path = \"a\""), line: 7, "no path"),
    Case(
      "a pointer without a slash", row("pointer = \"a\"", "path = \"/\""), line: 6, "JSON pointer"),
    Case(
      "a tilde that is none", row("pointer = \"/a~2\"", "path = \"/\""), line: 6, "JSON pointer"),
    Case("two stars", row("pointer = \"/*/*\"", "path = \"/\""), line: 6, "JSON pointer"),
    Case(
      "a star for nothing", row("pointer = \"/*\"", "path = \"/\""), line: 6, "same signal", "{key}"
    ),
    Case("a relative file", row("file = \"sys/x\""), line: 6, "no pattern of a file"),
    Case("a file upwards", row("file = \"/sys/../etc/shadow\""), line: 6, "no pattern of a file"),
    Case("two stars in a component", row("file = \"/sys/**/x\""), line: 6, "no pattern of a file"),
    Case("a bit too far", row("file = \"/sys/x\"", "bit = 64"), line: 7, "bit cannot be 64"),
    Case("a file and a path", row("file = \"/sys/x\"", "path = \"/\""), line: 7, "no key path"),
    Case("a file and a field", row("file = \"/sys/x\"", "at = \"0\""), line: 7, "no key at"),
    Case(
      "more than a bit can be",
      row("file = \"/x\"", "bit = 0").replacing("0 = false", with: "2 = false"), line: 4, "not 2"),
    Case(
      "the same text twice",
      row("file = \"/x\"").replacing("true = true", with: "on = true, ON = false"), line: 4, "on",
      "two things"),

    Case("a command without a name", "name = \"O\"\n[[command]]\ndgn = 1", line: 2, "needs name"),
    Case(
      "a command without an end", "name = \"O\"\n[[command]]\ndgn = 1\nname = \"slide\"", line: 2,
      "needs lasts_seconds"),
    Case(
      "a command for ever",
      "name = \"O\"\n[[command]]\ndgn = 1\nname = \"slide\"\nlasts_seconds = 3601", line: 5,
      "cannot last 3601", "3600"),
    Case(
      "a command without a group", "name = \"O\"\n[[command]]\nname = \"slide\"\nlasts_seconds = 3",
      line: 2, "needs dgn"),
    Case(
      "a command with a slash",
      "name = \"O\"\n[[command]]\ndgn = 1\nname = \"a/b\"\nlasts_seconds = 3", line: 4, "slash"),
    Case(
      "a command with a signal",
      "name = \"O\"\n[[command]]\ndgn = 1\nsignal = \"x\"\nname = \"a\"\nlasts_seconds = 3",
      line: 4,
      "no key signal"),
    Case(
      "two commands of a group",
      """
      name = "Ours"
      [[command]]
      dgn = 1
      name = "slide"
      lasts_seconds = 3
      [[command]]
      dgn = 1
      name = "awning"
      lasts_seconds = 3
      """, line: 6, "reads the same"),
    Case(
      "a signal twice in a frame",
      """
      name = "Ours"

      [[signal]]
      signal = "ignition"
      dgn = 1
      at = "0"
      map = { 1 = "on" }
      expires_after_seconds = 1

      [[command]]
      dgn = 1
      name = "slide"
      lasts_seconds = 3

      [[signal]]
      signal = "ignition"
      dgn = 1
      at = "1"
      map = { 1 = "on" }
      expires_after_seconds = 1
      """, line: 15, "reads the same", "when or sources"),
    Case(
      "a signal from two places of a controller",
      """
      name = "Ours"
      [[signal]]
      signal = "in_tow"
      path = "/a"
      pointer = "/a"
      map = { true = true }
      expires_after_seconds = 1
      [[signal]]
      signal = "in_tow"
      path = "/b"
      pointer = "/b"
      map = { true = true }
      expires_after_seconds = 1
      """, line: 8, "reads the same"),
  ]

  @Test("What is wrong in it is named with its line and what would be right", arguments: wrong)
  func errors(_ wrong: Case) {
    check(wrong)
  }

  @Test("So it is in rows for documents, files and commands", arguments: wrongElsewhere)
  func otherErrors(_ wrong: Case) {
    check(wrong)
  }

  private func check(_ wrong: Case) {
    guard let error = profileError(wrong.text) else { return }
    #expect(error.file == "coach.toml")
    #expect(error.line == wrong.line, "\(error)")
    let said = error.message + "\n" + (error.howToClear ?? "")
    for word in wrong.words { #expect(said.contains(word), "\(word) in: \(said)") }
    // The parser's own messages have to do without.
    #expect(error.howToClear != nil || error.message.contains("TOML"))
  }

  @Test("Lines are counted in files of other systems, and in other spellings, too")
  func spellings() {
    let windows = ProfileTests.wrong.first { $0.testDescription == "an impossible value" }
    #expect(profileError(windows?.text.replacing("\n", with: "\r\n") ?? "")?.line == 6)
    let spelled = """
      name = "Ours"
      # [[signal]] in a comment
        [[ signal ]]
      "signal" = "ignition"
      dgn=1
      \tat =   "9"
      [signal.map]
      1 = "on"
      """
    #expect(profileError(spelled)?.line == 6)
    #expect(profileError(spelled.replacing("\"9\"", with: "\"0\""))?.line == 3)
    let table = spelled.replacing("\"9\"", with: "\"0\"\nexpires_after_seconds = 1")
    #expect(profileError(table.replacing("\"on\"", with: "\"no\""))?.line == 8)
  }

  @Test("Every built-in profile is sound, and known by its name", arguments: Profile.builtInNames)
  func builtIn(name: String) throws {
    let text = try #require(Profile.text(ofBuiltIn: name))
    let profile = try Profile(text: text, file: name)
    #expect(Profile.builtIn(name)?.name == profile.name)
    #expect(!profile.name.isEmpty)
    #expect(profile.dgns == Array(Set(profile.dgns)).sorted())
    // As people read them on a small screen.
    #expect(text.split(separator: "\n").allSatisfy { $0.count <= 120 })
  }

  @Test("There is no built-in profile of another name")
  func notBuiltIn() {
    #expect(Profile.builtIn("rv-c") == nil)
    #expect(Profile.text(ofBuiltIn: "") == nil)
    #expect(
      Profile.builtInNames == [
        "rvc", "rvc-multiplexed", "rvc-alarms", "j1939", "no-chassis-bus", "coachiq",
        "raspberry-pi",
      ])
  }

  @Test("The filters of a bus are the groups that the rows read, each once")
  func dgns() throws {
    #expect(try Profile.named("j1939").dgns == [0xF004, 0xF005, 0xFEF1])
    #expect(
      try Profile.named("rvc").dgns == [
        0x1FE87, 0x1FE88, 0x1FE89, 0x1FE9F, 0x1FEDB, 0x1FEDF, 0x1FEE1, 0x1FEE4, 0x1FEE5, 0x1FEF2,
        0x1FEF3, 0x1FEF9, 0x1FFB2, 0x1FFBC, 0x1FFBE, 0x1FFDA, 0x1FFDC, 0x1FFE0, 0x1FFE7, 0x1FFE8,
        0x1FFEC, 0x1FFED, 0x1FFEE, 0x1FFF3, 0x1FFF4, 0x1FFFD,
      ])
    #expect(try !Profile.named("no-chassis-bus").dgns.contains(0x1FFF4))
    #expect(try Profile.named("coachiq").dgns == [])
  }

  @Test("A profile that extends another one replaces its rows for a signal, and keeps the others")
  func extends() throws {
    let profile = try Profile(
      text: """
        name = "Our coach"
        extends = "rvc"

        [[signal]]
        signal = "ignition"
        dgn = 0x1FFF4
        when = { at = "0", is = 0xF1 }
        at = "5.4-5"
        map = { 0 = "off", 1 = "on" }
        expires_after_seconds = 9
        note = "Its ignition is elsewhere."

        [[command]]
        dgn = 0x1FFE7
        name = "big slide"
        lasts_seconds = 1
        """, file: "ours.toml")
    #expect(profile.name == "Our coach")
    #expect(profile.dgns == Profile.builtIn("rvc")?.dgns)
    #expect(try profile.said(of: "19FFF49C#F1FFFFFF00DFFFFF").contains("ignition=on"))
    #expect(try profile.said(of: "19FFF49C#F1FFFFFF00DFFFFF").contains("parking_brake=released"))
    #expect(try !profile.said(of: "19FFF49C#00000000000500FB").contains("ignition=on"))
    #expect(try profile.said(of: "19FFE744#") == ["a big slide command on can0"])
    #expect(try profile.said(of: "19FEF244#") == ["an awning command on can0"])
    // One that only takes over is whole, too.
    #expect(try Profile(text: "name = \"Ours\"\nextends = \"rvc\"", file: "").dgns == profile.dgns)
  }
}

@Suite("A header of a table that stops the parser is found before it is given the text")
struct TOMLHeaderTests {
  @Test(
    "Its line is named",
    arguments: [
      ("[ä]", 1), ("[=", 1), ("[ .a]", 1), ("[[", 1), ("[[ \n", 1), ("[ # a", 1), ("[[ = ]]", 1),
      ("a = 1\n\n  [[é", 3), ("a = 1\r\n[,]", 2), ("\u{FEFF}[?", 1), ("[\u{301}a]", 1),
      ("a = 1\r[?", 2), ("a = 1\u{B}[?", 1), ("a = 1\u{2028}[?", 1), ("[[[a]]]", 1),
      ("[\u{A0}?", 1),
      ("[\n[a]", 1),
    ])
  func unreadable(text: String, line: Int) {
    #expect(TOMLHeaders.unreadableLine(of: text) == line)
    // With the parser itself, which would end this process.
    #expect(profileError("name = \"Ours\"\n" + text)?.line == line + 1)
  }

  @Test(
    "Others are left to the parser",
    arguments: [
      "", "a = 1", "[a]", "[[a]]", "[ a ]", "[[ \"ä\" ]]", "['']", "[-]", "[_a.b]", "[0]", "[]",
      "[[]]", "a = [\n\"b\",\n[1, 2]\n]", "a = [=", "# [=", "]", "ä",
    ])
  func readable(text: String) {
    #expect(TOMLHeaders.unreadableLine(of: text) == nil)
    #expect(profileError(text) != nil)
  }

  @Test("The built-in profiles are readable")
  func ours() throws {
    for name in Profile.builtInNames {
      #expect(try TOMLHeaders.unreadableLine(of: #require(Profile.text(ofBuiltIn: name))) == nil)
    }
  }
}
