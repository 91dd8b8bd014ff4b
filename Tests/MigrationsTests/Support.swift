import FoundationEssentials
import Migrations
import Testing

/// Runs `body` with a new folder that holds these files, and removes it afterwards.
func withFolder(
  _ files: [String: String], _ body: (String) throws -> Void
) throws {
  let folder = FileManager.default.temporaryDirectory
    .appending(path: "chock-\(UUID().uuidString)", directoryHint: .isDirectory)
  try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  defer { try? FileManager.default.removeItem(at: folder) }
  for (name, text) in files {
    try Data(text.utf8).write(to: folder.appending(path: name))
  }
  try body(folder.path)
}

/// The failure that `body` throws; records an issue when it throws none.
func failure<Value>(_ body: () throws -> Value) -> Failure {
  do {
    _ = try body()
  } catch let failure as Failure {
    return failure
  } catch {
    Issue.record("threw \(error)")
    return Failure(.usage, "")
  }
  Issue.record("threw nothing")
  return Failure(.usage, "")
}

func migration(_ text: String, _ fileName: String = "0004_x.sql") throws -> Migration {
  try Migration(fileName: fileName, path: "/m/\(fileName)", text: text)
}

func version(_ text: String) throws -> SchemaVersion {
  try #require(SchemaVersion(text))
}
