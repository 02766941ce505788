"""Models from labelled videos. Nothing is imported here."""

# Of a worker that reads files for it: torch, the image network and the pictures of a window of
# 1080p video.
WORKER_MEMORY_BYTES = 700 * 2**20
