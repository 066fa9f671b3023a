import Foundation

/// Real numbers `[rows, bins, frames]`, the last axis fastest: real and imaginary part of each channel in turn.
public struct Spectrogram {
    public let rows: Int
    public let bins: Int
    public let frames: Int
    public var values: [Float]

    public init(rows: Int, bins: Int, frames: Int, values: [Float]) {
        self.rows = rows
        self.bins = bins
        self.frames = frames
        self.values = values
    }
}

/// The STFT of a model with what is done around it, as its `analysis` and `synthesis` in Python.
public final class ShortTimeFourier {
    private let settings: StftSettings
    private let layout: SpectrogramLayout
    private let transform: FourierTransform
    private let window: [Float]
    private let scale: Float

    public init(_ settings: StftSettings, layout: SpectrogramLayout = .plain, plain: Bool = false) throws {
        let modes = ["reflect", "constant"]
        guard modes.contains(settings.pad_mode), modes.contains(layout.pad_mode), layout.multiple > 0,
            settings.win_length <= settings.n_fft, settings.hop_length > 0, settings.n_fft % 2 == 0
        else {
            throw SeparationError(
                "stft: found settings that are not known here, expected those of separation-coreml")
        }
        guard ["hann", "rectangular"].contains(settings.window) else {
            throw SeparationError(
                "stft: found the window '\(settings.window)', expected 'hann' or 'rectangular'")
        }
        self.settings = settings
        self.layout = layout
        transform = FourierTransform(size: settings.n_fft, plain: plain)
        let margin = (settings.n_fft - settings.win_length) / 2
        var window = [Float](repeating: 0, count: settings.n_fft)
        for index in 0..<settings.win_length {
            let phase = 2 * Double.pi * Double(index) / Double(settings.win_length)
            window[margin + index] = settings.window == "hann" ? Float(0.5 - 0.5 * cos(phase)) : 1
        }
        self.window = window
        scale = settings.normalized ? 1 / Float(settings.n_fft).squareRoot() : 1
    }

    /// The spectrogram of a waveform, `[channels][samples]`.
    public func analysis(_ waveform: [[Float]]) throws -> Spectrogram {
        let hop = settings.hop_length
        let length = waveform[0].count
        let padded = try waveform.map { channel -> [Float] in
            let outer = try pad(channel, layout.before, after(length), layout.pad_mode)
            let inner = settings.center ? settings.n_fft / 2 : 0
            return try pad(outer, inner, inner, settings.pad_mode)
        }
        let all = 1 + (padded[0].count - settings.n_fft) / hop
        let frames = all - 2 * layout.frames
        let bins = settings.n_fft / 2 + 1 - layout.bins
        if frames < 1 {
            throw SeparationError("waveform: found \(length) samples, expected more than the STFT leaves out")
        }
        var values = [Float](repeating: 0, count: 2 * waveform.count * bins * frames)
        var part = [Float](repeating: 0, count: settings.n_fft)
        for channel in 0..<waveform.count {
            for frame in 0..<frames {
                let start = (frame + layout.frames) * hop
                for index in 0..<settings.n_fft {
                    part[index] = padded[channel][start + index] * window[index]
                }
                let spectrum = transform.forward(part)
                for bin in 0..<bins {
                    let real = (2 * channel * bins + bin) * frames + frame
                    let imaginary = ((2 * channel + 1) * bins + bin) * frames + frame
                    values[real] = spectrum.real[bin] * scale
                    values[imaginary] = spectrum.imaginary[bin] * scale
                }
            }
        }
        return Spectrogram(rows: 2 * waveform.count, bins: bins, frames: frames, values: values)
    }

    /// The waveform of a spectrogram, `[channels][length]`.
    public func synthesis(_ spectrogram: Spectrogram, length: Int) -> [[Float]] {
        let size = settings.n_fft
        let hop = settings.hop_length
        let all = spectrogram.frames + 2 * layout.frames
        let total = size + (all - 1) * hop
        // Frames that were left out are zeros, but count.
        var weights = [Float](repeating: 0, count: total)
        for frame in 0..<all {
            for index in 0..<size {
                weights[frame * hop + index] += window[index] * window[index]
            }
        }
        let offset = (settings.center ? size / 2 : 0) + layout.before
        var output: [[Float]] = []
        var real = [Float](repeating: 0, count: size / 2 + 1)
        var imaginary = [Float](repeating: 0, count: size / 2 + 1)
        for channel in 0..<(spectrogram.rows / 2) {
            var sum = [Float](repeating: 0, count: total)
            for frame in 0..<spectrogram.frames {
                for bin in 0..<spectrogram.bins {
                    let row = 2 * channel
                    real[bin] = spectrogram.values[
                        (row * spectrogram.bins + bin) * spectrogram.frames + frame]
                    imaginary[bin] = spectrogram.values[
                        ((row + 1) * spectrogram.bins + bin) * spectrogram.frames + frame]
                }
                let part = transform.inverse(real: real, imaginary: imaginary)
                let start = (frame + layout.frames) * hop
                for index in 0..<size {
                    sum[start + index] += part[index] * window[index]
                }
            }
            var waveform = [Float](repeating: 0, count: length)
            for index in 0..<min(length, total - offset) {
                let weight = weights[offset + index]
                waveform[index] = weight > 1e-11 ? sum[offset + index] / weight / scale : 0
            }
            output.append(waveform)
        }
        return output
    }

    /// Samples put after a waveform of a length.
    private func after(_ length: Int) -> Int {
        let hop = settings.hop_length
        var count = layout.after
        if layout.whole_hops {
            count += (length + hop - 1) / hop * hop - length
        }
        if layout.multiple > 1 {
            let samples = layout.before + length + count
            let frames = (samples + hop - 1) / hop + 1
            let whole = (frames + layout.multiple - 1) / layout.multiple * layout.multiple
            count += (whole - 1) * hop - samples
        }
        return count
    }

    private func pad(_ signal: [Float], _ before: Int, _ after: Int, _ mode: String) throws -> [Float] {
        let count = signal.count
        var output = [Float](repeating: 0, count: before + count + after)
        for index in 0..<count {
            output[before + index] = signal[index]
        }
        if mode == "constant" {
            return output
        }
        if count <= max(before, after) {
            throw SeparationError("waveform: found \(count) samples, expected more than \(max(before, after))")
        }
        for index in 0..<before {
            output[index] = signal[before - index]
        }
        for index in 0..<after {
            output[before + count + index] = signal[count - 2 - index]
        }
        return output
    }
}
