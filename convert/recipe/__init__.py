"""Which GGML type each tensor gets: llama.cpp's mixes, the user's choices over them, importance matrices."""
