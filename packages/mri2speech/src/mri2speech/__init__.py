"""Speech from real-time MRI video: CNN-BiLSTM to mel, HiFi-GAN to waveform."""
