"""The files that an evaluation leaves; `metrics.json`, the last one, says that vmm wrote them."""

METRICS_FILE = "metrics.json"
EVALUATION_FILES = (
    METRICS_FILE,
    "scores.csv",
    "mistakes.csv",
    "detections.csv",
    "confusion.png",
    "calibration.png",
    "valence.png",
)
