"""vmm: make sense of folders of videos from the shell."""

__version__ = "0.1.0"
