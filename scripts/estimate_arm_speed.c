/* Quantise a file of float32 with one function, for scripts/estimate_arm_speed.py:  PROGRAM ROWS N OUT BYTES
   OURS: a kernel as numba compiles it, with its arrays' fields as arguments and what it needs of numba's runtime. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#ifdef OURS
struct memory { size_t references; void *destructor, *info, *data; size_t size; void *allocator; };
void *NRT_MemInfo_alloc_aligned(size_t size, uint32_t align) {
    struct memory *memory = calloc(1, sizeof *memory);
    memory->references = 1;
    memory->data = aligned_alloc(align, (size + align - 1) / align * align);
    memory->size = size;
    return memory;
}
void NRT_MemInfo_call_dtor(void *memory) { free(memory); }
#define ARRAY(element) void *, void *, int64_t, int64_t, element *, int64_t, int64_t
#define FIELDS(data, n) 0, 0, n, sizeof *(data), data, n, sizeof *(data)
int kernel(void **result, void **exception, ARRAY(float), ARRAY(uint8_t));
#else
size_t ggml_row_size(int type, int64_t n) { return 0; } /* asked for, but one row needs it not */
size_t kernel(const float *rows, void *out, int64_t n_rows, int64_t n, const float *importance);
#endif

int main(int argc, char **argv) {
    int64_t n = atol(argv[2]), bytes = atol(argv[4]);
    float *rows = malloc(n * sizeof *rows);
    uint8_t *out = malloc(bytes);
    FILE *file = fopen(argv[1], "rb");
    if (fread(rows, sizeof *rows, n, file) != n) return 2;
#ifdef OURS
    void *result = 0, *exception = 0;
    int status = kernel(&result, &exception, FIELDS(rows, n), FIELDS(out, bytes));
#else
    kernel(rows, out, 1, n, 0);
    int status = 0;
#endif
    file = fopen(argv[3], "wb");
    if (fwrite(out, 1, bytes, file) != bytes || fclose(file)) return 2;
    return status;
}
