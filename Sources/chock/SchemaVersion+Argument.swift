public import ArgumentParser
public import Migrations

extension SchemaVersion: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}
