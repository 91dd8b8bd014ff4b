/// The candidate that somebody who typed `text` most likely meant, or nil when none is near.
///
/// Near means: at most a third of the longer word's letters differ, or two of them in a short word.
/// Case does not count, and two swapped neighbours count as one slip (optimal string alignment
/// distance). The first of equally near candidates wins.
public func nearest(to text: String, among candidates: some Sequence<String>) -> String? {
  let wanted = Array(text.lowercased())
  var best: (candidate: String, distance: Int)?
  for candidate in candidates {
    let letters = Array(candidate.lowercased())
    let distance = editDistance(wanted, letters)
    let limit = max(2, max(wanted.count, letters.count) / 3)
    // Replacing every letter is no likeness, however short the word.
    guard distance <= limit, distance < max(wanted.count, letters.count) else { continue }
    if best.map({ distance < $0.distance }) ?? true { best = (candidate, distance) }
  }
  return best?.candidate
}

/// " Did you mean X?" when there is a near candidate, else nothing; made to end a message.
func suggestion(for text: String, among candidates: some Sequence<String>) -> String {
  nearest(to: text, among: candidates).map { " Did you mean \($0)?" } ?? ""
}

private func editDistance(_ a: [Character], _ b: [Character]) -> Int {
  var beforePrevious: [Int] = []
  var previous = Array(0...b.count)
  for i in a.indices {
    var row = [i + 1]
    row.reserveCapacity(b.count + 1)
    for j in b.indices {
      var cost = min(row[j] + 1, previous[j + 1] + 1, previous[j] + (a[i] == b[j] ? 0 : 1))
      if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
        cost = min(cost, beforePrevious[j - 1] + 1)
      }
      row.append(cost)
    }
    beforePrevious = previous
    previous = row
  }
  return previous[b.count]
}
