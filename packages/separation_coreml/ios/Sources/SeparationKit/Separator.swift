#if canImport(CoreML)
    import CoreML
    import Foundation

    /// A separator that Core ML runs: a whole model, or with the STFT here one of `--io core`.
    ///
    /// Loading and separating take their time and return when they are done: call them off the main thread, and
    /// one separator from one thread at a time.
    public final class Separator {
        public let settings: ModelSettings
        private let model: MLModel
        private let fourier: ShortTimeFourier?
        private let temporary: URL?

        /// Loads a `.mlpackage`, which is compiled first, or a compiled `.mlmodelc`.
        public init(url: URL, computeUnits: MLComputeUnits = .all) throws {
            let configuration = MLModelConfiguration()
            configuration.computeUnits = computeUnits
            let isCompiled = url.pathExtension == "mlmodelc"
            let compiled = isCompiled ? url : try MLModel.compileModel(at: url)
            let model: MLModel
            let settings: ModelSettings
            let fourier: ShortTimeFourier?
            do {
                model = try MLModel(contentsOf: compiled, configuration: configuration)
                let entries = model.modelDescription.metadata[MLModelMetadataKey.creatorDefinedKey]
                settings = try ModelSettings(metadata: entries as? [String: String] ?? [:])
                if let stft = settings.stft {
                    fourier = try ShortTimeFourier(stft, layout: settings.layout)
                } else {
                    fourier = nil
                }
            } catch {
                if !isCompiled {
                    try? FileManager.default.removeItem(at: compiled)
                }
                throw error
            }
            self.model = model
            self.settings = settings
            self.fourier = fourier
            temporary = isCompiled ? nil : compiled
        }

        deinit {
            // Not before: Core ML may read weights from it at any time.
            if let folder = temporary {
                try? FileManager.default.removeItem(at: folder)
            }
        }

        /// Separates one segment: from `[channels][segment]` to `[stems * channels][segment]`.
        public func run(_ segment: [[Float]]) throws -> [[Float]] {
            var inputs: [String: MLFeatureValue] = [:]
            for name in model.modelDescription.inputDescriptionsByName.keys {
                if name == "waveform" {
                    let samples = Array(segment.joined())
                    inputs[name] = feature(samples, [1, settings.channels, settings.segment])
                } else if name == "spectrogram", let fourier = fourier {
                    let spectrogram = try fourier.analysis(segment)
                    inputs[name] = feature(
                        spectrogram.values, [1, spectrogram.rows, spectrogram.bins, spectrogram.frames])
                } else {
                    throw SeparationError("model: found an input '\(name)', expected waveform or spectrogram")
                }
            }
            let provider = try MLDictionaryFeatureProvider(dictionary: inputs)
            let outputs = try model.prediction(from: provider)
            let count = settings.stems.count * settings.channels
            var rows = [[Float]](
                repeating: [Float](repeating: 0, count: settings.segment), count: count)
            for name in outputs.featureNames {
                guard let array = outputs.featureValue(for: name)?.multiArrayValue else {
                    throw SeparationError("model: found no array as output '\(name)'")
                }
                let shaped = MLShapedArray<Float>(converting: array)
                let part: [[Float]]
                if name == "spectrograms", let fourier = fourier {
                    part = try waveforms(shaped, fourier)
                } else if shaped.scalars.count == count * settings.segment {
                    part = split(shaped.scalars, count)
                } else {
                    throw SeparationError("model: found an output '\(name)' of shape \(shaped.shape)")
                }
                // Models with two branches give a spectrogram and a waveform, whose sum is the result.
                for row in 0..<count {
                    for index in 0..<settings.segment {
                        rows[row][index] += part[row][index]
                    }
                }
            }
            return rows
        }

        /// Separates a recording into one WAV file for each stem, at constant memory.
        ///
        /// - Parameter progress: Called with the share that is done. What it throws, such as a
        ///   `CancellationError`, ends the work; no file is left then.
        /// - Returns: The files, in the order of the stems.
        public func separate(
            _ song: URL, into folder: URL, placement: Placement = .even,
            progress: (Double) throws -> Void = { _ in }
        ) throws -> [URL] {
            var level = LevelMeter()
            let measured = try AudioReader(song, sampleRate: settings.sampleRate, channels: settings.channels)
            while let block = try measured.read() {
                level.add(block)
            }
            // Sizes in a WAV file have 32 bits.
            let bytes = level.length * settings.channels * MemoryLayout<Float>.size
            if bytes > Int(UInt32.max) - 65536 {
                throw SeparationError(
                    "\(song.lastPathComponent): found \(level.length) samples, expected less than 4 GiB a stem")
            }
            let reader = try AudioReader(song, sampleRate: settings.sampleRate, channels: settings.channels)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let name = song.deletingPathExtension().lastPathComponent
            let writers = try settings.stems.map { stem in
                try WavWriter(
                    folder.appendingPathComponent("\(name).\(stem).wav"),
                    sampleRate: settings.sampleRate,
                    channels: settings.channels)
            }
            var done = 0
            try streamStems(
                settings: settings,
                level: level,
                placement: placement,
                nextBlock: { try reader.read() },
                run: { part in try autoreleasepool { try self.run(part) } },
                write: { rows in
                    for (index, writer) in writers.enumerated() {
                        let from = index * settings.channels
                        try writer.write(Array(rows[from..<(from + settings.channels)]))
                    }
                    done += rows[0].count
                    try progress(Double(done) / Double(level.length))
                })
            return try writers.map { try $0.finish() }
        }

        private func feature(_ values: [Float], _ shape: [Int]) -> MLFeatureValue {
            MLFeatureValue(multiArray: MLMultiArray(MLShapedArray<Float>(scalars: values, shape: shape)))
        }

        private func split(_ values: [Float], _ count: Int) -> [[Float]] {
            let length = values.count / count
            return (0..<count).map { Array(values[($0 * length)..<(($0 + 1) * length)]) }
        }

        /// From `[1, stems, 2 * channels, bins, frames]`.
        private func waveforms(_ array: MLShapedArray<Float>, _ fourier: ShortTimeFourier) throws -> [[Float]] {
            let shape = array.shape
            guard shape.count == 5, shape[1] == settings.stems.count, shape[2] == 2 * settings.channels else {
                throw SeparationError("model: found spectrograms of shape \(shape), expected five axes")
            }
            return split(array.scalars, settings.stems.count).flatMap { values in
                fourier.synthesis(
                    Spectrogram(rows: shape[2], bins: shape[3], frames: shape[4], values: values),
                    length: settings.segment)
            }
        }
    }
#endif
