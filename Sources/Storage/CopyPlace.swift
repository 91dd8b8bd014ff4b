public import Migrations

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Where copies of snapshots are kept beside the device's own disk.
public struct CopyPlace: Codable, Sendable, Equatable {
  public enum Kind: Codable, Sendable, Equatable {
    /// A stick, or another file system, by its label.
    case label(String)
    /// A folder, such as the mount point of a network share.
    case path(String)
  }

  public var kind: Kind
  /// For a path: only when a file system is mounted exactly there.
  public var requiresMount: Bool
  public var retention: SnapshotStore.Retention
  /// For one snapshot; what takes longer is ended.
  public var timeoutSeconds: Int

  public init(
    _ kind: Kind, requiresMount: Bool = true, retention: SnapshotStore.Retention,
    timeoutSeconds: Int = 600
  ) {
    self.kind = kind
    self.requiresMount = requiresMount
    self.retention = retention
    self.timeoutSeconds = timeoutSeconds
  }

  /// How people and requests call it: the label, or the path.
  public var name: String {
    switch kind {
    case .label(let label): label
    case .path(let path): path
    }
  }

  /// The folder that chock makes for itself in it.
  public static let folder = "chock-snapshots"

  /// The same from a name; nil when it is neither a path nor a label that a file system can have.
  public static func kind(named name: String) -> Kind? {
    if name.hasPrefix("/") { return name.contains("\0") ? nil : .path(name) }
    let isLabel = (1...255).contains(name.utf8.count) && !name.contains("/") && !name.contains("\0")
    return isLabel && name != "." && name != ".." ? .label(name) : nil
  }

  /// As udev names the link of a label: other characters than these as `\x20`.
  static func linkName(_ label: String) -> String {
    var name = ""
    for character in label.unicodeScalars {
      let isPlain =
        !character.isASCII || character.properties.isAlphabetic
        || ("0"..."9").contains(character) || "#+-.:=@_".unicodeScalars.contains(character)
      if isPlain {
        name.unicodeScalars.append(character)
      } else {
        let digits = String(character.value, radix: 16)
        name += "\\x" + (digits.count < 2 ? "0" : "") + digits
      }
    }
    return name
  }

  /// Finds it, and mounts it where that is needed: for this thread alone, and until the result is let go.
  ///
  /// - Parameter mountPoint: where, if it has to be; made for it.
  /// - Throws: `.copyPlace` when it is not there, or cannot be used.
  public func open(mountPoint: String, isReadOnly: Bool) throws(Failure) -> OpenedPlace {
    switch kind {
    case .path(let path):
      guard FileSystem.target(path)?.isDirectory == true else {
        throw missing("There is no folder \(path)", at: path)
      }
      // What mounts on demand does it when somebody looks into it.
      _ = try? FileSystem.names(in: path)
      let canonical = FileSystem.canonical(path)
      let isMounted = Mounted.all().contains { $0.path == canonical && $0.type != "autofs" }
      guard isMounted || !requiresMount else {
        throw missing("Nothing is mounted at \(path)", at: path)
      }
      return OpenedPlace(root: path, mount: nil)
    case .label(let label):
      let link = "/dev/disk/by-label/\(Self.linkName(label))"
      guard let device = FileSystem.linkTarget(link) else {
        throw missing("No stick with the label \(label) is there", at: nil)
      }
      let number = try Self.number(of: device, link)
      if let there = Mounted.all().last(where: {
        $0.root == "/" && ($0.device == number || $0.source == device)
      }) {
        return OpenedPlace(root: there.path, mount: nil)
      }
      let mount = try PrivateMount(device, at: mountPoint, isReadOnly: isReadOnly)
      return OpenedPlace(root: mount.path, mount: mount)
    }
  }

  /// `MAJOR:MINOR` of a block device; nil where the device cannot be seen, as in a service with `PrivateDevices=`.
  /// Where it is mounted can be seen there all the same.
  private static func number(of device: String, _ link: String) throws(Failure) -> String? {
    var info = stat()
    guard stat(device, &info) == 0 else {
      let name = device.split(separator: "/").last ?? ""
      let bytes = (try? FileSystem.read("/sys/class/block/\(name)/dev")) ?? nil
      return bytes.map { String(decoding: $0, as: UTF8.self).split(separator: "\n").first ?? "" }
        .map(String.init)
    }
    guard info.st_mode & S_IFMT == S_IFBLK else {
      throw Failure(
        .copyPlace, "\(link) is no stick: copies of snapshots are not kept there now.", file: link,
        howToClear: "Give the stick that is meant this label.")
    }
    let number = UInt64(info.st_rdev)
    // As the C library takes them apart (makedev(3)).
    let major = number >> 8 & 0xfff | number >> 32 & 0xffff_f000
    let minor = number & 0xff | number >> 12 & 0xffff_ff00
    return "\(major):\(minor)"
  }

  private func missing(_ words: String, at path: String?) -> Failure {
    Failure(
      .copyPlace, "\(words): copies of snapshots are not kept there now.", file: path,
      howToClear: "Put it in, or mount it; `chock snapshots copy` then copies at once.")
  }
}

/// A place that can be used; what was mounted for it is unmounted with it.
public final class OpenedPlace {
  let root: String
  private let mount: PrivateMount?

  init(root: String, mount: PrivateMount?) {
    self.root = root
    self.mount = mount
  }

  /// chock's folder in it.
  ///
  /// - Parameter isMade: make it where there is none.
  /// - Throws: `.copyPlace`.
  public func folder(isMade: Bool) throws(Failure) -> PlaceFolder {
    try PlaceFolder(CopyPlace.folder, in: root, isMade: isMade, holding: self)
  }
}
