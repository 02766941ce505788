"""What files of media are called: the extensions of containers, in lower case."""

from __future__ import annotations

# fmt: off
VIDEO_EXTENSIONS = frozenset({
    ".264", ".265", ".3g2", ".3gp", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v", ".flv", ".gif",
    ".h264", ".h265", ".hevc", ".ivf", ".m2t", ".m2ts", ".m2v", ".m4v", ".mjpeg", ".mjpg", ".mkv",
    ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mxf", ".nut", ".ogm", ".ogv", ".qt", ".rm",
    ".rmvb", ".vob", ".webm", ".wmv", ".wtv", ".y4m",
})
# TypeScript's extensions too: taken unless the content reads as text.
AMBIGUOUS_EXTENSIONS = frozenset({".ts", ".mts"})
# Sound and stills in containers whose first bytes say nothing about pictures that move.
OTHER_EXTENSIONS = frozenset({
    ".aac", ".ac3", ".avif", ".cr3", ".flac", ".heic", ".heif", ".m4a", ".m4b", ".m4p", ".m4r",
    ".mka", ".mp3", ".oga", ".opus", ".spx", ".wav", ".webp", ".wma",
})
# Stills, each a video of one picture.
STILL_EXTENSIONS = frozenset({".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".webp"})
# Containers of sound alone. One that may hold pictures too, such as .mp4, counts as a video.
SOUND_EXTENSIONS = frozenset({
    ".aac", ".ac3", ".aif", ".aifc", ".aiff", ".amr", ".au", ".caf", ".dts", ".eac3", ".flac",
    ".m4a", ".m4b", ".m4p", ".m4r", ".mka", ".mp2", ".mp3", ".oga", ".ogg", ".opus", ".qcp", ".spx",
    ".tta", ".w64", ".wav", ".wma", ".wv",
})
# fmt: on
