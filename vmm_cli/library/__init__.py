"""vmm without a shell: what its commands do, for one file at a time. See docs/python.md.

Each function takes a path, gives a dataclass, and raises a VmmError. What the commands would warn
of comes as a `VmmWarning`.
"""
