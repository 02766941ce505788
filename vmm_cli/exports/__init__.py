"""Models for elsewhere: a folder with all that runs one without vmm and without PyTorch."""
