# Read by llama-cpp-python's build of scripts/setup. Its CMakeLists.txt forces LLAMA_BUILD_COMMON into the cache, and a
# variable goes before the cache: llama.cpp's `common` serves its programs, which are not built.
set(LLAMA_BUILD_COMMON OFF)
