import ArgumentParser
import ControlServer
import Migrations
import Updating

struct PairCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pair",
    abstract: "Shows a code with which one phone, tablet or browser is signed in.",
    discussion: """
      The code can be used once, for two minutes. Open the panel on the device and enter it. The first owner \
      chooses the owner's PIN there. A new code also ends the lock-out after too many wrong ones.
      """)

  @OptionGroup var globals: Globals
  @Option(help: "What the device may do: viewer, owner, technician or developer.")
  var role = Role.owner

  func validate() throws {
    guard role != .controller else {
      throw ValidationError("A program gets a token: chock token create NAME.")
    }
  }

  func run() async throws {
    try await globals.session { session throws(Failure) in
      let document = try await session.daemonEngine().makeCode(for: role)
      let code = "\(document.code.prefix(4)) \(document.code.dropFirst(4))"
      var lines = [
        session.output.bold("Code: \(code)"), "For two minutes, and one device (\(role.rawValue)).",
      ]
      lines += document.addresses.map { "Open \($0)" }
      let isOpen = document.addresses.contains { address in
        !["http://127.", "http://[::1]"].contains { address.hasPrefix($0) }
      }
      if !isOpen { lines.append("Only this machine reaches that: see server.listen.") }
      try session.output.result(document, lines)
      return 0
    }
  }
}

struct DevicesCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "devices", abstract: "The paired devices, and taking them out.",
    subcommands: [List.self, Remove.self], defaultSubcommand: List.self)

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The paired devices.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let devices = try await session.lookingEngine().devices()
        try session.output.result(
          DevicesDocument(devices: devices),
          devices.isEmpty ? ["No device is paired."] : devices.map(\.line))
        return 0
      }
    }
  }

  struct Remove: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "remove", abstract: "Signs a device out for good.")
    @OptionGroup var globals: Globals
    @Argument(help: "The id, from `chock devices`.") var id: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.lookingEngine().removeDevice(id)
        try session.output.result(Revoked(id: id), ["The device \(id) is signed out."])
        return 0
      }
    }
  }
}

struct TokenCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "token", abstract: "Tokens for programs, such as the coach's controller.",
    subcommands: [Create.self, List.self, Revoke.self])

  struct Create: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "create", abstract: "Makes a token and shows it this once.",
      discussion: """
        The program sends it as `Authorization: Bearer TOKEN`. A controller reads, and says what the coach is \
        doing.
        """)
    @OptionGroup var globals: Globals
    @Argument(help: "What the program is called in the audit.") var name: String
    @Option(help: "controller, viewer, owner, technician or developer.") var role = Role.controller

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let token = try await session.lookingEngine().makeToken(name, role: role)
        try session.output.result(
          token,
          [token.token, "Keep it now: it is not shown again. \(name) is a \(role.rawValue)."])
        return 0
      }
    }
  }

  struct List: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "list", abstract: "The tokens, without their secrets.")
    @OptionGroup var globals: Globals

    func run() async throws {
      try await globals.session { session throws(Failure) in
        let tokens = try await session.lookingEngine().tokens()
        try session.output.result(
          TokensDocument(tokens: tokens), tokens.isEmpty ? ["No token."] : tokens.map(\.line))
        return 0
      }
    }
  }

  struct Revoke: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "revoke", abstract: "Makes a token worth nothing.")
    @OptionGroup var globals: Globals
    @Argument(help: "The id, from `chock token list`.") var id: String

    func run() async throws {
      try await globals.session { session throws(Failure) in
        try await session.lookingEngine().removeToken(id)
        try session.output.result(Revoked(id: id), ["The token \(id) is worth nothing any more."])
        return 0
      }
    }
  }
}

private struct Revoked: Encodable {
  var schema = "chock.REVOKED/1"
  var id: String
}

extension CredentialDocument {
  fileprivate var line: String {
    "\(id)  \(name)  \(role.rawValue)  since \(pairedAt)"
      + (lastSeen.map { "  last seen \($0)" } ?? "")
  }
}
