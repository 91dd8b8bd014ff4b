// Nothing to call: the library works by being preloaded. SwiftPM wants a header of every C target.
