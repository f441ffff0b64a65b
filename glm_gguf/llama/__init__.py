"""What owns a pointer of llama.cpp's, or asks about the machine; the only room that imports llama_cpp."""
