"""Networks as compiled graphs: on a CPU vmm runs them without PyTorch."""
