"""Music genre classification from four Demucs stems with EfficientNet-B3."""
