"""What is read of a picture at most; nothing is imported, so that the shell can say it."""

DEFAULT_MAX_PIXELS = 8192 * 8192
