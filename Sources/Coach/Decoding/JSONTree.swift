import FoundationEssentials

/// A JSON document of which only some places are wanted.
package enum JSONTree: Decodable, Hashable {
  case null
  case flag(Bool)
  case number(Double)
  case text(String)
  case array([JSONTree])
  case object([String: JSONTree])

  /// Nil when the bytes are no JSON.
  package init?(_ bytes: [UInt8]) {
    guard let tree = try? JSONDecoder().decode(Self.self, from: Data(bytes)) else { return nil }
    self = tree
  }

  package init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let flag = try? container.decode(Bool.self) {
      self = .flag(flag)
    } else if let text = try? container.decode(String.self) {
      self = .text(text)
    } else if let number = try? container.decode(Double.self) {
      self = .number(number)
    } else if let object = try? container.decode([String: JSONTree].self) {
      self = .object(object)
    } else if let array = try? container.decode([JSONTree].self) {
      self = .array(array)
    } else {
      // A number that no Double holds.
      self = .null
    }
  }
}

/// A place in a JSON document (RFC 6901), in which one `*` stands for every key of an object.
package struct JSONPointer: Hashable {
  let text: String
  private let components: [String]

  static let wildcard = "*"

  /// Nil when the text is no pointer, or has more than one `*`.
  package init?(_ text: String) {
    guard text.isEmpty || text.hasPrefix("/") else { return nil }
    self.text = text
    var components: [String] = []
    for component in text.split(separator: "/", omittingEmptySubsequences: false).dropFirst() {
      // RFC 6901, 3: a tilde is written ~0 and a slash ~1; no other use of a tilde is a pointer.
      let pieces = component.split(separator: "~", omittingEmptySubsequences: false)
      guard pieces.dropFirst().allSatisfy({ $0.hasPrefix("0") || $0.hasPrefix("1") }) else {
        return nil
      }
      components.append(
        pieces.dropFirst().reduce(String(pieces.first ?? "")) {
          $0 + ($1.hasPrefix("0") ? "~" : "/") + $1.dropFirst()
        })
    }
    guard components.count(where: { $0 == Self.wildcard }) <= 1 else { return nil }
    self.components = components
  }

  var hasWildcard: Bool { components.contains(Self.wildcard) }

  /// What it leads to, in the order of the keys that `*` stood for (nil without `*`). The value is nil where
  /// it leads nowhere.
  package func matches(in tree: JSONTree) -> [(key: String?, value: JSONTree?)] {
    guard let index = components.firstIndex(of: Self.wildcard) else {
      return [(nil, Self.value(of: tree, at: components[...]))]
    }
    guard case .object(let members) = Self.value(of: tree, at: components[..<index]) else {
      return []
    }
    return members.sorted { $0.key < $1.key }.map {
      ($0.key, Self.value(of: $0.value, at: components[(index + 1)...]))
    }
  }

  private static func value(of tree: JSONTree, at components: ArraySlice<String>) -> JSONTree? {
    var tree = tree
    for component in components {
      switch tree {
      case .object(let members):
        guard let member = members[component] else { return nil }
        tree = member
      case .array(let items):
        // Only `0`, `1`, ... are indices, not `+1` or `01`.
        guard let index = Int(component), items.indices.contains(index), String(index) == component
        else { return nil }
        tree = items[index]
      case .null, .flag, .number, .text: return nil
      }
    }
    return tree
  }
}
