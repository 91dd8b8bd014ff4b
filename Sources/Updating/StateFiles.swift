/// What chock keeps in its state folder, by name.
public enum StateFiles {
  /// `stick` is where a worker mounts one for itself.
  static let folders = ["snapshots", "work", "rescue", "exports", "stick"]

  /// The lock holds nothing, and has to stay the same file.
  static let files = [
    "state.db", "run.json", "last-words.json", "access.json", "schedule.json", "notices.json",
    "event-numbers", "starts", "safe-mode.json", "recovery-mode.json", "error-watch.json",
    "copies.json", "locks.json", FactoryState.fileName,
  ]

  /// The names of all of them, in no order.
  public static let all = Set(folders + files + ["lock"])

  /// Whether chock removes or replaces what has this name: a path below the state folder.
  public static func mayBeOwn(_ path: String) -> Bool {
    let name = path.prefix { $0 != "/" }
    guard name == path else { return folders.contains(String(name)) }
    return folders.contains(path) || (files + ["lock"]).contains(where: path.hasPrefix)
  }

  /// Whether a name in the state folder is one of these files, or of what SQLite and chock keep beside one.
  static func isFile(_ name: String) -> Bool {
    files.contains { file in
      guard name.hasPrefix(file) else { return false }
      let rest = name.dropFirst(file.count)
      return ["", "-wal", "-shm", "-journal", ".partial"].contains(rest)
        || rest.hasPrefix(".damaged")
    }
  }
}
