import Coach
import Glibc

/// Files in which the kernel says how things are, such as the Raspberry Pi's under-voltage alarm.
struct FileSource: PollingSource {
  private let profile: Profile
  /// By path.
  private var spoken: [String: Spoken] = [:]

  /// sysfs gives a page at most.
  private static let limit = 4096

  init(_ configuration: SourceConfiguration.Files) {
    profile = configuration.profile
  }

  /// Reads each file that matches a pattern; each is a source by itself. Of one that said something last time and
  /// does no more, there is no value.
  mutating func poll() async -> Poll {
    var found: [String: [Report]] = [:]
    var problems: [String] = []
    for pattern in profile.files {
      for path in Self.paths(pattern) {
        do throws(SmallFile.Failure) {
          let text = String(
            decoding: try SmallFile.read(path, limit: Self.limit).bytes, as: UTF8.self)
          found[path, default: []] += profile.reports(
            ofFile: text, at: pattern, path: path, from: path)
        } catch {
          problems.append(error.words)
        }
      }
    }
    // Kernels differ: a profile may name several files of which each machine has one.
    if found.isEmpty, problems.isEmpty {
      problems = profile.files.map { "There is no \($0)." }
    }
    var reports: [Report] = []
    for path in Set(found.keys).union(spoken.keys).sorted() {
      reports += spoken[path, default: Spoken()].complete(found[path] ?? [], source: path)
      if found[path] == nil { spoken[path] = nil }
    }
    return Poll(
      reports: reports,
      state: SourceState(
        source: profile.name, isWell: problems.isEmpty,
        words: problems.isEmpty ? "Reads its files." : problems.joined(separator: " "),
        howToClear: problems.isEmpty
          ? nil : "On a machine that has no such files, leave the profile out."))
  }

  /// The paths that match, sorted (glob(3)).
  private static func paths(_ pattern: String) -> [String] {
    var result = glob_t()
    defer { globfree(&result) }
    guard glob(pattern, 0, nil, &result) == 0 else { return [] }
    return (0..<Int(result.gl_pathc)).compactMap { result.gl_pathv[$0].map { String(cString: $0) } }
  }
}
