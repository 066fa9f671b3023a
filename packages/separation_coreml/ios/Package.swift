// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "SeparationKit",
    platforms: [.iOS(.v16), .macOS(.v13)],
    products: [
        .library(name: "SeparationKit", targets: ["SeparationKit"]),
        .executable(name: "separate", targets: ["separate"]),
    ],
    targets: [
        .target(name: "SeparationKit"),
        .executableTarget(name: "separate", dependencies: ["SeparationKit"]),
        .testTarget(
            name: "SeparationKitTests",
            dependencies: ["SeparationKit"],
            resources: [.copy("vectors.json")]
        ),
    ]
)
