"""Making one capacity from another: pruning, distillation, and fine-tuning on labelled pitch."""
