"""grpokit backend on transformers, peft and accelerate."""
