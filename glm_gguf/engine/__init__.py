"""llama.cpp at work: the only room that imports llama_cpp."""
