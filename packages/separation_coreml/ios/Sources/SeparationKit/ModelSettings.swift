import Foundation

/// What can be wrong with a model or a recording, in one sentence.
public struct SeparationError: Error, CustomStringConvertible, LocalizedError {
    public let description: String
    public var errorDescription: String? { description }

    public init(_ description: String) {
        self.description = description
    }
}

/// The parameters of the short-time Fourier transform; the metadata entry `stft`.
public struct StftSettings: Codable, Equatable {
    public var n_fft: Int
    public var hop_length: Int
    public var win_length: Int
    public var window: String
    public var center: Bool
    public var pad_mode: String
    public var normalized: Bool
    public var note: String?
}

/// What is done around the transform; the metadata entry `spectrogram`.
public struct SpectrogramLayout: Codable, Equatable {
    /// Samples put before the waveform.
    public var before: Int
    /// Samples put after it, besides those up to a whole number of hops.
    public var after: Int
    /// Whether it is first completed to a whole number of hops.
    public var whole_hops: Bool
    /// What the number of frames is brought up to a multiple of, by yet more samples after it; 1 for none.
    public var multiple: Int
    /// `reflect` or `constant` (zeros): what these samples are.
    public var pad_mode: String
    /// Frames left out at each end.
    public var frames: Int
    /// Highest bins left out.
    public var bins: Int

    public static let plain = SpectrogramLayout(
        before: 0, after: 0, whole_hops: false, multiple: 1, pad_mode: "constant", frames: 0, bins: 0)
}

/// What a converted model says of itself.
public struct ModelSettings: Equatable {
    public let stems: [String]
    public let sampleRate: Int
    public let channels: Int
    public let segment: Int
    public let overlap: Double
    public let normalize: Bool
    /// Only for models converted with `--io core`.
    public let stft: StftSettings?
    public let layout: SpectrogramLayout

    /// Reads the metadata that `separation-coreml convert` writes.
    public init(metadata: [String: String]) throws {
        func text(_ key: String) throws -> String {
            guard let value = metadata[key] else {
                throw SeparationError(
                    "model: found no '\(key)' in its metadata, expected a separator of separation-coreml")
            }
            return value
        }
        func whole(_ key: String) throws -> Int {
            let value = try text(key)
            guard let number = Int(value), number > 0 else {
                throw SeparationError("model: found \(key) '\(value)', expected a whole number above 0")
            }
            return number
        }
        stems = try text("stems").split(separator: ",").map { String($0) }
        sampleRate = try whole("sample_rate")
        channels = try whole("channels")
        segment = try whole("segment")
        let share = try text("overlap")
        guard let overlap = Double(share), overlap >= 0, overlap < 1 else {
            throw SeparationError("model: found overlap '\(share)', expected a number from 0 to below 1")
        }
        self.overlap = overlap
        normalize = try text("normalize") == "true"
        guard metadata["io"] == "core" else {
            stft = nil
            layout = .plain
            return
        }
        let decoder = JSONDecoder()
        guard let json = metadata["stft"],
            let settings = try? decoder.decode(StftSettings.self, from: Data(json.utf8))
        else {
            throw SeparationError(
                "model: found no usable 'stft' in its metadata, expected one; convert it without --io core")
        }
        stft = settings
        if let json = metadata["spectrogram"] {
            guard let found = try? decoder.decode(SpectrogramLayout.self, from: Data(json.utf8)) else {
                throw SeparationError("model: found an unknown 'spectrogram' in its metadata")
            }
            layout = found
        } else {
            throw SeparationError(
                "model: found no 'spectrogram' in its metadata, expected one; convert it without --io core")
        }
    }
}
