"""What a conversion reads: a checkpoint's config, tokenizer, model card and tensors, in a directory or on a hub."""
