import Migrations
import Storage
import TOMLKit
import Updating

/// `[[snapshots.copies]]`: where snapshots are kept, too.
enum CopiesConfig {
  /// One as it is written: what it does not say about retention is as in `[snapshots]`.
  struct Place {
    var kind: CopyPlace.Kind
    var requiresMount: Bool
    var days: Int?
    var keepAtLeast: Int?
    var maxTotalBytes: Int?
    var timeoutSeconds: Int
    var place: Failure
  }

  private static let keys = [
    "label", "path", "require_mount", "backup_retention_days", "keep_at_least", "max_total_bytes",
    "timeout_seconds",
  ]

  static func read(
    _ value: any TOMLValueConvertible, in text: String, file: String
  ) throws(Failure) -> [Place] {
    var places: [Place] = []
    for row in try CoachConfig.Row.all(value, .copies, in: text, file: file) {
      try row.check(keys)
      places.append(try read(row, row.table, row.place))
    }
    let names = places.map { "\($0.kind)" }
    if let twice = names.indices.first(where: { names[..<$0].contains(names[$0]) }) {
      throw places[twice].place.saying(
        "The same place is there twice.", "Name each place once.")
    }
    return places
  }

  private static func read(
    _ row: CoachConfig.Row, _ table: TOMLTable, _ place: Failure
  ) throws(Failure) -> Place {
    guard (table["label"] == nil) != (table["path"] == nil) else {
      throw place.saying(
        "A place for copies is a label or a path.",
        "Such as label = \"COACH-COPY\", or path = \"/mnt/nas\".")
    }
    let isLabel = table["label"] != nil
    let name = try row.text(isLabel ? "label" : "path")
    let kind = CopyPlace.kind(named: name)
    guard let kind, name.hasPrefix("/") != isLabel else {
      throw place.saying(
        isLabel ? "\(name) is no label." : "\(name) is not an absolute path.",
        isLabel ? "Such as \"COACH-COPY\"; a folder is a path." : "Begin it with /.")
    }
    guard !isLabel || table["require_mount"] == nil else {
      throw place.saying("require_mount is for a path.", "Remove it.")
    }
    return Place(
      kind: kind, requiresMount: try row.flag("require_mount", or: true),
      days: try number("backup_retention_days", 0...36_500, table, place),
      keepAtLeast: try number("keep_at_least", 1...10_000, table, place),
      maxTotalBytes: try number("max_total_bytes", 0...Int.max, table, place),
      timeoutSeconds: try number("timeout_seconds", 1...86_400, table, place) ?? 600, place: place)
  }

  private static func number(
    _ key: String, _ range: ClosedRange<Int>, _ table: TOMLTable, _ place: Failure
  ) throws(Failure) -> Int? {
    guard let value = table[key] else { return nil }
    guard value.type == .int, let number = value.int, range.contains(number) else {
      throw place.saying(
        "\(Config.List.copies.rawValue).\(key) is no number from \(range.lowerBound)"
          + (range.upperBound == .max ? " on." : " to \(range.upperBound)."),
        "Write \(key) = NUMBER.")
    }
    return number
  }
}

extension Config {
  /// - Throws: `.badConfig` for a place in chock's own folder.
  mutating func readCopies(_ places: [CopiesConfig.Place]) throws(Failure) {
    settings.copies = places.map { place in
      var retention = settings.retention
      if let days = place.days { retention.days = days }
      if let least = place.keepAtLeast { retention.keepAtLeast = least }
      if let most = place.maxTotalBytes { retention.maxTotalBytes = Int64(most) }
      return CopyPlace(
        place.kind, requiresMount: place.requiresMount, retention: retention,
        timeoutSeconds: place.timeoutSeconds)
    }
    let state = FileSystem.canonical(settings.stateDirectory)
    for place in places {
      guard case .path(let path) = place.kind else { continue }
      let folder = FileSystem.canonical(path)
      guard folder != state, !folder.hasPrefix(state + "/") else {
        throw place.place.saying(
          "\(path) is in chock's own folder: that is no other place.",
          "Name a folder on another disk, or a stick by its label.")
      }
    }
  }
}
