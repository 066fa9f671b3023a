import Foundation

#if canImport(Accelerate)
    import Accelerate
#endif

/// The Fourier transform of real signals of one length, by vDSP where it is and has that length.
public final class FourierTransform {
    public let size: Int
    private let cosines: [Double]
    private let sines: [Double]
    #if canImport(Accelerate)
        private let forwardSetup: vDSP_DFT_Setup?
        private let inverseSetup: vDSP_DFT_Setup?
    #endif

    /// `plain` leaves vDSP out.
    public init(size: Int, plain: Bool = false) {
        self.size = size
        cosines = (0..<size).map { cos(2 * Double.pi * Double($0) / Double(size)) }
        sines = (0..<size).map { sin(2 * Double.pi * Double($0) / Double(size)) }
        #if canImport(Accelerate)
            // nil for lengths other than 1, 3, 5 or 15 times a power of 2.
            let count = vDSP_Length(size)
            forwardSetup = plain ? nil : vDSP_DFT_zop_CreateSetup(nil, count, vDSP_DFT_Direction.FORWARD)
            inverseSetup = plain ? nil : vDSP_DFT_zop_CreateSetup(nil, count, vDSP_DFT_Direction.INVERSE)
        #endif
    }

    #if canImport(Accelerate)
        deinit {
            if let setup = forwardSetup {
                vDSP_DFT_DestroySetup(setup)
            }
            if let setup = inverseSetup {
                vDSP_DFT_DestroySetup(setup)
            }
        }
    #endif

    /// Bins 0 to size / 2 of a signal of `size` samples.
    public func forward(_ signal: [Float]) -> (real: [Float], imaginary: [Float]) {
        let zeros = [Float](repeating: 0, count: size)
        let full = transform(signal, zeros, inverse: false)
        let bins = size / 2 + 1
        return (Array(full.real[0..<bins]), Array(full.imaginary[0..<bins]))
    }

    /// The signal of bins 0 to size / 2; imaginary parts of the first and the last are taken as 0.
    public func inverse(real: [Float], imaginary: [Float]) -> [Float] {
        var fullReal = [Float](repeating: 0, count: size)
        var fullImaginary = [Float](repeating: 0, count: size)
        for bin in 0...(size / 2) {
            fullReal[bin] = real[bin]
            if bin > 0 && 2 * bin < size {
                fullImaginary[bin] = imaginary[bin]
                fullReal[size - bin] = real[bin]
                fullImaginary[size - bin] = -imaginary[bin]
            }
        }
        let scale = 1 / Float(size)
        return transform(fullReal, fullImaginary, inverse: true).real.map { $0 * scale }
    }

    private func transform(
        _ real: [Float], _ imaginary: [Float], inverse: Bool
    ) -> (real: [Float], imaginary: [Float]) {
        #if canImport(Accelerate)
            if let setup = inverse ? inverseSetup : forwardSetup {
                var outReal = [Float](repeating: 0, count: size)
                var outImaginary = [Float](repeating: 0, count: size)
                vDSP_DFT_Execute(setup, real, imaginary, &outReal, &outImaginary)
                return (outReal, outImaginary)
            }
        #endif
        let result = plain(real.map { Double($0) }, imaginary.map { Double($0) }, inverse ? 1 : -1)
        return (result.real.map { Float($0) }, result.imaginary.map { Float($0) })
    }

    /// Cooley and Tukey, split by the smallest factor; in Double.
    private func plain(
        _ real: [Double], _ imaginary: [Double], _ sign: Double
    ) -> (real: [Double], imaginary: [Double]) {
        let count = real.count
        if count == 1 {
            return (real, imaginary)
        }
        var factor = 2
        while count % factor != 0 {
            factor += 1
        }
        let part = count / factor
        var parts: [(real: [Double], imaginary: [Double])] = []
        for offset in 0..<factor {
            var partReal = [Double](repeating: 0, count: part)
            var partImaginary = [Double](repeating: 0, count: part)
            for index in 0..<part {
                partReal[index] = real[index * factor + offset]
                partImaginary[index] = imaginary[index * factor + offset]
            }
            parts.append(plain(partReal, partImaginary, sign))
        }
        var outReal = [Double](repeating: 0, count: count)
        var outImaginary = [Double](repeating: 0, count: count)
        let step = size / count
        for bin in 0..<count {
            var sumReal = 0.0
            var sumImaginary = 0.0
            for offset in 0..<factor {
                let turn = (offset * bin % count) * step
                let c = cosines[turn]
                let s = sign * sines[turn]
                let a = parts[offset].real[bin % part]
                let b = parts[offset].imaginary[bin % part]
                sumReal += a * c - b * s
                sumImaginary += a * s + b * c
            }
            outReal[bin] = sumReal
            outImaginary[bin] = sumImaginary
        }
        return (outReal, outImaginary)
    }
}
