import Foundation

/// Where segments start: spread evenly, or one every stride as demucs does.
public enum Placement: String {
    case even
    case demucs
}

/// Where segments start, in samples; `starts` of separate.py.
public func segmentStarts(length: Int, segment: Int, overlap: Double, placement: Placement) -> [Int] {
    let stride = max(Int((1 - overlap) * Double(segment)), 1)
    if placement == .demucs {
        return Array(Swift.stride(from: 0, to: length, by: stride))
    }
    let steps = (max(length - segment, 0) + stride - 1) / stride
    if steps == 0 {
        return [0]
    }
    return (0...steps).map { step in
        // Python rounds halves to even.
        Int((Double(step * (length - segment)) / Double(steps)).rounded(.toNearestOrEven))
    }
}

/// Weights that rise to 1 in the middle of a segment.
public func triangle(_ length: Int) -> [Float] {
    let half = length / 2
    let peak = Float(max(half, length - half))
    return (0..<length).map { index in
        Float(index < half ? index + 1 : length - index) / peak
    }
}

/// Mean, standard deviation and length of a song, block by block.
///
/// Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1982.
public struct LevelMeter {
    public private(set) var mean = 0.0
    public private(set) var length = 0
    private var squares = 0.0

    public init() {}

    public var deviation: Double {
        (squares / Double(max(length - 1, 1))).squareRoot()
    }

    /// Adds a block, `[channels][samples]`.
    public mutating func add(_ block: [[Float]]) {
        guard let first = block.first, !first.isEmpty else { return }
        let size = first.count
        var mono = [Double](repeating: 0, count: size)
        for channel in block {
            for index in 0..<size {
                mono[index] += Double(channel[index])
            }
        }
        let blockMean = mono.reduce(0, +) / Double(size) / Double(block.count)
        var blockSquares = 0.0
        for value in mono {
            let distance = value / Double(block.count) - blockMean
            blockSquares += distance * distance
        }
        let difference = blockMean - mean
        let count = Double(length)
        let total = Double(length + size)
        squares += blockSquares + difference * difference * count * Double(size) / total
        mean += difference * Double(size) / total
        length += size
    }
}

/// Sums weighted segments; samples leave it as soon as no later segment changes them.
///
/// Memory is that of one segment, however long the song is.
public struct OverlapAdd {
    /// Where each segment starts in the song.
    public let starts: [Int]
    private let segment: Int
    private let length: Int
    private let weight: [Float]
    private var total: [[Float]]
    private var weights: [Float]
    private var next = 0

    /// `rows` is the number of stems times that of channels; `length` that of the song in samples.
    public init(rows: Int, segment: Int, length: Int, overlap: Double, placement: Placement) {
        starts = segmentStarts(length: length, segment: segment, overlap: overlap, placement: placement)
        self.segment = segment
        self.length = length
        weight = triangle(segment)
        total = [[Float]](repeating: [Float](repeating: 0, count: segment), count: rows)
        weights = [Float](repeating: 0, count: segment)
    }

    private func inside(_ index: Int) -> Int {
        min(segment, length - starts[index])
    }

    /// Where the model has to read for a segment.
    ///
    /// One that reaches beyond the end is moved so that what is inside lies in its middle.
    public func readStart(_ index: Int) -> Int {
        starts[index] - (segment - inside(index)) / 2
    }

    /// Adds what the model gave for the next segment, `[rows][segment]`; returns the samples that are done.
    public mutating func add(_ rows: [[Float]]) -> [[Float]] {
        let begin = starts[next]
        let count = inside(next)
        let before = (segment - count) / 2
        let following = next + 1 < starts.count ? starts[next + 1] : length
        let ready = following - begin
        for index in 0..<count {
            weights[index] += weight[index]
        }
        var output: [[Float]] = []
        for row in 0..<total.count {
            for index in 0..<count {
                total[row][index] += weight[index] * rows[row][before + index]
            }
            output.append((0..<ready).map { total[row][$0] / weights[$0] })
            total[row].removeFirst(ready)
            total[row].append(contentsOf: [Float](repeating: 0, count: ready))
        }
        weights.removeFirst(ready)
        weights.append(contentsOf: [Float](repeating: 0, count: ready))
        next += 1
        return output
    }
}

/// Reads a stream at places that hardly go back; beyond its ends there are zeros.
public final class SampleWindow {
    private let nextBlock: () throws -> [[Float]]?
    private let channels: Int
    private let length: Int
    private var kept: [[Float]]
    private var first = 0

    /// `nextBlock` gives the blocks in order, `[channels][samples]`, and nil at the end.
    public init(channels: Int, length: Int, nextBlock: @escaping () throws -> [[Float]]?) {
        self.nextBlock = nextBlock
        self.channels = channels
        self.length = length
        kept = [[Float]](repeating: [], count: channels)
    }

    /// The samples from `begin` on, `[channels][count]`.
    public func read(_ begin: Int, _ count: Int) throws -> [[Float]] {
        let end = min(begin + count, length)
        // A later segment may reach back by half its length.
        let stale = min(max(begin - count - first, 0), kept[0].count)
        if stale > 0 {
            for channel in 0..<channels {
                kept[channel].removeFirst(stale)
            }
            first += stale
        }
        while first + kept[0].count < end {
            guard let block = try nextBlock(), block.count == channels else {
                throw SeparationError("recording: found fewer samples than before, expected \(length)")
            }
            for channel in 0..<channels {
                kept[channel].append(contentsOf: block[channel])
            }
        }
        var output = [[Float]](repeating: [Float](repeating: 0, count: count), count: channels)
        let from = max(begin, 0)
        if from < end {
            for channel in 0..<channels {
                for position in from..<end {
                    output[channel][position - begin] = kept[channel][position - first]
                }
            }
        }
        return output
    }
}

/// Separates a stream; `stream_stems` of separate.py.
///
/// - Parameters:
///   - level: Of the whole song.
///   - nextBlock: The mixture at the rate of the model, block by block, and nil at the end.
///   - run: The model: from `[channels][segment]` to `[stems * channels][segment]`.
///   - write: Gets the stems as they are done, `[stems * channels][samples]`.
public func streamStems(
    settings: ModelSettings,
    level: LevelMeter,
    placement: Placement = .even,
    overlap: Double? = nil,
    nextBlock: @escaping () throws -> [[Float]]?,
    run: ([[Float]]) throws -> [[Float]],
    write: ([[Float]]) throws -> Void
) throws {
    if level.length == 0 {
        throw SeparationError("recording: found no samples, expected at least one")
    }
    let share = overlap ?? settings.overlap
    guard share >= 0, share < 1 else {
        throw SeparationError("overlap: found \(share), expected a number from 0 to below 1")
    }
    let mean = settings.normalize ? Float(level.mean) : 0
    // What demucs adds to the standard deviation.
    let deviation = settings.normalize ? Float(level.deviation + 1e-8) : 1
    let window = SampleWindow(channels: settings.channels, length: level.length) {
        guard let block = try nextBlock() else { return nil }
        return block.map { channel in channel.map { ($0 - mean) / deviation } }
    }
    let rows = settings.stems.count * settings.channels
    var sum = OverlapAdd(
        rows: rows,
        segment: settings.segment,
        length: level.length,
        overlap: share,
        placement: placement)
    for index in 0..<sum.starts.count {
        let part = try window.read(sum.readStart(index), settings.segment)
        let stems = try run(part)
        guard stems.count == rows, stems.allSatisfy({ $0.count == settings.segment }) else {
            throw SeparationError(
                "model: found \(stems.count) rows, expected \(rows) of \(settings.segment) samples")
        }
        // Half precision may overflow: such stems must not be written as if they were sound.
        guard stems.allSatisfy({ row in row.allSatisfy { $0.isFinite } }) else {
            throw SeparationError(
                "model: found samples that are not finite, expected a model that does not overflow")
        }
        let ready = sum.add(stems)
        try write(ready.map { row in row.map { $0 * deviation + mean } })
    }
}
