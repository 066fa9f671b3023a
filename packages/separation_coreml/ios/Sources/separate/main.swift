import Foundation
import SeparationKit

func fail(_ sentence: String) -> Never {
    FileHandle.standardError.write(Data("separate: error: \(sentence)\n".utf8))
    exit(2)
}

let arguments = Array(CommandLine.arguments.dropFirst())
if arguments.count != 3 {
    fail("usage: separate MODEL.mlpackage SONG FOLDER")
}

#if canImport(CoreML) && canImport(AVFoundation)
    do {
        let separator = try Separator(url: URL(fileURLWithPath: arguments[0]))
        let files = try separator.separate(
            URL(fileURLWithPath: arguments[1]),
            into: URL(fileURLWithPath: arguments[2]),
            progress: { share in
                FileHandle.standardError.write(Data("\r\(Int(share * 100)) %".utf8))
            })
        FileHandle.standardError.write(Data("\n".utf8))
        for file in files {
            print(file.path)
        }
    } catch {
        fail(error.localizedDescription)
    }
#else
    fail("this system has no Core ML, expected macOS or iOS")
#endif
