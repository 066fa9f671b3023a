import Foundation
import XCTest

@testable import SeparationKit

/// Compares with what Python computed; `separation-coreml ios-vectors` writes the file.
final class VectorTests: XCTestCase {
    struct Starts: Decodable {
        let length: Int
        let segment: Int
        let overlap: Double
        let placement: String
        let starts: [Int]
    }

    struct Sum: Decodable {
        let length: Int
        let segment: Int
        let overlap: Double
        let placement: String
        let mean: Double
        let deviation: Double
        let output: [[Float]]
        let tolerance: Float
    }

    struct Samples: Decodable {
        let indices: [Int]
        let values: [Float]
        let tolerance: Float
    }

    struct Spectrograms: Decodable {
        let models: [String]
        let stft: StftSettings
        let layout: SpectrogramLayout
        let length: Int
        let shape: [Int]
        let analysis: Samples
        let synthesis: Samples
    }

    struct Vectors: Decodable {
        let noise: [Float]
        let starts: [Starts]
        let overlap_add: [Sum]
        let stft: [Spectrograms]
    }

    func vectors() throws -> Vectors {
        let url = try XCTUnwrap(Bundle.module.url(forResource: "vectors", withExtension: "json"))
        return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
    }

    func noise(_ seed: UInt32, _ count: Int) -> [Float] {
        var state = seed
        var values: [Float] = []
        for _ in 0..<count {
            state = state &* 1_664_525 &+ 1_013_904_223
            values.append(Float(Double(state) / 4_294_967_296 - 0.5))
        }
        return values
    }

    func rows(_ values: [Float], _ count: Int) -> [[Float]] {
        let length = values.count / count
        return (0..<count).map { Array(values[($0 * length)..<(($0 + 1) * length)]) }
    }

    func testNoise() throws {
        XCTAssertEqual(noise(1, 8), try vectors().noise)
    }

    func testTriangle() {
        let one: Float = 1
        XCTAssertEqual(triangle(5), [one / 3, 2 * one / 3, 1, 2 * one / 3, one / 3])
        XCTAssertEqual(triangle(4), [0.5, 1, 1, 0.5])
    }

    func testStarts() throws {
        for entry in try vectors().starts {
            let placement = try XCTUnwrap(Placement(rawValue: entry.placement))
            let found = segmentStarts(
                length: entry.length, segment: entry.segment, overlap: entry.overlap, placement: placement)
            XCTAssertEqual(found, entry.starts)
        }
    }

    func testOverlapAdd() throws {
        for entry in try vectors().overlap_add {
            let song = rows(noise(UInt32(entry.length), 2 * entry.length), 2)
            var position = 0
            func nextBlock() -> [[Float]]? {
                let end = min(position + 7, entry.length)
                defer { position = end }
                return position < end ? song.map { Array($0[position..<end]) } : nil
            }
            var level = LevelMeter()
            while let block = nextBlock() {
                level.add(block)
            }
            position = 0
            XCTAssertEqual(level.mean, entry.mean, accuracy: 1e-7)
            XCTAssertEqual(level.deviation, entry.deviation, accuracy: 1e-7)
            let settings = try ModelSettings(metadata: [
                "stems": "a,b", "sample_rate": "44100", "channels": "2", "segment": String(entry.segment),
                "overlap": String(entry.overlap), "normalize": "true",
            ])
            var count: UInt32 = 0
            var output = [[Float]](repeating: [], count: 4)
            try streamStems(
                settings: settings,
                level: level,
                placement: try XCTUnwrap(Placement(rawValue: entry.placement)),
                nextBlock: nextBlock,
                run: { part in
                    count += 1
                    let other = rows(noise(count, 2 * entry.segment), 2)
                    return part.map { row in row.map { $0 * 0.5 } } + other
                },
                write: { stems in
                    for row in 0..<4 {
                        output[row].append(contentsOf: stems[row])
                    }
                })
            XCTAssertEqual(output.map { $0.count }, entry.output.map { $0.count })
            for (found, expected) in zip(output.joined(), entry.output.joined()) {
                XCTAssertEqual(found, expected, accuracy: entry.tolerance)
            }
        }
    }

    func testSpectrograms() throws {
        for entry in try vectors().stft {
            // By vDSP where it is, and without.
            for plain in [false, true] {
                let fourier = try ShortTimeFourier(entry.stft, layout: entry.layout, plain: plain)
                let spectrogram = try fourier.analysis(rows(noise(3, 2 * entry.length), 2))
                XCTAssertEqual([spectrogram.rows, spectrogram.bins, spectrogram.frames], entry.shape)
                compare(spectrogram.values, entry.analysis)
                let size = entry.shape.reduce(1, *)
                let given = Spectrogram(
                    rows: entry.shape[0], bins: entry.shape[1], frames: entry.shape[2],
                    values: noise(5, size))
                let waveform = fourier.synthesis(given, length: entry.length)
                compare(Array(waveform.joined()), entry.synthesis)
            }
        }
    }

    func compare(_ found: [Float], _ expected: Samples) {
        for (index, value) in zip(expected.indices, expected.values) {
            XCTAssertEqual(found[index], value, accuracy: expected.tolerance)
        }
    }

    func testTransformsOfOtherLengths() {
        // 3, 5 and 15 · 2^n as for the models of UVR; 7 · 2^n has no vDSP transform.
        for size in [80, 96, 240, 112] {
            let transform = FourierTransform(size: size)
            let signal = noise(9, size)
            let spectrum = transform.forward(signal)
            let expected = signal.enumerated().reduce(0.0) { sum, item in
                sum + Double(item.element) * cos(2 * Double.pi * 5 * Double(item.offset) / Double(size))
            }
            XCTAssertEqual(Double(spectrum.real[5]), expected, accuracy: 1e-5)
            let back = transform.inverse(real: spectrum.real, imaginary: spectrum.imaginary)
            for (found, value) in zip(back, signal) {
                XCTAssertEqual(found, value, accuracy: 1e-6)
            }
        }
    }

    func testModelsThatOverflowOrGiveTooLittle() throws {
        let settings = try ModelSettings(metadata: [
            "stems": "a", "sample_rate": "44100", "channels": "1", "segment": "10", "overlap": "0.25",
            "normalize": "false",
        ])
        var level = LevelMeter()
        level.add([noise(1, 25)])
        func sentence(_ overlap: Double?, _ run: @escaping ([[Float]]) -> [[Float]]) -> String {
            var blocks = [[noise(1, 25)]]
            var found = ""
            XCTAssertThrowsError(
                try streamStems(
                    settings: settings, level: level, overlap: overlap,
                    nextBlock: { blocks.isEmpty ? nil : blocks.removeLast() }, run: run, write: { _ in })
            ) { error in
                found = "\(error)"
            }
            return found
        }
        XCTAssertTrue(sentence(nil) { [$0[0].map { _ in Float.nan }] }.contains("not finite"))
        XCTAssertTrue(sentence(nil) { [Array($0[0].dropLast())] }.contains("expected 1 of 10 samples"))
        XCTAssertTrue(sentence(1.0) { $0 }.contains("overlap: found 1.0"))
    }

    func testMetadataThatIsNotOfASeparator() {
        XCTAssertThrowsError(try ModelSettings(metadata: ["kind": "pitch"])) { error in
            XCTAssertTrue("\(error)".contains("no 'stems'"))
        }
    }
}
