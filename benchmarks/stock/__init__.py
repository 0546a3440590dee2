"""TorchServe's own recipe for object detection: its ``object_detector`` handler with torchvision's eager model."""
