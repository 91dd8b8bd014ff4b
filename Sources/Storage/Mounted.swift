import CLinux
import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// A file system where it is mounted, as this process sees it: a line of /proc/self/mountinfo
/// (proc_pid_mountinfo(5)).
struct Mounted: Sendable, Equatable {
  var path: String
  /// Which of its folders is mounted; `/`: the whole.
  var root: String
  /// `MAJOR:MINOR`
  var device: String
  var type: String
  var source: String

  /// In the order in which they were mounted.
  static func all() -> [Mounted] {
    let bytes = (try? FileSystem.read("/proc/self/mountinfo")) ?? nil
    return String(decoding: bytes ?? [], as: UTF8.self).split(separator: "\n").compactMap(
      Mounted.init)
  }

  init?(_ line: Substring) {
    let words = line.split(separator: " ").map(Self.text)
    // How many optional fields there are before the hyphen differs.
    guard words.count > 4, let hyphen = words.dropFirst(6).firstIndex(of: "-"),
      words.count > hyphen + 2
    else { return nil }
    device = words[2]
    root = words[3]
    path = words[4]
    type = words[hyphen + 1]
    source = words[hyphen + 2]
  }

  /// The kernel writes these four in octal.
  private static func text(_ word: Substring) -> String {
    let pairs = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
    return pairs.reduce(String(word)) { text, pair in
      text.split(separator: pair.0, omittingEmptySubsequences: false).joined(separator: pair.1)
    }
  }
}

/// A file system that this process has mounted for itself alone. Whatever becomes of the process, nothing stays
/// mounted.
final class PrivateMount {
  let path: String

  /// What sticks have. What else there is in the kernel is not let near a stick that anybody may have made.
  private static let types = ["vfat", "exfat", "ext4"]

  /// - Parameters:
  ///   - device: the block device.
  ///   - path: where; made for it and removed with it.
  /// - Throws: `.copyPlace`.
  init(_ device: String, at path: String, isReadOnly: Bool) throws(Failure) {
    self.path = path
    guard chock_private_mounts() == 0 else { throw Self.refusal(device, errno) }
    try FileSystem.makeFolder(path)
    var number: Int32 = 0
    for type in Self.types {
      let flags =
        UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC) | UInt(MS_NOATIME)
        | (isReadOnly ? UInt(MS_RDONLY) : 0)
      // FAT knows no owners: what lies there is for us alone as long as it is mounted here.
      let data = type == "ext4" ? "" : "uid=\(geteuid()),gid=\(getegid()),umask=077"
      guard mount(device, path, type, flags, data) != 0 else { return }
      // Another file system than this one, or one that the kernel does not know.
      guard [EINVAL, ENODEV].contains(errno) else {
        number = errno
        break
      }
      if number == 0 { number = EINVAL }
    }
    rmdir(path)
    throw Self.refusal(device, number)
  }

  private static func refusal(_ device: String, _ number: Int32) -> Failure {
    switch number {
    case EPERM:
      Failure(
        .copyPlace, "chock may not mount \(device).", file: device,
        howToClear: "Let the system mount it (a line in /etc/fstab), or run chock as root.")
    case EINVAL:
      Failure(
        .copyPlace, "\(device) has no file system that chock mounts (FAT, exFAT, ext4).",
        file: device,
        howToClear: "Format the stick, or let the system mount it and name its folder as path.")
    case EACCES, EROFS:
      Failure(
        .copyPlace, "\(device) can only be read.", file: device,
        howToClear: "Look for its write protection.")
    default:
      Failure(
        .copyPlace, "\(device) could not be mounted: \(String(cString: strerror(number))).",
        file: device, howToClear: "Take the stick out and put it in again; or use another one.")
    }
  }

  deinit {
    umount2(path, Int32(MNT_DETACH))
    rmdir(path)
  }
}
