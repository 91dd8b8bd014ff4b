public import ArgumentParser
public import Updating

extension Role: ExpressibleByArgument {}
