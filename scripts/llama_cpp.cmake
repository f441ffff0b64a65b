# Read by llama-cpp-python's build of scripts/setup. Its CMakeLists.txt forces LLAMA_BUILD_COMMON into the cache, and a
# variable goes before the cache: llama.cpp's `common` serves its programs, which are not built.
set(LLAMA_BUILD_COMMON OFF)

# libggml-base holds the quantisers. Without fused multiply-add they make the same bytes on every processor. The libraries
# that compute answers stay as they are.
function(compile_quantisers_without_fusing)
    if(TARGET ggml-base AND NOT MSVC)
        target_compile_options(ggml-base PRIVATE $<$<COMPILE_LANGUAGE:C,CXX>:-ffp-contract=off>)
    endif()
endfunction()
cmake_language(DEFER CALL compile_quantisers_without_fusing)
