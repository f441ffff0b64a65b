"""PEFT's LoRA adapters: written as GGUF for --lora, or merged into their base."""
