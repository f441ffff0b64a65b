"""The making of the tiny demo checkpoint: data, tokenizer, training and judging."""
