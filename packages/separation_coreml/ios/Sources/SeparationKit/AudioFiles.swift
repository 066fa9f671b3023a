#if canImport(AVFoundation)
    import AVFoundation
    import Foundation

    /// Reads a recording block by block at the rate and with the channels of a model.
    public final class AudioReader {
        private let file: AVAudioFile
        private let converter: AVAudioConverter?
        private let output: AVAudioFormat
        private let channels: Int
        private let name: String
        private var hasEnded = false
        private let blockLength: AVAudioFrameCount = 65536

        /// Recordings of one channel are doubled where the model has two.
        public init(_ url: URL, sampleRate: Int, channels: Int) throws {
            file = try AVAudioFile(forReading: url)
            name = url.lastPathComponent
            self.channels = channels
            let input = file.processingFormat
            let found = Int(input.channelCount)
            guard found == channels || found == 1 else {
                throw SeparationError(
                    "\(url.lastPathComponent): found \(found) channels, expected 1 or \(channels)")
            }
            let rate = Double(sampleRate)
            guard
                let format = AVAudioFormat(
                    commonFormat: .pcmFormatFloat32, sampleRate: rate, channels: input.channelCount,
                    interleaved: false)
            else {
                throw SeparationError("\(url.lastPathComponent): found a format that cannot be converted")
            }
            output = format
            if input.sampleRate == rate {
                converter = nil
            } else {
                guard let made = AVAudioConverter(from: input, to: format) else {
                    throw SeparationError(
                        "\(url.lastPathComponent): found \(input.sampleRate) Hz, which cannot be resampled")
                }
                made.sampleRateConverterQuality = AVAudioQuality.max.rawValue
                converter = made
            }
        }

        /// The next samples, `[channels][samples]`, or nil at the end.
        public func read() throws -> [[Float]]? {
            if hasEnded {
                return nil
            }
            // What AVFoundation makes for a block would otherwise stay until the song is done.
            return try autoreleasepool { try readBlock() }
        }

        private func readBlock() throws -> [[Float]]? {
            guard let buffer = AVAudioPCMBuffer(pcmFormat: output, frameCapacity: blockLength) else {
                throw SeparationError("\(name): found no memory for a block")
            }
            if let converter = converter {
                try convert(converter, into: buffer)
            } else if file.framePosition < file.length {
                try file.read(into: buffer, frameCount: blockLength)
            }
            let count = Int(buffer.frameLength)
            guard count > 0, let data = buffer.floatChannelData else {
                hasEnded = true
                return nil
            }
            let found = Int(output.channelCount)
            let block = (0..<channels).map { channel in
                Array(UnsafeBufferPointer(start: data[min(channel, found - 1)], count: count))
            }
            for channel in block {
                for value in channel where !value.isFinite {
                    throw SeparationError("\(name): found a sample \(value), expected finite samples")
                }
            }
            return block
        }

        private func convert(_ converter: AVAudioConverter, into buffer: AVAudioPCMBuffer) throws {
            // The closure may be Sendable, which forbids it to change a variable.
            final class Failure {
                var error: Error?
            }
            var failure: NSError?
            let reading = Failure()
            let file = self.file
            let length = blockLength
            let status = converter.convert(to: buffer, error: &failure) { _, state in
                guard file.framePosition < file.length,
                    let input = AVAudioPCMBuffer(pcmFormat: file.processingFormat, frameCapacity: length)
                else {
                    state.pointee = .endOfStream
                    return nil
                }
                do {
                    try file.read(into: input, frameCount: length)
                } catch {
                    reading.error = error
                    state.pointee = .endOfStream
                    return nil
                }
                // The length that a compressed file declares may be more than it holds.
                state.pointee = input.frameLength > 0 ? .haveData : .endOfStream
                return input.frameLength > 0 ? input : nil
            }
            if let error = reading.error {
                throw error
            }
            if status == .error {
                if let error = failure {
                    throw error
                }
                throw SeparationError("\(name): found samples that cannot be resampled")
            }
        }
    }

    /// Writes 32-bit float WAV; the file has its name when it is complete.
    public final class WavWriter {
        private let url: URL
        private let temporary: URL
        private let format: AVAudioFormat
        private var file: AVAudioFile?
        private var hasName = false

        public init(_ url: URL, sampleRate: Int, channels: Int) throws {
            self.url = url
            temporary = url.deletingLastPathComponent()
                .appendingPathComponent(".\(UUID().uuidString).wav")
            guard
                let format = AVAudioFormat(
                    commonFormat: .pcmFormatFloat32, sampleRate: Double(sampleRate),
                    channels: AVAudioChannelCount(channels), interleaved: false)
            else {
                throw SeparationError("\(url.lastPathComponent): found \(channels) channels, which WAV has not")
            }
            self.format = format
            let settings: [String: Any] = [
                AVFormatIDKey: kAudioFormatLinearPCM,
                AVSampleRateKey: Double(sampleRate),
                AVNumberOfChannelsKey: channels,
                AVLinearPCMBitDepthKey: 32,
                AVLinearPCMIsFloatKey: true,
                AVLinearPCMIsBigEndianKey: false,
                AVLinearPCMIsNonInterleaved: false,
            ]
            file = try AVAudioFile(
                forWriting: temporary, settings: settings, commonFormat: .pcmFormatFloat32, interleaved: false)
        }

        deinit {
            file = nil
            if !hasName {
                try? FileManager.default.removeItem(at: temporary)
            }
        }

        /// Appends samples, `[channels][samples]`.
        public func write(_ block: [[Float]]) throws {
            let count = block[0].count
            if count == 0 {
                return
            }
            guard let file = file,
                let buffer = AVAudioPCMBuffer(pcmFormat: format, frameCapacity: AVAudioFrameCount(count)),
                let data = buffer.floatChannelData
            else {
                throw SeparationError("\(url.lastPathComponent): found no memory for a block")
            }
            buffer.frameLength = AVAudioFrameCount(count)
            for (channel, samples) in block.enumerated() {
                for index in 0..<count {
                    data[channel][index] = samples[index]
                }
            }
            try file.write(from: buffer)
        }

        /// Gives the file its name; one that is there is replaced.
        public func finish() throws -> URL {
            // Its header is written when it is released.
            file = nil
            if FileManager.default.fileExists(atPath: url.path) {
                _ = try FileManager.default.replaceItemAt(url, withItemAt: temporary)
            } else {
                try FileManager.default.moveItem(at: temporary, to: url)
            }
            hasName = true
            return url
        }
    }
#endif
