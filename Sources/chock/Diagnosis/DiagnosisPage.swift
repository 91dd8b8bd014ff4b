import Storage

/// `summary.html`: readable on a phone, without chock and without a network.
struct DiagnosisPage {
  let title: String
  let at: String
  let findings: [Diagnosis.Finding]
  let entries: [Diagnosis.Entry]

  var html: String {
    """
    <!doctype html>
    <html lang="en">
    <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
    <title>\(Self.escaped(title))</title>
    <style>
    :root{color-scheme:light dark}
    body{font:1rem/1.45 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem}
    h1{font-size:1.3rem;overflow-wrap:anywhere}
    h2{font-size:1.1rem;margin-top:2rem}
    dl{display:grid;grid-template-columns:1.6rem minmax(6rem,auto) 1fr;gap:.5rem .5rem;margin:0}
    dt,dd{margin:0;overflow-wrap:anywhere}
    dt{font-weight:600}
    @media(max-width:36rem){dl{grid-template-columns:1.6rem 1fr;row-gap:.1rem}dd{grid-column:2;margin-bottom:.5rem}}
    .good{color:#14783c}.bad{color:#c3281e}
    @media(prefers-color-scheme:dark){.good{color:#5fd08a}.bad{color:#ff8a7d}}
    li{margin:.5rem 0;overflow-wrap:anywhere}
    small{opacity:.8}
    </style>
    </head>
    <body>
    <h1>\(Self.escaped(title))</h1>
    <p>Made by <code>chock diagnose</code> at \(Self.escaped(at)). It holds no row of the owner's data, and no \
    password, PIN, token or address.</p>
    <h2>What was found</h2>
    <dl>
    \(findings.map(Self.row).joined(separator: "\n"))
    </dl>
    <h2>The files</h2>
    <ul>
    \(entries.map(Self.item).joined(separator: "\n"))
    </ul>
    </body>
    </html>

    """
  }

  private static func row(_ finding: Diagnosis.Finding) -> String {
    let (mark, look, word) =
      switch finding.isGood {
      case true: ("✓", "good", "good")
      case false: ("✗", "bad", "bad")
      case nil: ("·", "", "")
      }
    return
      "<span class=\"\(look)\" role=\"img\" aria-label=\"\(word)\">\(mark)</span><dt>\(escaped(finding.subject))</dt><dd>\(escaped(finding.found))</dd>"
  }

  private static func item(_ entry: Diagnosis.Entry) -> String {
    let name = escaped(entry.name)
    let state =
      entry.missing.map { "<span class=\"bad\">not there: \(code(in: escaped($0)))</span>" }
      ?? escaped(ByteCount.text(Int64(entry.bytes.count)))
    return
      "<li><a href=\"\(name)\">\(name)</a>: \(escaped(entry.about))<br><small>\(state)</small></li>"
  }

  /// Commands stand between backticks.
  private static func code(in text: String) -> String {
    text.split(separator: "`", omittingEmptySubsequences: false).enumerated()
      .map { $0.offset % 2 == 1 ? "<code>\($0.element)</code>" : String($0.element) }.joined()
  }

  static func escaped(_ text: String) -> String {
    var escaped = ""
    for character in text.unicodeScalars {
      switch character {
      case "&": escaped += "&amp;"
      case "<": escaped += "&lt;"
      case ">": escaped += "&gt;"
      case "\"": escaped += "&quot;"
      case "'": escaped += "&#39;"
      default: escaped.unicodeScalars.append(character)
      }
    }
    return escaped
  }
}
