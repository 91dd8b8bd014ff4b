import Glibc
import Storage

/// What the kernel tells of this machine, without the names of people and files.
enum Machine {
  private static func read(_ path: String) -> String? {
    ((try? FileSystem.read(path, limit: 1 << 20)) ?? nil).map {
      String(decoding: $0.filter { $0 != 0 }, as: UTF8.self)
    }
  }

  private static func text<T>(_ tuple: T) -> String {
    withUnsafeBytes(of: tuple) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
  }

  /// As it can stand in the name of a file; `coach` where there is none.
  static var hostName: String {
    var info = utsname()
    uname(&info)
    let name = text(info.nodename).prefix { $0 != "." }
      .filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-") }
    return name.isEmpty ? "coach" : String(name.prefix(40))
  }

  static var kernel: (release: String, machine: String) {
    var info = utsname()
    uname(&info)
    return ("\(text(info.sysname)) \(text(info.release))", text(info.machine))
  }

  /// Such as `Debian GNU/Linux 12 (bookworm)` (os-release(5)).
  static var system: String? {
    let lines = (read("/etc/os-release") ?? read("/usr/lib/os-release"))?.split(separator: "\n")
    return lines?.first { $0.hasPrefix("PRETTY_NAME=") }
      .map { $0.dropFirst("PRETTY_NAME=".count).filter { $0 != "\"" } }
  }

  /// Of the board, such as `Raspberry Pi 4 Model B Rev 1.4`.
  static var model: String? { read("/proc/device-tree/model") }

  static var uptimeSeconds: Double? {
    read("/proc/uptime")?.split(separator: " ").first.flatMap { Double($0) }
  }

  static var memoryBytes: Int64? {
    read("/proc/meminfo")?.split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
      .flatMap { Int64($0.filter { $0.isASCII && $0.isNumber }) }.map { $0 * 1024 }
  }

  /// Such as `CET`.
  static var timeZone: String? {
    var now = time(nil)
    var parts = tm()
    localtime_r(&now, &parts)
    return parts.tm_zone.map { String(cString: $0) }
  }

  // MARK: Disks

  /// The file system that holds a folder.
  struct Disk: Encodable, Sendable {
    /// What chock keeps on it.
    var use: String
    var availableBytes: Int64
    var totalBytes: Int64
    var availableFiles: Int64
    var isReadOnly: Bool
    var fileSystem: String?
    /// Such as `/dev/mmcblk0p2`; nil for what is no device, as a share of a network.
    var device: String?
    /// Those that say how it writes; no paths and names.
    var options: [String]
  }

  static func mount(of path: String) -> (device: String, fileSystem: String, options: [Substring])?
  {
    let place = FileSystem.canonical(path) + "/"
    var best: (length: Int, device: String, fileSystem: String, options: [Substring])?
    // proc_pid_mountinfo(5): the mount point, its options, ..., a dash, type, device, options.
    for line in (read("/proc/self/mountinfo") ?? "").split(separator: "\n") {
      let halves = line.split(separator: " - ", maxSplits: 1)
      guard halves.count == 2 else { continue }
      let (left, right) = (halves[0].split(separator: " "), halves[1].split(separator: " "))
      guard left.count > 5, right.count > 2 else { continue }
      let point = unescaped(left[4])
      // A later mount hides an earlier one at the same place.
      guard point == "/" || place.hasPrefix(point + "/"), point.utf8.count >= best?.length ?? 0
      else { continue }
      let options = left[5].split(separator: ",") + right[2].split(separator: ",")
      best = (point.utf8.count, String(right[1]), String(right[0]), options)
    }
    return best.map { ($0.device, $0.fileSystem, $0.options) }
  }

  private static func unescaped(_ text: Substring) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
    return pairs.reduce(String(text)) { $0.replacing($1.0, with: $1.1) }
  }

  // MARK: The kernel's log

  /// What is said of storage: cards, disks, their file systems.
  private static let marks = [
    "mmc", "ext4", "ext3", "f2fs", "btrfs", "fat-fs", "exfat", "i/o error", "blk_update", "nvme",
    "jbd2", "usb-storage", "uas ", "remount", "critical medium", "squashfs", "overlayfs",
  ]
  private static let mostLines = 3000

  /// The lines of the kernel's log that are about storage (<https://www.kernel.org/doc/Documentation/ABI/testing/dev-kmsg>).
  static func kernelLines() throws(Diagnosis.Missing) -> [String] {
    let file = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)
    guard file >= 0 else { throw unreadable(errno) }
    defer { close(file) }
    var lines: [String] = []
    var buffer = [UInt8](repeating: 0, count: 8192)
    while true {
      let count = Glibc.read(file, &buffer, buffer.count)
      if count < 0, errno == EINTR || errno == EPIPE || errno == EINVAL { continue }
      if count < 0, errno == EAGAIN { break }
      guard count > 0 else {
        if count < 0, lines.isEmpty { throw unreadable(errno) }
        break
      }
      if let line = kernelLine(String(decoding: buffer[..<count], as: UTF8.self)) {
        lines.append(line)
      }
    }
    return lines.suffix(mostLines)
  }

  private static func unreadable(_ number: Int32) -> Diagnosis.Missing {
    Diagnosis.Missing(
      "The kernel's log is not readable for this user (\(String(cString: strerror(number)))): `sudo chock diagnose`."
    )
  }

  /// `6,1234,5678901,-;message`; nil for a line that is about something else.
  static func kernelLine(_ record: String) -> String? {
    let halves = record.prefix { $0 != "\n" }.split(separator: ";", maxSplits: 1)
    guard halves.count == 2 else { return nil }
    let fields = halves[0].split(separator: ",")
    let message = halves[1]
    let lower = message.lowercased()
    guard fields.count > 2, let microseconds = Int64(fields[2]),
      marks.contains(where: lower.contains) || isDisk(lower)
    else { return nil }
    let seconds = Double(microseconds / 1000) / 1000
    return "[\(seconds)] \(withoutNames(String(message)))"
  }

  /// `sd 0:0:0:0: [sda] ...`
  private static func isDisk(_ message: String) -> Bool {
    message.hasPrefix("sd ") || message.contains("[sd") || message.contains(" sd")
      || message.contains("dev sd")
  }

  /// ext4 names the file that an error is about.
  private static func withoutNames(_ message: String) -> String {
    let marks = [" path ", " name=", " name '", " last mounted on", " comm "]
    let end = marks.compactMap { message.firstRange(of: $0)?.lowerBound }.min()
    let kept = end.map { "\(message[..<$0]) …" } ?? message
    return kept.split(separator: " ", omittingEmptySubsequences: false).map { word in
      let isName = word.contains("/") && !word.hasPrefix("/dev/") && !word.hasPrefix("I/O")
      return isName ? "…" : String(word)
    }.joined(separator: " ")
  }
}

extension Machine.Disk {
  private static let plainOptions: Set<Substring> = [
    "rw", "ro", "sync", "async", "dirsync", "noatime", "relatime", "nodiratime", "strictatime",
    "lazytime", "nosuid", "nodev", "noexec", "discard", "nodiscard", "barrier", "nobarrier",
    "journal_checksum", "noload", "norecovery", "flush", "emergency_ro", "shutdown",
  ]
  private static let numbered = [
    "data=", "commit=", "errors=", "barrier=", "stripe=", "vers=", "fsync_mode=", "mode=",
  ]

  /// Nil when nothing of the path is there.
  init?(_ use: String, at path: String) {
    var folder = path
    var info = statvfs()
    while statvfs(folder, &info) != 0 {
      guard folder != "/", !folder.isEmpty, folder != "." else { return nil }
      folder = FileSystem.parent(folder)
    }
    self.use = use
    availableBytes = Int64(info.f_bavail) * Int64(info.f_frsize)
    totalBytes = Int64(info.f_blocks) * Int64(info.f_frsize)
    availableFiles = Int64(clamping: info.f_favail)
    // ST_RDONLY of <sys/statvfs.h>.
    isReadOnly = info.f_flag & 1 != 0
    let mount = Machine.mount(of: folder)
    fileSystem = mount?.fileSystem
    device = mount.flatMap { mount in
      let name = mount.device.dropFirst("/dev/".count)
      return mount.device.hasPrefix("/dev/") && Cleaner.isPlain(name, besides: "-_")
        ? mount.device : nil
    }
    var options: [String] = []
    for option in mount?.options ?? [] where !options.contains(String(option)) {
      let isNumbered = Self.numbered.contains { mark in
        option.hasPrefix(mark) && Cleaner.isPlain(option.dropFirst(mark.count), besides: ".-")
      }
      if Self.plainOptions.contains(option) || isNumbered { options.append(String(option)) }
    }
    self.options = options
  }
}
